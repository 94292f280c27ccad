"""SELECT over the SHOW tables, as a client of the simple protocol gets it."""

import subprocess
import sys
from datetime import datetime
from typing import Any

import pytest

from pooler.admin.commands import prepare
from pooler.admin.errors import AdminError
from pooler.admin.tables import SHOW_TABLES
from pooler.wire.messages import BOOL, INT4, INT8, NUMERIC, TEXT, TIMESTAMPTZ
from tests.unit.admin.fakes import FakeConsole, FakePooler, databases


@pytest.fixture
def pooler() -> FakePooler:
    """Three clients of p0, one of p1 that has a server."""
    pooler = FakePooler(databases(p0="host=h", p1="host=h"))
    for user in ("ann", "bob", "bob"):
        pooler.client("p0", user)
    pooler.busy_server("p1", "ann")
    return pooler


@pytest.fixture
def console(pooler: FakePooler) -> FakeConsole:
    return pooler.console()


def rows(console: FakeConsole, sql: str) -> list[tuple[str | None, ...]]:
    """Of a query that works."""
    replies = console.ask(sql)
    assert [kind for kind, _ in replies if kind == "E"] == [], replies
    return [body for kind, body in replies if kind == "D"]


def error(console: FakeConsole, sql: str) -> tuple[str, str]:
    """SQLSTATE and message of a query that fails; the connection goes on."""
    (kind, fields), ready = console.ask(sql)
    assert (kind, fields["S"], ready) == ("E", "ERROR", ("Z", "I"))
    return fields["C"], fields["M"]


# Results -------------------------------------------------------------------------------------------------


def test_a_select_answers_like_postgresql(console: FakeConsole) -> None:
    assert console.ask("SELECT user, count(*) FROM pgbouncer.clients GROUP BY user ORDER BY 2 DESC, 1") == [
        ("T", [("user", TEXT), ("count", INT8)]),
        ("D", ("ann", "2")),
        ("D", ("bob", "2")),
        ("D", ("admin", "1")),
        ("C", "SELECT 3"),
        ("Z", "I"),
    ]


@pytest.mark.parametrize("name", [name for name in SHOW_TABLES if name != "help"])
@pytest.mark.parametrize("schema", ["", "pgbouncer."])
def test_every_table_comes_as_show_has_it(name: str, schema: str, console: FakeConsole) -> None:
    console.ask("SHOW VERSION")  # from now on nothing is counted any more
    shown = console.ask(f"SHOW {name}")
    selected = console.ask(f"SELECT * FROM {schema}{name}")
    unlike = {"wait", "wait_us", "connect_time", "request_time"}
    names = [column for column, _ in shown[0][1]]
    assert selected[0] == shown[0]
    for left, right in zip(selected[1:-2], shown[1:-2], strict=True):
        pairs = zip(names, left[1], right[1], strict=True)
        assert [pair for pair in pairs if pair[0] not in unlike and pair[1] != pair[2]] == []


