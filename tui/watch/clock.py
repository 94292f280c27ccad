"""Time, so that tests can stand it still."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime


def local_now() -> datetime:
    """Now, with the zone of this machine."""
    return datetime.now().astimezone()


@dataclass(frozen=True, slots=True)
class Clock:
    """`seconds` never jumps and has no date; `now` is what people read."""

    seconds: Callable[[], float] = time.monotonic
    now: Callable[[], datetime] = local_now
