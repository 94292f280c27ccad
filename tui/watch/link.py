"""How the console stands to its pooler, and when it tries again."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from tui.admin.errors import AdminError


class State(enum.Enum):
    """Of the connection that is polled."""

    CONNECTING = "connecting"
    LIVE = "live"
    LOST = "lost"
    REFUSED = "refused"
    """It makes no sense to try again before somebody has changed something: the pooler does not let us in."""


@dataclass(frozen=True, slots=True)
class Link:
    """`since` and `retry_at` in seconds of `time.monotonic`; `reason` in words, without secrets."""

    state: State
    since: float
    reason: str = ""
    retry_at: float | None = None
    attempts: int = 0


FIRST_SECONDS: Final = 1.0
MOST_SECONDS: Final = 30.0

_REFUSALS: Final = (
    "password authentication failed",
    "not allowed",
    "no such user",
    "authentication failed",
    "sasl authentication failed",
    "admin access needed",
    "no hba",
    "no password supplied",
    "password is needed",
)
"""How poolers word it: PgBouncer gives every FATAL of a login the same SQLSTATE."""


def delay(attempts: int) -> float:
    """Seconds until the next try after so many that failed: doubled each time, up to half a minute."""
    return float(min(MOST_SECONDS, FIRST_SECONDS * 2 ** min(attempts - 1, 10)))


def is_refusal(error: AdminError) -> bool:
    """Whether the pooler has said no to who we are, which it would say again: tries could lock an account."""
    if error.sqlstate is not None and error.sqlstate.startswith("28"):
        return True
    text = error.message.lower()
    return any(words in text for words in _REFUSALS)
