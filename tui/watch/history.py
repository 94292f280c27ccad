"""What a pooler did in the last quarter of an hour: rates, times and gauges of its moments."""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from statistics import mean, median
from typing import Any, Final

from tui.admin.counters import RATES, Counters, Growth, by_database
from tui.admin.overview import longest_wait
from tui.admin.target import DATABASE
from tui.watch.moment import Moment

SECONDS: Final = 900.0
"""How far back it goes."""

RINGS: Final = 100
"""Databases that have a past; of others only the last values are known."""

_LATE: Final = 5.0
_LATE_AT_LEAST: Final = 10.0
"""A moment that comes so many times later than usual, and so many seconds, comes after a gap."""

_MICROSECONDS: Final = 1_000_000


class Unit(Enum):
    """What a number is, for those who write it."""

    RATE = "per second"
    BYTES = "bytes per second"
    SECONDS = "seconds"
    COUNT = "count"
    SHARE = "share"
    """Of 1."""


@dataclass(frozen=True, slots=True)
class Metric:
    """One number of a moment."""

    name: str
    title: str
    unit: Unit
    peaks: bool = False
    """Whether the greatest of several is what matters, not their mean."""


METRICS: Final[Mapping[str, Metric]] = {
    metric.name: metric
    for metric in (
        Metric("queries", "queries", Unit.RATE),
        Metric("transactions", "transactions", Unit.RATE),
        Metric("bytes_in", "bytes in", Unit.BYTES),
        Metric("bytes_out", "bytes out", Unit.BYTES),
        Metric("logins", "logins", Unit.RATE),
        Metric("waiting", "waiting clients", Unit.COUNT, peaks=True),
        Metric("maxwait", "longest wait", Unit.SECONDS, peaks=True),
        Metric("active_servers", "active servers", Unit.COUNT),
        Metric("clients", "clients", Unit.COUNT),
        Metric("query_time", "query time", Unit.SECONDS),
        Metric("run_time", "query time on servers", Unit.SECONDS),
        Metric("xact_time", "transaction time", Unit.SECONDS),
        Metric("wait_time", "wait per assignment", Unit.SECONDS),
        Metric("idle_share", "idle in ended xacts", Unit.SHARE),
        Metric("busy_servers", "busy servers", Unit.COUNT),
        Metric("prepared_hits", "prepared statements found", Unit.SHARE),
    )
}
"""Of the whole pooler. Times are averages of what ended since the moment before."""

DATABASE_METRICS: Final = (
    *("queries", "transactions", "waiting", "maxwait", "active_servers", "clients"),
    *("query_time", "run_time", "xact_time", "wait_time", "idle_share", "busy_servers"),
)


def _per_second(column: str) -> Callable[[Growth], float | None]:
    return lambda growth: growth.per_second(column)


def _seconds(microseconds: float | None) -> float | None:
    return None if microseconds is None else microseconds / _MICROSECONDS


def _rest(share: float | None) -> float | None:
    return None if share is None else max(0.0, 1 - share)


def _server_time(growth: Growth) -> float | None:
    """Microseconds in which transactions had a server: PgBouncer counts the wait for one to their time."""
    times, waits = growth.by("total_xact_time"), growth.by("total_wait_time")
    return None if times is None or waits is None else max(0.0, times - waits)


def _busy_servers(growth: Growth) -> float | None:
    time = _server_time(growth)
    return None if time is None else time / _MICROSECONDS / growth.seconds


def _idle_share(growth: Growth) -> float | None:
    times, queries, had = growth.by("total_xact_time"), growth.by("total_query_time"), _server_time(growth)
    if times is None or queries is None or not had:
        return None
    return min(1.0, max(0.0, times - queries) / had)


def _run_time(growth: Growth) -> float | None:
    """Of a query, without its wait for a server: what says whether PostgreSQL has become slow."""
    times, waits, count = (growth.by(f"total_{name}") for name in ("query_time", "wait_time", "query_count"))
    if times is None or waits is None or not count:
        return None
    return max(0.0, times - waits) / _MICROSECONDS / count


def _assignments(growth: Growth) -> str:
    """What waits are divided by: PgBouncer counts assignments since 1.23."""
    column = "total_server_assignment_count"
    return "total_xact_count" if growth.by(column) is None else column


def _uses(growth: Growth) -> str:
    """A statement that is prepared once is bound often, and has to be on the server each time."""
    column = "total_bind_count"
    return "total_client_parse_count" if growth.by(column) is None else column


_MEASURES: Final[Mapping[str, Callable[[Growth], float | None]]] = {
    **{name: _per_second(column) for name, column in RATES.items()},
    "query_time": lambda growth: _seconds(growth.ratio("total_query_time", of="total_query_count")),
    "run_time": _run_time,
    "xact_time": lambda growth: _seconds(growth.ratio("total_xact_time", of="total_xact_count")),
    "wait_time": lambda growth: _seconds(growth.ratio("total_wait_time", of=_assignments(growth))),
    "idle_share": _idle_share,
    "busy_servers": _busy_servers,
    "prepared_hits": lambda growth: _rest(growth.ratio("total_server_parse_count", of=_uses(growth))),
}


