"""What a scenario came to: pooldeck against the script, and the targets against one another."""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor

from tests.wire.parser import ALONE
from tests.wire.play import Play, Record, first_difference
from tests.wire.script import POOLDECK, Scenario, Version
from tests.wire.targets import Target, Targets

SECONDS = 10.0
"""What anything may take."""

SECONDS_IF_DIFFERENT = 1.5
"""What it may take where something else is known to happen, which often is nothing."""


def play_everywhere(scenario: Scenario, targets: Targets) -> dict[str, Record]:
    """What each target that the scenario is for has said. They are played side by side."""
    chosen = [
        targets.get(name, scenario)
        for name, version in targets.versions().items()
        if scenario.is_played_on(name, version)
    ]
    with ThreadPoolExecutor(len(chosen)) as executor:
        records = executor.map(lambda target: _play(scenario, target, targets.postgres.port), chosen)
        played = {target.name: record for target, record in zip(chosen, records, strict=True)}
    for target in chosen:
        targets.release(target, scenario)
    return played


def _play(scenario: Scenario, target: Target, database_port: int) -> Record:
    differs = scenario.difference(target.name, target.version) is not None
    play = Play(scenario, target, database_port, SECONDS_IF_DIFFERENT if differs else SECONDS)
    record = play.run()
    record.fault = record.fault or target.harm(may_end=ALONE in scenario.settings)
    return record


def complaints(
    scenario: Scenario, records: Mapping[str, Record], versions: Mapping[str, Version]
) -> list[str]:
    """All that is wrong, a line for each; empty if nothing is.

    A target that is said to differ, and does not any more, is wrong too.
    """
    ours = records[POOLDECK]
    found = [f"{POOLDECK}, {ours.fault}"] if ours.fault else []
    for target, theirs in records.items():
        if target == POOLDECK:
            continue
        difference = _difference(ours, target, theirs)
        known = scenario.difference(target, versions[target])
        if known is None and difference:
            found.append(difference)
        elif known is not None and known.always and not difference:
            found.append(f"{target} does not differ, although the script says: {known.reason}")
    return found


def _difference(ours: Record, target: str, theirs: Record) -> str:
    if theirs.fault:
        return f"{target}, {theirs.fault}"
    found = first_difference(ours, theirs)
    if found is None:
        return ""
    place, our_text, their_text = found
    return f"{place}: {POOLDECK} says {our_text}, but {target} says {their_text}"
