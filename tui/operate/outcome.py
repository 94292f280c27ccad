"""What came of a command."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Final

from tui.admin.errors import AdminError


class Result(enum.Enum):
    """How a command ended."""

    DONE = "done"
    GONE = "gone"
    """What it was for is not there any more, or does nothing that could be ended: nothing to worry about."""
    FAILED = "failed"
    LOST = "lost"
    """The connection broke: nobody knows."""
    ABORTED = "aborted"
    """A job that was given up, and taken back."""
    REFUSED = "refused"
    """Not sent: this console is read-only."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """Of one command."""

    command: str
    target: str
    result: Result
    text: str
    """The tag of the answer, or the error."""
    hint: str = ""

    @property
    def reason(self) -> str:
        """Text and hint."""
        return f"{self.text} ({self.hint})" if self.hint else self.text

    def __str__(self) -> str:
        return f"{self.command}: {self.reason}"


_INFORMATION: Final = ("client not found", "runs no query that could be cancelled")

_HINTS: Final = (
    ("already suspended/paused", "the whole pooler is paused: RESUME it first"),
    ("pooler is not paused/suspended", "databases that are paused for themselves are resumed one by one"),
    ("cannot suspend with paused databases", "RESUME the databases first"),
    ("admin access needed", "this user is in stats_users, and may only look"),
    ("pooler is shutting down", "that cannot be taken back"),
    ("RELOAD failed", "the reason is in the pooler's log"),
    ("SET failed", "the reason is in the pooler's log"),
)


def outcome_of(command: str, target: str, error: AdminError) -> Outcome:
    """What an error means. The end of the connection is the answer to SHUTDOWN."""
    if error.lost:
        if command == "SHUTDOWN":
            return Outcome(command, target, Result.DONE, "SHUTDOWN")
        return Outcome(command, target, Result.LOST, error.message)
    is_information = any(text in error.message for text in _INFORMATION)
    detail = f"{error.message}: {error.detail}" if error.detail else error.message
    hint = next((hint for text, hint in _HINTS if text in error.message), "")
    if error.detail and "pooler's log" in hint:
        hint = ""
    result = Result.GONE if is_information else Result.FAILED
    return Outcome(command, target, result, detail, error.hint or hint)
