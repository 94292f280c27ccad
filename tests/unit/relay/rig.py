"""A pooler without sockets and without an event loop. Nothing moves unless the test moves it, and by as many
bytes as it says.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from pooler.config.entries import parse_database
from pooler.config.settings import DEFAULTS
from pooler.config.snapshot import Snapshot
from pooler.pool.lists import MemberList
from pooler.pool.pool import Pool
from pooler.pool.registry import Connector, Registry
from pooler.relay import address
from pooler.relay.client import ClientConnection
from pooler.relay.context import Context
from pooler.relay.login import ClientLogin
from pooler.relay.server import ServerConnection
from pooler.relay.tasks import Login, install
from pooler.wire.framing import NOTIFICATION
from pooler.wire.messages import split
from pooler.wire.parameters import TrackedParameters
from tests.support.rawclient import message
from tests.unit.relay.conversations import DATABASE, USER, Conversation
from tests.unit.relay.postgres import Postgres
from tests.unit.relay.session import Fatal

ALL = 1 << 30
"""Bytes; more than there ever are."""

SECRET = "foo"
READY = b"Z\0\0\0\5I"
TERMINATE = b"X\0\0\0\4"


Reader: TypeAlias = Callable[[bytearray], bytes]
"""Takes from a buffer what a client looks at."""


def everything(buffer: bytearray) -> bytes:
    data = bytes(buffer)
    buffer.clear()
    return data


def without_notifications(buffer: bytearray) -> bytes:
    """The messages that are whole, but for those that may come at any time."""
    return b"".join(message(chr(kind), body) for kind, body in split(buffer, ALL) if kind != NOTIFICATION)


@dataclass(frozen=True, slots=True)
class Paces:
    """Bytes that go at a time."""

    client_sends: int = ALL
    client_takes: int = ALL
    server_sends: int = ALL
    server_takes: int = ALL


class Log:
    """Keeps the lines, for the report of a failure."""

    debugging = False
    noisy = False

    def __init__(self) -> None:
        self.lines: list[str] = []

    def error(self, message: str, prefix: str = "") -> None:
        self.lines.append(prefix + message)

    warning = info = debug = noise = error


class Wire:
    """A connection of the pooler, and the transport that the pooler sees of it.

    `incoming` is what the peer has sent and the pooler has not read, `outgoing` what the pooler has written
    and the peer has not taken. Above `high_water` bytes of that the pooler is told to pause, as uvloop does.
    """

    def __init__(self, rig: Rig, protocol: Any, high_water: int) -> None:
        self.incoming = bytearray()
        self.outgoing = bytearray()
        self.closed = False
        self._rig = rig
        self._protocol = protocol
        self._high_water = high_water
        self._reading = True
        self._full = False

    # Transport ---------------------------------------------------------------------------------------------

    def write(self, data: bytes) -> None:
        assert not self.closed, f"written to a closed connection: {data!r}"
        assert type(data) is bytes
        self.outgoing += data
        if not self._full and len(self.outgoing) > self._high_water:
            self._full = True
            self._protocol.pause_writing()

    def close(self) -> None:
        self.closed = True
        self._rig.soon.append(lambda: self._protocol.connection_lost(None))

    def abort(self) -> None:
        self.outgoing.clear()
        self.close()

    def pause_reading(self) -> None:
        self._reading = False

    def resume_reading(self) -> None:
        self._reading = True

    def get_write_buffer_size(self) -> int:
        return len(self.outgoing)

    def get_extra_info(self, name: str) -> None:
        return None

    # Peer --------------------------------------------------------------------------------------------------

    def deliver(self, size: int) -> bool:
        """The pooler reads; false if there is nothing, or it does not want to."""
        if not self.incoming or not self._reading or self.closed:
            return False
        data = bytes(self.incoming[:size])
        del self.incoming[:size]
        self._protocol.data_received(data)
        return True

    def take(self, size: int) -> bytes:
        """The peer reads."""
        data = bytes(self.outgoing[:size])
        del self.outgoing[:size]
        if self._full and len(self.outgoing) <= self._high_water // 4 and not self.closed:
            self._full = False
            self._protocol.resume_writing()
        return data

    def vanish(self) -> None:
        """The peer is gone."""
        self.outgoing.clear()
        if not self.closed:
            self.closed = True
            self._protocol.connection_lost(None)


class ServerEnd:
    """A connection to the model; a `deaf` one says only what a test has it say."""

    def __init__(self, connection: ServerConnection, wire: Wire, model: Postgres) -> None:
        self.connection = connection
        self.wire = wire
        self.model = model
        self.deaf = False

    @property
    def place(self) -> MemberList | None:
        """Which list of the pool it is in."""
        return self.connection.place

    def deliver(self, size: int) -> bool:
        return self.wire.deliver(size)

    def take(self, size: int) -> bool:
        data = self.wire.take(size)
        if self.deaf:
            return bool(data)
        try:
            self.wire.incoming += self.model.feed(data)
        except Fatal:
            self.wire.vanish()
        return bool(data)


class ClientEnd:
    """A client that logs in and, when `begun` is set, follows its conversation. `received` is what it got
    behind the welcome, `expected` what PostgreSQL itself would have sent.
    """

    def __init__(
        self,
        connection: ClientConnection,
        wire: Wire,
        conversation: Conversation,
        server: Postgres,
        reads: Reader,
    ) -> None:
        self.connection = connection
        self.wire = wire
        self.received = b""
        self.expected = b""
        self.begun = False
        self._reads = reads
        self._unread = bytearray()
        self._welcomed = False
        self._steps: list[tuple[int, bytes]] = []
        after = 0
        for step, answer in zip(conversation.steps, conversation.answers(server), strict=True):
            self._steps.append((after, step.data))
            self.expected += reads(bytearray(answer))
            after = len(self.expected) if step.waits else after
        wire.incoming += conversation.startup

    @property
    def satisfied(self) -> bool:
        """It has said everything, and has its answers."""
        idle = not self._steps and not self.wire.incoming and not self._unread
        return idle and len(self.received) >= len(self.expected)

    def say_goodbye(self) -> None:
        """It leaves, also in the middle of its conversation."""
        self._steps.clear()
        self.wire.incoming += TERMINATE

    def deliver(self, size: int) -> bool:
        while self.begun and self._steps and self._steps[0][0] <= len(self.received):
            self.wire.incoming += self._steps.pop(0)[1]
        return self.wire.deliver(size)

    def take(self, size: int) -> bool:
        data = self.wire.take(size)
        self._unread += data
        if not self._welcomed:
            self._welcomed = READY in self._unread
            del self._unread[: self._unread.find(READY) + len(READY) if self._welcomed else 0]
        if self._welcomed:
            self.received += self._reads(self._unread)
        return bool(data)


class ModelConnector(Connector):
    """Connects to a new model server, once the current callback is over."""

    def __init__(self, rig: Rig) -> None:
        self._rig = rig

    def connect(self, pool: Pool) -> None:
        rig = self._rig
        remote = address.Address("10.2.2.2", 5432)
        target = address.Target(socket.AF_INET, ("10.2.2.2", 5432), "10.2.2.2", remote)
        connection = ServerConnection(rig.context, pool, target)
        connection.move_last(pool.new_servers)
        rig.soon.append(lambda: self._connected(connection))

    def _connected(self, connection: ServerConnection) -> None:
        rig = self._rig
        connection.connection_made(rig.new_server(connection))
        Login(connection).begin()


class Rig:
    """One pooler with one pool; `settings` as they would stand in its file.

    Connections hold `high_water` bytes before they are full; `hesitant`, `reports_at_once` and
    `forgiving` are those of the model servers.
    """

    def __init__(
        self,
        settings: dict[str, object],
        high_water: int = 64 * 1024,
        hesitant: bool = True,
        reports_at_once: bool = False,
        forgiving: bool = False,
    ) -> None:
        self.high_water = high_water
        self._hesitant = hesitant
        self._reports_at_once = reports_at_once
        self._forgiving = forgiving
        self.soon: list[Callable[[], None]] = []
        self.cancels: list[Callable[[], None]] = []
        self.clients: list[ClientEnd] = []
        self.servers: list[ServerEnd] = []
        self.log = Log()
        parsed = DEFAULTS.replace("auth_type", "trust")
        for name, value in settings.items():
            parsed = parsed.replace(name, str(value))
        snapshot = Snapshot(parsed, {DATABASE: parse_database(DATABASE, "host=10.2.2.2")})
        self.registry = Registry(snapshot, TrackedParameters(()), self.log, self.soon.append)
        self.registry.apply_secrets({USER: SECRET})
        self.context = Context(self.registry, b"")
        self.context.call_later = lambda seconds, callback: None
        self.context.carry_cancel = self.carry_cancel
        self.registry.connector = ModelConnector(self)
        install(self.context)
        database = self.registry.databases[DATABASE]
        self.pool = self.registry.pool(database, self.registry.global_credentials(USER))

    def connect(self, conversation: Conversation, reads: Reader = everything) -> ClientEnd:
        """A client that is about to send its StartupMessage."""
        connection = ClientConnection(self.context)
        connection.phase = ClientLogin(connection, False)
        wire = Wire(self, connection, self.high_water)
        connection.connection_made(wire)
        client = ClientEnd(connection, wire, conversation, Postgres(True, self._reports_at_once), reads)
        self.clients.append(client)
        return client

    def new_server(self, connection: ServerConnection) -> Wire:
        """A model server at the other end of a connection."""
        wire = Wire(self, connection, self.high_water)
        model = Postgres(self._hesitant, self._reports_at_once, self._forgiving, 4711 + len(self.servers))
        self.servers.append(ServerEnd(connection, wire, model))
        return wire

    def carry_cancel(self, target: address.Target, key: bytes, carried: Callable[[bool], None]) -> None:
        """A cancel request of the pooler's own, which must arrive before its server works for others."""

        def arrive() -> None:
            victims = [server for server in self.servers if server.model.key == key]
            assert all(
                server.wire.closed or server.place is not self.pool.active_servers for server in victims
            )
            carried(True)

        self.cancels.append(arrive)

    def run_soon(self, size: int = ALL) -> bool:
        """What the event loop would do next."""
        return _run_first(self.soon)

    def run_cancel(self, size: int = ALL) -> bool:
        """A cancel request of the pooler's own arrives."""
        return _run_first(self.cancels)

    def actors(self) -> list[Callable[[int], bool]]:
        """Whatever can happen now, each for so many bytes; they say whether there was anything to do."""
        ends: list[ClientEnd | ServerEnd] = [*self.clients, *self.servers]
        return [self.run_soon, self.run_cancel, *[move for end in ends for move in (end.deliver, end.take)]]

    def settle(self, paces: Paces = Paces()) -> None:
        """Goes on until nothing can move, in pieces of these sizes, or larger ones where there is a lot.
        Cancel requests take their time.
        """
        moved = True
        while moved:
            moved = False
            for client in self.clients:
                moved |= client.deliver(_piece(paces.client_sends, client.wire.incoming))
                moved |= client.take(_piece(paces.client_takes, client.wire.outgoing))
            for server in self.servers:
                moved |= server.deliver(_piece(paces.server_sends, server.wire.incoming))
                moved |= server.take(_piece(paces.server_takes, server.wire.outgoing))
            while self.run_soon():
                moved = True
            if not moved:
                moved = self.run_cancel()


def _run_first(callbacks: list[Callable[[], None]]) -> bool:
    if not callbacks:
        return False
    callbacks.pop(0)()
    return True


def _piece(pace: int, waiting: bytearray) -> int:
    return max(pace, len(waiting) // 16)
