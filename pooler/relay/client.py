"""A connection from a client.

Logged in, it looks at the headers of what the client sends, gets a server for it, and passes it on. While it
logs in, and for the whole life of a connection to the admin database, a `ClientPhase` gets the bytes instead.
"""

import select
from abc import ABC, abstractmethod
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, Final, cast

from mypy_extensions import i64, mypyc_attr

from pooler.pool.lists import MemberList
from pooler.pool.members import NOTHING, Client, Server
from pooler.relay import address
from pooler.relay.absentee import abandon
from pooler.relay.server import ServerConnection
from pooler.wire import messages
from pooler.wire.framing import (
    BIND,
    CLOSE,
    COPY_DATA,
    COPY_DONE,
    COPY_FAIL,
    DESCRIBE,
    EXECUTE,
    FLUSH,
    FUNCTION_CALL,
    HEADER,
    PARSE,
    QUERY,
    SYNC,
    TERMINATE,
    body_length,
)
from pooler.wire.heads import HEAD_LIMIT, find_head
from pooler.wire.prepared import FORGETTING_LIMIT, Statement, forgets_all, renamed_bind, statement_name

if TYPE_CHECKING:
    from pooler.pool.catalog import Credentials, Database
    from pooler.relay.context import Context

PENDING_LIMIT: Final = 64 * 1024
"""Bytes that a waiting client may send ahead before its socket is left alone."""

REFUSE: Final = 3
"""The Guard that refuses, as the data path compares it."""

REFUSED_WHOLE: Final = 64 * 1024
"""Bytes of a statement that is not sent on before all of it is there, where it may be refused."""

RUN: Final = b"E\x00\x00\x00\x09\x00\x00\x00\x00\x00S\x00\x00\x00\x04"
"""Execute of the unnamed portal to its end, and Sync: what drivers end most of their requests with."""
DESCRIBED_RUN: Final = b"D\x00\x00\x00\x06P\x00" + RUN
"""Preceded by a Describe of the portal."""
RUN_SIZE: Final = len(RUN)
DESCRIBED_RUN_SIZE: Final = len(DESCRIBED_RUN)

LETTER_D: Final = 0x64

UNEXPECTED_EOF: Final = "client unexpected eof"

QUEUED_NOTICE: Final = "No server connection available in postgres backend, client being queued"


@mypyc_attr(allow_interpreted_subclasses=True)
class ClientPhase(ABC):
    """What handles a client that is not talking to a server: the login, or the admin console."""

    @abstractmethod
    def received(self, data: bytes) -> None:
        """Bytes from the client."""

    @abstractmethod
    def proceed(self) -> None:
        """What the client waited for in a pool is there."""

    @abstractmethod
    def closed(self, refusal: str) -> None:
        """The connection is closed; nothing may be sent any more. `refusal` is why, if the pooler says so."""

    @abstractmethod
    def cancelled(self) -> None:
        """A cancel request came for this client."""


