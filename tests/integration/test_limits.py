"""How many clients may come, and how many servers they may have, for each scope of each limit."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack

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
from tests.support.bouncer import ADMIN, USER, PoolerProcess

# Clients -------------------------------------------------------------------------------------------------


def _assert_refused(process: PoolerProcess, message: str, database: str = DATABASE, user: str = USER) -> None:
    with pytest.raises(psycopg.OperationalError, match=message):
        process.connect(database, user=user)


def _used_clients(process: PoolerProcess) -> int:
    """Clients that are there, but for the one that asks."""
    return {row["list"]: int(row["items"]) for row in process.admin("SHOW LISTS")}["used_clients"] - 1


def test_max_client_conn_limits_all_clients_together(pooler: PoolerFactory, roles: Mapping[str, str]) -> None:
    process = pooler(settings={"max_client_conn": 2}, userlist=roles)
    with process.connect(DATABASE):
        with process.connect("template1", user="alice"):
            _assert_refused(process, r"no more connections allowed \(max_client_conn\)")
        wait_until(lambda: _used_clients(process) == 1, "the second client is gone")
        with process.connect(DATABASE) as client:
            assert value(client, "SELECT 1") == 1


def test_console_is_open_however_many_clients_there_are(pooler: PoolerFactory) -> None:
    process = pooler(settings={"max_client_conn": 1})
    with process.connect(DATABASE):
        assert process.admin("SHOW VERSION") != []


def test_max_db_client_connections_of_one_database(
    pooler: PoolerFactory, postgres: TemporaryPostgres, roles: Mapping[str, str]
) -> None:
    address = f"host=127.0.0.1 port={postgres.port} dbname=postgres"
    process = pooler({"narrow": f"{address} max_db_client_connections=2", "wide": address}, userlist=roles)
    with process.connect("narrow", user="alice"), process.connect("narrow", user="bob"):
        _assert_refused(process, r"client connections exceeded \(max_db_client_connections\)", "narrow")
        with process.connect("wide"):
            pass


def test_max_db_client_connections_of_every_database(
    pooler: PoolerFactory, postgres: TemporaryPostgres
) -> None:
    process = pooler(settings={"max_db_client_connections": 1})
    with process.connect(DATABASE), process.connect("template1"):
        _assert_refused(process, r"client connections exceeded \(max_db_client_connections\)")
        _assert_refused(process, r"client connections exceeded \(max_db_client_connections\)", "template1")


def test_client_that_left_makes_room_in_the_database(pooler: PoolerFactory) -> None:
    process = pooler(settings={"max_db_client_connections": 1})
    for _ in range(3):
        with process.connect(DATABASE):
            _assert_refused(process, "max_db_client_connections")
        wait_until(lambda: _used_clients(process) == 0, "the client is gone")


def test_max_user_client_connections_of_one_user(pooler: PoolerFactory, roles: Mapping[str, str]) -> None:
    process = pooler(users={"alice": "max_user_client_connections=1"}, userlist=roles)
    with process.connect(DATABASE, user="alice"):
        message = r"client connections exceeded \(max_user_client_connections\)"
        _assert_refused(process, message, user="alice")
        _assert_refused(process, message, "template1", "alice")
        with process.connect(DATABASE, user="bob"):
            pass


def test_max_user_client_connections_of_every_user(pooler: PoolerFactory, roles: Mapping[str, str]) -> None:
    process = pooler(settings={"max_user_client_connections": 1}, userlist=roles)
    with process.connect(DATABASE, user="alice"), process.connect(DATABASE, user="bob"):
        _assert_refused(process, "max_user_client_connections", user="alice")
        _assert_refused(process, "max_user_client_connections", user="bob")


def test_limit_of_a_user_wins_over_the_general_one(pooler: PoolerFactory, roles: Mapping[str, str]) -> None:
    process = pooler(
        settings={"max_user_client_connections": 1},
        users={"alice": "max_user_client_connections=2"},
        userlist=roles,
    )
    with process.connect(DATABASE, user="alice"), process.connect(DATABASE, user="alice"):
        _assert_refused(process, "max_user_client_connections", user="alice")


def test_admin_is_not_limited_on_the_console(pooler: PoolerFactory) -> None:
    process = pooler(settings={"max_user_client_connections": 1, "max_db_client_connections": 1})
    with (
        process.connect("pgbouncer", user=ADMIN) as one,
        process.connect("pgbouncer", user=ADMIN) as two,
    ):
        assert [value(console, "SHOW VERSION") for console in (one, two)]


def test_counts_are_shown(pooler: PoolerFactory, roles: Mapping[str, str]) -> None:
    process = pooler(
        settings={"max_db_client_connections": 7, "max_user_client_connections": 8}, userlist=roles
    )
    with process.connect(DATABASE, user="alice"), process.connect(DATABASE, user="alice") as two:
        two.execute("SELECT 1")
        databases = {row["name"]: row for row in process.admin("SHOW DATABASES")}
        users = {row["name"]: row for row in process.admin("SHOW USERS")}
        assert databases[DATABASE]["current_client_connections"] == 2
        assert databases[DATABASE]["max_client_connections"] == 7
        assert databases[DATABASE]["current_connections"] == 1
        assert users["alice"]["current_client_connections"] == 2
        assert users["alice"]["max_user_client_connections"] == 8
        assert users["alice"]["current_connections"] == 1


# Servers of one pool -------------------------------------------------------------------------------------


def _assert_pool_holds(process: PoolerProcess, size: int, database: str = DATABASE, user: str = USER) -> None:
    """One client more than `size` waits."""
    with ExitStack() as stack:
        clients = [stack.enter_context(process.connect(database, user=user)) for _ in range(size)]
        late = stack.enter_context(process.connect(database, user=user))
        for client in clients:
            client.execute("BEGIN")
        answer = Background(lambda: value(late, "SELECT 1"))
        wait_for_pool(process, database, user, cl_waiting=1, sv_active=size)
        clients[0].execute("COMMIT")
        assert answer.result() == 1


def test_pool_size_at_every_scope(
    pooler: PoolerFactory, postgres: TemporaryPostgres, roles: Mapping[str, str]
) -> None:
    address = f"host=127.0.0.1 port={postgres.port} dbname=postgres"
    process = pooler(
        {"narrow": f"{address} pool_size=1", "general": address},
        settings={"pool_mode": "transaction", "default_pool_size": 2},
        users={"alice": "pool_size=3"},
        userlist=roles,
    )
    _assert_pool_holds(process, 1, "narrow")
    _assert_pool_holds(process, 2, "general")
    _assert_pool_holds(process, 3, "narrow", "alice")


def test_pools_of_two_users_do_not_take_from_each_other(
    pooler: PoolerFactory, roles: Mapping[str, str]
) -> None:
    process = pooler(settings={"pool_mode": "transaction", "default_pool_size": 1}, userlist=roles)
    with process.connect(DATABASE, user="alice") as alice, process.connect(DATABASE, user="bob") as bob:
        alice.execute("BEGIN")
        assert value(bob, "SELECT current_user") == "bob"


# Servers of several pools --------------------------------------------------------------------------------


def test_unused_server_of_another_user_is_evicted_at_max_db_connections(
    pooler: PoolerFactory, roles: Mapping[str, str]
) -> None:
    process = pooler(settings={"pool_mode": "transaction", "max_db_connections": 1}, userlist=roles)
    with process.connect(DATABASE, user="alice") as alice, process.connect(DATABASE, user="bob") as bob:
        for _ in range(2):
            assert value(alice, "SELECT current_user") == "alice"
            assert value(bob, "SELECT current_user") == "bob"
    assert process.log_text().count("closing because: evicted") >= 3
    assert "pooler error" not in process.log_text()


def test_busy_server_is_waited_for_at_max_db_connections(
    pooler: PoolerFactory, roles: Mapping[str, str]
) -> None:
    process = pooler(settings={"pool_mode": "transaction", "max_db_connections": 1}, userlist=roles)
    with process.connect(DATABASE, user="alice") as alice:
        alice.execute("SELECT 1")
        with process.connect(DATABASE, user="bob") as bob:
            bob.execute("SELECT 1")
            alice.execute("BEGIN")
            answer = Background(lambda: value(bob, "SELECT current_user"))
            wait_for_pool(process, user="bob", cl_waiting=1)
            assert value(alice, "SELECT 'still here'") == "still here"
            alice.execute("COMMIT")
            assert answer.result() == "bob"


def test_oldest_unused_server_is_evicted_first(pooler: PoolerFactory, roles: Mapping[str, str]) -> None:
    process = pooler(settings={"pool_mode": "transaction", "max_db_connections": 2}, userlist=roles)
    with (
        process.connect(DATABASE, user="alice") as alice,
        process.connect(DATABASE, user="bob") as bob,
    ):
        alice.execute("SELECT 1")
        kept = backend_pid(bob)
        with process.connect(DATABASE, user="carol") as carol:
            assert value(carol, "SELECT current_user") == "carol"
            assert backend_pid(bob) == kept
            assert pool_row(process, user="alice")["sv_idle"] == 0


def test_max_db_connections_of_one_database(
    pooler: PoolerFactory, postgres: TemporaryPostgres, roles: Mapping[str, str]
) -> None:
    address = f"host=127.0.0.1 port={postgres.port} dbname=postgres"
    process = pooler(
        {"narrow": f"{address} max_db_connections=1", "wide": address},
        settings={"pool_mode": "transaction"},
        userlist=roles,
    )
    for user in ("alice", "bob"):
        for database in ("narrow", "wide"):
            with process.connect(database, user=user) as client:
                assert value(client, "SELECT current_user") == user
    servers = [row["database"] for row in process.admin("SHOW SERVERS")]
    assert sorted(servers) == ["narrow", "wide", "wide"]


def test_unused_server_of_another_database_is_evicted_at_max_user_connections(
    pooler: PoolerFactory, roles: Mapping[str, str]
) -> None:
    process = pooler(settings={"pool_mode": "transaction", "max_user_connections": 1}, userlist=roles)
    with (
        process.connect(DATABASE, user="alice") as here,
        process.connect("template1", user="alice") as there,
    ):
        for _ in range(2):
            assert value(here, "SELECT current_database()") == "postgres"
            assert value(there, "SELECT current_database()") == "template1"
    assert "closing because: evicted" in process.log_text()


def test_max_user_connections_of_one_user(pooler: PoolerFactory, roles: Mapping[str, str]) -> None:
    process = pooler(
        settings={"pool_mode": "transaction"}, users={"alice": "max_user_connections=1"}, userlist=roles
    )
    _assert_pool_holds(process, 1, user="alice")
    with process.connect(DATABASE, user="bob") as one, process.connect(DATABASE, user="bob") as two:
        one.execute("BEGIN")
        assert backend_pid(two) != backend_pid(one)


def test_servers_above_a_smaller_pool_size_are_closed_after_reload(pooler: PoolerFactory) -> None:
    process = pooler(settings={"pool_mode": "transaction", "default_pool_size": 3})
    with ExitStack() as stack:
        clients = [stack.enter_context(process.connect(DATABASE)) for _ in range(3)]
        for client in clients:
            client.execute("BEGIN")
        process.configure(default_pool_size=1)
        process.admin("RELOAD")
        for client in clients:
            client.execute("COMMIT")
    wait_for_pool(process, sv_idle=1, sv_active=0)
    assert "closing because: too many servers in the pool" in process.log_text()
