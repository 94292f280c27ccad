"""SQL on the admin database: what people monitor with, and what they should not be able to do."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace
from typing import Any

import psycopg
import pytest

from tests.conftest import PoolerFactory
from tests.integration.clients import (
    DATABASE,
    Background,
    program_environment,
    value,
    wait_for_pool,
    wait_until,
)
from tests.support.bouncer import ADMIN, ADMIN_PASSWORD, USER, PoolerProcess
from tests.support.postgres import TemporaryPostgres

STATS_USER = "watcher"


@pytest.fixture
def process(pooler: PoolerFactory) -> PoolerProcess:
    """Transaction mode, one server a pool."""
    settings = {"pool_mode": "transaction", "default_pool_size": 1, "stats_users": STATS_USER}
    return pooler(settings=settings, userlist={STATS_USER: ""})


# What people monitor with --------------------------------------------------------------------------------

POOLING_RATIO = """
-- Calcul du ratio de pooling
SELECT
    database,
    cl_active,
    sv_active,
    ROUND(cl_active::numeric / NULLIF(sv_active, 0), 2) AS ratio
FROM pgbouncer.pools
WHERE database != 'pgbouncer';
"""
SATURATION = """
SELECT
    database,
    cl_waiting,
    maxwait
FROM pgbouncer.pools
WHERE cl_waiting > 0;
"""
LATENCY = """
SELECT
    database,
    avg_xact_time / 1000000.0 AS avg_xact_time_sec,
    avg_query_time / 1000000.0 AS avg_query_time_sec
FROM pgbouncer.stats;
"""
SCRIPT = """#!/bin/bash
PGBOUNCER_HOST="localhost"
PGBOUNCER_PORT="6432"
PGBOUNCER_USER="admin"
PGBOUNCER_PASS="adminpass"

echo "=== PgBouncer Health Check ==="

echo "--- Pools Status ---"
PGPASSWORD=$PGBOUNCER_PASS psql -h $PGBOUNCER_HOST -p $PGBOUNCER_PORT -U $PGBOUNCER_USER pgbouncer -t -c "
SELECT
    database,
    cl_active AS clients_active,
    cl_waiting AS clients_waiting,
    sv_active AS servers_active,
    sv_idle AS servers_idle,
    maxwait AS max_wait_sec
FROM pgbouncer.pools
WHERE database != 'pgbouncer';
"

