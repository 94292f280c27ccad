"""Commands that keep an operator out of trouble: dry run, drift, saving, time limits, cancel, audit."""

from __future__ import annotations

import os
import re
import shutil
import signal
import stat
from pathlib import Path
from typing import Any

import psycopg
import pytest

from cli.demo.postgres import TemporaryPostgres
from tests.conftest import PgBouncerFactory, PoolerFactory
from tests.integration.clients import (
    DATABASE,
    Background,
    Connection,
    client_port,
    value,
    wait_for_client,
    wait_for_pool,
    wait_until,
)
from tests.support.bouncer import ADMIN, USER, PoolerProcess
from tests.support.certificates import Authority
from tests.support.rawclient import RawClient, message

TRANSACTION = {"pool_mode": "transaction", "default_pool_size": 2}


@pytest.fixture
def process(pooler: PoolerFactory) -> PoolerProcess:
    """Transaction mode, two servers a pool."""
    return pooler(settings=TRANSACTION)


def _error(process: PoolerProcess, sql: str) -> psycopg.errors.Diagnostic:
    with process.connect("pgbouncer", user=ADMIN) as console:
        with pytest.raises(psycopg.Error) as caught:
            console.execute(sql.encode())
        return caught.value.diag


def _give_to_the_pooler(process: PoolerProcess) -> None:
    """The configuration belongs to the user that the pooler runs as."""
    owner = process.directory.stat()
    os.chown(process.ini_path, owner.st_uid, owner.st_gid)


def _client_id(process: PoolerProcess, connection: Connection) -> int:
    port = client_port(connection)
    return next(int(row["id"]) for row in process.admin("SHOW CLIENTS") if row["port"] == port)


def _paused(process: PoolerProcess, database: str = DATABASE) -> tuple[str, int]:
    """PAUSE of the pooler (yes, no), and of the database (1, 0)."""
    states = {row["key"]: row["value"] for row in process.admin("SHOW STATE")}
    databases = {row["name"]: row["paused"] for row in process.admin("SHOW DATABASES")}
    return states["paused"], databases[database]


# RELOAD DRY RUN ------------------------------------------------------------------------------------------


def test_dry_run_says_what_reload_then_does(process: PoolerProcess) -> None:
    assert process.admin("RELOAD DRY RUN") == []
    before = process.admin("SHOW CONFIG")
    process.databases["another"] = "host=127.0.0.1 password=secret"
    process.userlist["alice"] = "secret"
    process.configure(default_pool_size=7, listen_port=process.port + 1, auth_type="md5")
    rows = process.admin("RELOAD DRY RUN")
    assert [(row["key"], row["change"], row["old"], row["new"], row["needs"]) for row in rows] == [
        ("auth_type", "changed", "trust", "md5", "reconnect"),
        ("default_pool_size", "changed", "2", "7", "now"),
        ("listen_port", "changed", str(process.port), str(process.port + 1), "restart"),
        (
            *("another", "added", None),
            *("dbname=another host=127.0.0.1 port=5432 password=*** load_balance_hosts=round-robin", "now"),
        ),
        ("alice", "added", None, "***", "now"),
    ]
    assert process.admin("SHOW CONFIG") == before
    process.admin("RELOAD")
    with process.connect("pgbouncer", user=ADMIN, password="admin-password") as console:
        left = console.execute("RELOAD DRY RUN").fetchall()
    assert [(row["key"], row["needs"]) for row in left] == [("listen_port", "restart")]


def test_dry_run_of_a_file_with_an_error_is_the_error_of_reload(process: PoolerProcess) -> None:
    process.configure(no_such_setting=1)
    dry, real = _error(process, "RELOAD DRY RUN"), _error(process, "RELOAD")
    assert dry.sqlstate == "F0000"
    assert (dry.sqlstate, dry.message_primary, dry.message_detail) == (
        *(real.sqlstate, real.message_primary),
        real.message_detail,
    )
    assert "no_such_setting" in str(dry.message_detail)


