"""Time limits: each ends what it is meant for, says so, and leaves others alone."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any

import psycopg
import pytest

from cli.demo.postgres import TemporaryPostgres
from cli.demo.throwaway import ReservedPort
from tests.conftest import PoolerFactory
from tests.integration.clients import (
    DATABASE,
    Background,
    backend_pid,
    pool_row,
    value,
    wait_for_client,
    wait_for_pool,
    wait_until,
)
from tests.support.bouncer import USER, PoolerProcess
from tests.support.fakeserver import FakeConnection, FakeServer, error_response
from tests.support.rawclient import RawClient, message, startup_message

TRANSACTION = {"pool_mode": "transaction", "default_pool_size": 1}


@pytest.fixture
def silent_port() -> Iterator[int]:
    """Somebody listens there, and never says a word."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def _raw(process: PoolerProcess, **parameters: str) -> RawClient:
    """A client that has logged in."""
    client = RawClient(process.host, process.port)
    client.startup(USER, DATABASE, **parameters)
    return client


def _assert_fatal(client: RawClient, text: str) -> None:
    """The next error is this one, and then the connection ends."""
    fields = client.expect_error()
    assert (fields["S"], fields["C"], fields["M"]) == ("FATAL", "08P01", text)
    assert client.expect_close() == b""


# Queries -------------------------------------------------------------------------------------------------


def test_query_timeout_ends_a_long_query(pooler: PoolerFactory) -> None:
    process = pooler(settings={**TRANSACTION, "query_timeout": 0.5})
    with _raw(process) as client:
        client.send(message("Q", b"SELECT pg_sleep(30)\0"))
        _assert_fatal(client, "query timeout")
    process.wait_for_log("closing because: query timeout")
    with process.connect(DATABASE) as next_client:
        assert value(next_client, "SELECT 1") == 1


def test_query_timeout_ends_a_query_that_waits(pooler: PoolerFactory) -> None:
    process = pooler(settings={**TRANSACTION, "query_timeout": 0.5})
    with process.connect(DATABASE) as holder, _raw(process) as client:
        holder.execute("BEGIN")
        client.send(message("Q", b"SELECT 1\0"))
        _assert_fatal(client, "query_timeout")
        holder.execute("COMMIT")


def test_query_timeout_is_not_for_idle_transactions(pooler: PoolerFactory) -> None:
    process = pooler(settings={**TRANSACTION, "query_timeout": 0.5, "query_wait_timeout": 2})
    with process.connect(DATABASE) as client, _raw(process) as idle:
        client.execute("BEGIN")
        idle.send(message("Q", b"SELECT 1\0"))
        _assert_fatal(idle, "query_timeout")
        assert value(client, "SELECT 1") == 1


def test_query_timeout_of_a_user_wins(pooler: PoolerFactory, roles: Mapping[str, str]) -> None:
    process = pooler(
        settings={**TRANSACTION, "query_timeout": 0.3}, users={"alice": "query_timeout=20"}, userlist=roles
    )
    with process.connect(DATABASE, user="alice") as alice, _raw(process) as client:
        answer = Background(lambda: value(alice, "SELECT count(pg_sleep(1.5))"))
        client.send(message("Q", b"SELECT pg_sleep(30)\0"))
        _assert_fatal(client, "query timeout")
        assert answer.result() == 1


def _holder_and_waiter(process: PoolerProcess, user: str = USER) -> None:
    """A client holds the only server; another one is refused by query_wait_timeout."""
    with process.connect(DATABASE, user=user) as holder, process.connect(DATABASE, user=user) as waiter:
        holder.execute("BEGIN")
        with pytest.raises(psycopg.errors.ProtocolViolation, match="query_wait_timeout"):
            waiter.execute("SELECT 1")
        assert value(holder, "SELECT 1") == 1


def test_query_wait_timeout_ends_the_wait_for_a_server(pooler: PoolerFactory) -> None:
    process = pooler(settings={**TRANSACTION, "query_wait_timeout": 0.5})
    _holder_and_waiter(process)
    assert "closing because: query_wait_timeout" in process.log_text()


