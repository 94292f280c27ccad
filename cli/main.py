"""`pooldeck`. A sub-command imports what it needs when it runs: `serve` loads neither console nor Rich."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="A PgBouncer-compatible connection pooler.",
)


@app.command()
def serve(config: Annotated[Path, typer.Argument(help="The pgbouncer.ini to run with.")]) -> None:
    """Run the pooler in the foreground until it is shut down."""
    from pooler.service.main import run
    from pooler.service.options import Options

    raise typer.Exit(run(Options(str(config))))


@app.command()
def demo(
    seconds: Annotated[float, typer.Option(min=0.1, help="How long the load lasts.")] = 15.0,
    clients: Annotated[int, typer.Option(min=1, help="Clients of the load.")] = 50,
    pool_size: Annotated[int, typer.Option(min=1, help="Servers that they share.")] = 5,
    headless: Annotated[
        bool, typer.Option("--headless", help="Progress bar and tables, nothing else.")
    ] = False,
) -> None:
    """Run a throw-away PostgreSQL, the pooler and a load that checks every answer."""
    from cli.demo.command import run_demo

    raise typer.Exit(run_demo(seconds, clients, pool_size))


@app.command()
def passwd(
    user: Annotated[str, typer.Argument(help="Whose password it is.")],
    file: Annotated[
        Path | None,
        typer.Option("--file", "-f", help="The userlist.txt to put it into; without it the line is printed."),
    ] = None,
    md5: Annotated[bool, typer.Option("--md5", help="Make an md5 hash, not a SCRAM secret.")] = False,
    iterations: Annotated[
        int | None, typer.Option(help="Iterations of a SCRAM secret, 4096 to 1000000. Default: 4096.")
    ] = None,
    stdin: Annotated[
        bool, typer.Option("--stdin", help="Read the password from standard input: one line.")
    ] = False,
    delete: Annotated[bool, typer.Option("--delete", help="Remove the user from the file.")] = False,
    backup: Annotated[bool, typer.Option("--backup", help="Keep the old file as FILE.bak.")] = False,
) -> None:
    """Make a line of userlist.txt from a password that is asked for, or put it into the file."""
    from cli.passwd import Request, run_passwd

    path = None if file is None else str(file)
    raise typer.Exit(run_passwd(Request(user, path, md5, iterations, stdin, delete, backup)))


@app.command()
def version() -> None:
    """Say which version this is, and whether its data path is compiled."""
    from pooler.service.version import VERSION_LINE, details

    for line in (*details(), f"compatible with {VERSION_LINE}"):
        typer.echo(line)


def main() -> None:
    """The executable."""
    app()


if __name__ == "__main__":
    main()
