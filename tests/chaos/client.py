"""A client that says exactly what it is told to, on asyncio, and may leave in any way."""

from __future__ import annotations

import asyncio
import socket
import struct
from collections import deque

from tests.chaos.wire import TERMINATE, abridged, query, values_of
from tests.support.rawclient import error_fields, startup_message

CANCEL_REQUEST = 80877102
_HISTORY = 60
_CHUNK = 64 * 1024


class ConnectionLost(Exception):
    """The other side has closed the connection, or it could not be made."""


class Refused(Exception):
    """The login was answered with an error; `fields` are those of the ErrorResponse."""

    def __init__(self, fields: dict[str, str]) -> None:
        super().__init__(fields.get("M", ""))
        self.fields = fields


class Connection:
    """One connection. `history` holds the last messages in both directions, for the report of a failure."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.key = b""
        """Process id and secret of BackendKeyData, for a cancel request."""
        self.parameters: dict[str, str] = {}
        self.history: deque[str] = deque(maxlen=_HISTORY)
        self._reader = reader
        self._writer = writer

    @classmethod
    async def open(cls, host: str, port: int, receive_buffer: int = 0) -> Connection:
        """Connect, with a receive buffer of so many bytes in the kernel if not 0. Raises ConnectionLost."""
        sock = socket.socket()
        sock.setblocking(False)
        try:
            if receive_buffer:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
            await asyncio.get_running_loop().sock_connect(sock, (host, port))
            reader, writer = await asyncio.open_connection(sock=sock, limit=_CHUNK)
        except OSError as error:
            sock.close()
            raise ConnectionLost(str(error)) from None
        except BaseException:
            sock.close()
            raise
        return cls(reader, writer)

    async def login(self, user: str, database: str, **settings: str) -> None:
        """StartupMessage to ReadyForQuery, under trust. Raises Refused or ConnectionLost."""
        self.write(startup_message(user, database, **settings))
        while True:
            kind, body = await self.receive()
            if kind == "E":
                raise Refused(error_fields(body))
            if kind == "K":
                self.key = body
            elif kind == "S":
                name, value, _ = body.split(b"\0")
                self.parameters[name.decode()] = value.decode()
            elif kind == "Z":
                return

    @property
    def local_port(self) -> int:
        """By which SHOW CLIENTS knows it."""
        name = self._writer.get_extra_info("sockname")
        return int(name[1]) if name else 0

    def note_sent(self, *messages: bytes) -> None:
        """Put messages into the history; `write` does not know where one ends."""
        self.history.extend(f"> {chr(sent[0])} {abridged(sent[5:])}" for sent in messages)

    def note(self, text: str) -> None:
        """Put a remark into the history."""
        self.history.append(f"- {text}")

    def write(self, data: bytes) -> None:
        """Bytes to the other side; what it does not take waits here. Where it is gone, `receive` says so."""
        if not self._writer.is_closing():
            self._writer.write(data)

    async def receive(self, patience: float | None = None) -> tuple[str, bytes]:
        """The next message.

        Raises ConnectionLost, or TimeoutError if nothing of it comes for `patience` seconds.
        """
        try:
            async with asyncio.timeout(patience):
                header = await self._reader.readexactly(5)
                (length,) = struct.unpack("!I", header[1:])
                body = await self._reader.readexactly(min(length - 4, _CHUNK))
            if len(body) < length - 4:
                body += await self._long_rest(length - 4 - len(body), patience)
        except TimeoutError:
            raise
        except (OSError, asyncio.IncompleteReadError) as error:
            raise ConnectionLost(str(error)) from None
        kind = chr(header[0])
        self._note_received(kind, body)
        return kind, body

    async def _long_rest(self, size: int, patience: float | None) -> bytes:
        rest = bytearray()
        while len(rest) < size:
            async with asyncio.timeout(patience):
                rest += await self._reader.readexactly(min(size - len(rest), _CHUNK))
        return bytes(rest)

    def _note_received(self, kind: str, body: bytes) -> None:
        """Of many rows only the first and the last stay in the history."""
        start = f"< {kind} "
        if (
            kind in "Dd"
            and len(self.history) > 1
            and all(self.history[n].startswith(start) for n in (-1, -2))
        ):
            self.history.pop()
        self.history.append(start + abridged(body))

    async def wait_closed_by_peer(self) -> None:
        """Read on, whatever comes, until the other side has closed."""
        try:
            while await self._reader.read(_CHUNK):
                pass
        except OSError:
            pass

    # The end -----------------------------------------------------------------------------------------------

    def reset(self) -> None:
        """A TCP reset, as of a host that lost its process."""
        sock = self._writer.get_extra_info("socket")
        if sock is not None:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._writer.transport.abort()

    def close(self) -> None:
        """Close without a word."""
        self._writer.close()

    def terminate(self) -> None:
        """Terminate and close."""
        self.write(TERMINATE)
        self.close()

    async def half_close(self) -> None:
        """Say that nothing more will come, and wait until the other side has closed as well."""
        if not self._writer.is_closing() and self._writer.can_write_eof():
            self._writer.write_eof()
            await self.wait_closed_by_peer()
        self.close()


async def cancel(host: str, port: int, key: bytes) -> None:
    """A cancel request; returns when the other side has closed the connection. Raises ConnectionLost."""
    connection = await Connection.open(host, port)
    try:
        connection.write(struct.pack("!II", 16, CANCEL_REQUEST) + key)
        await connection.wait_closed_by_peer()
    finally:
        connection.close()


async def rows(connection: Connection, sql: str) -> list[dict[str, str]]:
    """A simple query of one result, NULL as an empty text. Raises Refused if it fails, or ConnectionLost."""
    connection.write(query(sql))
    names: list[str] = []
    found: list[dict[str, str]] = []
    failure: dict[str, str] | None = None
    while True:
        kind, body = await connection.receive()
        if kind == "T":
            names = _column_names(body)
        elif kind == "D":
            found.append(dict(zip(names, values_of(body), strict=True)))
        elif kind == "E":
            failure = error_fields(body)
        elif kind == "Z":
            if failure is not None:
                raise Refused(failure)
            return found


def _column_names(body: bytes) -> list[str]:
    names: list[str] = []
    position = 2
    while position < len(body):
        end = body.index(b"\0", position)
        names.append(body[position:end].decode())
        position = end + 19
    return names
