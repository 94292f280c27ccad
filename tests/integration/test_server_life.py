"""What happens to a server connection between clients, at its start and at its end."""

from __future__ import annotations

import psycopg
import pytest

from cli.demo.postgres import TemporaryPostgres
from tests.conftest import PoolerFactory
from tests.integration.clients import (
    DATABASE,
    Background,
    backend_pid,
    pool_row,
    value,
    wait_for_pool,
    wait_until,
)
from tests.support.bouncer import PoolerProcess
from tests.support.fakeserver import FakeConnection, FakeServer, error_response
from tests.support.rawclient import message

READY = message("Z", b"I")

# Reset ---------------------------------------------------------------------------------------------------


def _leave_a_setting(process: PoolerProcess) -> int:
    """A client changes its session, and goes; the server's process."""
    with process.connect(DATABASE) as client:
        pid = backend_pid(client)
        client.execute("SET work_mem = '3MB'")
    wait_for_pool(process, cl_active=0, sv_active=0, sv_tested=0)
    return pid


def test_session_is_reset_for_the_next_client(pooler: PoolerFactory) -> None:
    process = pooler(settings={"pool_mode": "session", "default_pool_size": 1})
    pid = _leave_a_setting(process)
    with process.connect(DATABASE) as client:
        assert value(client, "SHOW work_mem") == "4MB"
        assert backend_pid(client) == pid


