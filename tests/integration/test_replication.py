"""Replication connections: each client has a server of its own, and PostgreSQL's own programs work."""

from __future__ import annotations

import hashlib
import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from cli.demo.postgres import TRUST_EVERYBODY, TemporaryPostgres
from tests.conftest import PoolerFactory
from tests.integration.clients import (
    DATABASE,
    Background,
    Connection,
    backend_pid,
    pool_row,
    program_environment,
    value,
    wait_for_pool,
    wait_until,
)
from tests.support.bouncer import USER, PoolerProcess
from tests.support.rawclient import RawClient, message, startup_message

pytestmark = pytest.mark.xdist_group("replication")

HBA = f"{TRUST_EVERYBODY}host replication postgres all trust\n"
LOGICAL: dict[str, Any] = {"replication": "database"}
PHYSICAL: dict[str, Any] = {"replication": "yes"}
IDENTIFY = message("Q", b"IDENTIFY_SYSTEM\0")


@pytest.fixture(scope="module")
def primary() -> Iterator[TemporaryPostgres]:
    """Lets `postgres` replicate, and everybody else only connect."""
    settings = {"wal_level": "logical", "max_wal_senders": "10", "wal_sender_timeout": "0"}
    with TemporaryPostgres(hba=HBA, settings=settings) as server:
        server.sql("CREATE ROLE ordinary LOGIN")
        server.sql("CREATE TABLE changes (number int)")
        yield server


@pytest.fixture(params=["transaction", "session", "statement"])
def process(
    pooler: PoolerFactory, primary: TemporaryPostgres, request: pytest.FixtureRequest
) -> PoolerProcess:
    return _start(pooler, primary, pool_mode=request.param)


def _start(pooler: PoolerFactory, primary: TemporaryPostgres, **settings: object) -> PoolerProcess:
    return pooler(
        {"*": f"host=127.0.0.1 port={primary.port}"},
        settings={"pool_mode": "transaction", "default_pool_size": 3, **settings},
        userlist={"ordinary": "ordinary-password"},
    )


def _rows(process: PoolerProcess, what: str) -> dict[str, str]:
    return {row["replication"]: row["state"] for row in process.admin(f"SHOW {what}")}


def _shown(client: Connection, name: str) -> str:
    """A parameter; a WAL sender gives its type as unknown."""
    shown = value(client, f"SHOW {name}")
    return shown.decode() if isinstance(shown, bytes) else str(shown)


@pytest.mark.parametrize(("wanted", "name"), [(LOGICAL, "logical"), (PHYSICAL, "physical")])
def test_client_talks_to_a_wal_sender(process: PoolerProcess, wanted: dict[str, Any], name: str) -> None:
    with process.connect(DATABASE, **wanted) as client:
        (row,) = client.execute("IDENTIFY_SYSTEM").fetchall()
        assert int(row["timeline"]) == 1
        assert _rows(process, "CLIENTS")[name] == "active"
        assert _rows(process, "SERVERS")[name] == "active"
    wait_for_pool(process, sv_active=0, cl_active=0)
    assert name not in _rows(process, "SERVERS")


def test_log_says_what_was_asked_for(process: PoolerProcess) -> None:
    with process.connect(DATABASE, **LOGICAL), process.connect(DATABASE, **PHYSICAL):
        pass
    with process.connect(DATABASE):
        pass
    for text in ("database", "yes", "no"):
        assert f"login attempt: db={DATABASE} user={USER} tls=no replication={text}\n" in process.log_text()


def test_server_has_the_clients_parameters_and_options(process: PoolerProcess) -> None:
    own = {"application_name": "mine", "options": "-c enable_seqscan=off -c extra_float_digits=2"}
    for wanted in (LOGICAL, PHYSICAL):
        with process.connect(DATABASE, **wanted, **own) as client:
            assert _shown(client, "application_name") == "mine"
            assert _shown(client, "enable_seqscan") == "off"
            assert _shown(client, "extra_float_digits") == "2"
            assert client.info.parameter_status("application_name") == "mine"
            assert client.info.server_version > 90000
    with process.connect(DATABASE) as ordinary:
        assert ordinary.info.parameter_status("application_name") == ""
        assert value(ordinary, "SHOW enable_seqscan") == "on"


