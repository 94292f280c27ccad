"""How wide columns are: as wide as what is on the screen needs, without trembling at every refresh."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from typing import NamedTuple

from tui.widgets.columns import Column

# A column gets narrower when this many refreshes in a row had this many cells to spare.
PATIENCE = 5
SLACK = 3


class Visible(NamedTuple):
    """The columns of which something is to be seen, the number of the first, and where it starts."""

    columns: Sequence[Column]
    first: int
    start: int


class Widths:
    """Widths by the name of the column, in cells: they grow at once and shrink reluctantly.

    Between two columns there is one cell.
    """

    __slots__ = ("_spared", "_widths", "version")

    def __init__(self) -> None:
        self._widths: dict[str, int] = {}
        self._spared: dict[str, int] = {}
        # Goes up with every change.
        self.version = 0

    def of(self, column: Column) -> int:
        return self._widths.get(column.name, column.min_width)

    def fit(self, column: Column, needed: int, refreshed: bool) -> None:
        """Make room for `needed` cells; only when the rows were `refreshed` less than before counts."""
        needed = max(column.min_width, min(needed, column.max_width))
        width = self.of(column)
        if needed >= width:
            self._set(column, needed)
        elif refreshed:
            spared = self._spared.get(column.name, 0) + 1 if width - needed >= SLACK else 0
            self._spared[column.name] = spared
            if spared >= PATIENCE:
                self._set(column, needed)

    def _set(self, column: Column, width: int) -> None:
        if self._widths.get(column.name) != width:
            self._widths[column.name] = width
            self.version += 1
        self._spared[column.name] = 0

    def start_of(self, before: Sequence[Column]) -> int:
        """Where a column starts that has the columns `before` it."""
        return sum(self.of(column) + 1 for column in before)

    def visible(self, columns: Sequence[Column], left: int, width: int) -> Visible:
        """Those of `columns` that have one of the `width` cells from `left`."""
        starts = [0]
        for column in columns:
            starts.append(starts[-1] + self.of(column) + 1)
        first = max(0, bisect_right(starts, left) - 1)
        end = bisect_left(starts, left + width)
        return Visible(columns[first:end], first, starts[first])
