"""`pooldeck`. A sub-command imports what it needs when it runs: `serve` loads neither console nor Rich."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from cli.options import TargetOption
from cli.scripts.verbs import register


class Plugin(TyperCommand):
    """A command whose mistakes in the command line are no alarm: 2 would be `critical`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        try:
            return super().parse_args(ctx, args)
        except Exception as error:
            if getattr(error, "exit_code", None) == 2:
                error.exit_code = 3  # type: ignore[attr-defined]
            raise


TimeoutOption = Annotated[float, typer.Option(min=0.1, help="Seconds for connecting, and for each query.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
CsvOption = Annotated[bool, typer.Option("--csv", help="Print CSV.")]
TableOption = Annotated[bool, typer.Option("--table", help="Print a table for people: the default.")]

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
def console(
    target: Annotated[
        str | None,
        typer.Argument(
            metavar="[URL|CONFIG]",
            help="The pooler: a URL, a connection string or its ini file. Default: the profile,"
            " POOLDECK_TARGET or the variables of libpq.",
        ),
    ] = None,
    profile: Annotated[str | None, typer.Option("--profile", "-p", help="A profile of console.toml.")] = None,
    profiles: Annotated[
        str | None, typer.Option(help="The file of profiles, instead of console.toml.")
    ] = None,
    read_only: Annotated[
        bool | None, typer.Option("--read-only/--read-write", help="Refuse, or allow, what changes anything.")
    ] = None,
    interval: Annotated[float | None, typer.Option(min=0.1, help="Seconds between two looks.")] = None,
    theme: Annotated[str | None, typer.Option(help="A theme of the console.")] = None,
    log: Annotated[str | None, typer.Option(help="The pooler's log file, if it is on this machine.")] = None,
    serve: Annotated[
        str | None, typer.Option(metavar="CONFIG", help="Run a pooler with this ini, and look at it.")
    ] = None,
    web: Annotated[
        bool, typer.Option("--web", help="In a browser on this machine; read-only unless --read-write.")
    ] = False,
    port: Annotated[int, typer.Option(min=1, max=65535, help="The port of --web.")] = 8000,
) -> None:
    """Watch a pooler and operate it, on the terminal."""
    from cli.console import ConsoleOptions, run_console

    raise typer.Exit(
        run_console(
            ConsoleOptions(target, profile, profiles, read_only, interval, theme, log, serve, web, port)
        )
    )


@app.command()
def demo(
    seconds: Annotated[
        float, typer.Option(min=0.1, help="How long the load lasts, without the console.")
    ] = 15.0,
    clients: Annotated[int, typer.Option(min=1, help="Clients of the load.")] = 50,
    pool_size: Annotated[int, typer.Option(min=1, help="Servers that they share.")] = 5,
    headless: Annotated[
        bool, typer.Option("--headless", help="Progress bar and tables, no console.")
    ] = False,
) -> None:
    """Run a throw-away PostgreSQL, the pooler and a load that checks every answer, under the console."""
    from cli.terminal import on_terminal

    if headless or not on_terminal():
        from cli.demo.command import run_demo

        raise typer.Exit(run_demo(seconds, clients, pool_size))
    from cli.demo.live import run_live_demo

    raise typer.Exit(run_live_demo(clients, pool_size))


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
def show(
    table: Annotated[str, typer.Argument(help="One of the tables of SHOW, e.g. POOLS.")],
    where: Annotated[str | None, typer.Option(help="A condition: cl_waiting > 0.")] = None,
    order_by: Annotated[str | None, typer.Option(help="Columns to sort by: maxwait DESC.")] = None,
    limit: Annotated[int | None, typer.Option(min=0, help="How many rows at most.")] = None,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
    as_table: TableOption = False,
    target: TargetOption = None,
    timeout: TimeoutOption = 10.0,
) -> None:
    """Print a table of the admin database of a pooler, or some of its rows."""
    from cli.scripts.output import chosen
    from cli.scripts.show import Selection, run_show

    form = chosen(as_json=as_json, as_csv=as_csv, as_table=as_table)
    raise typer.Exit(run_show(target, Selection(table, where, order_by, limit), form, timeout))


@app.command("exec")
def execute(
    command: Annotated[str, typer.Argument(help='A command of the admin database, e.g. "PAUSE app".')],
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
    as_table: TableOption = False,
    target: TargetOption = None,
    timeout: Annotated[
        float | None, typer.Option(min=0.1, help="Give the command up after so many seconds. Default: never.")
    ] = None,
) -> None:
    """Run a command of the admin database, and wait until it is done."""
    from cli.scripts.execute import run_exec
    from cli.scripts.output import chosen

    form = chosen(as_json=as_json, as_csv=as_csv, as_table=as_table)
    raise typer.Exit(run_exec(target, command, form, timeout))


@app.command("check-health", cls=Plugin)
def check_health(
    warn: Annotated[
        list[str] | None, typer.Option(help="From when on it is a warning: cl_waiting=1.")
    ] = None,
    crit: Annotated[list[str] | None, typer.Option(help="From when on it is critical: maxwait=5.")] = None,
    target: TargetOption = None,
    timeout: TimeoutOption = 10.0,
) -> None:
    """Hold a pooler against limits, as a plug-in of Nagios."""
    from cli.scripts.check_health import run_check

    raise typer.Exit(run_check(target, warn or [], crit or [], timeout))


@app.command()
def top(
    once: Annotated[bool, typer.Option("--once", help="Print it once and end.")] = False,
    interval: Annotated[
        float, typer.Option(min=0.1, help="Seconds between the two looks at the counters.")
    ] = 1.0,
    as_json: JsonOption = False,
    as_csv: CsvOption = False,
    as_table: TableOption = False,
    target: TargetOption = None,
    timeout: TimeoutOption = 10.0,
) -> None:
    """Print the state of a pooler, what it does per second, and its pools, the most loaded on top."""
    from cli.scripts.output import chosen
    from cli.scripts.top import run_top

    if not once:
        raise typer.BadParameter("--once is the only way so far")
    form = chosen(as_json=as_json, as_csv=as_csv, as_table=as_table)
    raise typer.Exit(run_top(target, form, interval, timeout))


register(app)


@app.command()
def version() -> None:
    """Say which version this is, and whether its data path is compiled."""
    from pooler.service.version import VERSION_LINE, details

    for line in (*details(), f"compatible with {VERSION_LINE}"):
        typer.echo(line)


def main() -> None:
    """The executable. Sub-commands tell what goes wrong with a pooler or a file; that leaves the output."""
    try:
        app()
    except OSError as error:
        from cli.scripts.session import UNREACHABLE, failed

        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        name = error.filename or "standard output"
        sys.exit(failed(f"{name}: {error.strerror or error}", UNREACHABLE))


if __name__ == "__main__":
    main()
