"""Which server a client gets, and when: modes, order, fairness, and where servers are."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import psycopg
import pytest

from cli.demo.postgres import TemporaryPostgres
from tests.conftest import PoolerFactory
from tests.integration.clients import (
    DATABASE,
    Background,
    Connection,
    backend_pid,
    pool_row,
    value,
    wait_for_client,
    wait_for_pool,
)
from tests.support.bouncer import USER, PoolerProcess

# Modes ---------------------------------------------------------------------------------------------------


def _share_a_server(process: PoolerProcess, database: str = DATABASE, user: str = USER) -> bool:
    """Whether two clients, connected at the same time, are served by one server, one after the other."""
    with process.connect(database, user=user) as one, process.connect(database, user=user) as two:
        return backend_pid(one) == backend_pid(two)


def test_session_keeps_its_server_between_queries(pooler: PoolerFactory) -> None:
    process = pooler(settings={"pool_mode": "session"})
    with process.connect(DATABASE) as one, process.connect(DATABASE) as two:
        pids = {backend_pid(one) for _ in range(3)}, {backend_pid(two) for _ in range(3)}
        assert [len(own) for own in pids] == [1, 1]
        assert pids[0] != pids[1]


def test_session_without_queries_has_no_server(pooler: PoolerFactory) -> None:
    process = pooler(settings={"pool_mode": "session", "default_pool_size": 1})
    with process.connect(DATABASE), process.connect(DATABASE) as two:
        assert value(two, "SELECT 1") == 1


def test_session_waits_for_the_end_of_another(pooler: PoolerFactory) -> None:
    process = pooler(settings={"pool_mode": "session", "default_pool_size": 1})
    with process.connect(DATABASE) as two:
        with process.connect(DATABASE) as one:
            pid = backend_pid(one)
            answer = Background(lambda: backend_pid(two))
            wait_for_pool(process, cl_active=1, cl_waiting=1)
        assert answer.result() == pid


def test_transaction_mode_shares_a_server_between_queries(pooler: PoolerFactory) -> None:
    assert _share_a_server(pooler(settings={"pool_mode": "transaction"}))


def test_transaction_keeps_its_server_to_its_end(pooler: PoolerFactory) -> None:
    process = pooler(settings={"pool_mode": "transaction"})
    with process.connect(DATABASE) as one, process.connect(DATABASE) as two:
        one.execute("BEGIN")
        pid = backend_pid(one)
        assert backend_pid(two) != pid
        assert backend_pid(one) == pid
        one.execute("COMMIT")
        assert backend_pid(two) == pid


def test_failed_transaction_keeps_its_server_too(pooler: PoolerFactory) -> None:
    process = pooler(settings={"pool_mode": "transaction"})
    with process.connect(DATABASE) as one, process.connect(DATABASE) as two:
        one.execute("BEGIN")
        pid = backend_pid(one)
        with pytest.raises(psycopg.errors.DivisionByZero):
            one.execute("SELECT 1/0")
        assert backend_pid(two) != pid
        with pytest.raises(psycopg.errors.InFailedSqlTransaction):
            one.execute("SELECT 1")
        one.execute("ROLLBACK")
        assert value(one, "SELECT 1") == 1


def test_statement_mode_shares_a_server_between_queries(pooler: PoolerFactory) -> None:
    assert _share_a_server(pooler(settings={"pool_mode": "statement"}))


def test_statement_mode_refuses_transactions(pooler: PoolerFactory) -> None:
    process = pooler(settings={"pool_mode": "statement"})
    refusal = "transaction blocks not allowed in statement pooling mode"
    with process.connect(DATABASE) as client, pytest.raises(psycopg.errors.ProtocolViolation, match=refusal):
        client.execute("BEGIN")
    process.wait_for_log(f"closing because: {refusal}")
    with process.connect(DATABASE) as client:
        assert value(client, "SELECT 1") == 1


def test_statement_mode_runs_several_statements_of_one_query(pooler: PoolerFactory) -> None:
    process = pooler(settings={"pool_mode": "statement"})
    with process.connect(DATABASE) as client:
        cursor = client.execute("SELECT 1 AS a; SELECT 2 AS a")
        assert cursor.nextset()
        assert cursor.fetchall() == [{"a": 2}]


def test_mode_of_a_database_wins_over_the_general_one(
    pooler: PoolerFactory, postgres: TemporaryPostgres
) -> None:
    address = f"host=127.0.0.1 port={postgres.port} dbname=postgres"
    process = pooler(
        {"sessions": f"{address} pool_mode=session", "general": address},
        settings={"pool_mode": "transaction"},
    )
    assert not _share_a_server(process, "sessions")
    assert _share_a_server(process, "general")
    assert pool_row(process, "sessions")["pool_mode"] == "session"


def test_mode_of_a_user_wins_over_that_of_the_database(
    pooler: PoolerFactory, postgres: TemporaryPostgres, roles: Mapping[str, str]
) -> None:
    process = pooler(
        {"*": f"host=127.0.0.1 port={postgres.port} pool_mode=session"},
        users={"alice": "pool_mode=transaction"},
        userlist=roles,
    )
    assert _share_a_server(process, user="alice")
    assert not _share_a_server(process, user="bob")


# Order ---------------------------------------------------------------------------------------------------


def _release_two_in_turn(process: PoolerProcess) -> tuple[int, int]:
    """Two servers, the first released before the second; their processes."""
    with process.connect(DATABASE) as one, process.connect(DATABASE) as two:
        one.execute("BEGIN")
        two.execute("BEGIN")
        pids = backend_pid(one), backend_pid(two)
        one.execute("COMMIT")
        two.execute("COMMIT")
    wait_for_pool(process, cl_active=0, sv_idle=2)
    return pids


def test_server_that_was_used_last_is_used_first(pooler: PoolerFactory) -> None:
    process = pooler(settings={"pool_mode": "transaction"})
    _, last = _release_two_in_turn(process)
    with process.connect(DATABASE) as client:
        assert [backend_pid(client) for _ in range(4)] == [last] * 4


def test_round_robin_takes_turns(pooler: PoolerFactory) -> None:
    process = pooler(settings={"pool_mode": "transaction", "server_round_robin": 1})
    first, last = _release_two_in_turn(process)
    with process.connect(DATABASE) as client:
        assert [backend_pid(client) for _ in range(4)] == [first, last, first, last]


def test_those_who_wait_are_served_in_the_order_they_came(
    pooler: PoolerFactory, postgres: TemporaryPostgres
) -> None:
    process = pooler(settings={"pool_mode": "transaction", "default_pool_size": 1})
    postgres.sql("DROP SEQUENCE IF EXISTS served; CREATE SEQUENCE served")
    with ExitStack() as stack:
        holder = stack.enter_context(process.connect(DATABASE))
        clients = [stack.enter_context(process.connect(DATABASE)) for _ in range(6)]
        holder.execute("BEGIN")
        answers = []
        for number, client in enumerate(clients, 1):
            answers.append(Background(lambda client=client: value(client, "SELECT nextval('served')")))  # type: ignore[misc]
            wait_for_pool(process, cl_waiting=number)
        holder.execute("COMMIT")
        assert [answer.result() for answer in answers] == [1, 2, 3, 4, 5, 6]


def _commit_and_go_on(client: Connection) -> Any:
    client.execute("COMMIT")
    return value(client, "SELECT clock_timestamp()")


def test_newcomer_does_not_overtake_those_who_wait(pooler: PoolerFactory) -> None:
    process = pooler(settings={"pool_mode": "transaction", "default_pool_size": 1})
    with process.connect(DATABASE) as busy, process.connect(DATABASE) as waiting:
        busy.execute("BEGIN")
        answer = Background(lambda: value(waiting, "SELECT clock_timestamp()"))
        wait_for_client(process, waiting, "waiting")
        # Its next query is there together with the end of its transaction.
        later = Background(lambda: _commit_and_go_on(busy))
        assert answer.result() < later.result()


def test_waiter_that_leaves_is_forgotten(pooler: PoolerFactory) -> None:
    process = pooler(settings={"pool_mode": "transaction", "default_pool_size": 1})
    with process.connect(DATABASE) as holder, process.connect(DATABASE) as patient:
        holder.execute("BEGIN")
        leaver = process.connect(DATABASE)
        leaver.pgconn.send_query(b"SELECT 1")
        leaver.pgconn.flush()
        wait_for_pool(process, cl_waiting=1)
        answer = Background(lambda: value(patient, "SELECT 42"))
        wait_for_pool(process, cl_waiting=2)
        leaver.close()
        wait_for_pool(process, cl_waiting=1)
        holder.execute("COMMIT")
        assert answer.result() == 42


# Where servers are ---------------------------------------------------------------------------------------


def _addresses(process: PoolerProcess, database: str) -> list[str]:
    return [row["addr"] for row in process.admin("SHOW SERVERS") if row["database"] == database]


def _hold(process: PoolerProcess, database: str, count: int) -> list[str]:
    """Servers' addresses while that many clients hold one each."""
    with ExitStack() as stack:
        for _ in range(count):
            stack.enter_context(process.connect(database)).execute("BEGIN")
        return _addresses(process, database)


