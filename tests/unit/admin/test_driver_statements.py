"""What drivers and their pools send by themselves."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pooler.admin.commands import COMMANDS, FAKE_SETTINGS
from pooler.admin.conversation import SAVEPOINTS
from pooler.admin.driver_statements import RUNTIME_PARAMETERS, TEXT_LIMIT
from pooler.admin.formats import BOOL, TIMESTAMPTZ
from pooler.admin.tables import SHOW_TABLES
from pooler.config.settings import SETTINGS
from pooler.wire.messages import INT4, TEXT, query
from tests.unit.admin.fakes import FakeConsole, FakePooler, Reply, databases
from tests.unit.admin.wire import SYNC, bind, describe, execute, parse, refusals, run, status, talk

IGNORED: Reply = ("N", {"S": "NOTICE", "C": "00000", "M": "SET ignored"})


@pytest.fixture
def pooler() -> FakePooler:
    return FakePooler(databases(p0="host=h"))


@pytest.fixture
def console(pooler: FakePooler) -> FakeConsole:
    return pooler.console(is_admin=False)


def tagged(tag: str, state: str = "I") -> list[Reply]:
    return [("C", tag), ("Z", state)]


def failed(console: FakeConsole, sql: str) -> tuple[str, str, str]:
    """SQLSTATE and text of an error, and the state that the transaction is in then."""
    (kind, fields), (_, state) = console.ask(sql)
    assert kind == "E"
    return fields["C"], fields["M"], state


def value(console: FakeConsole, sql: str) -> tuple[list[tuple[str, int]], str]:
    """The columns, and the one value."""
    (_, columns), (_, (cell,)), _, _ = console.ask(sql)
    return columns, cell


# Transactions ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("begin", "tag"),
    [
        ("BEGIN", "BEGIN"),
        ("begin transaction;", "BEGIN"),
        ("BEGIN WORK", "BEGIN"),
        ("BEGIN TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY, NOT DEFERRABLE", "BEGIN"),
        ("BEGIN READ WRITE", "BEGIN"),
        ("START TRANSACTION ISOLATION LEVEL REPEATABLE READ", "START TRANSACTION"),
    ],
)
@pytest.mark.parametrize(
    ("end", "end_tag"),
    [
        ("COMMIT", "COMMIT"),
        ("COMMIT WORK", "COMMIT"),
        ("END", "COMMIT"),
        ("end transaction", "COMMIT"),
        ("ROLLBACK", "ROLLBACK"),
        ("ABORT", "ROLLBACK"),
        ("ROLLBACK TRANSACTION", "ROLLBACK"),
    ],
)
def test_a_transaction(begin: str, tag: str, end: str, end_tag: str, console: FakeConsole) -> None:
    assert console.ask(begin) == tagged(tag, "T")
    assert console.ask("SHOW STATE")[-1] == ("Z", "T")
    assert console.ask(end) == tagged(end_tag)


def test_a_transaction_that_failed_goes_no_further(console: FakeConsole) -> None:
    console.ask("BEGIN")
    assert failed(console, "NONSENSE") == ("08P01", "invalid command 'NONSENSE', use SHOW HELP;", "E")
    aborted = "current transaction is aborted, commands ignored until end of transaction block"
    for sql in ("SHOW STATE", "SELECT 1", "BEGIN", "SET search_path = x", "SAVEPOINT a"):
        assert failed(console, sql) == ("25P02", aborted, "E")
    answers = talk(console, parse("SHOW STATE"), SYNC)
    assert (refusals(answers), status(answers)) == ([("25P02", aborted)], "E")
    assert console.ask("COMMIT") == tagged("ROLLBACK")
    assert console.ask("SHOW STATE")[-1] == ("Z", "I")


def test_a_statement_prepared_before_the_failure_is_refused_too(console: FakeConsole) -> None:
    talk(console, parse("SHOW STATE", "s"), parse("ROLLBACK", "r"), run("BEGIN"), parse("NONSENSE"), SYNC)
    assert refusals(talk(console, bind(name="s"), SYNC))[0][0] == "25P02"
    assert status(talk(console, bind(name="r"), execute(), SYNC)) == "I"


def test_an_error_outside_of_a_transaction_fails_none(console: FakeConsole) -> None:
    assert failed(console, "NONSENSE")[2] == "I"


def test_transactions_that_are_open_already_or_not_at_all(console: FakeConsole) -> None:
    open_already = {"S": "WARNING", "C": "25001", "M": "there is already a transaction in progress"}
    none_open = {"S": "WARNING", "C": "25P01", "M": "there is no transaction in progress"}
    assert console.ask("COMMIT") == [("N", none_open), *tagged("COMMIT")]
    assert console.ask("ROLLBACK") == [("N", none_open), *tagged("ROLLBACK")]
    console.ask("BEGIN")
    assert console.ask("BEGIN") == [("N", open_already), *tagged("BEGIN", "T")]


def test_what_was_done_in_a_transaction_is_done(pooler: FakePooler) -> None:
    console = pooler.console()
    console.ask("BEGIN")
    assert console.ask("PAUSE p0") == tagged("PAUSE", "T")
    console.ask("ROLLBACK")
    assert pooler.is_paused("p0")


def test_savepoints(console: FakeConsole) -> None:
    outside = "can only be used in transaction blocks"
    assert failed(console, "SAVEPOINT a") == ("25P01", f"SAVEPOINT {outside}", "I")
    console.ask("BEGIN")
    assert console.ask('SAVEPOINT "a ""b"""') == tagged("SAVEPOINT", "T")
    console.ask("SAVEPOINT c")
    failed(console, "NONSENSE")
    assert console.ask('ROLLBACK TO SAVEPOINT "a ""b"""') == tagged("ROLLBACK", "T")
    assert failed(console, "RELEASE c") == ("3B001", 'savepoint "c" does not exist', "E")
    assert console.ask('ROLLBACK WORK TO "a ""b"""') == tagged("ROLLBACK", "T")
    assert console.ask('RELEASE SAVEPOINT "a ""b"""') == tagged("RELEASE", "T")
    assert failed(console, 'ROLLBACK TO "a ""b"""')[0] == "3B001"
    console.ask("ROLLBACK")


