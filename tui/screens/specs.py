"""What the tables of SHOW look like on the screen: columns by name, because releases differ in them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Final

from tui.admin.table import Table
from tui.admin.words import short_duration, size
from tui.files import running
from tui.widgets.columns import Column, Kind, Level, plain

MICROSECONDS: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Spec:
    """A table of SHOW. `columns` are seen at first, `narrow` on a terminal below 100 columns."""

    table: str
    title: str
    key: tuple[str, ...]
    columns: tuple[str, ...]
    narrow: tuple[str, ...]
    sort: str = ""
    descending: bool = False
    groups: tuple[str, ...] = ()


def number(format: Callable[[Any], str] = plain, level: Callable[[Any], Level] | None = None) -> Column:
    return Column("", Kind.NUMBER, format=format, level=level)


def _limits(warning: float, critical: float) -> Callable[[Any], Level]:
    def level(value: Any) -> Level:
        if value is None or value < warning:
            return Level.PLAIN
        return Level.WARNING if value < critical else Level.CRITICAL

    return level


_STATES: Final[Mapping[str, Level]] = {
    "active": Level.GOOD,
    "waiting": Level.WARNING,
    "idle": Level.MUTED,
    "used": Level.MUTED,
    "login": Level.WARNING,
    "tested": Level.MUTED,
    "active_cancel": Level.WARNING,
    "being_canceled": Level.WARNING,
}


def _state(value: Any) -> Level:
    return _STATES.get(str(value), Level.PLAIN)


def _flag(value: Any) -> Level:
    return Level.WARNING if value else Level.PLAIN


def _seconds(value: Any) -> str:
    if value is None:
        return "–"
    return f"{value:.3f}".rstrip("0").rstrip(".") if isinstance(value, (float, Decimal)) else plain(value)


def _time(value: Any) -> str:
    """Date and zone are the same in nearly all rows; what is left differs. In the detail it is whole."""
    text = plain(value)
    return text[11:19] if len(text) > 18 and text[10:11] in " T" else text


def _bytes(value: Any) -> str:
    return "–" if value is None else size(float(value))


def _micro(value: Any) -> str:
    return "–" if value is None else short_duration(float(value))


def _differs(value: Any) -> Level:
    return Level.WARNING if value == running.FILE else Level.MUTED


_WAITING = number(level=_limits(1, 20))
_WAIT = number(_seconds, _limits(1, 5))
_SIZE = number(_bytes)
_MICRO = number(_micro)

_COLUMNS: Final[Mapping[str, Column]] = {
    "cl_waiting": _WAITING,
    "maxwait": _WAIT,
    "waited": _WAIT,
    "state": Column("", level=_state),
    "paused": number(level=_flag),
    "disabled": number(level=_flag),
    "close_needed": number(level=_flag),
    "connect_time": Column("", format=_time),
    "request_time": Column("", format=_time),
    "application_name": Column("", max_width=28),
    "differs": Column("", level=_differs),
    "value": Column("", max_width=24),
    "file": Column("", max_width=24),
    "default": Column("", max_width=14),
    "help": Column("", max_width=100),
    "total_received": _SIZE,
    "total_sent": _SIZE,
    "avg_recv": _SIZE,
    "avg_sent": _SIZE,
    **dict.fromkeys(("total_xact_time", "total_query_time", "total_wait_time"), _MICRO),
    **dict.fromkeys(("avg_xact_time", "avg_query_time", "avg_wait_time"), _MICRO),
}

_HEADINGS: Final[Mapping[str, str]] = {
    "prepared_statements": "prepared",
    "reserve_pool_size": "reserve",
    "current_connections": "servers",
    "max_connections": "max_servers",
    "max_user_connections": "max_servers",
    "current_client_connections": "clients",
    "max_client_connections": "max_clients",
    "max_user_client_connections": "max_clients",
    "total_xact_count": "xacts",
    "total_query_count": "queries",
    "total_received": "in",
    "total_sent": "out",
    "total_wait_time": "waited",
    "avg_xact_count": "xact/s",
    "avg_query_count": "query/s",
    "avg_recv": "in/s",
    "avg_sent": "out/s",
    "avg_xact_time": "xact",
    "avg_query_time": "query",
    "avg_wait_time": "wait",
}
"""Shorter than the names where these would take the room of two columns."""

_RENAMED: Final[Mapping[str, str]] = {"wait": "wait_us", "maxwait": "maxwait_us"}
"""Seconds, and the column with the microseconds beyond them."""

POOLS = Spec(
    "POOLS",
    "Pools",
    ("database", "user"),
    (
        *("database", "user", "cl_active", "cl_waiting", "maxwait", "sv_active", "sv_idle", "sv_used"),
        *("sv_login", "sv_tested", "pool_mode"),
    ),
    ("database", "user", "cl_active", "cl_waiting", "maxwait", "sv_active", "sv_idle"),
    "cl_waiting",
    True,
    ("database", "user", "pool_mode"),
)
CLIENTS = Spec(
    "CLIENTS",
    "Clients",
    ("id",),
    (
        *("id", "user", "database", "state", "waited", "addr", "port", "application_name", "request_time"),
        *("connect_time", "tls", "prepared_statements", "link"),
    ),
    ("id", "user", "database", "state", "waited", "addr", "application_name"),
    "waited",
    True,
    ("user", "database", "application_name", "addr", "state"),
)
SERVERS = Spec(
    "SERVERS",
    "Servers",
    ("id",),
    (
        *("id", "user", "database", "state", "addr", "port", "remote_pid", "request_time", "connect_time"),
        *("close_needed", "tls", "prepared_statements", "link"),
    ),
    ("id", "user", "database", "state", "addr", "remote_pid"),
    "state",
    False,
    ("user", "database", "state", "addr"),
)
DATABASES = Spec(
    "DATABASES",
    "Databases",
    ("name",),
    (
        *("name", "paused", "disabled", "host", "port", "database", "force_user", "pool_mode", "pool_size"),
        *("reserve_pool_size", "current_connections", "max_connections", "current_client_connections"),
        "max_client_connections",
    ),
    ("name", "paused", "disabled", "host", "current_connections", "pool_size"),
    "name",
    False,
    ("host", "pool_mode", "paused", "disabled"),
)
USERS = Spec(
    "USERS",
    "Users",
    ("name",),
    (
        *("name", "pool_size", "reserve_pool_size", "pool_mode", "max_user_connections"),
        *("current_connections", "max_user_client_connections", "current_client_connections"),
    ),
    ("name", "pool_mode", "current_connections", "current_client_connections"),
    "name",
)
STATS = Spec(
    "STATS",
    "Stats",
    ("database",),
    (
        *("database", "total_xact_count", "total_query_count", "total_received", "total_sent"),
        *("total_wait_time", "avg_xact_count", "avg_query_count", "avg_recv", "avg_sent", "avg_xact_time"),
        *("avg_query_time", "avg_wait_time"),
    ),
    ("database", "avg_xact_count", "avg_query_count", "avg_query_time", "avg_wait_time"),
    "avg_query_count",
    True,
)
CONFIG = Spec(
    "CONFIG",
    "Settings",
    ("key",),
    ("key", "value", "differs", "file", "default", "changeable", "help"),
    ("key", "differs", "value", "file"),
    groups=("differs", "changeable", "source"),
)


def prepared(table: Table, spec: Spec) -> tuple[tuple[Column, ...], list[tuple[Any, ...]]]:
    """Columns and rows for the screen. A column that `spec` shows at first and that the pooler does not have
    is there with nothing in it; one that nobody has heard of is there as it came. `waited` is `wait` of those
    who wait: of others it is the time since their query began.
    """
    names = list(table.columns)
    rows: list[tuple[Any, ...]] = list(table.rows)
    for name, micro in _RENAMED.items():
        if name in names and micro in names:
            rows = _with_fraction(rows, names.index(name), names.index(micro))
    if "wait" in names and "state" in names:
        state, wait = names.index("state"), names.index("wait")
        rows = [(*row, row[wait] if str(row[state]).startswith("waiting") else None) for row in rows]
        names.append("waited")
    missing = [name for name in spec.columns if name not in names]
    if missing:
        nothing = (None,) * len(missing)
        rows = [(*row, *nothing) for row in rows]
    columns = [_column(name, rows, index) for index, name in enumerate([*names, *missing])]
    return tuple(columns), rows


def _with_fraction(rows: list[tuple[Any, ...]], at: int, micro: int) -> list[tuple[Any, ...]]:
    return [
        (*row[:at], row[at] + row[micro] / MICROSECONDS, *row[at + 1 :]) if row[micro] else row
        for row in rows
    ]


def _column(name: str, rows: list[tuple[Any, ...]], index: int) -> Column:
    known = _COLUMNS.get(name)
    title = _HEADINGS.get(name, "")
    if known is not None:
        return replace(known, name=name, title=title)
    first = next((row[index] for row in rows if row[index] is not None), None)
    is_number = isinstance(first, (int, float, Decimal)) and not isinstance(first, bool)
    return Column(name, Kind.NUMBER if is_number else Kind.TEXT, title)