class _Ring:
    """Values by metric over time. What is not known is NaN inside, and None to others."""

    __slots__ = ("at", "values")

    def __init__(self, names: Iterable[str]) -> None:
        self.at = array("d")
        self.values = {name: array("d") for name in names}

    def add(self, at: float, values: Mapping[str, float | None]) -> None:
        self.at.append(at)
        for name, column in self.values.items():
            value = values.get(name)
            column.append(math.nan if value is None else value)
        old = self._first_since(at - SECONDS)
        # Not at each moment: what is behind has to be moved.
        if old > 60:
            del self.at[:old]
            for column in self.values.values():
                del column[:old]

    def _first_since(self, when: float) -> int:
        return bisect_left(self.at, when)

    def series(self, name: str, since: float) -> list[tuple[float, float | None]]:
        first = self._first_since(since)
        return [
            (at, None if math.isnan(value) else value)
            for at, value in zip(self.at[first:], self.values[name][first:], strict=True)
        ]


class History:
    """The past of one pooler; `add` each moment, `interrupt` when the connection is lost."""

    def __init__(self) -> None:
        self._all = _Ring(METRICS)
        self._databases: dict[str, _Ring] = {}
        self.latest: Mapping[str, float | None] = {}
        """Of the last moment, by metric; empty before the first."""
        self._counters: tuple[float, Mapping[str, Counters]] | None = None
        self._at: float | None = None
        self._usual = 0.0

    def series(self, metric: str, database: str = "") -> list[tuple[float, float | None]]:
        """When (monotonic seconds) and how much, the oldest first; None in gaps."""
        ring = self._databases.get(database) if database else self._all
        return [] if ring is None or self._at is None else ring.series(metric, self._at - SECONDS)

    def recent(self, metric: str, database: str = "", seconds: float = 30.0) -> float | None:
        """The mean of the last seconds: one moment alone says little where not much happens."""
        since = (self._at or 0.0) - seconds
        values = [value for at, value in self.series(metric, database) if value is not None and at >= since]
        return mean(values) if values else None

    def usual(self, metric: str, database: str = "", before: float = 60.0) -> float | None:
        """The median up to `before` seconds ago: what is now can be held against it."""
        if self._at is None:
            return None
        until = self._at - before
        values = [value for at, value in self.series(metric, database) if value is not None and at <= until]
        return median(values) if values else None

    def interrupt(self, at: float) -> None:
        """From here on nothing is known: what comes next is not joined to what was."""
        if self._counters is not None:
            self._counters = None
            self._gap(at)

    def _gap(self, at: float) -> None:
        self._all.add(at, {})
        for ring in self._databases.values():
            ring.add(at, {})

    def add(self, moment: Moment) -> None:
        """Take in what was read."""
        if self._is_late(moment.at):
            self._gap(moment.at - self._usual)
            self._counters = None
        self._at = moment.at
        growths = self._growths(moment)
        gauges = _gauges(moment)
        self.latest = {
            **_measured(Growth.of_all(list(growths.values())) if growths else None),
            **gauges.pop(""),
        }
        self._all.add(moment.at, self.latest)
        for name in {**growths, **gauges}:
            if name in self._databases or len(self._databases) < RINGS:
                values = {**_measured(growths.get(name)), **gauges.get(name, {})}
                self._databases.setdefault(name, _Ring(DATABASE_METRICS)).add(moment.at, values)

    def _is_late(self, at: float) -> bool:
        if self._at is None:
            return False
        passed = at - self._at
        late = passed > max(_LATE * self._usual, _LATE_AT_LEAST)
        if not late:
            self._usual = passed if not self._usual else 0.8 * self._usual + 0.2 * passed
        return late

    def _growths(self, moment: Moment) -> dict[str, Growth]:
        """By database, since the last time that there were counters."""
        stats = moment.table("STATS")
        if stats is None:
            self._counters = None
            return {}
        at, counters = moment.read_at.get("STATS", moment.at), by_database(stats)
        before, self._counters = self._counters, (at, counters)
        if before is None:
            return {}
        return {
            name: Growth.between(before[1].get(name, {}), counters[name], at - before[0]) for name in counters
        }


def _measured(growth: Growth | None) -> dict[str, float | None]:
    return {} if growth is None else {name: measure(growth) for name, measure in _MEASURES.items()}


def _gauges(moment: Moment) -> dict[str, dict[str, float | None]]:
    """What stands in SHOW POOLS, by database, and under "" for the whole pooler."""
    pools = moment.table("POOLS")
    found: dict[str, dict[str, float | None]] = {"": {}}
    if pools is None:
        return found
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in pools.dicts():
        if row["database"] != DATABASE:
            rows.setdefault(row["database"], []).append(row)
    for database, members in rows.items():
        found[database] = _gauges_of(members)
    found[""] = _gauges_of([row for members in rows.values() for row in members])
    lists = moment.table("LISTS")
    if lists is not None and "used_clients" in lists.pairs():
        found[""]["clients"] = float(lists.pairs()["used_clients"])
    return found


def _gauges_of(pools: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    waiting = float(sum(pool["cl_waiting"] for pool in pools))
    return {
        "waiting": waiting,
        "maxwait": max((longest_wait(pool) for pool in pools), default=0.0),
        "active_servers": float(sum(pool["sv_active"] for pool in pools)),
        "clients": waiting + sum(pool["cl_active"] for pool in pools),
    }
