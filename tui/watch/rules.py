"""What each kind of alert looks at: rules say what holds at one moment."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterator, Mapping
from enum import IntEnum
from typing import Any, Final, NamedTuple, TypeAlias

from tui.admin.overview import longest_wait, state_of
from tui.admin.target import DATABASE
from tui.admin.words import counted, duration, short_duration
from tui.watch.moment import Moment
from tui.watch.thresholds import AlertThresholds

UNEXPECTED_EOF: Final = "client unexpected eof"
"""What SHOW ERRORS calls clients that left without a word: no error of the pooler's."""

STATES: Final = ("paused", "suspended")


class Severity(IntEnum):
    """How bad it is; for eyes and for those who see no colours."""

    INFO = 1
    WARNING = 2
    CRITICAL = 3

    @property
    def symbol(self) -> str:
        return " ●▲✖"[self]

    @property
    def word(self) -> str:
        return self.name.lower()


class AlertKey(NamedTuple):
    """What an alert is about; it has no user, or no database either, if it is about more."""

    kind: str
    database: str = ""
    user: str = ""

    @property
    def subject(self) -> str:
        """`shop/web`, `shop`, `pooler`."""
        return "/".join(part for part in self[1:] if part) or "pooler"


class Condition(NamedTuple):
    """A value that raises an alert by reaching a bound, for so many moments; 0 is never reached."""

    severity: Severity
    value: float
    bound: float
    ticks: int = 1
    clears_at_once: bool = False


class Reading(NamedTuple):
    """What a rule found: the text is about now, whether or not there is an alert."""

    text: str
    conditions: tuple[Condition, ...]


Readings: TypeAlias = Mapping[AlertKey, Reading]


class Memory:
    """What rules keep from one moment to the next."""

    def __init__(self) -> None:
        self._counts: dict[Hashable, deque[tuple[float, float]]] = {}
        self._since: dict[Hashable, float] = {}

    def growth(self, table: str, what: Hashable, at: float, value: float, window: float) -> float:
        """By how much a counter of a table has grown within `window` seconds, as far as it was watched.

        One that was not there when the table was first seen began at 0.
        """
        readings = self._counts.setdefault((table, what), deque())
        if not readings and self.lasting(table, True, at) > 0:
            readings.append((at - window, 0))
        if readings and value < readings[-1][1]:
            readings.clear()
        if not readings or value != readings[-1][1]:
            readings.append((at, value))
        # One from before the window stays: it is what the others are held against.
        while len(readings) > 1 and readings[1][0] <= at - window:
            readings.popleft()
        return value - readings[0][1]

    def lasting(self, what: Hashable, holds: bool, at: float) -> float:
        """For how long something has been so, as far as it was watched."""
        if not holds:
            self._since.pop(what, None)
            return 0.0
        return at - self._since.setdefault(what, at)


Rule: TypeAlias = Callable[[Moment, AlertThresholds, Memory], "Readings | None"]


def waiting(moment: Moment, limits: AlertThresholds, memory: Memory) -> Readings | None:
    """Clients in line of a pool. Who waits for RESUME is the matter of `paused`."""
    pools = _pools(moment)
    if pools is None:
        return None
    critical = _maxwait_critical(moment, limits)
    paused = _paused(moment)
    found: dict[AlertKey, Reading] = {}
    for pool in pools:
        if _is_paused(pool["database"], paused):
            continue
        clients, longest = pool["cl_waiting"], longest_wait(pool)
        ticks = limits.waiting_ticks
        found[AlertKey("waiting", pool["database"], pool["user"])] = Reading(
            line_text(clients, longest),
            (
                Condition(Severity.WARNING, clients, limits.waiting_warning, ticks),
                Condition(Severity.CRITICAL, clients, limits.waiting_critical, ticks),
                Condition(Severity.WARNING, longest, limits.maxwait_warning),
                Condition(Severity.CRITICAL, longest, critical),
            ),
        )
    return found


def line_text(clients: float, longest: float) -> str:
    """How many wait, and how long."""
    if not clients:
        return "no client waits any more"
    lasts = short_duration(longest * 1_000_000) if longest < 1 else duration(longest)
    if clients == 1:
        return f"1 client waits, for {lasts}"
    return f"{clients:.0f} clients wait, the first for {lasts}"


def saturation(moment: Moment, limits: AlertThresholds, memory: Memory) -> Readings | None:
    """Servers of a pool that have a client."""
    pools, sizes = _pools(moment), pool_sizes(moment)
    if pools is None or not sizes:
        return None
    found: dict[AlertKey, Reading] = {}
    for pool in pools:
        size = sizes.get(pool["database"])
        if not size:
            continue
        percent = 100 * pool["sv_active"] / size
        found[AlertKey("saturation", pool["database"], pool["user"])] = Reading(
            f"{pool['sv_active']} of {counted(size, 'server')} have a client",
            (
                Condition(Severity.WARNING, percent, limits.pool_warning, limits.pool_ticks),
                Condition(
                    Severity.CRITICAL,
                    percent if _is_short(pool, limits) else 0,
                    limits.pool_critical,
                    limits.pool_ticks,
                ),
            ),
        )
    return found


