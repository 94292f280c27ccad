"""What is connected at this moment: whom an action would hit, and who holds it up."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeAlias

from tui.admin.connection import AdminConnection
from tui.admin.errors import AdminError
from tui.admin.target import DATABASE

Row: TypeAlias = Mapping[str, Any]

_SERVERS: Final = (
    *("sv_active", "sv_active_cancel", "sv_being_canceled", "sv_idle", "sv_used", "sv_tested", "sv_login"),
)
_BUSY: Final = ("sv_active", "sv_tested", "sv_being_canceled")
_CLIENTS: Final = ("cl_active", "cl_waiting")

_PAUSE_PROBE: Final = f"PAUSE {DATABASE}"


@dataclass(frozen=True, slots=True)
class Count:
    """Connections of one database, or of all of them; those of the admin database do not count."""

    clients: int
    waiting: int
    servers: int
    busy: int
    """Servers that a client has, or that are being reset for the next."""
    sessions: bool
    """Whether a client of theirs keeps its server beyond its transaction."""

    def __str__(self) -> str:
        held = "with a server" if self.sessions else "in a transaction"
        waiting = f", {self.waiting} waiting" if self.waiting else ""
        clients = f"{plural(self.clients, 'client')} ({self.busy} {held}{waiting})"
        return f"{clients}, {plural(self.servers, 'server')}"


def plural(number: int, word: str) -> str:
    """`1 client`, `2 clients`."""
    return f"{number:,} {word}{'' if number == 1 else 's'}"


async def count(connection: AdminConnection, databases: Iterable[str] | None = None) -> Count:
    """Ask what is connected to these databases, or to all. Raises AdminError."""
    wanted = None if databases is None else set(databases)
    rows = [
        row
        for row in (await connection.rows("SHOW POOLS")).dicts()
        if row["database"] != DATABASE and (wanted is None or row["database"] in wanted)
    ]
    return Count(
        clients=_sum(rows, _CLIENTS),
        waiting=_sum(rows, ("cl_waiting",)),
        servers=_sum(rows, _SERVERS),
        busy=_sum(rows, _BUSY),
        sessions=any(row.get("pool_mode") == "session" for row in rows),
    )


def _sum(rows: Iterable[Row], columns: tuple[str, ...]) -> int:
    return sum(int(row.get(column) or 0) for row in rows for column in columns)


@dataclass(frozen=True, slots=True)
class Holder:
    """The client that has had a server for longest without asking for anything new."""

    client: str
    seconds: float | None
    """Since its last request; None where the clock of the pooler cannot be read."""

    def __str__(self) -> str:
        age = "" if self.seconds is None else f", last request {age_text(self.seconds)} ago"
        return f"{self.client}{age}"


async def oldest_holder(connection: AdminConnection, databases: Iterable[str] | None = None) -> Holder | None:
    """Who has held a server for longest, if anybody has one. Raises AdminError."""
    wanted = None if databases is None else set(databases)
    servers = [
        row
        for row in (await connection.rows("SHOW SERVERS")).dicts()
        if row["state"] == "active" and row["link"] and (wanted is None or row["database"] in wanted)
    ]
    if not servers:
        return None
    clients = {row["ptr"]: row for row in (await connection.rows("SHOW CLIENTS")).dicts()}
    held = [clients[row["link"]] for row in servers if row["link"] in clients]
    if not held:
        return None
    client = min(held, key=lambda row: str(row["request_time"]))
    # The console has just asked for this: its own row has the pooler's clock.
    now = max(filter(None, (_moment(row["request_time"]) for row in clients.values())), default=None)
    asked = _moment(client["request_time"])
    seconds = (now - asked).total_seconds() if now is not None and asked is not None else None
    return Holder(client_text(client), seconds)


def client_text(row: Row) -> str:
    """A row of SHOW CLIENTS in a few words."""
    name = row.get("id") if row.get("id") is not None else row["ptr"]
    application = f" ({row['application_name']})" if row.get("application_name") else ""
    return f"client {name}, user {row['user']}, database {row['database']}, from {address(row)}{application}"


def address(row: Row) -> str:
    """Where a connection comes from."""
    return f"{row['addr']}:{row['port']}" if row.get("port") else str(row.get("addr") or "unix")


def age_text(seconds: float) -> str:
    """`41 s`, `14 min`, `3 h 5 min`, `2 d 4 h`."""
    whole = max(0, int(seconds))
    if whole < 120:
        return f"{whole} s"
    if whole < 7200:
        return f"{whole // 60} min"
    if whole < 172_800:
        return f"{whole // 3600} h {whole % 3600 // 60} min"
    return f"{whole // 86_400} d {whole % 86_400 // 3600} h"


def _moment(text: object) -> datetime | None:
    """A time of SHOW, without its zone: all of one answer have the same."""
    try:
        return datetime.strptime(str(text)[:19], "%Y-%m-%d %H:%M:%S")
    except ValueError:
        return None


@dataclass(frozen=True, slots=True)
class Held:
    """What is paused or disabled at the moment."""

    state: str
    """Of the whole pooler: `active`, `paused`, `suspended`."""
    paused: tuple[str, ...]
    disabled: tuple[str, ...]


async def held(connection: AdminConnection, *, probe: bool = True) -> Held:
    """Ask what is paused, and disabled. Raises AdminError.

    PgBouncer 1.18 has no SHOW STATE: there a PAUSE of the admin database is refused with a different error
    when everything is paused. It leaves a line in the log, so this is not for every second. Without `probe`
    that is not tried, and such a pooler seems to be active.
    """
    databases = [row for row in (await connection.rows("SHOW DATABASES")).dicts() if row["name"] != DATABASE]
    return Held(
        state=await _pooler_state(connection, probe),
        paused=tuple(row["name"] for row in databases if row.get("paused")),
        disabled=tuple(row["name"] for row in databases if row.get("disabled")),
    )


async def _pooler_state(connection: AdminConnection, probe: bool) -> str:
    if connection.capabilities.has_table("STATE"):
        states = (await connection.rows("SHOW STATE")).pairs()
        return next((name for name in ("suspended", "paused") if states.get(name) == "yes"), "active")
    if not probe:
        return "active"
    try:
        await connection.run(_PAUSE_PROBE, 10.0)
    except AdminError as error:
        if error.lost:
            raise
        return "paused" if "already suspended/paused" in error.message else "active"
    return "active"
