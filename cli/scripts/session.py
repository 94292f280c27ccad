"""What the sub-commands for scripts have in common: connecting, and the exit status."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeAlias

import typer

from tui.admin.connection import CONNECT_SECONDS, AdminConnection, connect
from tui.admin.errors import AdminError, TargetError
from tui.admin.target import parse_target

DONE: Final = 0
REFUSED: Final = 1
USAGE: Final = 2
UNREACHABLE: Final = 3
INTERRUPTED: Final = 130

Work: TypeAlias = Callable[[AdminConnection], Awaitable[int]]


def run(target: str | None, work: Work, timeout: float = CONNECT_SECONDS) -> int:
    """Do `work` on a connection; the exit status. What goes wrong is said on standard error.

    `timeout`, in seconds, is for connecting and for each query.
    """
    try:
        return asyncio.run(connected(target, work, timeout))
    except TargetError as error:
        return failed(str(error), USAGE)
    except AdminError as error:
        return failed(text_of(error), UNREACHABLE if error.lost else REFUSED)
    except KeyboardInterrupt:
        return INTERRUPTED


async def connected(target: str | None, work: Work, timeout: float) -> int:
    """Do `work` on a connection. Raises TargetError and AdminError."""
    connection = await connect(parse_target(target), timeout=timeout, query_timeout=timeout)
    try:
        return await work(connection)
    finally:
        await connection.close()


def text_of(error: AdminError) -> str:
    """The error as psql shows it: detail and hint on lines of their own."""
    lines = [error.message.rstrip()]
    lines += [f"{name}: {text}" for name, text in (("DETAIL", error.detail), ("HINT", error.hint)) if text]
    return "\n".join(lines)


def failed(reason: str, status: int) -> int:
    """Say why on standard error."""
    typer.echo(f"pooldeck: {reason}".encode("utf-8", "backslashreplace"), err=True)
    return status
