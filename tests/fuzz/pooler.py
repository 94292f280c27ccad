"""A pooler that clients can log in to, without sockets and without an event loop."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pooler.auth.scram_keys import ScramSecret
from pooler.auth.secrets import md5_secret
from pooler.config.entries import parse_database
from pooler.config.settings import DEFAULTS
from pooler.config.snapshot import Snapshot
from pooler.pool.pool import Pool
from pooler.pool.registry import Connector, Registry
from pooler.relay.address import Address
from pooler.relay.client import ClientConnection, ClientPhase
from pooler.relay.context import Context
from pooler.relay.login import PASSWORD_MESSAGE_LIMIT, ClientLogin
from pooler.wire.messages import AUTHENTICATION_OK, parse_error
from pooler.wire.parameters import TrackedParameters

DATABASE = "db"
CONSOLE = "pgbouncer"
ADMIN = "ada"
ITERATIONS = 1

PASSWORDS = {
    ADMIN: "engine-1842",
    "plain": "secret-plain",
    "hashed": "secret-hashed",
    "scram": "secret-scram",
}
"""Of the users that can log in. `empty` has a secret without anything in it."""

METHODS = ("plain", "md5", "scram-sha-256")

SILENT_ENDS = ("client close request", "cancel request", "client unexpected eof")
"""What the pooler closes a connection for without an answer."""

Message = tuple[bytes, bytes]
"""Its type and its body."""


def secrets() -> dict[str, str]:
    """The userlist: every kind of secret."""
    scram = ScramSecret.from_password(PASSWORDS["scram"], ITERATIONS, b"0123456789abcdef")
    return {
        ADMIN: PASSWORDS[ADMIN],
        "plain": PASSWORDS["plain"],
        "hashed": md5_secret("hashed", PASSWORDS["hashed"]),
        "scram": str(scram),
        "empty": "",
    }


def can_log_in(user: str, method: str) -> bool:
    """Whether the right password of this user is of use where clients are asked that way."""
    return user in PASSWORDS and not (user == "hashed" and method == "scram-sha-256")


class Log:
    """Keeps the lines."""

    debugging = True
    noisy = True

    def __init__(self) -> None:
        self.lines: list[str] = []

    def error(self, message: str, prefix: str = "") -> None:
        self.lines.append(prefix + message)

    warning = info = debug = noise = error


class Console(ClientPhase):
    """The admin console, which does nothing here."""

    def received(self, data: bytes) -> None: ...

    def proceed(self) -> None: ...

    def closed(self, refusal: str) -> None: ...

    def cancelled(self) -> None: ...


class NoServers(Connector):
    """Servers that never answer."""

    def connect(self, pool: Pool) -> None: ...


class Transport:
    """What the pooler writes, and whether it still reads."""

    def __init__(self) -> None:
        self.written = bytearray()
        self.closed = False
        self.reading = True

    def write(self, data: bytes) -> None:
        assert not self.closed, f"written after the end: {data!r}"
        self.written += data

    def close(self) -> None:
        assert not self.closed, "closed twice"
        self.closed = True

    def abort(self) -> None: ...

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def get_write_buffer_size(self) -> int:
        return 0

    def get_extra_info(self, name: str) -> None: ...


class Pooler:
    """One pooler that asks by `method`; it has the databases `db` and, where `*` is set, any other."""

    def __init__(self, method: str, **settings: object) -> None:
        self.method = method
        self.log = Log()
        self.soon: list[Callable[[], None]] = []
        parsed = DEFAULTS
        own = {"auth_type": method, "scram_iterations": ITERATIONS, "admin_users": ADMIN, "verbose": 2}
        for name, value in {**own, **settings}.items():
            parsed = parsed.replace(name, str(value))
        snapshot = Snapshot(parsed, {DATABASE: parse_database(DATABASE, "host=10.2.2.2")})
        self.registry = Registry(snapshot, TrackedParameters(()), self.log, self.soon.append)
        self.registry.apply_secrets(secrets())
        self.registry.connector = NoServers()
        self.context = Context(self.registry, b"seed")
        self.context.call_later = lambda seconds, callback: None
        self.context.console = lambda client, is_admin: Console()
        self.context.console_welcome = lambda key, own: AUTHENTICATION_OK
        database = self.registry.databases[DATABASE]
        for user in secrets():
            pool = self.registry.pool(database, self.registry.global_credentials(user))
            pool.welcome = AUTHENTICATION_OK

    def connect(self) -> Client:
        return Client(self)

    def assert_nothing_left(self) -> None:
        """No trace of clients that are gone."""
        registry = self.registry
        assert registry.client_count == 0
        assert list(registry.login_clients) == []
        assert registry.cancel_keys == {}
        assert all(database.client_connections == 0 for database in registry.databases.values())
        assert all(user.client_connections == 0 for user in registry.users.values())
        assert all(not list(pool.waiting_clients) for pool in registry.pools.values())
        assert set(registry.databases) == {DATABASE, CONSOLE}
        assert set(registry.users) <= {*secrets(), CONSOLE}


class Client:
    """The bytes of one client; whatever it sends, the pooler keeps its promises.

    `sent` is what the pooler has read, `pauses` how much that was after each piece.
    """

    def __init__(self, pooler: Pooler) -> None:
        self.pooler = pooler
        self.transport = Transport()
        self.connection: Any = ClientConnection(pooler.context)
        self.connection.remote = Address("10.1.1.1", 5)
        self.login = ClientLogin(self.connection, False)
        self.connection.phase = self.login
        self.connection.connection_made(self.transport)
        self.sent = bytearray()
        self.pauses: set[int] = set()

    def send(self, data: bytes, cuts: tuple[int, ...] = ()) -> None:
        """In pieces of these sizes, the last of which repeats; no cuts: at once. Stops where nobody reads."""
        sizes = list(cuts)
        while data and not self.transport.closed and self.transport.reading:
            size = (sizes.pop(0) if len(sizes) > 1 else sizes[0]) if sizes else len(data)
            chunk, data = data[: max(size, 1)], data[max(size, 1) :]
            self.sent += chunk
            self.pauses.add(len(self.sent))
            self.connection.data_received(chunk)
            self._check_memory(len(chunk))

    def hang_up(self) -> None:
        """The peer is gone; checks how it ended."""
        self._check_end()
        self.connection.connection_lost(None)
        while self.pooler.soon:
            self.pooler.soon.pop(0)()

    @property
    def logged_in(self) -> bool:
        """Whether it was told so, ever."""
        return any(message == (b"R", bytes(4)) for message in self.received())

    @property
    def refused(self) -> str | None:
        """The text of the error that it was refused with."""
        errors = [parse_error(body).message for kind, body in self.received() if kind == b"E"]
        return errors[0] if errors else None

    def received(self) -> list[Message]:
        """What the pooler has sent, but for the single bytes that answer encryption requests."""
        rest = bytes(self.transport.written)
        while rest[:1] == b"N":
            rest = rest[1:]
        found: list[Message] = []
        while rest:
            length = int.from_bytes(rest[1:5], "big")
            assert 4 <= length < len(rest), f"half a message: {rest!r}"
            found.append((rest[:1], rest[5 : 1 + length]))
            rest = rest[1 + length :]
        return found

    def _check_memory(self, chunk: int) -> None:
        held = len(self.login.buffer) + len(self.connection.pending) + len(self.connection.head)
        assert held <= PASSWORD_MESSAGE_LIMIT + 5 + chunk

    def _check_end(self) -> None:
        """Who is refused is told so, as the last thing before the connection is closed, and nobody else."""
        messages = self.received()
        kinds = [kind for kind, _ in messages]
        assert self.transport.closed == self.connection.closed
        if not self.transport.closed:
            assert b"E" not in kinds
            return
        reason = next(line for line in reversed(self.pooler.log.lines) if "closing because: " in line)
        if any(end in reason for end in SILENT_ENDS):
            assert b"E" not in kinds
            return
        assert kinds.count(b"E") == 1
        assert kinds[-1] == b"E"
        error = parse_error(messages[-1][1])
        assert (error.severity, error.sqlstate) == ("FATAL", "08P01")
        assert error.message
