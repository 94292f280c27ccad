"""What a pooler said of itself in one poll."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from tui.admin.capabilities import Capabilities
from tui.admin.table import Table


@dataclass(frozen=True, slots=True)
class Moment:
    """The tables of SHOW, by name in upper case, as they were last read.

    Those that cost much are not read in every poll: `read_at` says how old each is. What the pooler does not
    have is not in it; what it would not show is in `errors`, with the reason.
    """

    at: float
    """End of the poll in seconds of `time.monotonic`."""
    clock: datetime
    """The same in local time, with its zone."""
    version: str
    capabilities: Capabilities
    tables: Mapping[str, Table]
    read_at: Mapping[str, float]
    errors: Mapping[str, str]
    seconds: float
    """What asking took."""

    def table(self, name: str) -> Table | None:
        return self.tables.get(name)
