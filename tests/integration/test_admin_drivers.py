"""Real drivers on the admin database: each reads with typed values, pauses, resumes and survives an error."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from decimal import Decimal
from typing import Any

import asyncpg
import pg8000.dbapi
import psycopg
import psycopg2
import psycopg_pool
import pytest
import pytest_asyncio
from psycopg.rows import dict_row

from cli.demo.postgres import TemporaryPostgres
from tests.conftest import PoolerFactory
from tests.integration.clients import DATABASE, wait_until
from tests.support.bouncer import ADMIN, PoolerProcess
from tests.support.rawclient import RawClient, message, startup_message

INVALID = "invalid command 'NONSENSE', use SHOW HELP;"


@pytest.fixture
def process(pooler: PoolerFactory, postgres: TemporaryPostgres) -> PoolerProcess:
    """Transaction mode, one database."""
    return pooler({DATABASE: f"host=127.0.0.1 port={postgres.port}"}, settings={"pool_mode": "transaction"})


def _paused(process: PoolerProcess) -> bool:
    return any(row["paused"] == 1 for row in process.admin("SHOW DATABASES") if row["name"] == DATABASE)


def _login(process: PoolerProcess) -> dict[str, Any]:
    return {"host": process.host, "port": process.port, "user": ADMIN}


# asyncpg -------------------------------------------------------------------------------------------------


@pytest_asyncio.fixture
async def connection(process: PoolerProcess) -> AsyncIterator[Any]:
    """As asyncpg connects by default: with its statement cache, all rows binary."""
    found = await asyncpg.connect(process.dsn("pgbouncer", user=ADMIN))
    yield found
    await found.close()


async def test_asyncpg_reads_typed_rows(connection: Any) -> None:
    assert connection.get_server_version()[:2] == (1, 25)
    for _ in range(3):  # the second time from its statement cache
        (pools,) = await connection.fetch("SHOW POOLS")
        assert (pools["database"], pools["cl_active"], pools["maxwait_us"]) == ("pgbouncer", 1, 0)
        client = await connection.fetchrow("SHOW CLIENTS")
        assert (client["type"], client["user"], client["tls"]) == ("C", ADMIN, "")
        assert client["id"] > 0
        stats = await connection.fetchrow("SHOW STATS")
        assert isinstance(stats["total_query_count"], Decimal)
    assert (await connection.fetchval("SHOW VERSION")).startswith("PgBouncer 1.")
    prepared = await connection.prepare("SHOW DATABASES")
    assert [column.name for column in prepared.get_attributes()][:2] == ["name", "host"]
    assert {row["name"] for row in await prepared.fetch()} == {DATABASE, "pgbouncer"}


async def test_asyncpg_reads_names_that_are_not_utf_8(connection: Any, process: PoolerProcess) -> None:
    with RawClient(process.host, process.port) as client:
        startup = startup_message("postgres", DATABASE, application_name="bad-byte")
        client.send(startup.replace(b"bad-byte", b"bad\xffbyte"))
        client.read_until("Z")
        for query in ("SHOW CLIENTS", "SELECT * FROM clients WHERE application_name LIKE 'bad%'"):
            assert r"bad\xffbyte" in [row["application_name"] for row in await connection.fetch(query)]


async def test_asyncpg_pauses_and_resumes(connection: Any, process: PoolerProcess) -> None:
    assert await connection.fetch(f"PAUSE {DATABASE}") == []
    assert _paused(process)
    assert await connection.execute(f"RESUME {DATABASE}") == "RESUME"
    assert await connection.execute("PAUSE $1", DATABASE) == "PAUSE"
    assert _paused(process)
    assert await connection.execute("RESUME $1", DATABASE) == "RESUME"
    assert not _paused(process)


async def test_asyncpg_survives_errors(connection: Any) -> None:
    for run in (connection.execute, connection.fetch, connection.prepare):
        with pytest.raises(asyncpg.ProtocolViolationError, match="invalid command 'NONSENSE'"):
            await run("NONSENSE")
    with pytest.raises(asyncpg.ProtocolViolationError, match="no such database: nowhere"):
        await connection.execute("PAUSE $1", "nowhere")
    assert await connection.fetchval("SELECT 1") == 1


async def test_asyncpg_in_a_transaction(connection: Any) -> None:
    async with connection.transaction():
        keys = [row["key"] async for row in connection.cursor("SHOW CONFIG", prefetch=7)]
        cursor = await connection.cursor("SHOW CONFIG")
        assert [row["key"] for row in await cursor.fetch(10)] == keys[:10]
        with pytest.raises(asyncpg.ProtocolViolationError):
            async with connection.transaction():
                await connection.fetch("NONSENSE")
        assert await connection.fetchval("SHOW VERSION")
    assert len(keys) == len(set(keys)) > 50
    assert not connection.is_in_transaction()


async def test_asyncpg_cancels_a_command_that_waits(connection: Any, process: PoolerProcess) -> None:
    with process.connect(DATABASE) as busy:
        busy.execute("BEGIN")
        waiting = asyncio.ensure_future(connection.fetch(f"PAUSE {DATABASE}"))
        await asyncio.to_thread(wait_until, lambda: _paused(process), "PAUSE waits")
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        # A PAUSE that was not complete is taken back.
        await asyncio.to_thread(wait_until, lambda: not _paused(process), "PAUSE is taken back")
        busy.execute("COMMIT")


async def test_asyncpg_pool_resets_its_connections(process: PoolerProcess) -> None:
    url = process.dsn("pgbouncer", user=ADMIN)
    async with asyncpg.create_pool(url, min_size=1, max_size=2) as pool:
        for _ in range(3):
            assert await pool.fetchval("SHOW VERSION")
        async with pool.acquire() as held:
            await held.execute("BEGIN")
            assert len(await held.fetch("SHOW STATE")) == 3
        assert not [line for line in process.log_text().splitlines() if "ERROR" in line]


# psycopg -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("autocommit", [True, False])
@pytest.mark.parametrize("binary", [False, True])
def test_psycopg_reads_pauses_and_survives(process: PoolerProcess, autocommit: bool, binary: bool) -> None:
    with psycopg.connect(
        **_login(process), dbname="pgbouncer", autocommit=autocommit, row_factory=dict_row
    ) as console:
        for _ in range(10):  # prepared by itself from the sixth time on
            cursor = console.cursor(binary=binary)
            pools = cursor.execute("SHOW POOLS").fetchall()
            assert [(row["database"], row["cl_active"]) for row in pools] == [("pgbouncer", 1)]
        stats = console.cursor(binary=binary).execute("SHOW STATS").fetchone()
        assert stats is not None
        assert isinstance(stats["total_query_count"], Decimal)
        client = console.cursor(binary=binary).execute("SHOW CLIENTS").fetchone()
        assert client is not None
        assert isinstance(client["id"], int)
        assert console.execute("PAUSE %s", [DATABASE]).statusmessage == "PAUSE"
        assert _paused(process)
        assert console.execute(f"RESUME {DATABASE}".encode()).statusmessage == "RESUME"
        for arguments in (None, [DATABASE]):
            with pytest.raises(psycopg.errors.ProtocolViolation):
                console.execute("NONSENSE" if arguments is None else "NONSENSE %s", arguments)
            console.rollback()
        assert console.execute("SHOW VERSION").statusmessage == "SHOW"


def test_psycopg_in_a_transaction_that_failed(process: PoolerProcess) -> None:
    with psycopg.connect(**_login(process), dbname="pgbouncer") as console:
        with pytest.raises(psycopg.errors.ProtocolViolation):
            console.execute("NONSENSE")
        with pytest.raises(psycopg.errors.InFailedSqlTransaction):
            console.execute("SHOW VERSION")
        console.rollback()
        with console.transaction(), console.transaction():
            assert console.execute("SELECT 1").fetchone() == (1,)
        with console.pipeline():
            one, two = console.execute("SHOW VERSION"), console.execute("SHOW STATE")
        assert (len(one.fetchall()), len(two.fetchall())) == (1, 3)


async def test_psycopg_async(process: PoolerProcess) -> None:
    async with await psycopg.AsyncConnection.connect(
        **_login(process), dbname="pgbouncer", autocommit=True, prepare_threshold=0
    ) as console:
        for _ in range(3):
            cursor = await console.execute("SHOW POOLS", binary=True)
            assert (await cursor.fetchall())[0][:3] == ("pgbouncer", "pgbouncer", 1)
        with pytest.raises(psycopg.errors.ProtocolViolation):
            await console.execute("NONSENSE")
        assert [row async for row in console.cursor().stream("SHOW VERSION")]


def test_psycopg_pool(process: PoolerProcess) -> None:
    with psycopg_pool.ConnectionPool(process.dsn("pgbouncer", user=ADMIN), min_size=1, max_size=2) as pool:
        for _ in range(3):
            with pool.connection(timeout=10) as console:
                assert console.execute("SHOW STATE").rowcount == 3


# psycopg2, pg8000 ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("autocommit", [True, False])
def test_psycopg2(process: PoolerProcess, autocommit: bool) -> None:
    console = psycopg2.connect(**_login(process), dbname="pgbouncer")
    console.autocommit = autocommit
    cursor = console.cursor()
    cursor.execute("SHOW POOLS")
    assert [row[:3] for row in cursor.fetchall()] == [("pgbouncer", "pgbouncer", 1)]
    cursor.execute("SHOW CLIENTS")
    assert [row[0] for row in cursor.fetchall()] == ["C"]
    cursor.execute(f"PAUSE {DATABASE}")
    assert _paused(process)
    cursor.execute(f"RESUME {DATABASE}")
    with pytest.raises(psycopg2.Error, match="invalid command 'NONSENSE'"):
        cursor.execute("NONSENSE")
    console.rollback()
    console.reset()
    console.set_session(isolation_level="SERIALIZABLE", readonly=True)
    cursor.execute("SHOW VERSION")
    console.close()


@pytest.mark.parametrize("autocommit", [True, False])
def test_pg8000(process: PoolerProcess, autocommit: bool) -> None:
    console = pg8000.dbapi.connect(**_login(process), database="pgbouncer")
    console.autocommit = autocommit
    cursor = console.cursor()
    cursor.execute("SHOW POOLS")
    assert [row[:3] for row in cursor.fetchall()] == [["pgbouncer", "pgbouncer", 1]]
    cursor.execute("SHOW STATS")
    assert isinstance(cursor.fetchall()[0][1], Decimal)
    cursor.execute("PAUSE %s", (DATABASE,))
    assert _paused(process)
    cursor.execute("RESUME %s", (DATABASE,))
    with pytest.raises(pg8000.dbapi.DatabaseError, match="invalid command 'NONSENSE'"):
        cursor.execute("NONSENSE")
    console.rollback()
    cursor.execute("SHOW VERSION")
    console.close()


# Without the simple protocol -----------------------------------------------------------------------------


async def test_disable_pqexec_leaves_the_console_to_drivers(pooler: PoolerFactory) -> None:
    process = pooler(settings={"disable_pqexec": 1})
    connection = await asyncpg.connect(process.dsn("pgbouncer", user=ADMIN))
    assert (await connection.fetchrow("SHOW POOLS"))["database"] == "pgbouncer"
    with pytest.raises(asyncpg.PostgresError, match="PQexec disallowed"):
        await connection.execute("SHOW POOLS")


def test_drivers_may_say_more_at_the_start_than_a_pooler_follows(process: PoolerProcess) -> None:
    with RawClient(process.host, process.port) as console:
        console.startup(ADMIN, "pgbouncer", extra_float_digits="2", options="-c statement_timeout=5s")
        console.send(message("P", b"\0SHOW VERSION\0\0\0") + message("S"))
        assert [kind for kind, _ in console.read_until("Z")] == ["1", "Z"]
    with RawClient(process.host, process.port) as client:
        client.send(startup_message("postgres", DATABASE, extra_float_digits="2"))
        assert client.expect_error()["M"] == "unsupported startup parameter: extra_float_digits"
