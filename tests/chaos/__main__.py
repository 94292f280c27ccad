"""`python -m tests.chaos`: one run of the token test, or one of a pooler that is broken on purpose."""

from __future__ import annotations

import argparse
import random
import sys
from collections.abc import Sequence

from tests.chaos.mutants import MUTANTS, broken_pooler
from tests.chaos.run import Options, run
from tests.support.bouncer import PoolerProcess


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit code: 1 when the pooler did something that nothing explains."""
    given = _parser().parse_args(arguments)
    options = Options(
        seed=random.randrange(1_000_000) if given.seed is None else given.seed,
        seconds=given.seconds,
        clients=given.clients,
        deadline=given.deadline,
        crashes=given.seconds >= 30 if given.crashes is None else given.crashes,
        disturbed=not given.calm,
    )
    outcome = run(options, PoolerProcess if given.mutant is None else broken_pooler(given.mutant))
    print(outcome.summary)
    for failure in outcome.failures:
        print(f"\nFAILED: {failure}", file=sys.stderr)
    return 1 if outcome.failures else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.chaos",
        description="Many clients with tokens that only they know, under every disturbance.",
    )
    parser.add_argument("--seed", type=int, help="replays the plan of an earlier run; default: a new one")
    parser.add_argument("--seconds", type=float, default=60, help="how long clients work (%(default)s)")
    parser.add_argument("--clients", type=int, default=50, help="how many there are (%(default)s)")
    parser.add_argument(
        "--deadline", type=float, default=30, help="seconds that an answer may take (%(default)s)"
    )
    parser.add_argument(
        "--crashes",
        action=argparse.BooleanOptionalAction,
        help="kill -9 of backends and restarts of PostgreSQL; default: from 30 seconds on",
    )
    parser.add_argument("--calm", action="store_true", help="nobody disturbs, and no client leaves early")
    parser.add_argument("--mutant", choices=sorted(MUTANTS), help="a pooler that is broken in this way")
    return parser


if __name__ == "__main__":
    sys.exit(main())
