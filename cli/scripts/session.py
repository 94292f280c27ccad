"""What the sub-commands for scripts have in common: connecting, and the exit status."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any, Final, TypeAlias

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
        return asyncio.run(_until_ended(connected(target, work, timeout)))
    except TargetError as error:
        return failed(str(error), USAGE)
    except AdminError as error:
        return failed(text_of(error), UNREACHABLE if error.lost else REFUSED)
    except KeyboardInterrupt:
        return INTERRUPTED
    except _Ended as ended:
        return 128 + ended.number


class _Ended(Exception):
    """A signal has ended it, after what was under way was given up."""

    def __init__(self, number: signal.Signals) -> None:
        super().__init__(number.name)
        self.number = number


async def _until_ended(work: Coroutine[Any, Any, int]) -> int:
    """What ends a script, or the terminal that it runs on, lets go of a PAUSE as Ctrl-C does."""
    task = asyncio.ensure_future(work)
    seen: list[signal.Signals] = []

    def end(number: signal.Signals) -> None:
        seen.append(number)
        task.cancel()

    for number in (signal.SIGTERM, signal.SIGHUP):
        # What was started to outlive its terminal does.
        if signal.getsignal(number) is not signal.SIG_IGN:
            asyncio.get_running_loop().add_signal_handler(number, end, number)
    try:
        return await task
    except asyncio.CancelledError:
        if seen:
            raise _Ended(seen[0]) from None
        raise


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
