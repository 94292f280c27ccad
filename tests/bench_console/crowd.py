"""A pooler with as many clients as one likes, without a descriptor for each.

It is our own pooler, on a loop of its own, with its admin database. Clients are put into its lists as a login
would; only their sockets are missing. Standard input asks with a line each for what it has needed so far.
"""

from __future__ import annotations

import asyncio
import json
import random
import resource
import socket
import struct
import sys
import time
from pathlib import Path
from typing import Any, Final

import uvloop

from pooler.pool.registry import Shutdown
from pooler.relay import address
from pooler.relay.client import ClientConnection
from pooler.service.log import Log
from pooler.service.options import Options
from pooler.service.pooler import Pooler
from pooler.service.process import Pidfile
from pooler.service.start import load_config, serve
from tests.unit.admin.fakes import FakeTransport

DATABASES: Final = 20
USERS: Final = 50

_BYTES_ACKED = 120
"""Where tcpi_bytes_acked is in struct tcp_info; tcpi_bytes_received is behind it."""

_INI: Final = """\
[databases]
* = host=127.0.0.1 port=1
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = trust
auth_file = {directory}/users
admin_users = admin
max_client_conn = 100000
client_idle_timeout = 0
"""


def config(directory: Path, port: int) -> Path:
    """The files of such a pooler."""
    (directory / "users").write_text('"admin" ""\n')
    path = directory / "crowd.ini"
    path.write_text(_INI.format(port=port, directory=directory))
    return path


class Crowd:
    """Clients that are logged in; a tenth of them has a query running, always others."""

    def __init__(self, pooler: Pooler, count: int) -> None:
        self._pooler = pooler
        self._chance = random.Random(1)
        self._clients = [self._client(number) for number in range(count)]
        self._busy: list[ClientConnection] = []

    def _client(self, number: int) -> ClientConnection:
        registry = self._pooler.registry
        database = registry.find_or_register_database(f"shop_{number % DATABASES}")
        assert database is not None
        client = ClientConnection(self._pooler.context)
        client.transport = FakeTransport()
        client.remote = address.Address(f"10.1.{number // 250 % 250}.{number % 250}", 1024 + number % 60_000)
        client.local = address.Address("10.0.0.1", 6432)
        client.greeted = True
        client.database = database
        client.credentials = registry.global_credentials(f"user_{number % USERS}")
        client.pool = registry.pool(database, client.credentials)
        client.move_last(client.pool.active_clients)
        return client

    def stir(self) -> None:
        """Let others work."""
        now = time.monotonic_ns()
        for client in self._busy:
            client.query_ns = 0
        self._busy = self._chance.sample(self._clients, len(self._clients) // 10)
        for client in self._busy:
            client.request_ns = client.query_ns = now - self._chance.randrange(5_000_000_000)


class Meter:
    """What the pooler has needed so far."""

    def __init__(self, pooler: Pooler) -> None:
        self._pooler = pooler
        self._longest = 0.0
        self._due = 0.0
        self._watch()

    def _watch(self) -> None:
        loop = asyncio.get_running_loop()
        self._longest = max(self._longest, loop.time() - self._due if self._due else 0.0)
        self._due = loop.time() + 0.005
        loop.call_at(self._due, self._watch)

    def read(self) -> dict[str, float]:
        """CPU of the loop's thread and of all threads, bytes of the admin connections, the longest delay."""
        usage = resource.getrusage(resource.RUSAGE_SELF)
        sent, received = self._admin_bytes()
        longest, self._longest = self._longest, 0.0
        return {
            "wall": time.monotonic(),
            "loop": time.thread_time(),
            "process": usage.ru_utime + usage.ru_stime,
            "sent": sent,
            "received": received,
            "delay": longest,
        }

    def _admin_bytes(self) -> tuple[int, int]:
        sent = received = 0
        for client in self._pooler.registry.admin_pool.active_clients:
            transport: Any = client.transport  # type: ignore[attr-defined]
            info = transport.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 192)
            acked, got = struct.unpack_from("QQ", info, _BYTES_ACKED)
            sent, received = sent + acked, received + got
        return sent, received


async def _answer(pooler: Pooler, meter: Meter) -> None:
    """A line for each line; the end of them is ours."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    while await reader.readline():
        print(json.dumps(meter.read()), flush=True)
    pooler.shutdown(Shutdown.IMMEDIATE)


def main() -> None:
    """`python -m tests.bench_console.crowd INI CLIENTS`; it writes `ready` when they are all there."""
    options, count = Options(sys.argv[1], quiet=True), int(sys.argv[2])
    log = Log(quiet=True)
    snapshot = load_config(options, log)
    tasks: set[asyncio.Task[None]] = set()

    def begin(pooler: Pooler) -> None:
        loop = asyncio.get_running_loop()
        crowd = Crowd(pooler, count)

        def stir() -> None:
            crowd.stir()
            loop.call_later(1.0, stir)

        stir()
        tasks.add(loop.create_task(_answer(pooler, Meter(pooler))))
        print("ready", flush=True)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(options, snapshot, log, Pidfile("", log), made=lambda pooler: None, up=begin))


if __name__ == "__main__":
    main()