@pytest.mark.parametrize(
    ("sql", "value", "oid"),
    [
        ("1", "1", INT4),
        ("3000000000", "3000000000", INT8),
        ("1.50", "1.5", NUMERIC),
        ("0.0000001", "0.0000001", NUMERIC),
        ("'x'", "x", TEXT),
        ("$$it's$$", "it's", TEXT),
        ("null", None, TEXT),
        ("true", "t", BOOL),
        ("1 > 2", "f", BOOL),
        ("'a' like 'A'", "f", BOOL),
        ("'a_' like 'a\\_'", "t", BOOL),
        ("'Ab' ilike 'aB%'", "t", BOOL),
        ("2 = any(array[1,2])", "t", BOOL),
        ("null is distinct from 1", "t", BOOL),
        ("7/2", "3", INT8),
        ("-7/2", "-3", INT8),
        ("7/2.0", "3.5", NUMERIC),
        ("7::numeric/2", "3.5", NUMERIC),
        ("-7 % 4", "-3", INT8),
        ("round(2.5)", "3", NUMERIC),
        ("round(-1250, -2)", "-1300", NUMERIC),
        ("round(1.5::numeric, 2)", "1.50", NUMERIC),
        ("2.345::numeric(10,1)", "2.3", NUMERIC),
        ("'12'::int + 1", "13", INT8),
        ("2.5::int", "3", INT4),
        ("' 12 '::bigint", "12", INT8),
        ("'off'::bool", "f", BOOL),
        ("true::text", "true", TEXT),
        ("1.5::text || 'x'", "1.5x", TEXT),
        ("greatest(1, null, 3)", "3", INT4),
        ("least('b', 'a')", "a", TEXT),
        ("coalesce(null, 5)", "5", INT4),
        ("nullif(1, 1)", None, INT4),
        ("case when 1 = 2 then 'a' else 'b' end", "b", TEXT),
        ("ceil(1.2) + floor(-1.2)", "0", NUMERIC),
        ("trunc(1.57, 1)", "1.5", NUMERIC),
        ("abs(-3)", "3", INT4),
        ("length('abc')", "3", INT4),
        ("upper('a') || lower('B') || trim('  c ')", "Abc", TEXT),
        ("substring('abcd' from 2 for 2)", "bc", TEXT),
        ("left('abc', 2) || right('abc', 1)", "abc", TEXT),
        ("position('b' in 'abc')", "2", INT4),
        ("split_part('a.b.c', '.', 2)", "b", TEXT),
        ("replace('aXb', 'X', '-')", "a-b", TEXT),
        ("concat('a', null, 1)", "a1", TEXT),
        ("concat_ws('-', 1, null, 2)", "1-2", TEXT),
        ("lpad('7', 3, '0')", "007", TEXT),
        ("starts_with('abc', 'ab')", "t", BOOL),
        ("pg_size_pretty(123456789)", "118 MB", TEXT),
        ("current_database()", "pgbouncer", TEXT),
        ("current_user", "admin", TEXT),
        ("version()", "PgBouncer 1.25.2", TEXT),
        ("current_setting('max_client_conn')::int", "100", INT4),
        ("current_setting('nosuch')", None, TEXT),
        ("'2026-01-02 03:04:05 UTC'::timestamptz", "2026-01-02 03:04:05+00", TIMESTAMPTZ),
        ("'2026-01-02 03:04:05+02'::timestamptz + interval '1 hour'", "2026-01-02 02:04:05+00", TIMESTAMPTZ),
        ("extract(epoch from '1970-01-01 00:01:00 UTC'::timestamptz)", "60", NUMERIC),
        ("'2026-01-02 UTC'::timestamptz - '2026-01-01 UTC'::timestamptz", "1 day", TEXT),
        ("interval '90 seconds'", "00:01:30", TEXT),
        ("now() - now() < interval '1 s'", "t", BOOL),
        ("now() - '10 minutes' < now() - interval '9 minutes'", "t", BOOL),
        ("now() - now() + interval '2 hours' > '1 hour'", "t", BOOL),
        ("'2026-01-01 12:00:00 UTC'::timestamptz > '2026-01-01 13:00:00+05'", "t", BOOL),
        ("'2026-01-01 UTC'::timestamptz in ('2026-01-01 01:00:00+01')", "t", BOOL),
        ("'2026-01-01 UTC'::timestamptz between '2025-12-31 UTC' and '2026-01-01 UTC'", "t", BOOL),
        ("now() > null", None, BOOL),
        ("1 + 9 > '5'", "t", BOOL),
        ("(select count(*) from pools) > 2", "t", BOOL),
        ("exists(select 1 from clients where user = 'nobody')", "f", BOOL),
    ],
)
def test_expressions(sql: str, value: str | None, oid: int, console: FakeConsole) -> None:
    columns, row, *_ = console.ask(f"SELECT {sql} AS x")
    assert (columns, row) == (("T", [("x", oid)]), ("D", (value,)))


