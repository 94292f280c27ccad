"""How often a pooler is asked."""

from __future__ import annotations

from typing import Final

COST_FACTOR: Final = 20.0


def pause_after(seconds: float) -> float:
    """How long to wait before asking again for what took so long (both in seconds).

    While the pooler answers, it does nothing else: so a console takes a twentieth of its time at most.
    """
    return COST_FACTOR * seconds
