"""Accepts clients: the listening sockets on the event loop, and what is known of a client before it has said
anything.
"""

import asyncio
import os
import pwd
from collections.abc import Callable
from typing import Any, Final, cast

from pooler.relay import address
from pooler.relay.client import ClientConnection
from pooler.relay.context import Context
from pooler.relay.login import ClientLogin
from pooler.service.sockets import Listener, PeerCredentials, peer_credentials

OWN_ADDRESSES: Final = 256
"""Addresses of our own that are remembered; a wildcard listener may have many."""


class Acceptor:
    """Turns connections on the listening sockets into clients. The sockets outlive a SUSPEND: clients wait in
    their backlog.
    """

    def __init__(self, context: Context, loop: asyncio.AbstractEventLoop, listeners: list[Listener]) -> None:
        self._context = context
        self._loop = loop
        self.listeners = listeners
        self._servers: list[tuple[Listener, asyncio.AbstractServer]] = []
        self._own_addresses: dict[Any, address.Address] = {}

    async def start(self) -> None:
        """Accepts from now on."""
        backlog = self._context.registry.settings.listen_backlog
        for listener in self.listeners:
            sock = listener.sock.dup()
            if listener.is_unix:
                server = await self._loop.create_unix_server(self._unix_client, sock=sock, backlog=backlog)
            else:
                server = await self._loop.create_server(self._tcp_client, sock=sock, backlog=backlog)
            self._servers.append((listener, server))

    def suspend(self) -> None:
        """Leaves new connections in the kernel's queue."""
        for _, server in self._servers:
            server.close()
        self._servers.clear()

    def close_tcp(self) -> None:
        """Refuses TCP connections; the unix socket stays, for the admin (SHUTDOWN)."""
        for listener, server in self._servers:
            if not listener.is_unix:
                server.close()
        self._servers = [(listener, server) for listener, server in self._servers if listener.is_unix]
        for listener in self.listeners:
            if not listener.is_unix:
                listener.close()
        self.listeners = [listener for listener in self.listeners if listener.is_unix]

    def close(self) -> None:
        """Stops, and removes the unix socket."""
        self.suspend()
        for listener in self.listeners:
            listener.close()
        self.listeners = []

    def _tcp_client(self) -> asyncio.BaseProtocol:
        return cast(asyncio.BaseProtocol, _Accepted(self._context, self._own_address))

    def _unix_client(self) -> asyncio.BaseProtocol:
        return cast(asyncio.BaseProtocol, _Accepted(self._context, None))

    def _own_address(self, name: Any) -> address.Address:
        """From what getsockname returns: one object for all clients that came to it."""
        found = self._own_addresses.get(name)
        if found is None:
            if len(self._own_addresses) >= OWN_ADDRESSES:
                self._own_addresses.clear()
            found = self._own_addresses[name] = address.of_socket_name(name, 0)
        return found


class _Accepted:
    """Stands in for a client until its transport is there, then hands over to it. `own_address` is None for
    a unix socket.
    """

    def __init__(self, context: Context, own_address: Callable[[Any], address.Address] | None) -> None:
        self._context = context
        self._own_address = own_address

    def connection_made(self, transport: Any) -> None:
        client = ClientConnection(self._context)
        owner = False
        peer_user = ""
        if self._own_address is None:
            port = self._context.registry.settings.listen_port
            peer = _credentials(transport)
            client.local = address.Address("unix", port)
            client.remote = address.Address("unix", port, peer.pid if peer else 0)
            owner = peer is not None and peer.uid == os.getuid()
            peer_user = _account(peer.uid) if peer is not None else ""
        else:
            client.remote = address.of_socket_name(transport.get_extra_info("peername"), 0)
            client.local = self._own_address(transport.get_extra_info("sockname"))
        transport.set_write_buffer_limits(high=self._context.high_water)
        client.phase = ClientLogin(client, owner, peer_user)
        transport.set_protocol(client)
        client.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Never: the protocol is replaced before reading begins."""

    def eof_received(self) -> None:
        """Never."""

    def connection_lost(self, error: Exception | None) -> None:
        """Never."""


def _account(uid: int) -> str:
    """The name of an account, empty if it has none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return ""


def _credentials(transport: Any) -> PeerCredentials | None:
    try:
        return peer_credentials(transport.get_extra_info("socket"))
    except OSError:
        return None
