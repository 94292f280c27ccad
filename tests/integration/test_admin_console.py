"""The commands of the console, by what they do to clients and servers."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing

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
    wait_for_client,
    wait_for_pool,
    wait_until,
)
from tests.support.bouncer import ADMIN, USER, PoolerProcess
from tests.support.fakeserver import FakeServer

TRANSACTION = {"pool_mode": "transaction", "default_pool_size": 2}


@pytest.fixture
def process(pooler: PoolerFactory) -> PoolerProcess:
    """Transaction mode, two servers a pool."""
    return pooler(settings=TRANSACTION)


def _command(process: PoolerProcess, sql: str, user: str = ADMIN) -> str | None:
    """Run a command; its tag."""
    with process.connect("pgbouncer", user=user) as console:
        return console.execute(sql.encode()).statusmessage


def _assert_refused(process: PoolerProcess, sql: str, text: str, user: str = ADMIN) -> None:
    """The command is an error, and the connection stays."""
    with process.connect("pgbouncer", user=user) as console:
        with pytest.raises(psycopg.errors.ProtocolViolation) as caught:
            console.execute(sql.encode())
        assert (caught.value.diag.severity, caught.value.diag.message_primary) == ("ERROR", text)
        assert console.execute("SHOW VERSION").statusmessage == "SHOW"


def _setting(process: PoolerProcess, name: str) -> str:
    return {row["key"]: str(row["value"]) for row in process.admin("SHOW CONFIG")}[name]


def _server_pids(process: PoolerProcess, database: str = DATABASE) -> set[int]:
    return {row["remote_pid"] for row in process.admin("SHOW SERVERS") if row["database"] == database}


# PAUSE, RESUME -------------------------------------------------------------------------------------------


def test_pause_closes_servers_and_queries_wait_for_resume(process: PoolerProcess) -> None:
    with process.connect(DATABASE) as client:
        client.execute("SELECT 1")
        assert _command(process, "PAUSE") == "PAUSE"
        wait_for_pool(process, sv_idle=0)
        answer = Background(lambda: value(client, "SELECT 42"))
        wait_for_pool(process, cl_waiting=1)
        assert _command(process, "RESUME") == "RESUME"
        assert answer.result() == 42


def test_pause_waits_for_the_end_of_transactions(process: PoolerProcess) -> None:
    with process.connect(DATABASE) as busy, process.connect(DATABASE) as late:
        busy.execute("BEGIN")
        pausing = Background(lambda: _command(process, "PAUSE"))
        process.wait_for_log("PAUSE command issued")
        answer = Background(lambda: value(late, "SELECT 42"))
        wait_for_pool(process, cl_waiting=1)
        assert value(busy, "SELECT 1") == 1
        assert pausing.is_alive()
        busy.execute("COMMIT")
        assert pausing.result() == "PAUSE"
        assert answer.is_alive()
        _command(process, "RESUME")
        assert answer.result() == 42


def test_pause_waits_for_the_end_of_sessions(pooler: PoolerFactory) -> None:
    process = pooler(settings={"pool_mode": "session"})
    with process.connect(DATABASE) as client:
        client.execute("SELECT 1")
        pausing = Background(lambda: _command(process, "PAUSE"))
        process.wait_for_log("PAUSE command issued")
        assert value(client, "SELECT 2") == 2
        assert pausing.is_alive()
    assert pausing.result() == "PAUSE"


def test_pause_of_one_database_leaves_the_others_alone(process: PoolerProcess) -> None:
    with process.connect(DATABASE) as paused, process.connect("template1") as other:
        assert _command(process, f"PAUSE {DATABASE}") == "PAUSE"
        answer = Background(lambda: value(paused, "SELECT 42"))
        wait_for_pool(process, cl_waiting=1)
        assert value(other, "SELECT 1") == 1
        rows = {row["name"]: row["paused"] for row in process.admin("SHOW DATABASES")}
        assert (rows[DATABASE], rows["template1"]) == (1, 0)
        assert _command(process, f"RESUME {DATABASE}") == "RESUME"
        assert answer.result() == 42


def test_newcomers_of_a_paused_pooler_wait(process: PoolerProcess) -> None:
    _command(process, "PAUSE")
    coming = Background(lambda: process.connect(DATABASE))
    wait_for_pool(process, cl_waiting=1)
    _command(process, "RESUME")
    with coming.result() as client:
        assert value(client, "SELECT 1") == 1


def test_pause_and_resume_out_of_turn_are_errors(process: PoolerProcess) -> None:
    with process.connect(DATABASE):
        _assert_refused(process, "RESUME", "pooler is not paused/suspended")
        _assert_refused(process, f"RESUME {DATABASE}", f"database {DATABASE} is not paused")
        _command(process, "PAUSE")
        _assert_refused(process, "PAUSE", "already suspended/paused")
        _assert_refused(process, "SUSPEND", "already suspended/paused")
        _assert_refused(process, f"KILL {DATABASE}", "already suspended/paused")
        assert [row for row in process.admin("SHOW STATE") if row["value"] == "yes"] == [
            {"key": "paused", "value": "yes"}
        ]


def test_interrupted_pause_is_taken_back(process: PoolerProcess) -> None:
    with process.connect(DATABASE) as busy, process.connect("pgbouncer", user=ADMIN) as console:
        busy.execute("BEGIN")
        pausing = Background(lambda: console.execute("PAUSE"))
        process.wait_for_log("PAUSE command issued")
        wait_until(lambda: process.admin("SHOW STATE")[1]["value"] == "yes", "the pooler is paused")
        console.cancel()
        with pytest.raises(psycopg.errors.QueryCanceled):
            pausing.result()
        with process.connect(DATABASE) as other:
            assert value(other, "SELECT 1") == 1


# SUSPEND -------------------------------------------------------------------------------------------------


def test_suspend_holds_everything_until_resume(process: PoolerProcess) -> None:
    with (
        process.connect(DATABASE) as client,
        process.connect("pgbouncer", user=ADMIN) as console,
    ):
        pid = backend_pid(client)
        assert console.execute("SUSPEND").statusmessage == "SUSPEND"
        answer = Background(lambda: backend_pid(client))
        coming = Background(lambda: process.connect(DATABASE))
        states = {row["key"]: row["value"] for row in console.execute("SHOW STATE").fetchall()}
        assert states == {"active": "no", "paused": "no", "suspended": "yes"}
        assert console.execute("RESUME").statusmessage == "RESUME"
        assert answer.result() == pid
        with coming.result() as newcomer:
            assert value(newcomer, "SELECT 1") == 1


def test_suspend_does_not_go_with_paused_databases(process: PoolerProcess) -> None:
    with process.connect(DATABASE):
        _command(process, f"PAUSE {DATABASE}")
        _assert_refused(process, "SUSPEND", "cannot suspend with paused databases")


def test_pooler_resumes_when_the_admin_who_suspended_it_disappears(process: PoolerProcess) -> None:
    with process.connect(DATABASE) as client:
        with process.connect("pgbouncer", user=ADMIN) as console:
            console.execute("SUSPEND")
        process.wait_for_log("admin disappeared when suspended, doing RESUME")
        assert value(client, "SELECT 1") == 1


# RECONNECT, WAIT_CLOSE -----------------------------------------------------------------------------------


def test_reconnect_replaces_servers_as_they_become_free(process: PoolerProcess) -> None:
    with process.connect(DATABASE) as busy, process.connect(DATABASE) as idle:
        busy.execute("BEGIN")
        before = backend_pid(busy), backend_pid(idle)
        assert _command(process, "RECONNECT") == "RECONNECT"
        assert backend_pid(idle) not in before
        assert backend_pid(busy) == before[0]
        busy.execute("COMMIT")
        assert backend_pid(busy) not in before


def test_reconnect_of_one_database_leaves_the_others_alone(process: PoolerProcess) -> None:
    with process.connect(DATABASE) as here, process.connect("template1") as there:
        before = backend_pid(here), backend_pid(there)
        _command(process, "RECONNECT template1")
        assert backend_pid(here) == before[0]
        assert backend_pid(there) != before[1]


def test_reconnect_in_the_middle_of_a_login_to_a_server_begins_it_anew(pooler: PoolerFactory) -> None:
    with FakeServer() as fake:
        fake.script(lambda connection: connection.until_closed())
        process = pooler({DATABASE: f"host=127.0.0.1 port={fake.port}"}, settings=TRANSACTION)
        coming = Background(lambda: process.connect(DATABASE, connect_timeout=5))
        wait_for_pool(process, sv_login=1)
        fake.connection(0)
        _command(process, "RECONNECT")
        coming.result().close()
        assert fake.errors == []


def test_wait_close_waits_until_reconnect_is_through(process: PoolerProcess) -> None:
    assert _command(process, "WAIT_CLOSE") == "WAIT_CLOSE"
    with process.connect(DATABASE) as busy:
        busy.execute("BEGIN")
        _command(process, "RECONNECT")
        waiting = Background(lambda: _command(process, "WAIT_CLOSE"))
        here = Background(lambda: _command(process, f"WAIT_CLOSE {DATABASE}"))
        process.wait_for_log(f"WAIT_CLOSE '{DATABASE}' command issued")
        assert _command(process, "WAIT_CLOSE template1") == "WAIT_CLOSE"
        assert (waiting.is_alive(), here.is_alive()) == (True, True)
        busy.execute("COMMIT")
        assert (waiting.result(), here.result()) == ("WAIT_CLOSE", "WAIT_CLOSE")


def test_server_fast_close_does_not_wait_for_sessions(pooler: PoolerFactory) -> None:
    process = pooler(settings={"pool_mode": "session", "server_fast_close": 1})
    with process.connect(DATABASE) as client:
        client.execute("SELECT 1")
        _command(process, "RECONNECT")
        assert _command(process, "WAIT_CLOSE") == "WAIT_CLOSE"
        with pytest.raises(psycopg.OperationalError, match="database configuration changed"):
            client.execute("SELECT 1")


# KILL, KILL_CLIENT, DISABLE ------------------------------------------------------------------------------


def test_kill_closes_all_of_a_database_and_pauses_it(process: PoolerProcess) -> None:
    with process.connect(DATABASE) as busy, process.connect("template1") as other:
        busy.execute("BEGIN")
        assert _command(process, f"KILL {DATABASE}") == "KILL"
        with pytest.raises(psycopg.OperationalError, match="database removed"):
            busy.execute("SELECT 1")
        assert value(other, "SELECT 1") == 1
        coming = Background(lambda: process.connect(DATABASE))
        wait_for_pool(process, cl_waiting=1)
        _command(process, f"RESUME {DATABASE}")
        coming.result().close()


def test_pause_in_the_middle_of_a_login_to_a_server_is_no_failure_of_that_login(
    process: PoolerProcess,
) -> None:
    with process.connect(DATABASE) as old:
        old.execute("SELECT 1")
        # Without a server the newcomer has to wait for one to log in.
        _command(process, "RECONNECT")
        _command(process, f"PAUSE {DATABASE}")
        coming = Background(lambda: process.connect(DATABASE, connect_timeout=5))
        wait_for_pool(process, cl_waiting=1)
        _command(process, f"RESUME {DATABASE}")
        assert value(old, "SELECT 1") == 1
        coming.result().close()


def test_kill_without_a_name_is_for_all_databases_in_use(process: PoolerProcess) -> None:
    with process.connect(DATABASE) as one, process.connect("template1") as two:
        assert _command(process, "KILL") == "KILL"
        for client in (one, two):
            with pytest.raises(psycopg.OperationalError, match="database removed"):
                client.execute("SELECT 1")
    _assert_refused(process, "RESUME", "pooler is not paused/suspended")
    for name in (DATABASE, "template1"):
        assert _command(process, f"RESUME {name}") == "RESUME"


def test_kill_client_closes_just_that_client(process: PoolerProcess) -> None:
    with process.connect(DATABASE) as victim:
        (row,) = [row for row in process.admin("SHOW CLIENTS") if row["database"] == DATABASE]
        with process.connect(DATABASE) as other:
            assert _command(process, f"KILL_CLIENT {row['id']}") == "KILL_CLIENT"
            with pytest.raises(psycopg.OperationalError, match="admin forced disconnect"):
                victim.execute("SELECT 1")
            assert value(other, "SELECT 1") == 1
    _assert_refused(process, f"KILL_CLIENT {row['id']}", "client not found")
    _assert_refused(process, "KILL_CLIENT nobody", "invalid client pointer supplied")


def test_killed_client_in_a_transaction_takes_its_server_with_it(process: PoolerProcess) -> None:
    with closing(process.connect(DATABASE)) as victim:
        victim.execute("BEGIN")
        pid = backend_pid(victim)
        (row,) = [row for row in process.admin("SHOW CLIENTS") if row["database"] == DATABASE]
        _command(process, f"KILL_CLIENT {row['id']}")
        assert pid not in _server_pids(process)


def test_disabled_database_refuses_new_clients_only(process: PoolerProcess) -> None:
    with process.connect(DATABASE) as old:
        assert _command(process, f"DISABLE {DATABASE}") == "DISABLE"
        with pytest.raises(psycopg.OperationalError, match=f'database "{DATABASE}" is disabled'):
            process.connect(DATABASE)
        assert value(old, "SELECT 1") == 1
        rows = {row["name"]: row["disabled"] for row in process.admin("SHOW DATABASES")}
        assert rows[DATABASE] == 1
        assert _command(process, f"ENABLE {DATABASE}") == "ENABLE"
        process.connect(DATABASE).close()


# RELOAD, SET ---------------------------------------------------------------------------------------------


def test_reload_takes_over_settings(process: PoolerProcess) -> None:
    process.configure(default_pool_size=1, query_wait_timeout=1)
    assert _command(process, "RELOAD") == "RELOAD"
    assert _setting(process, "default_pool_size") == "1"
    with process.connect(DATABASE) as holder, process.connect(DATABASE) as waiter:
        holder.execute("BEGIN")
        with pytest.raises(psycopg.OperationalError, match="query_wait_timeout"):
            waiter.execute("SELECT 1")


def test_reload_takes_over_databases(pooler: PoolerFactory, postgres: TemporaryPostgres) -> None:
    address = f"host=127.0.0.1 port={postgres.port}"
    process = pooler({"changed": f"{address} dbname=postgres", "removed": f"{address} dbname=postgres"})
    with process.connect("changed") as changed, process.connect("removed") as removed:
        changed.execute("SELECT 1")
        removed.execute("SELECT 1")
        process.databases = {"changed": f"{address} dbname=template1", "added": f"{address} dbname=template1"}
        process.configure()
        process.admin("RELOAD")
        with pytest.raises(psycopg.OperationalError, match="database removed"):
            removed.execute("SELECT 1")
        assert value(changed, "SELECT current_database()") == "postgres"
    for name in ("changed", "added"):
        with process.connect(name) as client:
            assert value(client, "SELECT current_database()") == "template1"
    with pytest.raises(psycopg.OperationalError, match="no such database: removed"):
        process.connect("removed")


def test_reload_of_the_same_file_closes_nothing(process: PoolerProcess) -> None:
    with process.connect(DATABASE) as client:
        pid = backend_pid(client)
        process.admin("RELOAD")
        assert backend_pid(client) == pid


def test_reload_of_a_file_with_an_error_changes_nothing(process: PoolerProcess) -> None:
    before = process.admin("SHOW CONFIG"), process.admin("SHOW DATABASES")
    process.databases["another"] = "host=127.0.0.1"
    process.configure(default_pool_size=7, max_client_conn=77, no_such_setting=1, verbose="not a number")
    with process.connect("pgbouncer", user=ADMIN) as console:
        with pytest.raises(psycopg.errors.ConfigFileError) as caught:
            console.execute("RELOAD")
        assert caught.value.diag.message_primary == "RELOAD failed, see logs for additional details"
    assert (process.admin("SHOW CONFIG"), process.admin("SHOW DATABASES")) == before
    line = next(
        number
        for number, text in enumerate(process.ini_path.read_text().splitlines(), 1)
        if text.startswith("no_such_setting")
    )
    assert f"{process.ini_path}:{line}: " in process.log_text()


def test_reload_reads_the_user_list_again(pooler: PoolerFactory) -> None:
    process = pooler(settings={"auth_type": "md5"}, userlist={"alice": "old"})
    process.connect("pgbouncer", user=ADMIN, password="admin-password").close()
    process.userlist = {**process.userlist, "alice": "longer than before", "bob": "new"}
    process.configure(admin_users=f"{ADMIN}, alice, bob")
    process.admin("RELOAD")
    process.connect("pgbouncer", user="alice", password="longer than before").close()
    process.connect("pgbouncer", user="bob", password="new").close()
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        process.connect("pgbouncer", user="alice", password="old")


def test_set_changes_a_setting_until_the_next_reload(process: PoolerProcess) -> None:
    assert _command(process, "SET default_pool_size = 1") == "SET default_pool_size=1"
    assert _setting(process, "default_pool_size") == "1"
    with process.connect(DATABASE) as one, process.connect(DATABASE) as two:
        one.execute("BEGIN")
        answer = Background(lambda: value(two, "SELECT 1"))
        wait_for_pool(process, cl_waiting=1)
        process.admin("RELOAD")
        assert answer.result() == 1
    assert _setting(process, "default_pool_size") == "2"


@pytest.mark.parametrize(
    ("sql", "tag"),
    [
        ("SET server_reset_query = 'SELECT ''x'''", "SET server_reset_query=SELECT 'x'"),
        ("set query_wait_notify to 3;", "SET query_wait_notify=3"),
        ("SET client_encoding = 'UTF8'", "SET"),
    ],
)
def test_set_answers_with_what_was_asked_for(process: PoolerProcess, sql: str, tag: str) -> None:
    assert _command(process, sql) == tag


@pytest.mark.parametrize(
    ("sql", "text"),
    [
        ("SET no_such_setting = 1", "SET failed"),
        ("SET default_pool_size = many", "SET failed"),
        ("SET log_connections = on", "SET failed"),
        ("SET pool_mode = sometimes", "SET failed"),
        ("SET dns_zone_check_period = 5", "SET failed"),
        ("SET listen_port = 1", "SET failed"),
        ("SET auth_type = hba", "SET failed"),
        ("SET default_pool_size", "invalid command 'SET default_pool_size', use SHOW HELP;"),
    ],
)
def test_set_of_what_cannot_be_is_an_error_and_changes_nothing(
    process: PoolerProcess, sql: str, text: str
) -> None:
    before = process.admin("SHOW CONFIG")
    _assert_refused(process, sql, text)
    assert process.admin("SHOW CONFIG") == before


# Who may -------------------------------------------------------------------------------------------------

ADMIN_COMMANDS = [
    "PAUSE", "RESUME", "RELOAD", "SUSPEND", "SHUTDOWN", "KILL", f"KILL {DATABASE}", "KILL_CLIENT 1",
    f"DISABLE {DATABASE}", f"ENABLE {DATABASE}", "RECONNECT", "WAIT_CLOSE", "SET verbose = 1", "SHOW FDS",
]  # fmt: skip


def test_stats_users_may_look_but_not_act(pooler: PoolerFactory, roles: Mapping[str, str]) -> None:
    process = pooler(settings={"stats_users": "alice"}, userlist=roles)
    for command in ADMIN_COMMANDS:
        _assert_refused(process, command, "admin access needed", "alice")
    with process.connect("pgbouncer", user="alice") as console:
        for table in ("POOLS", "STATS", "CLIENTS", "SERVERS", "DATABASES", "CONFIG", "USERS", "LISTS"):
            assert console.execute(f"SHOW {table}".encode()).statusmessage == "SHOW"
        assert console.execute("SET client_encoding = 'UTF8'").statusmessage == "SET"


def test_others_do_not_get_in(pooler: PoolerFactory, roles: Mapping[str, str]) -> None:
    process = pooler(settings={"stats_users": "alice"}, userlist=roles)
    for user in ("bob", USER):
        with pytest.raises(psycopg.OperationalError, match="not allowed"):
            process.connect("pgbouncer", user=user)


@pytest.mark.parametrize("auth_type", ["md5", "scram-sha-256", "plain"])
def test_console_asks_for_the_password_of_an_admin(pooler: PoolerFactory, auth_type: str) -> None:
    process = pooler(settings={"auth_type": auth_type})
    with pytest.raises(psycopg.OperationalError, match="authentication failed"):
        process.connect("pgbouncer", user=ADMIN, password="wrong")
    with process.connect(
        "pgbouncer", user=ADMIN, password="admin-password", host=str(process.directory)
    ) as console:
        assert value(console, "SHOW VERSION")


# Answers -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "text"),
    [
        ("NONSENSE", "invalid command 'NONSENSE', use SHOW HELP;"),
        ("", "invalid command '', use SHOW HELP;"),
        ("SHOW", "invalid command 'SHOW', use SHOW HELP;"),
        ("SHOW POOLS; SHOW STATS", "invalid command 'SHOW POOLS; SHOW STATS', use SHOW HELP;"),
        ("SHUTDOWN NOW", "invalid command 'SHUTDOWN NOW', use SHOW HELP;"),
        ("PAUSE nowhere", "no such database: nowhere"),
        ("RESUME nowhere", "no such database: nowhere"),
        ("KILL nowhere", "no such database: nowhere"),
        ("DISABLE", "a database is required"),
        ("ENABLE", "a database is required"),
        ("PAUSE pgbouncer", "cannot pause admin db: pgbouncer"),
        ("KILL pgbouncer", "cannot kill admin db: pgbouncer"),
        ("DISABLE pgbouncer", "cannot disable admin db: pgbouncer"),
        ("RECONNECT pgbouncer", "cannot reconnect admin db: pgbouncer"),
        ("WAIT_CLOSE pgbouncer", "cannot wait in admin db: pgbouncer"),
    ],
)
def test_mistake_is_an_error_and_the_console_goes_on(
    pooler: PoolerFactory, postgres: TemporaryPostgres, sql: str, text: str
) -> None:
    _assert_refused(pooler({DATABASE: f"host=127.0.0.1 port={postgres.port}"}), sql, text)


def test_show_pools_follows_what_clients_do(process: PoolerProcess) -> None:
    with (
        process.connect(DATABASE) as one,
        process.connect(DATABASE) as two,
        process.connect(DATABASE) as three,
    ):
        one.execute("BEGIN")
        two.execute("BEGIN")
        answer = Background(lambda: value(three, "SELECT 1"))
        wait_for_pool(process, cl_active=2, cl_waiting=1, sv_active=2, sv_idle=0)
        wait_for_client(process, three, "waiting")
        wait_for_client(process, one, "active")
        one.execute("COMMIT")
        assert answer.result() == 1
        wait_for_pool(process, cl_active=3, cl_waiting=0, sv_active=1, sv_idle=1)
        wait_for_client(process, one, "idle")


def test_show_servers_and_clients_name_each_other(process: PoolerProcess) -> None:
    with process.connect(DATABASE, application_name="linked") as client:
        client.execute("BEGIN")
        pid = backend_pid(client)
        (mine,) = [row for row in process.admin("SHOW CLIENTS") if row["application_name"] == "linked"]
        (server,) = [row for row in process.admin("SHOW SERVERS") if row["database"] == DATABASE]
        assert (mine["link"], server["link"]) == (server["ptr"], mine["ptr"])
        assert server["remote_pid"] == pid
        client.execute("COMMIT")
        (mine,) = [row for row in process.admin("SHOW CLIENTS") if row["application_name"] == "linked"]
        assert mine["link"] == ""


def test_stats_count_what_was_done(process: PoolerProcess) -> None:
    with process.connect(DATABASE) as client:
        client.execute("SELECT 1")
        client.execute("BEGIN")
        client.execute("SELECT pg_sleep(0.05)")
        client.execute("COMMIT")
    (row,) = [row for row in process.admin("SHOW STATS_TOTALS") if row["database"] == DATABASE]
    assert (row["xact_count"], row["query_count"], row["client_login_count"]) == (2, 4, 1)
    assert row["server_assignment_count"] == 2
    assert row["bytes_received"] > 0
    assert row["bytes_sent"] > 0
    assert row["xact_time"] >= row["query_time"] >= 50_000


# SHUTDOWN ------------------------------------------------------------------------------------------------


def test_shutdown_ends_at_once(process: PoolerProcess) -> None:
    with process.connect(DATABASE) as client, process.connect("pgbouncer", user=ADMIN) as console:
        client.execute("BEGIN")
        with pytest.raises(psycopg.OperationalError):
            console.execute("SHUTDOWN")
        assert process.wait() == 0
        with pytest.raises(psycopg.OperationalError):
            client.execute("SELECT 1")


def test_shutdown_wait_for_clients_ends_with_the_last_client(process: PoolerProcess) -> None:
    with process.connect(DATABASE) as client:
        assert _command(process, "SHUTDOWN WAIT_FOR_CLIENTS") == "SHUTDOWN"
        assert value(client, "SELECT 1") == 1
        with pytest.raises(psycopg.OperationalError):
            process.connect(DATABASE)
        assert process.process.poll() is None
    assert process.wait() == 0
    assert "client connections dropped, exiting" in process.log_text()


def test_shutdown_wait_for_servers_ends_with_the_last_transaction(process: PoolerProcess) -> None:
    with process.connect(DATABASE) as busy, process.connect(DATABASE) as late:
        busy.execute("BEGIN")
        assert _command(process, "SHUTDOWN WAIT_FOR_SERVERS") == "SHUTDOWN"
        assert value(busy, "SELECT 1") == 1
        with pytest.raises(psycopg.errors.ProtocolViolation, match="server shutting down"):
            late.execute("SELECT 1")
        assert process.process.poll() is None
        busy.execute("COMMIT")
        assert process.wait() == 0
    assert "server connections dropped, exiting" in process.log_text()


def test_console_stays_open_over_the_unix_socket_while_shutting_down(process: PoolerProcess) -> None:
    with closing(process.connect(DATABASE)) as client:
        client.execute("BEGIN")
        _command(process, "SHUTDOWN WAIT_FOR_CLIENTS")
        with process.connect("pgbouncer", user=ADMIN, host=str(process.directory)) as console:
            with pytest.raises(psycopg.errors.ProtocolViolation, match="pooler is shutting down"):
                console.execute("RESUME")
            with pytest.raises(psycopg.OperationalError, match="pooler is shutting down"):
                process.connect(DATABASE, host=str(process.directory))
            with pytest.raises(psycopg.OperationalError):
                console.execute("SHUTDOWN")
        assert process.wait() == 0


def test_pool_of_the_console_is_shown(process: PoolerProcess) -> None:
    row = pool_row(process, "pgbouncer", "pgbouncer")
    assert (row["pool_mode"], row["cl_active"]) == ("statement", 1)
