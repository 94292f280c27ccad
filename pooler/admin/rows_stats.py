"""Rows of statistics: SHOW STATS, STATS_TOTALS, STATS_AVERAGES and TOTALS. Times are in µs."""

from collections.abc import Iterator
from itertools import groupby

from pooler.admin.console import Row
from pooler.admin.host import AdminHost
from pooler.pool.registry import Registry
from pooler.pool.stats import COUNTERS, Totals, averages, total

TOTALS_NAMES = tuple(
    f"ps_{name}" if name in ("client_parse_count", "server_parse_count", "bind_count") else name
    for name in COUNTERS
)
"""How SHOW TOTALS calls the counters."""


def stats(host: AdminHost) -> list[Row]:
    """Totals and averages of each database."""
    return [(name, *now, *mean) for name, now, mean in _by_database(host.registry)]


def stats_totals(host: AdminHost) -> list[Row]:
    """Totals of each database."""
    return [(name, *now) for name, now, _ in _by_database(host.registry)]


def stats_averages(host: AdminHost) -> list[Row]:
    """Averages of each database over the last `stats_period`, and what has passed of this one."""
    return [(name, *mean) for name, _, mean in _by_database(host.registry)]


def totals(host: AdminHost) -> list[Row]:
    """Totals and averages of everything, one a row."""
    registry = host.registry
    now, then = registry.totals()
    mean = averages(now.minus(then), registry.stats_seconds())
    rows: list[Row] = []
    for prefix, values in (("total", now), ("avg", mean)):
        rows += ((f"{prefix}_{name}", value) for name, value in zip(TOTALS_NAMES, values, strict=True))
    return rows


def _by_database(registry: Registry) -> Iterator[tuple[str, Totals, Totals]]:
    """Name, totals and averages of each database that has a pool."""
    seconds = registry.stats_seconds()
    for name, group in groupby(registry.sorted_pools(), key=lambda pool: pool.database.name):
        pools = list(group)
        now = total(pool.stats.reading() for pool in pools)
        then = total(pool.older for pool in pools)
        yield name, now, averages(now.minus(then), seconds)
