"""pgbench through the pooler: many clients over few servers, and nothing lost or mixed up."""

from __future__ import annotations

import re

import pytest

from tests.conftest import PoolerFactory
from tests.integration.clients import run_program
from tests.support.bouncer import PoolerProcess
from tests.support.postgres import TemporaryPostgres

DATABASE = "bench"
TRANSACTIONS = 20

SCRIPTS = {"select-only": ["-S"], "simple-update": ["-N"], "tpcb-like": []}


@pytest.fixture(scope="module")
def bench(postgres: TemporaryPostgres) -> str:
    """A database with the tables of pgbench."""
    postgres.sql(f"CREATE DATABASE {DATABASE}")
    done = run_program(
        postgres, "pgbench", "-i", "-q", "-h", postgres.socket_dir, "-p", str(postgres.port),
        "-U", "postgres", DATABASE,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return DATABASE


def _run(
    postgres: TemporaryPostgres,
    pooler: PoolerProcess,
    clients: int,
    *arguments: str,
    database: str = DATABASE,
) -> None:
    """One run; nothing may fail, and every transaction must have been made."""
    done = run_program(
        postgres, "pgbench", "-n", "-c", str(clients), "-j", "2", "-t", str(TRANSACTIONS), *arguments,
        "-h", pooler.host, "-p", str(pooler.port), "-U", "postgres", database,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    total = clients * TRANSACTIONS
    assert f"number of transactions actually processed: {total}/{total}" in done.stdout
    assert re.search(r"number of failed transactions: 0 ", done.stdout), done.stdout
    assert "error" not in done.stderr


@pytest.mark.parametrize("protocol", ["simple", "extended"])
@pytest.mark.parametrize("script", SCRIPTS)
def test_fifty_clients_run_clean_over_ten_servers(
    postgres: TemporaryPostgres, bench: str, pooler: PoolerFactory, script: str, protocol: str
) -> None:
    process = pooler(settings={"pool_mode": "transaction", "default_pool_size": 10})
    _run(postgres, process, 50, *SCRIPTS[script], "-M", protocol)
    servers = [row for row in process.admin("SHOW SERVERS") if row["database"] == bench]
    assert 0 < len(servers) <= 10
    assert {row["state"] for row in servers} <= {"idle", "used"}


def test_books_of_the_bank_agree_after_the_runs(
    postgres: TemporaryPostgres, bench: str, pooler: PoolerFactory
) -> None:
    process = pooler(settings={"pool_mode": "transaction", "default_pool_size": 10})
    postgres.sql(
        "TRUNCATE pgbench_history; UPDATE pgbench_accounts SET abalance = 0 WHERE abalance <> 0;"
        "UPDATE pgbench_branches SET bbalance = 0; UPDATE pgbench_tellers SET tbalance = 0",
        bench,
    )
    _run(postgres, process, 50, "-M", "extended")
    rows = postgres.sql(
        "SELECT count(*), sum(delta), (SELECT sum(abalance) FROM pgbench_accounts),"
        " (SELECT sum(bbalance) FROM pgbench_branches), (SELECT sum(tbalance) FROM pgbench_tellers)"
        " FROM pgbench_history",
        bench,
    )
    ((count, *sums),) = rows
    assert int(count) == 50 * TRANSACTIONS
    assert len(set(sums)) == 1


@pytest.mark.parametrize("script", SCRIPTS)
def test_prepared_statements_run_clean_in_session_mode(
    postgres: TemporaryPostgres, bench: str, pooler: PoolerFactory, script: str
) -> None:
    process = pooler(settings={"pool_mode": "session", "default_pool_size": 20})
    _run(postgres, process, 20, *SCRIPTS[script], "-M", "prepared")


def test_clients_that_reconnect_for_every_transaction_run_clean(
    postgres: TemporaryPostgres, bench: str, pooler: PoolerFactory
) -> None:
    process = pooler(settings={"pool_mode": "transaction", "default_pool_size": 5})
    _run(postgres, process, 10, "-S", "-C")
    totals = {row["name"]: int(row["value"]) for row in process.admin("SHOW TOTALS")}
    assert totals["total_client_login_count"] >= 10 * TRANSACTIONS
