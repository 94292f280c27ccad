"""Every command of the console, side by side with a real PgBouncer: tags, columns, types and errors."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any, TypeAlias

import pytest

from cli.demo.postgres import TemporaryPostgres
from tests.conftest import PgBouncerFactory, PoolerFactory
from tests.support.bouncer import ADMIN, BouncerProcess
from tests.support.rawclient import RawClient, error_fields, message

Answer: TypeAlias = list[tuple[Any, ...]]

DATABASE = "postgres"
LONG = "a" * 64

SHOWS = [
    *("CONFIG", "DATABASES", "POOLS", "CLIENTS", "SERVERS", "USERS", "VERSION", "PEERS", "PEER_POOLS", "FDS"),
    *("SOCKETS", "ACTIVE_SOCKETS", "LISTS", "MEM", "STATE", "DNS_HOSTS", "DNS_ZONES", "STATS"),
    *("STATS_TOTALS", "STATS_AVERAGES", "TOTALS"),
]
DRIVERS = [
    *("client_encoding", "default_transaction_isolation", "standard_conforming_strings", "datestyle"),
    "timezone",
]

COMMANDS = [
    *(f"SHOW {table}" for table in SHOWS),
    *(f"show {name}" for name in DRIVERS),
    *(f"SET {name} = 'x'" for name in DRIVERS),
    *("SELECT POOLS", "select stats;", '"SHOW" "Pools" ;', " \t\r\nshow\tpools\n;\n", "SHOW HELP"),
    # No command, or not in this form.
    *("", ";", " ", "x", "SHOW", 'SHOW ""', "SHOW x", "SHOW ALL"),
    *("SHOW POOLS x", "SHOW POOLS;;", "SHOW POOLS; SHOW POOLS"),
    *("SHOW 'POOLS'", 'SHOW "POOLS', "SHOW POOLS --", "SUSPEND x", "SHUTDOWN x", "SHUTDOWN WAIT", "SAVE"),
    *("PAUSE 'x'", "PAUSE x-y", "RELOAD x", "RELOAD DRY", "CANCEL_CLIENT_X 1", "PAUSE nowhere TIMEOUT"),
    *("SHOW p\xf6\xf6ls", "KILL_CLIENT", "KILL_CLIENT x", "KILL_CLIENT 99999", 'KILL_CLIENT "-1"'),
    *(LONG[:16], f"SHOW {LONG}", f"PAUSE {LONG}", f'PAUSE "{LONG[2:]}"', f"SET {LONG} = 1", 'SET "" = 1'),
    *(f"SET x = {LONG * 4}", f"SET x = '{LONG * 4}'", f"x {LONG * 40}"),
    # SET
    *("SET", "SET x", "SET x =", "SET x y", "SET x = y z", "SET = 1", "SET x = 'it's'", "SET 'x' = 1"),
    *("SET no_such_setting = 1", "SET default_pool_size = many", "SET pool_mode = sometimes"),
    *("SET stats_period = 61", "set stats_period to 62;", "SET stats_period='63'", 'SET stats_period = "64"'),
    *("SET STATS_PERIOD = 65", "SET server_reset_query = 'SELECT ''x'''", "SET stats_period="),
    *("SET verbose=0", "SET log_connections = on", "SET query_wait_timeout = 1.5"),
    *("SET query_wait_timeout = '1s'", "SET server_reset_query = ''"),
    # Databases
    *(f"{verb} {name}" for verb in ("PAUSE", "RESUME", "RECONNECT", "KILL", "DISABLE", "ENABLE", "WAIT_CLOSE")
      for name in ("nowhere", "pgbouncer", '"*"')),
    *("DISABLE", "ENABLE", f"RESUME {DATABASE}", "RESUME", 'PAUSE ""', 'DISABLE ""'),
    *(f"PAUSE {DATABASE}", f"PAUSE {DATABASE}", "SUSPEND", f"RESUME {DATABASE};"),
    *("PAUSE", "PAUSE", f"PAUSE {DATABASE}", "SUSPEND", f"KILL {DATABASE}", "RESUME"),
    *("SUSPEND", "PAUSE", "SUSPEND", "RESUME"),
    *(f"DISABLE {DATABASE}", f"DISABLE {DATABASE}", f"ENABLE {DATABASE}", f"ENABLE {DATABASE}"),
    *("RECONNECT", f"RECONNECT {DATABASE}", "WAIT_CLOSE", f"WAIT_CLOSE {DATABASE}"),
    *(f"KILL {DATABASE}", "RESUME", f"RESUME {DATABASE}", "KILL", f"RESUME {DATABASE}"),
    *("RELOAD", "reload;", "SHOW STATE"),
]  # fmt: skip

STATS_COMMANDS = [
    *(f"SHOW {table}" for table in SHOWS),
    *("SET client_encoding = 'x'", "SET stats_period = 1", "SET nosuch = 1", "SHOW x", "nosuch"),
    *("PAUSE", "PAUSE nowhere", "RESUME", "RELOAD", "SUSPEND", "KILL", f"KILL {DATABASE}", "RECONNECT"),
    *("DISABLE", f"DISABLE {DATABASE}", f"ENABLE {DATABASE}", "WAIT_CLOSE", "SHUTDOWN", "KILL_CLIENT 1"),
    *("SHUTDOWN WAIT_FOR_SERVERS", "SHUTDOWN WAIT_FOR_CLIENTS", "RELOAD x"),
]

OUR_OWN = [
    *("RELOAD DRY RUN", "SAVE CONFIG", "SHOW CONFIG_DIFF", "SHOW AUDIT", "SHOW LOGINS", "SHOW CERTIFICATES"),
    *(f"PAUSE {DATABASE} TIMEOUT 5", "PAUSE nowhere TIMEOUT 1", "CANCEL_CLIENT 1"),
    *("SELECT * FROM pools", "SHOW POOLS WHERE database = 'x'", "KILL_CLIENTS WHERE id = 0"),
    # What drivers send by themselves.
    *("BEGIN", "COMMIT", "SELECT 1", "SHOW server_version"),
]

# What Debian's PgBouncer 1.18 has not, or not yet in this way.
LATER_COMMANDS = [
    *("SHOW PEERS", "SHOW PEER_POOLS", "SHOW STATE", "KILL_CLIENT", "KILL", "ENABLE"),
    *("SHUTDOWN WAIT_FOR_SERVERS", "SHUTDOWN WAIT_FOR_CLIENTS"),
]
OTHER_TEXTS = {
    ("KILL", "a database is required"),
    ("ENABLE", "cannot disable admin db: pgbouncer"),
}
RENAMED = {"reserve_pool": "reserve_pool_size"}
LATER_COLUMNS = {
    *("server_lifetime", "load_balance_hosts", "max_client_connections", "current_client_connections"),
    *("replication", "prepared_statements", "id", "pool_size", "reserve_pool_size", "max_user_connections"),
    *("current_connections", "max_user_client_connections", "scram_client_key", "scram_server_key"),
    *(f"{prefix}{counter}" for prefix in ("", "total_", "avg_") for counter in (
        "server_assignment_count", "client_parse_count", "server_parse_count", "bind_count",
        "client_login_count",
    )),
}  # fmt: skip


def _decoded(kind: str, body: bytes) -> tuple[Any, ...]:
    if kind in "EN":
        fields = error_fields(body)
        return kind, fields["S"], fields["C"], fields["M"]
    if kind == "T":
        return kind, tuple(_columns(body))
    return kind, body.rstrip(b"\0").decode()


def _columns(body: bytes) -> Iterator[tuple[str, int]]:
    at = 2
    while at < len(body):
        end = body.index(b"\0", at)
        yield body[at:end].decode(), int.from_bytes(body[end + 7 : end + 11], "big")
        at = end + 19


def _ask(console: RawClient, sql: str) -> Answer:
    """What is answered, without rows."""
    console.send(message("Q", sql.encode() + b"\0"))
    return [_decoded(kind, body) for kind, body in console.read_until("Z") if kind != "D"]


def _both(
    pooler: PoolerFactory, pgbouncer: PgBouncerFactory, address: str, **settings: object
) -> list[BouncerProcess]:
    """Ours and a real one, with the same configuration."""
    options: dict[str, Any] = {"settings": settings, "userlist": {"stats": "x"}}
    databases = {DATABASE: address}
    return [pooler(databases, **options), pgbouncer(databases, **options)]


def _console(stack: ExitStack, process: BouncerProcess, user: str = ADMIN) -> RawClient:
    console = stack.enter_context(RawClient(process.host, process.port))
    console.startup(user, "pgbouncer")
    return console


def _expected(ours: Answer, real: Answer) -> Answer:
    """What ours has to be, given the real one, which is excused by name for columns that it lacks."""
    if real[0][0] == "T" and ours[0][0] == "T":
        there = [(RENAMED.get(name, name), oid) for name, oid in real[0][1]]
        known = {name for name, _ in there}
        assert [column for column in ours[0][1] if column[0] not in LATER_COLUMNS - known] == there
        return [ours[0], *real[1:]]
    return real


@pytest.fixture
def address(postgres: TemporaryPostgres) -> str:
    """Where the database is."""
    return f"host=127.0.0.1 port={postgres.port}"


def _lacks(sql: str, real: Answer) -> bool:
    """Whether this release of PgBouncer does not know the command, or knows it otherwise."""
    known = sql.strip(" ;").upper()
    later = [name for name in LATER_COMMANDS if known == name or known.startswith(f"{name} ")]
    return (
        bool(later)
        and real[0][0] == "E"
        and (
            real[0][3] == f"invalid command '{sql}', use SHOW HELP;" or (later[0], real[0][3]) in OTHER_TEXTS
        )
    )


def test_every_command_is_answered_alike(
    pooler: PoolerFactory, pgbouncer: PgBouncerFactory, address: str
) -> None:
    with ExitStack() as stack:
        ours, real = (_console(stack, process) for process in _both(pooler, pgbouncer, address))
        for sql in COMMANDS:
            answer, model = _ask(ours, sql), _ask(real, sql)
            if not _lacks(sql, model):
                assert answer == _expected(answer, model), sql


def test_stats_users_are_refused_alike(
    pooler: PoolerFactory, pgbouncer: PgBouncerFactory, address: str
) -> None:
    with ExitStack() as stack:
        both = _both(pooler, pgbouncer, address, stats_users="stats")
        ours, real = (_console(stack, process, "stats") for process in both)
        for sql in STATS_COMMANDS:
            answer, model = _ask(ours, sql), _ask(real, sql)
            if not _lacks(sql, model):
                assert answer == _expected(answer, model), sql


def test_reload_fails_alike(pooler: PoolerFactory, pgbouncer: PgBouncerFactory, address: str) -> None:
    with ExitStack() as stack:
        both = _both(pooler, pgbouncer, address)
        ours, real = (_console(stack, process) for process in both)
        for process in both:
            process.configure(no_such_setting=1)
        answer, model = _ask(ours, "RELOAD"), _ask(real, "RELOAD")
        failure = ("E", "ERROR", "F0000", "RELOAD failed, see logs for additional details")
        assert answer == [failure, ("Z", "I")]
        # 1.18 has it in its log alone.
        assert model in (answer, [("C", "RELOAD"), ("Z", "I")])


def test_a_client_is_killed_alike(pooler: PoolerFactory, pgbouncer: PgBouncerFactory, address: str) -> None:
    answers = []
    for process in _both(pooler, pgbouncer, address):
        with process.connect(DATABASE), process.connect("pgbouncer", user=ADMIN) as console:
            (row,) = [row for row in console.execute("SHOW CLIENTS") if row["database"] == DATABASE]
            if "id" not in row:
                return  # 1.18 has neither ids nor KILL_CLIENT
            answers.append(console.execute(f"KILL_CLIENT {row['id']}".encode()).statusmessage)
    assert answers == ["KILL_CLIENT", "KILL_CLIENT"]


@pytest.mark.parametrize("sql", ["PAUSE", f"PAUSE {DATABASE}", "WAIT_CLOSE", f"WAIT_CLOSE {DATABASE}"])
def test_what_waits_answers_alike(
    pooler: PoolerFactory, pgbouncer: PgBouncerFactory, address: str, sql: str
) -> None:
    answers = []
    with ExitStack() as stack:
        for process in _both(pooler, pgbouncer, address, pool_mode="transaction"):
            console = _console(stack, process)
            with process.connect(DATABASE) as busy:
                busy.execute("BEGIN")
                busy.execute("SELECT 1")
                _ask(console, f"RECONNECT {DATABASE}")
                console.send(message("Q", f"{sql}\0".encode()))
                process.wait_for_log(sql.split()[0] + " ")
                busy.execute("COMMIT")
                answers.append([_decoded(*part) for part in console.read_until("Z")])
    assert answers[0] == answers[1] == [("C", sql.split()[0]), ("Z", "I")]


@pytest.mark.parametrize("sql", ["SHUTDOWN WAIT_FOR_SERVERS", "SHUTDOWN WAIT_FOR_CLIENTS", "SHUTDOWN"])
def test_shutdown_answers_alike(
    pooler: PoolerFactory, pgbouncer: PgBouncerFactory, address: str, sql: str
) -> None:
    answers: list[object] = []
    with ExitStack() as stack:
        for process in _both(pooler, pgbouncer, address):
            console = _console(stack, process)
            console.send(message("Q", f"{sql}\0".encode()))
            if sql == "SHUTDOWN":
                answers.append(console.expect_close())
                assert process.wait() == 0
            else:
                answers.append([_decoded(*part) for part in console.read_until("Z")])
    if not _lacks(sql, answers[1] if isinstance(answers[1], list) else [("",)]):
        assert answers[0] == answers[1]


def test_what_ours_does_otherwise(pooler: PoolerFactory, pgbouncer: PgBouncerFactory, address: str) -> None:
    """Each of these is in the documentation, among the differences."""
    with ExitStack() as stack:
        ours, real = (_console(stack, process) for process in _both(pooler, pgbouncer, address))
        assert _ask(real, "SET listen_port = 1")[0] == ("C", "SET listen_port=1")
        assert _ask(ours, "SET listen_port = 1")[0] == ("E", "ERROR", "08P01", "SET failed")
        for sql in OUR_OWN:
            assert _ask(real, sql)[0] == ("E", "ERROR", "08P01", f"invalid command '{sql}', use SHOW HELP;")
            assert "invalid command" not in str(_ask(ours, sql))


def test_help_of_pgbouncer_is_part_of_ours(
    pooler: PoolerFactory, pgbouncer: PgBouncerFactory, address: str
) -> None:
    with ExitStack() as stack:
        lines = []
        for process in _both(pooler, pgbouncer, address):
            console = _console(stack, process)
            console.send(message("Q", b"SHOW HELP\0"))
            (notice,) = [body for kind, body in console.read_until("Z") if kind == "N"]
            lines.append({word for line in error_fields(notice)["D"].split() for word in line.split("|")})
    assert lines[1] - lines[0] <= {"key=arg", "[db]"}
