"""Logins that did not succeed, for SHOW LOGINS: brute force and a wrong deployment look different."""

import time
from dataclasses import dataclass

REASONS_LIMIT = 200
"""Far more than there are; texts of servers may be among them."""


@dataclass(slots=True)
class Failure:
    """Clients that were refused for one reason, and the last of them. `time` in seconds since the epoch."""

    count: int = 0
    time: float = 0.0
    database: str = ""
    user: str = ""
    address: str = ""


class FailedLogins:
    """By what the client was told, up to its first colon: what follows is about one client."""

    def __init__(self) -> None:
        self.by_reason: dict[str, Failure] = {}

    def add(self, reason: str, database: str, user: str, address: str) -> None:
        """One more."""
        name = reason.partition(":")[0]
        if name not in self.by_reason and len(self.by_reason) >= REASONS_LIMIT:
            name = "other"
        found = self.by_reason.setdefault(name, Failure())
        found.count += 1
        found.time = time.time()
        found.database = database
        found.user = user
        found.address = address
