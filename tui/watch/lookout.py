"""Everything that is made of the moments of one pooler: its past, what is wrong, and why."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

from tui.admin.table import Table
from tui.watch.alerts import Alarms, Alert, Edge
from tui.watch.diagnosis import Diagnosis, Pool
from tui.watch.history import History
from tui.watch.moment import Moment
from tui.watch.thresholds import AlertThresholds

ASK_SECONDS: Final = 5.0
"""Between two rounds of questions."""

POOLER: Final[Pool] = ("", "")
"""What a question is about that is about no pool."""

_SHUTDOWN: Final = (
    "SHOW AUDIT WHERE result = 'ok' AND (command ILIKE 'SHUTDOWN%'"
    " OR \"user\" = 'signal' AND command IN ('SIGTERM', 'SIGINT')) ORDER BY time DESC LIMIT 1"
)
"""SHOW STATE does not say that the pooler waits for its last clients or servers; the audit does."""


class Lookout:
    """Give it each moment with `add`, and tell it when the connection is lost."""

    def __init__(self, thresholds: AlertThresholds, clock: Callable[[], float] = time.monotonic) -> None:
        self.history = History()
        self.alarms = Alarms(thresholds, clock)
        self.moment: Moment | None = None
        self.shutdown = ""
        """How the pooler was told to end, and by whom; empty if it was not, or cannot say."""
        self._clock = clock
        self._diagnosis = Diagnosis()
        self._asked_at: float | None = None

    def add(self, moment: Moment) -> tuple[Edge, ...]:
        """Take in what was read, and say what has changed for worse or better."""
        self.moment = moment
        self.history.add(moment)
        return self.alarms.update(moment)

    def lost(self, at: float) -> None:
        """Nothing is known until the next moment."""
        self.history.interrupt(at)
        self.shutdown = ""

    @property
    def wanted(self) -> frozenset[str]:
        """Tables of SHOW that explain what is wrong now."""
        return frozenset() if self.moment is None else self._diagnosis.wanted_tables(self.alarms, self.moment)

    def questions(self) -> dict[Pool, str]:
        """What to ask now, by what it is about; nothing if that was done a moment ago."""
        if self.moment is None:
            return {}
        asked = self._diagnosis.questions(self.alarms, self.moment)
        capabilities = self.moment.capabilities
        if capabilities.sql and capabilities.has_table("AUDIT"):
            asked[POOLER] = _SHUTDOWN
        now = self._clock()
        if not asked or (self._asked_at is not None and now - self._asked_at < ASK_SECONDS):
            return {}
        self._asked_at = now
        return asked

    def learn(self, pool: Pool, answer: Table) -> None:
        """What one of the questions came to."""
        if pool != POOLER:
            self._diagnosis.learn(pool, answer)
            return
        told = next(answer.dicts(), None)
        self.shutdown = "" if told is None else "{command} by {user} from {addr}".format(**told)

    def explain(self, alert: Alert) -> str:
        """Why it is so, in one line; empty where nothing is known."""
        return "" if self.moment is None else self._diagnosis.explain(alert, self.moment, self.history)
