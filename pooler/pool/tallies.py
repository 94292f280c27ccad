"""Counting what happens seldom, by name: errors, servers that come and go, unsafe use."""

import time
from dataclasses import dataclass

LIMIT = 100
"""Names that are told apart; later ones count as `OTHER`. What clients and servers say is among them."""

TEXT_LIMIT = 200
"""Characters of a message that are kept."""

OTHER = "other"


@dataclass(slots=True)
class Tally:
    """How often, and the last time: seconds since the epoch, what was said, which client."""

    count: int = 0
    time: float = 0.0
    text: str = ""
    client_id: int = 0


class Tallies:
    """Counters of one pool, by two names."""

    __slots__ = ("by_name",)

    def __init__(self) -> None:
        self.by_name: dict[tuple[str, str], Tally] = {}

    def add(self, kind: str, name: str, text: str = "", client_id: int = 0) -> None:
        """One more."""
        key = (kind, name[:TEXT_LIMIT])
        found = self.by_name.get(key)
        if found is None:
            if len(self.by_name) >= LIMIT:
                key = (kind, OTHER)
            found = self.by_name.setdefault(key, Tally())
        found.count += 1
        found.time = time.time()
        found.text = text[:TEXT_LIMIT]
        found.client_id = client_id
