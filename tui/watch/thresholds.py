"""From when on something is an alert: plain numbers, which a profile can set."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self


@dataclass(frozen=True, slots=True)
class AlertThresholds:
    """A value that is reached raises an alert; 0 means never. Ticks are moments, times are seconds."""

    waiting_warning: int = 1
    """Clients in line of one pool, for `waiting_ticks`."""
    waiting_critical: int = 0
    waiting_ticks: int = 3
    maxwait_warning: float = 1.0
    """How long the first in line has waited, at once."""
    maxwait_critical: float = 5.0
    """Or half of query_wait_timeout if that is less."""
    pool_warning: float = 80.0
    """Servers with a client, in percent of pool_size, for `pool_ticks`."""
    pool_critical: float = 100.0
    """The same while clients wait."""
    pool_ticks: int = 10
    clients_warning: float = 80.0
    """Clients, in percent of max_client_conn."""
    clients_critical: float = 90.0
    login_failures_warning: int = 1
    """Logins to servers that failed within `window`, of one pool."""
    login_failures_critical: int = 3
    login_ticks: int = 5
    """For a pool with clients in line where servers log in, and none is there."""
    errors_warning: int = 10
    """Errors of the pooler's own that clients were told within `window`, of one pool."""
    errors_critical: int = 100
    window: float = 60.0
    paused_warning: float = 60.0
    """How long the pooler, or a database, has been paused or suspended."""
    paused_critical: float = 300.0
    clear_percent: float = 90.0
    """An alert stays until its value is below so much of what raised it ..."""
    clear_ticks: int = 3
    """... for so many moments."""

    def __post_init__(self) -> None:
        """Raises ValueError with the name of what is wrong."""
        for each in fields(self):
            _check(each.name, getattr(self, each.name), whole=each.type == "int")
        if self.clear_percent > 100:
            raise ValueError("clear_percent: cannot be above 100")
        for name in ("waiting_ticks", "pool_ticks", "login_ticks", "clear_ticks"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name}: has to be 1 at least")

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Self:
        """Of a file; what it leaves out has its default. Raises ValueError with the name of what is wrong."""
        known = [each.name for each in fields(cls)]
        for name in values:
            if name not in known:
                raise ValueError(f"{name}: there is no such threshold; there are {', '.join(known)}")
        return cls(**values)


def _check(name: str, value: object, whole: bool) -> None:
    kinds = (int,) if whole else (int, float)
    if isinstance(value, bool) or not isinstance(value, kinds):
        raise ValueError(f"{name}: {value!r} is not a {'whole ' if whole else ''}number")
    # NaN is not less than anything either.
    if not 0 <= value < float("inf"):
        raise ValueError(f"{name}: {value} is out of range")
