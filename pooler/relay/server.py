"""A connection to PostgreSQL.

Most of its life it is linked to a client and passes on what the server says, looking at message headers only.
Now and then the pooler itself talks to the server (login, reset, check, SET): then a `ServerTask` gets the
messages instead.
"""

from abc import ABC, abstractmethod
from time import monotonic_ns
from typing import TYPE_CHECKING, Any, Final

from mypy_extensions import i64, mypyc_attr

from pooler.pool.members import Client
from pooler.relay import address
from pooler.relay.statements import PreparingServer
from pooler.wire import messages
from pooler.wire.errors import ProtocolError
from pooler.wire.framing import (
    BIND,
    BIND_COMPLETE,
    CLOSE,
    CLOSE_COMPLETE,
    COMMAND_COMPLETE,
    COPY_BOTH_RESPONSE,
    COPY_DATA,
    COPY_IN_RESPONSE,
    DATA_ROW,
    DESCRIBE,
    EMPTY_QUERY,
    ERROR,
    EXECUTE,
    HEADER,
    IDLE,
    NO_DATA,
    NOTICE,
    NOTIFICATION,
    PARAMETER_STATUS,
    PARSE,
    PARSE_COMPLETE,
    PORTAL_SUSPENDED,
    READY_FOR_QUERY,
    ROW_DESCRIPTION,
    body_length,
    skip_rows,
)
from pooler.wire.heads import tag_tells
from pooler.wire.prepared import is_stale_plan
from pooler.wire.requests import ACTION, FAKE, FORWARD, REPLACE

if TYPE_CHECKING:
    from pooler.pool.pool import Pool
    from pooler.relay.context import Context

SHORTEST_TELLING: Final = 4 + len(b"SET\x00")
LONGEST_TELLING: Final = 4 + len(b"DEALLOCATE\x00")
BEGIN_LENGTH: Final = 4 + len(b"BEGIN\x00")
LETTER_B: Final = 0x42
DISCARD_LENGTH: Final = 4 + len(b"DISCARD ALL\x00")
DEALLOCATE_LENGTH: Final = 4 + len(b"DEALLOCATE ALL\x00")

SESSION: Final = 0
STATEMENT: Final = 2
"""PoolMode, as the data path compares it."""

OWN_MESSAGE_LIMIT: Final = 16 * 1024 * 1024
"""Bytes that a message may have which the pooler collects for itself: login, answers to its own queries."""

CANCEL_DELIVERED: Final = "successfully sent cancel request"

WHOLE_ERROR: Final = 64 * 1024
"""Bytes of an ErrorResponse that is looked at; longer ones pass as they come."""

PARAMETER_LIMIT: Final = 1024 * 1024
"""Bytes of a ParameterStatus."""


@mypyc_attr(allow_interpreted_subclasses=True)
class ServerTask(ABC):
    """A conversation that the pooler itself has with a server."""

    @abstractmethod
    def message(self, kind: int, body: bytes) -> bool:
        """The server said this; true when the conversation is over. It may disconnect the server."""

    @abstractmethod
    def finished(self) -> None:
        """The conversation is over, and everything that had come with its last message has been read."""

    def lost(self, reason: str) -> None:  # noqa: B027
        """The connection was closed in the middle of it. Most have nothing more to say than the server's
        client is told.
        """


