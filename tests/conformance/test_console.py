"""Console: replies, errors and columns are those of a real PgBouncer, of whatever version is installed."""

from __future__ import annotations

from typing import Any

import pytest

from tests.conformance.conftest import Pair
from tests.support.bouncer import ADMIN, BouncerProcess
from tests.support.rawclient import RawClient, error_fields

# Each is answered with an error, and leaves everything as it was.
MISTAKES = [
    "NONSENSE",
    "SHOW",
    "SHOW NONSENSE",
    "SHOW POOLS STATS",
    "SHOW POOLS; SHOW STATS",
    "",
    ";",
    "'SHOW POOLS'",
    "PAUSE unknown",
    "RESUME unknown",
    "RESUME",
    "RESUME postgres",
    "KILL unknown",
    "DISABLE",
    "DISABLE unknown",
    "ENABLE",
    "ENABLE unknown",
    "RECONNECT unknown",
    "WAIT_CLOSE unknown",
    "PAUSE pgbouncer",
    "KILL pgbouncer",
    "DISABLE pgbouncer",
    "RECONNECT pgbouncer",
    "WAIT_CLOSE pgbouncer",
    "SHUTDOWN NOW",
    "SET no_such_setting = 1",
    "SET default_pool_size = many",
    "SET log_connections = on",
    "SET pool_mode = sometimes",
    "SET default_pool_size",
    "SET = 1",
    "RELOAD now",
    "SUSPEND postgres",
    "SHOW " + "x" * 100,
    "X" * 30,
    "SET job_name = '" + "x" * 300 + "'",
]

# Each works, and leaves everything as it was once the next ones have run.
COMMANDS = [
    "SHOW VERSION",
    "show version;",
    "\n SHOW\tVERSION ;\n",
    'SHOW "version"',
    "SHOW client_encoding",
    "SHOW standard_conforming_strings",
    "SHOW datestyle",
    "SHOW timezone",
    "SHOW default_transaction_isolation",
    "SELECT version",
    "SHOW HELP",
    "RECONNECT",
    "RECONNECT postgres",
    "WAIT_CLOSE",
    "WAIT_CLOSE postgres",
    "DISABLE postgres",
    "ENABLE postgres",
    "PAUSE",
    "RESUME",
    "PAUSE postgres",
    "RESUME postgres",
    "SUSPEND",
    "RESUME",
    "RELOAD",
    "SET verbose = 0",
    "SET verbose to 0;",
    "SET server_reset_query = 'SELECT ''x'''",
    "SET client_encoding = 'UTF8'",
    "SET datestyle TO iso",
    "RELOAD",
]

# Compared by name: versions differ in which columns they have, not in how they order them.
TABLES = [
    "VERSION", "CONFIG", "DATABASES", "POOLS", "CLIENTS", "SERVERS", "USERS", "LISTS", "MEM", "SOCKETS",
    "ACTIVE_SOCKETS", "FDS", "STATS", "STATS_TOTALS", "STATS_AVERAGES", "TOTALS", "DNS_HOSTS", "DNS_ZONES",
]  # fmt: skip

RENAMED = {"DATABASES": {"reserve_pool"}}
"""Columns that have another name since."""


def _ask(process: BouncerProcess, sql: str, user: str = ADMIN) -> list[tuple[str, Any]]:
    """The reply to a query: kinds, tags, rows, and of errors and notices what _comparable leaves."""
    with RawClient(process.host, process.port) as console:
        console.startup(user, "pgbouncer")
        return [_comparable(kind, body) for kind, body in console.query(sql)]


def _comparable(kind: str, body: bytes) -> tuple[str, Any]:
    """A message without details: ours say more than PgBouncer's, and SHOW HELP grows with every version."""
    if kind in "EN":
        fields = error_fields(body)
        return kind, (fields["S"], fields["C"], fields["M"])
    return kind, body


def _columns(process: BouncerProcess, table: str, user: str = ADMIN) -> list[str]:
    with process.connect("pgbouncer", user=user) as console:
        description = console.execute(f"SHOW {table}".encode()).description or []
        return [column.name for column in description]


@pytest.mark.parametrize("sql", MISTAKES)
def test_mistake_is_answered_alike(pair: Pair, sql: str) -> None:
    theirs = _ask(pair.theirs, sql)
    assert theirs[0][0] == "E"
    assert _ask(pair.ours, sql) == theirs


def test_commands_are_answered_alike(pair: Pair) -> None:
    # In one session: SUSPEND ends with the admin that gave it.
    answers = []
    for process in (pair.ours, pair.theirs):
        with (
            RawClient(process.host, process.port) as client,
            RawClient(process.host, process.port) as console,
        ):
            client.startup("postgres", "postgres")
            client.query("SELECT 1")
            console.startup(ADMIN, "pgbouncer")
            replies = [[_comparable(*part) for part in console.query(sql)] for sql in COMMANDS]
            # A version is what two programs differ in.
            answers.append([[part for part in reply if not _is_version(part)] for reply in replies])
    for sql, ours, theirs in zip(COMMANDS, *answers, strict=True):
        assert "E" not in [kind for kind, _ in theirs], sql
        assert ours == theirs, sql


def _is_version(part: tuple[str, Any]) -> bool:
    return part[0] == "D" and b"PgBouncer" in part[1]


@pytest.mark.parametrize("table", TABLES)
def test_columns_stand_in_the_same_order(pair: Pair, table: str) -> None:
    renamed = RENAMED.get(table, set())
    theirs = [name for name in _columns(pair.theirs, table) if name not in renamed]
    ours = [name for name in _columns(pair.ours, table) if name in theirs]
    assert ours == theirs


@pytest.mark.parametrize("table", ["CONFIG", "LISTS", "MEM", "TOTALS"])
def test_rows_of_a_fixed_table_stand_in_the_same_order(pair: Pair, table: str) -> None:
    ours, theirs = ([next(iter(row.values())) for row in process.admin(f"SHOW {table}")] for process in pair)
    common = [name for name in theirs if name in ours]
    assert [name for name in ours if name in theirs] == common
    assert len(common) > len(theirs) / 2


@pytest.mark.parametrize(
    "sql", ["PAUSE", "RESUME", "RELOAD", "SUSPEND", "SHUTDOWN", "KILL postgres", "DISABLE postgres",
            "ENABLE postgres", "RECONNECT", "WAIT_CLOSE", "SET verbose = 1", "SHOW FDS"]
)  # fmt: skip
def test_stats_user_is_refused_alike(pair: Pair, sql: str) -> None:
    theirs = _ask(pair.theirs, sql, "watcher")
    assert theirs[0][0] == "E"
    assert _ask(pair.ours, sql, "watcher") == theirs
