"""A graph of the last minutes, in blocks: each cell is a part of the time, and eight steps high."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Final, TypeAlias

from textual.content import Content
from textual.widget import Widget

from tui.widgets.cells import fit, width_of

Points: TypeAlias = Sequence[tuple[float, float | None]]
"""When and how much, the oldest first; None where nothing is known."""

_BLOCKS: Final = " ▁▂▃▄▅▆▇█"
_STEPS: Final = len(_BLOCKS) - 1


def spread(points: Points, until: float, seconds: float, slots: int, peaks: bool) -> list[float | None]:
    """One value for each of `slots` equal parts of the time up to `until`: the greatest, or the mean.

    A point tells of the time since the one before; without one before, or after a gap, of its own part alone.
    Parts begin at whole multiples of their length, so that nothing flickers when time goes on.
    """
    length = seconds / slots
    last = math.floor(until / length)
    found: list[list[float]] = [[] for _ in range(slots)]
    before: float | None = None
    for at, value in points:
        if value is None:
            before = None
            continue
        end = math.floor(at / length) - last + slots - 1
        start = end if before is None else min(end, math.floor(before / length) - last + slots)
        for slot in range(max(0, start), min(slots - 1, end) + 1):
            found[slot].append(value)
        before = at
    return [None if not values else max(values) if peaks else fmean(values) for values in found]


def blocks(values: Sequence[float | None], height: int, top: float) -> list[str]:
    """Lines of text, the uppermost first; a cell for each value. What is not known is blank, 0 is not."""
    heights = [_height(value, height * _STEPS, top) for value in values]
    floors = range((height - 1) * _STEPS, -1, -_STEPS)
    return ["".join(_BLOCKS[min(_STEPS, max(0, high - floor))] for high in heights) for floor in floors]


def _height(value: float | None, most: int, top: float) -> int:
    """How many steps high: a little is more than nothing, and nothing more than what is not known."""
    if value is None:
        return 0
    if value <= 0 or top <= 0:
        return 1
    return min(most, max(2, round(value / top * most)))


def round_up(value: float) -> float:
    """The next of 1, 2, 5, 10 ... times a power of ten: a top that does not move with each new value."""
    if value <= 0:
        return 1.0
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in (1.0, 2.0, 5.0, 10.0) if value <= step * power * 1.000001)


class Graph(Widget):
    """A title with the value of now and the greatest one, and below it what was."""

    DEFAULT_CSS = """
    Graph { height: 1fr; min-height: 2; color: $primary; padding: 0 1; }
    """

    def __init__(
        self, title: str, write: Callable[[float], str], *, peaks: bool = False, id: str | None = None
    ) -> None:
        """`write` makes a text of a value. With `peaks` the greatest of several values is drawn."""
        super().__init__(id=id)
        self._title = title
        self._write = write
        self._peaks = peaks
        self._points: Points = ()
        self._until = 0.0
        self._seconds = 1.0

    def show(self, points: Points, until: float, seconds: float) -> None:
        """Show `points` of the last `seconds` before `until`."""
        self._points, self._until, self._seconds = points, until, seconds
        self.refresh()

    def render(self) -> Content:
        width, height = self.content_size
        if width < 1 or height < 1:
            return Content("")
        values = spread(self._points, self._until, self._seconds, width, self._peaks)
        most = max((value for _, value in self._points if value is not None), default=None)
        drawn = blocks(values, height - 1, round_up(most or 0.0))
        return Content("\n").join([self._heading(most, width), *map(Content, drawn)])

    def _heading(self, most: float | None, width: int) -> Content:
        now = self._points[-1][1] if self._points else None
        left = f"{self._title} {'–' if now is None else self._write(now)}"
        right = "" if most is None else f"max {self._write(most)}"
        if width_of(left) + width_of(right) + 2 > width:
            return Content.assemble((fit(left, width), "bold $foreground"))
        space = " " * (width - width_of(left) - width_of(right))
        return Content.assemble((left, "bold $foreground"), space, (right, "$foreground-muted"))