def test_query_wait_timeout_of_a_database(pooler: PoolerFactory, postgres: TemporaryPostgres) -> None:
    _holder_and_waiter(
        pooler(
            {"postgres": f"host=127.0.0.1 port={postgres.port} query_wait_timeout=1"}, settings=TRANSACTION
        )
    )


def test_query_wait_timeout_of_a_user(
    pooler: PoolerFactory, postgres: TemporaryPostgres, roles: Mapping[str, str]
) -> None:
    process = pooler(
        {"postgres": f"host=127.0.0.1 port={postgres.port} query_wait_timeout=50"},
        settings=TRANSACTION,
        users={"alice": "query_wait_timeout=1"},
        userlist=roles,
    )
    _holder_and_waiter(process, "alice")


def test_query_wait_timeout_ends_the_wait_for_the_first_server(
    pooler: PoolerFactory, silent_port: int
) -> None:
    process = pooler({DATABASE: f"host=127.0.0.1 port={silent_port}"}, settings={"query_wait_timeout": 0.5})
    with RawClient(process.host, process.port) as client:
        client.send(startup_message(USER, DATABASE))
        _assert_fatal(client, "query_wait_timeout")


def test_waiting_client_is_told_once_that_it_is_queued(pooler: PoolerFactory) -> None:
    process = pooler(settings={**TRANSACTION, "query_wait_notify": 1, "query_wait_timeout": 2})
    heard: list[tuple[str | None, str | None, str | None]] = []
    with process.connect(DATABASE) as holder, process.connect(DATABASE) as waiter:
        waiter.add_notice_handler(
            lambda notice: heard.append((notice.severity, notice.sqlstate, notice.message_primary))
        )
        holder.execute("BEGIN")
        with pytest.raises(psycopg.errors.ProtocolViolation, match="query_wait_timeout"):
            waiter.execute("SELECT 1")
    text = "No server connection available in postgres backend, client being queued"
    assert heard == [("NOTICE", "00000", text)]


def test_notified_client_gets_its_answer(pooler: PoolerFactory) -> None:
    process = pooler(settings={**TRANSACTION, "query_wait_notify": 1})
    with process.connect(DATABASE) as holder, _raw(process) as waiter:
        holder.execute("BEGIN")
        waiter.send(message("Q", b"SELECT 1\0"))
        assert waiter.read_message()[0] == "N"
        holder.execute("COMMIT")
        assert [kind for kind, _ in waiter.read_until("Z")] == ["T", "D", "C", "Z"]


# Clients -------------------------------------------------------------------------------------------------


def test_client_idle_timeout_ends_an_idle_client(pooler: PoolerFactory) -> None:
    process = pooler(settings={**TRANSACTION, "client_idle_timeout": 0.5})
    with _raw(process) as client:
        _assert_fatal(client, "client_idle_timeout")
    process.wait_for_log("closing because: client_idle_timeout")


def test_client_idle_timeout_is_not_for_clients_in_a_transaction(pooler: PoolerFactory) -> None:
    process = pooler(settings={**TRANSACTION, "client_idle_timeout": 0.5})
    with process.connect(DATABASE) as busy:
        busy.execute("BEGIN")
        with _raw(process) as client:
            _assert_fatal(client, "client_idle_timeout")
        assert value(busy, "SELECT 1") == 1


def test_client_idle_timeout_of_a_user(pooler: PoolerFactory, roles: Mapping[str, str]) -> None:
    process = pooler(settings=TRANSACTION, users={USER: "client_idle_timeout=1"}, userlist=roles)
    with process.connect(DATABASE, user="alice") as other, _raw(process) as client:
        _assert_fatal(client, "client_idle_timeout")
        assert value(other, "SELECT 1") == 1


def test_client_login_timeout_ends_a_client_that_says_nothing(pooler: PoolerFactory) -> None:
    process = pooler(settings={"client_login_timeout": 0.5})
    with RawClient(process.host, process.port) as client:
        _assert_fatal(client, "client_login_timeout")


