"""A pooler without sockets: a real registry with real connections, over transports that only take notes."""

import socket
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from pooler.admin.audit import Audit
from pooler.admin.host import Change
from pooler.admin.pauses import PauseClaims
from pooler.admin.session import AdminSession
from pooler.config.entries import AutoDatabase, parse_database
from pooler.config.save import Saved
from pooler.config.snapshot import Snapshot
from pooler.pool.lists import MemberList
from pooler.pool.pool import Pool
from pooler.pool.registry import Connector, Pause, Registry, Shutdown
from pooler.relay import address
from pooler.relay.client import ClientConnection, ClientPhase
from pooler.relay.context import Context
from pooler.relay.server import ServerConnection
from pooler.wire import messages
from pooler.wire.messages import parse_data_row, query
from pooler.wire.parameters import TrackedParameters

Reply = tuple[str, Any]
"""Type of a message, and what it says: fields of errors and notices, columns, cells, or text."""


class FakeLog:
    """Keeps the lines as `LEVEL prefix message`, those of the audit for themselves."""

    debugging = False
    noisy = False

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.audit: list[str] = []

    def error(self, message: str, prefix: str = "") -> None:
        self.lines.append(f"ERROR {prefix}{message}")

    def warning(self, message: str, prefix: str = "") -> None:
        self.lines.append(f"WARNING {prefix}{message}")

    def info(self, message: str, prefix: str = "") -> None:
        (self.audit if message.startswith("audit: ") else self.lines).append(f"LOG {prefix}{message}")

    def debug(self, message: str, prefix: str = "") -> None:
        self.lines.append(f"DEBUG {prefix}{message}")

    def noise(self, message: str, prefix: str = "") -> None:
        self.lines.append(f"NOISE {prefix}{message}")


class FakeSocket:
    """Knows its number."""

    def __init__(self, number: int) -> None:
        self._number = number

    def fileno(self) -> int:
        return self._number


class FakeTransport:
    """`sent` is what was written, `unsent` how much of it was not taken yet, as the test says."""

    def __init__(self, number: int = 9) -> None:
        self.sent = bytearray()
        self.unsent = 0
        self.closed = False
        self.reading = True
        self._socket = FakeSocket(number)

    def write(self, data: bytes) -> None:
        self.sent += data

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def get_extra_info(self, name: str) -> Any:
        return self._socket if name == "socket" else None


class NoConnector(Connector):
    """Never gets a server."""

    def connect(self, pool: Pool) -> None:
        pool.database.connections -= 1


class LoggingIn(ClientPhase):
    """A client that has not said anything yet."""

    def received(self, data: bytes) -> None: ...

    def proceed(self) -> None: ...

    def closed(self, refusal: str) -> None: ...

    def cancelled(self) -> None: ...


class FakePooler:
    """The host of the console, and whatever a test connects to it."""

    def __init__(self, snapshot: Snapshot | None = None) -> None:
        self.soon: list[Callable[[], None]] = []
        self.log = FakeLog()
        self.registry = Registry(
            snapshot or Snapshot(),
            TrackedParameters(()),
            self.log,
            lambda callback: self.soon.append(callback),
        )
        self.registry.connector = NoConnector()
        self.context = Context(self.registry, b"")
        self.drained = False
        self.shutdowns: list[Shutdown] = []
        self.settings_set: list[tuple[str, str]] = []
        self.certificates_in_use: list[tuple[str, str, str, datetime]] = []
        self.failure: Exception | None = None
        self.reloads = 0
        self.audit = Audit(self.log)
        self.pauses = PauseClaims()
        self.later: list[tuple[float, Callable[[], None]]] = []
        self.context.call_later = lambda seconds, callback: self.later.append((seconds, callback))
        self.file = self.registry.snapshot
        self.file_changes: list[Change] = []
        self.saved: tuple[list[Saved], list[str]] = ([], [])

    # AdminHost

    def log_lines(self) -> list[tuple[int, str, str, str]]:
        return [(1, "2026-11-21 10:00:00.000 UTC", "LOG", "process up")]

    def certificates(self) -> list[tuple[str, str, str, datetime]]:
        return self.certificates_in_use

    def version_line(self) -> str:
        return "PgBouncer 1.25.2"

    def dns_rows(self) -> Sequence[tuple[str, int, str]]:
        return [("db.example", 12, "10.0.0.1:0,10.0.0.2:0")]

    def dns_counts(self) -> tuple[int, int, int, int]:
        return 1, 2, 3, 4

    def listener_fds(self) -> Sequence[tuple[int, str, int]]:
        return [(5, "127.0.0.1", 6432), (6, "unix", 6432)]

    def in_thread(self, work: Callable[[], None], done: Callable[[], None]) -> None:
        work()
        self.soon.append(done)

    def reload(self) -> None:
        if self.failure is not None:
            raise self.failure
        self.reloads += 1

    def preview_reload(self) -> tuple[Snapshot, list[Change]]:
        return self.read_config(), self.file_changes

    def read_config(self) -> Snapshot:
        if self.failure is not None:
            raise self.failure
        return self.file

    def values_set(self) -> dict[str, str]:
        return dict(self.settings_set)

    def save_config(self) -> tuple[list[Saved], list[str]]:
        if self.failure is not None:
            raise self.failure
        return self.saved

    def set_setting(self, name: str, text: str) -> str | None:
        if self.failure is not None:
            raise self.failure
        self.settings_set.append((name, text))
        return None

    def suspend(self) -> None:
        self.registry.set_pause(Pause.SUSPEND)

    def is_drained(self) -> bool:
        return self.drained

    def resume_from_suspend(self) -> None:
        self.registry.set_pause(Pause.NONE)

    def shutdown(self, mode: Shutdown) -> None:
        self.shutdowns.append(mode)
        self.registry.shutdown = mode

    # For tests

    def pause(self) -> Pause:
        """What state it is in now."""
        return self.registry.pause

    def is_paused(self, database: str) -> bool:
        """Whether PAUSE or KILL of this database is in force."""
        return self.registry.databases[database].paused

    def run(self) -> None:
        """What the event loop would do next, until there is nothing left."""
        while self.soon:
            self.soon.pop(0)()

    def console(self, is_admin: bool = True) -> "FakeConsole":
        return FakeConsole(self, is_admin)

    def client(self, database: str, user: str, fd: int = 9) -> ClientConnection:
        """A client that is logged in, and idle."""
        found = self.registry.find_or_register_database(database)
        assert found is not None
        client = self.connecting_client(fd)
        client.phase = None
        client.greeted = True
        client.database = found
        client.credentials = self.registry.global_credentials(user)
        client.pool = self.registry.pool(found, found.forced or client.credentials)
        client.move_last(client.pool.active_clients)
        return client

    def connecting_client(self, fd: int = 9) -> ClientConnection:
        """A client that has connected, and no more."""
        client = ClientConnection(self.context)
        client.transport = FakeTransport(fd)
        client.phase = LoggingIn()
        client.remote = address.Address("10.1.1.1", 4000 + int(client.id))
        client.local = address.Address("10.1.1.2", 6432)
        return client

    def server(self, pool: Pool, place: MemberList, fd: int = 19) -> ServerConnection:
        """A server connection in one of the pool's lists."""
        remote = address.Address("10.2.2.2", 5432)
        target = address.Target(socket.AF_INET, ("10.2.2.2", 5432), "10.2.2.2", remote)
        server = ServerConnection(self.context, pool, target)
        server.transport = FakeTransport(fd)
        server.local = address.Address("10.1.1.2", 3000)
        server.cancel_key = (4711).to_bytes(4, "big") + b"keys"
        server.ready = True
        pool.database.connections += 1
        assert pool.credentials.user is not None
        pool.credentials.user.connections += 1
        server.move_last(place)
        return server

    def busy_server(self, database: str, user: str) -> ServerConnection:
        """A server that works for a client."""
        client = self.client(database, user)
        assert client.pool is not None
        server = self.server(client.pool, client.pool.active_servers)
        client.link, server.link = server, client
        server.ready = False
        return server


