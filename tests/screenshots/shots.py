"""The pictures: what is pressed for each, and what has to be the case."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

from tests.screenshots.stage import Stage
from tui.themes import LIGHT


@dataclass(frozen=True)
class Shot:
    """A picture: the name of its file, and how the console gets there from the overview.

    It is taken when `act` is done, unless that does so itself (`Stage.shoot`).
    """

    name: str
    act: Callable[[Stage], Awaitable[None]]
    size: tuple[int, int] = (120, 36)
    theme: str = ""


async def pools(stage: Stage) -> None:
    """A pool with a queue."""
    await stage.press("2")
    await stage.rush()


async def clients(stage: Stage) -> None:
    """Those of one application, the ones that wait on top."""
    await stage.press("3", "slash", *"shop", "enter")
    await stage.rush()
    await stage.polls()
    await stage.press("down", "down")


async def server(stage: Stage) -> None:
    """What PostgreSQL says of a server connection that works for long."""
    await stage.press("4", "slash", *"ana", "enter")
    await stage.polls(2)
    await stage.press("down", "b")
    await stage.polls(2)


async def grouped(stage: Stage) -> None:
    """Clients by application."""
    await stage.press("3")
    await stage.polls(2)
    await stage.press("g", "down", "down", "down", "enter")
    await stage.polls()


async def logs(stage: Stage) -> None:
    """The end of the pooler's log."""
    await stage.press("9")
    await stage.polls(2)


async def confirm(stage: Stage) -> None:
    """What would be hit, before it is."""
    await on_the_shop(stage)
    await stage.press("K")
    await stage.wait(1)


async def pause(stage: Stage) -> None:
    """A PAUSE that waits for a transaction, and for whose."""
    async with stage.transaction("shop", "migration"):
        await on_the_shop(stage)
        await stage.press("P")
        await stage.wait(1)
        await stage.press(*"shop", "enter")
        await stage.wait(1)
        await stage.press("J")
        await stage.wait(5)
        stage.shoot()
    await stage.end()
    await stage.command("RESUME shop")


async def on_the_shop(stage: Stage) -> None:
    """The cursor on the database of that name."""
    await stage.press("5", "slash", *"shop", "enter")
    await stage.polls(2)
    await stage.press("down")


async def overview(stage: Stage) -> None:
    """Last but for its variants: its graphs want some minutes."""
    await stage.rush()


SHOTS: Final = (
    Shot("pools", pools),
    Shot("clients", clients),
    Shot("server", server),
    Shot("grouped", grouped),
    Shot("logs", logs),
    Shot("confirm", confirm),
    Shot("pause", pause),
    Shot("narrow", pools, size=(64, 22)),
    Shot("light", pools, theme=LIGHT),
    Shot("overview", overview, size=(130, 40)),
)
