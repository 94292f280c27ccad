"""psycopg through the pooler in transaction mode, and what it needs session mode for."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import psycopg
import pytest

from tests.conftest import PoolerFactory
from tests.integration.clients import DATABASE, Background, backend_pid, wait_for_pool, wait_until
from tests.support.bouncer import USER, PoolerProcess
from tests.support.postgres import TemporaryPostgres

Rows = psycopg.Connection[tuple[Any, ...]]

COPY_ROWS = 50_000


@pytest.fixture
def process(pooler: PoolerFactory) -> PoolerProcess:
    """Transaction mode, two servers."""
    return pooler(settings={"pool_mode": "transaction", "default_pool_size": 2})


@pytest.fixture
def connection(process: PoolerProcess) -> Iterator[Rows]:
    """As applications open it, but that nothing is prepared by itself."""
    with psycopg.connect(process.dsn(DATABASE), prepare_threshold=None) as found:
        yield found


@pytest.fixture
def table(postgres: TemporaryPostgres) -> str:
    """An empty table."""
    postgres.sql("DROP TABLE IF EXISTS things; CREATE TABLE things (n int PRIMARY KEY, text text)")
    return "things"


def _count(connection: Rows) -> int:
    row = connection.execute("SELECT count(*) FROM things").fetchone()
    assert row is not None
    return int(row[0])


def _in_transaction(connection: Rows, *statements: str) -> None:
    with connection.transaction():
        for statement in statements:
            connection.execute(statement.encode())


def test_transaction_is_kept_or_undone_as_a_whole(connection: Rows, table: str) -> None:
    connection.execute("INSERT INTO things VALUES (1, 'kept')")
    connection.commit()
    connection.execute("INSERT INTO things VALUES (2, 'undone')")
    connection.rollback()
    assert connection.execute("SELECT text FROM things").fetchall() == [("kept",)]


def test_savepoint_undoes_only_what_came_after_it(connection: Rows, table: str) -> None:
    with connection.transaction():
        connection.execute("INSERT INTO things VALUES (1, 'outer')")
        with pytest.raises(psycopg.errors.UniqueViolation):
            _in_transaction(
                connection, "INSERT INTO things VALUES (2, 'inner')", "INSERT INTO things VALUES (1, 'twice')"
            )
    assert connection.execute("SELECT n FROM things").fetchall() == [(1,)]


def test_failed_transaction_refuses_queries_until_rollback(connection: Rows) -> None:
    with pytest.raises(psycopg.errors.DivisionByZero):
        connection.execute("SELECT 1/0")
    with pytest.raises(psycopg.errors.InFailedSqlTransaction):
        connection.execute("SELECT 1")
    connection.rollback()
    assert connection.execute("SELECT 1").fetchone() == (1,)


@pytest.mark.parametrize("binary", [False, True])
def test_copy_brings_many_rows_in_and_out(connection: Rows, table: str, binary: bool) -> None:
    form = "(FORMAT binary)" if binary else ""
    rows = [(n, "ä" * (n % 50)) for n in range(COPY_ROWS)]
    with connection.cursor() as cursor:
        with cursor.copy(f"COPY things FROM STDIN {form}".encode()) as copy:
            copy.set_types(["int4", "text"])
            for row in rows:
                copy.write_row(row)
        assert cursor.rowcount == COPY_ROWS
        with cursor.copy(f"COPY (TABLE things ORDER BY n) TO STDOUT {form}".encode()) as copy:
            copy.set_types(["int4", "text"])
            assert list(copy.rows()) == rows


def test_copy_that_the_client_gives_up_inserts_nothing(connection: Rows, table: str) -> None:
    def give_up() -> None:
        with connection.cursor() as cursor, cursor.copy("COPY things FROM STDIN") as copy:
            copy.write_row((1, "one"))
            raise RuntimeError("changed my mind")

    with pytest.raises(RuntimeError, match="changed my mind"):
        give_up()
    connection.rollback()
    assert _count(connection) == 0


def test_copy_that_the_server_refuses_leaves_the_connection_usable(connection: Rows, table: str) -> None:
    def copy_in() -> None:
        with connection.cursor() as cursor, cursor.copy("COPY things FROM STDIN") as copy:
            copy.write(b"not a number\tx\n")
            for n in range(COPY_ROWS):
                copy.write_row((n, "late"))

    with pytest.raises(psycopg.errors.InvalidTextRepresentation):
        copy_in()
    connection.rollback()
    assert _count(connection) == 0


def test_client_that_leaves_in_a_copy_out_frees_its_place(process: PoolerProcess) -> None:
    for _ in range(3):
        leaver = psycopg.connect(process.dsn(DATABASE), prepare_threshold=None)
        with (
            leaver.cursor() as cursor,
            cursor.copy("COPY (SELECT generate_series(1, 100000)) TO STDOUT") as copy,
        ):
            assert copy.read_row() == ("1",)
            leaver.close()
    wait_for_pool(process, cl_active=0, sv_active=0)
    with psycopg.connect(process.dsn(DATABASE), prepare_threshold=None) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_pipeline_brings_all_answers_in_order(connection: Rows) -> None:
    with connection.pipeline():
        cursors = [connection.execute("SELECT %s::int", [n]) for n in range(200)]
        assert [cursor.fetchone() for cursor in cursors] == [(n,) for n in range(200)]


def test_error_in_a_pipeline_ends_it_up_to_the_next_sync(connection: Rows, table: str) -> None:
    connection.autocommit = True

    def fail_in_the_middle() -> None:
        with connection.pipeline():
            connection.execute("INSERT INTO things VALUES (1, 'before')")
            connection.execute("SELECT 1/0")
            connection.execute("INSERT INTO things VALUES (2, 'skipped')")

    with pytest.raises(psycopg.errors.DivisionByZero):
        fail_in_the_middle()
    with connection.pipeline():
        connection.execute("INSERT INTO things VALUES (3, 'after')")
    assert connection.execute("SELECT n FROM things ORDER BY n").fetchall() == [(3,)]


def test_pipelined_transactions_are_kept(connection: Rows, table: str) -> None:
    connection.autocommit = True
    with connection.pipeline() as pipeline:
        for n in range(30):
            with connection.transaction():
                connection.execute("INSERT INTO things VALUES (%s, 'x')", [n])
            pipeline.sync()
    assert _count(connection) == 30


def test_server_side_cursor_lives_as_long_as_its_transaction(connection: Rows) -> None:
    with connection.transaction(), connection.cursor(name="numbers") as cursor:
        cursor.itersize = 100
        cursor.execute("SELECT generate_series(1, 1000)")
        assert [row[0] for row in cursor] == list(range(1, 1001))


def test_notices_reach_the_client_that_caused_them(process: PoolerProcess, connection: Rows) -> None:
    heard: list[tuple[str | None, str | None]] = []
    connection.add_notice_handler(lambda notice: heard.append((notice.severity, notice.message_primary)))
    with psycopg.connect(process.dsn(DATABASE), prepare_threshold=None) as other:
        other.add_notice_handler(lambda notice: heard.append(("other", notice.message_primary)))
        connection.execute("DO $$ BEGIN RAISE NOTICE 'first'; RAISE WARNING 'second'; END $$")
        other.execute("SELECT 1")
    assert heard == [("NOTICE", "first"), ("WARNING", "second")]


def test_executemany_inserts_every_row_and_returns_every_result(connection: Rows, table: str) -> None:
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO things VALUES (%s, %s) RETURNING n",
            [(n, str(n)) for n in range(100)],
            returning=True,
        )
        returned = [result.fetchone() for result in cursor.results()]
    assert returned == [(n,) for n in range(100)]
    assert _count(connection) == 100


def test_stream_brings_rows_one_by_one(connection: Rows) -> None:
    with connection.cursor() as cursor:
        assert sum(row[0] for row in cursor.stream("SELECT generate_series(1, 2000)")) == 2001000


def test_values_of_megabytes_pass_both_ways(connection: Rows) -> None:
    text = "0123456789" * 500_000
    row = connection.execute("SELECT %s::text, length(%s)", [text, text]).fetchone()
    assert row == (text, len(text))


def test_cancel_stops_the_query_and_keeps_the_connection(
    postgres: TemporaryPostgres, connection: Rows
) -> None:
    sleeper = Background(lambda: connection.execute("SELECT pg_sleep(60)"))
    activity = "SELECT 1 FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(60)' AND state = 'active'"
    wait_until(lambda: postgres.sql(activity), "the query runs")
    connection.cancel_safe()
    with pytest.raises(psycopg.errors.QueryCanceled):
        sleeper.result()
    connection.rollback()
    assert connection.execute("SELECT 42").fetchone() == (42,)


def test_threads_each_get_their_own_answers(process: PoolerProcess) -> None:
    def ask(name: str) -> bool:
        with psycopg.connect(process.dsn(DATABASE), prepare_threshold=None, autocommit=True) as connection:
            return all(
                connection.execute("SELECT %s", [f"{name}-{n}"]).fetchone() == (f"{name}-{n}",)
                for n in range(100)
            )

    workers = [Background(partial(ask, f"worker{n}")) for n in range(8)]
    assert all(worker.result(30) for worker in workers)
    wait_for_pool(process, cl_active=0, sv_active=0)


async def test_asynchronous_connection_works_too(process: PoolerProcess) -> None:
    async with await psycopg.AsyncConnection.connect(
        process.dsn(DATABASE), prepare_threshold=None
    ) as connection:
        cursor = await connection.execute("SELECT %s::int + 1", [41])
        assert await cursor.fetchone() == (42,)


def test_connection_lost_in_a_transaction_undoes_it(process: PoolerProcess, table: str) -> None:
    lost = psycopg.connect(process.dsn(DATABASE), prepare_threshold=None)
    lost.execute("INSERT INTO things VALUES (1, 'lost')")
    lost.close()
    with psycopg.connect(process.dsn(DATABASE), prepare_threshold=None) as connection:
        wait_until(lambda: _count(connection) == 0, "the row is gone")


def test_named_prepared_statements_last_in_session_mode(pooler: PoolerFactory) -> None:
    process = pooler(settings={"pool_mode": "session", "default_pool_size": 2})
    with (
        psycopg.connect(process.dsn(DATABASE), prepare_threshold=0) as one,
        psycopg.connect(process.dsn(DATABASE), prepare_threshold=0) as two,
    ):
        for n in range(5):
            assert one.execute("SELECT %s::int", [n]).fetchone() == (n,)
            assert two.execute("SELECT %s::int * 2", [n]).fetchone() == (2 * n,)
        names = one.execute("SELECT count(*) FROM pg_prepared_statements").fetchone()
        assert names == (2,)


def test_temporary_tables_and_settings_last_in_session_mode(pooler: PoolerFactory) -> None:
    process = pooler(settings={"pool_mode": "session", "default_pool_size": 2})
    with process.connect(DATABASE, user=USER) as one, process.connect(DATABASE) as two:
        one.execute("CREATE TEMP TABLE mine (n int)")
        one.execute("SET work_mem = '3MB'")
        assert backend_pid(two) != backend_pid(one)
        assert one.execute("SELECT count(*) AS n FROM mine").fetchall() == [{"n": 0}]
        assert one.execute("SHOW work_mem").fetchall() == [{"work_mem": "3MB"}]
