"""One side of a conversation: messages instead of bytes."""

from __future__ import annotations

from collections.abc import Mapping

from tests.support.bouncer import ADMIN, ADMIN_PASSWORD, USER_PASSWORD
from tests.wire.matching import transcribed
from tests.wire.network import Deadline, Ended, Network, Peer
from tests.wire.vocabulary import (
    BYTE,
    CLIENT_MESSAGES,
    CUT_SHORT,
    END,
    ERROR_RESPONSE,
    KEY_DATA,
    NOTICE_RESPONSE,
    PARAMETER_STATUS,
    READY_FOR_QUERY,
    Reply,
    read_first_packet,
    read_reply,
    read_request,
    startup,
)

_QUEUED = "client being queued"


class Fault(Exception):
    """Something else happened than the script says."""


class Speaker:
    """A client, or a fake server. `held_back` is what it has not sent of a message that was cut.

    `key` is what a cancel request for the client has to hold, in hexadecimal.
    """

    def __init__(self, network: Network, peer: Peer, is_server: bool = False) -> None:
        self.is_server = is_server
        self.held_back = b""
        self.key = ""
        self._network = network
        self._peer = peer
        self._started = False
        self._logged_in = False
        self._left = False
        self._pushed: list[Reply] = []

    def write(self, data: bytes) -> None:
        if self._left:
            raise Fault(f"{self._peer.name} has left")
        self._peer.write(data)

    def is_ready(self) -> bool:
        """It is a client that has logged in, and has not left."""
        return self._logged_in and not self._left

    def next(self, deadline: Deadline, wanted: str = "") -> Reply:
        """The next message. The end of the connection is one too.

        What comes before the first ReadyForQuery and differs everywhere is passed over: keys, and parameters;
        and so is the notice that a client is queued. `Byte` is the one thing that has to be `wanted`, because
        nothing else tells it from a message. Raises Silence.
        """
        if self._pushed:
            return self._pushed.pop()
        while True:
            reply = self._receive(deadline, wanted == BYTE)
            if reply.word == READY_FOR_QUERY:
                self._logged_in = True
            elif reply.word in (END, CUT_SHORT):
                self._logged_in = False
                self._left = True
            if not self._is_passed_over(reply):
                return reply

    def push_back(self, reply: Reply) -> None:
        """It comes again."""
        self._pushed.append(reply)

    def _is_passed_over(self, reply: Reply) -> bool:
        if reply.word == KEY_DATA:
            self.key = str(reply.values[0])
        if not self._logged_in and reply.word in (KEY_DATA, PARAMETER_STATUS):
            return True
        return reply.word == NOTICE_RESPONSE and _QUEUED in str(reply.values[2])

    def _receive(self, deadline: Deadline, byte: bool) -> Reply:
        while True:
            try:
                reply = self._take(byte)
            except Ended as end:
                (rest,) = end.args
                return Reply(END) if not rest else Reply(CUT_SHORT, [rest.hex()])
            if reply is not None:
                return reply
            deadline.check()
            self._network.pump(self._peer, 0.05)

    def _take(self, byte: bool) -> Reply | None:
        if byte:
            taken = self._peer.take(1)
            return None if taken is None else Reply(BYTE, [taken.decode("latin-1")])
        if self.is_server and not self._started:
            packet = self._peer.take_packet()
            self._started = packet is not None
            return None if packet is None else read_first_packet(packet)
        message = self._peer.take_message()
        if message is None:
            return None
        return read_request(*message) if self.is_server else read_reply(*message)

    def log_in(self, parameters: Mapping[str, str], deadline: Deadline) -> None:
        """Raises Fault when the client is not let in."""
        self.write(startup(*(f"{key}={value}" for key, value in parameters.items())))
        while not self._logged_in:
            reply = self.next(deadline)
            if reply.word in (ERROR_RESPONSE, END, CUT_SHORT):
                raise Fault(f"{self._peer.name} is not let in: {transcribed(reply)}")
            if reply.word == "AuthenticationCleartextPassword":
                password = ADMIN_PASSWORD if parameters["user"] == ADMIN else USER_PASSWORD
                self.write(CLIENT_MESSAGES["PasswordMessage"].make(password))

    def rows(self, sql: str, deadline: Deadline) -> list[dict[str, str | None]]:
        """A simple query: its rows by the names of their columns. Raises Fault when it fails."""
        self.write(CLIENT_MESSAGES["Query"].make(sql))
        columns: list[str] = []
        found: list[dict[str, str | None]] = []
        while True:
            reply = self.next(deadline)
            if reply.word == "RowDescription":
                columns = [str(name) for name in reply.values]
            elif reply.word == "DataRow":
                found.append(dict(zip(columns, reply.values, strict=True)))
            elif reply.word == ERROR_RESPONSE:
                raise Fault(f"{sql}: {transcribed(reply)}")
            elif reply.word in (END, CUT_SHORT):
                raise Fault(f"{sql}: {self._peer.name} was disconnected")
            elif reply.word == READY_FOR_QUERY:
                return found

    def wait_closed(self, deadline: Deadline) -> None:
        """Reads on to the end of the connection."""
        while self.next(deadline).word not in (END, CUT_SHORT):
            pass

    def leave(self, how: str) -> None:
        """`closes`, or `aborts`."""
        self._left = True
        if how == "aborts":
            self._peer.abort()
        else:
            self._peer.close()