def test_savepoints_end_with_their_transaction(console: FakeConsole) -> None:
    console.ask("BEGIN; SAVEPOINT a; COMMIT; BEGIN")
    assert failed(console, "RELEASE a") == ("3B001", 'savepoint "a" does not exist', "E")


def test_so_many_savepoints_and_no_more(console: FakeConsole) -> None:
    console.ask("BEGIN")
    for _ in range(SAVEPOINTS):
        assert console.ask("SAVEPOINT a") == tagged("SAVEPOINT", "T")
    assert failed(console, "SAVEPOINT a") == ("54000", "too many savepoints", "E")


# Run-time parameters ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sql",
    [
        "SET extra_float_digits = 3",
        "SET application_name TO 'it''s'",
        "SET SESSION statement_timeout TO 0",
        'SET LOCAL search_path = a, b, "C"',
        "SET search_path TO DEFAULT",
        "SET datestyle TO ISO, MDY",
        "SET SESSION timezone TO 'UTC'",
        "SET TIME ZONE 'Europe/Vienna'",
        "SET NAMES 'UTF8'",
        "SET TRANSACTION ISOLATION LEVEL SERIALIZABLE",
        "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY",
        "SET SESSION AUTHORIZATION DEFAULT",
        "/* driver */ set\n extra_float_digits=-3 ; -- end",
    ],
)
def test_what_drivers_set_is_ignored(sql: str, console: FakeConsole, pooler: FakePooler) -> None:
    assert console.ask(sql) == [IGNORED, *tagged("SET")]
    assert pooler.settings_set == []


def test_settings_of_the_pooler_are_what_they_were(pooler: FakePooler) -> None:
    console = pooler.console()
    assert console.ask("SET stats_period = 5") == tagged("SET stats_period=5")
    assert pooler.settings_set == [("stats_period", "5")]
    for sql in (
        "SET LOCAL stats_period = 5",
        "SET stats_period = 5, 6",
        "SET SESSION nosuch = 1",
        "RESET stats_period",
    ):
        assert console.error(sql) == f"invalid command '{sql}', use SHOW HELP;"
    pooler.failure = KeyError("nosuch")
    assert console.error("SET nosuch = 1") == "SET failed"
    assert console.error("SET datestyle = '" + "x" * 300 + "'") == "bad arguments"


def test_no_name_has_two_meanings() -> None:
    ours = set(RUNTIME_PARAMETERS)
    assert not ours & (set(SETTINGS) | set(SHOW_TABLES) | set(FAKE_SETTINGS))


def test_show_of_run_time_parameters(console: FakeConsole) -> None:
    for name, text in RUNTIME_PARAMETERS.items():
        if name != "session_authorization":
            assert value(console, f"SHOW {name}") == ([(name, TEXT)], text)
    assert value(console, "SHOW server_version")[1] == "1.25.2/bouncer"
    assert value(console, "SHOW session_authorization")[1] == "stats"
    isolation = ([("transaction_isolation", TEXT)], "read committed")
    assert value(console, "SHOW TRANSACTION ISOLATION LEVEL") == isolation
    assert value(console, "SHOW TIME ZONE") == ([("timezone", TEXT)], "GMT")
    assert value(console, 'SHOW "search_path"')[1] == "public"


