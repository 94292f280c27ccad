"""Rows about connections: SHOW CLIENTS, SERVERS, SOCKETS, ACTIVE_SOCKETS and FDS."""

import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, cast

from pooler.admin.console import Row
from pooler.admin.host import AdminHost
from pooler.pool.lists import MemberList
from pooler.pool.pool import Pool
from pooler.pool.registry import Registry
from pooler.relay.absentee import Absentee
from pooler.relay.client import ClientConnection
from pooler.relay.server import ServerConnection
from pooler.relay.tls import tls_text
from pooler.wire.parameters import Values

Connection = ClientConnection | ServerConnection


def clients(host: AdminHost) -> Iterator[Row]:
    """Those that are logged in, or carry a cancel request."""
    view = _View(host.registry)
    noted = [
        view.note(connection, found.state)
        for pool in host.registry.sorted_pools()
        for found in pool.client_lists()
        for connection in _members(found)
    ]
    return map(view.row, noted)


def servers(host: AdminHost) -> Iterator[Row]:
    """Every server connection."""
    view = _View(host.registry)
    noted = [
        view.note(connection, found.state)
        for pool in host.registry.sorted_pools()
        for found in pool.server_lists()
        for connection in _members(found)
    ]
    return map(view.row, noted)


def sockets(host: AdminHost) -> Iterator[Row]:
    """Clients and servers, those that log in included, with what is in their buffers."""
    return _sockets(host.registry, lambda connection: True)


def active_sockets(host: AdminHost) -> Iterator[Row]:
    """Those of SHOW SOCKETS that have something in their buffers, or a message half way."""
    return _sockets(host.registry, lambda connection: any(_buffers(connection)))


def fds(host: AdminHost) -> list[Row]:
    """Descriptors: of listeners, and of connections outside of the console.

    Only the numbers are given: the descriptors themselves are not passed, and what another process would need
    to go on with the connections is left out. `cancel` is 0, `password` and the SCRAM keys are NULL.
    """
    registry = host.registry
    nothing = (None,) * 7
    listeners: list[Row] = [
        (fd, "pooler", None, None, address, port, 0, 0, *nothing) for fd, address, port in host.listener_fds()
    ]
    lists = [registry.login_clients]
    for pool in registry.sorted_pools():
        if not pool.database.admin:
            lists += [found for found, _ in _socket_lists(pool)]
    view = _View(registry)
    return listeners + [
        view.fd_row(connection, fd)
        for found in lists
        for connection in _members(found)
        if (fd := _descriptor(connection.transport))
    ]


def held_bytes(connection: Connection) -> int:
    """Bytes that were read from a connection and could not be passed on yet."""
    more = connection.pending if isinstance(connection, ClientConnection) else connection.inbox
    return len(connection.head) + len(more)


def _members(found: MemberList) -> Iterator[Connection]:
    for member in found:
        yield cast(Connection, member)


def _socket_lists(pool: Pool) -> tuple[tuple[MemberList, str], ...]:
    """What SHOW SOCKETS lists of a pool, and how it calls their states."""
    return (
        (pool.active_clients, "cl_active"),
        (pool.waiting_clients, "cl_waiting"),
        (pool.active_servers, "sv_active"),
        (pool.idle_servers, "sv_idle"),
        (pool.used_servers, "sv_used"),
        (pool.tested_servers, "sv_tested"),
        (pool.new_servers, "sv_login"),
    )


def _sockets(registry: Registry, wanted: Callable[[Connection], bool]) -> Iterator[Row]:
    view = _View(registry)
    lists: list[tuple[MemberList, str]] = []
    for pool in registry.sorted_pools():
        lists += _socket_lists(pool)
    lists.append((registry.login_clients, "cl_login"))
    noted = [
        (view.note(connection, state), _buffers(connection))
        for found, state in lists
        for connection in _members(found)
        if wanted(connection)
    ]
    return (view.row(note) + buffers for note, buffers in noted)


def _buffers(connection: Connection) -> tuple[int, ...]:
    """recv_pos, pkt_pos, pkt_remain, send_pos, send_remain, pkt_avail, send_avail.

    A connection has no fixed buffer here; the positions are those of one that holds just what is there.
    """
    held = held_bytes(connection)
    return held, 0, int(connection.remaining), 0, 0, held, connection.unsent()


