"""`pooldeck exec`: one command of the admin database."""

from __future__ import annotations

import typer

from cli.scripts import session
from cli.scripts.output import Format, rendered
from tui.admin.connection import AdminConnection
from tui.admin.errors import AdminError, NoAnswerInTime
from tui.admin.table import Notice, Reply


def run_exec(target: str | None, command: str, form: Format, timeout: float | None) -> int:
    """Run it and print rows and tag; the exit status. Without `timeout` it may take as long as it likes.

    Rows go to standard output; so does the tag, if there are none. Notices go to standard error.
    """

    async def execute(connection: AdminConnection) -> int:
        try:
            _print(await connection.run(command, timeout), form)
        except NoAnswerInTime:
            raise
        except AdminError as error:
            if not (error.lost and _ends_the_pooler(command)):
                raise
            typer.echo("SHUTDOWN")
        return session.DONE

    return session.run(target, execute)


def _ends_the_pooler(command: str) -> bool:
    """Whether the end of the connection is the answer."""
    return command.strip().upper().startswith("SHUTDOWN")


def _print(reply: Reply, form: Format) -> None:
    for notice in reply.notices:
        typer.echo(_text(notice), err=True)
    if reply.table is not None:
        typer.echo(rendered(reply.table, form), nl=False)
    else:
        typer.echo(reply.tag)


def _text(notice: Notice) -> str:
    line = f"{notice.severity}: {notice.message}"
    return f"{line}\nDETAIL: {notice.detail}" if notice.detail else line
