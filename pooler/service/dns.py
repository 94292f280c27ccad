"""Host names of servers to addresses, with PgBouncer's cache rules."""

from __future__ import annotations

import asyncio
import math
import socket
from collections.abc import Callable
from typing import TYPE_CHECKING, NamedTuple

from pooler.service.sockets import format_address

if TYPE_CHECKING:
    from pooler.config.settings import Settings
    from pooler.service.log import Log


class LookupFailed(Exception):
    """A host name has no address, or nobody could tell."""

    def __init__(self, host: str, reason: str) -> None:
        super().__init__(f"{host}: {reason}")
        self.host = host
        self.reason = reason


class Address(NamedTuple):
    """Where a host can be reached; the port is the caller's."""

    family: int
    host: str
    """Numeric, with ``%scope`` when it is link-local."""


class HostRow(NamedTuple):
    """A row of ``SHOW DNS_HOSTS``."""

    hostname: str
    ttl: int
    """Whole seconds that the answer stays valid, 0 while it is being looked up."""
    addrs: str
    """Comma-separated; PgBouncer prints the port that it stores with them, always 0."""


class Counts(NamedTuple):
    """The ``dns_`` rows of ``SHOW LISTS``."""

    names: int
    zones: int
    queries: int
    """Lookups on their way."""
    pending: int
    """Always 0, as in PgBouncer: a lookup never waits for another one."""


OnChange = Callable[[str, list[Address]], None]


class Resolver:
    """Looks names up without blocking, once for all who ask at the same time, and remembers the answers.

    :param settings: gives the current settings; ``dns_max_ttl`` and ``dns_nxdomain_ttl`` (s) count from when
        an answer arrives.
    :param on_change: called with a name and the addresses that a newer answer no longer has, before anybody
        gets that answer; PgBouncer closes the server connections to these as soon as they are free. It is not
        called when a lookup fails: a dead DNS server is no reason to drop connections that work.
    :param clock: seconds, from any origin; the loop's own by default.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        settings: Callable[[], Settings],
        log: Log,
        *,
        on_change: OnChange | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self._loop = loop
        self._settings = settings
        self._log = log
        self._on_change = on_change
        self._clock = clock or loop.time
        self._names: dict[str, _Name] = {}

    async def resolve(self, host: str) -> list[Address]:
        """Addresses of a host, the one whose turn it is first.

        Each call starts at the next address, so that taking the first one spreads connections evenly.
        A numeric address is handed back as it is and not remembered.

        :raises LookupFailed: there is no address; the failure is remembered for ``dns_nxdomain_ttl``.
        """
        numeric = _numeric(host)
        if numeric is not None:
            return [numeric]
        name = self._names.get(host)
        if name is None:
            name = self._names[host] = _Name(host)
        if name.lookup is None and name.expires < self._clock():
            name.lookup = self._loop.create_task(self._look_up(name))
        if name.lookup is not None:
            # a caller that gives up must not take the lookup from the others
            await asyncio.shield(name.lookup)
        return name.next_turn()

    def rows(self) -> list[HostRow]:
        """Rows of ``SHOW DNS_HOSTS``, by name."""
        now = self._clock()
        return [
            HostRow(name.host, int(max(0.0, name.expires - now)), name.text())
            for _, name in sorted(self._names.items())
        ]

    def counts(self) -> Counts:
        """Figures for ``SHOW LISTS``."""
        queries = sum(name.lookup is not None for name in self._names.values())
        return Counts(names=len(self._names), zones=0, queries=queries, pending=0)

    def close(self) -> None:
        """Drop the lookups on their way; whoever waits for one is cancelled."""
        for name in self._names.values():
            if name.lookup is not None:
                name.lookup.cancel()

    async def _look_up(self, name: _Name) -> None:
        try:
            addresses = await self._ask(name.host)
        except LookupFailed as failed:
            self._log.warning(f"DNS lookup failed: {failed}")
            name.failed(failed.reason, self._clock() + self._settings().dns_nxdomain_ttl)
        else:
            gone = name.answered(addresses, self._clock() + self._settings().dns_max_ttl)
            self._note(name, gone)
        finally:
            name.lookup = None

    async def _ask(self, host: str) -> list[Address]:
        try:
            found = await self._loop.getaddrinfo(host, None, type=socket.SOCK_STREAM)
        except OSError as error:
            raise LookupFailed(host, error.strerror or str(error)) from None
        except ValueError as error:
            # a name that cannot be a host name does not get as far as the resolver library
            raise LookupFailed(host, str(error)) from None
        if not found:
            raise LookupFailed(host, "no address")
        # The library puts the family first that this machine can reach best, and PgBouncer uses no other.
        family = found[0][0]
        hosts = dict.fromkeys(_host(sockaddr) for kind, _, _, _, sockaddr in found if kind == family)
        return [Address(int(family), host) for host in hosts]

    def _note(self, name: _Name, gone: list[Address]) -> None:
        if self._log.noisy:
            for position, address in enumerate(name.addresses):
                self._log.noise(f"DNS: {name.host}[{position}] = {_text(address)} [STREAM]")
        if gone and self._on_change is not None:
            self._on_change(name.host, gone)


class _Name:
    """A name that was asked for, and the newest answer."""

    __slots__ = ("_known", "_turn", "addresses", "expires", "host", "lookup", "reason")

    def __init__(self, host: str) -> None:
        self.host = host
        self.addresses: list[Address] = []
        self.reason = ""
        self.expires = -math.inf
        self.lookup: asyncio.Task[None] | None = None
        self._known: list[Address] = []
        self._turn = 0

    def answered(self, addresses: list[Address], expires: float) -> list[Address]:
        """Take an answer over; returns what the last good one had and this one has not."""
        gone = [address for address in self._known if address not in addresses]
        self.addresses = self._known = addresses
        self.expires = expires
        self._turn = 0
        return gone

    def failed(self, reason: str, expires: float) -> None:
        self.addresses = []
        self.reason = reason
        self.expires = expires

    def next_turn(self) -> list[Address]:
        if not self.addresses:
            raise LookupFailed(self.host, self.reason)
        turn = self._turn
        self._turn = (turn + 1) % len(self.addresses)
        return self.addresses[turn:] + self.addresses[:turn]

    def text(self) -> str:
        return ",".join(map(_text, self.addresses))


def _text(address: Address) -> str:
    return format_address(address.family, (address.host.partition("%")[0], 0))


def _host(sockaddr: tuple[str, int] | tuple[str, int, int, int] | tuple[int, bytes]) -> str:
    host = str(sockaddr[0])
    if len(sockaddr) == 4 and sockaddr[3] and "%" not in host:
        return f"{host}%{sockaddr[3]}"
    return host


def _numeric(host: str) -> Address | None:
    for family in (socket.AF_INET, socket.AF_INET6):
        try:
            socket.inet_pton(family, host)
        except (OSError, ValueError):
            continue
        return Address(int(family), host)
    return None
