"""The console in front of the camera: keys, and waiting for what is to be seen."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import asyncpg
from textual.pilot import Pilot

from tui.admin.connection import connect
from tui.app import Console
from tui.themes import DARK

PATIENCE: Final = 90.0
"""Seconds that something may take to happen: more than the time between two rushes."""


class Stage:
    """What a picture is made with."""

    def __init__(self, console: Console, pilot: Pilot[None]) -> None:
        self.console = console
        self._pilot = pilot
        self.svg = ""

    def shoot(self) -> None:
        """Take the picture."""
        self.svg = self.console.export_screenshot(title="pooldeck")

    async def begin(self, size: tuple[int, int], theme: str) -> None:
        """The overview, on a terminal of that size."""
        self.svg = ""
        await self._pilot.resize_terminal(*size)
        self.console.theme = theme or DARK
        await self.press("1")

    async def end(self) -> None:
        """Away with what was opened, and with messages, groups and filters: the next picture has its own."""
        while self.console.screen.is_modal:
            await self.press("escape")
        await self.press("escape", "escape")
        self.console.clear_notifications()

    async def press(self, *keys: str) -> None:
        """Press keys, and wait until they have had their effect on the screen."""
        await self._pilot.press(*keys)
        await self._pilot.pause(0.2)

    async def wait(self, seconds: float) -> None:
        """For what comes of itself: a dialog may keep the console from asking anything."""
        await self._pilot.pause(seconds)

    async def polls(self, count: int = 1) -> None:
        """Wait until the pooler has been asked so many times more."""
        for _ in range(count):
            last = self.console.moment
            await self.until(lambda last=last: self.console.moment is not last, "the next poll")  # type: ignore[misc]
        await self._pilot.pause(0.2)

    async def until(self, condition: Callable[[], bool], what: str) -> None:
        """Raises TimeoutError."""
        try:
            async with asyncio.timeout(PATIENCE):
                while not condition():
                    await asyncio.sleep(0.05)
        except TimeoutError:
            raise TimeoutError(f"not within {PATIENCE:.0f} s: {what}") from None

    @asynccontextmanager
    async def transaction(self, database: str, application: str) -> AsyncIterator[None]:
        """Somebody holds a server."""
        target = self.console.settings.target
        connection = await asyncpg.connect(
            host=target.host,
            port=int(target.port),
            user="worker",
            database=database,
            server_settings={"application_name": application},
        )
        await connection.execute("BEGIN; UPDATE pooldeck_demo SET changes = changes WHERE id = -1")
        try:
            yield
        finally:
            connection.terminate()

    async def command(self, sql: str) -> None:
        """What is to be as before the picture."""
        connection = await connect(self.console.settings.target)
        await connection.command(sql)
        await connection.close()

    def pool(self, database: str, user: str) -> Mapping[str, Any]:
        """A row of SHOW POOLS, empty if there is none."""
        pools = None if self.console.moment is None else self.console.moment.table("POOLS")
        rows = [] if pools is None else list(pools.dicts())
        return next((row for row in rows if (row["database"], row["user"]) == (database, user)), {})

    async def rush(self) -> None:
        """Wait until clients stand in line, and have done so for a while."""
        await self.until(lambda: self.pool("shop", "web").get("maxwait", 0) >= 1, "clients wait")
        await self.polls()
