"""Asks a pooler for its tables, no more of them and no more often than somebody looks at."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from typing import Final, TypeAlias

from tui.admin.connection import AdminConnection
from tui.admin.errors import AdminError
from tui.admin.pacing import pause_after
from tui.admin.table import Table
from tui.admin.target import Target
from tui.watch.clock import Clock
from tui.watch.moment import Moment

Connect: TypeAlias = Callable[[Target], Awaitable[AdminConnection]]

ALWAYS: Final = ("STATE", "POOLS", "DATABASES", "STATS", "LISTS", "WAITS", "LATENCY")
"""What every poll reads: a row for each pool or database, hundreds at most; but see SOMETIMES_LONG."""

SOMETIMES_LONG: Final = frozenset({"WAITS"})
"""A row for each client in line: while thousands wait it costs as much as SHOW CLIENTS."""

PERIODS: Final[Mapping[str, float]] = {"CONFIG": 30.0, "ERRORS": 5.0, "SERVER_STATS": 5.0}
"""Seconds between two readings of what is always wanted, but seldom changes."""


class Feed:
    """The connection that is polled. It lives on one event loop; every method is called there.

    `poll` connects when there is no connection. Everything raises AdminError.
    """

    def __init__(self, target: Target, connect: Connect, clock: Clock) -> None:
        self._target = target
        self._connect = connect
        self._clock = clock
        self._connection: AdminConnection | None = None
        self._version = ""
        self._tables: dict[str, Table] = {}
        self._read_at: dict[str, float] = {}
        self._costs: dict[str, float] = {}
        self._errors: dict[str, str] = {}

    async def poll(self, wanted: frozenset[str], *, at_once: bool = False) -> Moment:
        """Read what is due; `at_once` reads all that is wanted, whatever it costs."""
        connection = await self._connected()
        began = self._clock.seconds()
        for name in (*ALWAYS, *PERIODS, *sorted(wanted)):
            if not self._has(connection, name) or not (at_once or self._is_due(name, began)):
                continue
            await self._read(connection, name)
        now = self._clock.seconds()
        return Moment(
            at=now,
            clock=self._clock.now(),
            version=self._version,
            capabilities=connection.capabilities,
            tables=dict(self._tables),
            read_at=dict(self._read_at),
            errors=dict(self._errors),
            seconds=now - began,
        )

    async def ask(self, sql: str) -> Table:
        """The rows of one more question, between two polls."""
        return await (await self._connected()).rows(sql)

    async def close(self) -> None:
        """Say good-bye, if there is anybody to say it to."""
        if self._connection is not None:
            await self._connection.close()
            self._connection = None

    async def _connected(self) -> AdminConnection:
        if self._connection is not None and not self._connection.closed:
            return self._connection
        await self.close()
        connection = await self._connect(self._target)
        try:
            self._version = str((await connection.rows("SHOW VERSION")).rows[0][0])
        except BaseException:
            await connection.abort()
            raise
        # Another process may answer now: what it does not say must not seem to be its.
        for kept in (self._tables, self._read_at, self._costs, self._errors):
            kept.clear()
        self._connection = connection
        return connection

    def _has(self, connection: AdminConnection, name: str) -> bool:
        return connection.capabilities.has_table(name)

    def _is_due(self, name: str, now: float) -> bool:
        if name not in self._read_at:
            return True
        is_short = name in ALWAYS and name not in SOMETIMES_LONG
        pause = max(PERIODS.get(name, 0.0), 0.0 if is_short else pause_after(self._costs[name]))
        return now - self._read_at[name] >= pause

    async def _read(self, connection: AdminConnection, name: str) -> None:
        began = self._clock.seconds()
        try:
            self._tables[name] = await connection.rows(f"SHOW {name}")
            self._errors.pop(name, None)
        except AdminError as error:
            if error.lost or connection.closed:
                with suppress(AdminError):
                    await self.close()
                raise
            self._errors[name] = error.message
            self._tables.pop(name, None)
        self._read_at[name] = self._clock.seconds()
        self._costs[name] = self._read_at[name] - began