def test_hosts_of_a_list_take_turns(pooler: PoolerFactory, postgres: TemporaryPostgres) -> None:
    hosts = f"127.0.0.1,{postgres.socket_dir}"
    process = pooler({"postgres": f"host={hosts} port={postgres.port}"})
    assert sorted(_hold(process, DATABASE, 4)) == ["127.0.0.1"] * 2 + ["unix"] * 2


def test_without_load_balancing_the_first_host_that_answers_gets_all(
    pooler: PoolerFactory, postgres: TemporaryPostgres
) -> None:
    hosts = f"127.0.0.1,{postgres.socket_dir}"
    process = pooler({"postgres": f"host={hosts} port={postgres.port} load_balance_hosts=disable"})
    assert _hold(process, DATABASE, 3) == ["127.0.0.1"] * 3


@pytest.mark.parametrize("balance", ["disable", "round-robin"])
def test_host_that_does_not_answer_is_passed_over(
    pooler: PoolerFactory, postgres: TemporaryPostgres, balance: str
) -> None:
    hosts = f"{postgres.directory}/nobody-listens-here,127.0.0.1"
    process = pooler(
        {"postgres": f"host={hosts} port={postgres.port} load_balance_hosts={balance}"},
        settings={"server_login_retry": 0.1},
    )
    with process.connect(DATABASE) as client:
        assert value(client, "SELECT 1") == 1
    assert _addresses(process, DATABASE) == ["127.0.0.1"]


