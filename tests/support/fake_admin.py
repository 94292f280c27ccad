"""A pooler that is nothing but the answers of its admin database, for the console under test."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from tui.admin.capabilities import Capabilities
from tui.admin.connection import AdminConnection
from tui.admin.errors import AdminError
from tui.admin.table import Reply, Table
from tui.admin.target import Target
from tui.app import Console
from tui.settings import ConsoleSettings
from tui.watch.clock import Clock

TARGET = Target(host="pooler.example", port="6432", user="ops")

COMMANDS = (
    *("PAUSE", "RESUME", "RELOAD", "RECONNECT", "DISABLE", "ENABLE", "KILL", "KILL_CLIENT", "KILL_CLIENTS"),
    *("CANCEL_CLIENT", "WAIT_CLOSE", "SUSPEND", "SHUTDOWN", "SET", "SAVE", "SHOW", "SELECT"),
)
"""Of our own pooler; KILL_CLIENTS is what it is recognized by."""

FORMS = {
    **dict.fromkeys(("PAUSE", "RESUME", "RECONNECT", "KILL", "WAIT_CLOSE"), ("[<db>]",)),
    **dict.fromkeys(("DISABLE", "ENABLE"), ("<db>",)),
    "SHUTDOWN": ("", "WAIT_FOR_SERVERS|WAIT_FOR_CLIENTS"),
}
"""What SHOW HELP says may follow a verb."""

EPOCH = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


def table(*rows: Mapping[str, Any], columns: Sequence[str] = ()) -> Table:
    """A table of rows by column name; `columns` where there are no rows."""
    names = tuple(rows[0]) if rows else tuple(columns)
    return Table(names, [tuple(row[name] for name in names) for row in rows])


def pairs(columns: tuple[str, str], values: Mapping[str, Any]) -> Table:
    """A table of two columns: SHOW STATE, LISTS, CONFIG."""
    return Table(columns, list(values.items()))


def pool(database: str = "app", user: str = "web", **values: Any) -> dict[str, Any]:
    """A row of SHOW POOLS."""
    row = {
        "database": database,
        "user": user,
        "cl_active": 0,
        "cl_waiting": 0,
        "cl_active_cancel_req": 0,
        "cl_waiting_cancel_req": 0,
        "sv_active": 0,
        "sv_active_cancel": 0,
        "sv_being_canceled": 0,
        "sv_idle": 0,
        "sv_used": 0,
        "sv_tested": 0,
        "sv_login": 0,
        "maxwait": 0,
        "maxwait_us": 0,
        "pool_mode": "transaction",
        "load_balance_hosts": None,
    }
    return {**row, **values}


def database(name: str = "app", **values: Any) -> dict[str, Any]:
    """A row of SHOW DATABASES."""
    row = {
        "name": name,
        "host": "10.0.0.5",
        "port": 5432,
        "database": name,
        "force_user": None,
        "pool_size": 20,
        "min_pool_size": 0,
        "reserve_pool_size": 0,
        "server_lifetime": 3600,
        "pool_mode": None,
        "load_balance_hosts": None,
        "max_connections": 0,
        "current_connections": 0,
        "max_client_connections": 0,
        "current_client_connections": 0,
        "paused": 0,
        "disabled": 0,
    }
    return {**row, **values}


def client(number: int, **values: Any) -> dict[str, Any]:
    """A row of SHOW CLIENTS."""
    row = {
        "type": "C",
        "user": "web",
        "database": "app",
        "replication": "none",
        "state": "active",
        "addr": "10.0.0.7",
        "port": 40000 + number,
        "local_addr": "10.0.0.1",
        "local_port": 6432,
        "connect_time": "2026-03-01 11:00:00 UTC",
        "request_time": "2026-03-01 11:59:58 UTC",
        "wait": 0,
        "wait_us": 0,
        "close_needed": 0,
        "ptr": f"0xc{number:07x}",
        "link": "",
        "remote_pid": 0,
        "tls": "",
        "application_name": "shop",
        "prepared_statements": 0,
        "id": number,
    }
    return {**row, **values}


def server(number: int, **values: Any) -> dict[str, Any]:
    """A row of SHOW SERVERS."""
    row = {
        "type": "S",
        "user": "web",
        "database": "app",
        "replication": "none",
        "state": "idle",
        "addr": "10.0.0.5",
        "port": 5432,
        "local_addr": "10.0.0.1",
        "local_port": 50000 + number,
        "connect_time": "2026-03-01 11:00:00 UTC",
        "request_time": "2026-03-01 11:59:58 UTC",
        "wait": 0,
        "wait_us": 0,
        "close_needed": 0,
        "ptr": f"0x5{number:07x}",
        "link": "",
        "remote_pid": 9000 + number,
        "tls": "",
        "application_name": "",
        "prepared_statements": 0,
        "id": number,
    }
    return {**row, **values}


def stats(name: str = "app", **values: Any) -> dict[str, Any]:
    """A row of SHOW STATS."""
    names = (
        *("server_assignment_count", "xact_count", "query_count", "received", "sent", "xact_time"),
        *("query_time", "wait_time", "client_parse_count", "server_parse_count", "bind_count"),
        "client_login_count",
    )
    totals = {f"total_{of}": 0 for of in names}
    averages = {f"avg_{of.replace('received', 'recv')}": 0 for of in names[:-1]}
    return {"database": name, **totals, **averages, **values}


def small_tables() -> dict[str, Table]:
    """A pooler with two pools, three clients and two servers, that has nothing to complain about."""
    return {
        "VERSION": table({"version": "pooldeck 0.1.0"}),
        "STATE": pairs(("key", "value"), {"active": "yes", "paused": "no", "suspended": "no"}),
        "POOLS": table(
            pool("app", "web", cl_active=2, sv_active=1, sv_idle=1),
            pool("reports", "ana", cl_active=1),
            pool("pgbouncer", "pgbouncer", cl_active=1, pool_mode="statement"),
        ),
        "DATABASES": table(
            database("app", current_connections=2, current_client_connections=2),
            database("reports", pool_size=5, current_client_connections=1),
            database("pgbouncer", host=None, port=6432, pool_size=2, pool_mode="statement"),
        ),
        "LISTS": pairs(("list", "items"), {"databases": 3, "users": 3, "pools": 3, "used_clients": 4}),
        "STATS": table(stats("app", total_query_count=1000, total_xact_count=500), stats("reports")),
        "CONFIG": Table(
            ("key", "value", "default", "changeable"),
            [("max_client_conn", "100", "100", "yes"), ("admin_users", "ops", "", "yes")],
        ),
        "CLIENTS": table(
            client(1, state="active", link="0x50000011"),
            client(2, state="idle"),
            client(3, user="ana", database="reports", application_name="psql", addr="10.0.0.9"),
        ),
        "SERVERS": table(
            server(17, state="active", ptr="0x50000011", link="0xc0000001"),
            server(18),
        ),
        "USERS": table(
            {"name": "ana", "pool_size": None, "pool_mode": None, "max_user_connections": 0},
            {"name": "web", "pool_size": None, "pool_mode": None, "max_user_connections": 0},
        ),
    }


class FakePooler:
    """What it answers may be changed at any time; what it was told is in `commands`.

    `refuse(command, error)` makes a command fail, `hold(command)` lets it wait until `release()`; `stop()`
    breaks all connections and lets nobody in before `start()`. `answers` are rows for questions that are more
    than the name of a table, e.g. `SHOW CLIENTS WHERE id = 3`. All of it from any thread.
    """

    def __init__(self, tables: Mapping[str, Table] | None = None, commands: Iterable[str] = COMMANDS) -> None:
        self.tables = dict(small_tables() if tables is None else tables)
        self.answers: dict[str, Table] = {}
        self.verbs = tuple(commands)
        self.forms: dict[str, tuple[str, ...]] = {}
        self.commands: list[str] = []
        self.asked: list[str] = []
        self.connections: list[FakeConnection] = []
        self.effects: dict[str, Callable[[], None]] = {}
        """What a command changes in `tables`."""
        self._refused: dict[str, AdminError] = {}
        self._login_error: AdminError | None = None
        self._held: dict[str, _Hold] = {}
        self._began: dict[str, threading.Event] = {}

    async def connect(self, target: Target) -> AdminConnection:
        """As `tui.admin.connection.connect`."""
        if self._login_error is not None:
            raise self._login_error
        connection = FakeConnection(self, target)
        self.connections.append(connection)
        return connection

    def stop(self, error: AdminError | None = None) -> None:
        self._login_error = error or AdminError("connection refused", lost=True)
        self.drop()

    def drop(self) -> None:
        """Break all connections, and let new ones in."""
        for connection in self.connections:
            connection.broken = True
        for hold in self._held.values():
            hold.set()

    def start(self) -> None:
        self._login_error = None

    def refuse(self, command: str, error: AdminError) -> None:
        self._refused[command] = error

    def hold(self, command: str) -> threading.Event:
        """Let a command wait from now on; the event says that it has come."""
        self._held[command] = _Hold()
        return self._began.setdefault(command, threading.Event())

    def release(self, command: str) -> None:
        self._held.pop(command).set()

    async def answer(self, sql: str, connection: FakeConnection) -> Reply:
        name = sql.removeprefix("SHOW ").upper() if sql.startswith("SHOW ") else ""
        (self.asked if name or sql in self.answers else self.commands).append(sql)
        if sql in self._held:
            held = self._held[sql]
            self._began[sql].set()
            await held.wait(connection)
        if connection.broken:
            raise AdminError("server closed the connection", lost=True)
        if sql in self._refused:
            raise self._refused[sql]
        if sql in self.answers:
            return Reply("SHOW", self.answers[sql])
        if name:
            if name not in self.tables:
                raise AdminError(f"unknown table {name}", sqlstate="42601")
            return Reply("SHOW", self.tables[name])
        self.effects.get(sql, lambda: None)()
        return Reply(sql.split()[0])


class _Hold:
    """Keeps commands waiting until it is set, from any thread, or their connection is closed."""

    def __init__(self) -> None:
        self._is_set = False
        self._waiting: list[tuple[asyncio.AbstractEventLoop, asyncio.Event]] = []

    def set(self) -> None:
        self._is_set = True
        for loop, event in self._waiting:
            if not loop.is_closed():
                loop.call_soon_threadsafe(event.set)

    async def wait(self, connection: FakeConnection) -> None:
        event = connection.wakened
        self._waiting.append((asyncio.get_running_loop(), event))
        event.clear()
        if not self._is_set:
            await event.wait()
        if not self._is_set:
            raise AdminError("the connection was closed", lost=True)


class FakeConnection(AdminConnection):
    """A connection to a FakePooler."""

    def __init__(self, pooler: FakePooler, target: Target) -> None:
        super().__init__(target)
        self.pooler = pooler
        self.broken = False
        self.wakened = asyncio.Event()
        self._closed = False
        forms = {verb: FORMS.get(verb, ("",)) for verb in pooler.verbs} | pooler.forms
        self.capabilities = Capabilities(frozenset(pooler.tables), forms)

    @property
    def closed(self) -> bool:
        return self._closed or self.broken

    async def close(self) -> None:
        self._closed = True

    async def abort(self) -> None:
        self._closed = True
        self.wakened.set()

    async def _send(self, sql: str) -> Reply:
        return await self.pooler.answer(sql, self)


def settings_for(pooler: FakePooler, **values: Any) -> ConsoleSettings:
    """A console of `pooler` that polls only when told, on a clock that stands still."""
    clock = Clock(seconds=lambda: 1000.0, now=lambda: EPOCH)
    return replace(ConsoleSettings(TARGET, interval=None, connect=pooler.connect, clock=clock), **values)


def fake_console(pooler: FakePooler, **values: Any) -> Console:
    """The application; `values` are of ConsoleSettings."""
    return Console(settings_for(pooler, **values))
