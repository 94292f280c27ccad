"""Which statements leave something behind, told from what they begin with."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pooler.wire.heads import (
    ADVISORY_LOCK,
    DEALLOCATE,
    HOLD,
    LISTEN,
    NOTHING,
    PREPARE,
    SET,
    TEMPORARY,
    find_head,
    tag_tells,
    use_of,
    use_of_tag,
)
from pooler.wire.messages import message

UNSAFE = [
    (SET, "search_path", "SET search_path = x"),
    (SET, "search_path", 'set Session "search_path" to x'),
    (SET, "my.own", "SET my.own = 1"),
    (SET, "role", "SET ROLE bob"),
    (SET, "session", "SET SESSION AUTHORIZATION bob"),
    (SET, "session", "SET SESSION CHARACTERISTICS AS TRANSACTION READ ONLY"),
    (SET, "timezone", "SET TIME ZONE 'UTC'"),
    (SET, "client_encoding", "SET NAMES 'utf8'"),
    (SET, "", "SET LOCAL work_mem = 1"),
    (SET, "", "SET TRANSACTION READ ONLY"),
    (SET, "localized", "SET localized = 1"),
    (LISTEN, "", "LISTEN x"),
    (PREPARE, "", "PREPARE x AS SELECT 1"),
    (DEALLOCATE, "", "DEALLOCATE x"),
    (DEALLOCATE, "", "deallocate prepare x"),
    (ADVISORY_LOCK, "", "SELECT pg_advisory_lock(1)"),
    (ADVISORY_LOCK, "", "SELECT pg_try_advisory_lock (1)"),
    (ADVISORY_LOCK, "", "select PG_CATALOG.PG_ADVISORY_LOCK_SHARED(1)"),
    (ADVISORY_LOCK, "", "SELECT pg_sleep(1), pg_advisory_lock(1)"),
    (TEMPORARY, "", "CREATE TEMP TABLE x ()"),
    (TEMPORARY, "", "create local temporary table x ()"),
    (TEMPORARY, "", "CREATE TEMP SEQUENCE x"),
    (HOLD, "", "DECLARE x CURSOR WITH HOLD FOR SELECT 1"),
]

SAFE = [
    "",
    ";",
    "S",
    "SELECT 1",
    "SELECT pg_advisory_xact_lock(1)",
    "SELECT pg_try_advisory_xact_lock(1)",
    "SELECT pg_backend_pid(), 'advisory_lock'",
    "SELECT pg",
    "SELECT",
    "SELECT setting FROM settings",
    "SET CONSTRAINTS ALL DEFERRED",
    "LOCK x",
    "PREPARE TRANSACTION 'x'",
    "DEALLOCATE ALL",
    "DEALLOCATE PREPARE ALL",
    "DELETE FROM x",
    "DECLARE x CURSOR FOR SELECT 1",
    "CREATE TABLE temp_x ()",
    "CREATE TEMP VIEW x AS SELECT 1",
    "UNLISTEN *",
    "-- SET x = 1",
    "/* SET x = 1 */",
    "/* SET x = 1",
]


def used(sql: str) -> tuple[int, str]:
    """By way of both looks, in the middle of other bytes."""
    data = b"SET before = 1;" + sql.encode() + b"\0SET after = 1"
    start = len(b"SET before = 1;")
    end = start + len(sql.encode()) + 1
    head = find_head(data, start, end)
    return (NOTHING, "") if head < 0 else use_of(data[head:end])


@pytest.mark.parametrize("before", ["", " \t\r\n;", "-- why\n", "/* SELECT 1; */ ", "-- a\n/* b */\n"])
@pytest.mark.parametrize(("kind", "parameter", "sql"), UNSAFE)
def test_unsafe(kind: int, parameter: str, sql: str, before: str) -> None:
    assert used(before + sql) == (kind, parameter)


@pytest.mark.parametrize("sql", SAFE)
def test_safe(sql: str) -> None:
    assert used(sql) == (NOTHING, "")


@given(st.binary(max_size=60), st.integers(0, 60), st.integers(0, 60))
def test_any_bytes_can_be_looked_at(data: bytes, start: int, end: int) -> None:
    end = min(end, len(data))
    head = find_head(data, min(start, end), end)
    assert head == -1 or min(start, end) <= head < end
    use_of(data)


@pytest.mark.parametrize(
    ("tag", "kind"),
    [("SET", SET), ("LISTEN", LISTEN), ("PREPARE", PREPARE), ("DEALLOCATE", DEALLOCATE)],
)
def test_tags(tag: str, kind: int) -> None:
    data = message(b"C", tag.encode() + b"\0")
    assert tag_tells(data, 0, len(data) - 1)
    assert use_of_tag(data[5:]) == kind


@pytest.mark.parametrize("tag", ["SELECT 1", "COMMIT", "INSERT 0 1", "DROP TABLE", "DEALLOCATE ALL", "BEGIN"])
def test_other_tags(tag: str) -> None:
    data = message(b"C", tag.encode() + b"\0")
    assert use_of_tag(data[5:]) == NOTHING
    assert tag == "DROP TABLE" or not tag_tells(data, 0, len(data) - 1)