def _descriptor(transport: Any) -> int:
    """0 for a connection that is not up yet, as PgBouncer has it for a link that is not there."""
    sock = None if transport is None else transport.get_extra_info("socket")
    return 0 if sock is None else int(sock.fileno())


class _Note(NamedTuple):
    """What of a connection may be different a moment later."""

    connection: Connection
    state: str
    user: str | None
    database: str | None
    link: Connection | None
    transport: Any
    request_ns: int
    query_ns: int
    close_needed: bool
    prepared_statements: int
    params: Values


class _View:
    """What all rows of one answer have in common: the moment, and the names of parameters."""

    def __init__(self, registry: Registry) -> None:
        self._parameters = registry.parameters
        self._now_ns = time.monotonic_ns()
        self._epoch_ns = time.time_ns() - self._now_ns

    def note(self, connection: Connection, state: str) -> _Note:
        """For `row`: with tens of thousands of connections, rows are made while others get their turn."""
        link = _linked(connection)
        return _Note(
            connection,
            "idle" if state == "active" and link is None else state,
            _user(connection),
            connection.pool.database.name if connection.pool is not None else None,
            link,
            connection.transport,
            connection.request_ns,
            connection.query_ns if isinstance(connection, ClientConnection) else 0,
            isinstance(connection, ServerConnection) and connection.close_needed,
            _prepared_statements(connection),
            connection.params,
        )

    def row(self, note: _Note) -> Row:
        """The 21 columns of SHOW CLIENTS."""
        connection = note.connection
        waited_us = self._waited_us(note)
        return (
            "C" if isinstance(connection, ClientConnection) else "S",
            note.user or "(nouser)",
            note.database or "(nodb)",
            "none" if connection.replication is None else connection.replication.kind.value,
            note.state,
            connection.remote.host,
            connection.remote.port,
            connection.local.host,
            connection.local.port,
            self._moment(connection.connect_ns),
            self._moment(note.request_ns),
            waited_us // 1_000_000,
            waited_us % 1_000_000,
            int(note.close_needed),
            _pointer(connection),
            "" if note.link is None else _pointer(note.link),
            _remote_pid(connection),
            tls_text(note.transport),
            self._parameters.value(note.params, "application_name") or "",
            note.prepared_statements,
            connection.id,
        )

    def fd_row(self, connection: Connection, fd: int) -> Row:
        """The 15 columns of SHOW FDS."""
        link = _linked(connection)
        return (
            fd,
            "client" if isinstance(connection, ClientConnection) else "server",
            _user(connection),
            connection.pool.database.name if connection.pool is not None else None,
            connection.remote.host,
            connection.remote.port,
            0,
            0 if link is None else _descriptor(link.transport),
            *self._values(
                connection, ("client_encoding", "standard_conforming_strings", "DateStyle", "TimeZone")
            ),
            None,
            None,
            None,
        )

    def _values(self, connection: Connection, names: Iterable[str]) -> Iterator[str | None]:
        return (self._parameters.value(connection.params, name) for name in names)

    def _waited_us(self, note: _Note) -> int:
        """How long a client's query runs or waits. In the console a first one never ends, as in PgBouncer."""
        return int(self._now_ns - note.query_ns) // 1000 if note.query_ns else 0

    def _moment(self, monotonic_ns: int) -> str:
        seconds = (self._epoch_ns + monotonic_ns) // 1_000_000_000
        return time.strftime("%Y-%m-%d %H:%M:%S %Z", time.localtime(seconds))


def _user(connection: Connection) -> str | None:
    if isinstance(connection, ClientConnection):
        return None if connection.credentials is None else connection.credentials.name
    return connection.pool.credentials.name


def _prepared_statements(connection: Connection) -> int:
    if isinstance(connection, ServerConnection):
        return len(connection.prepared)
    return 0 if connection.statements is None else len(connection.statements)


def _linked(connection: Connection) -> Connection | None:
    """What works for it, or what it works for; a client that has left is not shown."""
    link = connection.link
    if isinstance(connection, ServerConnection) and isinstance(link, Absentee):
        return None
    return cast("Connection | None", link)


def _pointer(connection: Connection) -> str:
    """How the log calls the connection."""
    return f"{connection.id:#x}"


def _remote_pid(connection: Connection) -> int:
    """The process at the other end of a unix socket; else what a server says itself, in its cancel key."""
    if isinstance(connection, ServerConnection) and connection.remote.pid == 0:
        return int.from_bytes(connection.cancel_key[:4], "big")
    return connection.remote.pid