class ServerConnection(PreparingServer):
    """A connection to a PostgreSQL server, in one pool for all of its life."""

    __slots__ = (
        "cancel_key",
        "closed",
        "head",
        "inbox",
        "local",
        "passing",
        "reading_stopped",
        "remote",
        "target",
        "task",
        "transport",
        "welcome",
    )

    transport: Any
    task: ServerTask | None
    head: bytes
    passing: bool
    closed: bool
    inbox: bytearray
    cancel_key: bytes
    target: address.Target
    local: address.Address
    remote: address.Address
    reading_stopped: bool
    welcome: bytes
    """What it reported at its login, for the replication client that it belongs to."""

    def __init__(self, context: "Context", pool: "Pool", target: address.Target) -> None:
        super().__init__(context, pool)
        self.transport = None
        self.task = None
        self.head = b""
        self.passing = True
        self.closed = False
        self.inbox = bytearray()
        self.cancel_key = b""
        self.target = target
        self.local = address.UNKNOWN
        self.remote = target.address
        self.reading_stopped = False
        self.welcome = b""

    # asyncio -----------------------------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        """The connection is up; whoever opened it says what happens next."""
        self.transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        """The connection is gone."""
        self._vanished()

    def eof_received(self) -> bool:
        """The server has closed its side."""
        self._vanished()
        return False

    def _vanished(self) -> None:
        delivering = self.place is self.pool.cancel_servers
        self.disconnect(CANCEL_DELIVERED if delivering else "server conn crashed?", terminate=False)

    def pause_writing(self) -> None:
        """The server reads slower than the client sends."""
        self.congested = True
        client = self.link
        if client is not None:
            client.hold_reading()

    def resume_writing(self) -> None:
        """The server has caught up."""
        self.congested = False
        client = self.link
        if client is not None and not client.stalled:
            client.release_reading()

    def data_received(self, data: bytes) -> None:
        """Bytes from the server."""
        self.request_ns = monotonic_ns()
        if self.task is not None:
            self._feed_task(data)
        elif self.link is not None:
            self._relay(data)
        else:
            self._unlinked(data)

    # Data path ---------------------------------------------------------------------------------------------

    def _relay(self, data: bytes) -> None:
        client = self.link
        if client is None:
            return
        queue = self.queue
        if self.head:
            data = self.head + data
            self.head = b""
        size: i64 = len(data)
        limit: i64 = self.context.max_packet
        self.pool.stats.server_bytes += size
        client.bytes_sent += size
        start: i64 = 0
        position: i64 = 0
        if self.remaining > 0:
            if self.remaining >= size:
                self.remaining -= size
                if self.passing:
                    client.send(data)
                if self.remaining == 0 and queue.head & ACTION == FAKE:
                    self.send_fakes(client)
                self._after_chunk()
                return
            position = self.remaining
            self.remaining = 0
            if not self.passing:
                start = position
            if queue.head & ACTION == FAKE:
                self._pass(client, data, start, position, size)
                start = position
                self.send_fakes(client)
        while True:
            if size - position < HEADER:
                break
            kind: i64 = data[position]
            if (kind == DATA_ROW or kind == COPY_DATA) and queue.head != 0 and size <= limit:
                position = skip_rows(data, position, size)
                if size - position < HEADER:
                    break
                kind = data[position]
            length = body_length(data, position)
            if length < 4 or length > limit:
                self._pass(client, data, start, position, size)
                self.disconnect("bad pkt header")
                return
            if queue.head == 0 and (self.ready or self.idle_in_transaction) and not _unasked(kind):
                self._pass(client, data, start, position, size)
                self.disconnect("server sent what nobody asked for")
                return
            end = position + 1 + length
            action: i64 = FORWARD
            refusal = b""
            if kind == READY_FOR_QUERY:
                if end > size:
                    break
                if not self._ready_for_query(data, position, length):
                    self._pass(client, data, start, position, size)
                    self._refuse_ready(length)
                    return
                action = queue.ready()
                if queue.head != 0:
                    # That was the answer to an earlier request: the server is at work on the next.
                    self.ready = False
                    self.idle_in_transaction = False
            elif kind == COMMAND_COMPLETE:
                if length == DISCARD_LENGTH or length == DEALLOCATE_LENGTH:
                    if end > size:
                        break
                    self.forget_statements(data[position + HEADER : end])
                if self.pool.guard != 0 and SHORTEST_TELLING <= length <= LONGEST_TELLING:
                    if size - position == HEADER:
                        break
                    if tag_tells(data, position, length):
                        if end > size:
                            break
                        self.context.judge_tag(self, client, data[position + HEADER : end])
                    elif length == BEGIN_LENGTH and data[position + HEADER] == LETTER_B:
                        self.in_block = True
                action = queue.completed()
            elif kind == PARAMETER_STATUS:
                if length > PARAMETER_LIMIT:
                    self._pass(client, data, start, position, size)
                    self.disconnect("broken ParameterStatus packet")
                    return
                if end > size:
                    break
                self._note_parameter(data[position + HEADER : end])
            elif kind == ERROR:
                if end > size and length < WHOLE_ERROR:
                    break
                if length < WHOLE_ERROR and is_stale_plan(data[position:end]):
                    self.stale = True
                if queue.head & ACTION == REPLACE:
                    action = REPLACE
                    refusal = queue.changes[0].refusal
                elif not client.absent:
                    self._count_error("server", data[position + HEADER : end])
                if queue.head == 0:
                    self.ready = False
                    self.idle_in_transaction = False
                    if end <= size:
                        # Nobody has asked for anything: it says why it goes, and answers no more.
                        self._pass(client, data, start, end, size)
                        self.disconnect("server conn crashed?")
                        return
                queue.failed()
                if queue.undone:
                    self.undo_changes()
            elif kind == PARSE_COMPLETE:
                action = queue.answered(PARSE)
            elif kind == BIND_COMPLETE:
                action = queue.answered(BIND)
            elif kind == ROW_DESCRIPTION or kind == NO_DATA:
                action = queue.answered(DESCRIBE)
            elif kind == CLOSE_COMPLETE:
                action = queue.answered(CLOSE)
            elif kind == PORTAL_SUSPENDED or kind == EMPTY_QUERY:
                action = queue.answered(EXECUTE)
            elif kind == COPY_IN_RESPONSE or kind == COPY_BOTH_RESPONSE:
                if client.absent:
                    self.disconnect("nobody is left to copy from")
                    return
                queue.copy_started()
            if action != FORWARD:
                self._pass(client, data, start, position, size)
                start = end
                if action == REPLACE:
                    self._count_error("pooler", refusal[HEADER:])
                    client.send(refusal)
            if end > size:
                self.remaining = end - size
                self.passing = action == FORWARD
                position = size
                break
            position = end
            if queue.head & ACTION == FAKE:
                self._pass(client, data, start, position, size)
                start = position
                self.send_fakes(client)
        self._pass(client, data, start, position, size)
        if position < size:
            self.head = data[position:]
        self._after_chunk()

    def _count_error(self, source: str, body: bytes) -> None:
        """For SHOW ERRORS: no more than the primary message, since details have data in them more often."""
        code = messages.decode(_field(body, b"\x00C"))
        self.pool.errors.add(source, code, messages.decode(_field(body, b"\x00M")))

    def _pass(self, client: Client, data: bytes, start: i64, end: i64, size: i64) -> None:
        """Sends `data[start:end]` on to the client, without a copy where it is all of it."""
        if start >= end:
            return
        client.send(data if start == 0 and end == size else data[start:end])

    def _ready_for_query(self, data: bytes, position: i64, length: i64) -> bool:
        """Notes the transaction status; false where the message or the status is not allowed."""
        if length != 5:
            return False
        status: i64 = data[position + HEADER]
        self.ready = status == IDLE
        self.idle_in_transaction = status != IDLE
        self.in_block = status != IDLE
        return self.ready or self.pool.mode != STATEMENT or self.replication is not None

    def _refuse_ready(self, length: i64) -> None:
        if length != 5:
            self.disconnect("bad pkt header")
            return
        self.ready = False
        self.disconnect("transaction blocks not allowed in statement pooling mode")

    def _after_chunk(self) -> None:
        """Keeps the times, and gives the server back if the client is through with it.

        The server is free only when nothing is owed, its last word was "idle", and no message is half way in
        either direction.
        """
        client = self.link
        if client is None:
            return
        if client.settling and self.queue.unsettled == 0:
            client.settling = False
            client.unstall()
        if self.queue.head != 0 or self.link is None:
            return
        if client.query_ns != 0 and (self.ready or self.idle_in_transaction):
            self.pool.stats.query_over(self.request_ns - client.query_ns)
            client.query_ns = 0
        if not self.ready:
            if client.absent:
                self.disconnect("client disconnect while server was not ready")
            return
        if client.xact_ns != 0:
            took = self.request_ns - client.xact_ns
            self.pool.stats.xact_over(took)
            client.worked_ns += took
            client.xact_ns = 0
        if self.pool.mode != SESSION or client.absent:
            self.release_if_free()

    def release_if_free(self) -> None:
        """Back to the pool, unless a message is half way, or something is still owed."""
        client = self.link
        if client is None or not self.ready or self.queue.head != 0 or self.replication is not None:
            return
        if self.mid_message() or client.mid_message():
            return
        self.resume_reading()
        self.pool.release(self)

    def mid_message(self) -> bool:
        """It has sent the first part of a message."""
        return self.remaining > 0 or self.head != b""

    def half_passed(self) -> bool:
        """The client has the first part of a message: what else it is sent it takes for the rest."""
        return self.remaining > 0 and self.passing

    def send(self, data: bytes) -> None:
        """Bytes to the server."""
        self.transport.write(data)

    # What no client asked for ------------------------------------------------------------------------------

    def _note_parameter(self, body: bytes) -> None:
        """The server reports a parameter: it is the client's from now on too."""
        try:
            name, value = messages.parse_parameter_status(body)
        except ProtocolError:
            self.disconnect("broken ParameterStatus packet")
            return
        parameters = self.context.registry.parameters
        place = parameters.position(name)
        if place is None:
            return
        self.params = parameters.with_value(self.params, place, value)
        client = self.link
        if client is not None:
            client.params = parameters.with_value(client.params, place, value)

    def _unlinked(self, data: bytes) -> None:
        """The server talks although nobody asked: reports and notifications are fine, anything else makes it
        suspect.
        """
        try:
            self.inbox += data
            for kind, body in messages.split(self.inbox, OWN_MESSAGE_LIMIT):
                if kind == PARAMETER_STATUS:
                    self._note_parameter(body)
                elif kind == ERROR or kind == NOTICE:
                    # A server that is shut down says so in this way.
                    found = messages.parse_error(body)
                    self.context.registry.log.info(f"{found.severity}: {found.message}", self.describe())
                    self.ready = False
                elif kind != NOTIFICATION:
                    self.context.registry.log.warning(
                        f"got packet '{chr(kind)}' from server when not linked", self.describe()
                    )
                    self.ready = False
        except ProtocolError:
            self.disconnect("bad pkt header")
            return
        if self.inbox:
            self.ready = False

    # The pooler's own conversations ------------------------------------------------------------------------

    def converse(self, task: ServerTask, request: bytes) -> None:
        """Sends a request of the pooler's own; `task` gets the answers."""
        self.task = task
        self.ready = False
        self.transport.write(request)

    def _feed_task(self, data: bytes) -> None:
        task = self.task
        self.inbox += data
        try:
            for kind, body in messages.split(self.inbox, OWN_MESSAGE_LIMIT):
                if kind == PARAMETER_STATUS:
                    self._note_parameter(body)
                elif kind == COMMAND_COMPLETE:
                    self.forget_statements(body)
                done = task is not None and task.message(kind, body)
                if self.closed:
                    return
                if done:
                    break
            else:
                return
        except ProtocolError:
            self.disconnect("bad pkt header")
            return
        if task is not None:
            self._end_task(task)

    def _end_task(self, task: ServerTask) -> None:
        """The conversation is over; a server that has more to say after it is not clean."""
        rest = bytes(self.inbox)
        self.inbox.clear()
        self.task = None
        self.ready = True
        if rest:
            self._unlinked(rest)
        if self.closed:
            return
        if self.ready:
            task.finished()
        else:
            self.disconnect("server sent what nobody asked for")

    def reset(self) -> None:
        """Cleans up what a session left behind (`server_reset_query`)."""
        self.context.reset(self)

    def check(self) -> None:
        """Asks the server whether it is alive (`server_check_query`)."""
        self.context.check(self)

    # The end -----------------------------------------------------------------------------------------------

    def cancel_query(self) -> None:
        """Has PostgreSQL cancel what the server runs for a client that has left.

        Until the request is known to have arrived, the server goes to nobody else.
        """
        absentee = self.link
        if absentee is None or not absentee.absent:
            return
        self.cancels.append(absentee)
        self.context.carry_cancel(self.target, self.cancel_key, self._cancel_carried)

    def _cancel_carried(self, certain: bool) -> None:
        if not certain:
            self.close_needed = True
        for cancel in self.cancels:
            if cancel.absent:
                self.pool.cancel_arrived(self, cancel)
                return

    def close_in_query(self, reason: str, terminate: bool = True) -> None:
        """Closes the connection, and has PostgreSQL cancel what it runs: it would not notice by itself."""
        if len(self.queue) > 0 and not self.queue.copying and self.cancel_key and not self.closed:
            self.context.carry_cancel(self.target, self.cancel_key, _whatever)
        self.disconnect(reason, terminate)

    def disconnect(self, reason: str, terminate: bool = True) -> None:
        """Closes the connection. A client that is linked to it is told the reason and closed too."""
        if self.closed:
            return
        self.closed = True
        registry = self.context.registry
        if registry.settings.log_disconnections:
            age = (monotonic_ns() - self.connect_ns) // 1_000_000_000
            registry.log.info(f"closing because: {reason} (age={age}s)", self.describe())
        client = self.link
        if client is not None and client.mid_message():
            terminate = False
        if client is not None and self.half_passed():
            client.disconnect(reason, notify=False)
        task = self.task
        self.task = None
        self.inbox.clear()
        self.head = b""
        self.queue.clear()
        transport = self.transport
        self.transport = None
        if task is not None:
            task.lost(reason)
        self.pool.server_closes(self, reason)
        if transport is None:
            return
        if terminate:
            transport.write(messages.TERMINATE_MESSAGE)
            transport.close()
            self.context.linger(transport)
        else:
            transport.abort()

    def hold_reading(self) -> None:
        """Reads no more until the client has taken what is there."""
        if not self.reading_stopped and self.transport is not None:
            self.reading_stopped = True
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """The client has taken what was there, or is no longer ours to wait for; nothing during SUSPEND."""
        if not self.reading_stopped or self.transport is None:
            return
        if not self.context.registry.is_suspended:
            self.reading_stopped = False
            self.transport.resume_reading()

    def unsent(self) -> int:
        """Bytes that the server has not taken yet."""
        return 0 if self.transport is None else int(self.transport.get_write_buffer_size())

    def describe(self) -> str:
        """Its prefix in the log."""
        return address.prefix(
            "S", int(self.id), self.pool.database.name, self.pool.credentials.name, self.remote
        )


def _field(body: bytes, mark: bytes) -> bytes:
    """A field of an ErrorResponse that is not its first; empty if it is not there, or not all of it."""
    start = body.find(mark) + 2
    end = body.find(b"\x00", start)
    return b"" if start < 2 or end < 0 else body[start:end]


def _whatever(certain: bool) -> None:
    """The server is closed, so nobody waits for this."""


def _unasked(kind: i64) -> bool:
    """What a server may say at any time (protocol chapter, "Asynchronous Operations")."""
    return kind == NOTICE or kind == NOTIFICATION or kind == PARAMETER_STATUS or kind == ERROR
