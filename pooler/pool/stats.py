"""Counters of a pool, and the averages that SHOW STATS makes of them."""

from collections.abc import Iterable
from typing import Final, NamedTuple

from mypy_extensions import i64

from pooler.pool.histogram import Histogram

COUNTERS: Final = (
    "server_assignment_count",
    "xact_count",
    "query_count",
    "client_bytes",
    "server_bytes",
    "xact_time",
    "query_time",
    "wait_time",
    "client_parse_count",
    "server_parse_count",
    "bind_count",
    "client_login_count",
)
"""In the order of SHOW STATS. Times are microseconds."""


class Totals(NamedTuple):
    """One reading of the counters, or a sum of several, or their averages. Times in µs."""

    server_assignment_count: int = 0
    xact_count: int = 0
    query_count: int = 0
    client_bytes: int = 0
    server_bytes: int = 0
    xact_time: int = 0
    query_time: int = 0
    wait_time: int = 0
    client_parse_count: int = 0
    server_parse_count: int = 0
    bind_count: int = 0
    client_login_count: int = 0

    def minus(self, earlier: "Totals") -> "Totals":
        """What was added since `earlier`."""
        return Totals(*(now - then for now, then in zip(self, earlier, strict=True)))


def total(readings: Iterable[Totals]) -> Totals:
    """The sum of several readings."""
    return Totals(*(sum(column) for column in zip(Totals(), *readings, strict=True)))


class PoolStats:
    """The counters of one pool, written on the data path. Times are nanoseconds here, µs in a reading."""

    __slots__ = (
        "bind_count",
        "client_bytes",
        "client_login_count",
        "client_parse_count",
        "query_count",
        "query_ns",
        "query_times",
        "server_assignment_count",
        "server_bytes",
        "server_parse_count",
        "wait_ns",
        "wait_times",
        "xact_count",
        "xact_ns",
        "xact_times",
    )

    server_assignment_count: i64
    xact_count: i64
    query_count: i64
    client_bytes: i64
    server_bytes: i64
    xact_ns: i64
    query_ns: i64
    wait_ns: i64
    client_parse_count: i64
    server_parse_count: i64
    bind_count: i64
    client_login_count: i64
    query_times: Histogram
    xact_times: Histogram
    wait_times: Histogram
    """Of clients that had to wait, those that gave up too; `wait_ns` leaves these out, as PgBouncer does."""

    def __init__(self) -> None:
        self.server_assignment_count = 0
        self.xact_count = 0
        self.query_count = 0
        self.client_bytes = 0
        self.server_bytes = 0
        self.xact_ns = 0
        self.query_ns = 0
        self.wait_ns = 0
        self.client_parse_count = 0
        self.server_parse_count = 0
        self.bind_count = 0
        self.client_login_count = 0
        self.query_times = Histogram()
        self.xact_times = Histogram()
        self.wait_times = Histogram()

    def query_over(self, ns: i64) -> None:
        """A query has its answer."""
        self.query_ns += ns
        self.query_times.record(ns)

    def xact_over(self, ns: i64) -> None:
        """A transaction is over."""
        self.xact_ns += ns
        self.xact_times.record(ns)

    def rotate(self) -> None:
        """A `stats_period` is over."""
        self.query_times.rotate()
        self.xact_times.rotate()
        self.wait_times.rotate()

    def reading(self) -> Totals:
        """The counters as they are now."""
        return Totals(
            self.server_assignment_count,
            self.xact_count,
            self.query_count,
            self.client_bytes,
            self.server_bytes,
            self.xact_ns // 1000,
            self.query_ns // 1000,
            self.wait_ns // 1000,
            self.client_parse_count,
            self.server_parse_count,
            self.bind_count,
            self.client_login_count,
        )


def averages(grown: Totals, seconds: float) -> Totals:
    """Averages over a period in which the counters grew by `grown`.

    Counts and bytes are per second; times are per transaction, per query and, for waiting, per server
    assignment (PgBouncer `stats_period`).
    """
    if seconds <= 0:
        return Totals()
    rates = Totals(*(int(value / seconds) for value in grown))
    return rates._replace(
        xact_time=grown.xact_time // grown.xact_count if grown.xact_count else 0,
        query_time=grown.query_time // grown.query_count if grown.query_count else 0,
        wait_time=grown.wait_time // grown.server_assignment_count if grown.server_assignment_count else 0,
    )
