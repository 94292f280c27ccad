"""Plays message scripts and prints what each target says: `python -m tests.wire FILE...`."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.support.postgres import TemporaryPostgres
from tests.wire.parser import load
from tests.wire.play import Record
from tests.wire.script import Scenario
from tests.wire.targets import Targets
from tests.wire.verdict import complaints, play_everywhere


def main(arguments: list[str]) -> int:
    """The exit status: 1 if something is not as the scripts say."""
    scenarios = [scenario for argument in arguments for scenario in load(Path(argument))]
    failed = 0
    with TemporaryPostgres() as postgres:
        targets = Targets(postgres, scenarios)
        try:
            for scenario in scenarios:
                records = play_everywhere(scenario, targets)
                found = complaints(scenario, records, targets.versions())
                failed += bool(found)
                _print(scenario, records, found)
        finally:
            targets.close()
    return 1 if failed else 0


def _print(scenario: Scenario, records: dict[str, Record], found: list[str]) -> None:
    print(f"== {scenario.id}")
    for target, record in records.items():
        print(f"-- {target}\n{record}")
    for complaint in found:
        print(f"!! {complaint}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
