"""A client that says exactly the bytes it is told to, for packets that no driver would send."""

from __future__ import annotations

import socket
import struct
from types import TracebackType
from typing import Self

PROTOCOL_3 = 196608
SSL_REQUEST = struct.pack("!II", 8, 80877103)
GSSENC_REQUEST = struct.pack("!II", 8, 80877104)


class RawClient:
    """A blocking connection to a server or pooler; every wait ends after `timeout` seconds with TimeoutError.

    `host` is an address or, with a leading slash, the directory of a unix socket.
    """

    def __init__(self, host: str, port: int, timeout: float = 10.0) -> None:
        if host.startswith("/"):
            self.socket = socket.socket(socket.AF_UNIX)
            self.socket.settimeout(timeout)
            self.socket.connect(f"{host}/.s.PGSQL.{port}")
        else:
            self.socket = socket.create_connection((host, port), timeout)
        self._buffer = bytearray()

    def startup(self, user: str, database: str, **parameters: str) -> None:
        """Send a StartupMessage and, under trust, read on to ReadyForQuery."""
        self.send(startup_message(user, database, **parameters))
        self.read_until("Z")

    def query(self, sql: str) -> list[tuple[str, bytes]]:
        """A simple query and all that it brings, ReadyForQuery last."""
        self.send(message("Q", sql.encode() + b"\0"))
        return self.read_until("Z")

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def read_bytes(self, count: int) -> bytes:
        """Exactly `count` bytes. Raises EOFError when the other side closes before."""
        while len(self._buffer) < count:
            chunk = self.socket.recv(65536)
            if not chunk:
                raise EOFError(f"closed after {bytes(self._buffer)!r}")
            self._buffer += chunk
        taken = bytes(self._buffer[:count])
        del self._buffer[:count]
        return taken

    def read_message(self) -> tuple[str, bytes]:
        """The next message: its type and its body."""
        kind, length = struct.unpack("!cI", self.read_bytes(5))
        return kind.decode("latin-1"), self.read_bytes(length - 4)

    def read_until(self, kind: str) -> list[tuple[str, bytes]]:
        """All messages up to the first of type `kind`, that one last. Raises EOFError."""
        seen = [self.read_message()]
        while seen[-1][0] != kind:
            seen.append(self.read_message())
        return seen

    def expect_error(self) -> dict[str, str]:
        """Read on to an ErrorResponse; its fields by their letter."""
        return error_fields(self.read_until("E")[-1][1])

    def expect_close(self) -> bytes:
        """Wait for the other side to close; what it still sent before. A reset counts as a close."""
        left = bytes(self._buffer)
        self._buffer.clear()
        try:
            while chunk := self.socket.recv(65536):
                left += chunk
        except ConnectionResetError:
            pass
        return left

    def abort(self) -> None:
        """Close with a TCP reset, as a host that lost its process does."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self) -> None:
        self.socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def message(kind: str, body: bytes = b"") -> bytes:
    """One message: its type, its length, its body."""
    return kind.encode("latin-1") + struct.pack("!I", len(body) + 4) + body


def startup_message(user: str, database: str, **parameters: str) -> bytes:
    """A StartupMessage of protocol 3.0."""
    pairs = {"user": user, "database": database, **parameters}
    text = "".join(f"{key}\0{value}\0" for key, value in pairs.items())
    body = struct.pack("!I", PROTOCOL_3) + text.encode() + b"\0"
    return struct.pack("!I", len(body) + 4) + body


def error_fields(body: bytes) -> dict[str, str]:
    """The fields of an ErrorResponse or NoticeResponse by their letter: S, C, M and so on."""
    fields = (field.decode() for field in body.split(b"\0") if field)
    return {field[0]: field[1:] for field in fields}
