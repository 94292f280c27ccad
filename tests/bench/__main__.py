"""Runs the bench: all targets in turn, round after round, then one table."""

from __future__ import annotations

import argparse
import platform
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack

from cli.demo.postgres import TemporaryPostgres
from tests.bench import targets
from tests.bench.procfs import cpu_model
from tests.bench.report import Results
from tests.bench.rows import MEGABYTE, Row, RowFailed, Scale, all_rows, prepare, raise_descriptor_limit
from tests.bench.targets import REFERENCE, Target
from tests.support.bouncer import BouncerProcess

TARGETS = ("postgresql", "pooldeck", "pgbouncer")


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 1 when a measurement failed that must not."""
    options = _parser().parse_args(arguments)
    raise_descriptor_limit()
    with ExitStack() as stack:
        postgres = stack.enter_context(TemporaryPostgres(settings={"shared_buffers": "256MB"}))
        scale = _scale(options)
        copy_file = prepare(postgres, scale, pgbench_scale=1 if options.quick else 10)
        rows = [row for row in all_rows(postgres, scale, copy_file) if options.only in row.name]
        measured = _start_targets(options, postgres, stack)
        results = Results()
        rounds = options.rounds or (1 if options.quick else 3)
        failed = _run_rounds(rows, measured, rounds, results)
        version = postgres.sql("SHOW server_version")[0][0]
    print(f"\n{cpu_model()}; Python {platform.python_version()}; PostgreSQL {version};", end=" ")
    print(
        f"{targets.pgbouncer_version() or 'no PgBouncer'}; median of {rounds} rounds of {scale.seconds} s\n"
    )
    print(results.markdown(rows, [target.name for target in measured]))
    return 1 if failed else 0


def _run_rounds(rows: Sequence[Row], measured: Sequence[Target], rounds: int, results: Results) -> bool:
    """Fill `results`; whether a measurement failed that must not."""
    failed = False
    for number in range(rounds):
        # To and fro, so that nobody always runs behind the same neighbour.
        order = measured if number % 2 == 0 else measured[::-1]
        for row in rows:
            for target in order:
                print(f"round {number + 1}: {row.name}, {target.name}", file=sys.stderr, flush=True)
                try:
                    results.add(row.name, target.name, row.run(target))
                except RowFailed as error:
                    results.add(row.name, target.name, None)
                    print(f"  {error}", file=sys.stderr, flush=True)
                    failed = failed or not row.may_fail
    return failed


def _start_targets(
    options: argparse.Namespace, postgres: TemporaryPostgres, stack: ExitStack
) -> list[Target]:
    started: list[Target] = []

    def start(name: str, make: Callable[[], BouncerProcess]) -> None:
        pooler = stack.enter_context(make())
        started.append(Target(name, pooler.port, pooler.pid, make))

    chosen = options.target or TARGETS
    if "postgresql" in chosen:
        started.append(targets.direct(postgres))
    if "pooldeck" in chosen:
        for python in options.python or [sys.executable]:
            start(targets.pooldeck_name(python), targets.pooldeck(postgres, python))
    if "pgbouncer" in chosen and targets.pgbouncer_version() is not None:
        start(REFERENCE, targets.pgbouncer(postgres))
    return started


def _scale(options: argparse.Namespace) -> Scale:
    if options.quick:
        return Scale(seconds=options.seconds or 1, copy_bytes=10 * MEGABYTE, idle_clients=500)
    return Scale(seconds=options.seconds or 5, copy_bytes=100 * MEGABYTE, idle_clients=5000)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--rounds", type=int, help="how often everything is measured (default: 3)")
    parser.add_argument("--seconds", type=int, help="how long pgbench runs each time (default: 5)")
    parser.add_argument("--only", default="", metavar="ROW", help="only rows with this in their name")
    parser.add_argument("--quick", action="store_true", help="one short round on little data, to see it work")
    parser.add_argument(
        "--target", action="append", choices=TARGETS, help="only this target; may be repeated"
    )
    parser.add_argument(
        "--python",
        action="append",
        metavar="PATH",
        help="the interpreter that runs pooldeck (default: this one); may be repeated, each is measured",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
