"""psycopg on the admin console of a stock PgBouncer, which knows the simple query protocol alone."""

from __future__ import annotations

import asyncio
import re
from contextlib import suppress
from typing import Any, Final

import psycopg
from psycopg.abc import Buffer
from psycopg.adapt import Loader

from tui.admin.connection import AdminConnection
from tui.admin.errors import AdminError
from tui.admin.table import Notice, Reply, Table
from tui.admin.target import APPLICATION, Target

_CANCEL_SECONDS: Final = 2.0
_TAKEN_BACK: Final = re.compile(r"\s*(pause|suspend)\s*;?\s*", re.IGNORECASE)
"""What a cancel request ends, and nothing else."""

_LAST_SECONDS: Final = 0.5
"""How long a cancelled command has time to end, before its connection is closed."""


_TEXTS: Final = ("text", "varchar")


class _AnyText(Loader):
    """Text that need not be UTF-8: the bytes that are not are `\\xff`."""

    def load(self, data: Buffer) -> str:
        return bytes(data).decode("utf-8", "backslashreplace")


class StockConnection(AdminConnection):
    """Columns and types are those that the rows bring along; releases differ in them."""

    def __init__(
        self, target: Target, connection: psycopg.AsyncConnection[tuple[Any, ...]], query_timeout: float
    ) -> None:
        super().__init__(target, query_timeout)
        self._connection = connection
        self._answering: asyncio.Task[Reply] | None = None
        connection.add_notice_handler(self._note)

    @property
    def closed(self) -> bool:
        return self._connection.closed

    async def close(self) -> None:
        await self._connection.close()

    async def abort(self) -> None:
        await self._connection.close()
        if self._answering is not None:
            # Nobody wakes up whoever waits for a socket that is closed on this side.
            self._answering.cancel()

    async def _send(self, sql: str) -> Reply:
        answer = self._answering = asyncio.ensure_future(self._answer(sql))
        try:
            return await asyncio.shield(answer)
        except asyncio.CancelledError:
            if answer.cancelled():
                raise AdminError("the connection was closed", lost=True) from None
            await self._give_up(sql, answer)
            raise
        finally:
            self._answering = None

    async def _give_up(self, sql: str, answer: asyncio.Task[Reply]) -> None:
        """Cancel what runs. psycopg would do so too, but wait for 5 s: PgBouncer takes back a PAUSE that
        is cancelled, and never answers it.

        It takes any cancel request for RESUME of everything. So a SHOW that took too long must not send one:
        it would end the PAUSE of somebody else.
        """
        if _TAKEN_BACK.fullmatch(sql):
            with suppress(psycopg.Error):
                await self._connection.cancel_safe(timeout=_CANCEL_SECONDS)
            await asyncio.wait([answer], timeout=_LAST_SECONDS)
        if not answer.done():
            await self.abort()
        await asyncio.gather(answer, return_exceptions=True)

    async def _answer(self, sql: str) -> Reply:
        try:
            try:
                return await self._reply(sql)
            except UnicodeDecodeError:
                # A client has a name that is not. From now on text is loaded slower, and whatever it is.
                for name in _TEXTS:
                    self._connection.adapters.register_loader(name, _AnyText)
                return await self._reply(sql)
        except psycopg.Error as error:
            raise admin_error(error, lost=self.closed) from None
        except ValueError as error:
            raise AdminError(f"{sql}: {error}") from None

    async def _reply(self, sql: str) -> Reply:
        # In bytes: a query that nobody has to take apart.
        cursor = await self._connection.execute(sql.encode())
        table = None
        if cursor.description is not None:
            columns = tuple(column.name for column in cursor.description)
            table = Table(columns, await cursor.fetchall())
        return Reply(cursor.statusmessage or "", table, tuple(self._notices))

    def _note(self, message: psycopg.errors.Diagnostic) -> None:
        notice = Notice(message.severity or "", message.message_primary or "", message.message_detail)
        self._notices.append(notice)


async def open_connection(target: Target, query_timeout: float) -> StockConnection:
    """Connect, without a time limit. Raises AdminError."""
    try:
        connection = await psycopg.AsyncConnection.connect(
            **arguments(target),
            autocommit=True,
            prepare_threshold=None,
            cursor_factory=psycopg.AsyncClientCursor,
        )
    except psycopg.Error as error:
        raise admin_error(error, lost=True) from None
    return StockConnection(target, connection, query_timeout)


def arguments(target: Target) -> dict[str, Any]:
    """The connection string of libpq, as keywords."""
    found: dict[str, Any] = {
        **target.options,
        "host": target.host,
        "port": target.port,
        "user": target.user,
        "dbname": target.database,
        "application_name": APPLICATION,
        # Whatever PGCLIENTENCODING says: PgBouncer repeats it, and converts nothing.
        "client_encoding": "UTF8",
    }
    if target.password is not None:
        found["password"] = target.password
    return found


def admin_error(error: psycopg.Error, *, lost: bool) -> AdminError:
    """What the driver raised, as the one kind of exception that there is."""
    said = error.diag
    return AdminError(
        said.message_primary or str(error),
        sqlstate=error.sqlstate,
        detail=said.message_detail,
        hint=said.message_hint,
        lost=lost,
    )
