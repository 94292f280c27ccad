"""Cancel requests: whom they are for, and the query that was cancelled before any server saw it."""

from pooler.pool.members import SERVER
from pooler.relay.client import ClientConnection, ClientPhase
from pooler.relay.server import ServerConnection
from pooler.wire import messages
from pooler.wire.framing import FUNCTION_CALL, HEADER, QUERY, SYNC, TERMINATE, body_length

QUERY_CANCELED = "57014"
CANCELED = "canceling statement due to user request"


class CancelledRequest(ClientPhase):
    """Answers for PostgreSQL: the error, then nothing up to the end of the request, then ReadyForQuery.

    A request ends with its Query or FunctionCall, or in the extended protocol with its Sync, which may be
    still to come (protocol chapter, "Extended Query").
    """

    def __init__(self, client: ClientConnection) -> None:
        self.client = client
        self.head = b""
        self.remaining = 0
        self.last = False

    def begin(self, data: bytes) -> None:
        """`data` is what the client has sent so far, from the beginning of the request."""
        client = self.client
        client.phase = self
        if client.pool is not None:
            client.pool.errors.add("pooler", QUERY_CANCELED, CANCELED)
        client.send(messages.error("ERROR", QUERY_CANCELED, CANCELED))
        self.received(data)

    def received(self, data: bytes) -> None:
        """More of the request, or what follows it."""
        data = self.head + data
        self.head = b""
        position = 0
        while not self.client.closed:
            skipped = min(self.remaining, len(data) - position)
            self.remaining -= skipped
            position += skipped
            if self.remaining > 0:
                return
            if self.last:
                self._end(data[position:])
                return
            if len(data) - position < HEADER:
                self.head = data[position:]
                return
            self._message(data, position)

    def _message(self, data: bytes, position: int) -> None:
        client = self.client
        length = int(body_length(data, position))
        if length < 4 or length > client.context.max_packet:
            client.disconnect(f"bad packet header: '{data[position : position + HEADER].hex()}'")
        elif data[position] == TERMINATE:
            client.disconnect("client close request", notify=False)
        else:
            self.remaining = length + 1
            self.last = data[position] in (QUERY, FUNCTION_CALL, SYNC)

    def _end(self, rest: bytes) -> None:
        self.client.send(messages.READY_IDLE)
        self.client.phase = None
        if rest:
            self.client.data_received(rest)

    def proceed(self) -> None:
        """It waits for nothing."""

    def closed(self, refusal: str) -> None:
        """Nothing to let go of."""

    def cancelled(self) -> None:
        """It is already."""


def cancel_waiting(client: ClientConnection) -> None:
    """The client's request waits, for a server or for its parameters to be set there, and is cancelled."""
    data = client.stop_waiting()
    CancelledRequest(client).begin(data)
    client.release_reading()


def cancel_request(request: ClientConnection, key: bytes) -> bool:
    """Binds a request to the server that runs the query now: it reaches that query or nobody.

    Whether it is on its way; if not, it is closed.
    """
    if len(key) != 8:
        request.disconnect("bad cancel request", notify=False)
        return False
    victim = request.context.registry.cancel_keys.get(key)
    if not isinstance(victim, ClientConnection):
        request.disconnect("failed cancel request", notify=False)
        return False
    if victim.phase is not None:
        request.disconnect("cancel request for console client", notify=False)
        victim.phase.cancelled()
        return False
    server = victim.link
    if _waits(victim):
        request.disconnect("cancel request for waiting client", notify=False)
        cancel_waiting(victim)
        return False
    if not isinstance(server, ServerConnection):
        request.disconnect("cancel request for idle client", notify=False)
        return False
    _bind(request, server)
    return True


def cancel_running(victim: ClientConnection) -> bool:
    """Cancels what a client waits for or runs, as its own request would. Whether there was anything."""
    if victim.phase is not None or victim.closed:
        return False
    if _waits(victim):
        cancel_waiting(victim)
        return True
    server = victim.link
    if not isinstance(server, ServerConnection) or (len(server.queue) == 0 and not victim.mid_message()):
        return False
    request = ClientConnection(victim.context)
    # For the log and SHOW CLIENTS: it stands for one of the victim's own.
    request.database = victim.database
    request.credentials = victim.credentials
    request.remote = victim.remote
    _bind(request, server)
    return True


def _waits(victim: ClientConnection) -> bool:
    """No server has seen its request yet."""
    server = victim.link
    if victim.awaits == SERVER:
        return True
    return isinstance(server, ServerConnection) and bool(server.setting_parameters)


def _bind(request: ClientConnection, server: ServerConnection) -> None:
    request.pool = server.pool
    request.canceled = server
    server.cancels.append(request)
    request.hold_reading()
    request.move_last(server.pool.waiting_cancels)
    server.pool.launch()