echo "--- Alerts ---"
WAITING=$(PGPASSWORD=$PGBOUNCER_PASS psql -h $PGBOUNCER_HOST -p $PGBOUNCER_PORT -U $PGBOUNCER_USER pgbouncer -t -c "
SELECT COALESCE(SUM(cl_waiting), 0) FROM pgbouncer.pools WHERE database != 'pgbouncer';
")

if [ "$WAITING" -gt 0 ]; then
    echo "WARNING: $WAITING clients waiting (pool saturated)"
else
    echo "No clients waiting"
fi

echo "--- Statistics (last period) ---"
PGPASSWORD=$PGBOUNCER_PASS psql -h $PGBOUNCER_HOST -p $PGBOUNCER_PORT -U $PGBOUNCER_USER pgbouncer -t -c "
SELECT
    database,
    total_xact_count AS transactions,
    ROUND(avg_xact_time / 1000.0, 2) AS avg_xact_ms
FROM pgbouncer.stats
WHERE database != 'pgbouncer';
"
"""  # noqa: E501 (as people have it)
EXPORTER = """
from prometheus_client import start_http_server, Gauge
import psycopg2

clients_active = Gauge('pgbouncer_clients_active', 'Active clients', ['database'])
clients_waiting = Gauge('pgbouncer_clients_waiting', 'Waiting clients', ['database'])
servers_active = Gauge('pgbouncer_servers_active', 'Active servers', ['database'])
servers_idle = Gauge('pgbouncer_servers_idle', 'Idle servers', ['database'])

def collect_metrics():
    conn = psycopg2.connect(
        host='localhost',
        port=6432,
        user='admin',
        password='adminpass',
        dbname='pgbouncer'
    )

    cursor = conn.cursor()
    cursor.execute("SHOW POOLS")

    for row in cursor.fetchall():
        database = row[0]
        if database == 'pgbouncer':
            continue

        clients_active.labels(database=database).set(row[2])
        clients_waiting.labels(database=database).set(row[3])
        servers_active.labels(database=database).set(row[4])
        servers_idle.labels(database=database).set(row[5])

    conn.close()
"""
BY_NAME = "SELECT database, user, cl_active, cl_waiting, sv_active, sv_idle FROM pgbouncer.pools"
"""What docs/admin.md says to ask instead: SHOW POOLS has got columns in between over the years."""


@contextmanager
def saturated(process: PoolerProcess) -> Iterator[None]:
    """One client holds the pool's server, another one waits for it."""
    with process.connect(DATABASE) as busy, process.connect(DATABASE) as late:
        busy.execute("BEGIN")
        answer = Background(lambda: value(late, "SELECT 42"))
        wait_for_pool(process, cl_active=1, cl_waiting=1, sv_active=1)
        yield
        busy.execute("COMMIT")
        assert answer.result() == 42


def test_monitoring_queries(process: PoolerProcess) -> None:
    with saturated(process):
        (ratio,) = process.admin(POOLING_RATIO)
        assert (ratio["database"], ratio["cl_active"], ratio["sv_active"]) == (DATABASE, 1, 1)
        assert str(ratio["ratio"]) == "1.00"
        (row,) = process.admin(SATURATION)
        assert (row["database"], row["cl_waiting"]) == (DATABASE, 1)
        rows = {row["database"]: row for row in process.admin(LATENCY)}
        assert set(rows) == {DATABASE, "pgbouncer"}
        assert set(rows[DATABASE]) == {"database", "avg_xact_time_sec", "avg_query_time_sec"}


def test_monitoring_script(postgres: TemporaryPostgres, process: PoolerProcess) -> None:
    script = SCRIPT.replace("localhost", process.host).replace("6432", str(process.port))
    script = script.replace("psql", str(postgres.bin("psql")))

    def printed() -> list[str]:
        done = subprocess.run(
            ["bash", "-c", script.replace("adminpass", ADMIN_PASSWORD)],
            capture_output=True,
            text=True,
            check=False,
            timeout=50,
            env=program_environment(),
        )
        assert done.stderr == ""
        return [" ".join(line.split()) for line in done.stdout.splitlines() if line.strip()]

    with process.connect(DATABASE) as client:
        client.execute("SELECT 1")
    assert printed()[3:5] == ["--- Alerts ---", "No clients waiting"]
    with saturated(process):
        lines = printed()
    assert lines[2].startswith(f"{DATABASE} | 1 | 1 | 1 | 0 | ")
    assert lines[4] == "WARNING: 1 clients waiting (pool saturated)"
    assert lines[6].startswith(f"{DATABASE} | ")


def test_exporter(process: PoolerProcess, monkeypatch: pytest.MonkeyPatch) -> None:
    gauges: dict[str, dict[str, Any]] = {}

    def gauge(name: str, text: str, labels: list[str]) -> SimpleNamespace:
        values = gauges.setdefault(name, {})
        return SimpleNamespace(
            labels=lambda database: SimpleNamespace(set=lambda number: values.__setitem__(database, number))
        )

    def connect(**options: Any) -> psycopg.Connection[Any]:
        where = {**options, "host": process.host, "port": process.port, "password": ADMIN_PASSWORD}
        return psycopg.connect(**where, autocommit=True)

    driver, metrics = ModuleType("psycopg2"), ModuleType("prometheus_client")
    vars(driver).update(connect=connect)
    vars(metrics).update(start_http_server=None, Gauge=gauge)
    monkeypatch.setitem(sys.modules, "psycopg2", driver)
    monkeypatch.setitem(sys.modules, "prometheus_client", metrics)
    names: dict[str, Any] = {}
    exec(EXPORTER, names)
    with saturated(process):
        names["collect_metrics"]()
        (row,) = [row for row in process.admin(BY_NAME) if row["database"] == DATABASE]
    assert gauges["pgbouncer_clients_active"] == {DATABASE: 1}
    assert gauges["pgbouncer_clients_waiting"] == {DATABASE: 1}
    assert gauges["pgbouncer_servers_active"] == {DATABASE: 0}, "the fifth column is cl_active_cancel_req"
    assert (row["cl_active"], row["cl_waiting"], row["sv_active"], row["sv_idle"]) == (1, 1, 1, 0)


def test_show_with_a_condition_and_kill_clients(process: PoolerProcess) -> None:
    with process.connect(DATABASE) as stays, process.connect("template1") as goes:
        stays.execute("SELECT 1")
        goes.execute("SELECT 1")
        (row,) = process.admin("SHOW CLIENTS WHERE database = 'template1' ORDER BY id LIMIT 1")
        assert row["user"] == USER
        with process.connect("pgbouncer", user=ADMIN) as console:
            done = console.execute(b"KILL_CLIENTS WHERE database = 'template1' AND user <> 'nobody'")
            assert done.statusmessage == "KILL_CLIENTS 1"
            assert console.execute(b"SELECT 1 AS x").fetchall() == [{"x": 1}]
        with pytest.raises(psycopg.OperationalError):
            goes.execute("SELECT 1")
        assert value(stays, "SELECT 2") == 2


# What they should not be able to do ----------------------------------------------------------------------

ENDLESS = [
    "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) SELECT count(*) FROM t",
    "SELECT count(*) FROM {}".format(", ".join(f"config c{n}" for n in range(10))),
    "SELECT sum(greatest(a.key, b.key, c.key) = 'x') FROM config a, config b, config c, config d",
    "WITH RECURSIVE t(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM t) SELECT n FROM t ORDER BY -n",
    "SELECT max(position(lpad('b', 30000, 'a') in lpad(a.key, 60000, 'a'))) FROM config a, config b",
    f"SELECT max((lpad('', 65000, 'a') LIKE '{'%aaaaaaab' * 11}')::int) FROM config a, config b",
    "SELECT 1 FROM {}".format(" JOIN ".join(f"pools p{n}" for n in range(30))),
]
"""Whatever limit it is that ends them."""

REFUSED = {
    "DELETE FROM pgbouncer.pools": "08P01",
    "WITH d AS (DELETE FROM pools RETURNING 1) SELECT * FROM d": "0A000",
    "SELECT * INTO x FROM pools": "0A000",
    "WITH x AS (SELECT 1) INSERT INTO pools SELECT * FROM x": "0A000",
    "SELECT 1; DROP TABLE show_pools": "42601",
    "SELECT 1; ATTACH DATABASE '/tmp/pooldeck-attached' AS x": "42601",
    "ATTACH DATABASE '/tmp/pooldeck-attached' AS x": "08P01",
    "PRAGMA table_list": "08P01",
    "SELECT * FROM pragma_table_list": "42P01",
    "SELECT * FROM pragma_table_info('show_pools')": "0A000",
    "SELECT * FROM sqlite_schema": "42P01",
    "SELECT load_extension('/tmp/x.so')": "42883",
    "SELECT readfile('/etc/passwd')": "42883",
    "SELECT writefile('/tmp/x', 'x')": "42883",
    "SELECT randomblob(1000000000)": "42883",
    "SELECT zeroblob(1000000000)": "42883",
    "SELECT printf('%.*c', 1000000000, 'x')": "42883",
    "SELECT format('%1000000000s', 'x')": "42883",
    "SELECT repeat('x', 1000000000)": "42883",
    "SELECT pg_sleep(1000)": "42883",
    "SELECT length(replace(replace('{0}', 'x', '{0}'), 'x', '{0}'))".format("x" * 1000): "54000",
    "SELECT length(string_agg(a.key || b.key, c.key)) FROM config a, config b, config c": "54000",
    "SELECT length(concat({}))".format(", ".join(["lpad('', 60000, 'x')"] * 2)): "54000",
    "SELECT a.*, b.* FROM config a, config b, config c": "54000",
    "SELECT " + "(" * 1000 + "1" + ")" * 1000: "54000",
    "SELECT " + "(" * 800 + "1" + ")" * 800: "54001",
    "SELECT " + "NOT " * 1900 + "true": "54001",
    "SELECT 1 FROM {}".format(", ".join(f"pools p{n}" for n in range(100))): "54000",
}


def _fails(console: psycopg.Connection[Any], sql: str) -> str | None:
    """The SQLSTATE; the connection goes on."""
    with pytest.raises(psycopg.Error) as caught:
        console.execute(sql.encode())
    assert console.execute(b"SELECT 1 AS x").fetchall() == [{"x": 1}]
    return caught.value.sqlstate


def test_hostile_queries_are_refused(process: PoolerProcess) -> None:
    with process.connect("pgbouncer", user=ADMIN) as console:
        assert {sql: _fails(console, sql) for sql in REFUSED} == REFUSED


def test_stats_users_see_no_secrets(process: PoolerProcess) -> None:
    with process.connect("pgbouncer", user=STATS_USER) as console:
        for table in ("fds", "logins", "pgbouncer.fds"):
            assert _fails(console, f"SELECT * FROM pools, {table}") == "42501"
        with pytest.raises(psycopg.Error, match="admin access needed"):
            console.execute(b"KILL_CLIENTS WHERE true")


class _Traffic(threading.Thread):
    """One client that asks as fast as it is answered."""

    def __init__(self, process: PoolerProcess) -> None:
        super().__init__(daemon=True)
        self.answers = 0
        self._end = threading.Event()
        self._client = process.connect(DATABASE)

    def run(self) -> None:
        with self._client:
            while not self._end.is_set():
                self._client.execute("SELECT 1")
                self.answers += 1

    def end(self) -> None:
        self._end.set()
        self.join()


@pytest.mark.parametrize("sql", ENDLESS)
def test_no_client_waits_for_a_query_without_end(sql: str, process: PoolerProcess) -> None:
    """If the event loop ran it, or waited for it, nobody would be answered until it is stopped."""
    traffic = _Traffic(process)
    traffic.start()
    wait_until(lambda: traffic.answers > 10, "traffic")
    with process.connect("pgbouncer", user=ADMIN) as console:
        console.execute(b"SELECT 1")
        before = traffic.answers
        assert _fails(console, sql) in {"57014", "53200", "54000"}
        answered = traffic.answers - before
    traffic.end()
    assert answered > 10