def test_reload_takes_no_half_of_the_user_list(process: PoolerProcess) -> None:
    process.configure(default_pool_size=7)
    path = process.directory / "userlist.txt"
    whole = path.read_text()
    path.write_text('"alice" "secret"\nbroken\n' + whole)
    for command in ("RELOAD DRY RUN", "RELOAD", "RELOAD"):
        assert _error(process, command).message_detail == f"{path}:2: broken auth file"
    names = {row["name"] for row in process.admin("SHOW USERS")}
    assert {ADMIN, USER} <= names
    assert "alice" not in names
    sizes = {row["pool_size"] for row in process.admin("SHOW DATABASES WHERE name <> 'pgbouncer'")}
    assert sizes <= {TRANSACTION["default_pool_size"]}
    path.write_text('"alice" "secret"\n' + whole)
    assert process.admin("RELOAD") == []
    assert "alice" in {row["name"] for row in process.admin("SHOW USERS")}
    assert value(process.connect(DATABASE), "SELECT 1") == 1


def test_dry_run_reads_certificates_and_rules(pooler: PoolerFactory, tmp_path: Path) -> None:
    process = pooler(settings=TRANSACTION)
    rules = process.directory / "hba.conf"
    rules.write_text("host all all 0.0.0.0/0 nonsense\n")
    process.configure(auth_type="hba", auth_hba_file=rules)
    assert "hba.conf:1: " in str(_error(process, "RELOAD DRY RUN").message_detail)
    certificate, key = Authority().issue("localhost").write(tmp_path, "server")
    for path in (certificate, key):
        shutil.copy(path, process.directory / path.name)
        (process.directory / path.name).chmod(0o644)
    process.configure(
        auth_type="trust",
        client_tls_sslmode="allow",
        client_tls_cert_file=process.directory / "nowhere.crt",
        client_tls_key_file=process.directory / key.name,
    )
    assert "nowhere.crt" in str(_error(process, "RELOAD DRY RUN").message_detail)
    process.configure(client_tls_cert_file=process.directory / certificate.name)
    rows = {(row["section"], row["key"]): row["needs"] for row in process.admin("RELOAD DRY RUN")}
    assert rows["pgbouncer", "client_tls_cert_file"] == "reconnect"
    assert rows["files", "client_tls"] == "reconnect"


# SHOW CONFIG_DIFF, SET, SAVE CONFIG ----------------------------------------------------------------------


def _drift(process: PoolerProcess, key: str) -> dict[str, Any] | None:
    rows = process.admin("SHOW CONFIG_DIFF")
    return next((row for row in rows if row["key"] == key), None)


def test_drift_is_visible_until_it_is_saved(process: PoolerProcess) -> None:
    assert _drift(process, "query_wait_timeout") is None
    process.admin("SET query_wait_timeout = 77")
    process.admin("SET default_pool_size = 5")
    assert _drift(process, "query_wait_timeout") == {
        "section": "pgbouncer",
        "key": "query_wait_timeout",
        "file": None,
        "running": "77",
        "default": "120",
        "source": "set",
        "changeable": "yes",
    }
    _give_to_the_pooler(process)
    process.ini_path.chmod(0o640)
    text = process.ini_path.read_text()
    saved = process.admin("SAVE CONFIG")
    assert [(row["key"], row["old"], row["new"]) for row in saved] == [
        ("query_wait_timeout", None, "77"),
        ("default_pool_size", "2", "5"),
    ]
    lines = process.ini_path.read_text().split("\n")
    for row in saved:
        assert lines[row["line"] - 1] == f"{row['key']} = {row['new']}"
        assert row["file"] == str(process.ini_path)
        assert Path(row["backup"]).read_text() == text
    expected = text.replace("default_pool_size = 2\n", "default_pool_size = 5\nquery_wait_timeout = 77\n")
    assert process.ini_path.read_text() == expected
    assert stat.S_IMODE(process.ini_path.stat().st_mode) == 0o640
    assert process.admin("RELOAD DRY RUN") == []
    before = process.admin("SHOW CONFIG")
    process.admin("RELOAD")
    assert process.admin("SHOW CONFIG") == before
    found = _drift(process, "query_wait_timeout")
    assert found is not None
    assert (found["file"], found["source"]) == ("77", "file")
    assert process.admin("SAVE CONFIG") == []


def test_nothing_is_saved_into_a_file_that_was_edited(process: PoolerProcess) -> None:
    _give_to_the_pooler(process)
    process.admin("SET query_wait_timeout = 77")
    process.ini_path.write_text(text := process.ini_path.read_text() + "; a comment\n")
    error = _error(process, "SAVE CONFIG")
    assert (error.sqlstate, error.message_primary) == ("F0000", "SAVE CONFIG failed")
    assert "has changed since it was loaded" in str(error.message_detail)
    assert process.ini_path.read_text() == text