def test_client_login_timeout_ends_a_client_that_gives_no_password(pooler: PoolerFactory) -> None:
    process = pooler(settings={"client_login_timeout": 0.5, "auth_type": "md5"})
    with RawClient(process.host, process.port) as client:
        client.send(startup_message(USER, DATABASE))
        assert client.read_message()[0] == "R"
        _assert_fatal(client, "client_login_timeout")


def test_client_login_timeout_says_so_when_the_server_is_down(
    pooler: PoolerFactory, silent_port: int
) -> None:
    process = pooler({DATABASE: f"host=127.0.0.1 port={silent_port}"}, settings={"client_login_timeout": 0.5})
    with RawClient(process.host, process.port) as client:
        client.send(startup_message(USER, DATABASE))
        _assert_fatal(client, "client_login_timeout (server down)")


def test_client_login_timeout_is_over_with_the_login(pooler: PoolerFactory) -> None:
    process = pooler(settings={**TRANSACTION, "client_login_timeout": 0.5})
    with process.connect(DATABASE) as client, RawClient(process.host, process.port) as slow:
        _assert_fatal(slow, "client_login_timeout")
        assert value(client, "SELECT 1") == 1


# Transactions --------------------------------------------------------------------------------------------


def test_idle_transaction_timeout_ends_a_transaction_that_waits_for_its_client(
    pooler: PoolerFactory,
) -> None:
    process = pooler(settings={**TRANSACTION, "idle_transaction_timeout": 0.5})
    with _raw(process) as client:
        client.query("BEGIN")
        _assert_fatal(client, "idle transaction timeout")
    process.wait_for_log("closing because: idle transaction timeout")


def test_idle_transaction_timeout_is_not_for_running_queries(pooler: PoolerFactory) -> None:
    process = pooler(settings={**TRANSACTION, "default_pool_size": 2, "idle_transaction_timeout": 0.5})
    with process.connect(DATABASE) as busy, _raw(process) as idle:
        busy.execute("BEGIN")
        answer = Background(lambda: value(busy, "SELECT count(pg_sleep(1.5))"))
        idle.query("BEGIN")
        _assert_fatal(idle, "idle transaction timeout")
        assert answer.result() == 1


def test_idle_transaction_timeout_of_a_user(pooler: PoolerFactory, roles: Mapping[str, str]) -> None:
    process = pooler(settings=TRANSACTION, users={USER: "idle_transaction_timeout=1"}, userlist=roles)
    with process.connect(DATABASE, user="alice") as other, _raw(process) as client:
        other.execute("BEGIN")
        client.query("BEGIN")
        _assert_fatal(client, "idle transaction timeout")
        assert value(other, "SELECT 1") == 1


def _query_until_refused(process: PoolerProcess, client: psycopg.Connection[Any], text: str) -> None:
    """Never idle for long: only the age of the transaction can end it.

    A query that is just being sent makes the kernel take the reason back from the client (a reset).
    """

    def query_often() -> None:
        for _ in range(100):
            client.execute("SELECT pg_sleep(0.1)")

    client.execute("BEGIN")
    with pytest.raises(psycopg.OperationalError, match=f"{text}|server closed the connection"):
        query_often()
    process.wait_for_log(f"pooler error: {text}")


def test_transaction_timeout_ends_a_long_transaction_of_short_queries(pooler: PoolerFactory) -> None:
    process = pooler(settings={**TRANSACTION, "transaction_timeout": 0.6})
    with process.connect(DATABASE) as client:
        _query_until_refused(process, client, "transaction timeout")


def test_transaction_timeout_begins_anew_with_each_transaction(pooler: PoolerFactory) -> None:
    process = pooler(settings={**TRANSACTION, "default_pool_size": 2, "transaction_timeout": 1})
    with process.connect(DATABASE) as long, process.connect(DATABASE) as short:
        ended = Background(lambda: _query_until_refused(process, long, "transaction timeout"))
        while ended.is_alive():
            with short.transaction():
                short.execute("SELECT pg_sleep(0.1)")
        ended.result()


