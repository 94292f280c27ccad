"""Why it is so: one line for an alert, of what the pooler says itself, or else of rules."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from tui.admin.overview import state_of
from tui.admin.sqltext import literal
from tui.admin.table import Table
from tui.admin.target import DATABASE
from tui.admin.words import counted, duration, short_duration
from tui.watch.alerts import Alarms, Alert
from tui.watch.history import History
from tui.watch.moment import Moment
from tui.watch.rules import STATES, AlertKey, is_forced, pool_sizes

Pool: TypeAlias = tuple[str, str]
"""Database and user."""

MANY_CLIENTS: Final = 5000
"""With more of them a pooler without conditions is not asked for its clients to explain an alert."""

OLD_SECONDS: Final = 60.0
"""Clients that were read longer ago explain nothing."""

QUESTIONS: Final = 3
"""Pools that are looked into at once: the worst."""

_ABOUT_POOLS: Final = ("waiting", "saturation")

_MOSTLY: Final = 0.5
"""Share of the time of transactions, or of the servers, from which on an idle application is the reason."""

_SLOWER: Final = 2.0
"""So many times what is usual is slow."""


@dataclass(frozen=True, slots=True)
class Holders:
    """Clients that have a server of a pool, and no query; `oldest` has been so for longest."""

    number: int
    oldest: Mapping[str, Any] | None


class Diagnosis:
    """Explains alerts. What it has to ask for, beyond the tables of every moment, is known only while there
    is an alert: `wanted_tables`, or on a pooler that knows conditions `questions`, answered by `learn`.
    """

    def __init__(self) -> None:
        self._holders: dict[Pool, Holders] = {}

    def wanted_tables(self, alarms: Alarms, moment: Moment) -> frozenset[str]:
        """What to read whole, since this pooler gives nothing less; not where it would be much."""
        lists = moment.table("LISTS")
        many = lists is None or lists.pairs().get("used_clients", 0) > MANY_CLIENTS
        if moment.capabilities.sql or many or not _pools_in_question(alarms):
            return frozenset()
        return frozenset({"CLIENTS"})

    def questions(self, alarms: Alarms, moment: Moment) -> dict[Pool, str]:
        """What to ask about which pool: the clients that have a server of it and do nothing with it."""
        wanted = _pools_in_question(alarms)
        self._holders = {pool: holders for pool, holders in self._holders.items() if pool in wanted}
        if not moment.capabilities.sql:
            return {}
        return {pool: _question(moment, *pool) for pool in wanted}

    def learn(self, pool: Pool, answer: Table) -> None:
        """The answer to a question."""
        self._holders[pool] = _holders(answer.dicts())

    def explain(self, alert: Alert, moment: Moment, history: History) -> str:
        """One line; empty where nothing is known beyond the alert itself."""
        key = alert.key
        if key.kind == "clients":
            return _who_has_clients(moment, key.database)
        if key.kind == "paused":
            return f"RESUME{' ' if key.database else ''}{key.database} lets clients go on"
        if key.kind == "disabled":
            return f"ENABLE {key.database} lets new clients in; those that are in stay"
        if key.kind == "errors":
            return _last_error(moment, key)
        if key.kind in (*_ABOUT_POOLS, "logins"):
            return _why_waiting(moment, history, key, self._holders_of(key, moment))
        return ""

    def _holders_of(self, key: AlertKey, moment: Moment) -> Holders | None:
        clients = moment.table("CLIENTS")
        if clients is None or moment.capabilities.sql:
            return self._holders.get((key.database, key.user))
        # It may be from when somebody last looked at the clients.
        if moment.at - moment.read_at["CLIENTS"] > OLD_SECONDS:
            return None
        return _holders(row for row in _clients(moment, key, clients) if row.get("link"))


def _pools_in_question(alarms: Alarms) -> list[Pool]:
    pools = [
        (alert.key.database, alert.key.user) for alert in alarms.active if alert.key.kind in _ABOUT_POOLS
    ]
    return list(dict.fromkeys(pools))[:QUESTIONS]


def _question(moment: Moment, database: str, user: str) -> str:
    of_user = "" if is_forced(moment, database, user) else f' AND "user" = {literal(user)}'
    return (
        f"SHOW CLIENTS WHERE database = {literal(database)}{of_user}"
        " AND state = 'active' AND wait = 0 AND wait_us = 0 ORDER BY request_time LIMIT 1000"
    )


def _clients(moment: Moment, key: AlertKey, table: Table | None) -> Iterator[dict[str, Any]]:
    """The rows, of clients, that are about the pool. They have the name that a client logged in with."""
    anybody = is_forced(moment, key.database, key.user)
    for row in () if table is None else table.dicts():
        if row["database"] == key.database and (anybody or row["user"] == key.user):
            yield row


def _holders(rows: Iterable[Mapping[str, Any]]) -> Holders:
    idle = [row for row in rows if row["state"] == "active" and not row["wait"] and not row["wait_us"]]
    return Holders(len(idle), min(idle, key=lambda row: str(row["request_time"]), default=None))


def _rows(moment: Moment, name: str) -> list[dict[str, Any]]:
    table = moment.table(name)
    return [] if table is None else list(table.dicts())


def _who_has_clients(moment: Moment, database: str) -> str:
    pools = [
        (pool["cl_active"] + pool["cl_waiting"], f"{pool['database']}/{pool['user']}")
        for pool in _rows(moment, "POOLS")
        if pool["database"] != DATABASE and database in ("", pool["database"])
    ]
    most = [f"{name} has {number}" for number, name in sorted(pools, reverse=True)[:3] if number]
    return ", ".join(most)


def _last_error(moment: Moment, key: AlertKey) -> str:
    rows = [
        row
        for row in _rows(moment, "ERRORS")
        if (row["database"], row["user"]) == key[1:] and row["source"] == "pooler"
    ]
    last = max(rows, key=lambda row: str(row["last_time"]), default=None)
    return "" if last is None else f"the last one: {last['last_message'] or last['code']}"


def _why_waiting(moment: Moment, history: History, key: AlertKey, holders: Holders | None) -> str:
    pool = next((row for row in _rows(moment, "POOLS") if (row["database"], row["user"]) == key[1:]), None)
    if pool is None:
        return ""
    look = _Look(moment, history, pool, holders)
    # The one that has waited longest comes first.
    wait = next(_clients(moment, key, moment.table("WAITS")), None)
    return look.as_told(wait) if wait is not None else look.as_it_seems()


class _Look:
    """One pool, in which clients wait or soon will."""

    def __init__(
        self, moment: Moment, history: History, pool: Mapping[str, Any], holders: Holders | None
    ) -> None:
        self._moment = moment
        self._history = history
        self._pool = pool
        self._database = str(pool["database"])
        self._holders = holders
        self._active = int(pool["sv_active"])

    def as_told(self, wait: Mapping[str, Any]) -> str:
        """By the reason that SHOW WAITS gives for the first in line."""
        reason, detail, held = wait["reason"], wait["detail"], (wait["held_us"] or 0) / 1_000_000
        if reason == "paused":
            return f"it is paused ({detail or 'PAUSE'}): RESUME lets clients go on"
        if reason == "server down":
            return f"the server cannot be reached: {detail or 'see the log'}"
        if reason == "server login":
            return f"a server is being logged in to, for {duration(held)} now"
        if reason == "server check":
            return f"a server is being reset or checked, for {duration(held)} now"
        limit = f"{reason} reached; " if reason.startswith("max_") else ""
        oldest = ""
        if wait["holder_state"]:
            who = _who(
                *(wait["holder_id"], wait["holder_user"], wait["holder_addr"]),
                wait["holder_application_name"],
            )
            oldest = f"oldest {duration(held)}{who}"
        return limit + self._at_work(wait["holder_state"] or "", oldest)

    def as_it_seems(self) -> str:
        """By what is in the other tables."""
        pool, databases = self._pool, {row["name"]: row for row in _rows(self._moment, "DATABASES")}
        database = databases.get(self._database, {})
        if state_of(self._moment.table("STATE")) in STATES or database.get("paused"):
            return "it is paused: RESUME lets clients go on"
        if self._active == 0 and not pool["sv_idle"]:
            logins = pool["sv_login"]
            under_way = f"{counted(logins, 'login')} under way" if logins else "no login under way"
            return f"the server lets nobody in: {under_way}, the pooler's log says why"
        limit, size = database.get("max_connections") or 0, pool_sizes(self._moment).get(self._database, 0)
        oldest = self._oldest_holder()
        if limit and (database.get("current_connections") or 0) >= limit:
            return f"max_db_connections ({limit}) reached; " + self._at_work("", oldest)
        if pool["cl_waiting"] and self._active < size and pool["sv_idle"]:
            free = counted(pool["sv_idle"], "server")
            return f"{free} free, yet clients wait: a limit (max_db_connections, max_user_connections)?"
        return self._at_work("", oldest)

    def _oldest_holder(self) -> str:
        row = self._holders.oldest if self._holders else None
        if row is None:
            return ""
        # On the pooler's clock, which may not be ours.
        since = str(row["request_time"])[11:19]
        return f"oldest since {since}{_who(row.get('id'), row['user'], row['addr'], row['application_name'])}"

    def _at_work(self, state: str, oldest: str) -> str:
        """What those servers do that have a client; `state` is that of the oldest."""
        idle = self._holders.number if self._holders else 0
        mostly_idle = idle >= max(1, _MOSTLY * self._active)
        known = f"{idle} of {counted(self._active, 'server')} " if idle else ""
        if self._pool.get("pool_mode") == "session" and (state == "idle" or mostly_idle):
            return "sessions keep their servers: " + _joined(known and known + "without a query", oldest)
        if state == "idle in transaction" or mostly_idle:
            return "app holds transactions: " + _joined(known and known + "idle in transaction", oldest)
        share = self._history.recent("idle_share", self._database)
        if share is not None and share >= _MOSTLY and not self._holders:
            return f"app holds transactions: idle for {share:.0%} of their time"
        now, before = (
            self._history.recent("run_time", self._database),
            self._history.usual("run_time", self._database),
        )
        if now and before and now >= _SLOWER * before:
            times = f"{short_duration(now * 1e6)} on average, {short_duration(before * 1e6)} before"
            return _joined(f"queries have become slow: {times}", oldest)
        average = f", a query takes {short_duration(now * 1e6)}" if now else ""
        return _joined(f"{counted(self._active, 'server')} at work{average}", oldest)


def _joined(*parts: str) -> str:
    return ", ".join(part for part in parts if part)


def _who(number: object, user: object, address: object, application: object) -> str:
    if number is None and not user:
        return ""
    name = f", client {number}" if number is not None else ", a client"
    return f"{name} user {user} from {address}" + (f" ({application})" if application else "")
