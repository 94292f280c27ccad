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


class WaitCounts:
    """The waits of one pool that are over, by reason: how many, their sum and the longest. Nanoseconds."""

    __slots__ = ("counts", "longest_ns", "total_ns")

    counts: list[int]
    total_ns: list[int]
    longest_ns: list[int]

    def __init__(self) -> None:
        self.counts = [0] * len(REASONS)
        self.total_ns = [0] * len(REASONS)
        self.longest_ns = [0] * len(REASONS)

    def add(self, reason: i64, ns: i64) -> None:
        """One more."""
        self.counts[reason] += 1
        self.total_ns[reason] += int(ns)
        longest: i64 = self.longest_ns[reason]
        if ns > longest:
            self.longest_ns[reason] = int(ns)