def test_sql_over_a_logical_connection_keeps_its_session(process: PoolerProcess) -> None:
    with process.connect(DATABASE, **LOGICAL) as client, process.connect(DATABASE) as other:
        pid = backend_pid(client)
        client.execute("SET work_mem = '77kB'")
        assert value(other, "SELECT 1") == 1
        client.execute("BEGIN")
        assert value(client, "SHOW work_mem") == "77kB"
        client.execute("COMMIT")
        assert backend_pid(client) == pid
        assert backend_pid(other) != pid


def test_ordinary_server_is_not_used(process: PoolerProcess) -> None:
    with process.connect(DATABASE) as ordinary:
        pid = backend_pid(ordinary)
    with process.connect(DATABASE, **LOGICAL) as client:
        assert backend_pid(client) != pid


def test_nobody_else_gets_the_server(primary: TemporaryPostgres, pooler: PoolerFactory) -> None:
    process = _start(pooler, primary, default_pool_size=1)
    with process.connect(DATABASE) as other, process.connect(DATABASE, **LOGICAL) as client:
        pid = backend_pid(client)
        waiting = Background(lambda: backend_pid(other))
        wait_for_pool(process, cl_waiting=1)
        client.close()
        assert waiting.result() != pid


def test_idle_server_is_evicted_for_it(primary: TemporaryPostgres, pooler: PoolerFactory) -> None:
    process = _start(pooler, primary, default_pool_size=1)
    with process.connect(DATABASE) as ordinary:
        assert value(ordinary, "SELECT 1") == 1
        with process.connect(DATABASE, **LOGICAL) as client:
            assert value(client, "SELECT 2") == 2
        assert value(ordinary, "SELECT 3") == 3
    assert "closing because: evicted" in process.log_text()


def test_it_waits_its_turn_behind_others(primary: TemporaryPostgres, pooler: PoolerFactory) -> None:
    process = _start(pooler, primary, default_pool_size=1)
    with process.connect(DATABASE) as holder, process.connect(DATABASE) as other:
        holder.execute("BEGIN")
        with process.connect(DATABASE, **LOGICAL) as client:
            first = Background(lambda: value(client, "SELECT 'replication'"))
            wait_for_pool(process, cl_waiting=1)
            second = Background(lambda: value(other, "SELECT 'ordinary'"))
            wait_for_pool(process, cl_waiting=2)
            holder.execute("COMMIT")
            assert first.result() == "replication"
            wait_for_pool(process, cl_waiting=1)
        assert second.result() == "ordinary"


def test_ten_clients_take_turns(primary: TemporaryPostgres, pooler: PoolerFactory) -> None:
    process = _start(pooler, primary, default_pool_size=2)

    def one_after_the_other() -> int:
        with process.connect(DATABASE, **LOGICAL) as client:
            return int(value(client, "SELECT count(pg_sleep(0.02))"))

    clients = [Background(one_after_the_other) for _ in range(10)]
    assert [client.result() for client in clients] == [1] * 10
    wait_for_pool(process, cl_active=0, cl_waiting=0, sv_active=0)


def test_client_without_the_permission_harms_nobody(process: PoolerProcess) -> None:
    with process.connect(DATABASE, user="ordinary") as other:
        assert value(other, "SELECT 1") == 1
        for wanted in (LOGICAL, PHYSICAL):
            with pytest.raises(psycopg.OperationalError, match="login failed"):
                process.connect(DATABASE, user="ordinary", **wanted).execute("IDENTIFY_SYSTEM")
        assert value(other, "SELECT 2") == 2
    assert "server login failed: FATAL" in process.log_text()


