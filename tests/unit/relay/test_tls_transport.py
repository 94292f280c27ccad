"""TLS in memory: what is delivered, and when, to a connection that is told to pause."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest

from pooler.relay.tls import TlsTransport
from tests.support.certificates import Authority

RECORDS = [b"one", b"two", b"three"]


class Socket:
    """The transport of a socket; what is written to it is kept."""

    def __init__(self) -> None:
        self.sent = bytearray()
        self.reading = True
        self.closed = False

    def set_protocol(self, protocol: Any) -> None:
        pass

    def write(self, data: bytes) -> None:
        self.sent += data

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def close(self) -> None:
        self.closed = True

    abort = close


class Connection:
    """What the pooler has behind the transport; `at_each` is done with all that comes."""

    def __init__(self) -> None:
        self.came: list[bytes] = []
        self.at_each: Callable[[], None] = _nothing

    def data_received(self, data: bytes) -> None:
        self.came.append(data)
        self.at_each()

    def eof_received(self) -> bool:
        self.came.append(b"")
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self.came.append(b"lost")


def _nothing() -> None:
    pass


class Rig:
    """A server's end of an established connection, and its peer."""

    def __init__(self) -> None:
        certificate = Authority().issue("localhost")
        accepting = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        accepting.num_tickets = 0
        certificate.load_into(accepting)
        connecting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        connecting.check_hostname = False
        connecting.verify_mode = ssl.CERT_NONE
        self.socket = Socket()
        self.connection = Connection()
        self.transport = TlsTransport(self.socket, self.connection, accepting, None, True, lambda _: None)
        self.transport.start()
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.peer = connecting.wrap_bio(self._incoming, self._outgoing)
        while not self.transport.established:
            with suppress(ssl.SSLWantReadError):
                self.peer.do_handshake()
            self.transport.data_received(self._outgoing.read())
            self._incoming.write(bytes(self.socket.sent))
            self.socket.sent.clear()

    def send(self, *records: bytes) -> None:
        """All of them come at once."""
        for record in records:
            self.peer.write(record)
        self.transport.data_received(self._outgoing.read())


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_records_that_come_together_are_all_delivered(rig: Rig) -> None:
    rig.send(*RECORDS)
    assert b"".join(rig.connection.came) == b"".join(RECORDS)


@pytest.mark.asyncio
async def test_a_pause_holds_what_is_in_memory(rig: Rig) -> None:
    rig.connection.at_each = rig.transport.pause_reading
    rig.send(*RECORDS)
    assert rig.connection.came == RECORDS[:1]
    assert not rig.socket.reading
    for count in (2, 3):
        rig.transport.resume_reading()
        assert len(rig.connection.came) == count - 1, "delivered from within the call"
        await asyncio.sleep(0)
        assert rig.connection.came == RECORDS[:count]
    rig.transport.resume_reading()
    await asyncio.sleep(0)
    assert rig.connection.came == RECORDS
    assert rig.socket.reading


@pytest.mark.asyncio
async def test_what_comes_during_a_pause_waits(rig: Rig) -> None:
    rig.transport.pause_reading()
    rig.send(b"one")
    assert rig.connection.came == []
    rig.transport.resume_reading()
    await asyncio.sleep(0)
    assert rig.connection.came == [b"one"]


@pytest.mark.asyncio
async def test_a_pause_and_its_end_within_a_delivery_keep_the_order(rig: Rig) -> None:
    depth = 0

    def stop_and_go() -> None:
        nonlocal depth
        depth += 1
        assert depth == 1, "a delivery within a delivery"
        rig.transport.pause_reading()
        rig.transport.resume_reading()
        depth -= 1

    rig.connection.at_each = stop_and_go
    rig.send(*RECORDS)
    await asyncio.sleep(0)
    assert rig.connection.came == RECORDS


@pytest.mark.asyncio
async def test_the_end_of_the_stream_comes_behind_what_was_held(rig: Rig) -> None:
    rig.transport.pause_reading()
    rig.send(b"one")
    rig.transport.resume_reading()
    rig.transport.eof_received()
    await asyncio.sleep(0)
    assert rig.connection.came == [b"one", b""]


@pytest.mark.asyncio
async def test_a_lost_connection_delivers_nothing_more(rig: Rig) -> None:
    rig.transport.pause_reading()
    rig.send(b"one")
    rig.transport.resume_reading()
    rig.transport.connection_lost(None)
    await asyncio.sleep(0)
    assert rig.connection.came == [b"lost"]
