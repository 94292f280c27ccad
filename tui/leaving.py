"""What is asked before the console ends: about files, jobs, and a pooler that would end with it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tui.admin.target import DATABASE
from tui.screens.ask import Ask
from tui.screens.leave import LeaveScreen

if TYPE_CHECKING:
    from tui.app import Console


async def leave(console: Console) -> None:
    """End the console unless somebody, asked, would rather stay. Runs in a worker: it waits for dialogs."""
    if isinstance(console.screen, (Ask, LeaveScreen)):
        return
    if await _may_lose_edits(console) and await console.desk.may_leave():
        await _end(console)


async def _may_lose_edits(console: Console) -> bool:
    unsaved = [path for editor in console.editors for path in editor.unsaved]
    if not unsaved:
        return True
    question = Ask(
        "Quit?", f"Not saved: {', '.join(unsaved)}", [("stay", "Stay"), ("leave", "Quit, and lose it")]
    )
    return await console.push_screen_wait(question) == "leave"


async def _end(console: Console) -> None:
    """A pooler in this process is shut down first; whoever hosts it ends the console when it has ended."""
    hosted = console.settings.hosted
    if hosted is None or not hosted.running:
        console.exit()
        return
    at_once = await console.push_screen_wait(LeaveScreen(_data_clients(console)))
    if at_once is not None:
        hosted.stop(at_once=at_once)
        console.notify("The pooler is shutting down; this console ends with it.", markup=False)


def _data_clients(console: Console) -> int | None:
    pools = None if console.moment is None else console.moment.table("POOLS")
    if pools is None:
        return None
    rows = [row for row in pools.dicts() if row["database"] != DATABASE]
    return sum(int(row["cl_active"]) + int(row["cl_waiting"]) for row in rows)