def test_first_client_of_a_pool_may_lack_the_permission(process: PoolerProcess) -> None:
    with pytest.raises(psycopg.OperationalError, match="login failed"):
        process.connect(DATABASE, user="ordinary", **PHYSICAL)
    with process.connect(DATABASE, user="ordinary") as other:
        assert value(other, "SELECT 1") == 1


def test_value_that_postgresql_refuses_is_refused(process: PoolerProcess) -> None:
    with pytest.raises(psycopg.OperationalError, match='invalid value for parameter "replication": "maybe"'):
        process.connect(DATABASE, replication="maybe")
    with process.connect(DATABASE, replication="false") as client:
        assert value(client, "SELECT 1") == 1
        assert set(_rows(process, "CLIENTS")) == {"none"}


@pytest.mark.parametrize("leave", ["close", "abort"])
def test_client_that_leaves_while_its_server_logs_in(
    primary: TemporaryPostgres, process: PoolerProcess, leave: str
) -> None:
    process.admin("PAUSE")
    for _ in range(5):
        client = RawClient(process.host, process.port)
        client.send(startup_message(USER, DATABASE, replication="database") + IDENTIFY)
        wait_until(lambda: pool_row(process).get("cl_waiting"), "it waits")
        process.admin("RESUME")
        getattr(client, leave)()
        process.admin("PAUSE")
    process.admin("RESUME")
    with process.connect(DATABASE) as other:
        assert value(other, "SELECT 1") == 1
    wait_for_pool(process, cl_active=0, cl_waiting=0, sv_active=0, sv_login=0)


def test_reconnect_closes_its_server(process: PoolerProcess) -> None:
    """Replication has no end that one could wait for."""
    with process.connect(DATABASE, **LOGICAL) as client:
        assert value(client, "SELECT 1") == 1
        process.admin("RECONNECT")
        wait_for_pool(process, sv_active=0)
        with pytest.raises(psycopg.OperationalError, match="database configuration changed"):
            client.execute("SELECT 2")


def test_cancel_reaches_its_query(primary: TemporaryPostgres, process: PoolerProcess) -> None:
    with process.connect(DATABASE, **LOGICAL) as client:
        query = Background(lambda: value(client, f"SELECT count(pg_sleep(60)) -- {process.port}"))
        running = f"SELECT 1 FROM pg_stat_activity WHERE query LIKE '%-- {process.port}' AND state = 'active'"
        wait_until(lambda: primary.sql(running), "the query runs")
        client.cancel()
        with pytest.raises(psycopg.errors.QueryCanceled):
            query.result()
        assert value(client, "SELECT 1") == 1


def test_auth_query_comes_first(primary: TemporaryPostgres, pooler: PoolerFactory) -> None:
    process = _start(
        pooler,
        primary,
        auth_type="plain",
        auth_user=USER,
        auth_query="SELECT usename, 'found' FROM pg_user WHERE usename = $1",
    )
    primary.sql("CREATE ROLE searched LOGIN REPLICATION")
    with process.connect(DATABASE, user="searched", password="found", **LOGICAL) as client:
        assert value(client, "SELECT current_user") == "searched"


# PostgreSQL's programs ------------------------------------------------------------------------------------


def _program(primary: TemporaryPostgres, process: PoolerProcess, name: str, *arguments: str) -> list[str]:
    connection = f"host={process.host} port={process.port} user={USER} dbname={DATABASE}"
    return [str(primary.bin(name)), "-d", connection, *arguments]


