"""Disturbs clients, pooler and servers, in an order that the seed decides."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from typing import Literal

from tests.chaos.actor import DATABASES, Actor, Plan
from tests.chaos.client import Connection, ConnectionLost, Refused, cancel, rows
from tests.chaos.scene import Failure
from tests.chaos.weather import Cause, Weather
from tests.support.bouncer import ADMIN, BouncerProcess
from tests.support.postgres import TemporaryPostgres

_CANCEL_DEADLINE = 15.0
_PAUSE_AT_MOST = 1.0
_BACKENDS = (
    "SELECT pid::text AS pid FROM pg_stat_activity WHERE backend_type = 'client backend'"
    " AND pid <> pg_backend_pid() AND application_name <> 'director'"
)

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
    """Does something to somebody every now and then; what may cost clients their connection is told to the
    weather before it is done.
    """

    def __init__(
        self,
        plan: Plan,
        actors: Sequence[Actor],
        weather: Weather,
        pooler: BouncerProcess,
        postgres: TemporaryPostgres,
        crashes: bool,
    ) -> None:
        self._plan = plan
        self._actors = actors
        self._weather = weather
        self._pooler = pooler
        self._postgres = postgres
        self._rng = random.Random(f"{plan.seed}/director")
        self._cancels: set[asyncio.Task[None]] = set()
        self._acts: list[tuple[Callable[[], Awaitable[None]], float]] = [
            (self._cancel, 60),
            (self._end_backend, 8),
            (self._kill_client, 8),
            (self._reconnect, 6),
            (self._reload, 6),
            (self._pause, 4),
            (self._kill_database, 2),
        ]
        if crashes:
            self._acts += [(self._crash, 0.15), (self._restart, 0.15)]

    async def run(self, stop: asyncio.Event) -> None:
        """Disturb until `stop` is set; afterwards nothing of it is under way. Raises Failure."""
        acts, weights = [act for act, _ in self._acts], [weight for _, weight in self._acts]
        rate = min(30.0, len(self._actors) / 2)
        while not stop.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), self._rng.expovariate(rate))
            (act,) = self._rng.choices(acts, weights)
            await act()
            for task in [task for task in self._cancels if task.done()]:
                self._cancels.discard(task)
                task.result()
        await asyncio.gather(*self._cancels)

    async def admin(self, command: str) -> list[dict[str, str]]:
        """One command on a connection of its own. Raises Refused."""
        connection = await Connection.open(self._pooler.host, self._pooler.port)
        try:
            await connection.login(ADMIN, "pgbouncer")
            async with asyncio.timeout(self._plan.deadline):
                return await rows(connection, command)
        except (ConnectionLost, TimeoutError) as error:
            raise Failure(f"{command}: the admin database does not answer: {error!r}") from None
        finally:
            connection.terminate()

    async def server(self, sql: str) -> list[dict[str, str]]:
        """A query to PostgreSQL itself; nothing where it is not there."""
        connection = await Connection.open("127.0.0.1", self._postgres.port)
        try:
            await connection.login(self._plan.user, "postgres", application_name="director")
            return await rows(connection, sql)
        finally:
            connection.terminate()

    # Clients -----------------------------------------------------------------------------------------------

    async def _cancel(self) -> None:
        actor = self._rng.choice(self._actors)
        request = actor.cancel_sent()
        if request is None or actor.session is None:
            return
        self._weather.count("cancels")
        key = actor.session.connection.key

        async def send() -> None:
            try:
                async with asyncio.timeout(_CANCEL_DEADLINE):
                    await cancel(self._plan.host, self._plan.port, key)
            except TimeoutError:
                raise Failure(f"a cancel request was not answered within {_CANCEL_DEADLINE} s") from None
            except ConnectionLost as error:
                raise Failure(f"a cancel request was not taken: {error}") from None
            finally:
                request.done = time.monotonic()

        self._cancels.add(asyncio.create_task(send()))

    async def _kill_client(self) -> None:
        clients = [row for row in await self.admin("SHOW CLIENTS") if row["database"] in DATABASES.values()]
        if not clients:
            return
        victim = self._rng.choice(clients)
        self._weather.note(Cause.KILL_CLIENT, int(victim["port"]))
        self._weather.count(Cause.KILL_CLIENT.value)
        with suppress(Refused):
            await self.admin(f"KILL_CLIENT {victim['id']}")

    # The pooler --------------------------------------------------------------------------------------------

    async def _reconnect(self) -> None:
        self._weather.count("RECONNECT")
        await self.admin(f"RECONNECT {self._rng.choice(('', *DATABASES.values()))}")

    async def _reload(self) -> None:
        self._weather.count("RELOAD")
        name = self._rng.choice(list(_CHANGES))
        self._pooler.configure(**{name: self._rng.choice(_CHANGES[name])})
        await self.admin("RELOAD")

    async def _pause(self) -> None:
        """PAUSE, which may have to wait, and RESUME by somebody else."""
        self._weather.count("PAUSE")
        database = self._rng.choice(("", *DATABASES.values()))
        pause = asyncio.create_task(self.admin(f"PAUSE {database}"))
        await asyncio.wait([pause], timeout=self._rng.uniform(0, _PAUSE_AT_MOST))
        if not pause.done():
            # The command has been taken, unless the pooler has not even got to it yet.
            await asyncio.sleep(0.1)
        await self.admin(f"RESUME {database}")
        with suppress(Refused):
            await pause

    async def _kill_database(self) -> None:
        database = self._rng.choice(list(DATABASES.values()))
        self._weather.note(Cause.KILL_DATABASE)
        self._weather.count(Cause.KILL_DATABASE.value)
        await self.admin(f"KILL {database}")
        self._weather.note(Cause.KILL_DATABASE)
        await asyncio.sleep(self._rng.uniform(0, 0.3))
        await self.admin(f"RESUME {database}")

    # Servers -----------------------------------------------------------------------------------------------

    async def _end_backend(self) -> None:
        for pid in await self._some_backend():
            self._weather.note(Cause.BACKEND_ENDED)
            self._weather.count(Cause.BACKEND_ENDED.value)
            await self.server(f"SELECT pg_terminate_backend({pid})::text AS t")
            self._weather.note(Cause.BACKEND_ENDED)

    async def _crash(self) -> None:
        for pid in await self._some_backend():
            self._weather.note(Cause.CRASH)
            self._weather.count(Cause.CRASH.value)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            await self._until_up()
            self._weather.note(Cause.CRASH)

    async def _restart(self) -> None:
        self._weather.note(Cause.RESTART)
        self._weather.count(Cause.RESTART.value)
        mode: Literal["fast", "immediate"] = "fast" if self._rng.random() < 0.5 else "immediate"
        await asyncio.to_thread(self._postgres.restart, mode)
        await self._until_up()
        self._weather.note(Cause.RESTART)

    async def _some_backend(self) -> list[int]:
        pids = [int(row["pid"]) for row in await self.server(_BACKENDS)]
        return [self._rng.choice(sorted(pids))] if pids else []

    async def _until_up(self) -> None:
        """Return once PostgreSQL takes connections. Raises Failure if it does not come back."""
        for _ in range(200):
            await asyncio.sleep(0.1)
            with suppress(ConnectionLost, Refused):
                await self.server("SELECT 1::text AS one")
                return
        raise Failure("PostgreSQL has not come back")
