"""A PostgreSQL server that behaves as it is told, for answers that no real one would give."""

from __future__ import annotations

import re
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from types import TracebackType
from typing import Self, TypeAlias

from tests.support.rawclient import GSSENC_REQUEST, SSL_REQUEST, message

Behaviour: TypeAlias = "Callable[[FakeConnection], None]"
"""What one connection does. It is closed when the function returns or its peer goes away."""

AUTHENTICATION_OK = message("R", struct.pack("!I", 0))
KEY_DATA = message("K", struct.pack("!II", 4711, 815))
READY = message("Z", b"I")
READY_IN_TRANSACTION = message("Z", b"T")

_PARAMETERS = {
    "server_version": "17.0 (fake)",
    "client_encoding": "UTF8",
    "DateStyle": "ISO, MDY",
    "TimeZone": "UTC",
    "standard_conforming_strings": "on",
    "application_name": "",
}
_SELECT_TEXT = re.compile(r"SELECT '([^']*)'")
_WAIT_SECONDS = 5.0


def parameter_status(name: str, value: str) -> bytes:
    """A ParameterStatus."""
    return message("S", name.encode() + b"\0" + value.encode() + b"\0")


def command_complete(tag: str) -> bytes:
    """A CommandComplete."""
    return message("C", tag.encode() + b"\0")


def data_row(text: str) -> bytes:
    """A DataRow of one text column."""
    raw = text.encode()
    return message("D", struct.pack("!HI", 1, len(raw)) + raw)


def text_result(text: str) -> bytes:
    """RowDescription, DataRow and CommandComplete of one text."""
    column = b"text\0" + struct.pack("!IHIHIH", 0, 0, 25, 0xFFFF, 0xFFFFFFFF, 0)
    return message("T", struct.pack("!H", 1) + column) + data_row(text) + command_complete("SELECT 1")


def error_response(sqlstate: str, text: str, severity: str = "ERROR") -> bytes:
    """An ErrorResponse as it should be."""
    return message("E", f"S{severity}\0C{sqlstate}\0M{text}\0\0".encode())


class FakeConnection:
    """One connection that the fake server has accepted; it waits for as long as the pooler keeps it open.

    `closed` is set when its behaviour is over, `stopped` by `shut_down`. `send` and `shut_down` are for the
    test too.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.closed = threading.Event()
        self.stopped = threading.Event()
        self.status = b"I"
        self._input = sock.makefile("rb")

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def read_bytes(self, count: int) -> bytes:
        """Exactly `count` bytes. Raises EOFError when the pooler closes before."""
        data = self._input.read(count)
        if len(data) < count:
            raise EOFError
        return data

    def read_message(self) -> tuple[str, bytes]:
        """The next message: its type and its body."""
        kind, length = struct.unpack("!cI", self.read_bytes(5))
        return kind.decode("latin-1"), self.read_bytes(length - 4)

    def read_startup(self) -> bytes:
        """The body of the packet that every connection starts with; encryption is declined."""
        (length,) = struct.unpack("!I", self.read_bytes(4))
        body = self.read_bytes(length - 4)
        if body in (SSL_REQUEST[4:], GSSENC_REQUEST[4:]):
            self.send(b"N")
            return self.read_startup()
        return body

    def login(self, *extra: bytes) -> None:
        """Take the StartupMessage and let in whoever asks; `extra` messages go in front of ReadyForQuery."""
        self.read_startup()
        statuses = b"".join(parameter_status(name, value) for name, value in _PARAMETERS.items())
        self.send(AUTHENTICATION_OK + statuses + KEY_DATA + b"".join(extra) + READY)

    def serve(self, answers: Mapping[str, bytes] | None = None) -> None:
        """Answer simple queries until Terminate: `SELECT 'text'`, transactions, and with a tag what is left.

        `answers` has the bytes to send in place of the answer to some queries, ReadyForQuery included.
        """
        while True:
            kind, body = self.read_message()
            if kind == "X":
                return
            sql = body.rstrip(b"\0").decode()
            own = (answers or {}).get(sql)
            self.send(self._answer(sql) if own is None else own)

    def wait_closed(self) -> None:
        """Return once the pooler has closed the connection. Raises TimeoutError."""
        if not self.closed.wait(_WAIT_SECONDS):
            raise TimeoutError("the pooler has kept the connection")

    def until_closed(self) -> None:
        """Read on to the end of the connection, whatever comes."""
        while self._input.read(65536):
            pass

    def shut_down(self) -> None:
        """End the connection and with it the behaviour, if that reads, sends or waits for `stopped`."""
        self.stopped.set()
        with suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)

    def reset(self) -> None:
        """Close with a TCP reset. For the behaviour alone, since it may not read at the same time."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close()

    def close(self) -> None:
        self._input.close()
        self.socket.close()

    def _answer(self, sql: str) -> bytes:
        if found := _SELECT_TEXT.fullmatch(sql):
            return text_result(found[1]) + message("Z", self.status)
        tag = sql.split(maxsplit=1)[0].rstrip(";").upper()
        if tag in ("BEGIN", "COMMIT", "ROLLBACK"):
            self.status = b"T" if tag == "BEGIN" else b"I"
        return command_complete(tag) + message("Z", self.status)


def well_behaved(connection: FakeConnection) -> None:
    """Log in and serve."""
    connection.login()
    connection.serve()


class FakeServer:
    """Listens on 127.0.0.1 at `port`, one thread for each connection.

    A connection follows the next behaviour of `script`, and `well_behaved` when there is none left. What goes
    wrong in a behaviour, other than that the pooler has gone away, is in `errors`.
    """

    def __init__(self) -> None:
        self.connections: list[FakeConnection] = []
        self.errors: list[Exception] = []
        self._behaviours: deque[Behaviour] = deque()
        self._arrived = threading.Condition()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def script(self, *behaviours: Behaviour) -> None:
        """What the next connections do, one after the other."""
        self._behaviours.extend(behaviours)

    def forget(self) -> None:
        """Start over: no script, no connections, no errors."""
        self._behaviours.clear()
        for connection in self.connections:
            connection.shut_down()
        self.connections.clear()
        self.errors.clear()

    def connection(self, number: int) -> FakeConnection:
        """The connection of that number, from 0 on, as soon as it is there. Raises TimeoutError."""
        deadline = time.monotonic() + _WAIT_SECONDS
        with self._arrived:
            while len(self.connections) <= number:
                if not self._arrived.wait(deadline - time.monotonic()):
                    raise TimeoutError(f"there were {len(self.connections)} connections")
            return self.connections[number]

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Close everything."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join()
        for connection in self.connections:
            connection.shut_down()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = FakeConnection(sock)
            behaviour = self._behaviours.popleft() if self._behaviours else well_behaved
            with self._arrived:
                self.connections.append(connection)
                self._arrived.notify_all()
            threading.Thread(target=self._run, args=(connection, behaviour), daemon=True).start()

    def _run(self, connection: FakeConnection, behaviour: Behaviour) -> None:
        try:
            behaviour(connection)
        except (EOFError, ConnectionError):
            pass
        except Exception as error:
            self.errors.append(error)
        finally:
            connection.close()
            connection.closed.set()