def test_server_is_reached_through_its_unix_socket(
    pooler: PoolerFactory, postgres: TemporaryPostgres
) -> None:
    process = pooler({"postgres": f"host={postgres.socket_dir} port={postgres.port}"})
    with process.connect(DATABASE) as client:
        assert value(client, "SELECT inet_server_addr()") is None
        assert _addresses(process, DATABASE) == ["unix"]


def test_server_is_found_by_its_name(pooler: PoolerFactory, postgres: TemporaryPostgres) -> None:
    process = pooler({"postgres": f"host=localhost port={postgres.port}"})
    with process.connect(DATABASE) as client:
        assert value(client, "SELECT 1") == 1
    assert [row["hostname"] for row in process.admin("SHOW DNS_HOSTS")] == ["localhost"]


def test_name_that_does_not_exist_is_an_error_for_the_client(
    pooler: PoolerFactory, postgres: TemporaryPostgres
) -> None:
    process = pooler(
        {"postgres": f"host=name.invalid port={postgres.port}"}, settings={"query_wait_timeout": 1}
    )
    with pytest.raises(psycopg.OperationalError):
        process.connect(DATABASE)
    assert "closing because: server DNS lookup failed" in process.log_text()


def test_servers_and_clients_may_use_ipv6(pooler: PoolerFactory) -> None:
    with TemporaryPostgres(settings={"listen_addresses": "::1"}) as server:
        process = pooler(
            {"postgres": f"host=::1 port={server.port}"}, settings={"listen_addr": "127.0.0.1,::1"}
        )
        with process.connect(DATABASE, host="::1") as client:
            assert value(client, "SELECT host(inet_server_addr())") == "::1"
            clients = [row["addr"] for row in process.admin("SHOW CLIENTS") if row["database"] == DATABASE]
            assert (clients, _addresses(process, DATABASE)) == (["::1"], ["::1"])


# Databases that are not in the file ----------------------------------------------------------------------


def test_unknown_name_becomes_a_database_where_there_is_a_star(
    pooler: PoolerFactory, postgres: TemporaryPostgres
) -> None:
    process = pooler({"*": f"host=127.0.0.1 port={postgres.port}"})
    with process.connect("template1") as client:
        assert value(client, "SELECT current_database()") == "template1"
    process.wait_for_log("registered new auto-database: template1")
    assert "template1" in [row["name"] for row in process.admin("SHOW DATABASES")]


def test_star_with_a_dbname_leads_every_name_there(
    pooler: PoolerFactory, postgres: TemporaryPostgres
) -> None:
    process = pooler({"*": f"host=127.0.0.1 port={postgres.port} dbname=template1"})
    with process.connect("whatever") as client:
        assert value(client, "SELECT current_database()") == "template1"


def test_unused_auto_database_is_forgotten(pooler: PoolerFactory, postgres: TemporaryPostgres) -> None:
    process = pooler(
        {"*": f"host=127.0.0.1 port={postgres.port}"},
        settings={"autodb_idle_timeout": 0.5, "server_idle_timeout": 0.5},
    )
    with process.connect("template1") as client:
        assert value(client, "SELECT 1") == 1
        pids = postgres.sql("SELECT pid FROM pg_stat_activity WHERE datname = 'template1'")
        assert len(pids) == 1
    process.wait_for_log("dropping database 'template1'")
    assert "template1" not in [row["name"] for row in process.admin("SHOW DATABASES")]
    with process.connect("template1") as client:
        assert value(client, "SELECT 1") == 1