def test_show_application_name_is_the_clients(console: FakeConsole, pooler: FakePooler) -> None:
    parameters = pooler.registry.parameters
    position = parameters.position("application_name")
    assert position is not None
    console.client.params = parameters.with_value(console.client.params, position, "grafana")
    assert value(console, "SHOW application_name")[1] == "grafana"


@pytest.mark.parametrize(
    "sql", ["RESET ALL", "RESET datestyle", "reset Search_Path;", "RESET SESSION AUTHORIZATION"]
)
def test_reset(sql: str, console: FakeConsole) -> None:
    assert console.ask(sql) == tagged("RESET")


def test_set_config(console: FakeConsole) -> None:
    expected = [IGNORED, ("T", [("set_config", TEXT)]), ("D", ("off",)), *tagged("SELECT 1")]
    replies = console.ask("SELECT set_config('jit', 'off', false)")
    assert sorted(replies, key=str) == sorted(expected, key=str)
    sql = "SELECT set_config($1, $2, false)"
    answers = talk(console, parse(sql), describe("S"), bind([b"TimeZone", b"UTC"]), execute(), SYNC)
    assert [kind for kind, _ in answers] == list("1tT2NDCZ")
    answers = talk(console, parse(sql), bind([b"stats_period", b"1"]), execute(), SYNC)
    assert refusals(answers) == [("42704", 'unrecognized configuration parameter "stats_period"')]
    three = parse("SELECT set_config($1, $2, $3)")
    assert refusals(talk(console, three, bind([b"jit", b"off", b"t"]), execute(), SYNC)) == []


def test_the_simple_protocol_has_no_parameters(console: FakeConsole) -> None:
    sql = "SELECT set_config($1, $2, false)"
    assert failed(console, sql) == ("42P02", "there is no parameter $1", "I")


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT set_config($1, $3, false)",
        "SELECT set_config('jit', off, false)",
        "SELECT set_config('jit', 'off')",
        "SELECT set_config('jit', 'off', 1)",
    ],
)
def test_set_config_in_another_shape(sql: str, console: FakeConsole) -> None:
    assert failed(console, sql)[:2] == ("42883", "function set_config() does not exist")


# What a session has open -----------------------------------------------------------------------------


def test_discard_all_forgets_what_was_prepared(console: FakeConsole) -> None:
    talk(console, parse("SHOW STATE", "s"), SYNC)
    assert console.ask("DISCARD ALL") == tagged("DISCARD ALL")
    assert refusals(talk(console, bind(name="s"), SYNC))[0][0] == "26000"
    console.ask("BEGIN")
    refused = "DISCARD ALL cannot run inside a transaction block"
    assert failed(console, "DISCARD ALL") == ("25001", refused, "E")


@pytest.mark.parametrize(
    ("sql", "tag"),
    [
        ("DISCARD PLANS", "DISCARD PLANS"),
        ("DISCARD TEMPORARY", "DISCARD TEMP"),
        ("DEALLOCATE ALL", "DEALLOCATE ALL"),
        ("DEALLOCATE PREPARE ALL", "DEALLOCATE ALL"),
        ("CLOSE ALL", "CLOSE CURSOR ALL"),
        ("UNLISTEN *", "UNLISTEN"),
        ("unlisten news", "UNLISTEN"),
    ],
)
def test_tags(sql: str, tag: str, console: FakeConsole) -> None:
    assert console.ask(sql) == tagged(tag)


def test_deallocate(console: FakeConsole) -> None:
    talk(console, parse("SHOW STATE", "S 1"), parse("SHOW STATE", "t"), SYNC)
    assert console.ask('DEALLOCATE "S 1"') == tagged("DEALLOCATE")
    assert failed(console, 'DEALLOCATE "S 1"')[:2] == ("26000", 'prepared statement "S 1" does not exist')
    assert console.ask("DEALLOCATE ALL") == tagged("DEALLOCATE ALL")
    assert refusals(talk(console, bind(name="t"), SYNC))[0][0] == "26000"


def test_close(console: FakeConsole) -> None:
    talk(console, run("BEGIN"), parse("SHOW STATE"), bind(portal="p"), bind(portal="q"), SYNC)
    assert console.ask("CLOSE p") == tagged("CLOSE CURSOR", "T")
    assert console.ask("CLOSE ALL") == tagged("CLOSE CURSOR ALL", "T")
    assert failed(console, "CLOSE q")[:2] == ("34000", 'cursor "q" does not exist')


