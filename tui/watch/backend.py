"""What PostgreSQL itself says of a server connection: its row of pg_stat_activity.

The pooler is not asked, and its passwords are not used: who looks is said by the profile, by the variables of
libpq and by ~/.pgpass.
"""

from __future__ import annotations

import asyncio
import ipaddress
import os
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlencode

import asyncpg

from tui.admin.table import Table
from tui.admin.target import Target
from tui.profiles import ServerLogin
from tui.watch.link import delay

CONNECT_SECONDS: Final = 3.0
QUERY_SECONDS: Final = 2.0

_SOCKET_DIRECTORIES: Final = "/run/postgresql,/var/run/postgresql,/tmp"

_ACTIVITY: Final = """
SELECT usename, application_name, state, wait_event_type, wait_event, query, client_port, backend_type,
       extract(epoch FROM clock_timestamp() - backend_start)::float8 AS connected,
       extract(epoch FROM clock_timestamp() - xact_start)::float8 AS in_transaction,
       extract(epoch FROM clock_timestamp() - query_start)::float8 AS since_query,
       extract(epoch FROM clock_timestamp() - state_change)::float8 AS in_state,
       pg_blocking_pids(pid) AS blocked_by
FROM pg_stat_activity WHERE pid = $1
"""

_MAY_NOT_SEE: Final = "<insufficient privilege>"

_FAILURES: Final = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
    asyncpg.InternalClientError,
    OSError,
    TimeoutError,
    ValueError,
)


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server connection of the pooler leads to, and who it belongs to."""

    host: str
    """A name, an address, or directories of unix sockets with commas between them."""
    port: int
    database: str
    user: str
    pid: int
    local_port: int | None = None
    """The pooler's end of the connection; None if it is a unix socket."""

    def __str__(self) -> str:
        return f"{self.host}:{self.port}/{self.database}"


@dataclass(frozen=True, slots=True)
class Backend:
    """A process of PostgreSQL. Times in seconds; None where PostgreSQL says nothing."""

    user: str | None
    application: str | None
    state: str | None
    wait: str | None
    """Type and name of what it waits for."""
    query: str | None
    """What it runs, or ran last; None if we may not see it."""
    connected: float | None
    in_transaction: float | None
    since_query: float | None
    in_state: float | None
    blocked_by: tuple[int, ...]
    """Processes that hold locks which it waits for."""
    other_port: bool
    """It is connected to another port than the pooler says: there is NAT, or it is another server."""


class BackendError(Exception):
    """PostgreSQL cannot be asked; the text says why. `final` if it is of no use to ask again by itself."""

    def __init__(self, message: str, *, final: bool) -> None:
        super().__init__(message)
        self.final = final


def address_of(server: Mapping[str, Any], databases: Table | None, target: Target) -> Address:
    """Where to ask about a row of SHOW SERVERS; `target` is where the pooler is.

    The addresses of the tables are those of the pooler's machine. Raises BackendError.
    """
    pid = server.get("remote_pid")
    if not pid:
        raise BackendError("The pooler does not know the process: it is still logging in.", final=True)
    name = str(server.get("database"))
    rows = [] if databases is None else [row for row in databases.dicts() if row.get("name") == name]
    database = rows[0] if rows else {}
    is_unix = str(server.get("addr", "")).startswith(("unix", "/"))
    return Address(
        host=_reachable(_host(server, database, is_unix), target),
        port=int(server.get("port") or database.get("port") or 5432),
        database=str(database.get("database") or name),
        user=str(server.get("user")),
        pid=int(pid),
        local_port=None if is_unix else server.get("local_port"),
    )


def _host(server: Mapping[str, Any], database: Mapping[str, Any], is_unix: bool) -> str:
    """As the pooler sees it. The name is better than the address where it is one: certificates have it."""
    named = str(database.get("host") or "")
    if is_unix:
        return named if named.startswith("/") else _SOCKET_DIRECTORIES
    return str(server["addr"]) if not named or "," in named else named


def _reachable(host: str, target: Target) -> str:
    pooler = target.host.split(",")[0]
    if _is_local(host) and not _is_local(pooler):
        return pooler
    return host


