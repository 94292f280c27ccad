"""Addresses of peers, as the log and SHOW print them."""

import socket
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from pooler.relay.tls import ServerTls


class Address(NamedTuple):
    """Where a peer is. `host` is `unix` for unix sockets; `pid` is the peer's process, where the kernel says
    it.
    """

    host: str
    port: int
    pid: int = 0

    @property
    def is_unix(self) -> bool:
        """Over a unix socket."""
        return self.host == "unix"

    def ip(self) -> IPv4Address | IPv6Address | None:
        """The address as a number; None for a unix socket."""
        return None if self.is_unix else ip_address(self.host.partition("%")[0])

    def text(self) -> str:
        """As in a log line: `1.2.3.4:5`, `[::1]:5`, `unix(77):5`."""
        if self.is_unix:
            return f"unix({self.pid}):{self.port}" if self.pid else f"unix:{self.port}"
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    def details(self) -> str:
        """As `application_name_add_host` adds it."""
        if self.is_unix and self.pid:
            return f"unix({self.pid}@{socket.gethostname()}):{self.port}"
        return self.text()


UNKNOWN = Address("unix", 0)


@dataclass(frozen=True, slots=True)
class Target:
    """Where a server connection goes: the socket family and address, and the name it was given as.

    `tls` is set once the connection is encrypted; then so are the cancel requests for it.
    """

    family: int
    sockaddr: Any
    host: str | None
    address: Address
    tls: "ServerTls | None" = None


def of_socket_name(name: Any, unix_port: int, pid: int = 0) -> Address:
    """From what getsockname or getpeername returns."""
    if isinstance(name, tuple) and len(name) >= 2:
        return Address(str(name[0]), int(name[1]))
    return Address("unix", unix_port, pid)


def prefix(side: str, id: int, database: str, user: str, remote: Address) -> str:
    """The start of a log line about a connection: `C-0x17: db/user@1.2.3.4:5 `."""
    return f"{side}-{id:#x}: {database}/{user}@{remote.text()} "
