"""Drivers of other languages on the admin database, where they are installed: JDBC and node-postgres.

Debian has JDBC as `default-jdk-headless libpostgresql-jdbc-java` ($POOLDECK_JDBC names other jars);
node-postgres is `npm install pg` in a directory that $NODE_PATH names. Without them the tests are skipped,
also in CI.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from cli.demo.postgres import TemporaryPostgres
from tests.conftest import PoolerFactory
from tests.support.bouncer import ADMIN, PoolerProcess

SOURCES = Path(__file__).parent / "drivers"
JARS = "/usr/share/java/postgresql.jar:/usr/share/java/scram-client.jar:/usr/share/java/scram-common.jar"


@pytest.fixture
def process(pooler: PoolerFactory, postgres: TemporaryPostgres) -> PoolerProcess:
    """With the database that the programs pause."""
    return pooler({"p0": f"host=127.0.0.1 port={postgres.port}"})


def _run(*command: str) -> list[str]:
    """What a program prints. Raises AssertionError if it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=50)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def test_jdbc(process: PoolerProcess) -> None:
    jars = os.environ.get("POOLDECK_JDBC", JARS)
    if shutil.which("javac") is None or not Path(jars.partition(":")[0]).exists():
        pytest.skip("JDBC is missing")
    url = f"jdbc:postgresql://{process.host}:{process.port}/pgbouncer"
    assert _run("java", "-cp", jars, str(SOURCES / "Console.java"), url) == [
        "pools Integer 1",
        "stats BigDecimal",
        "clients C true",
        "paused 1",
        "paused 0",
        "error 08P01",
        "settings true",
        "valid true",
        "done",
    ]


def test_node_postgres(process: PoolerProcess) -> None:
    node = shutil.which("node")
    if (
        node is None
        or subprocess.run([node, "-e", "require('pg')"], capture_output=True, check=False).returncode
    ):
        pytest.skip("node-postgres is missing")
    assert _run(node, str(SOURCES / "console.js"), process.dsn("pgbouncer", user=ADMIN)) == [
        "pools number 1",
        "clients C true",
        "paused 1",
        "paused 0",
        "error 08P01",
        "error 08P01",
        "version PgBouncer 1.25.2",
        "pool 3",
        "done",
    ]
