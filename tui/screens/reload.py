"""RELOAD, and what the pooler says of it: in its answer, or else in its log."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tui.admin.errors import AdminError
from tui.files.logline import RANKS, parse_lines
from tui.files.tail import Tail
from tui.files.whereabouts import log_file
from tui.operate.actions import BY_VERB
from tui.operate.outcome import Result
from tui.operate.subject import Subject
from tui.watch.link import State

if TYPE_CHECKING:
    from tui.app import Console

SECONDS: Final = 60.0
"""A RELOAD reads a few files; what takes longer hangs."""


@dataclass(frozen=True, slots=True)
class Reloaded:
    """How it went, in words."""

    is_good: bool
    text: str


async def reload(console: Console) -> Reloaded:
    """Let the pooler read its files again. Releases before 1.25 say in their log alone what was wrong."""
    tail = _tail(console)
    if tail is not None:
        await asyncio.to_thread(tail.read)
    try:
        outcome = await console.desk.send(BY_VERB["RELOAD"], "RELOAD", SECONDS)
        failure = "" if outcome.result is Result.DONE else outcome.reason
    except AdminError as error:
        failure = error.message
    logged = [] if tail is None else await asyncio.to_thread(_complaints, tail)
    if failure:
        return Reloaded(False, "\n".join([failure, *logged]))
    if logged:
        return Reloaded(False, "\n".join(["The pooler has reloaded, and its log says:", *logged]))
    return Reloaded(True, "The pooler has reloaded its configuration.")


def why_not(console: Console) -> str | None:
    """Why RELOAD is not to be offered, in words."""
    if console.link.state is not State.LIVE:
        return "there is no connection to the pooler"
    return console.desk.why_not(BY_VERB["RELOAD"], Subject.pooler())


def _tail(console: Console) -> Tail | None:
    """The end of the log, for poolers whose answer does not say it all."""
    moment, settings = console.moment, console.settings
    if moment is None or moment.capabilities.sql:
        return None
    config = moment.table("CONFIG")
    given = None if settings.log is None else str(settings.log)
    place = log_file(given, settings.target.host, None if config is None else config.pairs())
    return Tail(place.path, 0) if place.path else None


def _complaints(tail: Tail) -> list[str]:
    """What has been logged since, of warnings and worse."""
    lines = parse_lines(tail.read().lines, 0)
    tail.close()
    return [
        f"{line.level}: {line.message}"
        for line in lines
        if RANKS.get(line.level, 0) >= RANKS["WARNING"] and line.connection is None
    ]
