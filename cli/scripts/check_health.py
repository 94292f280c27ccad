"""`pooldeck check-health`: a plug-in for Nagios and what understands its plug-ins."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import typer

from cli.scripts import session
from tui.admin.connection import AdminConnection
from tui.admin.errors import AdminError, TargetError
from tui.admin.health import Health, Limits, judge, parse_limits
from tui.admin.overview import look


def run_check(target: str | None, warn: Sequence[str], crit: Sequence[str], timeout: float) -> int:
    """Print one line; the exit status is that of a plug-in.

    A pooler that cannot be reached, or does not answer in time, is critical. Unknown is what cannot be found
    out: limits or a target that make no sense, a table that the pooler will not show.
    """
    try:
        limits = Limits(parse_limits(warn), parse_limits(crit))
        return asyncio.run(session.connected(target, _check(limits), timeout))
    except AdminError as error:
        return _say(Health.CRITICAL if error.lost else Health.UNKNOWN, error.message)
    except (TargetError, ValueError, KeyError) as error:
        return _say(Health.UNKNOWN, str(error))


def _check(limits: Limits) -> session.Work:
    async def check(connection: AdminConnection) -> int:
        verdict = judge(await look(connection), limits)
        typer.echo(verdict.line)
        return verdict.health

    return check


def _say(health: Health, reason: str) -> int:
    # A bar would begin what is to be drawn.
    line = " ".join(reason.replace("|", "/").split())
    typer.echo(f"POOLDECK {health.name} - {line}".encode("utf-8", "backslashreplace"))
    return health
