"""asyncpg on the admin database of our own pooler; a stock PgBouncer it can ask for SHOW HELP and no more."""

from __future__ import annotations

import os
import socket
from typing import Any, Final
from urllib.parse import urlencode

import asyncpg

from tui.admin.capabilities import Capabilities
from tui.admin.connection import HELP, AdminConnection
from tui.admin.errors import AdminError
from tui.admin.table import Notice, Reply, Table
from tui.admin.target import APPLICATION, Target

_STATEMENTS: Final = 32
"""Prepared statements that are kept: what a console asks again each second."""

_CLOSE_SECONDS: Final = 2.0

_RECEIVE_BYTES: Final = 16_384
"""What is read from the socket at once, instead of asyncio's 256 KiB: while the driver takes that apart in C,
no other thread gets on, and that of the screen has to.
"""

_FILES: Final = ("sslrootcert", "sslcert", "sslkey", "sslcrl")

_FAILURES: Final = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    ValueError,
)


class OwnConnection(AdminConnection):
    """Each command is prepared and run: only so asyncpg tells rows, columns and tag."""

    def __init__(self, target: Target, connection: Any, query_timeout: float) -> None:
        super().__init__(target, query_timeout)
        self._connection = connection
        self._statements: dict[str, Any] = {}
        connection.add_log_listener(self._note)

    async def ask_capabilities(self) -> Capabilities:
        """SHOW HELP by the simple protocol, which every pooler understands."""
        try:
            await self._connection.execute(HELP)
        except asyncpg.UndefinedObjectError:
            # What PostgreSQL says to a SHOW that it does not know.
            raise AdminError(f"{self.target} is not the admin database of a pooler", lost=True) from None
        except _FAILURES as error:
            raise admin_error(error, lost=True) from None
        return Capabilities.from_help("\n".join(notice.detail or "" for notice in self._notices))

    @property
    def closed(self) -> bool:
        return bool(self._connection.is_closed())

    async def close(self) -> None:
        try:
            await self._connection.close(timeout=_CLOSE_SECONDS)
        except (*_FAILURES, TimeoutError):
            self._connection.terminate()

    async def abort(self) -> None:
        self._connection.terminate()

    async def _send(self, sql: str) -> Reply:
        try:
            statement = await self._prepared(sql)
            records = await statement.fetch()
            columns = tuple(attribute.name for attribute in statement.get_attributes())
            table = Table(columns, [tuple(record) for record in records]) if columns else None
            return Reply(statement.get_statusmsg(), table, tuple(self._notices))
        except _FAILURES as error:
            raise admin_error(error, lost=self.closed) from None

    async def _prepared(self, sql: str) -> Any:
        if sql not in self._statements:
            if len(self._statements) >= _STATEMENTS:
                self._statements.clear()
            self._statements[sql] = await self._connection.prepare(sql)
        return self._statements[sql]

    def _note(self, _connection: object, message: Any) -> None:
        self._notices.append(Notice(message.severity, message.message, message.detail))


async def open_connection(target: Target, query_timeout: float) -> OwnConnection:
    """Connect, without a time limit. Raises AdminError."""
    try:
        connection = await asyncpg.connect(**arguments(target), timeout=None)
    except asyncpg.PostgresError as error:
        raise admin_error(error, lost=True) from None
    except _FAILURES as error:
        raise AdminError(f"{target}: {_reason(error, target)}", lost=True) from None
    transport: Any = getattr(connection, "_transport", None)
    if hasattr(transport, "max_size"):
        transport.max_size = _RECEIVE_BYTES
    return OwnConnection(target, connection, query_timeout)


def _reason(error: Exception, target: Target) -> str:
    """Why there is no connection. Python names neither the file nor the name that it has not found."""
    text = str(error) or type(error).__name__
    if isinstance(error, FileNotFoundError):
        files = (target.options.get(name, "") for name in _FILES)
        missing = next((file for file in files if file and not os.path.exists(file)), None)
        return "there is no such socket" if missing is None else f"{missing}: no such file"
    if isinstance(error, socket.gaierror):
        return error.strerror or text
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return "the connection was closed before the login" if "connection_lost" in text else text


def arguments(target: Target) -> dict[str, Any]:
    """What `asyncpg.connect` is to be given. Files of certificates it takes out of a URL alone."""
    options = dict(target.options)
    found: dict[str, Any] = {
        "host": target.host.split(","),
        "port": _ports(target),
        "user": target.user,
        "password": target.password,
        "passfile": options.pop("passfile", None),
        "database": target.database,
        "server_settings": {"application_name": APPLICATION},
    }
    if options:
        found["dsn"] = f"postgresql://?{urlencode(options)}"
    return found


def _ports(target: Target) -> int | list[int]:
    ports = [int(port) for port in target.port.split(",")]
    return ports[0] if len(ports) == 1 else ports


def admin_error(error: BaseException, *, lost: bool) -> AdminError:
    """What the driver raised, as the one kind of exception that there is."""
    if not isinstance(error, asyncpg.PostgresError):
        return AdminError(str(error) or type(error).__name__, lost=lost)
    return AdminError(
        error.args[0] if error.args else type(error).__name__,
        # The driver makes some of these up itself, for connections that have broken.
        sqlstate=error.sqlstate if getattr(error, "severity", None) else None,
        detail=getattr(error, "detail", None),
        hint=getattr(error, "hint", None),
        lost=lost,
    )
