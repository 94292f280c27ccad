"""A client that leaves in the middle of its query: the query is cancelled, the server kept if it is clean."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from cli.demo.postgres import TemporaryPostgres
from tests.conftest import PoolerFactory
from tests.integration.clients import DATABASE, backend_pid, pool_row, value, wait_for_pool, wait_until
from tests.support.bouncer import USER, PoolerProcess
from tests.support.fakeserver import FakeConnection, FakeServer
from tests.support.rawclient import RawClient, message

SYNC = message("S")


def _query(sql: str) -> bytes:
    return message("Q", sql.encode() + b"\0")


def _execute(sql: str) -> bytes:
    """A Parse, Bind and Execute, without the Sync."""
    parse = message("P", b"\0" + sql.encode() + b"\0\0\0")
    return parse + message("B", b"\0\0\0\0\0\0\0\0") + message("E", b"\0\0\0\0\0")


@pytest.fixture(params=["transaction", "session"])
def process(pooler: PoolerFactory, request: pytest.FixtureRequest) -> PoolerProcess:
    """One server for all."""
    return pooler(settings={"pool_mode": request.param, "default_pool_size": 1})


@pytest.fixture
def table(postgres: TemporaryPostgres) -> Iterator[str]:
    postgres.sql("DROP TABLE IF EXISTS left_behind")
    postgres.sql("CREATE TABLE left_behind (text text)")
    yield "left_behind"
    postgres.sql("DROP TABLE left_behind")


def _client(process: PoolerProcess) -> RawClient:
    client = RawClient(process.host, process.port)
    client.startup(USER, DATABASE)
    return client


def _wait_running(postgres: TemporaryPostgres, sql: str) -> int:
    """Return the backend that runs `sql` as soon as one does."""
    running = f"SELECT pid FROM pg_stat_activity WHERE query = $x${sql}$x$ AND state = 'active'"
    wait_until(lambda: postgres.sql(running), f"{sql} runs")
    return int(postgres.sql(running)[0][0])


def _wait_idle(process: PoolerProcess) -> None:
    wait_for_pool(process, sv_idle=1, sv_active=0, sv_being_canceled=0, cl_active=0, cl_waiting=0)


@pytest.mark.parametrize("leave", ["close", "abort"])
@pytest.mark.parametrize("extended", [False, True], ids=["simple", "extended"])
def test_its_query_is_cancelled_and_the_server_kept(
    postgres: TemporaryPostgres, process: PoolerProcess, leave: str, extended: bool
) -> None:
    sql = f"SELECT pg_sleep(60) -- left {leave} {extended} {process.port}"
    client = _client(process)
    client.send(_execute(sql) + SYNC if extended else _query(sql))
    pid = _wait_running(postgres, sql)
    getattr(client, leave)()
    _wait_idle(process)
    with process.connect(DATABASE) as other:
        assert backend_pid(other) == pid


def test_all_of_its_pipeline_is_cancelled(postgres: TemporaryPostgres, process: PoolerProcess) -> None:
    sql = f"SELECT pg_sleep(60) -- pipeline {process.port}"
    client = _client(process)
    client.send(_query("SELECT 1") + _query(sql) + _query(sql) + _execute(sql) + SYNC + _query(sql))
    pid = _wait_running(postgres, sql)
    client.close()
    _wait_idle(process)
    with process.connect(DATABASE) as other:
        assert backend_pid(other) == pid


def test_rows_that_it_left_reach_nobody(postgres: TemporaryPostgres, process: PoolerProcess) -> None:
    client = _client(process)
    client.send(_query("SELECT repeat('theirs', 1000) FROM generate_series(1, 100000)"))
    client.read_until("D")
    client.close()
    with process.connect(DATABASE) as other:
        assert [value(other, f"SELECT 'mine {n}'") for n in range(5)] == [f"mine {n}" for n in range(5)]
    _wait_idle(process)


def test_copy_out_is_cancelled(postgres: TemporaryPostgres, process: PoolerProcess) -> None:
    client = _client(process)
    client.send(_query("COPY (SELECT repeat('x', 1000) FROM generate_series(1, 1000000)) TO STDOUT"))
    client.read_until("d")
    client.close()
    _wait_idle(process)


def test_copy_in_ends_with_its_client(
    postgres: TemporaryPostgres, process: PoolerProcess, table: str
) -> None:
    client = _client(process)
    client.send(_query(f"COPY {table} FROM STDIN"))
    client.read_until("G")
    client.send(message("d", b"half\n"))
    client.close()
    wait_for_pool(process, sv_active=0, sv_being_canceled=0, cl_active=0)
    assert postgres.sql(f"SELECT * FROM {table}") == []


def test_nothing_is_committed_that_it_did_not_ask_for(
    postgres: TemporaryPostgres, process: PoolerProcess, table: str
) -> None:
    sql = f"SELECT pg_sleep(60) -- no sync {process.port}"
    client = _client(process)
    client.send(_execute(f"INSERT INTO {table} VALUES ('x')") + _execute(sql) + message("H"))
    _wait_running(postgres, sql)
    client.close()
    running = f"SELECT 1 FROM pg_stat_activity WHERE query = $x${sql}$x$ AND state = 'active'"
    wait_until(lambda: not postgres.sql(running), "the query is cancelled")
    wait_for_pool(process, sv_active=0, sv_being_canceled=0, cl_active=0)
    assert postgres.sql(f"SELECT * FROM {table}") == []


def test_open_transaction_costs_the_server(
    postgres: TemporaryPostgres, process: PoolerProcess, table: str
) -> None:
    sql = f"SELECT pg_sleep(60) -- in transaction {process.port}"
    client = _client(process)
    client.query("BEGIN")
    client.query(f"INSERT INTO {table} VALUES ('x')")
    client.send(_query(sql))
    pid = _wait_running(postgres, sql)
    client.close()
    wait_until(lambda: pool_row(process)["sv_being_canceled"] == 0, "the server is drained")
    with process.connect(DATABASE) as other:
        assert backend_pid(other) != pid
    assert postgres.sql(f"SELECT * FROM {table}") == []


def test_half_a_message_costs_the_server_and_its_query_is_cancelled(
    postgres: TemporaryPostgres, process: PoolerProcess
) -> None:
    sql = f"SELECT pg_sleep(60) -- half {process.port}"
    client = _client(process)
    client.send(_query(sql) + _query("SELECT 2")[:-3])
    _wait_running(postgres, sql)
    client.close()
    running = f"SELECT 1 FROM pg_stat_activity WHERE query = $x${sql}$x$ AND state = 'active'"
    wait_until(lambda: not postgres.sql(running), "the query is cancelled")


def test_server_is_not_given_away_before_it_is_drained(
    postgres: TemporaryPostgres, process: PoolerProcess
) -> None:
    """PAUSE waits for it as for one that works."""
    sql = f"SELECT pg_sleep(60) -- paused {process.port}"
    client = _client(process)
    client.send(_query(sql))
    _wait_running(postgres, sql)
    client.close()
    process.admin("PAUSE")
    running = f"SELECT 1 FROM pg_stat_activity WHERE query = $x${sql}$x$ AND state = 'active'"
    assert postgres.sql(running) == []
    process.admin("RESUME")


def test_query_timeout_cancels_the_query(postgres: TemporaryPostgres, pooler: PoolerFactory) -> None:
    process = pooler(settings={"pool_mode": "transaction", "query_timeout": 1})
    sql = f"SELECT pg_sleep(60) -- timeout {process.port}"
    with _client(process) as client:
        client.send(_query(sql))
        assert client.expect_error()["M"] == "query timeout"
    running = f"SELECT 1 FROM pg_stat_activity WHERE query = $x${sql}$x$ AND state = 'active'"
    wait_until(lambda: not postgres.sql(running), "the query is cancelled")


# Servers that do not obey ----------------------------------------------------------------------------------


def _stubborn(connection: FakeConnection) -> None:
    """Logs in, never answers a query."""
    connection.login()
    connection.until_closed()


def _deaf(connection: FakeConnection) -> None:
    """Takes the cancel request, and closes as PostgreSQL would."""
    connection.read_startup()


def test_server_that_does_not_stop_is_closed_in_time(pooler: PoolerFactory) -> None:
    with FakeServer() as server:
        process = pooler(
            {DATABASE: f"host=127.0.0.1 port={server.port}"},
            settings={"pool_mode": "transaction", "default_pool_size": 1, "cancel_wait_timeout": 1},
        )
        server.script(_stubborn, *[_deaf] * 20)
        client = _client(process)
        client.send(_query("SELECT 1"))
        wait_for_pool(process, sv_active=1)
        client.close()
        wait_for_pool(process, sv_being_canceled=1, sv_active=0)
        server.connection(0).wait_closed()
        wait_for_pool(process, sv_being_canceled=0)
        assert "closing because: cancel_wait_timeout" in process.log_text()


def test_server_is_kept_from_others_until_the_cancel_has_arrived(pooler: PoolerFactory) -> None:
    """A request that PostgreSQL takes late would hit the query of the next client."""

    def slow_cancel(connection: FakeConnection) -> None:
        connection.read_startup()
        connection.stopped.wait(5)

    with FakeServer() as server:
        process = pooler(
            {DATABASE: f"host=127.0.0.1 port={server.port}"},
            settings={"pool_mode": "transaction", "default_pool_size": 1},
        )

        def finishes(connection: FakeConnection) -> None:
            connection.login()
            connection.read_message()
            server.connection(1)
            connection.serve()

        server.script(finishes, slow_cancel)
        client = _client(process)
        client.send(_query("SELECT 'theirs'"))
        wait_for_pool(process, sv_active=1)
        client.close()
        server.connection(0).send(message("C", b"SELECT 1\0") + message("Z", b"I"))
        with RawClient(process.host, process.port) as other:
            other.startup(USER, DATABASE)
            other.send(_query("SELECT 'mine'"))
            wait_for_pool(process, sv_being_canceled=1, sv_idle=0, cl_waiting=1)
            server.connection(1).shut_down()
            assert b"mine" in dict(other.read_until("Z"))["D"]


def test_without_cancel_wait_timeout_the_server_is_closed(
    postgres: TemporaryPostgres, pooler: PoolerFactory
) -> None:
    process = pooler(settings={"pool_mode": "transaction", "cancel_wait_timeout": 0})
    sql = f"SELECT pg_sleep(60) -- no waiting {process.port}"
    client = _client(process)
    client.send(_query(sql))
    _wait_running(postgres, sql)
    client.close()
    wait_for_pool(process, sv_active=0, sv_idle=0, sv_being_canceled=0)
    running = f"SELECT 1 FROM pg_stat_activity WHERE query = $x${sql}$x$ AND state = 'active'"
    wait_until(lambda: not postgres.sql(running), "the query is cancelled")
