"""The demo's load: many real clients that check that every answer is the answer to their own question."""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Iterator, MutableSequence
from dataclasses import dataclass, field
from itertools import count
from statistics import quantiles
from typing import Any

import asyncpg

_ACCOUNTS = 1000
_EXAMPLES = 5
_LATENCIES = 1_000_000
# A reply that never comes is an error of the pooler, not a reason to wait for ever.
_PATIENCE_SECONDS = 30.0
# Between an error and the client's next connection.
_PAUSE_SECONDS = 0.1
_CREATE = """
DROP TABLE IF EXISTS pooldeck_demo;
CREATE TABLE pooldeck_demo (id int PRIMARY KEY, changes bigint NOT NULL, token text NOT NULL);
"""
_FILL = "INSERT INTO pooldeck_demo SELECT id, 0, '' FROM generate_series(1, $1::int) id"
_READ = "SELECT $1::text, changes FROM pooldeck_demo WHERE id = $2"
_WRITE = "UPDATE pooldeck_demo SET changes = changes + 1, token = $1::text WHERE id = $2 RETURNING token"
_READ_BACK = "SELECT $1::text FROM pooldeck_demo WHERE id = $2 AND token = $3::text"
_MANY_ROWS = "SELECT $1::text, repeat('x', n) FROM generate_series(1, 200) n"
_SLOW = "SELECT $1::text, pg_sleep($2::float8)"
_SLOW_SECONDS = 0.25


@dataclass(frozen=True)
class Target:
    """Where the load goes; nobody is asked for a password."""

    host: str
    port: int
    user: str
    database: str
    application: str = "pooldeck demo"


@dataclass
class LoadReport:
    """What came of a load: every query sent is matched, mismatched or an error once the load is over."""

    clients: int
    sent: int = 0
    matched: int = 0
    mismatched: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    """How often which error was met, by its text; connections that could not be made are among them."""
    latencies: MutableSequence[float] = field(default_factory=lambda: deque(maxlen=_LATENCIES))
    """Seconds from query to answer, of the last queries that were answered, waiting for a server included."""
    examples: list[str] = field(default_factory=list)
    """The first few mismatches, in words."""

    @property
    def clean(self) -> bool:
        """Whether something was asked and every question got its own answer."""
        return self.sent > 0 and self.matched == self.sent and not self.errors

    def percentile(self, percent: int) -> float:
        """Latency in seconds that `percent` (1 to 99) of the queries stayed below; 0 with less than two."""
        if len(self.latencies) < 2:
            return 0.0
        return quantiles(self.latencies, n=100)[percent - 1]


async def prepare(target: Target) -> None:
    """Make the table that the load works on."""
    connection = await _connect(target)
    try:
        await connection.execute(_CREATE)
        await connection.execute(_FILL, _ACCOUNTS)
    finally:
        await connection.close()


async def run_load(target: Target, report: LoadReport, seconds: float, stop: asyncio.Event) -> None:
    """Let `report.clients` clients ask until `seconds` are over or `stop` is set, and fill `report` as they
    go.

    A client that meets an error gives up its connection and comes back with a new one.
    """
    timer = asyncio.get_running_loop().call_later(seconds, stop.set)
    try:
        await asyncio.gather(*(run_client(target, number, report, stop) for number in range(report.clients)))
    finally:
        timer.cancel()


async def run_client(
    target: Target,
    number: int,
    report: LoadReport,
    stop: asyncio.Event,
    work: Callable[[LoadClient], Awaitable[None]] | None = None,
) -> None:
    """One client, until `stop` is set: it does `work` again and again, or what its class has."""
    work = work or LoadClient.work
    sequence = count(1)
    while not stop.is_set():
        connection: asyncpg.Connection[Any] | None = None
        # A reply out of place makes a driver raise nearly anything, so nothing is let through uncounted.
        try:
            connection = await _connect(target)
            client = LoadClient(connection, number, report, sequence)
            while not stop.is_set():
                await work(client)
            await connection.close()
        except Exception as error:
            report.errors[f"{type(error).__name__}: {error}"] += 1
            if connection is not None:
                connection.terminate()
            await asyncio.sleep(_PAUSE_SECONDS)


class LoadClient:
    """One client of the load on one connection; `sequence` numbers the queries of all its connections."""

    def __init__(
        self, connection: asyncpg.Connection[Any], number: int, report: LoadReport, sequence: Iterator[int]
    ) -> None:
        self._connection = connection
        self._number = number
        self._report = report
        self._sequence = sequence

    async def work(self) -> None:
        """One piece of work at random: mostly reads, some writes and transactions, seldom a slow query."""
        (kind,) = random.choices(_KINDS, _WEIGHTS)
        await kind(self)

    async def read(self) -> None:
        await self._ask(_READ, _account())

    async def write(self) -> None:
        await self._ask(_WRITE, _account())

    async def many_rows(self) -> None:
        await self._ask(_MANY_ROWS)

    async def slow(self, seconds: float = _SLOW_SECONDS) -> None:
        await self._ask(_SLOW, seconds)

    async def transaction(self, seconds: float = 0.0) -> None:
        """Write, then read back before the commit: only the server that took the write can show it.

        In between the client does something else for so long.
        """
        account = _account()
        async with self._connection.transaction():
            written = await self._ask(_WRITE, account)
            await asyncio.sleep(seconds)
            await self._ask(_READ_BACK, account, written)

    async def _ask(self, sql: str, *arguments: object) -> str:
        """Send a query with a token of its own, check that every row brings it back, and return the token."""
        token = f"{self._number}:{next(self._sequence)}:{secrets.token_hex(4)}"
        report = self._report
        report.sent += 1
        started = time.perf_counter()
        rows = await self._connection.fetch(sql, token, *arguments)
        report.latencies.append(time.perf_counter() - started)
        answers = {row[0] for row in rows}
        if answers == {token}:
            report.matched += 1
            return token
        report.mismatched += 1
        if len(report.examples) < _EXAMPLES:
            report.examples.append(f"sent {token}, got {sorted(answers, key=str) or 'no rows'}")
        return token


# What clients do, and how often out of a thousand times. The slow query holds its server for a quarter of a
# second.
_MIX = (
    (LoadClient.read, 600),
    (LoadClient.write, 200),
    (LoadClient.transaction, 150),
    (LoadClient.many_rows, 45),
    (LoadClient.slow, 5),
)
_KINDS = tuple(kind for kind, _ in _MIX)
_WEIGHTS = tuple(weight for _, weight in _MIX)


async def _connect(target: Target) -> asyncpg.Connection[Any]:
    return await asyncpg.connect(
        host=target.host,
        port=target.port,
        user=target.user,
        database=target.database,
        timeout=_PATIENCE_SECONDS,
        command_timeout=_PATIENCE_SECONDS,
        server_settings={"application_name": target.application},
    )


def _account() -> int:
    return random.randint(1, _ACCOUNTS)