def _is_local(host: str) -> bool:
    if host.startswith("/") or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class BackendWatch:
    """Asks PostgreSQL about one server connection, over a connection that is kept between two looks.

    After a failure it does not connect again before some time has passed, and not at all when PostgreSQL does
    not let us in: `forgive` makes it try at once. It belongs to one event loop.
    """

    def __init__(
        self,
        address: Address,
        login: ServerLogin,
        environ: Mapping[str, str] = os.environ,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.address = address
        self._login = login
        self.user = login.user or environ.get("PGUSER") or address.user
        self._clock = clock
        self._connection: asyncpg.Connection[Any] | None = None
        self._failure: BackendError | None = None
        self._failures = 0
        self._retry_at = 0.0

    async def look(self) -> Backend | None:
        """The process as it is now; None when it has gone. Raises BackendError."""
        if self._failure is not None and (self._failure.final or self._clock() < self._retry_at):
            raise self._failure
        try:
            connection = await self._connected()
            async with asyncio.timeout(QUERY_SECONDS):
                row = await connection.fetchrow(_ACTIVITY, self.address.pid)
        except _FAILURES as error:
            raise self._failed(error) from None
        self._failure, self._failures = None, 0
        return None if row is None else _backend(row, self.address)

    def forgive(self) -> None:
        """Somebody may have changed what was wrong."""
        self._failure = None

    async def close(self) -> None:
        """Say good-bye. Raises nothing."""
        connection, self._connection = self._connection, None
        if connection is None:
            return
        try:
            await connection.close(timeout=QUERY_SECONDS)
        except _FAILURES:
            connection.terminate()

    async def _connected(self) -> asyncpg.Connection[Any]:
        if self._connection is not None and not self._connection.is_closed():
            return self._connection
        login, address = self._login, self.address
        options = {"sslmode": login.sslmode, "sslrootcert": login.sslrootcert}
        self._connection = await asyncpg.connect(
            dsn=f"postgresql://?{urlencode({name: value for name, value in options.items() if value})}",
            host=address.host.split(","),
            port=address.port,
            user=self.user,
            password=login.password,
            database=address.database,
            timeout=CONNECT_SECONDS,
            statement_cache_size=0,
            server_settings={
                "application_name": "pooldeck console",
                "default_transaction_read_only": "on",
                "statement_timeout": str(int(QUERY_SECONDS * 1000)),
            },
        )
        return self._connection

    def _failed(self, error: BaseException) -> BackendError:
        refused = self._connection is None and _is_refusal(error)
        if self._connection is not None:
            self._connection.terminate()
            self._connection = None
        self._failures += 1
        self._retry_at = self._clock() + delay(self._failures)
        self._failure = BackendError(self._words(error, refused), final=refused)
        return self._failure

    def _words(self, error: BaseException, refused: bool) -> str:
        if isinstance(error, TimeoutError):
            return f"{self.address} does not answer"
        text = str(error) or type(error).__name__
        if refused:
            return (
                f"{self.address} does not let {self.user} in: {text}. Say in the profile who may look,"
                " or put a password into ~/.pgpass."
            )
        return f"{self.address} cannot be asked: {text}"


def _is_refusal(error: BaseException) -> bool:
    """Of a login: whether it would be refused again. To go on trying could lock an account."""
    if isinstance(error, asyncpg.PostgresError):
        return str(getattr(error, "sqlstate", "")).startswith(("28", "3D", "42"))
    return isinstance(error, asyncpg.InterfaceError | ValueError)


def _backend(row: Mapping[str, Any], address: Address) -> Backend:
    wait = " ".join(part for part in (row["wait_event_type"], row["wait_event"]) if part)
    ports = (address.local_port, row["client_port"])
    return Backend(
        user=row["usename"],
        application=row["application_name"],
        state=row["state"],
        wait=wait or None,
        query=None if row["query"] == _MAY_NOT_SEE else row["query"],
        connected=row["connected"],
        in_transaction=row["in_transaction"],
        since_query=row["since_query"],
        in_state=row["in_state"],
        blocked_by=tuple(row["blocked_by"] or ()),
        other_port=None not in ports and ports[0] != ports[1],
    )


# Secrets ---------------------------------------------------------------------------------------------------

_TOKEN: Final = re.compile(
    r"""
      [eE]'(?:[^'\\]|\\.|'')*(?:'|\Z)
    | (?:[bBxXnN]|[uU]&)?'(?:[^']|'')*(?:'|\Z)
    | (?P<kept> "(?:[^"]|"")*" | --[^\n]* | /\*.*?(?:\*/|\Z) | \$\d+ | [^\W\d][\w$]* )
    | \$(?P<tag>\w*)\$ .*? (?:\$(?P=tag)\$|\Z)
    | (?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?\w*
    """,
    re.VERBOSE | re.DOTALL,
)


def masked(sql: str) -> str:
    """The query with `?` for each text and number, also for a text that is cut off at the end."""
    return _TOKEN.sub(lambda found: found[0] if found["kept"] is not None else "?", sql)
