"""The pooler of the demo and a load that is worth watching, as a process beside the console.

It writes a line when clients are at work, and what came of it when its standard input is closed.
"""

from __future__ import annotations

import asyncio
import random
import sys
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass

from rich.console import Console

from cli.demo.load import LoadClient, LoadReport, Target, prepare, run_client
from cli.demo.verdict import print_verdict
from pooler.service.embed import PoolerThread

READY = "at work"

RUSH_EVERY, RUSH_LASTS = 25.0, 7.0
"""Seconds: how often nobody waits between two queries any more, and for how long."""


_END_SECONDS = 5.0
"""How long the clients may take for what they are at in the end."""


@dataclass(frozen=True)
class Role:
    """A kind of client: how many there are, as whom they come, and what each does again and again."""

    clients: int
    user: str
    database: str
    application: str
    work: Callable[[LoadClient], Awaitable[None]]


class Script:
    """What clients do until `stop` is set."""

    def __init__(self, stop: asyncio.Event) -> None:
        self._stop = stop

    def roles(self, clients: int) -> tuple[Role, ...]:
        """The cast of a load of so many clients."""
        share = max(1, clients // 10)
        return (
            Role(max(1, clients - 3 * share), "web", "shop", "shop-web", self.browse),
            Role(share, "web", "shop", "shop-checkout", self.check_out),
            Role(share, "worker", "shop", "shop-worker", self.check_out),
            Role(share, "ana", "reports", "nightly-report", self.evaluate),
        )

    async def browse(self, client: LoadClient) -> None:
        """Short queries with a pause after each, unless there is a rush: then slower ones without."""
        if in_a_rush():
            await client.slow(random.uniform(0.05, 0.3))
            return
        await client.work()
        await self._pause(random.uniform(0.05, 0.35))

    async def check_out(self, client: LoadClient) -> None:
        """Transactions whose client does something else in between: longer in a rush."""
        await client.transaction(random.uniform(0.1, 1.5 if in_a_rush() else 0.3))
        await self._pause(random.uniform(0.1, 0.6))

    async def evaluate(self, client: LoadClient) -> None:
        """Long queries, seldom more of them than the pool has servers."""
        await client.slow(random.uniform(0.3, 2.5))
        await self._pause(random.uniform(2.0, 10.0))

    async def _pause(self, seconds: float) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._stop.wait()


def in_a_rush() -> bool:
    """Whether it is one of the moments at which the shop has more customers than servers."""
    now = asyncio.get_running_loop().time()
    return now % RUSH_EVERY > RUSH_EVERY - RUSH_LASTS


async def play(host: str, port: int, clients: int, stop: asyncio.Event) -> LoadReport:
    """Let all of them work until `stop` is set; what came of it."""
    await prepare(Target(host, port, "postgres", "shop"))
    report = LoadReport(clients)
    tasks: list[asyncio.Task[None]] = []
    for role in Script(stop).roles(clients):
        target = Target(host, port, role.user, role.database, role.application)
        for _ in range(role.clients):
            tasks.append(asyncio.create_task(run_client(target, len(tasks), report, stop, role.work)))
    print(READY, flush=True)
    await stop.wait()
    # Whoever stands in line of a pool that is paused would wait on.
    _, late = await asyncio.wait(tasks, timeout=_END_SECONDS)
    for task in late:
        task.cancel()
        report.errors["not answered before the end"] += 1
    return report


async def _until_closed(stop: asyncio.Event) -> None:
    """Whoever has started this closes our standard input, also by dying."""
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    await reader.read()
    stop.set()


async def _play_until_closed(port: int, clients: int) -> LoadReport:
    stop = asyncio.Event()
    waiting = asyncio.create_task(_until_closed(stop))
    report = await play("127.0.0.1", port, clients, stop)
    await waiting
    return report


def main() -> int:
    """`python -m cli.demo.scene CONFIG CLIENTS`; the exit code is 1 if an answer was another's."""
    config, clients = sys.argv[1], int(sys.argv[2])
    with PoolerThread(config) as pooler:
        report = asyncio.run(_play_until_closed(pooler.port, clients))
    print_verdict(Console(), report)
    return 1 if report.mismatched or not report.sent else 0


if __name__ == "__main__":
    sys.exit(main())
