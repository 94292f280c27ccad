"""SHOW LATENCY, ERRORS, CLIENT_STATS and SERVER_STATS of real clients and servers."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest

from tests.conftest import PoolerFactory
from tests.integration.clients import DATABASE, Connection, value, wait_until
from tests.support.bouncer import USER, PoolerProcess

TRANSACTION = {"pool_mode": "transaction", "default_pool_size": 1}


def own(process: PoolerProcess, table: str) -> list[dict[str, Any]]:
    """The rows of one SHOW that are about the pool of the tests."""
    return [
        row for row in process.admin(f"SHOW {table}") if (row["database"], row["user"]) == (DATABASE, USER)
    ]


def latency(process: PoolerProcess, kind: str) -> dict[str, Any]:
    rows = own(process, "LATENCY")
    return next(row for row in rows if (row["kind"], row["span"]) == (kind, "total"))


def fails(client: Connection, sql: str, message: str) -> None:
    with pytest.raises(psycopg.Error, match=message):
        client.execute(sql.encode())


def test_latency(pooler: PoolerFactory) -> None:
    process = pooler(settings=TRANSACTION)
    with process.connect(DATABASE) as client:
        client.execute("BEGIN")
        for _ in range(8):
            client.execute("SELECT 1")
        client.execute("SELECT pg_sleep(0.2)")
        client.execute("COMMIT")
    query, transaction = latency(process, "query"), latency(process, "transaction")
    assert (query["count"], transaction["count"]) == (11, 1)
    assert query["p50"] <= query["p90"] <= query["p95"] <= query["p99"] <= query["max"]
    assert query["max"] >= 200_000
    assert abs(transaction["p50"] - transaction["max"]) <= transaction["max"] / 32
    assert transaction["max"] >= query["max"]


def test_errors_by_sqlstate_and_by_reason(pooler: PoolerFactory) -> None:
    process = pooler(settings=TRANSACTION)
    with process.connect(DATABASE) as client:
        for _ in range(2):
            fails(client, "SELECT * FROM missing", "does not exist")
        client.execute("CREATE TABLE unique_things (id int PRIMARY KEY)")
        try:
            client.execute("INSERT INTO unique_things VALUES (4711)")
            fails(client, "INSERT INTO unique_things VALUES (4711)", "duplicate key")
        finally:
            client.execute("DROP TABLE unique_things")
    with process.connect(DATABASE) as client:
        (number,) = [row["id"] for row in process.admin("SHOW CLIENTS") if row["database"] == DATABASE]
        process.admin(f"KILL_CLIENT {number}")
        fails(client, "SELECT 1", "admin forced disconnect")
    found = {
        (row["source"], row["code"]): (row["count"], row["last_message"]) for row in own(process, "ERRORS")
    }
    assert found == {
        ("server", "42P01"): (2, 'relation "missing" does not exist'),
        ("server", "23505"): (1, 'duplicate key value violates unique constraint "unique_things_pkey"'),
        ("pooler", "admin forced disconnect"): (1, "admin forced disconnect"),
    }


def test_client_stats(pooler: PoolerFactory) -> None:
    process = pooler(settings=TRANSACTION)
    with process.connect(DATABASE, application_name="noisy") as noisy, process.connect(DATABASE):
        noisy.execute("BEGIN")
        noisy.execute("SELECT pg_sleep(0.1)")
        assert len(value(noisy, "SELECT repeat('x', 10000)")) == 10_000
        noisy.execute("COMMIT")
        value(noisy, "SELECT 1")
        rows = own(process, "CLIENT_STATS")
    noisy_row = next(row for row in rows if row["application_name"] == "noisy")
    quiet_row = next(row for row in rows if row["application_name"] != "noisy")
    assert (noisy_row["queries"], noisy_row["transactions"]) == (5, 2)
    assert 80 < noisy_row["bytes_received"] < 1000
    assert 10_000 < noisy_row["bytes_sent"] < 11_000
    assert noisy_row["xact_us"] >= 100_000
    assert quiet_row["queries"] == quiet_row["bytes_sent"] == 0


def test_server_stats(pooler: PoolerFactory) -> None:
    process = pooler(settings=TRANSACTION)
    for _ in range(2):
        with process.connect(DATABASE) as client:
            client.execute("SELECT 1")
        process.admin("RECONNECT")
        wait_until(lambda: process.admin("SHOW SERVERS") == [], "the server is closed")
    found = {(row["event"], row["reason"]): row["count"] for row in own(process, "SERVER_STATS")}
    assert found == {("opened", "login"): 2, ("closed", "database configuration changed"): 2}
