"""asyncpg through the pooler: without a statement cache in transaction mode, as it comes in session mode."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
import pytest_asyncio

from tests.conftest import PoolerFactory
from tests.integration.clients import DATABASE
from tests.support.bouncer import PoolerProcess
from tests.support.postgres import TemporaryPostgres

COPY_ROWS = 20_000


@pytest.fixture
def process(pooler: PoolerFactory) -> PoolerProcess:
    """Transaction mode, three servers."""
    return pooler(settings={"pool_mode": "transaction", "default_pool_size": 3})


@pytest.fixture
def session_process(pooler: PoolerFactory) -> PoolerProcess:
    """Session mode, three servers."""
    return pooler(settings={"pool_mode": "session", "default_pool_size": 3})


@pytest_asyncio.fixture
async def connection(process: PoolerProcess) -> AsyncIterator[Any]:
    """In transaction mode, without a statement cache."""
    found = await asyncpg.connect(process.dsn(DATABASE), statement_cache_size=0)
    yield found
    await found.close()


@pytest_asyncio.fixture
async def session(session_process: PoolerProcess) -> AsyncIterator[Any]:
    """In session mode, as asyncpg connects by default."""
    found = await asyncpg.connect(session_process.dsn(DATABASE))
    yield found
    await found.close()


@pytest.fixture
def table(postgres: TemporaryPostgres) -> str:
    """An empty table."""
    postgres.sql("DROP TABLE IF EXISTS items; CREATE TABLE items (n int PRIMARY KEY, text text)")
    return "items"


async def _in_transaction(connection: Any, *statements: str) -> None:
    async with connection.transaction():
        for statement in statements:
            await connection.execute(statement)


async def test_queries_with_arguments_are_answered(connection: Any) -> None:
    assert await connection.fetchval("SELECT $1::int + 1", 41) == 42
    rows = await connection.fetch("SELECT n, n::text FROM generate_series(1, $1::int) n", 500)
    assert [tuple(row) for row in rows] == [(n, str(n)) for n in range(1, 501)]
    assert await connection.execute("SELECT 1; SELECT 2") == "SELECT 1"


async def test_error_keeps_the_connection(connection: Any) -> None:
    with pytest.raises(asyncpg.DivisionByZeroError):
        await connection.fetchval("SELECT 1 / $1::int", 0)
    assert await connection.fetchval("SELECT 1") == 1


async def test_transaction_is_kept_or_undone_as_a_whole(connection: Any, table: str) -> None:
    async with connection.transaction():
        await connection.execute("INSERT INTO items VALUES (1, 'kept')")
    with pytest.raises(asyncpg.UniqueViolationError):
        await _in_transaction(
            connection, "INSERT INTO items VALUES (2, 'undone')", "INSERT INTO items VALUES (1, 'twice')"
        )
    assert await connection.fetchval("SELECT array_agg(n) FROM items") == [1]


async def test_nested_transaction_is_a_savepoint(connection: Any, table: str) -> None:
    async with connection.transaction():
        await connection.execute("INSERT INTO items VALUES (1, 'outer')")
        with pytest.raises(asyncpg.DivisionByZeroError):
            await _in_transaction(connection, "INSERT INTO items VALUES (2, 'inner')", "SELECT 1/0")
    assert await connection.fetchval("SELECT array_agg(n) FROM items") == [1]


async def test_cursor_works_in_a_transaction(connection: Any) -> None:
    async with connection.transaction():
        seen = [row[0] async for row in connection.cursor("SELECT generate_series(1, 500)", prefetch=50)]
    assert seen == list(range(1, 501))


async def test_copy_brings_many_rows_in_and_out(connection: Any, table: str) -> None:
    records = [(n, "x" * (n % 60)) for n in range(COPY_ROWS)]
    assert await connection.copy_records_to_table(table, records=records) == f"COPY {COPY_ROWS}"
    chunks: list[bytes] = []

    async def keep(data: bytes) -> None:
        chunks.append(data)

    done = await connection.copy_from_query("TABLE items ORDER BY n", output=keep)
    assert done == f"COPY {COPY_ROWS}"
    assert b"".join(chunks) == "".join(f"{n}\t{text}\n" for n, text in records).encode()


async def test_timeout_cancels_the_query_and_keeps_the_connection(
    postgres: TemporaryPostgres, connection: Any
) -> None:
    with pytest.raises(asyncio.TimeoutError):
        await connection.fetchval("SELECT pg_sleep(61)", timeout=0.2)
    assert await connection.fetchval("SELECT 42") == 42
    running = "SELECT 1 FROM pg_stat_activity WHERE query = 'SELECT pg_sleep(61)' AND state = 'active'"
    assert postgres.sql(running) == []


async def test_executemany_inserts_every_row(connection: Any, table: str) -> None:
    await connection.executemany("INSERT INTO items VALUES ($1, $2)", [(n, str(n)) for n in range(200)])
    assert await connection.fetchval("SELECT count(*) FROM items") == 200


async def test_many_clients_each_get_their_own_answers(process: PoolerProcess) -> None:
    async def ask(name: int) -> None:
        connection = await asyncpg.connect(process.dsn(DATABASE), statement_cache_size=0)
        for n in range(30):
            token = f"{name}:{n}"
            async with connection.transaction():
                assert await connection.fetchval("SELECT $1::text", token) == token
            assert await connection.fetchval("SELECT $1::text", token[::-1]) == token[::-1]
        await connection.close()

    await asyncio.gather(*(ask(name) for name in range(20)))


async def test_pool_of_the_driver_works_over_the_pooler(process: PoolerProcess) -> None:
    async with asyncpg.create_pool(
        process.dsn(DATABASE), min_size=2, max_size=8, statement_cache_size=0
    ) as pool:
        answers = await asyncio.gather(*(pool.fetchval("SELECT $1::int", n) for n in range(100)))
    assert answers == list(range(100))


async def test_abandoned_transaction_is_undone(process: PoolerProcess, connection: Any, table: str) -> None:
    lost = await asyncpg.connect(process.dsn(DATABASE), statement_cache_size=0)
    await lost.execute("BEGIN")
    await lost.execute("INSERT INTO items VALUES (1, 'lost')")
    lost.terminate()
    # The row's lock goes with the transaction: the same key is free again.
    await connection.execute("INSERT INTO items VALUES (1, 'new')", timeout=5)
    assert await connection.fetchval("SELECT text FROM items") == "new"


async def test_cached_statements_work_in_session_mode(session: Any) -> None:
    for n in range(50):
        assert await session.fetchval("SELECT $1::int * 2", n) == 2 * n
    assert await session.fetchval("SELECT count(*) FROM pg_prepared_statements") == 2


async def test_explicit_statement_works_in_session_mode(session: Any) -> None:
    statement = await session.prepare("SELECT $1::int + $2::int")
    assert [await statement.fetchval(n, n) for n in range(20)] == [2 * n for n in range(20)]


async def test_composite_types_are_introspected_in_session_mode(
    postgres: TemporaryPostgres, session: Any
) -> None:
    postgres.sql("DROP TYPE IF EXISTS pair; CREATE TYPE pair AS (a int, b text)")
    row = await session.fetchval("SELECT ROW(1, 'x')::pair")
    assert (row["a"], row["b"]) == (1, "x")


async def test_notifications_arrive_in_session_mode(session_process: PoolerProcess, session: Any) -> None:
    heard: asyncio.Queue[tuple[str, str]] = asyncio.Queue()
    await session.add_listener("news", lambda _, __, channel, payload: heard.put_nowait((channel, payload)))
    sender = await asyncpg.connect(session_process.dsn(DATABASE))
    await sender.execute("NOTIFY news, 'while idle'")
    assert await asyncio.wait_for(heard.get(), 10) == ("news", "while idle")
    await sender.execute("SELECT pg_notify('news', $1)", "x" * 7000)
    assert await asyncio.wait_for(heard.get(), 10) == ("news", "x" * 7000)
    await sender.close()


async def test_listener_of_one_session_is_not_inherited_by_the_next(pooler: PoolerFactory) -> None:
    process = pooler(settings={"pool_mode": "session", "default_pool_size": 1})
    first = await asyncpg.connect(process.dsn(DATABASE))
    pid = await first.fetchval("SELECT pg_backend_pid()")
    await first.execute("LISTEN news")
    first.terminate()
    second = await asyncpg.connect(process.dsn(DATABASE))
    assert await second.fetchval("SELECT pg_backend_pid()") == pid
    assert await second.fetch("SELECT pg_listening_channels()") == []
    await second.close()
