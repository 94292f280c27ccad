"""The conversation with a console client, from its welcome to its end."""

from collections.abc import Generator, Iterable, Sequence

from pooler.admin import audit, replies, statements
from pooler.admin.actions import full_resume
from pooler.admin.commands import Prepared
from pooler.admin.console import Result, Wait
from pooler.admin.conversation import Conversation
from pooler.admin.delivery import Delivery
from pooler.admin.errors import QUERY_CANCELED, AdminError
from pooler.admin.extended import EXTENDED, ExtendedProtocol
from pooler.admin.host import AdminHost
from pooler.admin.replies import Step
from pooler.config.settings import Settings
from pooler.pool.registry import Pause, Shutdown
from pooler.relay.client import ClientConnection, ClientPhase
from pooler.service.version import PGBOUNCER_COMPATIBILITY
from pooler.wire import messages
from pooler.wire.errors import ProtocolError
from pooler.wire.framing import COPY_DATA, COPY_DONE, COPY_FAIL, FUNCTION_CALL, QUERY, TERMINATE

BUFFER_LIMIT = 1024 * 1024
"""Bytes of a message, and of what is read ahead while a command waits."""

NO_PARAMETER = "42P02"

_COPY = frozenset((COPY_DATA, COPY_DONE, COPY_FAIL))


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
    """A client of the admin database: one message after the other, each answered before the next is run."""

    def __init__(self, client: ClientConnection, host: AdminHost, is_admin: bool) -> None:
        self.client = client
        self.host = host
        self.is_admin = is_admin
        self.conversation = Conversation()
        self._registry = host.registry
        self._buffer = bytearray()
        self._extended = ExtendedProtocol(self)
        self._delivery = Delivery(client, host.registry, self._resume_reading)

    # ClientPhase -------------------------------------------------------------------------------------

    def received(self, data: bytes) -> None:
        """Messages; while a command waits they are kept for later."""
        self._buffer += data
        if self._delivery.busy:
            self._registry.check_waits()
        if not self._delivery.busy:
            self._go_on()
        elif len(self._buffer) > BUFFER_LIMIT:
            self.client.hold_reading()

    def proceed(self) -> None:
        """A console client never waits in a pool."""

    def closed(self, refusal: str) -> None:
        """Gives up what it was waiting for; a PAUSE that was complete stays in force."""
        self._delivery.stop("its client disconnected")
        self._buffer.clear()
        self.conversation = Conversation()

    def cancelled(self) -> None:
        """Ctrl-C: ends a PAUSE or SUSPEND of the pooler, whoever gave it, and the wait of this client."""
        waiting = self._delivery.awaits_command
        if not waiting:
            self._registry.log.warning("admin cancel request for non-waiting client?", self.client.describe())
        if self._registry.shutdown is Shutdown.NONE and self._registry.pause is not Pause.NONE:
            full_resume(self.host)
        if waiting and self._delivery.awaits_command:
            self._delivery.fail(AdminError("canceling statement due to user request", QUERY_CANCELED))

    # Messages ----------------------------------------------------------------------------------------

    def _go_on(self) -> None:
        try:
            for kind, body in messages.split(self._buffer, BUFFER_LIMIT):
                self._message(kind, body)
                if self.client.closed or self._delivery.busy:
                    return
        except ProtocolError as error:
            self.client.disconnect(str(error))

    def _resume_reading(self) -> None:
        if not self.client.closed:
            self.client.release_reading()
            self._go_on()

    def _message(self, kind: int, body: bytes) -> None:
        client = self.client
        if kind == TERMINATE:
            client.disconnect("client close request", notify=False)
        elif kind in EXTENDED:
            self._count()
            self._delivery.start(self._extended.answer(kind, body))
        elif kind == QUERY and client.context.disable_pqexec:
            self._registry.log.error('client used "Query" packet type', client.describe())
            client.disconnect("PQexec disallowed")
        elif kind == QUERY or kind == FUNCTION_CALL:
            self._count()
            if not self._extended.skipping:
                self._query(kind, body)
        elif kind not in _COPY:
            self._registry.log.error(f"unknown pkt from client: {kind}/{kind:#x}", client.describe())
            client.disconnect("unknown pkt")

    def _query(self, kind: int, body: bytes) -> None:
        end = body.find(b"\x00")
        if kind == FUNCTION_CALL:
            self._delivery.start(self._no_function_calls())
        elif end < 0:
            self.client.disconnect("incomplete query")
        else:
            self._delivery.start(self._answer(messages.decode(body[:end])))

    def _count(self) -> None:
        """Counts one query and one transaction a connection, as PgBouncer does: no server ever ends them."""
        client = self.client
        if client.query_ns == 0:
            client.query_ns = client.request_ns
            client.xact_ns = client.request_ns
            stats = self._registry.admin_pool.stats
            stats.query_count += 1
            stats.xact_count += 1

    # Answers -----------------------------------------------------------------------------------------

    def _answer(self, text: str) -> Generator[Step, None, None]:
        """The answer to a query of the simple protocol."""
        self.log_query(text)
        conversation = self.conversation
        conversation.statements.pop("", None)
        conversation.portals.pop("", None)
        try:
            for prepared in statements.prepare_all(text):
                if prepared is statements.EMPTY:
                    yield replies.EMPTY_QUERY
                    continue
                if prepared.parameters:
                    raise AdminError("there is no parameter $1", NO_PARAMETER)
                result = yield from self.run(prepared, ())
                if result is None:
                    return
                yield from replies.simple_answer(result)
        except AdminError as error:
            yield self.failed(error)
        conversation.synced()
        yield replies.ready(conversation.transaction.status)

    def _no_function_calls(self) -> Generator[Step, None, None]:
        yield self.failed(AdminError(f"unsupported packet type for admin console: {FUNCTION_CALL}"))
        yield replies.ready(self.conversation.transaction.status)

    def run(self, prepared: Prepared, values: Sequence[object]) -> Generator[Step, None, Result | None]:
        """Runs a statement, and waits where it does; None if nothing is said then. Raises AdminError."""
        self.conversation.check(prepared)
        reply = prepared.run(self, values)
        if not isinstance(reply, Wait):
            return reply
        yield reply
        return None if reply.outcome is None else reply.outcome()

    def failed(self, error: AdminError) -> bytes:
        """Takes note of an error; its ErrorResponse."""
        self.conversation.failed()
        self._registry.log.error(error.message)
        if self._registry.settings.log_pooler_errors:
            self._registry.log.warning(f"pooler error: {error.message}", self.client.describe())
        return replies.error(error)

    def log_query(self, text: str) -> None:
        """For who wants to see everything."""
        if self._registry.log.debugging:
            self._registry.log.debug(f"got admin query: {audit.masked(text)}")
