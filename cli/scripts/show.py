"""`pooldeck show`: the rows of one table."""

from __future__ import annotations

import re
from dataclasses import dataclass

import typer

from cli.scripts import session
from cli.scripts.output import Format, rendered
from tui.admin.connection import AdminConnection
from tui.admin.rowfilter import NotSimple, selected


@dataclass(frozen=True, slots=True)
class Selection:
    """Which rows of which table, in the words of SQL."""

    table: str
    where: str | None = None
    order_by: str | None = None
    limit: int | None = None


def run_show(target: str | None, selection: Selection, form: Format, timeout: float) -> int:
    """Print it; the exit status. Raises typer.BadParameter for what is no name of a table."""
    if not re.fullmatch(r"\w+", selection.table):
        raise typer.BadParameter(f"not a table: {selection.table}")

    async def show(connection: AdminConnection) -> int:
        return await _show(connection, selection, form)

    return session.run(target, show, timeout)


async def _show(connection: AdminConnection, selection: Selection, form: Format) -> int:
    if connection.capabilities.sql:
        table = await connection.rows(_statement(selection))
    else:
        table = await connection.rows(f"SHOW {selection.table}")
        try:
            table = selected(table, selection.where, selection.order_by, selection.limit)
        except NotSimple as error:
            return session.failed(str(error), session.USAGE)
        except KeyError as error:
            return session.failed(f"SHOW {selection.table} has no column {error.args[0]}", session.REFUSED)
    typer.echo(rendered(table, form), nl=False)
    return session.DONE


def _statement(selection: Selection) -> str:
    parts = [f"SHOW {selection.table}"]
    if selection.where is not None:
        parts.append(f"WHERE {selection.where}")
    if selection.order_by is not None:
        parts.append(f"ORDER BY {selection.order_by}")
    if selection.limit is not None:
        parts.append(f"LIMIT {selection.limit}")
    return " ".join(parts)
