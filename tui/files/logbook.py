"""The last lines of a log, and those of them that somebody wants to see."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from tui.files.logline import RANKS, LogLine

KEPT: Final = 10_000
"""Lines that are kept."""

_REGULAR: Final = re.compile(r"/(.+)/")


@dataclass(frozen=True, slots=True)
class Pattern:
    """A text that is looked for, caseless, or a regular expression."""

    text: str = ""
    problem: str = ""
    """Why it can be neither, in words."""
    search: re.Pattern[str] | None = None

    def spans(self, text: str) -> Iterator[tuple[int, int]]:
        """Where it is found."""
        if self.search is not None:
            yield from (match.span() for match in self.search.finditer(text) if match.end() > match.start())

    def matches(self, text: str) -> bool:
        return self.search is None or self.search.search(text) is not None


def pattern_of(typed: str) -> Pattern:
    """What was typed: `/…/` is a regular expression, anything else is looked for as it is."""
    if not typed.strip():
        return Pattern()
    regular = _REGULAR.fullmatch(typed.strip())
    try:
        found = re.compile(regular[1] if regular else re.escape(typed), re.IGNORECASE)
    except (re.error, OverflowError, RecursionError) as error:
        return Pattern(typed, f"no regular expression: {error}")
    return Pattern(typed, "", found)


@dataclass(frozen=True, slots=True)
class LogFilter:
    """Lines of at least a level that have a pattern in them."""

    level: str = ""
    """One of LEVELS, or empty for all lines."""
    pattern: Pattern = Pattern()

    def matches(self, line: LogLine) -> bool:
        # A line of another form is not hidden: nobody knows how bad it is.
        rank = RANKS.get(line.level)
        if self.level and rank is not None and rank < RANKS[self.level]:
            return False
        return self.pattern.matches(line.text)


class LogBook:
    """Keeps the last lines, and the ones that pass a filter: both change only by what comes and goes.

    Positions are counted from the first line that passes; `numbers` of lines only grow.
    """

    def __init__(self, kept: int = KEPT) -> None:
        self._lines: deque[LogLine] = deque(maxlen=kept)
        self._shown: list[LogLine] = []
        self._gone = 0
        self._filter = LogFilter()
        self._next = 0

    @property
    def next_number(self) -> int:
        """Of the next line that comes."""
        return self._next

    @property
    def filter(self) -> LogFilter:
        return self._filter

    @property
    def total(self) -> int:
        """Lines that are kept."""
        return len(self._lines)

    @property
    def last_level(self) -> str:
        return self._lines[-1].level if self._lines else ""

    def __len__(self) -> int:
        """Lines that pass."""
        return len(self._shown) - self._gone

    def __getitem__(self, position: int) -> LogLine:
        return self._shown[self._gone + position]

    def add(self, lines: Iterable[LogLine]) -> tuple[int, int]:
        """Take new lines, numbered from `next_number` on.

        Returned are how many lines that pass the filter came, and how many left at the beginning.
        """
        came, before = 0, self._gone
        for line in lines:
            self._next = line.number + 1
            if len(self._lines) == self._lines.maxlen and len(self) and self[0] is self._lines[0]:
                self._gone += 1
            self._lines.append(line)
            if self._filter.matches(line):
                self._shown.append(line)
                came += 1
        left = self._gone - before
        if self._gone > len(self):
            del self._shown[: self._gone]
            self._gone = 0
        return came, left

    def set_filter(self, wanted: LogFilter) -> None:
        """Show other lines."""
        self._filter = wanted
        self._shown = [line for line in self._lines if wanted.matches(line)]
        self._gone = 0

    def clear(self) -> None:
        """Forget all lines; numbers go on."""
        self._lines.clear()
        self._shown, self._gone = [], 0

    def position_of(self, number: int) -> int:
        """Of the first line that passes and has this number or a higher one."""
        low, high = 0, len(self)
        while low < high:
            middle = (low + high) // 2
            if self[middle].number < number:
                low = middle + 1
            else:
                high = middle
        return low
