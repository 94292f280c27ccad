"""The conversation with a console client, from its welcome to its end."""

from collections.abc import Callable, Iterable

from pooler.admin import replies
from pooler.admin.actions import full_resume
from pooler.admin.commands import execute
from pooler.admin.console import Reply, Wait
from pooler.admin.errors import QUERY_CANCELED, AdminError
from pooler.admin.host import AdminHost
from pooler.config.settings import Settings
from pooler.pool.registry import Pause, Shutdown
from pooler.relay.client import ClientConnection, ClientPhase
from pooler.service.version import PGBOUNCER_COMPATIBILITY
from pooler.wire import messages
from pooler.wire.errors import ProtocolError
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
    PARSE,
    QUERY,
    SYNC,
    TERMINATE,
)

BUFFER_LIMIT = 1024 * 1024
"""Bytes of a message, of what is read ahead while a command waits, of replies that a client has not read."""

_COPY = frozenset((COPY_DATA, COPY_DONE, COPY_FAIL))
_EXTENDED = frozenset((PARSE, BIND, EXECUTE))
_NOT_FOR_CONSOLE = frozenset((SYNC, DESCRIBE, CLOSE, FLUSH, FUNCTION_CALL))


def console_welcome(
    cancel_key: bytes, settings: Settings, parameters: Iterable[tuple[str, str]] = ()
) -> bytes:
    """What a client is told when it is in: the console's parameters, then its own, and its cancel key."""
    reported = (
        ("server_version", f"{PGBOUNCER_COMPATIBILITY}/bouncer"),
        ("client_encoding", "UTF8"),
        ("server_encoding", "UTF8"),
        ("DateStyle", "ISO"),
        ("TimeZone", "GMT"),
        ("standard_conforming_strings", "on"),
        ("is_superuser", "on"),
        *parameters,
    )
    parts = [messages.AUTHENTICATION_OK]
    parts += (messages.parameter_status(name, value) for name, value in reported)
    parts.append(messages.backend_key_data(cancel_key))
    if settings.login_notify_message:
        parts.append(messages.notice(settings.login_notify_message))
    parts.append(messages.READY_IDLE)
    return b"".join(parts)


