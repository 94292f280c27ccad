"""Numbers of a pooler and limits for them: what a monitor asks."""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tui.admin.overview import Overview


class Health(enum.IntEnum):
    """The exit codes of monitoring plug-ins."""

    OK = 0
    WARNING = 1
    CRITICAL = 2
    UNKNOWN = 3


@dataclass(frozen=True, slots=True)
class Metric:
    """A number that can have limits."""

    measure: Callable[[Overview], float]
    unit: str = ""


def _total(column: str) -> Callable[[Overview], float]:
    return lambda overview: sum(pool[column] for pool in overview.pools)


def _longest_wait(overview: Overview) -> float:
    return max((pool["maxwait"] for pool in overview.pools), default=0)


def _fullest_pool(overview: Overview) -> float:
    return max((_percent(pool, overview) for pool in overview.pools), default=0)


def _percent(pool: Mapping[str, Any], overview: Overview) -> float:
    size = overview.pool_sizes.get(pool["database"])
    return 100 * float(pool["sv_active"]) / size if size else 0.0


def _client_percent(overview: Overview) -> float:
    return 100 * overview.clients / overview.max_clients if overview.max_clients else 0.0


METRICS: Final[Mapping[str, Metric]] = {
    "cl_waiting": Metric(_total("cl_waiting")),
    "maxwait": Metric(_longest_wait, "s"),
    "cl_active": Metric(_total("cl_active")),
    "sv_active": Metric(_total("sv_active")),
    "sv_idle": Metric(_total("sv_idle")),
    "sv_login": Metric(_total("sv_login")),
    "clients": Metric(lambda overview: overview.clients),
    "clients_percent": Metric(_client_percent, "%"),
    "pool_percent": Metric(_fullest_pool, "%"),
    "paused": Metric(lambda overview: len(overview.paused) + (overview.state in ("paused", "suspended"))),
    "disabled": Metric(lambda overview: len(overview.disabled)),
}
"""By name. That of a column of SHOW POOLS is the sum over the pools."""

_NO_STATE: Final = "does not say whether all of it is paused"

_LIMIT: Final = re.compile(r"(\w+)=(\d+(?:\.\d+)?)")


@dataclass(frozen=True, slots=True)
class Limits:
    """From which value on a metric is a warning, or critical."""

    warn: Mapping[str, float]
    crit: Mapping[str, float]

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys((*self.warn, *self.crit)))


@dataclass(frozen=True, slots=True)
class Verdict:
    """What it comes to; `line` is for a monitor to show and to draw."""

    health: Health
    line: str


def parse_limits(texts: Iterable[str]) -> dict[str, float]:
    """Read `name=number`, several also with commas between them. Raises ValueError."""
    found: dict[str, float] = {}
    for text in ",".join(texts).split(","):
        if not text:
            continue
        match = _LIMIT.fullmatch(text.strip())
        if match is None:
            raise ValueError(f"not a limit: {text} (as in cl_waiting=1)")
        if match[1] not in METRICS:
            raise ValueError(f"there is no {match[1]}; there are {', '.join(METRICS)}")
        found[match[1]] = float(match[2])
    return found


def judge(overview: Overview, limits: Limits) -> Verdict:
    """Hold a pooler against limits; without any it is enough that it answers.

    Whether the whole pooler is paused is not known of one that has no SHOW STATE: then it is not OK either.
    """
    values = {name: METRICS[name].measure(overview) for name in limits.names or ("cl_waiting", "maxwait")}
    healths = {name: _health(name, value, limits) for name, value in values.items()}
    worst = max(healths.values())
    # What is wrong comes first: some monitors cut the line.
    shown = sorted(values, key=lambda name: -healths[name])
    texts = " ".join(f"{name}={_number(values[name])}{METRICS[name].unit}" for name in shown)
    drawn = " ".join(_perfdata(name, value, limits) for name, value in values.items())
    if worst is Health.OK and overview.state == "unknown" and "paused" in values:
        return Verdict(
            Health.UNKNOWN, f"POOLDECK UNKNOWN - {overview.version} {_NO_STATE}: {texts} | {drawn}"
        )
    return Verdict(worst, f"POOLDECK {worst.name} - {texts} | {drawn}")


def _health(name: str, value: float, limits: Limits) -> Health:
    if name in limits.crit and value >= limits.crit[name]:
        return Health.CRITICAL
    if name in limits.warn and value >= limits.warn[name]:
        return Health.WARNING
    return Health.OK


def _perfdata(name: str, value: float, limits: Limits) -> str:
    """`label=value;warn;crit;min` of the plug-ins."""
    warn, crit = (_number(where[name]) if name in where else "" for where in (limits.warn, limits.crit))
    return f"{name}={_number(value)}{METRICS[name].unit};{warn};{crit};0"


def _number(value: float) -> str:
    return f"{value:.3f}".rstrip("0").rstrip(".")