def test_transaction_timeout_of_a_user(pooler: PoolerFactory, roles: Mapping[str, str]) -> None:
    process = pooler(
        settings={**TRANSACTION, "transaction_timeout": 0.3},
        users={"alice": "transaction_timeout=30"},
        userlist=roles,
    )
    with process.connect(DATABASE, user="alice") as alice, process.connect(DATABASE) as client:
        alice.execute("BEGIN")
        _query_until_refused(process, client, "transaction timeout")
        assert value(alice, "SELECT 1") == 1


# Servers -------------------------------------------------------------------------------------------------


def test_server_idle_timeout_closes_unused_servers(pooler: PoolerFactory) -> None:
    process = pooler(settings={**TRANSACTION, "server_idle_timeout": 0.5})
    with process.connect(DATABASE) as client:
        before = backend_pid(client)
        process.wait_for_log("closing because: server idle timeout")
        assert backend_pid(client) != before


def test_server_idle_timeout_leaves_the_minimum(pooler: PoolerFactory) -> None:
    process = pooler(settings={"pool_mode": "transaction", "min_pool_size": 1, "server_idle_timeout": 0.5})
    with process.connect(DATABASE) as one, process.connect(DATABASE) as two:
        one.execute("BEGIN")
        two.execute("SELECT 1")
        one.execute("COMMIT")
        process.wait_for_log("closing because: server idle timeout")
        wait_for_pool(process, sv_idle=1)


def test_server_lifetime_closes_old_servers_that_nobody_uses(pooler: PoolerFactory) -> None:
    process = pooler(settings={**TRANSACTION, "server_lifetime": 0.5})
    with process.connect(DATABASE) as client:
        client.execute("SELECT 1")
        process.wait_for_log("closing because: server lifetime over")
        assert value(client, "SELECT 1") == 1


def test_server_lifetime_lets_transactions_end(pooler: PoolerFactory) -> None:
    process = pooler(settings={**TRANSACTION, "default_pool_size": 2, "server_lifetime": 0.5})
    with process.connect(DATABASE) as long, process.connect(DATABASE) as short:
        long.execute("BEGIN")
        pid = backend_pid(long)
        short.execute("SELECT 1")
        process.wait_for_log("closing because: server lifetime over")
        assert backend_pid(long) == pid
        long.execute("COMMIT")
        wait_for_pool(process, sv_active=0, sv_idle=0)


def test_server_lifetime_of_a_database(pooler: PoolerFactory, postgres: TemporaryPostgres) -> None:
    address = f"host=127.0.0.1 port={postgres.port} dbname=postgres"
    process = pooler({"short": f"{address} server_lifetime=1", "long": address}, settings=TRANSACTION)
    for name in ("long", "short"):
        with process.connect(name) as client:
            client.execute("SELECT 1")
    wait_for_pool(process, "short", sv_idle=0)
    assert pool_row(process, "long")["sv_idle"] == 1


def test_server_connect_timeout_gives_up_a_server_that_does_not_answer(
    pooler: PoolerFactory, silent_port: int
) -> None:
    process = pooler(
        {DATABASE: f"host=127.0.0.1 port={silent_port}"},
        settings={"server_connect_timeout": 0.5, "query_wait_timeout": 3, "server_login_retry": 0.2},
    )
    waiting = Background(lambda: process.connect(DATABASE))
    process.wait_for_log("closing because: connect timeout")
    with pytest.raises(psycopg.OperationalError, match="query_wait_timeout"):
        waiting.result()
    assert process.log_text().count("closing because: connect timeout") >= 2