class ClientConnection(Client):
    """A client of the pooler, from the first byte to the last."""

    __slots__ = (
        "cancel_key",
        "canceled",
        "closed",
        "collected",
        "collecting",
        "context",
        "counted",
        "credentials",
        "database",
        "greeted",
        "head",
        "local",
        "passing",
        "pending",
        "phase",
        "reading_stopped",
        "remaining",
        "remote",
        "statements",
        "transport",
        "user_counted",
    )

    context: "Context"
    transport: Any
    phase: ClientPhase | None
    database: "Database | None"
    credentials: "Credentials | None"
    head: bytes
    pending: bytes
    remaining: i64
    passing: bool
    closed: bool
    reading_stopped: bool
    counted: bool
    user_counted: bool
    greeted: bool
    cancel_key: bytes
    remote: address.Address
    local: address.Address
    canceled: "ServerConnection | None"
    statements: dict[bytes, Statement] | None
    collected: bytearray | None
    collecting: i64

    def __init__(self, context: "Context") -> None:
        registry = context.registry
        super().__init__(registry.next_id(), registry.parameters.empty)
        self.context = context
        self.transport = None
        self.phase = None
        self.database = None
        self.credentials = None
        self.head = b""
        self.pending = b""
        self.remaining = 0
        self.passing = True
        self.closed = False
        self.reading_stopped = False
        self.counted = False
        self.user_counted = False
        self.greeted = False
        self.cancel_key = b""
        self.remote = address.UNKNOWN
        self.local = address.UNKNOWN
        self.canceled = None
        self.statements = None
        self.collected = None
        self.collecting = 0
        registry.client_count += 1
        self.move_last(registry.login_clients)

    # asyncio -----------------------------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        """Accepted."""
        self.transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        """Gone."""
        self._vanished()

    def eof_received(self) -> bool:
        """The client has closed its side."""
        self._vanished()
        return False

    def pause_writing(self) -> None:
        """The client reads slower than the server sends."""
        self.congested = True
        server = self.link
        if server is not None:
            cast(ServerConnection, server).hold_reading()

    def resume_writing(self) -> None:
        """The client has caught up."""
        self.congested = False
        server = self.link
        if server is not None:
            server.resume_reading()

    def data_received(self, data: bytes) -> None:
        """Bytes from the client."""
        self.request_ns = monotonic_ns()
        if self.phase is not None:
            self.phase.received(data)
        elif self.stalled:
            self.pending += data
            if len(self.pending) > PENDING_LIMIT:
                self.hold_reading()
        else:
            self._relay(data)

    # Data path ---------------------------------------------------------------------------------------------

    def _relay(self, data: bytes) -> None:
        pool = self.pool
        assert pool is not None
        if self.collected is not None:
            self.collected += data
            if len(self.collected) < self.collecting:
                return
            data = bytes(self.collected)
            self.collected = None
            self.collecting = 0
        elif self.head:
            data = self.head + data
            self.head = b""
        size: i64 = len(data)
        start: i64 = 0
        position: i64 = 0
        completed = False
        server = self.link
        renames = self.context.max_prepared > 0 and pool.mode != 0 and self.replication is None
        guard: i64 = pool.guard if self.replication is None else 0
        if self.remaining > 0:
            if self.remaining >= size:
                self.remaining -= size
                self._pass(server, data, 0, size if self.passing else 0, size)
                self._after_message(server)
                return
            position = self.remaining
            self.remaining = 0
            completed = True
            if not self.passing:
                start = position
        while size - position >= HEADER:
            kind: i64 = data[position]
            length = body_length(data, position)
            if length < 4 or length > self.context.max_packet:
                self._pass(server, data, start, position, size)
                self.disconnect(f"bad packet header: '{data[position : position + HEADER].hex()}'")
                return
            end = position + 1 + length
            if kind == EXECUTE or kind == DESCRIBE:
                left = size - position
                described = left == DESCRIBED_RUN_SIZE and data.endswith(DESCRIBED_RUN)
                if server is not None and (described or (left == RUN_SIZE and data.endswith(RUN))):
                    if self.query_ns == 0:
                        self._query_starts()
                    server.ready = False
                    server.idle_in_transaction = False
                    server.queue.push_run(described)
                    position = size
                    break
            passing = True
            owed = True
            forgetting = False
            if kind == QUERY:
                if self.context.disable_pqexec:
                    self.disconnect("PQexec disallowed")
                    return
                if renames and length > 4 and length < FORGETTING_LIMIT:
                    initial: i64 = LETTER_D if size - position == HEADER else data[position + HEADER]
                    if initial | 0x20 == LETTER_D:
                        if end > size:
                            self.collecting = end - position
                            break
                        forgetting = forgets_all(data[position + HEADER : end])
            elif kind == COPY_DATA or kind == COPY_DONE or kind == COPY_FAIL:
                # With nothing outstanding these were under way when a COPY failed: PostgreSQL would throw
                # them away as well.
                passing = server is not None and server.queue.head != 0
                owed = kind != COPY_DATA
            elif kind == TERMINATE:
                self._pass(server, data, start, position, size)
                self.disconnect("client close request", notify=False)
                return
            elif kind == FLUSH:
                owed = False
            elif not (
                kind == SYNC
                or kind == PARSE
                or kind == BIND
                or kind == EXECUTE
                or kind == DESCRIBE
                or kind == CLOSE
                or kind == FUNCTION_CALL
            ):
                self._pass(server, data, start, position, size)
                self.disconnect("unknown pkt")
                return
            if guard == REFUSE and end > size and length < REFUSED_WHOLE and (kind == QUERY or kind == PARSE):
                self.collecting = end - position
                break
            named: bytes | None = None
            if renames and (kind == PARSE or kind == BIND or kind == DESCRIBE or kind == CLOSE):
                named = statement_name(data, position, end if end < size else size)
                if end > size and (named is None or (named and kind != BIND)):
                    self.collecting = end - position
                    break
                if named and server is not None and server.queue.unsettled > 0:
                    # Whether this name is taken, or stands for anything, depends on answers that are due.
                    self._pass(server, data, start, position, size)
                    self.settling = True
                    self._stall(data, position)
                    return
                if kind == CLOSE and named and server is None:
                    self._forget_statement(named)
                    self.send(messages.CLOSE_COMPLETE_MESSAGE)
                    passing = False
            if passing:
                if self.query_ns == 0:
                    self._query_starts()
                if server is None:
                    server = pool.acquire(self)
                    if server is None:
                        self._stall(data, position)
                        return
                    if self.params is not server.params and self.context.apply(
                        cast(ServerConnection, server), self
                    ):
                        self._stall(data, position)
                        return
                    start = position
                server.ready = False
                server.idle_in_transaction = False
                refusal = b""
                if guard != 0 and (kind == QUERY or kind == PARSE):
                    refusal = self._judge(
                        cast(ServerConnection, server), kind, data, position, min(end, size)
                    )
                if refusal:
                    self._pass(server, data, start, position, size)
                    start = min(end, size)
                    cast(ServerConnection, server).refuse(kind, refusal)
                    passing = False
                elif named:
                    self._pass(server, data, start, position, size)
                    start = min(end, size)
                    passing = self._named(cast(ServerConnection, server), kind, data[position:start], named)
                elif forgetting:
                    server.queue.push_forgetting(kind)
                elif owed:
                    server.queue.push(kind)
            if not passing:
                self._pass(server, data, start, position, size)
                start = end
            if end > size:
                self.remaining = end - size
                self.passing = passing
                position = size
                break
            position = end
        self._pass(server, data, start, position, size)
        if completed:
            self._after_message(server)
        if position >= size:
            return
        if self.collecting > 0 and self.collected is None:
            self.collected = bytearray(data[position:])
        else:
            self.head = data[position:]

    def _judge(self, server: ServerConnection, kind: i64, data: bytes, position: i64, end: i64) -> bytes:
        """The error that the client gets instead, if transaction_mode_guard refuses a Query or a Parse."""
        start = position + HEADER
        if kind == PARSE and start < end:
            start = start + 1 if data[start] == 0 else data.find(b"\x00", start, end) + 1
        if start == 0:
            # The name of the statement is cut.
            return b""
        head = find_head(data, start, end)
        if head < 0:
            return b""
        return self.context.judge(server, self, data[head : min(end, head + HEAD_LIMIT)])

    def _named(self, server: ServerConnection, kind: i64, message: bytes, name: bytes) -> bool:
        """A Parse, Bind, Describe or Close of a named statement, which servers know by another name.

        False: nothing was sent, and the rest of a message that is cut must not be sent either.
        """
        pool = self.pool
        assert pool is not None
        pool.stats.client_bytes += len(message)
        self.bytes_received += len(message)
        if server.queue.skipping:
            return False
        if self.statements is None:
            self.statements = {}
        known = self.statements.get(name)
        if kind == PARSE:
            pool.stats.client_parse_count += 1
            if known is None:
                self.statements[name] = server.parse_named(message[HEADER + len(name) + 1 :], name)
            else:
                server.refuse_parse(name)
        elif kind == CLOSE:
            server.close_named(self.statements.pop(name, None), name)
        elif known is None:
            # Nobody knows this name on a server either, so PostgreSQL itself says that it does not exist.
            server.queue.push(kind)
            server.send(message)
        else:
            server.use_statement(known)
            server.queue.push(kind)
            if kind == BIND:
                pool.stats.bind_count += 1
                server.send(renamed_bind(message, body_length(message, 0), known.name))
            else:
                server.send(known.describe())
        return True

    def _forget_statement(self, name: bytes) -> None:
        if self.statements is not None:
            self.statements.pop(name, None)

    def _pass(self, server: Server | None, data: bytes, start: i64, end: i64, size: i64) -> None:
        """Sends `data[start:end]` on to the server, without a copy where it is all of it."""
        if start >= end or server is None:
            return
        pool = self.pool
        if pool is not None:
            pool.stats.client_bytes += end - start
            self.bytes_received += end - start
        server.send(data if start == 0 and end == size else data[start:end])

    def _query_starts(self) -> None:
        pool = self.pool
        assert pool is not None
        self.query_ns = self.request_ns
        pool.stats.query_count += 1
        self.queries += 1
        if self.xact_ns == 0:
            self.xact_ns = self.request_ns
            pool.stats.xact_count += 1
            self.xacts += 1

    def _stall(self, data: bytes, position: i64) -> None:
        """Keeps what cannot be sent yet: the client is in line, or its parameters are being set."""
        if self.closed:
            return
        self.pending = data[position:]
        self.stalled = True

    def _after_message(self, server: Server | None) -> None:
        """A long message has ended; a server that was ready before that is free only now."""
        if (
            self.remaining == 0
            and server is not None
            and server.ready
            and self.pool is not None
            and self.pool.mode != 0
        ):
            server.release_if_free()

    def prepared_statements(self) -> dict[bytes, Statement]:
        """Its named prepared statements."""
        if self.statements is None:
            self.statements = {}
        return self.statements

    def mid_message(self) -> bool:
        """The server has been sent the first part of a message."""
        return self.remaining > 0 and self.passing

    def proceed(self) -> None:
        """The server is there (or the welcome, while logging in)."""
        if self.phase is not None:
            self.phase.proceed()
            return
        server = self.link
        waits = (
            server is not None
            and self.params is not server.params
            and self.context.apply(cast(ServerConnection, server), self)
        )
        if not waits:
            self.unstall()

    def unstall(self) -> None:
        """Goes on with what the client had sent before it had to wait."""
        data = self.pending
        self.pending = b""
        self.stalled = False
        if data:
            self._relay(data)
        if not self.stalled and not self.closed:
            self.release_reading()

    def stop_waiting(self) -> bytes:
        """No server will see what the client has sent: returns it, for whoever answers in place of one.

        While its parameters are being set on a server, what the client sends later goes on waiting for that.
        """
        data = self.pending
        self.pending = b""
        self.query_ns = 0
        self.xact_ns = 0
        if self.pool is not None and self.link is None:
            self.stalled = False
            self.pool.withdraw(self)
        return data

    def send(self, data: bytes) -> None:
        """Bytes to the client."""
        transport = self.transport
        if transport is not None:
            transport.write(data)

    def unsent(self) -> int:
        """Bytes that the client has not taken yet."""
        return 0 if self.transport is None else int(self.transport.get_write_buffer_size())

    def hold_reading(self) -> None:
        """Reads no more for now."""
        if not self.reading_stopped and self.transport is not None:
            self.reading_stopped = True
            self.context.registry.unread_clients[self] = None
            self.transport.pause_reading()

    def release_reading(self) -> None:
        """Reads again, unless SUSPEND is in force."""
        registry = self.context.registry
        if registry.is_suspended and self.pool is not registry.admin_pool:
            return
        if self.reading_stopped and self.transport is not None:
            self.reading_stopped = False
            self.context.registry.unread_clients.pop(self, None)
            self.transport.resume_reading()

    def check_peer(self) -> None:
        """While nothing is read, nobody is told that the connection was reset."""
        if self.transport is None:
            return
        poll = select.poll()
        poll.register(self.transport.get_extra_info("socket").fileno(), 0)
        if poll.poll(0):
            self._vanished()

    # In a pool ---------------------------------------------------------------------------------------------

    def home(self) -> MemberList:
        """Logging in, or active."""
        if (self.phase is not None and not self.greeted) or self.pool is None:
            return self.context.registry.login_clients
        return self.pool.active_clients

    def server_lost(self, reason: str) -> None:
        """The server that worked for this client was closed."""
        if self.canceled is not None:
            self.disconnect(reason, notify=False)
        elif self.phase is None or self.greeted:
            self.disconnect(reason)
        else:
            self.disconnect("bouncer config error")

    def notify_waiting(self) -> None:
        """Tells the client once that it is queued (query_wait_notify), unless it is still logging in."""
        if self.phase is None:
            self.send(messages.notice(QUEUED_NOTICE))

    # The end -----------------------------------------------------------------------------------------------

    def _vanished(self) -> None:
        if self.closed:
            return
        silent = self.phase is not None and self.pool is None and self.database is None
        self.disconnect("" if silent else UNEXPECTED_EOF, notify=False)

    def disconnect(
        self, reason: str, notify: bool = True, sqlstate: str = messages.PROTOCOL_VIOLATION
    ) -> None:
        """Closes the connection; with `notify` the client is told why, as a FATAL error. An empty reason is
        not logged.
        """
        if self.closed:
            return
        self.closed = True
        registry = self.context.registry
        if reason and registry.settings.log_disconnections:
            age = (monotonic_ns() - self.connect_ns) // 1_000_000_000
            registry.log.info(f"closing because: {reason} (age={age}s)", self.describe())
        if notify and reason and registry.settings.log_pooler_errors:
            registry.log.warning(f"pooler error: {reason}", self.describe())
        server = cast("ServerConnection | None", self.link)
        half_told = server is not None and server.half_passed()
        if self.pool is not None and reason and (notify or half_told or reason == UNEXPECTED_EOF):
            self.pool.errors.add("pooler", reason.partition(":")[0], reason)
        transport = self.transport
        self.transport = None
        registry.unread_clients.pop(self, None)
        self._let_go()
        if self.phase is not None:
            self.phase.closed(reason if notify else "")
            self.phase = None
        registry.client_count -= 1
        self.pending = b""
        self.head = b""
        if transport is None:
            return
        if notify and reason and not half_told:
            transport.write(messages.error("FATAL", sqlstate, reason))
        transport.close()
        self.context.linger(transport)

    def _let_go(self) -> None:
        """Out of every list and count; the server goes back if it is provably clean, and is closed if it is
        not.
        """
        registry = self.context.registry
        if self.awaits != NOTHING and self.pool is not None:
            self.pool.gave_up(self)
        self.leave()
        if self.cancel_key:
            registry.cancel_keys.pop(self.cancel_key, None)
        if self.database is not None and self.counted:
            self.database.client_connections -= 1
        if self.user_counted and self.credentials is not None and self.credentials.user is not None:
            self.credentials.user.client_connections -= 1
        server = cast("ServerConnection | None", self.link)
        under_way = server is not None and server.place is server.pool.cancel_servers
        if server is not None:
            self._give_back(server)
        canceled = self.canceled
        if canceled is not None:
            self.canceled = None
            if not under_way:
                canceled.pool.cancel_arrived(canceled, self)

    def _give_back(self, server: ServerConnection) -> None:
        self.link = None
        server.link = None
        if server.place is server.pool.cancel_servers:
            # The cancel request is under way, and must be known to have arrived before the server it is for
            # is used again.
            return
        if server.closed:
            return
        server.resume_reading()
        if server.task is not None and server.replication is not None:
            # It was logging in for this client alone, and has not failed.
            server.close_needed = True
            server.disconnect("replication client disconnected", terminate=False)
        elif self.mid_message():
            # A Terminate would become part of the half message, and might complete a query that nobody meant.
            reason = "client disconnect before everything was sent to the server"
            server.close_in_query(reason, terminate=False)
        elif not server.ready or server.mid_message() or len(server.queue) > 0:
            abandon(server, self)
        elif server.replication is not None:
            server.disconnect("replication client was closed")
        elif server.unsent() > 0:
            server.disconnect("client disconnect before everything was sent to the server")
        else:
            server.pool.release(server)

    def describe(self) -> str:
        """Its prefix in the log."""
        database = self.database.name if self.database is not None and not self.database.fake else "(nodb)"
        user = self.credentials.name if self.credentials is not None else "(nouser)"
        return address.prefix("C", int(self.id), database, user, self.remote)