def _is_short(pool: Mapping[str, Any], limits: AlertThresholds) -> bool:
    """A small pool that is always full, with a queue of milliseconds, is one that is well used."""
    return bool(pool["cl_waiting"]) and longest_wait(pool) >= limits.maxwait_warning


def clients(moment: Moment, limits: AlertThresholds, memory: Memory) -> Readings | None:
    """Clients of the whole pooler, and of each database that has a limit of its own."""
    found: dict[AlertKey, Reading] = {}
    lists, limit = moment.table("LISTS"), setting(moment, "max_client_conn")
    if lists is None and moment.table("DATABASES") is None:
        return None
    if lists is not None and limit:
        used = float(lists.pairs().get("used_clients", 0))
        found[AlertKey("clients")] = _client_reading(used, limit, "max_client_conn", limits)
    for row in _rows(moment, "DATABASES"):
        limit = float(row.get("max_client_connections") or 0)
        if limit and row["name"] != DATABASE:
            used = float(row.get("current_client_connections") or 0)
            found[AlertKey("clients", row["name"])] = _client_reading(
                used, limit, "max_db_client_connections", limits
            )
    return found


def _client_reading(used: float, limit: float, name: str, limits: AlertThresholds) -> Reading:
    percent = 100 * used / limit
    return Reading(
        f"{used:.0f} of {counted(limit, 'client')} that {name} allows",
        (
            Condition(Severity.WARNING, percent, limits.clients_warning),
            Condition(Severity.CRITICAL, percent, limits.clients_critical),
        ),
    )


def logins(moment: Moment, limits: AlertThresholds, memory: Memory) -> Readings | None:
    """Servers that cannot be logged in to: counted where the pooler does; pools without any."""
    pools = _pools(moment)
    if pools is None:
        return None
    failures: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in _rows(moment, "SERVER_STATS"):
        if row["event"] == "failed":
            failures.setdefault((row["database"], row["user"]), []).append(row)
    paused, full = _paused(moment), _full(moment)
    found: dict[AlertKey, Reading] = {}
    for pool in pools:
        name = (pool["database"], pool["user"])
        rows = failures.get(name, [])
        total = sum(row["count"] for row in rows)
        failed = memory.growth("SERVER_STATS", name, moment.at, total, limits.window)
        stuck = _has_no_server(pool) and not _is_paused(name[0], paused) and name[0] not in full
        text = "the pool has no server; " + line_text(pool["cl_waiting"], longest_wait(pool))
        if failed:
            last = max(rows, key=lambda row: str(row["last_time"]))["reason"]
            text = f"{counted(failed, 'server login')} failed in the last {duration(limits.window)}: {last}"
        elif not stuck:
            text = "servers can be logged in to again"
        found[AlertKey("logins", *name)] = Reading(
            text,
            (
                Condition(Severity.WARNING, failed, limits.login_failures_warning),
                Condition(Severity.CRITICAL, failed, limits.login_failures_critical),
                Condition(Severity.WARNING, stuck, 1, limits.login_ticks),
            ),
        )
    return found


def _full(moment: Moment) -> frozenset[str]:
    """Databases whose servers are all in use, those of other pools included."""
    return frozenset(
        row["name"]
        for row in _rows(moment, "DATABASES")
        if row.get("max_connections") and row["current_connections"] >= row["max_connections"]
    )


def _has_no_server(pool: Mapping[str, Any]) -> bool:
    """Clients wait, and nothing has come of logins so far."""
    servers = ("sv_active", "sv_idle", "sv_used", "sv_tested")
    return bool(pool["cl_waiting"]) and not any(pool.get(column) for column in servers)


def errors(moment: Moment, limits: AlertThresholds, memory: Memory) -> Readings | None:
    """Errors of the pooler's own that clients were told."""
    if moment.table("ERRORS") is None:
        return None
    pools: dict[tuple[str, str], list[tuple[float, str]]] = {}
    for row in _rows(moment, "ERRORS"):
        if row["source"] != "pooler" or row["code"] == UNEXPECTED_EOF:
            continue
        what = (row["database"], row["user"], row["code"])
        grown = memory.growth("ERRORS", what, moment.at, row["count"], limits.window)
        pools.setdefault(what[:2], []).append((grown, row["code"]))
    found: dict[AlertKey, Reading] = {}
    for name, grown_by_code in pools.items():
        told, most = sum(grown for grown, _ in grown_by_code), max(grown_by_code)[1]
        found[AlertKey("errors", *name)] = Reading(
            f"{counted(told, 'error')} of the pooler in the last {duration(limits.window)}, mostly {most}",
            (
                Condition(Severity.WARNING, told, limits.errors_warning),
                Condition(Severity.CRITICAL, told, limits.errors_critical),
            ),
        )
    return found