class FakeConsole:
    """A client of the admin database."""

    def __init__(self, pooler: FakePooler, is_admin: bool) -> None:
        registry = pooler.registry
        self.pooler = pooler
        self.transport = FakeTransport()
        self.client = pooler.connecting_client()
        self.client.transport = self.transport
        self.client.greeted = True
        self.client.database = registry.admin_pool.database
        self.client.credentials = registry.global_credentials("admin" if is_admin else "stats")
        self.client.pool = registry.admin_pool
        self.client.move_last(registry.admin_pool.active_clients)
        self.session = AdminSession(self.client, pooler, is_admin)
        self.client.phase = self.session

    def send(self, data: bytes) -> None:
        self.client.data_received(data)

    def ask(self, sql: str) -> list[Reply]:
        """Sends a query; its replies as far as they come at once."""
        self.send(query(sql))
        return self.replies()

    def rows(self, sql: str) -> list[tuple[str | None, ...]]:
        """Of a SHOW that works."""
        replies = self.ask(sql)
        assert replies[-2:] == [("C", "SHOW"), ("Z", "I")], replies
        return [body for kind, body in replies if kind == "D"]

    def table(self, sql: str) -> list[dict[str, str | None]]:
        """The same by column."""
        replies = self.ask(sql)
        names = [name for name, _ in next(body for kind, body in replies if kind == "T")]
        return [dict(zip(names, body, strict=True)) for kind, body in replies if kind == "D"]

    def error(self, sql: str) -> str:
        """The message of a query that fails with 08P01."""
        (kind, fields), ready = self.ask(sql)
        assert kind == "E"
        assert (fields["S"], fields["C"]) == ("ERROR", "08P01")
        assert ready == ("Z", "I")
        return str(fields["M"])

    def replies(self) -> list[Reply]:
        """What has been sent to the client since the last look, after everything due has happened."""
        self.pooler.run()
        sent = self.transport.sent
        found = [decoded(chr(kind), body) for kind, body in messages.split(sent, 1 << 30)]
        assert not sent, "half a message"
        return found


def decoded(kind: str, body: bytes) -> Reply:
    """A message of the pooler, readable."""
    if kind in "EN":
        fields = [field.decode() for field in body.split(b"\x00") if field]
        return kind, {field[0]: field[1:] for field in fields}
    if kind == "T":
        return kind, _columns(body)
    if kind == "D":
        return kind, tuple(None if cell is None else cell.decode() for cell in parse_data_row(body))
    return kind, body.rstrip(b"\x00").decode()


def _columns(body: bytes) -> list[tuple[str, int]]:
    columns: list[tuple[str, int]] = []
    position = 2
    while position < len(body):
        name, position = messages.read_string(body, position)
        columns.append((name, int.from_bytes(body[position + 6 : position + 10], "big")))
        position += 18
    return columns


def databases(**connstrs: str) -> Snapshot:
    """A configuration with these databases; `_` is the `*` entry."""
    everything = connstrs.pop("_", None)
    return Snapshot(
        databases={name: parse_database(name, connstr) for name, connstr in connstrs.items()},
        autodb=None if everything is None else AutoDatabase(everything),
    )