@pytest.mark.parametrize(
    ("sql", "names"),
    [
        ("1, 'a', 1 + 1, -cl_active", ["?column?"] * 4),
        ('pools.Database, cl_active AS Busy, sv_idle AS "Idle"', ["database", "busy", "Idle"]),
        ("count(*), coalesce(sum(cl_waiting), 0), max(maxwait)::text", ["count", "coalesce", "max"]),
        (
            "case when true then 1 end, '1'::int, now(), string_agg(user, ',')",
            ["case", "int", "now", "string_agg"],
        ),
    ],
)
def test_columns_are_named_as_postgresql_names_them(sql: str, names: list[str], console: FakeConsole) -> None:
    replies = console.ask(f"SELECT {sql} FROM pgbouncer.pools")
    assert [name for name, _ in replies[0][1]] == names


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("select c.user from clients c join servers s on s.ptr = c.link", [("ann",)]),
        ("select 1 from databases d where not exists (select 1 from pools p where p.database = d.name)", []),
        ("with pools as (select database from pgbouncer.pools) select count(*) from pools", [("4",)]),
        ("with recursive t(n) as (select 1 union all select n + 1 from t where n < 3) select * from t",
         [("1",), ("2",), ("3",)]),
        ("values (1, 'a'), (2, 'b')", [("1", "a"), ("2", "b")]),
        ("(select 1)", [("1",)]),
        ("-- a comment\n/* another */ select 1;", [("1",)]),
        ("select database from pools union select name from databases order by 1 limit 1", [("p0",)]),
        ("select distinct database from pools order by 1 desc limit 1 offset 1", [("p1",)]),
        ("select row_number() over (order by database, user) from pools fetch first 1 row only", [("1",)]),
        ("select sum(cl_active) filter (where database = 'p0') from pools", [("3",)]),
        ("select pool_mode from databases order by pool_mode limit 1", [("statement",)]),
        ("select pool_mode from databases order by pool_mode desc limit 1", [(None,)]),
        ("select pgbouncer.pools.database from pgbouncer.pools where pools.user = 'bob'", [("p0",)]),
        ('select key, "default" from config where key = \'pool_mode\'', [("pool_mode", "session")]),
    ],
)  # fmt: skip
def test_queries(sql: str, expected: list[tuple[str | None, ...]], console: FakeConsole) -> None:
    assert rows(console, sql) == expected


def test_numeric_columns_divide_as_numbers_with_a_fraction(pooler: FakePooler, console: FakeConsole) -> None:
    pool = next(pool for pool in pooler.registry.sorted_pools() if pool.database.name == "p0")
    pool.stats.query_count = 3
    sql = "SELECT total_query_count, total_query_count / 2 FROM stats WHERE database = 'p0'"
    assert rows(console, sql) == [("3", "1.5")]


def test_all_tables_of_a_query_are_of_one_instant(console: FakeConsole) -> None:
    sql = "SELECT count(DISTINCT x) FROM (SELECT now() AS x FROM clients UNION ALL SELECT now() FROM pools) s"
    assert rows(console, sql) == [("1",)]


def test_text_that_is_not_utf8_is_escaped(pooler: FakePooler, console: FakeConsole) -> None:
    pooler.client("p0", b"caf\xe9".decode("utf-8", "surrogateescape"))
    assert rows(console, "SELECT user FROM clients WHERE user LIKE 'caf%'") == [(r"caf\xe9",)]


# Errors --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "sqlstate", "message"),
    [
        ("select * from", "42601", 'syntax error at or near "from"'),
        ("select", "42601", "syntax error at end of input"),
        ("select 'abc", "42601", "unterminated quoted string or comment"),
        ("select 1; select 2", "42601", "only one statement at a time"),
        ("select * from nosuch", "42P01", 'relation "nosuch" does not exist'),
        ("select * from help", "42P01", 'relation "help" does not exist'),
        ("select * from pg_catalog.pg_class", "42P01", 'relation "pg_catalog.pg_class" does not exist'),
        ("select * from sqlite_master", "42P01", 'relation "sqlite_master" does not exist'),
        ("select nosuch from pools", "42703", 'column "nosuch" does not exist'),
        ('select "nosuch" from pools', "42703", 'column "nosuch" does not exist'),
        ("select database from pools, stats", "42702", 'column reference "database" is ambiguous'),
        ("select nosuch(1)", "42883", "function nosuch() does not exist"),
        ("select pg_sleep(1)", "42883", "function pg_sleep() does not exist"),
        ("select 1/0", "22012", "division by zero"),
        ("select 3000000000::int", "22003", "integer out of range"),
        ("select now() - 'soon'", "22007", 'invalid input syntax for type interval: "soon"'),
        ("select 'x'::int", "22P02", 'invalid input syntax for type integer: "x"'),
        ("select 1 from pools where count(*) > 1", "42803", "misuse of aggregate function COUNT()"),
        ("select $1", "08P01", "1 parameters needed, 0 given"),
        ("select database from pools where database ~ 'x'", "42883", "function regexp_like() does not exist"),
        ("select 'a'::regclass", "0A000", "type regclass is not supported in the admin database"),
        ("with d as (delete from pools) select 1", "0A000", "delete is not supported in the admin database"),
        ("select * into x from pools", "0A000", "into is not supported in the admin database"),
        ("select * from pools for update", "0A000", "lock is not supported in the admin database"),
        ("select * from f(1)", "0A000", "a function after FROM is not supported in the admin database"),
        ("select distinct on (user) 1", "0A000", "DISTINCT ON is not supported in the admin database"),
        ("select " + "(" * 5000, "54000", "query is too long"),
        ("select '" + "x" * 20_000 + "'", "54000", "query is too long"),
    ],
)  # fmt: skip
def test_errors(sql: str, sqlstate: str, message: str, console: FakeConsole) -> None:
    assert error(console, sql) == (sqlstate, message)


