"""What PgBouncer has and this release has not: refused when it is set, never ignored.

One row for a setting. When a feature is delivered its rows go, and nothing else changes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pooler.config.settings import DEFAULTS, SETTINGS


@dataclass(frozen=True, slots=True)
class Refusal:
    """Which values of a setting are fine all the same, and why the others are not."""

    allows: Callable[[Any], bool]
    reason: str


def _only(*values: object) -> Callable[[Any], bool]:
    return lambda value: value in values


def _unset(name: str) -> Callable[[Any], bool]:
    return _only(getattr(DEFAULTS, name), "")


_PEERING: Final = "poolers do not pass on cancel requests to each other yet"

REFUSED_SETTINGS: Final[Mapping[str, Refusal]] = {
    "dns_zone_check_period": Refusal(_only(0.0), "DNS zones are not checked yet"),
    "peer_id": Refusal(lambda value: value <= 0, _PEERING),
    "resolv_conf": Refusal(_unset("resolv_conf"), "the operating system looks up names"),
}

PEERS_REFUSAL: Final = f"section [peers] is not available in this release: {_PEERING}"


def refused_setting(name: str, value: object) -> str | None:
    """Why a setting may not be set to this value, or None if it may."""
    refusal = REFUSED_SETTINGS.get(name)
    if refusal is None or refusal.allows(value):
        return None
    return f"setting {name} is not available in this release: {refusal.reason}"


def unsupported_value(name: str, text: str) -> str | None:
    """Why SET may not give a setting this value, or None; unreadable ones are for `Settings.replace`."""
    if name not in SETTINGS:
        return None
    try:
        value = SETTINGS[name].parse(text)
    except ValueError:
        return None
    return refused_setting(name, value)
