"""The counters of SHOW STATS, and what happened between two readings of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Self, TypeAlias

from tui.admin.table import Table
from tui.admin.target import DATABASE

Counters: TypeAlias = Mapping[str, float]
"""By column of SHOW STATS, such as `total_query_count`; a release has those that it counts."""

RATES: Final[Mapping[str, str]] = {
    "queries": "total_query_count",
    "transactions": "total_xact_count",
    "bytes_in": "total_received",
    "bytes_out": "total_sent",
    "logins": "total_client_login_count",
}
"""What is shown per second, and the columns that it comes from."""


def by_database(stats: Table) -> dict[str, Counters]:
    """The counters of each database but that of the admins."""
    counters = [(number, name) for number, name in enumerate(stats.columns) if name.startswith("total_")]
    place = stats.columns.index("database")
    return {
        row[place]: {name: float(row[number]) for number, name in counters}
        for row in stats.rows
        if row[place] != DATABASE
    }


def totals(stats: Table) -> dict[str, float]:
    """The counters of all databases together: of none, at first, they are zero."""
    names = [name for name in stats.columns if name.startswith("total_")]
    return dict.fromkeys(names, 0.0) | summed(by_database(stats).values())


def summed(several: Iterable[Counters]) -> dict[str, float]:
    """One for all of them; each has the same counters."""
    found: dict[str, float] = {}
    for counters in several:
        for name, value in counters.items():
            found[name] = found.get(name, 0.0) + value
    return found


@dataclass(frozen=True, slots=True)
class Growth:
    """What happened between two readings: by how much each counter has grown, and in how many seconds.

    Everything is None for what is not counted, and after a reset, such as a new start of the pooler.
    """

    counters: Counters
    seconds: float
    was_reset: bool = False

    @classmethod
    def between(cls, before: Counters, after: Counters, seconds: float) -> Self:
        """From one reading to the next."""
        grown = {name: after[name] - before[name] for name in after if name in before}
        if any(growth < 0 for growth in grown.values()):
            return cls({}, seconds, was_reset=True)
        return cls(grown if seconds > 0 else {}, seconds)

    @classmethod
    def of_all(cls, several: Sequence[Self]) -> Self:
        """In all databases together; nothing if one of them was reset: so were the others, perhaps."""
        if any(growth.was_reset for growth in several):
            return cls({}, 0, was_reset=True)
        seconds = max((growth.seconds for growth in several), default=0)
        return cls(summed(growth.counters for growth in several), seconds)

    def by(self, column: str) -> float | None:
        """By how much a counter has grown."""
        return self.counters.get(column)

    def per_second(self, column: str) -> float | None:
        """How fast it has grown."""
        growth = self.counters.get(column)
        return None if growth is None else growth / self.seconds

    def ratio(self, column: str, *, of: str) -> float | None:
        """By how much one has grown for each step of another; None too where that has not moved."""
        growth, steps = self.counters.get(column), self.counters.get(of)
        return growth / steps if growth is not None and steps else None
