"""Why clients wait, and how often and how long they did."""

from typing import Final

from mypy_extensions import i64

# In this order: a wait counts once, under the highest of those that were seen while it lasted.
SERVER_LOGIN: Final = 0
SERVER_CHECK: Final = 1
RESERVE_TIMEOUT: Final = 2
POOL_FULL: Final = 3
USER_LIMIT: Final = 4
DATABASE_LIMIT: Final = 5
PAUSED: Final = 6
SERVER_DOWN: Final = 7

REASONS: Final = (
    "server login",
    "server check",
    "reserve_pool_timeout",
    "pool full",
    "max_user_connections",
    "max_db_connections",
    "paused",
    "server down",
)
"""How SHOW WAITS calls them."""


class WaitCount:
    """The waits of one pool that are over, and had the same reason."""

    __slots__ = ("count", "longest_ns", "total_ns")

    count: i64
    total_ns: i64
    longest_ns: i64

    def __init__(self) -> None:
        self.count = 0
        self.total_ns = 0
        self.longest_ns = 0

    def add(self, ns: i64) -> None:
        """One more."""
        self.count += 1
        self.total_ns += ns
        if ns > self.longest_ns:
            self.longest_ns = ns


class WaitCounts:
    """The waits of one pool that are over, by reason."""

    __slots__ = ("by_reason",)

    by_reason: list[WaitCount]

    def __init__(self) -> None:
        self.by_reason = [WaitCount() for _ in REASONS]

    def add(self, reason: i64, ns: i64) -> None:
        """One more."""
        self.by_reason[reason].add(ns)
