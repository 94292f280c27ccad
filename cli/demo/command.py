"""`pooldeck demo`: from nothing to a pooler under load, and the proof that nobody got another's answer."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from contextlib import closing, suppress

from rich.columns import Columns
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn
from rich.table import Table

from cli.admin_query import AdminQueryError, Row, fetch
from cli.demo.config import write_config
from cli.demo.load import LoadReport, Target, prepare, run_load
from cli.demo.pg_programs import PostgresMissing
from cli.demo.postgres import PostgresFailed, TemporaryPostgres
from cli.demo.throwaway import ReservedPort
from cli.demo.verdict import print_verdict
from pooler.service.embed import PoolerThread

_DATABASE = "demo"
_USER = "postgres"
_SAMPLE_SECONDS = 0.25

Answer = tuple[list[str], list[Row]]


def run_demo(seconds: float, clients: int, pool_size: int, console: Console | None = None) -> int:
    """Run PostgreSQL, the pooler and the load, show what the pooler says of it; the exit code.

    It is 0 only if at least one query was sent and every query returned the token that its own client sent.
    `console` gets the output in place of the terminal.
    """
    console = console or Console()
    try:
        with TemporaryPostgres() as postgres, closing(ReservedPort()) as reserved:
            console.print(f"PostgreSQL on port {postgres.port}: {postgres.sql('SHOW server_version')[0][0]}")
            databases = {_DATABASE: ""}
            config = write_config(postgres, reserved.number, clients, pool_size, databases)
            with PoolerThread(str(config)) as pooler:
                console.print(f"pooler on port {pooler.port}: {clients} clients over {pool_size} servers")
                target = Target("127.0.0.1", pooler.port, _USER, _DATABASE)
                return asyncio.run(_watch_load(console, target, LoadReport(clients), seconds))
    except (PostgresMissing, PostgresFailed, AdminQueryError, OSError) as error:
        console.print(str(error), style="red", markup=False)
        return 1


async def _watch_load(console: Console, target: Target, report: LoadReport, seconds: float) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, stop.set)
    await prepare(target)
    load = asyncio.create_task(run_load(target, report, seconds, stop))
    pools = await _show_progress(console, target, report, seconds, load)
    await load
    stats = await asyncio.to_thread(_ask, target, "SHOW STATS")
    # Side by side where there is room.
    tables = (
        _transposed("SHOW POOLS, when most clients waited", pools),
        _transposed("SHOW STATS, afterwards", stats),
    )
    console.print(Columns(tables))
    print_verdict(console, report)
    return 0 if report.clean else 1


async def _show_progress(
    console: Console, target: Target, report: LoadReport, seconds: float, load: asyncio.Task[None]
) -> Answer:
    """Move the bar until the load ends; the SHOW POOLS with the most clients waiting."""
    busiest: Answer = ([], [])
    loop = asyncio.get_running_loop()
    started = loop.time()
    columns = (BarColumn(), TextColumn("{task.description}"), TimeRemainingColumn())
    with Progress(*columns, console=console) as progress:
        bar = progress.add_task("", total=seconds)
        while not load.done():
            with suppress(AdminQueryError, OSError):
                answer = await asyncio.to_thread(_ask, target, "SHOW POOLS")
                busiest = max(busiest, answer, key=_waiting)
                _move(progress, bar, report, _waiting(answer), loop.time() - started)
            await asyncio.wait([load], timeout=_SAMPLE_SECONDS)
        _move(progress, bar, report, 0, seconds)
    return busiest


def _move(progress: Progress, bar: TaskID, report: LoadReport, waiting: int, elapsed: float) -> None:
    failed = report.mismatched + report.errors.total()
    text = f"{report.sent} queries, {failed} failed, {waiting} clients waiting"
    progress.update(bar, completed=elapsed, description=text)


def _ask(target: Target, sql: str) -> Answer:
    return fetch(target.host, target.port, target.user, sql)


def _waiting(pools: Answer) -> int:
    """How many clients wait for a server; less than none where there is no pool yet."""
    columns, rows = pools
    if not rows:
        return -1
    index = columns.index("cl_waiting")
    return sum(int(row[index] or 0) for row in rows)


def _transposed(title: str, answer: Answer) -> Table:
    """A SHOW with a column for each of its rows: it has more columns than a terminal is wide."""
    columns, rows = answer
    table = Table(title=title, title_justify="left", show_header=False)
    table.add_column(style="bold")
    for _ in rows:
        table.add_column(justify="right")
    for name, *values in zip(columns, *rows, strict=True):
        table.add_row(name, *_cells(values))
    return table


def _cells(values: Sequence[str | None]) -> list[str]:
    return ["" if value is None else value for value in values]