@pytest.mark.parametrize("table", [name for name, table in SHOW_TABLES.items() if table.admin_only])
def test_stats_users_do_not_read_what_is_for_admins(table: str, pooler: FakePooler) -> None:
    console = pooler.console(is_admin=False)
    assert error(console, f"SELECT 1 FROM pools, (SELECT * FROM {table}) x") == (
        "42501",
        "admin access needed",
    )
    assert error(console, f"SHOW {table} LIMIT 1") == ("42501", "admin access needed")
    assert rows(console, "SELECT count(*) FROM pools") == [("4",)]


@pytest.mark.parametrize(
    "sql", ["delete from pools", "insert into pools values (1)", "pragma x", "attach 'x' as y"]
)
def test_what_is_no_select_is_no_command(sql: str, console: FakeConsole) -> None:
    assert error(console, sql) == ("08P01", f"invalid command '{sql}', use SHOW HELP;")


# SHOW with a condition, and the old SELECT ---------------------------------------------------------------


def test_select_of_a_table_name_is_show(console: FakeConsole) -> None:
    assert console.ask("SELECT version") == console.ask("SHOW version")


@pytest.mark.parametrize(
    ("rest", "expected"),
    [
        ("WHERE user = 'bob'", [("bob",), ("bob",)]),
        ("where database = 'p0' order by user desc limit 1;", [("bob",)]),
        ("ORDER BY user LIMIT 1", [("admin",)]),
        ("LIMIT 0", []),
        ("\n\tlimit 1 offset 1", [("bob",)]),
    ],
)
def test_show_with_a_condition(rest: str, expected: list[tuple[str]], console: FakeConsole) -> None:
    replies = console.ask(f"SHOW CLIENTS {rest}")
    assert replies[0] == ("T", list(SHOW_TABLES["clients"].columns))
    assert [(body[1],) for kind, body in replies if kind == "D"] == expected
    assert replies[-2:] == [("C", "SHOW"), ("Z", "I")]


def test_show_of_something_else_has_no_condition(console: FakeConsole) -> None:
    assert console.error("SHOW x LIMIT 1") == "invalid command 'SHOW x LIMIT 1', use SHOW HELP;"
    assert console.error("SHOW HELP LIMIT 1") == "invalid command 'SHOW HELP LIMIT 1', use SHOW HELP;"


# KILL_CLIENTS --------------------------------------------------------------------------------------------


def test_kill_clients_closes_those_that_are_selected(pooler: FakePooler, console: FakeConsole) -> None:
    assert console.ask("KILL_CLIENTS WHERE database = 'p0' AND user = 'bob';") == [
        ("C", "KILL_CLIENTS 2"),
        ("Z", "I"),
    ]
    assert rows(console, "SELECT user FROM clients ORDER BY 1") == [("admin",), ("ann",), ("ann",)]
    assert "LOG KILL_CLIENTS WHERE database = 'p0' AND user = 'bob'; command issued" in pooler.log.lines


def test_kill_clients_spares_its_own_connection(pooler: FakePooler, console: FakeConsole) -> None:
    for _ in range(250):
        pooler.client("p0", "eve")
    other = pooler.console()
    assert console.ask("kill_clients where true") == [("C", "KILL_CLIENTS 255"), ("Z", "I")]
    assert other.client.closed
    assert not console.client.closed
    assert console.ask("kill_clients where true") == [("C", "KILL_CLIENTS 0"), ("Z", "I")]


