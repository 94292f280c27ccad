"""Unsafe use in transaction mode: SHOW UNSAFE, and what each `transaction_mode_guard` does about it."""

from __future__ import annotations

import psycopg
import pytest

from tests.conftest import PoolerFactory
from tests.integration.clients import DATABASE, Connection, backend_pid, value
from tests.support.bouncer import USER, PoolerProcess
from tests.support.rawclient import RawClient, error_fields, message

ONE_SERVER = {"pool_mode": "transaction", "default_pool_size": 1}

UNSAFE = {
    "SET": "SET work_mem = '3MB'",
    "LISTEN": "LISTEN news",
    "PREPARE": "PREPARE left_over AS SELECT 1",
    "advisory lock": "SELECT pg_advisory_lock(4711)",
    "temporary table": "CREATE TEMP TABLE left_over (n int)",
    "WITH HOLD cursor": "DECLARE left_over CURSOR WITH HOLD FOR SELECT 1",
}

SAFE = (
    "SET application_name = 'nightly'",
    "SET client_encoding = 'UTF8'",
    "SET TIME ZONE 'UTC'",
    "SET DateStyle = 'ISO, DMY'",
    "SET standard_conforming_strings = on",
    "SET IntervalStyle = 'postgres'",
    "SET LOCAL work_mem = '3MB'",
    "BEGIN; SET LOCAL work_mem = '3MB'; COMMIT",
    "SELECT pg_advisory_xact_lock(1)",
    "DEALLOCATE ALL",
)


def guarded(pooler: PoolerFactory, guard: str, **settings: object) -> PoolerProcess:
    return pooler(settings={**ONE_SERVER, "transaction_mode_guard": guard, **settings})


def unsafe(process: PoolerProcess) -> dict[str, int]:
    """Count by kind, of the clients of one user."""
    rows = process.admin("SHOW UNSAFE")
    assert all((row["database"], row["user"]) == (DATABASE, USER) for row in rows)
    return {row["kind"]: row["count"] for row in rows}


def run(client: Connection, sql: str) -> None:
    client.execute(sql.encode())


def extended(sql: str, name: str = "") -> bytes:
    """Parse, Bind, Execute and Sync."""
    named = name.encode() + b"\0"
    return (
        message("P", named + sql.encode() + b"\0\0\0")
        + message("B", b"\0" + named + b"\0\0\0\0\0\0")
        + message("E", b"\0\0\0\0\0")
        + message("S")
    )


def raw(process: PoolerProcess) -> RawClient:
    client = RawClient(process.host, process.port)
    client.startup(USER, DATABASE)
    return client


def kinds(messages: list[tuple[str, bytes]]) -> str:
    return "".join(kind for kind, _ in messages if kind not in "SN")


@pytest.mark.parametrize("kind", UNSAFE)
def test_what_is_counted_and_logged_once(kind: str, pooler: PoolerFactory) -> None:
    process = guarded(pooler, "warn")
    with process.connect(DATABASE, application_name="careless") as client:
        run(client, UNSAFE[kind])
        if kind == "PREPARE":
            run(client, "DEALLOCATE left_over")
        elif kind == "temporary table":
            run(client, "DROP TABLE left_over")
        elif kind == "WITH HOLD cursor":
            run(client, "CLOSE left_over")
        run(client, UNSAFE[kind])
        counts = unsafe(process)
        assert counts.pop("DEALLOCATE", 1) == 1
        assert counts == {kind: 2}
        row = next(row for row in process.admin("SHOW UNSAFE") if row["kind"] == kind)
        (number,) = [row["id"] for row in process.admin("SHOW CLIENTS") if row["database"] == DATABASE]
        assert (row["application_name"], row["last_client_id"]) == ("careless", number)
    text = f"unsafe in transaction pooling mode: {kind} (transaction_mode_guard)"
    assert process.log_text().count(text) == 1


