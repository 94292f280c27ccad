"""RELOAD, and what the pooler says of it: in its answer, or else in its log."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from tui.admin.errors import AdminError
from tui.files.logline import RANKS, parse_lines
from tui.files.tail import Tail
from tui.files.whereabouts import log_file

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
        await console.on_admin(lambda: _reload(console))
        failure = ""
    except AdminError as error:
        failure = f"{error.message}\n{error.detail}" if error.detail else error.message
    logged = [] if tail is None else await asyncio.to_thread(_complaints, tail)
    if failure:
        return Reloaded(False, "\n".join([failure, *logged]))
    if logged:
        return Reloaded(False, "\n".join(["The pooler has reloaded, and its log says:", *logged]))
    return Reloaded(True, "The pooler has reloaded its configuration.")


async def _reload(console: Console) -> None:
    settings = console.settings
    connection = await settings.connect(settings.target)
    try:
        await connection.command("RELOAD", SECONDS)
    finally:
        await connection.close()


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