def paused(moment: Moment, limits: AlertThresholds, memory: Memory) -> Readings | None:
    """The pooler, or a database, that gives out no servers."""
    if moment.table("STATE") is None and moment.table("DATABASES") is None:
        return None
    state = state_of(moment.table("STATE"))
    states = {"": state if state in STATES else ""}
    states |= {row["name"]: "paused" if row.get("paused") else "" for row in _rows(moment, "DATABASES")}
    lines: dict[str, tuple[float, float]] = {}
    for pool in _pools(moment) or ():
        for name in ("", pool["database"]):
            clients, longest = lines.get(name, (0, 0.0))
            lines[name] = clients + pool["cl_waiting"], max(longest, longest_wait(pool))
    # Soon clients are told query_wait_timeout.
    patience = (setting(moment, "query_wait_timeout") or 0) / 2
    found: dict[AlertKey, Reading] = {}
    for name, state in states.items():
        lasting = memory.lasting(("paused", name), bool(state), moment.at)
        clients, longest = lines.get(name, (0, 0.0)) if state else (0, 0.0)
        conditions = (
            Condition(Severity.INFO, bool(state), 1, clears_at_once=True),
            Condition(Severity.WARNING, lasting, limits.paused_warning, clears_at_once=True),
            Condition(Severity.CRITICAL, lasting, limits.paused_critical, clears_at_once=True),
            Condition(Severity.CRITICAL, longest, patience, clears_at_once=True),
        )
        found[AlertKey("paused", name)] = Reading(_pause_text(state, lasting, clients, longest), conditions)
    return found


def _pause_text(state: str, lasting: float, clients: float, longest: float) -> str:
    if not state:
        return "active again"
    text = f"{state}, for {duration(lasting)} at least" if lasting >= 1 else state
    return f"{text}; {line_text(clients, longest)}" if clients else text


def disabled(moment: Moment, limits: AlertThresholds, memory: Memory) -> Readings | None:
    """Databases that take no new clients."""
    if moment.table("DATABASES") is None:
        return None
    return {
        AlertKey("disabled", row["name"]): Reading(
            "disabled: new clients are refused" if row.get("disabled") else "enabled again",
            (Condition(Severity.INFO, bool(row.get("disabled")), 1, clears_at_once=True),),
        )
        for row in _rows(moment, "DATABASES")
    }


RULES: Final[Mapping[str, Rule]] = {
    "waiting": waiting,
    "logins": logins,
    "clients": clients,
    "errors": errors,
    "saturation": saturation,
    "paused": paused,
    "disabled": disabled,
}
"""By kind; of two alerts that are as bad, the one that comes first here is told first."""


def _rows(moment: Moment, name: str) -> Iterator[dict[str, Any]]:
    table = moment.table(name)
    return iter(()) if table is None else table.dicts()


def _pools(moment: Moment) -> list[dict[str, Any]] | None:
    if moment.table("POOLS") is None:
        return None
    return [row for row in _rows(moment, "POOLS") if row["database"] != DATABASE]


def is_forced(moment: Moment, database: str, user: str) -> bool:
    """Whether all clients of the database share its pool of this user, whoever they have logged in as."""
    rows = _rows(moment, "DATABASES")
    return any(row["name"] == database and row.get("force_user") == user for row in rows)


def pool_sizes(moment: Moment) -> dict[str, int]:
    """By database."""
    return {row["name"]: row["pool_size"] for row in _rows(moment, "DATABASES") if row.get("pool_size")}


def setting(moment: Moment, name: str) -> float | None:
    """A number of SHOW CONFIG; None where it is not known."""
    config = moment.table("CONFIG")
    value = None if config is None else config.pairs().get(name)
    try:
        return None if value is None else float(value)
    except ValueError:
        return None


def _paused(moment: Moment) -> frozenset[str]:
    """Databases that are, and "" for the whole pooler."""
    names = {row["name"] for row in _rows(moment, "DATABASES") if row.get("paused")}
    return frozenset(names | ({""} if state_of(moment.table("STATE")) in STATES else set()))


def _is_paused(database: str, paused: frozenset[str]) -> bool:
    return "" in paused or database in paused


def _maxwait_critical(moment: Moment, limits: AlertThresholds) -> float:
    """Half of query_wait_timeout if that is less; 0 for never."""
    timeout = setting(moment, "query_wait_timeout") or 0
    return min(limits.maxwait_critical, timeout / 2) if timeout else limits.maxwait_critical