def test_safe_statements_are_not_counted(pooler: PoolerFactory) -> None:
    process = guarded(pooler, "warn")
    with process.connect(DATABASE) as client:
        for sql in SAFE:
            run(client, sql)
    with raw(process) as client:
        for sql in SAFE[:2]:
            client.send(extended(sql))
            assert kinds(client.read_until("Z")) == "12CZ"
    assert unsafe(process) == {}


def test_what_only_the_tag_shows(pooler: PoolerFactory) -> None:
    process = guarded(pooler, "warn", max_prepared_statements=0)
    with process.connect(DATABASE) as client:
        run(client, "SELECT 1; LISTEN news; SET work_mem = '3MB'")
        run(client, "SET application_name = 'x'; SET work_mem = '3MB'")
    assert unsafe(process) == {"LISTEN": 1, "SET": 2}


def test_off_and_session_mode_do_not_look(pooler: PoolerFactory) -> None:
    for process in (guarded(pooler, "off"), guarded(pooler, "warn", pool_mode="session")):
        with process.connect(DATABASE) as client:
            run(client, UNSAFE["SET"])
        assert process.admin("SHOW UNSAFE") == []
        assert "unsafe" not in process.log_text()


def test_setting_can_be_changed_at_run_time(pooler: PoolerFactory) -> None:
    process = guarded(pooler, "off")
    with process.connect(DATABASE) as client:
        run(client, UNSAFE["SET"])
        process.admin("SET transaction_mode_guard = 'error'")
        with pytest.raises(psycopg.errors.FeatureNotSupported):
            run(client, UNSAFE["SET"])


# reset -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sql", [UNSAFE["SET"], f"SELECT 1; {UNSAFE['SET']}", f"BEGIN; {UNSAFE['SET']}; COMMIT"]
)
def test_reset_cleans_the_server_for_the_next_client(sql: str, pooler: PoolerFactory) -> None:
    process = guarded(pooler, "reset")
    with process.connect(DATABASE) as careless, process.connect(DATABASE) as other:
        pid = backend_pid(other)
        run(careless, sql)
        assert value(other, "SHOW work_mem") == "4MB"
        assert backend_pid(other) == pid


def test_reset_keeps_named_statements_of_the_pooler_right(pooler: PoolerFactory) -> None:
    process = guarded(pooler, "reset", max_prepared_statements=10)
    with raw(process) as client:
        for _ in range(2):
            client.send(extended("SELECT 'named'", "s") if _ == 0 else bind_named("s"))
            assert client.read_until("Z")[-1] == ("Z", b"I")
            assert kinds(client.query("LISTEN news")) == "CZ"


def bind_named(name: str) -> bytes:
    named = name.encode() + b"\0"
    return message("B", b"\0" + named + b"\0\0\0\0\0\0") + message("E", b"\0\0\0\0\0") + message("S")