def test_name_of_a_database_is_not_that_of_the_servers(
    pooler: PoolerFactory, postgres: TemporaryPostgres
) -> None:
    process = pooler({"alias": f"host=127.0.0.1 port={postgres.port} dbname=template1"})
    with process.connect("alias") as client:
        assert value(client, "SELECT current_database()") == "template1"


def test_database_that_the_server_does_not_have_is_its_error(
    pooler: PoolerFactory, postgres: TemporaryPostgres
) -> None:
    process = pooler({"*": f"host=127.0.0.1 port={postgres.port}"})
    with pytest.raises(psycopg.OperationalError, match='database "nowhere" does not exist'):
        process.connect("nowhere")


def test_forced_user_runs_the_queries_of_all_clients(
    pooler: PoolerFactory, postgres: TemporaryPostgres, roles: Mapping[str, str]
) -> None:
    process = pooler(
        {"postgres": f"host=127.0.0.1 port={postgres.port} user=carol"},
        userlist=roles,
        settings={"pool_mode": "transaction"},
    )
    with (
        process.connect(DATABASE, user="alice") as alice,
        process.connect(DATABASE, user="bob") as bob,
    ):
        assert [value(client, "SELECT current_user") for client in (alice, bob)] == ["carol", "carol"]
        assert backend_pid(alice) == backend_pid(bob)
    assert pool_row(process, user="carol") != {}


# How many ------------------------------------------------------------------------------------------------


def test_forced_user_has_its_servers_before_any_client_comes(
    pooler: PoolerFactory, postgres: TemporaryPostgres
) -> None:
    process = pooler({"postgres": f"host=127.0.0.1 port={postgres.port} user={USER} min_pool_size=3"})
    wait_for_pool(process, sv_idle=3, cl_active=0)


def test_pool_with_a_client_is_filled_up_to_its_minimum(pooler: PoolerFactory) -> None:
    process = pooler(settings={"pool_mode": "transaction", "min_pool_size": 3})
    with process.connect(DATABASE):
        wait_for_pool(process, sv_idle=3, cl_active=1)


def test_minimum_is_never_more_than_the_pool(pooler: PoolerFactory, postgres: TemporaryPostgres) -> None:
    address = f"host=127.0.0.1 port={postgres.port} dbname=postgres user={USER} min_pool_size=4"
    process = pooler({"narrow": f"{address} pool_size=1", "wide": address})
    # Both are filled at the same pace.
    wait_for_pool(process, "wide", sv_idle=4)
    assert pool_row(process, "narrow")["sv_idle"] == 1


def test_reserve_is_used_for_those_who_have_waited_long(pooler: PoolerFactory) -> None:
    process = pooler(
        settings={
            "pool_mode": "transaction",
            "default_pool_size": 1,
            "reserve_pool_size": 1,
            "reserve_pool_timeout": 0.3,
        }
    )
    with (
        process.connect(DATABASE) as one,
        process.connect(DATABASE) as two,
        process.connect(DATABASE) as three,
    ):
        one.execute("BEGIN")
        two.execute("BEGIN")
        assert "taking connection from reserve_pool" in process.log_text()
        answer = Background(lambda: value(three, "SELECT 1"))
        wait_for_pool(process, cl_waiting=1, sv_active=2)
        one.execute("COMMIT")
        assert answer.result() == 1


def test_reserve_is_left_alone_before(pooler: PoolerFactory) -> None:
    process = pooler(
        settings={
            "pool_mode": "transaction",
            "default_pool_size": 1,
            "reserve_pool_size": 1,
            "reserve_pool_timeout": 30,
        }
    )
    with process.connect(DATABASE) as one, process.connect(DATABASE) as two:
        one.execute("BEGIN")
        answer = Background(lambda: backend_pid(two))
        wait_for_pool(process, cl_waiting=1, sv_active=1)
        pid = backend_pid(one)
        one.execute("COMMIT")
        assert answer.result() == pid


def test_reserve_of_a_database_is_its_own(pooler: PoolerFactory, postgres: TemporaryPostgres) -> None:
    process = pooler(
        {"postgres": f"host=127.0.0.1 port={postgres.port} pool_size=1 reserve_pool_size=1"},
        settings={"pool_mode": "transaction", "reserve_pool_timeout": 0.3},
    )
    with process.connect(DATABASE) as one, process.connect(DATABASE) as two:
        one.execute("BEGIN")
        assert value(two, "SELECT 1") == 1
    assert "taking connection from reserve_pool" in process.log_text()
