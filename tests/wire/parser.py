"""Reads message scripts (README.md has the format)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from tests.wire.script import PGBOUNCER, POOLDECK, POSTGRESQL, TARGETS, Remark, Scenario, Step, Version
from tests.wire.steps import SETTING, read_step

POOL_MODE = "pool_mode"
FAKE_SERVER = "server"
ALONE = "alone"

_POOL_MODES = ("session", "transaction", "statement")

_REMARK = re.compile(
    rf"(?P<target>{'|'.join(TARGETS)})(?: from (?P<first>[\d.]+))?(?: below (?P<below>[\d.]+))?"
    r" (?P<always>may differ|differs|is left out): (?P<reason>.+)"
)
_NEEDS = re.compile(rf"needs {PGBOUNCER} (?P<version>[\d.]+): (?P<reason>.+)")


class ScriptError(Exception):
    """A script cannot be read: `file:line: why`."""


def load(path: Path) -> list[Scenario]:
    """The scenarios of a file, one for each pool mode. Raises ScriptError."""
    return _Reader(path).read()


class _Reader:
    """Goes through a file line by line.

    Settings and remarks in front of the first scenario are for all, those behind its name for it alone.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._line = 0
        self._common: dict[str, str] = {}
        self._common_exclusions: list[Remark] = []
        self._names: set[str] = set()
        self._scenarios: list[Scenario] = []
        self._start(0, "")

    def read(self) -> list[Scenario]:
        for number, text in _whole_lines(self._path.read_text()):
            self._line = number
            try:
                self._read_line(text)
            except ValueError as error:
                raise self._error(str(error)) from error
        self._end_scenario()
        if not self._scenarios:
            raise self._error("there is no scenario")
        return self._scenarios

    def _error(self, why: str) -> ScriptError:
        return ScriptError(f"{self._path.name}:{self._line}: {why}")

    def _read_line(self, text: str) -> None:
        if text.startswith("scenario: "):
            self._end_scenario()
            self._start(self._line, text.removeprefix("scenario: ").strip())
        elif found := SETTING.fullmatch(text):
            self._in_front_of_steps("a setting")
            (self._settings if self._name else self._common)[found[1]] = found[2]
        elif (remark := _remark(text)) is not None:
            self._in_front_of_steps("a remark")
            self._add_remark(text, remark)
        elif not self._name:
            raise ValueError(f"not in front of the first scenario: {text}")
        else:
            self._steps += [Step(self._line, *made) for made in read_step(text)]

    def _start(self, line: int, name: str) -> None:
        if name in self._names:
            raise self._error(f"there is a scenario {name!r} already")
        self._names.add(name)
        self._name = name
        self._first_line = line
        self._settings = dict(self._common)
        self._exclusions = list(self._common_exclusions)
        self._differences: list[Remark] = []
        self._steps: list[Step] = []

    def _in_front_of_steps(self, what: str) -> None:
        if self._steps:
            raise ValueError(f"{what} has to stand in front of the steps")

    def _add_remark(self, text: str, remark: Remark) -> None:
        if remark.target == POOLDECK:
            raise ValueError("pooldeck is what the script is for")
        if text.startswith("needs") or "is left out" in text:
            (self._exclusions if self._name else self._common_exclusions).append(remark)
        elif not self._name:
            raise ValueError("a difference belongs to a scenario")
        else:
            self._differences.append(remark)

    def _end_scenario(self) -> None:
        if not self._name:
            return
        if not self._steps:
            raise self._error(f"scenario {self._name!r} has no steps")
        if FAKE_SERVER in self._settings:
            self._exclusions.append(Remark(POSTGRESQL, "a fake server takes its place"))
        modes = self._settings.get(POOL_MODE, "transaction").split()
        scenario = Scenario(
            self._path,
            self._first_line,
            self._name,
            self._settings,
            tuple(self._steps),
            tuple(self._exclusions),
            tuple(self._differences),
        )
        for mode in modes:
            if mode not in _POOL_MODES:
                raise self._error(f"unknown pool mode {mode!r}")
            name = f"{self._name} ({mode})" if len(modes) > 1 else self._name
            settings = {**self._settings, POOL_MODE: mode}
            self._scenarios.append(replace(scenario, name=name, settings=settings))


def _whole_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines with their numbers, without comments and empty ones; an indented line goes on with the last."""
    first, whole = 0, ""
    for number, line in enumerate(text.splitlines(), start=1):
        if not line.strip() or line.startswith("#"):
            continue
        if line[0].isspace() and whole:
            whole += " " + line.strip()
            continue
        if whole:
            yield first, whole
        first, whole = number, line.strip()
    if whole:
        yield first, whole


# Remarks ----------------------------------------------------------------------------------------------------


def _remark(text: str) -> Remark | None:
    if found := _NEEDS.fullmatch(text):
        return Remark(PGBOUNCER, found["reason"], below=_version(found["version"]))
    if found := _REMARK.fullmatch(text):
        return Remark(
            found["target"],
            found["reason"],
            _version(found["first"] or ""),
            _version(found["below"]) if found["below"] else None,
            found["always"] != "may differ",
        )
    return None


def _version(text: str) -> Version:
    return tuple(int(part) for part in text.split(".") if part)
