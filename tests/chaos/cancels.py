"""Cancel requests: where they hit something, where they come early or late, where there is nothing to hit."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from contextlib import suppress

from tests.chaos.actor import Actor, Plan
from tests.chaos.client import ConnectionLost, cancel
from tests.chaos.console import Console
from tests.chaos.scene import Failure, Session
from tests.chaos.weather import CancelRequest, Weather

AT_SLOW_QUERIES = "cancels at slow queries"
AT_ENDING_QUERIES = "cancels at queries that are just ending"
AT_WAITING_CLIENTS = "cancels at waiting clients"
AT_ANYBODY = "cancels at anybody"

_ROUNDS_PER_SECOND = 8.0
_AT_ENDS = 3
_ENDING_SECONDS = 0.01
_DEADLINE = 15.0


class Canceler:
    """Sends cancel requests to clients of all kinds."""

    def __init__(self, plan: Plan, actors: Sequence[Actor], weather: Weather, console: Console) -> None:
        self._plan = plan
        self._actors = actors
        self._weather = weather
        self._console = console
        self._rng = random.Random(f"{plan.seed}/cancels")
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self, stop: asyncio.Event) -> None:
        """Cancel until `stop` is set; afterwards no request is under way. Raises Failure."""
        while not stop.is_set():
            with suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), self._rng.expovariate(_ROUNDS_PER_SECOND))
            await self._round()
            for task in [task for task in self._tasks if task.done()]:
                self._tasks.discard(task)
                task.result()
        await asyncio.gather(*self._tasks)

    async def _round(self) -> None:
        """Some at once: for a query that runs for a while, for one in line, for anything or nothing."""
        at_work, in_line = await self._targets()
        self._send(at_work, AT_SLOW_QUERIES)
        self._send(in_line, AT_WAITING_CLIENTS)
        self._send(self._actors, AT_ANYBODY)
        for actor in self._rng.sample(at_work, min(_AT_ENDS, len(at_work))):
            if actor.session is not None:
                self._tasks.add(asyncio.create_task(self._send_at_end(actor, actor.session)))

    async def _targets(self) -> tuple[list[Actor], list[Actor]]:
        """Clients whose slow query has a server, and clients that wait for one."""
        by_port = {actor.session.port: actor for actor in self._actors if actor.session is not None}
        at_work: list[Actor] = []
        in_line: list[Actor] = []
        for client in await self._clients():
            actor = by_port.get(int(client["port"]))
            if actor is None or actor.session is None:
                continue
            if client["state"] == "waiting":
                in_line.append(actor)
            elif client["link"] and actor.session.slow_until:
                at_work.append(actor)
        return at_work, in_line

    async def _clients(self) -> list[dict[str, str]]:
        async with self._console.connection() as connection:
            asked = time.monotonic()
            clients = await self._console.tell(connection, "SHOW CLIENTS")
            self._weather.note_late(time.monotonic() - asked)
            return clients

    def _send(self, actors: Sequence[Actor], aim: str) -> None:
        session = self._rng.choice(actors).session if actors else None
        if session is not None:
            self._tasks.add(asyncio.create_task(self._deliver(session, aim)))

    async def _send_at_end(self, actor: Actor, session: Session) -> None:
        """One that may come a moment too late, when others have the server."""
        late = self._rng.uniform(-_ENDING_SECONDS, _ENDING_SECONDS)
        await asyncio.sleep(session.slow_until - time.monotonic() + late)
        if actor.session is session:
            await self._deliver(session, AT_ENDING_QUERIES)

    async def _deliver(self, session: Session, aim: str) -> None:
        self._weather.count(aim)
        request = CancelRequest(time.monotonic(), aim)
        session.cancels.append(request)
        try:
            async with asyncio.timeout(_DEADLINE):
                await cancel(self._plan.host, self._plan.port, session.connection.key)
        except TimeoutError:
            raise Failure(f"a cancel request was not answered within {_DEADLINE} s") from None
        except ConnectionLost as error:
            raise Failure(f"a cancel request was not taken: {error}") from None
        finally:
            request.done = time.monotonic()
