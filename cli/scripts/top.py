"""`pooldeck top --once`: what the console's overview shows, for scripts."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import typer

from cli.scripts import session
from cli.scripts.output import Format, as_json, rendered
from tui.admin.connection import AdminConnection
from tui.admin.overview import POOL_COLUMNS, Overview, look, rates
from tui.admin.table import Table


def run_top(target: str | None, form: Format, interval: float, timeout: float) -> int:
    """Look twice, `interval` seconds apart, print the later look and what was between; the exit status."""

    async def top(connection: AdminConnection) -> int:
        clock = asyncio.get_running_loop().time
        before, started = await look(connection), clock()
        await asyncio.sleep(interval)
        after = await look(connection)
        text = _rendered(str(connection.target), after, rates(before, after, clock() - started), form)
        typer.echo(text, nl=False)
        return session.DONE

    return session.run(target, top, timeout)


def _rendered(name: str, overview: Overview, per_second: Mapping[str, float | None], form: Format) -> str:
    pools = Table(
        POOL_COLUMNS, [tuple(pool.get(column) for column in POOL_COLUMNS) for pool in overview.pools]
    )
    if form is Format.JSON:
        return as_json(_document(name, overview, per_second, pools))
    if form is Format.CSV:
        return rendered(pools, form)
    return "".join(f"{line}\n" for line in _head(name, overview, per_second)) + "\n" + rendered(pools, form)


def _document(
    name: str, overview: Overview, per_second: Mapping[str, float | None], pools: Table
) -> dict[str, Any]:
    return {
        "target": name,
        "version": overview.version,
        "state": overview.state,
        "paused": overview.paused,
        "disabled": overview.disabled,
        "clients": overview.clients,
        "max_clients": overview.max_clients,
        "per_second": per_second,
        "pools": list(pools.dicts()),
    }


def _head(name: str, overview: Overview, per_second: Mapping[str, float | None]) -> list[str]:
    limit = "" if overview.max_clients is None else f" of {overview.max_clients}"
    lines = [
        f"{name}  {overview.version}  {overview.state}",
        f"clients {overview.clients}{limit}  "
        + "  ".join(
            f"{key} {'-' if value is None else format(value, '.1f')}/s" for key, value in per_second.items()
        ),
    ]
    lines += [f"paused: {', '.join(overview.paused)}"] if overview.paused else []
    lines += [f"disabled: {', '.join(overview.disabled)}"] if overview.disabled else []
    return lines
