"""What the tests of behaviour share: waiting for an event, work beside the test, a look at the pooler."""

from __future__ import annotations

import os
import socket
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Generic, TypeAlias, TypeVar

import psycopg

from cli.demo.pg_programs import wheel_environment
from cli.demo.postgres import TemporaryPostgres
from tests.support.bouncer import USER, BouncerProcess

Connection: TypeAlias = psycopg.Connection[dict[str, Any]]
Result = TypeVar("Result")

DATABASE = "postgres"
WAIT_SECONDS = 10.0


def wait_until(condition: Callable[[], object], what: str, seconds: float = WAIT_SECONDS) -> None:
    """Return as soon as `condition` holds. Raises AssertionError, saying what did not happen."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.02)


class Background(threading.Thread, Generic[Result]):
    """Runs `work` beside the test, from now on."""

    def __init__(self, work: Callable[[], Result]) -> None:
        super().__init__(daemon=True)
        self._work = work
        self._value: Result | None = None
        self._error: BaseException | None = None
        self.start()

    def run(self) -> None:
        try:
            self._value = self._work()
        except BaseException as error:
            self._error = error

    def result(self, timeout: float = WAIT_SECONDS) -> Result:
        """What `work` returned; raises what it raised, or TimeoutError."""
        self.join(timeout)
        if self.is_alive():
            raise TimeoutError(f"still at work after {timeout} s")
        if self._error is not None:
            raise self._error
        return self._value  # type: ignore[return-value]


def value(connection: Connection, sql: str) -> Any:
    """The one value that a query returns."""
    (row,) = connection.execute(sql.encode()).fetchall()
    (found,) = row.values()
    return found


def backend_pid(connection: Connection) -> int:
    """The process of PostgreSQL that the connection's queries run in at the moment."""
    return int(value(connection, "SELECT pg_backend_pid()"))


def pool_row(pooler: BouncerProcess, database: str = DATABASE, user: str = USER) -> dict[str, Any]:
    """The row of SHOW POOLS for one pool; empty while there is no such pool."""
    rows = pooler.admin("SHOW POOLS")
    return next((row for row in rows if (row["database"], row["user"]) == (database, user)), {})


def wait_for_pool(
    pooler: BouncerProcess, database: str = DATABASE, user: str = USER, **counters: int
) -> None:
    """Return as soon as SHOW POOLS has these numbers for a pool."""

    def reached() -> bool:
        row = pool_row(pooler, database, user)
        return bool(row) and all(row[name] == count for name, count in counters.items())

    wait_until(reached, f"{counters} in the pool of {user} in {database}")


def wait_for_client(pooler: BouncerProcess, connection: Connection, state: str) -> None:
    """Return as soon as SHOW CLIENTS has this connection in that state."""
    port = client_port(connection)

    def reached() -> bool:
        return any(row["state"] == state for row in pooler.admin("SHOW CLIENTS") if row["port"] == port)

    wait_until(reached, f"client {port} is {state}")


def client_port(connection: Connection) -> int:
    """The port that a TCP client has on its own side, as SHOW CLIENTS names it."""
    with socket.socket(fileno=os.dup(connection.fileno())) as duplicate:
        port: int = duplicate.getsockname()[1]
        return port


def run_program(
    postgres: TemporaryPostgres, name: str, *arguments: str | Path, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """Run a client program of PostgreSQL to its end."""
    return subprocess.run(
        [str(postgres.bin(name)), *map(str, arguments)],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        timeout=50,
        env=program_environment(),
    )


def program_environment() -> dict[str, str]:
    """Ours without libpq's variables, which would lead the programs elsewhere."""
    ours = {name: text for name, text in os.environ.items() if not name.startswith("PG")}
    return {**ours, **wheel_environment(), "LC_ALL": "C"}