def test_pg_basebackup(primary: TemporaryPostgres, process: PoolerProcess, tmp_path: Path) -> None:
    target = tmp_path / "copy"
    options = ("--checkpoint=fast", "-X", "stream", "--manifest-checksums=SHA256")
    done = subprocess.run(
        _program(primary, process, "pg_basebackup", "-D", str(target), *options),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env=program_environment(),
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert (target / "PG_VERSION").exists()
    manifest = json.loads((target / "backup_manifest").read_text())
    for entry in manifest["Files"]:
        content = (target / entry["Path"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == entry["Checksum"], entry["Path"]
    wait_for_pool(process, "replication", cl_active=0, sv_active=0)


def test_pg_receivewal(primary: TemporaryPostgres, process: PoolerProcess, tmp_path: Path) -> None:
    # Behind a switch to a new segment there is nothing to send.
    primary.sql("INSERT INTO changes VALUES (1)")
    receiver = subprocess.Popen(
        _program(primary, process, "pg_receivewal", "-D", str(tmp_path), "--synchronous", "-v"),
        stderr=subprocess.PIPE,
        text=True,
        env=program_environment(),
    )
    with receiver:
        wait_until(lambda: list(tmp_path.glob("*.partial")), "WAL arrives")
        primary.sql("INSERT INTO changes SELECT generate_series(1, 1000)")
        primary.sql("SELECT pg_switch_wal()")
        wait_until(
            lambda: [path for path in tmp_path.iterdir() if path.suffix != ".partial"], "a segment is whole"
        )
        receiver.send_signal(signal.SIGINT)
        assert receiver.wait(10) == 0
    wait_for_pool(process, "replication", cl_active=0, sv_active=0)


def test_pg_recvlogical(primary: TemporaryPostgres, process: PoolerProcess, tmp_path: Path) -> None:
    slot = f"slot_{process.port}"
    output = tmp_path / "changes"
    command = _program(primary, process, "pg_recvlogical", "--slot", slot)
    subprocess.run(
        [*command, "--create-slot", "--plugin=test_decoding"],
        check=True,
        env=program_environment(),
        timeout=30,
    )
    receiver = subprocess.Popen(
        [*command, "--start", "--no-loop", "--fsync-interval=0", "-f", str(output)], env=program_environment()
    )
    with receiver:
        with process.connect(DATABASE) as client:
            client.execute("INSERT INTO changes VALUES (4711)")
        expected = "table public.changes: INSERT: number[integer]:4711\n"
        wait_until(lambda: output.exists() and expected in output.read_text(), "the change arrives")
        receiver.send_signal(signal.SIGINT)
        assert receiver.wait(10) == 0
    wait_until(lambda: primary.sql("SELECT active FROM pg_replication_slots") == [("f",)], "the slot is free")
    subprocess.run([*command, "--drop-slot"], check=True, env=program_environment(), timeout=30)
    wait_for_pool(process, cl_active=0, sv_active=0)


def test_subscription(primary: TemporaryPostgres, process: PoolerProcess) -> None:
    name = f"through_{process.port}"
    primary.sql("TRUNCATE changes")
    primary.sql(f"CREATE PUBLICATION {name} FOR TABLE changes")
    primary.sql("INSERT INTO changes VALUES (1)")
    primary.sql(f"CREATE DATABASE {name}")
    primary.sql("CREATE TABLE changes (number int)", dbname=name)
    primary.sql(f"SELECT pg_create_logical_replication_slot('{name}', 'pgoutput')")
    source = f"host={process.host} port={process.port} user={USER} dbname={DATABASE}"
    primary.sql(
        f"CREATE SUBSCRIPTION {name} CONNECTION '{source}' PUBLICATION {name} WITH (create_slot = false)",
        dbname=name,
    )
    count = "SELECT count(*) FROM changes"
    wait_until(lambda: primary.sql(count, dbname=name) == [("1",)], "the first copy is there")
    primary.sql("INSERT INTO changes VALUES (2)")
    wait_until(lambda: primary.sql(count, dbname=name) == [("2",)], "the change is there")
    primary.sql(f"DROP SUBSCRIPTION {name}", dbname=name)
    primary.sql(f"DROP DATABASE {name}")
    primary.sql(f"DROP PUBLICATION {name}")
