"""Opens connections to servers: which host, which address, and what the connection is for."""

import asyncio
import socket
from collections.abc import Callable, Coroutine
from typing import Any, Protocol, cast

from pooler.config.settings import LoadBalance, Settings
from pooler.pool.pool import Pool
from pooler.pool.registry import Connector, Shutdown
from pooler.relay import address
from pooler.relay.carried_cancel import CarriedCancel
from pooler.relay.client import ClientConnection
from pooler.relay.context import Context
from pooler.relay.server import ServerConnection
from pooler.relay.server_tls import EncryptionRequest, for_cancel, for_login
from pooler.relay.tasks import CancelDelivery, Login

CARRY_SECONDS = 10.0
"""How long a cancel request may take where `cancel_wait_timeout` is 0."""


class Resolver(Protocol):
    """Finds the next address of a host name."""

    async def address_of(self, host: str, port: int) -> tuple[int, Any]:
        """Socket family and address; raises OSError."""


class ServerConnector(Connector):
    """Connects on the event loop, one task a connection, which belongs to its pool from the start."""

    def __init__(
        self,
        context: Context,
        loop: asyncio.AbstractEventLoop,
        resolver: Resolver,
        tune: Callable[[socket.socket, Settings, bool], None],
    ) -> None:
        self._context = context
        self._loop = loop
        self._resolver = resolver
        self._tune = tune
        self._tasks: set[asyncio.Task[None]] = set()

    def connect(self, pool: Pool) -> None:
        """A connection for a cancel request if one waits in the pool, else one to log in with."""
        waiting = pool.waiting_cancels.first
        request = cast("ClientConnection | None", waiting)
        target = address.Target(socket.AF_UNSPEC, None, None, address.UNKNOWN)
        if request is not None and request.canceled is not None:
            target = request.canceled.target
        server = ServerConnection(self._context, pool, target)
        server.move_last(pool.new_servers)
        self._start(self._open(server, request))

    def carry_cancel(self, target: address.Target, key: bytes, carried: Callable[[bool], None]) -> None:
        """Takes a cancel request of the pooler's own to a server.

        `carried` is called with True when the request has taken effect or was certainly not sent.
        """
        if self._context.registry.shutdown is not Shutdown.IMMEDIATE:
            self._start(self._carry_cancel(target, key, carried))

    async def _carry_cancel(
        self, target: address.Target, key: bytes, carried: Callable[[bool], None]
    ) -> None:
        seconds = self._context.registry.settings.cancel_wait_timeout or CARRY_SECONDS
        carrier = CarriedCancel(self._context, target, key)
        try:
            async with asyncio.timeout(seconds):
                sock = await self._connected_socket(target)
                await self._transport(target, sock, carrier)
                await carrier.over
        except (OSError, ValueError) as error:
            carrier.disconnect(str(error) or "timeout", terminate=False)
        carried(carrier.certain)

    def _start(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _open(self, server: ServerConnection, request: ClientConnection | None) -> None:
        if request is None:
            try:
                server.target = await self._find_target(server.pool)
            except OSError as error:
                self._log_failure(server, error)
                server.disconnect("server DNS lookup failed", terminate=False)
                return
        server.remote = server.target.address
        try:
            sock = await self._connected_socket(server.target)
        except (OSError, ValueError) as error:
            self._log_failure(server, error)
            server.disconnect("connect failed", terminate=False)
            return
        if server.closed:
            sock.close()
            return
        await self._adopt(server, sock, request)

    async def _connected_socket(self, target: address.Target) -> socket.socket:
        sock = socket.socket(target.family, socket.SOCK_STREAM)
        try:
            sock.setblocking(False)
            self._tune(sock, self._context.registry.settings, target.family == socket.AF_UNIX)
            await self._loop.sock_connect(sock, target.sockaddr)
        except BaseException:
            sock.close()
            raise
        return sock

    async def _adopt(
        self, server: ServerConnection, sock: socket.socket, request: ClientConnection | None
    ) -> None:
        unix = server.target.family == socket.AF_UNIX
        server.local = address.of_socket_name(sock.getsockname(), self._context.registry.settings.listen_port)
        transport = await self._transport(server.target, sock, cast(asyncio.BaseProtocol, server))
        transport.set_write_buffer_limits(high=self._context.high_water)
        if server.closed:
            transport.abort()
            return
        self._log_connected(server, unix)
        if request is None:
            tls = for_login(self._context, server.target)
        else:
            tls = for_cancel(self._context, server.target)

        def begin() -> None:
            task = Login(server) if request is None else CancelDelivery(server, request)
            task.begin()

        if tls is None:
            begin()
        else:
            EncryptionRequest(server, tls, begin).begin()

    async def _transport(
        self, target: address.Target, sock: socket.socket, protocol: asyncio.BaseProtocol
    ) -> asyncio.Transport:
        unix = target.family == socket.AF_UNIX
        open_connection = self._loop.create_unix_connection if unix else self._loop.create_connection
        transport, _ = await open_connection(lambda: protocol, sock=sock)
        return transport

    def _log_connected(self, server: ServerConnection, unix: bool) -> None:
        registry = self._context.registry
        if registry.settings.log_connections:
            source = "" if unix else f" (from {server.local.text()})"
            registry.log.info(f"new connection to server{source}", server.describe())

    def _log_failure(self, server: ServerConnection, error: Exception) -> None:
        log = self._context.registry.log
        if log.debugging:
            log.debug(f"cannot connect: {error}", server.describe())

    # Which server ------------------------------------------------------------------------------------------

    async def _find_target(self, pool: Pool) -> address.Target:
        config = pool.database.config
        host = next_host(pool)
        directory = self._context.registry.settings.unix_socket_dir if host is None else host
        if directory.startswith(("/", "@")):
            path = f"{directory}/.s.PGSQL.{config.port}"
            sockaddr = "\0" + path[1:] if directory.startswith("@") else path
            return address.Target(socket.AF_UNIX, sockaddr, host, address.Address("unix", config.port))
        if host is None:
            raise OSError(f"unix socket dir not configured: {pool.database.name}")
        family, sockaddr = await self._resolver.address_of(host, config.port)
        return address.Target(family, sockaddr, host, address.of_socket_name(sockaddr, config.port))


def next_host(pool: Pool) -> str | None:
    """The host to try now: they take turns, or with `load_balance_hosts=disable` the list moves on only after
    a failure.
    """
    config = pool.database.config
    if config.host is None or "," not in config.host:
        return config.host
    hosts = config.host.split(",")
    if config.load_balance_hosts is LoadBalance.DISABLE:
        if pool.connect_failed:
            pool.round_robin += 1
        return hosts[pool.round_robin % len(hosts)].strip()
    host = hosts[pool.round_robin % len(hosts)].strip()
    pool.round_robin += 1
    return host