class AdminSession(ClientPhase):
    """A client of the admin database: one query after the other, each answered before the next is run."""

    def __init__(self, client: ClientConnection, host: AdminHost, is_admin: bool) -> None:
        self.client = client
        self.host = host
        self.is_admin = is_admin
        self._registry = host.registry
        self._buffer = bytearray()
        self._wait: Wait | None = None
        self._pieces: replies.Pieces | None = None
        self._forget: Callable[[], None] = _nothing

    # ClientPhase -------------------------------------------------------------------------------------

    def received(self, data: bytes) -> None:
        """Queries; while a command waits they are kept for later."""
        self._buffer += data
        if self._wait is not None:
            self._registry.check_waits()
        if self._wait is None:
            self._go_on()
        elif len(self._buffer) > BUFFER_LIMIT:
            self.client.hold_reading()

    def proceed(self) -> None:
        """A console client never waits in a pool."""

    def closed(self, refusal: str) -> None:
        """Gives up what it was waiting for; a PAUSE that was complete stays in force."""
        self._abandon("its client disconnected")
        self._buffer.clear()

    def cancelled(self) -> None:
        """Ctrl-C: ends a PAUSE or SUSPEND of the pooler, whoever gave it, and the wait of this client."""
        waiting = self._wait is not None and self._wait.outcome is not None
        if not waiting:
            self._registry.log.warning("admin cancel request for non-waiting client?", self.client.describe())
        if self._registry.shutdown is Shutdown.NONE and self._registry.pause is not Pause.NONE:
            full_resume(self.host)
        if waiting:
            self._abandon("cancelled")
            self._answer(_canceled)
            self._resume_reading()

    # Messages ----------------------------------------------------------------------------------------

    def _go_on(self) -> None:
        try:
            for kind, body in messages.split(self._buffer, BUFFER_LIMIT):
                self._message(kind, body)
                if self.client.closed or self._wait is not None:
                    return
        except ProtocolError as error:
            self.client.disconnect(str(error))

    def _message(self, kind: int, body: bytes) -> None:
        client = self.client
        if kind == QUERY:
            self._query(body)
        elif kind == TERMINATE:
            client.disconnect("client close request", notify=False)
        elif kind in _EXTENDED:
            self._refuse("extended query protocol not supported by admin console")
        elif kind in _NOT_FOR_CONSOLE:
            self._refuse(f"unsupported packet type for admin console: {kind}")
        elif kind not in _COPY:
            self._registry.log.error(f"unknown pkt from client: {kind}/{kind:#x}", client.describe())
            client.disconnect("unknown pkt")

    def _query(self, body: bytes) -> None:
        if self.client.context.disable_pqexec:
            self._registry.log.error('client used "Query" packet type', self.client.describe())
            self.client.disconnect("PQexec disallowed")
            return
        self._count()
        end = body.find(b"\x00")
        if end < 0:
            self.client.disconnect("incomplete query")
            return
        text = messages.decode(body[:end])
        if self._registry.log.debugging:
            self._registry.log.debug(f"got admin query: {text}")
        self._answer(lambda: execute(self, text))

    def _refuse(self, text: str) -> None:
        self._count()
        self.client.send(self._error(AdminError(text)) + messages.READY_IDLE)
        self.client.disconnect("bad packet")

    def _count(self) -> None:
        """Counts one query and one transaction a connection, as PgBouncer does: no server ever ends them."""
        client = self.client
        if client.query_ns == 0:
            client.query_ns = client.request_ns
            client.xact_ns = client.request_ns
            stats = self._registry.admin_pool.stats
            stats.query_count += 1
            stats.xact_count += 1

    # Replies -----------------------------------------------------------------------------------------

    def _answer(self, command: Callable[[], Reply]) -> None:
        """Sends the reply of a command, or waits for it."""
        try:
            reply = command()
        except AdminError as error:
            self._deliver(iter([(self._error(error) + messages.READY_IDLE, False)]))
            return
        if isinstance(reply, Wait):
            self._wait_for(reply)
        else:
            self._deliver(replies.simple_answer(reply))

    def _deliver(self, pieces: replies.Pieces) -> None:
        """Sends the next piece; the others when it is the loop's turn, and the client reads."""
        piece, more = next(pieces)
        self.client.send(piece)
        if more or self.client.unsent() > BUFFER_LIMIT:
            self._pieces = pieces if more else None
            self._wait_for(Wait(lambda: self.client.unsent() <= BUFFER_LIMIT))

    def _error(self, error: AdminError) -> bytes:
        self._registry.log.error(error.message)
        if self._registry.settings.log_pooler_errors:
            self._registry.log.warning(f"pooler error: {error.message}", self.client.describe())
        return replies.error(error)

    # Waiting -----------------------------------------------------------------------------------------

    def _wait_for(self, wait: Wait) -> None:
        self._wait = wait
        self._forget = self._registry.when(wait.over, self._waited)

    def _waited(self) -> None:
        wait, pieces = self._wait, self._pieces
        self._stop_waiting()
        if pieces is not None:
            self._deliver(pieces)
        elif wait is not None and wait.outcome is not None:
            self._answer(wait.outcome)
        self._resume_reading()

    def _abandon(self, reason: str) -> None:
        wait = self._wait
        self._stop_waiting()
        if wait is not None and wait.abandoned is not None:
            wait.abandoned(reason)

    def _stop_waiting(self) -> None:
        self._forget()
        self._forget = _nothing
        self._wait = None
        self._pieces = None

    def _resume_reading(self) -> None:
        if self._wait is None and not self.client.closed:
            self.client.release_reading()
            self._go_on()


def _nothing() -> None:
    pass


def _canceled() -> Reply:
    raise AdminError("canceling statement due to user request", QUERY_CANCELED)
