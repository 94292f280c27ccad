"""Named prepared statements over servers that change under the client, with real drivers."""

import asyncio
from collections.abc import Callable

import asyncpg
import psycopg
import pytest
from psycopg import pq

from tests.support.bouncer import PoolerProcess
from tests.support.rawclient import RawClient, message

PoolerFactory = Callable[..., PoolerProcess]


@pytest.fixture
def transaction_pooler(pooler: PoolerFactory) -> PoolerProcess:
    return pooler(settings={"pool_mode": "transaction", "default_pool_size": 2})


async def connect(process: PoolerProcess) -> asyncpg.Connection:
    return await asyncpg.connect(host=process.host, port=process.port, user="postgres", database="postgres")


async def test_asyncpg_with_its_statement_cache(transaction_pooler: PoolerProcess) -> None:
    clients = await asyncio.gather(*(connect(transaction_pooler) for _ in range(8)))

    async def work(number: int) -> None:
        client = clients[number]
        for turn in range(30):
            token = f"{number}/{turn}"
            assert await client.fetchval("select $1::text", token) == token
            async with client.transaction():
                assert await client.fetchval("select $1::int + $2::int", number, turn) == number + turn

    await asyncio.gather(*(work(number) for number in range(len(clients))))
    for client in clients:
        await client.close()


async def test_least_recently_used_statements_are_closed_and_prepared_again(pooler: PoolerFactory) -> None:
    process = pooler(
        settings={"pool_mode": "transaction", "max_prepared_statements": 3, "default_pool_size": 1}
    )
    client = await connect(process)
    for turn in range(3):
        for number in range(10):
            assert await client.fetchval(f"select {number} + $1::int", turn) == number + turn
    await client.close()
    (server,) = [row for row in process.admin("SHOW SERVERS") if row["database"] == "postgres"]
    assert server["prepared_statements"] <= 3


def test_psycopg_prepares_by_itself(transaction_pooler: PoolerProcess) -> None:
    with psycopg.connect(transaction_pooler.dsn("postgres"), autocommit=True, prepare_threshold=1) as client:
        for turn in range(20):
            assert client.execute("select %s::int", (turn,)).fetchone() == (turn,)


def test_a_failed_parse_can_be_repeated(transaction_pooler: PoolerProcess) -> None:
    with transaction_pooler.connect("postgres") as client:
        for _ in range(2):
            result = client.pgconn.prepare(b"s", b"select no_such_column")
            assert result.status == pq.ExecStatus.FATAL_ERROR
        assert client.pgconn.prepare(b"s", b"select 42").status == pq.ExecStatus.COMMAND_OK
        assert client.pgconn.exec_prepared(b"s", []).get_value(0, 0) == b"42"


def test_a_name_in_use_is_an_error_and_the_client_stays(transaction_pooler: PoolerProcess) -> None:
    with transaction_pooler.connect("postgres") as client:
        assert client.pgconn.prepare(b"s", b"select 1").status == pq.ExecStatus.COMMAND_OK
        again = client.pgconn.prepare(b"s", b"select 2")
        assert again.error_field(pq.DiagnosticField.SQLSTATE) == b"42P05"
        assert (
            again.error_field(pq.DiagnosticField.MESSAGE_PRIMARY) == b'prepared statement "s" already exists'
        )
        assert client.pgconn.exec_prepared(b"s", []).get_value(0, 0) == b"1"


def test_a_name_that_does_not_exist_is_an_error_and_the_client_stays(
    transaction_pooler: PoolerProcess,
) -> None:
    with transaction_pooler.connect("postgres") as client:
        missing = client.pgconn.exec_prepared(b"nobody", [])
        assert missing.error_field(pq.DiagnosticField.SQLSTATE) == b"26000"
        assert client.pgconn.exec_(b"select 3").get_value(0, 0) == b"3"


def test_a_name_in_use_fails_its_transaction(transaction_pooler: PoolerProcess) -> None:
    with transaction_pooler.connect("postgres") as client:
        client.pgconn.prepare(b"s", b"select 1")
        client.pgconn.exec_(b"begin")
        client.pgconn.prepare(b"s", b"select 2")
        assert client.pgconn.transaction_status == pq.TransactionStatus.INERROR
        client.pgconn.exec_(b"rollback")


@pytest.mark.parametrize("command", [b"deallocate all", b"discard all"])
def test_deallocate_all_forgets_the_clients_statements(
    transaction_pooler: PoolerProcess, command: bytes
) -> None:
    with transaction_pooler.connect("postgres") as client:
        client.pgconn.prepare(b"s", b"select 1")
        client.pgconn.exec_(command)
        assert client.pgconn.exec_prepared(b"s", []).error_field(pq.DiagnosticField.SQLSTATE) == b"26000"
        assert client.pgconn.prepare(b"s", b"select 5").status == pq.ExecStatus.COMMAND_OK
        assert client.pgconn.exec_prepared(b"s", []).get_value(0, 0) == b"5"


def test_a_pipeline_of_prepares_closes_and_executes_stays_in_order(transaction_pooler: PoolerProcess) -> None:
    with psycopg.connect(transaction_pooler.dsn("postgres"), autocommit=True) as client, client.pipeline():
        cursors = [
            client.execute(f"select %s::int + {turn % 7}", (turn,), prepare=turn % 3 == 0)
            for turn in range(200)
        ]
        for turn, cursor in enumerate(cursors):
            assert cursor.fetchone() == (turn + turn % 7,)


def test_a_long_statement_is_prepared_whole(transaction_pooler: PoolerProcess) -> None:
    text = b"select '" + b"x" * 3_000_000 + b"'"
    with transaction_pooler.connect("postgres") as client:
        assert client.pgconn.prepare(b"long", text).status == pq.ExecStatus.COMMAND_OK
        assert client.pgconn.exec_prepared(b"long", []).get_value(0, 0) == b"x" * 3_000_000


def test_zero_switches_the_feature_off(pooler: PoolerFactory) -> None:
    process = pooler(settings={"pool_mode": "transaction", "max_prepared_statements": 0})
    with process.connect("postgres") as client:
        client.pgconn.prepare(b"by_its_own_name", b"select 1")
        names = client.execute("select name from pg_prepared_statements").fetchall()
        assert names == [{"name": "by_its_own_name"}]


@pytest.mark.parametrize("sql", [b"DISCARD ALL", b"deallocate all;", b" DEALLOCATE  ALL"])
@pytest.mark.parametrize("cut", [None, 3, 5, 9])
def test_names_behind_one_that_takes_all_away_in_the_same_packet(
    transaction_pooler: PoolerProcess, sql: bytes, cut: int | None
) -> None:
    """Whether the name is free depends on the answer; the text of the last one gives no warning."""
    parse = message("P", b"mine\0SELECT 'token'\0\0\0")
    execute = message("B", b"\0mine\0\0\0\0\0\0\0") + message("E", b"\0\0\0\0\0") + message("S")
    warned = b"  " not in sql
    with RawClient(transaction_pooler.host, transaction_pooler.port) as client:
        client.startup("postgres", "postgres")
        client.send(parse + message("S"))
        client.read_until("Z")
        query = message("Q", sql + b"\0")
        if cut is not None:
            client.send(query[:cut])
            query = query[cut:]
        client.send(query + (parse + execute if warned else b""))
        assert [kind for kind, _ in client.read_until("Z")] == ["C", "Z"]
        if not warned:
            client.send(parse + execute)
        assert [kind for kind, _ in client.read_until("Z")] == ["1", "2", "D", "C", "Z"]
