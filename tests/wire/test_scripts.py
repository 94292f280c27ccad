"""Message scripts, played on pooldeck, on a real PgBouncer and on PostgreSQL itself (README.md)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from _pytest.mark import ParameterSet

from tests.support.bouncer import find_pgbouncer
from tests.support.postgres import TemporaryPostgres
from tests.support.require import missing
from tests.wire.parser import load
from tests.wire.script import POOLDECK, Scenario
from tests.wire.targets import Targets
from tests.wire.verdict import complaints, play_everywhere

SCRIPTS = sorted(Path(__file__).parent.glob("*.script"))
SCENARIOS = [scenario for script in SCRIPTS for scenario in load(script)]

CLASSES = "ABCDEFGHIJKLMNOPQR"
"""The ways in which poolers have given wrong data, lost step, or got stuck."""


@pytest.fixture(scope="session")
def targets(postgres: TemporaryPostgres) -> Iterator[Targets]:
    """All targets; poolers are started when the first scenario needs them."""
    if find_pgbouncer() is None:
        missing("a real PgBouncer")
    found = Targets(postgres, SCENARIOS)
    yield found
    found.close()


def _parameter(scenario: Scenario) -> ParameterSet:
    # Scenarios of one file share poolers.
    return pytest.param(scenario, id=scenario.id, marks=pytest.mark.xdist_group(scenario.path.stem))


@pytest.mark.parametrize("scenario", [_parameter(scenario) for scenario in SCENARIOS])
def test_script(scenario: Scenario, targets: Targets) -> None:
    records = play_everywhere(scenario, targets)
    found = complaints(scenario, records, targets.versions())
    if found:
        where = f"{scenario.path.name}:{scenario.line}: {scenario.name}"
        pytest.fail("\n".join([where, *found, "", f"{POOLDECK}:", str(records[POOLDECK])]), pytrace=False)


def test_there_is_a_script_for_each_class() -> None:
    assert [script.stem[0].upper() for script in SCRIPTS] == list(CLASSES)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda script: script.stem)
def test_script_says_what_it_stands_for(script: Path) -> None:
    head = script.read_text().splitlines()[:2]
    assert head[0].startswith(f"# Class {script.stem[0].upper()}: ")
    assert re.fullmatch(r"# Incidents: .+ #\d+.*", head[1])
