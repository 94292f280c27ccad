"""What has been done to the pooler, its servers and its clients, and which errors that explains."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter, deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import Enum


class Cause(Enum):
    """A disturbance that may cost clients their connection."""

    BACKEND_ENDED = "terminated backends"
    CRASH = "kill -9"
    RESTART = "restart"
    KILL_DATABASE = "KILL"
    KILL_CLIENT = "KILL_CLIENT"
    DISABLE = "DISABLE"


_TICK = 0.1
_REMEMBERED_SECONDS = 10.0

_SERVER_GONE = frozenset({Cause.BACKEND_ENDED, Cause.CRASH, Cause.RESTART})
_SERVERS_DOWN = frozenset({Cause.CRASH, Cause.RESTART})

# What the pooler or PostgreSQL may say with a FATAL error, and which disturbances explain it.
_EXPLANATIONS: tuple[tuple[str, frozenset[Cause]], ...] = (
    ("server conn crashed?", _SERVER_GONE),
    ("terminating connection due to administrator command", _SERVER_GONE),
    ("terminating connection due to immediate shutdown command", frozenset({Cause.RESTART})),
    ("terminating connection because of crash of another server process", _SERVERS_DOWN),
    # The pooler was sending a SET of its own when the server went away.
    ("invalid server parameter", _SERVER_GONE),
    # It had said why it goes behind the answer to such a SET.
    ("server sent what nobody asked for", _SERVER_GONE),
    ("server login has been failing", _SERVER_GONE),
    ("the database system is", _SERVERS_DOWN),
    ("connect failed", _SERVERS_DOWN),
    ("database removed", frozenset({Cause.KILL_DATABASE})),
    ("admin forced disconnect", frozenset({Cause.KILL_CLIENT})),
    ('database "', frozenset({Cause.DISABLE})),
)

# How long a disturbance may go on to be felt, in seconds: clients wait in line, and logins are tried again.
_AFTERMATH = {
    Cause.BACKEND_ENDED: 1.5,
    Cause.CRASH: 10.0,
    Cause.RESTART: 10.0,
    Cause.KILL_DATABASE: 1.0,
    Cause.KILL_CLIENT: 1.0,
    Cause.DISABLE: 1.0,
}


@dataclass(eq=False)
class CancelRequest:
    """A cancel request for one client. It may take effect from `sent` until the pooler has closed it."""

    sent: float
    aim: str
    """What the client was doing, for the summary."""
    done: float | None = None
    hit: bool = False

    def may_hit_since(self, moment: float) -> bool:
        """Whether it was not over by then."""
        return self.done is None or self.done >= moment


@dataclass
class Limits:
    """The time limits of the pooler, in seconds."""

    query_wait: float
    idle_transaction: float
    query: float


@dataclass
class Weather:
    """The disturbances so far. `since` is always a time.monotonic()."""

    limits: Limits
    latest: float = 0.0
    """The longest time, in seconds, by which anything has run late."""
    counts: Counter[str] = field(default_factory=Counter)
    _last: dict[tuple[Cause, int], float] = field(default_factory=dict)
    """When it was over, by cause and, of KILL_CLIENT, local port of the client."""
    _late: deque[tuple[float, float]] = field(default_factory=deque)
    """When something ran late, and by how many seconds; the oldest first."""

    async def watch_clock(self, stop: asyncio.Event) -> None:
        """Note, until `stop` is set, how late we run ourselves."""
        while not stop.is_set():
            due = time.monotonic() + _TICK
            await asyncio.sleep(_TICK)
            self.note_late(time.monotonic() - due)

    def note_late(self, seconds: float) -> None:
        """We, or the pooler, have taken so long for what takes no time: the machine has much else to do."""
        if seconds > _TICK:
            self._late.append((time.monotonic(), seconds))
            self.latest = max(self.latest, seconds)

    @property
    def lag(self) -> float:
        """How many seconds late we, or the pooler, may notice what has happened."""
        while self._late and self._late[0][0] < time.monotonic() - _REMEMBERED_SECONDS:
            self._late.popleft()
        return max((seconds for _, seconds in self._late), default=0.0)

    @contextmanager
    def during(self, cause: Cause, port: int = 0) -> Iterator[None]:
        """It happens meanwhile; KILL_CLIENT to the client at this port."""
        self._last[cause, port] = math.inf
        try:
            yield
        finally:
            self._last[cause, port] = time.monotonic()

    def count(self, what: str) -> None:
        """One more of these, for the summary."""
        self.counts[what] += 1

    def loss_explained(self, since: float, port: int) -> bool:
        """Whether a client that has done something since then may lose its connection without a word.

        The word may be lost with it: what a client still sends makes its kernel throw it away.
        """
        return self._felt(frozenset(Cause), since, port) or self._timed_out(since)

    def explains(self, fields: Mapping[str, str], since: float, silence: float, port: int) -> bool:
        """Whether a FATAL error, or a warning of the server's, may come to a client.

        It has been at this since `since`, and has said nothing for at most `silence` seconds.
        """
        text = fields.get("M", "")
        waited = time.monotonic() - since
        if text == "query_wait_timeout":
            return waited >= self.limits.query_wait
        if text == "idle transaction timeout":
            return silence + self.lag >= self.limits.idle_transaction
        if text in ("query timeout", "query_timeout"):
            return waited >= self.limits.query
        return any(
            text.startswith(start) and self._felt(causes, since, port) for start, causes in _EXPLANATIONS
        )

    def _felt(self, causes: frozenset[Cause], since: float, port: int) -> bool:
        since -= self.lag
        return any(self._over(cause, port) + _AFTERMATH[cause] >= since for cause in causes)

    def _over(self, cause: Cause, port: int) -> float:
        return self._last.get((cause, port if cause is Cause.KILL_CLIENT else 0), -math.inf)

    def _timed_out(self, since: float) -> bool:
        waited = time.monotonic() - since
        return waited >= min(self.limits.query_wait, self.limits.idle_transaction, self.limits.query)
