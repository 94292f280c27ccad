"""Does to the pooler and its clients what an administrator can do, in an order that the seed decides."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress

from tests.chaos.actor import DATABASES
from tests.chaos.client import Connection, Refused
from tests.chaos.console import Console
from tests.chaos.scene import Failure
from tests.chaos.weather import Cause, Weather
from tests.support.bouncer import BouncerProcess

_ACTS_PER_SECOND = 8.0
_PAUSE_AT_MOST = 1.0
_STILL_SECONDS = 0.1
_WAIT_IN_VAIN = 1.0
"""Seconds in line beside a free server that nothing excuses."""

# Settings that RELOAD changes now and then.
_CHANGES: dict[str, tuple[object, ...]] = {
    "max_prepared_statements": (2, 5, 200),
    "server_lifetime": (3, 3600),
    "server_round_robin": (0, 1),
    "server_check_delay": (0, 1, 30),
    "pkt_buf": (2048, 4096),
    "server_reset_query_always": (0, 1),
}


class Director:
    """Gives a command every now and then; what may cost clients something is told to the weather before."""

    def __init__(self, seed: int, weather: Weather, pooler: BouncerProcess, console: Console) -> None:
        self._weather = weather
        self._pooler = pooler
        self._console = console
        self._rng = random.Random(f"{seed}/director")
        self._tasks: set[asyncio.Task[object]] = set()
        self._acts: tuple[tuple[Callable[[], Awaitable[None]], float], ...] = (
            (self._kill_client, 8),
            (self._reconnect, 6),
            (self._reload, 6),
            (self._check_lines, 6),
            (self._pause, 4),
            (self._suspend, 2),
            (self._disable, 2),
            (self._kill_databases, 2),
        )

    async def run(self, stop: asyncio.Event) -> None:
        """Disturb until `stop` is set; afterwards nothing of it is under way. Raises Failure."""
        acts, weights = [act for act, _ in self._acts], [weight for _, weight in self._acts]
        while not stop.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), self._rng.expovariate(_ACTS_PER_SECOND))
            (act,) = self._rng.choices(acts, weights)
            try:
                await act()
            except Refused as error:
                raise Failure(f"{act.__name__}: refused: {error.fields}") from None
            for task in [task for task in self._tasks if task.done()]:
                self._tasks.discard(task)
                task.result()
        await asyncio.gather(*self._tasks)

    async def _kill_client(self) -> None:
        clients = [
            row for row in await self._console.admin("SHOW CLIENTS") if row["database"] in DATABASES.values()
        ]
        if not clients:
            return
        victim = self._rng.choice(clients)
        self._weather.count(Cause.KILL_CLIENT.value)
        with self._weather.during(Cause.KILL_CLIENT, int(victim["port"])), suppress(Refused):
            await self._console.admin(f"KILL_CLIENT {victim['id']}")

    async def _reconnect(self) -> None:
        self._weather.count("RECONNECT")
        database = self._rng.choice(("", *DATABASES.values()))
        await self._console.admin(f"RECONNECT {database}")
        if self._rng.random() < 0.3:
            self._weather.count("WAIT_CLOSE")
            self._tasks.add(asyncio.create_task(self._console.admin(f"WAIT_CLOSE {database}")))

    async def _reload(self) -> None:
        self._weather.count("RELOAD")
        name = self._rng.choice(list(_CHANGES))
        self._pooler.configure(**{name: self._rng.choice(_CHANGES[name])})
        await self._console.admin("RELOAD")

    async def _pause(self) -> None:
        self._weather.count("PAUSE")
        database = self._rng.choice(("", *DATABASES.values()))
        await self._hold_for_a_while(f"PAUSE {database}", f"RESUME {database}")

    async def _suspend(self) -> None:
        self._weather.count("SUSPEND")
        await self._hold_for_a_while("SUSPEND", "RESUME")

    async def _hold_for_a_while(self, command: str, resume: str) -> None:
        """A command that may have to wait until it is done, and RESUME by somebody else.

        Both are connected before: while it is suspended the pooler accepts nobody.
        """
        async with self._console.connection() as connection, self._console.connection() as other:
            hold = asyncio.create_task(self._console.tell(connection, command))
            await asyncio.wait([hold], timeout=self._rng.uniform(0, _PAUSE_AT_MOST))
            if hold.done():
                await self._check_stillness(other, command)
            await self._resume(other, resume)
            with suppress(Refused):
                await hold

    async def _check_stillness(self, connection: Connection, command: str) -> None:
        """Once the command is done nothing is passed on any more. Raises Failure."""
        before = await self._bytes_passed(connection, command)
        await asyncio.sleep(_STILL_SECONDS)
        after = await self._bytes_passed(connection, command)
        if before != after:
            raise Failure(f"{command} is done, and {after - before} more bytes were passed on")

    async def _bytes_passed(self, connection: Connection, command: str) -> int:
        """In both directions, so far, in the databases that the command is for."""
        database = command.partition(" ")[2]
        return sum(
            int(row["total_sent"]) + int(row["total_received"])
            for row in await self._console.tell(connection, "SHOW STATS")
            if row["database"] == database or (not database and row["database"] in DATABASES.values())
        )

    async def _resume(self, connection: Connection, command: str) -> None:
        """RESUME, which is refused while the pooler has not got to what it is to end. Raises Refused."""
        for _ in range(100):
            with suppress(Refused):
                await self._console.tell(connection, command)
                return
            await asyncio.sleep(0.05)
        await self._console.tell(connection, command)

    async def _disable(self) -> None:
        database = self._rng.choice(list(DATABASES.values()))
        self._weather.count(Cause.DISABLE.value)
        with self._weather.during(Cause.DISABLE):
            await self._console.admin(f"DISABLE {database}")
            await asyncio.sleep(self._rng.uniform(0, 0.3))
            await self._console.admin(f"ENABLE {database}")

    async def _kill_databases(self) -> None:
        """KILL, which also pauses, of one database or of all."""
        databases = list(DATABASES.values())
        if self._rng.random() < 0.8:
            databases = [self._rng.choice(databases)]
        self._weather.count(Cause.KILL_DATABASE.value)
        with self._weather.during(Cause.KILL_DATABASE):
            for database in databases:
                await self._console.admin(f"KILL {database}")
        await asyncio.sleep(self._rng.uniform(0, 0.3))
        for database in databases:
            await self._console.admin(f"RESUME {database}")

    async def _check_lines(self) -> None:
        """Nobody waits where a server is free. Raises Failure."""
        for database in await self._waiting_in_vain():
            await asyncio.sleep(0.2)
            if database in await self._waiting_in_vain():
                raise Failure(f"{database}: a client is in line for {_WAIT_IN_VAIN} s, and servers are idle")

    async def _waiting_in_vain(self) -> list[str]:
        """Databases where this is so; it may be, for the moment between two callbacks."""
        return [
            pool["database"]
            for pool in await self._console.admin("SHOW POOLS")
            if int(pool["cl_waiting"]) and int(pool["sv_idle"]) and int(pool["maxwait"]) >= _WAIT_IN_VAIN
        ]
