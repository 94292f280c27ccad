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