# Health checks, and several statements in one --------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "column", "found"),
    [
        ("SELECT 1", ("?column?", INT4), "1"),
        ("select 1;", ("?column?", INT4), "1"),
        ("SELECT 'x'", ("?column?", TEXT), "x"),
        ("SELECT true", ("bool", BOOL), "t"),
        ("select version()", ("version", TEXT), "PgBouncer 1.25.2"),
        ("select pg_catalog.version()", ("version", TEXT), "PgBouncer 1.25.2"),
        ("SELECT current_user", ("current_user", TEXT), "stats"),
        ("SELECT current_database()", ("current_database", TEXT), "pgbouncer"),
        ("SELECT CURRENT_SCHEMA()", ("current_schema", TEXT), "public"),
        ("SELECT pg_catalog.pg_is_in_recovery()", ("pg_is_in_recovery", BOOL), "f"),
        ("-- ping\nSELECT 1", ("?column?", INT4), "1"),
    ],
)
def test_health_checks(sql: str, column: tuple[str, int], found: str, console: FakeConsole) -> None:
    assert value(console, sql) == ([column], found)


def test_now_has_a_time_zone(console: FakeConsole) -> None:
    columns, text = value(console, "SELECT now()")
    assert columns == [("now", TIMESTAMPTZ)]
    assert text.endswith("+00")


def test_select_is_show_as_it_was(console: FakeConsole) -> None:
    assert value(console, "SELECT version") == ([("version", TEXT)], "PgBouncer 1.25.2")


RESET = "SELECT pg_advisory_unlock_all();\nCLOSE ALL;\nUNLISTEN *;\nRESET ALL;"


def test_the_reset_query_of_asyncpg(console: FakeConsole) -> None:
    head = [("T", [("pg_advisory_unlock_all", TEXT)]), ("D", ("",)), ("C", "SELECT 1")]
    assert console.ask(RESET) == [*head, ("C", "CLOSE CURSOR ALL"), ("C", "UNLISTEN"), *tagged("RESET")]
    console.ask("BEGIN")
    assert console.ask("ROLLBACK;\n" + RESET)[0] == ("C", "ROLLBACK")


def test_the_first_failure_ends_the_query(console: FakeConsole) -> None:
    replies = console.ask("BEGIN; SELECT 1; RELEASE a; COMMIT")
    assert [kind for kind, _ in replies] == list("CTDCEZ")
    assert replies[-1] == ("Z", "E")


def test_a_comment_alone_is_an_empty_query(console: FakeConsole) -> None:
    assert console.ask("-- ping") == [("I", ""), ("Z", "I")]


@pytest.mark.parametrize("sql", ["", ";", " ; ", "SHOW STATE; BEGIN", "BEGIN; SHOW STATE", "BEGIN; NONSENSE"])
def test_what_pgbouncer_refuses_stays_refused(sql: str, console: FakeConsole) -> None:
    assert console.error(sql) == f"invalid command '{sql}', use SHOW HELP;"


@pytest.mark.parametrize(
    "sql",
    [
        "BEGIN ISOLATION OF LEVEL",
        "START",
        "COMMIT AND CHAIN",
        "ROLLBACK TO",
        "ROLLBACK TO SAVEPOINT 'a'",
        "SAVEPOINT",
        "RELEASE a b",
        "SET search_path",
        "SET search_path = (1)",
        "SET search_path = $1",
        "RESET",
        "RESET nosuch",
        "SHOW nosuch",
        "DISCARD",
        "DEALLOCATE",
        "CLOSE",
        "UNLISTEN",
        'SHOW "open',
        "/* open",
        "BEGIN é",
        "SAVEPOINT é",
        "BEGIN /*" + "x" * TEXT_LIMIT + "*/",
    ],
)
def test_what_nobody_understands(sql: str, console: FakeConsole) -> None:
    assert failed(console, sql)[0] == "08P01"


OTHERS = {"BEGIN", "SET", "LOCAL", "jit", "=", "x", ",", ";", "ALL", "(", ")", "TO", "$1"}
WORDS = sorted(OTHERS.union(COMMANDS) - {"suspend", "shutdown"})


@given(st.text("begin; set='$1\"*/-") | st.lists(st.sampled_from(WORDS)).map(" ".join))
def test_any_text_is_understood_or_not(text: str) -> None:
    console = FakePooler(databases(p0="host=h")).console()
    console.send(query(text))
    assert console.replies()[-1][0] == "Z"
