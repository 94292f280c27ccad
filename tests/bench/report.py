"""The measurements of all rounds, and the table of their medians."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from statistics import median

from tests.bench.rows import Measurement, Row
from tests.bench.targets import REFERENCE

HEADINGS = ("workload", "through", "throughput", "latency, ms", "cost to the pooler", f"cost ÷ {REFERENCE}")


class Results:
    """Measurements by row and target, one a round; None stands for a round without a measurement."""

    def __init__(self) -> None:
        self._rounds: defaultdict[tuple[str, str], list[Measurement | None]] = defaultdict(list)

    def add(self, row: str, target: str, measurement: Measurement | None) -> None:
        self._rounds[row, target].append(measurement)

    def ratios(self, row: str, target: str) -> list[float]:
        """Cost as a multiple of PgBouncer's in the same round, when the machine was equally busy for both."""
        pairs = zip(self._rounds[row, target], self._rounds[row, REFERENCE], strict=False)
        return [
            ours.cost / theirs.cost
            for ours, theirs in pairs
            if ours is not None and ours.cost is not None and theirs is not None and theirs.cost
        ]

    def markdown(self, rows: Sequence[Row], targets: Sequence[str]) -> str:
        """The whole table: medians over the rounds, the ratio with its smallest and largest round."""
        lines = [self._line(row, target) for row in rows for target in targets]
        table = [HEADINGS, *lines]
        widths = [max(len(line[column]) for line in table) for column in range(len(HEADINGS))]
        ruler = tuple("-" * width for width in widths)
        return "\n".join(_padded(line, widths) for line in (HEADINGS, ruler, *lines))

    def _line(self, row: Row, target: str) -> tuple[str, ...]:
        measured = [one for one in self._rounds[row.name, target] if one is not None]
        if not measured:
            return (row.name, target, "n/a", "", "", "")
        latencies = [one.latency for one in measured if one.latency is not None]
        costs = [one.cost for one in measured if one.cost is not None]
        return (
            row.name,
            target,
            f"{median(one.rate for one in measured):,.0f} {row.rate_unit}",
            f"{median(latencies):.3f}" if latencies else "",
            f"{median(costs):,.1f} {row.cost_unit}" if costs else "",
            "" if target == REFERENCE else _spread(self.ratios(row.name, target)),
        )


def _spread(ratios: list[float]) -> str:
    if not ratios:
        return ""
    if len(ratios) == 1:
        return f"{ratios[0]:.2f}"
    return f"{median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def _padded(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"
