"""How long things take in all pools together, of what SHOW LATENCY says of each."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from tui.admin.table import Table
from tui.admin.target import DATABASE

KINDS: Final = ("query", "transaction", "wait")

_POINTS: Final = ((0.5, "p50"), (0.9, "p90"), (0.95, "p95"), (0.99, "p99"), (1.0, "max"))


@dataclass(frozen=True, slots=True)
class Times:
    """In µs. Percentiles of several pools do not add up: then they are an estimate, and not `exact`."""

    count: int
    p50: float
    p95: float
    p99: float
    max: float
    exact: bool


def times(latency: Table) -> dict[str, Times]:
    """By kind, of the last stats_period and what has passed of this one, where there were any."""
    rows: dict[str, list[Mapping[str, Any]]] = {kind: [] for kind in KINDS}
    for row in latency.dicts():
        if row["database"] == DATABASE or row["span"] != "recent" or not row["count"]:
            continue
        if row["kind"] in rows:
            rows[row["kind"]].append(row)
    return {kind: _together(found) for kind, found in rows.items() if found}


def _together(rows: Sequence[Mapping[str, Any]]) -> Times:
    curves = [_Curve(row) for row in rows]
    if len(curves) == 1:
        row = rows[0]
        return Times(row["count"], row["p50"], row["p95"], row["p99"], row["max"], True)
    count = sum(curve.count for curve in curves)
    p50, p95, p99 = (_percentile(curves, share * count) for share in (0.5, 0.95, 0.99))
    return Times(count, p50, p95, p99, max(curve.limits[-1] for curve in curves), False)


class _Curve:
    """How many of the samples of a row were no greater than something: straight between what is known."""

    def __init__(self, row: Mapping[str, Any]) -> None:
        self.count = int(row["count"])
        self.limits = [0.0, *(float(row[name]) for _, name in _POINTS)]
        self._shares = [0.0, *(share for share, _ in _POINTS)]

    def up_to(self, value: float) -> float:
        place = bisect_left(self.limits, value)
        if place >= len(self.limits):
            return float(self.count)
        if place == 0:
            return 0.0
        low, high = self.limits[place - 1], self.limits[place]
        part = (value - low) / (high - low) if high > low else 1.0
        return self.count * (self._shares[place - 1] + part * (self._shares[place] - self._shares[place - 1]))


def _percentile(curves: Sequence[_Curve], samples: float) -> float:
    """The value that so many samples do not exceed."""
    low, high = 0.0, max(curve.limits[-1] for curve in curves)
    for _ in range(40):
        middle = (low + high) / 2
        if sum(curve.up_to(middle) for curve in curves) < samples:
            low = middle
        else:
            high = middle
    return high