def test_a_pooler_that_may_not_write_says_so(process: PoolerProcess) -> None:
    if os.geteuid() == 0:
        process.ini_path.chmod(0o644)  # root's, and the pooler is not root
    else:
        process.directory.chmod(0o555)
    text = process.ini_path.read_text()
    process.admin("SET query_wait_timeout = 77")
    error = _error(process, "SAVE CONFIG")
    process.directory.chmod(0o755)
    assert error.message_primary == "SAVE CONFIG failed"
    assert re.search(r"pgbouncer\.ini.*: .*\(the pooler runs as \S+\)", str(error.message_detail))
    assert process.ini_path.read_text() == text


def test_settings_that_do_not_fit_together_are_not_saved(process: PoolerProcess) -> None:
    _give_to_the_pooler(process)
    process.admin("SET client_tls_sslmode = require")
    error = _error(process, "SAVE CONFIG")
    assert error.message_primary == "SAVE CONFIG failed"
    assert "client_tls" in str(error.message_detail)


def test_set_of_what_takes_a_restart_is_an_error(process: PoolerProcess) -> None:
    error = _error(process, "SET listen_port = 1")
    assert error.message_primary == "SET failed"
    assert error.message_detail == "listen_port cannot be changed while the pooler runs: that takes a restart"
    assert _drift(process, "listen_port") == {
        "section": "pgbouncer",
        "key": "listen_port",
        "file": str(process.port),
        "running": str(process.port),
        "default": "6432",
        "source": "file",
        "changeable": "no",
    }


# PAUSE ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["", f" {DATABASE}"])
def test_a_pause_that_is_late_lets_go_and_says_what_held_it(process: PoolerProcess, target: str) -> None:
    with process.connect(DATABASE) as busy, process.connect(DATABASE) as other:
        busy.execute("BEGIN")
        holder = _client_id(process, busy)
        error = _error(process, f"PAUSE{target} TIMEOUT 0.3")
        assert error.sqlstate == "57014"
        assert error.message_primary == "PAUSE was not complete after 0.3 s, and is taken back"
        assert f"1 server is busy; the oldest transaction is that of client {holder}, user {USER}," in str(
            error.message_detail
        )
        assert f"from 127.0.0.1:{client_port(busy)}, for " in str(error.message_detail)
        assert _paused(process) == ("no", 0)
        assert value(other, "SELECT 1") == 1


def test_a_pause_that_is_complete_in_time_stays(process: PoolerProcess) -> None:
    with process.connect(DATABASE) as client:
        client.execute("SELECT 1")
        with process.connect("pgbouncer", user=ADMIN) as console:
            assert console.execute(f"PAUSE {DATABASE} TIMEOUT 60".encode()).statusmessage == "PAUSE"
        assert _paused(process) == ("no", 1)
        process.admin(f"RESUME {DATABASE}")
        assert value(client, "SELECT 1") == 1


@pytest.mark.parametrize(("sql", "state"), [("PAUSE", ("yes", 0)), (f"PAUSE {DATABASE}", ("no", 1))])
def test_a_pause_whose_admin_goes_away_is_taken_back(
    process: PoolerProcess, sql: str, state: tuple[str, int]
) -> None:
    with process.connect(DATABASE) as busy:
        busy.execute("BEGIN")
        with RawClient(process.host, process.port) as console:
            console.startup(ADMIN, "pgbouncer")
            console.send(message("Q", f"{sql}\0".encode()))
            wait_until(lambda: _paused(process) == state, "the pause is in force")
            console.abort()
        wait_until(lambda: _paused(process) == ("no", 0), "the pause is taken back")
        process.wait_for_log("was not complete, taking it back: its client disconnected")


def test_pgbouncer_leaves_such_a_pause_in_force(pgbouncer: PgBouncerFactory) -> None:
    """What ours does differently, and the documentation says so."""
    real = pgbouncer(settings=TRANSACTION)
    with real.connect(DATABASE) as busy:
        busy.execute("BEGIN")
        with RawClient(real.host, real.port) as console:
            console.startup(ADMIN, "pgbouncer")
            console.send(message("Q", f"PAUSE {DATABASE}\0".encode()))
            real.wait_for_log(f"PAUSE '{DATABASE}' command issued")
            console.abort()
        wait_until(
            lambda: len([row for row in real.admin("SHOW CLIENTS") if row["user"] == ADMIN]) == 1,
            "the admin has gone",
        )
        assert {row["name"]: row["paused"] for row in real.admin("SHOW DATABASES")}[DATABASE] == 1


