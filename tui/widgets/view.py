"""The ways to look at a snapshot: sorted, filtered, grouped, some columns only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from tui.widgets.columns import Column, Kind
from tui.widgets.filters import FilterError, parse
from tui.widgets.snapshot import Key, Row, Snapshot


@dataclass(frozen=True, slots=True)
class Arrangement:
    """How rows are to be looked at. A `sort` that no column has keeps the order in which the rows came."""

    sort: str = ""
    descending: bool = False
    filter: str = ""
    columns: tuple[str, ...] = ()


class View:
    """A snapshot in an arrangement: the rows that are left, by their position from the top."""

    __slots__ = (
        "_positions",
        "arrangement",
        "columns",
        "keys",
        "problem",
        "row_numbers",
        "shown",
        "snapshot",
    )

    def __init__(
        self,
        snapshot: Snapshot,
        arrangement: Arrangement,
        shown: Sequence[int],
        row_numbers: Sequence[int],
        problem: str = "",
    ) -> None:
        """`problem` says why the filter could not be applied. Then there are no rows: all would be wrong."""
        self.snapshot = snapshot
        self.arrangement = arrangement
        self.shown = tuple(shown)
        self.columns = tuple(snapshot.columns[number] for number in shown)
        self.row_numbers = row_numbers
        self.problem = problem
        self.keys = [snapshot.keys[number] for number in row_numbers]
        self._positions = {key: position for position, key in enumerate(self.keys)}

    def __len__(self) -> int:
        return len(self.keys)

    def __contains__(self, key: Key) -> bool:
        return key in self._positions

    def row(self, position: int) -> Row:
        return self.snapshot.rows[self.row_numbers[position]]

    def position(self, key: Key) -> int | None:
        return self._positions.get(key)


def arrange(snapshot: Snapshot, arrangement: Arrangement) -> View:
    """Filter and sort `snapshot`; None and NaN come last in either direction.

    Rows that sort alike are in the order of their keys: in whatever order they came, they do not dance.
    """
    shown = _shown(snapshot, arrangement)
    wanted = parse(arrangement.filter, snapshot.columns)
    if isinstance(wanted, FilterError):
        return View(snapshot, arrangement, shown, (), wanted.message)
    matched = wanted.rows(snapshot, shown)
    column = snapshot.column_number(arrangement.sort)
    if column is not None:
        matched = _sorted(snapshot, column, matched, arrangement.descending)
    return View(snapshot, arrangement, shown, matched)


def _shown(snapshot: Snapshot, arrangement: Arrangement) -> list[int]:
    numbers = [snapshot.column_number(name) for name in arrangement.columns]
    return [number for number in numbers if number is not None] or list(range(len(snapshot.columns)))


def _sorted(snapshot: Snapshot, column: int, matched: Sequence[int], descending: bool) -> list[int]:
    standing = _ordered(matched, snapshot.keys, False)
    values = snapshot.values(column)
    # NaN is not equal to itself.
    present = [number for number in standing if (value := values[number]) is not None and value == value]
    if len(present) == len(standing):
        return _ordered(present, values, descending)
    absent = [number for number in standing if (value := values[number]) is None or value != value]
    return _ordered(present, values, descending) + absent


def _ordered(numbers: Sequence[int], values: Sequence[Any], descending: bool) -> list[int]:
    try:
        return sorted(numbers, key=values.__getitem__, reverse=descending)
    except TypeError:
        return sorted(numbers, key=lambda number: _mixed(values[number]), reverse=descending)


def _mixed(value: Any) -> tuple[int, Any, str]:
    """An order among values that have none: numbers, then the text of everything else."""
    if isinstance(value, (int, float, Decimal)):
        return 0, value, ""
    return 1, 0, str(value)


def group(view: View, by: Sequence[str]) -> Snapshot:
    """How many rows of `view` share the values of the columns `by`: these columns, the key, and `count`.

    Columns that are not there are passed over; without any there is one row, the count of all.
    """
    numbers = [number for name in by if (number := view.snapshot.column_number(name)) is not None]
    values = [map(view.snapshot.values(number).__getitem__, view.row_numbers) for number in numbers]
    counts = Counter(zip(*values, strict=True) if values else [()] * len(view))
    grouped = [view.snapshot.columns[number] for number in numbers]
    columns = [*grouped, Column("count", Kind.NUMBER)]
    return Snapshot(
        columns,
        [(*shared, count) for shared, count in counts.items()],
        [column.name for column in grouped],
    )