def test_clients_fail_fast_while_logins_to_the_server_fail(pooler: PoolerFactory) -> None:
    reason = "sorry, too many clients already"

    def full(connection: FakeConnection) -> None:
        connection.read_startup()
        connection.send(error_response("53300", reason, "FATAL"))

    with FakeServer() as fake:
        process = pooler(
            {DATABASE: f"host=127.0.0.1 port={fake.port}"}, settings={**TRANSACTION, "server_login_retry": 30}
        )
        with process.connect(DATABASE) as first, process.connect(DATABASE) as second:
            fake.script(full)
            fake.connection(0).socket.shutdown(socket.SHUT_RDWR)
            wait_for_pool(process, sv_idle=0)
            with pytest.raises(psycopg.errors.TooManyConnections, match=reason):
                first.execute("SELECT 'x'")
            cached = rf"server login has been failing, cached error: {reason} \(server_login_retry\)"
            with pytest.raises(psycopg.errors.ProtocolViolation, match=cached):
                second.execute("SELECT 'x'")
        assert fake.errors == []


def test_waiting_client_is_served_by_the_next_login_that_works(pooler: PoolerFactory) -> None:
    with FakeServer() as fake:
        process = pooler(
            {DATABASE: f"host=127.0.0.1 port={fake.port}"},
            settings={**TRANSACTION, "server_login_retry": 0.3},
        )
        with process.connect(DATABASE) as client:
            fake.script(lambda connection: None, lambda connection: None)
            fake.connection(0).socket.shutdown(socket.SHUT_RDWR)
            wait_for_pool(process, sv_idle=0)
            assert value(client, "SELECT 'x'") == "x"
        assert len(fake.connections) == 4
        assert fake.errors == []


def test_server_is_tried_again_after_server_login_retry(
    pooler: PoolerFactory, postgres: TemporaryPostgres
) -> None:
    with TemporaryPostgres() as server:
        process = pooler(
            {DATABASE: f"host=127.0.0.1 port={server.port}"},
            settings={**TRANSACTION, "server_login_retry": 0.2},
        )
        server.stop()
        waiting = Background(lambda: process.connect(DATABASE))
        process.wait_for_log("closing because: connect failed")
        server.start()
        with waiting.result(30) as client:
            assert value(client, "SELECT 1") == 1


def test_port_where_nobody_listens_is_tried_until_the_client_has_waited_long_enough(
    pooler: PoolerFactory,
) -> None:
    with closing(ReservedPort()) as nobody:
        process = pooler(
            {DATABASE: f"host=127.0.0.1 port={nobody.number}"},
            settings={"query_wait_timeout": 1, "server_login_retry": 0.1},
        )
        with pytest.raises(psycopg.OperationalError, match="query_wait_timeout"):
            process.connect(DATABASE)
        assert process.log_text().count("closing because: connect failed") >= 2


def test_cancel_wait_timeout_gives_up_a_cancel_that_the_server_does_not_take(
    pooler: PoolerFactory,
) -> None:
    with FakeServer() as fake:
        process = pooler(
            {DATABASE: f"host=127.0.0.1 port={fake.port}"},
            settings={**TRANSACTION, "cancel_wait_timeout": 0.5},
        )
        with process.connect(DATABASE) as client:
            client.execute("BEGIN")
            fake.script(lambda connection: connection.until_closed())
            canceling = Background(client.cancel)
            process.wait_for_log("closing because: cancel_wait_timeout")
            canceling.result()
            wait_until(lambda: pool_row(process)["sv_active_cancel"] == 0, "the delivery is given up")
        assert fake.errors == []


# Pools ---------------------------------------------------------------------------------------------------


def test_pool_idle_timeout_forgets_pools_without_connections(pooler: PoolerFactory) -> None:
    process = pooler(settings={**TRANSACTION, "pool_idle_timeout": 0.5, "server_idle_timeout": 0.5})
    with process.connect(DATABASE) as client:
        client.execute("SELECT 1")
        wait_for_client(process, client, "idle")
    process.wait_for_log(f"cleaning up idle pool for user {USER} on db {DATABASE}")
    assert pool_row(process) == {}
    with process.connect(DATABASE) as client:
        assert value(client, "SELECT 1") == 1