def test_kill_clients_is_for_admins_and_needs_a_condition(pooler: FakePooler, console: FakeConsole) -> None:
    assert pooler.console(False).error("KILL_CLIENTS WHERE true") == "admin access needed"
    assert pooler.console(False).error("KILL_CLIENTS") == "admin access needed"
    assert console.error("KILL_CLIENTS") == "KILL_CLIENTS needs WHERE and a condition"
    assert error(console, "KILL_CLIENTS WHERE nosuch = 1") == ("42703", 'column "nosuch" does not exist')
    assert rows(console, "SELECT count(*) FROM clients WHERE database <> 'pgbouncer'") == [("4",)]


# What is prepared ----------------------------------------------------------------------------------------


def studied(pooler: FakePooler, console: FakeConsole, sql: str) -> Any:
    """What Describe would say."""
    prepared = prepare(sql)
    assert prepared.study is not None
    study = prepared.study(console.session)
    pooler.run()
    assert study.over()
    return prepared, study.outcome()


def answered(pooler: FakePooler, console: FakeConsole, prepared: Any, *values: object) -> Any:
    """What Execute would say."""
    wait = prepared.run(console.session, values)
    pooler.run()
    assert wait.over()
    return wait.outcome()


def test_parameters_have_the_type_of_what_they_meet(pooler: FakePooler, console: FakeConsole) -> None:
    sql = (
        "SELECT user FROM clients WHERE user = $1 AND id > $2 AND $3::numeric < 2.5 AND $4 LIKE 'x' LIMIT $5"
    )
    prepared, described = studied(pooler, console, sql)
    assert described.parameters == (TEXT, INT8, NUMERIC, TEXT, INT8)
    assert described.columns == [("user", TEXT)]
    result = answered(pooler, console, prepared, "bob", "0", "1.5", "x", 1)
    assert (result.tag, result.columns, result.rows) == ("SELECT 1", [("user", TEXT)], [("bob",)])
    with pytest.raises(AdminError, match="invalid input syntax for type integer"):
        answered(pooler, console, prepared, "bob", "y", "1", "x", 1)


def test_parameters_may_stand_without_blanks_between_them(pooler: FakePooler, console: FakeConsole) -> None:
    prepared, described = studied(pooler, console, "SELECT id FROM clients WHERE user IN ($1,$2)AND 2>$3")
    assert described.parameters == (TEXT, TEXT, INT8)
    assert len(answered(pooler, console, prepared, "ann", "nobody", "1").rows) == 2


def test_a_parameter_that_meets_a_timestamp_is_one(pooler: FakePooler, console: FakeConsole) -> None:
    sql = "SELECT '2026-01-01 12:00 UTC'::timestamptz > $1, '2026-01-02 UTC'::timestamptz - $2"
    prepared, described = studied(pooler, console, sql)
    assert described.parameters == (TIMESTAMPTZ, TEXT)
    when = datetime.fromisoformat("2026-01-01 13:00+05:00")
    result = answered(pooler, console, prepared, when, "90 minutes")
    assert result.rows == [("t", "2026-01-01 22:30:00+00")]


def test_described_columns_do_not_change(pooler: FakePooler, console: FakeConsole) -> None:
    prepared, described = studied(pooler, console, "VALUES (1)")
    assert described.columns == [("column1", TEXT)]
    assert answered(pooler, console, prepared).columns == [("column1", TEXT)]
    assert console.ask("VALUES (1)")[0] == ("T", [("column1", INT8)])


def test_study_raises_what_is_wrong(pooler: FakePooler, console: FakeConsole) -> None:
    with pytest.raises(AdminError, match='column "nosuch" does not exist'):
        studied(pooler, console, "SELECT nosuch FROM pools")
    prepared, described = studied(pooler, console, "SELECT 1/0")
    assert described.columns == [("?column?", INT8)]
    with pytest.raises(AdminError, match="division by zero"):
        answered(pooler, console, prepared)


def test_study_of_kill_clients_kills_nobody(pooler: FakePooler, console: FakeConsole) -> None:
    prepared, described = studied(pooler, console, "KILL_CLIENTS WHERE user = $1")
    assert (described.columns, described.parameters) == (None, (TEXT,))
    assert len(rows(console, "SELECT * FROM clients")) == 5
    assert answered(pooler, console, prepared, "bob").tag == "KILL_CLIENTS 2"


# What it costs who does not use it -----------------------------------------------------------------------


def test_nothing_of_it_is_loaded_before_the_first_query() -> None:
    program = "import sys, pooler.service.main; print({'sqlglot', 'sqlite3'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