def test_reset_lets_go_of_locks(pooler: PoolerFactory) -> None:
    process = guarded(pooler, "reset")
    with process.connect(DATABASE) as client:
        run(client, UNSAFE["advisory lock"])
        assert value(client, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 0


# error -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", UNSAFE)
def test_error_refuses(kind: str, pooler: PoolerFactory) -> None:
    process = guarded(pooler, "error")
    named = "SET work_mem" if kind == "SET" else kind
    text = f"{named} is not allowed in transaction pooling mode (transaction_mode_guard)"
    with process.connect(DATABASE) as client:
        with pytest.raises(psycopg.errors.FeatureNotSupported) as refused:
            run(client, UNSAFE[kind])
        assert refused.value.diag.message_primary == text
        assert value(client, "SELECT 'goes on'") == "goes on"
    assert unsafe(process) == {kind: 1}
    (error,) = process.admin("SHOW ERRORS")
    assert (error["source"], error["code"], error["last_message"]) == ("pooler", "0A000", text)


def test_error_leaves_safe_statements_alone(pooler: PoolerFactory) -> None:
    process = guarded(pooler, "error")
    with process.connect(DATABASE) as client:
        for sql in SAFE:
            run(client, sql)
    assert unsafe(process) == {}


def test_refused_in_a_transaction_the_transaction_fails(pooler: PoolerFactory) -> None:
    process = guarded(pooler, "error")
    with raw(process) as client:
        assert client.query("BEGIN")[-1] == ("Z", b"T")
        answers = client.query("LISTEN news")
        assert (kinds(answers), answers[-1]) == ("EZ", ("Z", b"E"))
        assert error_fields(answers[0][1])["C"] == "0A000"
        assert error_fields(client.query("SELECT 1")[0][1])["C"] == "25P02"
        # Also in a transaction that has failed.
        assert error_fields(client.query("LISTEN news")[0][1])["C"] == "0A000"
        assert client.query("ROLLBACK")[-1] == ("Z", b"I")
        assert kinds(client.query("SELECT 1")) == "TDCZ"


@pytest.mark.parametrize("size", [1, 7, 100_000])
@pytest.mark.parametrize("name", ["", "named"])
def test_refused_in_a_pipeline_in_its_turn(name: str, size: int, pooler: PoolerFactory) -> None:
    process = guarded(pooler, "error", max_prepared_statements=10)
    query = message("Q", b"SELECT 'simple'\0")
    data = (
        extended("SELECT 'before'")
        + extended("LISTEN news", name)
        + query
        + message("Q", b"LISTEN news\0")
        + extended("SELECT 'after'", name)
    )
    with raw(process) as client:
        for start in range(0, len(data), size):
            client.send(data[start : start + size])
        answers = [client.read_until("Z") for _ in range(5)]
    assert [kinds(answer) for answer in answers] == ["12DCZ", "EZ", "TDCZ", "EZ", "12DCZ"]
    assert {answer[-1] for answer in answers} == {("Z", b"I")}
    for answer in (answers[1], answers[3]):
        assert error_fields(answer[0][1])["C"] == "0A000"
    assert b"after" in answers[4][2][1]


def test_what_follows_a_refused_statement_is_skipped_up_to_sync(pooler: PoolerFactory) -> None:
    process = guarded(pooler, "error")
    with raw(process) as client:
        client.send(
            extended("SELECT 1").removesuffix(message("S")) + extended("LISTEN x") + extended("SELECT 2")
        )
        assert kinds(client.read_until("Z")) == "12DCEZ"
        assert kinds(client.read_until("Z")) == "12DCZ"
        # Nothing may come behind the error before Sync, not even an answer to a simple Query.
        client.send(message("P", b"\0LISTEN x\0\0\0") + message("H"))
        assert error_fields(client.read_until("E")[-1][1])["C"] == "0A000"
        client.send(message("Q", b"LISTEN x\0") + message("P", b"\0LISTEN x\0\0\0") + message("S"))
        assert kinds(client.read_until("Z")) == "Z"
        assert kinds(client.query("SELECT 1")) == "TDCZ"


def test_a_long_statement_is_refused_before_any_of_it_is_sent(pooler: PoolerFactory) -> None:
    process = guarded(pooler, "error")
    sql = "CREATE TEMP TABLE x (n int) --" + "x" * 50_000
    with raw(process) as client:
        assert kinds(client.query(sql)) == "EZ"
        client.send(extended(sql))
        assert kinds(client.read_until("Z")) == "EZ"
        assert kinds(client.query("SELECT to_regclass('x') IS NULL")) == "TDCZ"
    longer = "LISTEN news --" + "x" * 300_000
    with raw(process) as client:
        assert kinds(client.query(longer)) == "EZ"
        client.send(extended(longer, "named"))
        assert kinds(client.read_until("Z")) == "EZ"
        assert kinds(client.query("SELECT 1")) == "TDCZ"


def test_what_error_does_not_see_is_cleaned(pooler: PoolerFactory) -> None:
    process = guarded(pooler, "error")
    with process.connect(DATABASE) as careless, process.connect(DATABASE) as other:
        run(careless, "SELECT 1; SET work_mem = '3MB'")
        assert value(other, "SHOW work_mem") == "4MB"