# CANCEL_CLIENT -------------------------------------------------------------------------------------------


def test_cancel_client_ends_the_query_and_nothing_else(
    process: PoolerProcess, postgres: TemporaryPostgres
) -> None:
    with process.connect(DATABASE) as client, process.connect(DATABASE) as other:
        other.execute("BEGIN")
        running = Background(lambda: value(client, "SELECT count(pg_sleep(60))"))
        wait_for_pool(process, sv_active=2)
        number = _client_id(process, client)
        with process.connect("pgbouncer", user=ADMIN) as console:
            sql = f"CANCEL_CLIENT {number}".encode()
            assert console.execute(sql).statusmessage == "CANCEL_CLIENT"
        with pytest.raises(psycopg.errors.QueryCanceled):
            running.result()
        assert value(client, "SELECT 42") == 42
        assert value(other, "SELECT 43") == 43
        wait_for_pool(process, cl_active=2, cl_active_cancel_req=0, cl_waiting_cancel_req=0)
        lists = {row["list"]: row["items"] for row in process.admin("SHOW LISTS")}
        assert lists["used_clients"] == 3, "nothing is left of the request"


def test_cancel_client_ends_the_wait_of_one_in_line(process: PoolerProcess) -> None:
    with (
        process.connect(DATABASE) as one,
        process.connect(DATABASE) as two,
        process.connect(DATABASE) as three,
    ):
        one.execute("BEGIN")
        two.execute("BEGIN")
        waiting = Background(lambda: value(three, "SELECT 3"))
        wait_for_client(process, three, "waiting")
        process.admin(f"CANCEL_CLIENT {_client_id(process, three)}")
        with pytest.raises(psycopg.errors.QueryCanceled):
            waiting.result()
        one.execute("COMMIT")
        assert value(three, "SELECT 3") == 3


def test_cancel_client_of_one_that_runs_nothing(process: PoolerProcess) -> None:
    with process.connect(DATABASE) as client, process.connect("pgbouncer", user=ADMIN) as console:
        idle = _client_id(process, client)
        nothing = "runs no query that could be cancelled"
        assert _error(process, f"CANCEL_CLIENT {idle}").message_primary == f"client {idle} {nothing}"
        client.execute("BEGIN")
        assert _error(process, f"CANCEL_CLIENT {idle}").message_primary == f"client {idle} {nothing}"
        assert value(client, "SELECT 1") == 1
        admin = _client_id(process, console)
        assert _error(process, f"CANCEL_CLIENT {admin}").message_primary == f"client {admin} {nothing}"
    assert _error(process, "CANCEL_CLIENT 99999").message_primary == "client not found"
    assert _error(process, "CANCEL_CLIENT x").message_primary == "invalid client pointer supplied"


# SHUTDOWN IMMEDIATE, SHOW AUDIT --------------------------------------------------------------------------


def test_shutdown_immediate_is_shutdown(process: PoolerProcess) -> None:
    with pytest.raises(psycopg.OperationalError):
        process.admin("SHUTDOWN IMMEDIATE")
    assert process.wait() == 0
    assert re.search(r"audit: SHUTDOWN IMMEDIATE by admin from 127\.0\.0\.1:\d+: ok", process.log_text())


def test_audit_says_who_did_what(pooler: PoolerFactory) -> None:
    process = pooler(settings={**TRANSACTION, "stats_users": "alice"}, userlist={"alice": "x"})
    process.admin(f"RECONNECT {DATABASE}")
    process.admin("SET query_wait_timeout = 9")
    _error(process, "SET nosuch = 'a password'")
    with process.connect("pgbouncer", user="alice") as console:
        with pytest.raises(psycopg.Error, match="admin access needed"):
            console.execute("KILL")
        port = client_port(console)
        process.signal(signal.SIGHUP)
        process.wait_for_log("audit: SIGHUP by signal")
        rows = console.execute("SHOW AUDIT").fetchall()
    assert [(row["user"], row["command"], row["result"]) for row in rows] == [
        ("admin", f"RECONNECT {DATABASE}", "ok"),
        ("admin", "SET query_wait_timeout = 9", "ok"),
        ("admin", "SET nosuch = ***", "SET failed: unknown parameter: pgbouncer/nosuch"),
        ("alice", "KILL", "admin access needed"),
        ("signal", "SIGHUP", "ok"),
    ]
    assert rows[3]["addr"] == f"127.0.0.1:{port}"
    assert "a password" not in process.log_text()
