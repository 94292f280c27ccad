"""What tests do with a console beyond pressing keys."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from textual.app import App
from textual.pilot import Pilot
from textual.screen import ModalScreen
from textual.worker import Worker

from tests.support.fake_admin import FakePooler, fake_console
from tui.app import Console

ASKING = frozenset({"act", "leave", "review"})
"""Groups of workers that open dialogs, and go on when these are answered."""


@asynccontextmanager
async def driven(
    pooler: FakePooler, size: tuple[int, int] = (120, 40), **settings: Any
) -> AsyncIterator[tuple[Console, Pilot[None]]]:
    """A console that has polled once."""
    console = fake_console(pooler, **settings)
    async with console.run_test(size=size, notifications=True) as pilot:
        await polled(pilot)
        yield console, pilot


async def settle(pilot: Pilot[Any]) -> None:
    """Wait until all workers are done, or wait for the dialog that is open, and all messages are handled."""
    await pilot.pause()
    while pending := [worker for worker in pilot.app.workers if not _waits(worker, pilot.app)]:
        await pilot.app.workers.wait_for_complete(
            [worker for worker in pending if worker.group not in ASKING]
        )
        await pilot.pause()
    await pilot.pause()


def _waits(worker: Worker[Any], app: App[Any]) -> bool:
    return worker.is_finished or (worker.group in ASKING and isinstance(app.screen, ModalScreen))


async def polled(pilot: Pilot[Any]) -> None:
    """Let the console poll once, and show it."""
    console = pilot.app
    assert isinstance(console, Console)
    await console.refresh_now()
    await settle(pilot)


async def press(pilot: Pilot[Any], *keys: str) -> None:
    """Press keys, and wait until what they began is done."""
    await pilot.press(*keys)
    await settle(pilot)


async def until(pilot: Pilot[Any], condition: Callable[[], object]) -> None:
    """Until something that happens on another thread, or in a worker that waits for a dialog, is seen."""
    async with asyncio.timeout(10):
        while not condition():
            await pilot.pause()


def text(console: Console) -> str:
    """What is on the terminal, line by line."""
    width, _ = console.size
    lines = console.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in line)[:width].rstrip() for line in lines)


async def seen(console: Console, pilot: Pilot[Any]) -> str:
    """What is on the terminal below the notifications, which go by themselves after a while."""
    console.clear_notifications()
    await settle(pilot)
    return text(console)
