"""A connection to an admin database, whatever pooler it is of.

`connect` finds out by itself what answers. Our own pooler is asked through asyncpg; a stock PgBouncer, whose
admin console refuses the extended query protocol that asyncpg needs for rows, through psycopg.
"""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Awaitable
from typing import Final, TypeVar

from tui.admin.capabilities import Capabilities
from tui.admin.errors import AdminError, NoAnswerInTime
from tui.admin.table import Notice, Reply, Table
from tui.admin.target import Target

CONNECT_SECONDS: Final = 10.0
QUERY_SECONDS: Final = 10.0

HELP: Final = "SHOW HELP"

QUERY_CANCELED: Final = "57014"

Result = TypeVar("Result")


class AdminConnection(ABC):
    """One connection, one command at a time; whoever comes meanwhile waits its turn.

    Everything raises AdminError. A driver gives `_send`, `abort`, `close` and `closed`.
    """

    def __init__(self, target: Target, query_timeout: float = QUERY_SECONDS) -> None:
        self.target = target
        self.capabilities = Capabilities(frozenset(), {})
        self._query_timeout = query_timeout
        self._turn = asyncio.Lock()
        self._running: asyncio.Task[Reply] | None = None
        self._cancelled = False
        self._notices: list[Notice] = []

    async def rows(self, sql: str) -> Table:
        """The rows of SHOW or SELECT, within the time limit of the connection."""
        reply = await self.run(sql, self._query_timeout)
        if reply.table is None:
            raise AdminError(f"{sql}: the pooler answered {reply.tag} and no rows")
        return reply.table

    async def command(self, sql: str, timeout: float | None = None) -> str:
        """The tag of a command, which may take as long as it likes unless `timeout` (seconds) is given."""
        return (await self.run(sql, timeout)).tag

    async def run(self, sql: str, timeout: float | None) -> Reply:
        """Whatever is answered. After `timeout` seconds the command is cancelled and the connection closed.

        When the task that waits here is cancelled, so is the command: a PAUSE is given up.
        """
        async with self._turn:
            self._notices.clear()
            self._cancelled = False
            self._running = asyncio.ensure_future(self._send(sql))
            try:
                async with asyncio.timeout(timeout):
                    return await self._running
            except TimeoutError:
                await self.abort()
                raise NoAnswerInTime(sql, timeout or 0) from None
            except asyncio.CancelledError:
                if not self._cancelled:
                    raise
                raise AdminError(f"{sql} was cancelled", sqlstate=QUERY_CANCELED, lost=self.closed) from None
            finally:
                self._running = None

    def cancel(self) -> None:
        """Cancel the command that runs, if any: `run` then raises AdminError with SQLSTATE 57014.

        The connection stays, unless it is to a PgBouncer, which then never answers a PAUSE: `lost`.
        """
        if self._running is not None:
            self._cancelled = True
            self._running.cancel()

    @property
    @abstractmethod
    def closed(self) -> bool:
        """Whether nothing can be asked any more."""

    @abstractmethod
    async def close(self) -> None:
        """Say good-bye, and wait for cancel requests that are still under way. Raises nothing."""

    @abstractmethod
    async def abort(self) -> None:
        """Close at once. Raises nothing.

        A command that runs fails, `lost`, and is not cancelled: a PgBouncer takes a cancel request as RESUME
        of everything, whatever it was for.
        """

    @abstractmethod
    async def _send(self, sql: str) -> Reply:
        """Send one command and wait for the end of its answer."""


async def connect(
    target: Target, *, timeout: float = CONNECT_SECONDS, query_timeout: float = QUERY_SECONDS
) -> AdminConnection:
    """Log in and find out what is there. `timeout` is for all of that, in seconds, unless the target has one.

    Raises AdminError, `lost` always.
    """
    return await within(_connect(target, query_timeout), target.connect_timeout or timeout, target)


async def _connect(target: Target, query_timeout: float) -> AdminConnection:
    from tui.admin import own

    first = await own.open_connection(target, query_timeout)
    try:
        first.capabilities = await first.ask_capabilities()
    except BaseException:
        await first.abort()
        raise
    if first.capabilities.sql:
        return first
    await first.close()
    try:
        from tui.admin import stock
    except ImportError as error:
        reason = "this is a PgBouncer, not pooldeck: to talk to it, install pooldeck[pgbouncer]"
        raise AdminError(f"{reason} ({error})", lost=True) from None
    connection = await stock.open_connection(target, query_timeout)
    connection.capabilities = first.capabilities
    return connection


async def within(work: Awaitable[Result], seconds: float, target: Target) -> Result:
    """Wait for a step of connecting."""
    try:
        async with asyncio.timeout(seconds):
            return await work
    except TimeoutError:
        raise NoAnswerInTime(target, seconds) from None
