"""Connections that are only read when a script says so, and written as far as the other side takes it."""

from __future__ import annotations

import select
import socket
import struct
import time
from contextlib import suppress
from types import TracebackType
from typing import Self

from tests.support.rawclient import GSSENC_REQUEST, SSL_REQUEST

_CHUNK = 256 * 1024
_RECEIVE_BUFFER = 64 * 1024


class Ended(Exception):
    """The other side has closed the connection."""


class Silence(Exception):
    """What was waited for did not come in time."""


class Deadline:
    """So many seconds from now on."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    def check(self) -> None:
        """Raises Silence when the time is over."""
        if time.monotonic() > self._end:
            raise Silence(f"nothing within {self.seconds:g} s")


class Peer:
    """One connection. `name` is who it belongs to in the script."""

    def __init__(self, name: str, sock: socket.socket) -> None:
        self.name = name
        self.socket = sock
        self.outgoing = bytearray()
        self._incoming = bytearray()
        self._ended = False
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def write(self, data: bytes) -> None:
        """Sends what goes at once; `Network.pump` sends the rest."""
        self.outgoing += data
        self.flush()

    def flush(self) -> None:
        with suppress(BlockingIOError):
            while self.outgoing:
                try:
                    sent = self.socket.send(memoryview(self.outgoing)[:_CHUNK])
                except (BrokenPipeError, ConnectionResetError):
                    # What it still had to say is there to be read.
                    self.outgoing.clear()
                    return
                del self.outgoing[:sent]

    def receive(self) -> None:
        """Takes what is there. The end of the connection, in whatever way, is noted."""
        try:
            chunk = self.socket.recv(_CHUNK)
        except BlockingIOError:
            return
        except ConnectionError:
            chunk = b""
        if chunk:
            self._incoming += chunk
        else:
            self._ended = True

    def take(self, count: int) -> bytes | None:
        """The next `count` bytes; None while they are not there. Raises Ended if they cannot come."""
        if len(self._incoming) >= count:
            taken = bytes(self._incoming[:count])
            del self._incoming[:count]
            return taken
        if self._ended:
            raise Ended(bytes(self._incoming))
        return None

    def take_message(self) -> tuple[str, bytes] | None:
        """The next message, its type and its body; None while it is not whole. Raises Ended."""
        if len(self._incoming) >= 5:
            (length,) = struct.unpack_from("!I", self._incoming, 1)
            message = self.take(1 + length)
            return None if message is None else (chr(message[0]), message[5:])
        self.take(5)
        return None

    def take_packet(self) -> bytes | None:
        """The body of the packet that a connection starts with; requests for encryption are declined."""
        if len(self._incoming) < 4:
            self.take(4)
            return None
        (length,) = struct.unpack_from("!I", self._incoming)
        packet = self.take(length)
        if packet in (SSL_REQUEST, GSSENC_REQUEST):
            self.write(b"N")
            return self.take_packet()
        return None if packet is None else packet[4:]

    def abort(self) -> None:
        """Close with a TCP reset."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def close(self) -> None:
        self.socket.close()


class Network:
    """All connections of a play; one thread looks after them."""

    def __init__(self) -> None:
        self._peers: list[Peer] = []

    def connect(self, name: str, host: str, port: int) -> Peer:
        """A new connection, which takes little that nobody reads. Raises OSError."""
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
        sock.settimeout(10.0)
        sock.connect((host, port))
        return self.add(Peer(name, sock))

    def add(self, peer: Peer) -> Peer:
        self._peers.append(peer)
        return peer

    def pump(self, reader: Peer | None, seconds: float) -> None:
        """Sends what is left to send, and reads from `reader` alone, until something of that was done."""
        open_peers = [peer for peer in self._peers if peer.socket.fileno() >= 0]
        readers = [reader.socket] if reader is not None and reader.socket.fileno() >= 0 else []
        writers = [peer.socket for peer in open_peers if peer.outgoing]
        readable, writable, _ = select.select(readers, writers, [], seconds)
        for peer in open_peers:
            if peer.socket in writable:
                peer.flush()
        if readable and reader is not None:
            reader.receive()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for peer in self._peers:
            peer.close()
