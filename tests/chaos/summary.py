"""What a run has done, in words, and what it should have done."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tests.chaos.actor import Report
from tests.chaos.cancels import AT_ANYBODY, AT_ENDING_QUERIES, AT_SLOW_QUERIES, AT_WAITING_CLIENTS
from tests.chaos.storms import KILLED_BACKENDS
from tests.chaos.weather import Cause

_EXPECTED = (
    f"{AT_SLOW_QUERIES}: hit",
    AT_ENDING_QUERIES,
    AT_WAITING_CLIENTS,
    AT_ANYBODY,
    "left with a query under way",
    "left in the middle of what it sent",
    "oversized results",
    "results left unread for a while",
    "steps of slow readers",
    "PAUSE",
    "SUSPEND",
    "RECONNECT",
    "WAIT_CLOSE",
    "RELOAD",
    Cause.DISABLE.value,
    Cause.KILL_DATABASE.value,
    Cause.KILL_CLIENT.value,
    Cause.BACKEND_ENDED.value,
    KILLED_BACKENDS,
    "restarts (fast)",
    "restarts (immediate)",
)
"""What a long run is for."""


def missing_kinds(counts: Mapping[str, int]) -> list[str]:
    """What has not happened."""
    return [kind for kind in _EXPECTED if not counts.get(kind)]


def summary(report: Report, counts: Mapping[str, int]) -> str:
    """Several lines for people."""
    return (
        f"queries {report.queries}, sessions {report.sessions}, foreign tokens {report.foreign}\n"
        f"steps: {_listed(report.steps.items())}\n"
        f"happened: {_listed(counts.items())}\n"
        f"sessions ended: {_listed(report.ends.items())}"
    )


def _listed(items: Iterable[tuple[str, int]]) -> str:
    return ", ".join(f"{name} {number}" for name, number in sorted(items))