def test_temporary_tables_and_locks_are_gone_after_a_reset(pooler: PoolerFactory) -> None:
    process = pooler(settings={"pool_mode": "session", "default_pool_size": 1})
    with process.connect(DATABASE) as client:
        client.execute("CREATE TEMP TABLE left_over (n int)")
        client.execute("SELECT pg_advisory_lock(4711)")
    with process.connect(DATABASE) as client:
        assert value(client, "SELECT to_regclass('left_over')") is None
        assert value(client, "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == 0


def test_open_transaction_of_a_client_that_left_is_never_inherited(pooler: PoolerFactory) -> None:
    process = pooler(settings={"pool_mode": "session", "default_pool_size": 1})
    client = process.connect(DATABASE)
    pid = backend_pid(client)
    client.execute("BEGIN")
    client.close()
    with process.connect(DATABASE) as client:
        assert backend_pid(client) != pid
    assert "closing because: client disconnect while server was not ready" in process.log_text()


def test_nothing_is_reset_between_transactions(pooler: PoolerFactory) -> None:
    process = pooler(settings={"pool_mode": "transaction", "default_pool_size": 1})
    _leave_a_setting(process)
    with process.connect(DATABASE) as client:
        assert value(client, "SHOW work_mem") == "3MB"


def test_server_reset_query_always_resets_between_transactions_too(pooler: PoolerFactory) -> None:
    process = pooler(
        settings={"pool_mode": "transaction", "default_pool_size": 1, "server_reset_query_always": 1}
    )
    pid = _leave_a_setting(process)
    with process.connect(DATABASE) as client:
        assert value(client, "SHOW work_mem") == "4MB"
        assert backend_pid(client) == pid


def test_empty_reset_query_resets_nothing(pooler: PoolerFactory) -> None:
    process = pooler(settings={"pool_mode": "session", "default_pool_size": 1, "server_reset_query": ""})
    _leave_a_setting(process)
    with process.connect(DATABASE) as client:
        assert value(client, "SHOW work_mem") == "3MB"


def test_reset_query_may_be_any_statement(pooler: PoolerFactory) -> None:
    process = pooler(
        settings={
            "pool_mode": "session",
            "default_pool_size": 1,
            "server_reset_query": "SET work_mem = '5MB'",
        }
    )
    _leave_a_setting(process)
    with process.connect(DATABASE) as client:
        assert value(client, "SHOW work_mem") == "5MB"


def test_server_that_cannot_be_reset_is_closed(pooler: PoolerFactory) -> None:
    process = pooler(
        settings={"pool_mode": "session", "default_pool_size": 1, "server_reset_query": "SELECT 1/0"}
    )
    pid = _leave_a_setting(process)
    process.wait_for_log("closing because: reset query failed")
    with process.connect(DATABASE) as client:
        assert backend_pid(client) != pid


# Check ---------------------------------------------------------------------------------------------------


def test_server_is_checked_before_it_is_used_again(
    pooler: PoolerFactory, postgres: TemporaryPostgres
) -> None:
    postgres.sql("DROP TABLE IF EXISTS checks; CREATE TABLE checks (n int)")
    process = pooler(
        settings={
            "pool_mode": "transaction",
            "server_check_query": "INSERT INTO checks VALUES (1)",
            "server_check_delay": 0,
        }
    )
    with process.connect(DATABASE) as client:
        for _ in range(4):
            client.execute("SELECT 1")
    assert postgres.sql("SELECT count(*) FROM checks") == [("3",)]


def test_server_that_was_just_used_is_not_checked(pooler: PoolerFactory, postgres: TemporaryPostgres) -> None:
    postgres.sql("DROP TABLE IF EXISTS checks; CREATE TABLE checks (n int)")
    process = pooler(
        settings={"pool_mode": "transaction", "server_check_query": "INSERT INTO checks VALUES (1)"}
    )
    with process.connect(DATABASE) as client:
        for _ in range(4):
            client.execute("SELECT 1")
    assert postgres.sql("SELECT count(*) FROM checks") == [("0",)]


def test_server_that_was_unused_for_server_check_delay_is_checked(
    pooler: PoolerFactory, postgres: TemporaryPostgres
) -> None:
    postgres.sql("DROP TABLE IF EXISTS checks; CREATE TABLE checks (n int)")
    process = pooler(
        settings={
            "pool_mode": "transaction",
            "server_check_query": "INSERT INTO checks VALUES (1)",
            "server_check_delay": 0.5,
        }
    )
    with process.connect(DATABASE) as client:
        client.execute("SELECT 1")
        wait_for_pool(process, sv_used=1)
        client.execute("SELECT 1")
    assert postgres.sql("SELECT count(*) FROM checks") == [("1",)]


def test_server_that_fails_its_check_is_replaced_unnoticed(pooler: PoolerFactory) -> None:
    def broken(connection: FakeConnection) -> None:
        connection.login()
        connection.serve({"CHECK": error_response("XX000", "not well") + READY})

    with FakeServer() as fake:
        fake.script(broken)
        process = pooler(
            {DATABASE: f"host=127.0.0.1 port={fake.port}"},
            settings={"pool_mode": "transaction", "server_check_query": "CHECK", "server_check_delay": 0},
        )
        with process.connect(DATABASE) as client:
            assert value(client, "SELECT 'one'") == "one"
            assert value(client, "SELECT 'two'") == "two"
        assert "closing because: test query failed" in process.log_text()
        assert len(fake.connections) == 2
        assert fake.errors == []


# Start ---------------------------------------------------------------------------------------------------


def test_connect_query_runs_on_every_new_server(pooler: PoolerFactory, postgres: TemporaryPostgres) -> None:
    process = pooler(
        {"postgres": f"host=127.0.0.1 port={postgres.port} connect_query='SET work_mem = ''7MB'''"},
        settings={"pool_mode": "transaction"},
    )
    with process.connect(DATABASE) as one, process.connect(DATABASE) as two:
        one.execute("BEGIN")
        assert [value(client, "SHOW work_mem") for client in (one, two)] == ["7MB", "7MB"]


def test_connect_query_that_fails_is_logged_and_the_server_used(
    pooler: PoolerFactory, postgres: TemporaryPostgres
) -> None:
    process = pooler({"postgres": f"host=127.0.0.1 port={postgres.port} connect_query='SELECT 1/0'"})
    with process.connect(DATABASE) as client:
        assert value(client, "SELECT 1") == 1
    assert "division by zero" in process.log_text()


def test_session_parameters_of_a_database(pooler: PoolerFactory, postgres: TemporaryPostgres) -> None:
    parameters = (
        "client_encoding=LATIN1 datestyle=German timezone=Asia/Tokyo application_name=of-the-database"
    )
    process = pooler({"postgres": f"host=127.0.0.1 port={postgres.port} {parameters}"})
    with process.connect(DATABASE) as client:
        shown = {name: value(client, f"SHOW {name}") for name in ("client_encoding", "datestyle", "timezone")}
        assert shown == {"client_encoding": "LATIN1", "datestyle": "German, DMY", "timezone": "Asia/Tokyo"}
        assert value(client, "SHOW application_name") == "of-the-database"
        assert client.info.parameter_status("TimeZone") == "Asia/Tokyo"
        assert client.info.parameter_status("client_encoding") == "LATIN1"


def test_client_wins_over_the_session_parameters_of_a_database(
    pooler: PoolerFactory, postgres: TemporaryPostgres
) -> None:
    process = pooler({"postgres": f"host=127.0.0.1 port={postgres.port} timezone=Asia/Tokyo"})
    with process.connect(DATABASE, options="-c timezone=Europe/Rome") as client:
        assert value(client, "SHOW timezone") == "Europe/Rome"


def test_application_name_add_host_tells_where_a_client_is(pooler: PoolerFactory) -> None:
    process = pooler(settings={"application_name_add_host": 1})
    with process.connect(DATABASE, application_name="mine") as client:
        name = value(client, "SHOW application_name")
        port = next(row["port"] for row in process.admin("SHOW CLIENTS") if row["database"] == DATABASE)
        assert name == f"mine - 127.0.0.1:{port}"
    with process.connect(DATABASE) as client:
        assert value(client, "SHOW application_name").startswith("app - 127.0.0.1:")
    with process.connect(DATABASE, host=str(process.directory)) as client:
        assert value(client, "SHOW application_name").startswith("app - unix(")


# End -----------------------------------------------------------------------------------------------------


def test_server_that_dies_unused_is_replaced_unnoticed(
    pooler: PoolerFactory, postgres: TemporaryPostgres
) -> None:
    process = pooler(settings={"pool_mode": "transaction"})
    with process.connect(DATABASE) as client:
        pid = backend_pid(client)
        postgres.sql(f"SELECT pg_terminate_backend({pid})")
        wait_for_pool(process, sv_idle=0)
        assert backend_pid(client) != pid


def test_server_that_dies_in_a_query_costs_that_client_its_connection(
    pooler: PoolerFactory, postgres: TemporaryPostgres
) -> None:
    process = pooler(settings={"pool_mode": "transaction"})
    with process.connect(DATABASE) as victim, process.connect(DATABASE) as other:
        victim.execute("BEGIN")
        pid = backend_pid(victim)
        other.execute("SELECT 1")
        sleeping = Background(lambda: victim.execute("SELECT pg_sleep(30)"))
        state = f"SELECT 1 FROM pg_stat_activity WHERE pid = {pid} AND state = 'active'"
        wait_until(lambda: postgres.sql(state), "the query runs")
        postgres.sql(f"SELECT pg_terminate_backend({pid})")
        with pytest.raises(psycopg.errors.AdminShutdown):
            sleeping.result()
        assert value(other, "SELECT 1") == 1
        wait_until(lambda: pool_row(process)["cl_active"] == 1, "the victim is gone")


def test_clients_outlive_a_restart_of_the_server(pooler: PoolerFactory) -> None:
    with TemporaryPostgres() as server:
        process = pooler(
            {DATABASE: f"host=127.0.0.1 port={server.port}"},
            settings={"pool_mode": "transaction", "server_login_retry": 0.2},
        )
        with process.connect(DATABASE) as client:
            assert value(client, "SELECT 1") == 1
            server.restart()
            wait_for_pool(process, sv_idle=0)
            assert value(client, "SELECT 2") == 2
