"""What is between two texts, as a unified diff."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Final

CONTEXT: Final = 3
"""Lines around a change that are shown with it."""

NO_NEWLINE: Final = "\\ no line end at the end of the file"


@dataclass(frozen=True, slots=True)
class DiffLine:
    """One line: `sign` is `+`, `-`, a blank for what stays, or `@` between parts of the file."""

    sign: str
    text: str
    old: int | None = None
    """Its number in the old text, if it is there."""
    new: int | None = None

    def __str__(self) -> str:
        return f"{self.sign}{self.text}"


def unified_diff(old: str, new: str) -> list[DiffLine]:
    """The lines that differ, with some around them; empty if none do."""
    before, after = old.splitlines(keepends=True), new.splitlines(keepends=True)
    found: list[DiffLine] = []
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    for group in matcher.get_grouped_opcodes(CONTEXT):
        first, last = group[0], group[-1]
        found.append(DiffLine("@", f"@ -{_range(first[1], last[2])} +{_range(first[3], last[4])} @@"))
        for operation, old_start, old_stop, start, stop in group:
            if operation == "equal":
                for place in range(old_stop - old_start):
                    number = old_start + place
                    found += _lines(" ", before[number], number + 1, start + place + 1)
                continue
            for number in range(old_start, old_stop):
                found += _lines("-", before[number], number + 1, None)
            for number in range(start, stop):
                found += _lines("+", after[number], None, number + 1)
    return found


def _range(start: int, stop: int) -> str:
    """As `diff -u` counts: of nothing, the line before it."""
    length = stop - start
    return f"{start + 1 if length else start},{length}"


def _lines(sign: str, line: str, old: int | None, new: int | None) -> list[DiffLine]:
    if line.endswith("\n"):
        return [DiffLine(sign, line[:-1], old, new)]
    return [DiffLine(sign, line, old, new), DiffLine("@", NO_NEWLINE)]
