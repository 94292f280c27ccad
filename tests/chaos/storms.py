"""Disturbs PostgreSQL: ends backends, kills them, restarts the whole server."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable
from contextlib import suppress
from itertools import cycle
from typing import Literal

from tests.chaos.client import Connection, ConnectionLost, Refused, rows
from tests.chaos.processes import kill_child
from tests.chaos.scene import Failure
from tests.chaos.weather import Cause, Weather
from tests.support.bouncer import USER
from tests.support.postgres import TemporaryPostgres

KILLED_BACKENDS = "backends killed with -9"
_OURS = "director"
_BACKENDS = (
    "SELECT pid::text AS pid, state FROM pg_stat_activity WHERE backend_type = 'client backend'"
    f" AND pid <> pg_backend_pid() AND application_name <> '{_OURS}'"
)
_ENDED_PER_SECOND = 0.4
_KILL_ATTEMPTS = 5
_LONGEST_PERIOD = 25.0
_UP_SECONDS = 20.0


class Storms:
    """What happens to PostgreSQL while clients work, told to the weather before it is done."""

    def __init__(self, seed: int, weather: Weather, postgres: TemporaryPostgres) -> None:
        self._weather = weather
        self._postgres = postgres
        self._rng = random.Random(f"{seed}/storms")

    async def end_backends(self, stop: asyncio.Event) -> None:
        """pg_terminate_backend of somebody every now and then, until `stop` is set."""
        while not await _stopped(stop, self._rng.expovariate(_ENDED_PER_SECOND)):
            with suppress(ConnectionLost, Refused):
                await self._end_backend()

    async def crash(self, stop: asyncio.Event, seconds: float) -> None:
        """kill -9 of a backend, which takes all of them with it, and both kinds of restart, in turn.

        All three come to pass within `seconds`. Raises Failure.
        """
        kinds: list[Callable[[], Awaitable[None]]] = [self._kill_backend, self._restart_fast]
        kinds.insert(self._rng.randrange(3), self._restart_immediate)
        period = min(_LONGEST_PERIOD, seconds / 4)
        pause = period / 2
        for act in cycle(kinds):
            if await _stopped(stop, pause):
                return
            await act()
            pause = period

    async def backends(self) -> list[dict[str, str]]:
        """`pid` and `state` of all but our own. Raises ConnectionLost or Refused while PostgreSQL is away."""
        return await self._sql(_BACKENDS)

    async def _sql(self, sql: str) -> list[dict[str, str]]:
        connection = await Connection.open("127.0.0.1", self._postgres.port)
        try:
            await connection.login(USER, "postgres", application_name=_OURS)
            return await rows(connection, sql)
        finally:
            connection.terminate()

    async def _some_pid(self) -> int | None:
        pids = sorted(int(row["pid"]) for row in await self.backends())
        return self._rng.choice(pids) if pids else None

    async def _end_backend(self) -> None:
        pid = await self._some_pid()
        if pid is None:
            return
        self._weather.count(Cause.BACKEND_ENDED.value)
        with self._weather.during(Cause.BACKEND_ENDED):
            await self._sql(f"SELECT pg_terminate_backend({pid})::text AS t")

    async def _kill_backend(self) -> None:
        with self._weather.during(Cause.CRASH):
            for _ in range(_KILL_ATTEMPTS):
                pid, postmaster = await self._some_pid(), self._postgres.pid
                if pid is not None and postmaster is not None and kill_child(pid, postmaster):
                    self._weather.count(KILLED_BACKENDS)
                    break
            await self._until_up()

    async def _restart_fast(self) -> None:
        await self._restart("fast")

    async def _restart_immediate(self) -> None:
        await self._restart("immediate")

    async def _restart(self, mode: Literal["fast", "immediate"]) -> None:
        self._weather.count(f"restarts ({mode})")
        with self._weather.during(Cause.RESTART):
            await asyncio.to_thread(self._postgres.restart, mode)
            await self._until_up()

    async def _until_up(self) -> None:
        """Return once PostgreSQL takes connections. Raises Failure if it does not come back."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_UP_SECONDS):
                while True:
                    await asyncio.sleep(0.1)
                    with suppress(ConnectionLost, Refused):
                        await self.backends()
                        return
        raise Failure("PostgreSQL has not come back")


async def _stopped(stop: asyncio.Event, seconds: float) -> bool:
    """Wait for so long; whether `stop` was set meanwhile."""
    with suppress(TimeoutError):
        await asyncio.wait_for(stop.wait(), seconds)
    return stop.is_set()
