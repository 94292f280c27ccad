"""SHOW WAITS: why a client is in line, and who has what it needs. What comes of it in SHOW WAIT_STATS."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from typing import Any

import psycopg
import pytest

from tests.conftest import PoolerFactory
from tests.integration.clients import (
    DATABASE,
    Background,
    Connection,
    value,
    wait_for_pool,
    wait_until,
)
from tests.support.bouncer import USER, PoolerProcess
from tests.support.fakeserver import FakeConnection, FakeServer, error_response, well_behaved

TRANSACTION = {"pool_mode": "transaction", "default_pool_size": 1}


def the_wait(process: PoolerProcess, reason: str) -> dict[str, Any]:
    """The row of the one client that waits, as soon as it does for this reason."""
    found: list[dict[str, Any]] = []

    def waits() -> bool:
        found[:] = process.admin("SHOW WAITS")
        return [row["reason"] for row in found] == [reason]

    try:
        wait_until(waits, f"one client waits: {reason}")
    except AssertionError:
        raise AssertionError(f"{reason} expected, not {found}") from None
    return found[0]


def queued(process: PoolerProcess, user: str = USER, database: str = DATABASE) -> Background[Any]:
    """A client that asks for its user's name, in line or not."""

    def ask() -> Any:
        with process.connect(database, user=user, application_name="in line") as client:
            return value(client, "SELECT current_user")

    return Background(ask)


def in_transaction(process: PoolerProcess, user: str = USER, database: str = DATABASE) -> Connection:
    client = process.connect(database, user=user, application_name="nightly")
    client.execute("BEGIN")
    return client


def server_id(process: PoolerProcess) -> int:
    (server,) = process.admin("SHOW SERVERS")
    return int(server["id"])


def stats(process: PoolerProcess) -> dict[str, int]:
    return {row["reason"]: row["count"] for row in process.admin("SHOW WAIT_STATS")}


def assert_held(row: Mapping[str, Any], process: PoolerProcess, user: str = USER) -> None:
    """By the one server that there is, for the client `nightly`."""
    assert row["server_id"] == server_id(process)
    assert (row["holder_user"], row["holder_application_name"]) == (user, "nightly")
    assert (row["holder_addr"], row["holder_state"]) == ("127.0.0.1", "idle in transaction")
    assert row["held_us"] >= row["wait_us"] > 0


def test_pool_full(pooler: PoolerFactory) -> None:
    process = pooler(settings=TRANSACTION)
    with in_transaction(process) as holder:
        answer = queued(process)
        row = the_wait(process, "pool full")
        assert (row["user"], row["database"], row["application_name"]) == (USER, DATABASE, "in line")
        assert_held(row, process)
        assert stats(process).get("pool full") is None
        holder.execute("COMMIT")
        answer.result()
    assert stats(process)["pool full"] == 1
    assert process.admin("SHOW WAITS") == []


def test_the_holder_is_told_running_from_idle(pooler: PoolerFactory) -> None:
    process = pooler(settings=TRANSACTION)
    with process.connect(DATABASE) as holder:
        sleep = Background(lambda: holder.execute("SELECT pg_sleep(60)"))
        wait_for_pool(process, sv_active=1)
        answer = queued(process)
        assert the_wait(process, "pool full")["holder_state"] == "running"
        holder.cancel()
        with pytest.raises(psycopg.errors.QueryCanceled):
            sleep.result()
        answer.result()


@pytest.mark.parametrize(
    ("limit", "holder", "waiter"),
    [
        ("max_db_connections", ("alice", DATABASE), ("bob", DATABASE)),
        ("max_user_connections", ("alice", "template1"), ("alice", DATABASE)),
    ],
)
def test_limits(
    limit: str,
    holder: tuple[str, str],
    waiter: tuple[str, str],
    pooler: PoolerFactory,
    roles: Mapping[str, str],
) -> None:
    process = pooler(settings={**TRANSACTION, "default_pool_size": 5, limit: 1}, userlist=roles)
    with in_transaction(process, *holder) as client:
        answer = queued(process, *waiter)
        assert_held(the_wait(process, limit), process, holder[0])
        client.execute("COMMIT")
        assert answer.result() == waiter[0]
    assert stats(process)[limit] == 1


@pytest.mark.parametrize(
    ("command", "undo", "detail"),
    [
        ("PAUSE", "RESUME", "PAUSE"),
        (f"PAUSE {DATABASE}", f"RESUME {DATABASE}", "PAUSE of the database"),
        (f"KILL {DATABASE}", f"RESUME {DATABASE}", "KILL"),
    ],
)
def test_paused(command: str, undo: str, detail: str, pooler: PoolerFactory) -> None:
    process = pooler(settings=TRANSACTION)
    queued(process).result()
    process.admin(command)
    answer = queued(process)
    row = the_wait(process, "paused")
    assert (row["detail"], row["server_id"], row["holder_id"]) == (detail, None, None)
    process.admin(undo)
    answer.result()
    assert stats(process)["paused"] == 1


def test_reserve_pool_timeout(pooler: PoolerFactory) -> None:
    process = pooler(settings={**TRANSACTION, "reserve_pool_size": 1, "reserve_pool_timeout": 1})
    with in_transaction(process):
        answer = queued(process)
        assert_held(the_wait(process, "reserve_pool_timeout"), process)
        answer.result()
    assert stats(process)["reserve_pool_timeout"] == 1


def behind(fake: FakeServer) -> dict[str, str]:
    return {DATABASE: f"host=127.0.0.1 port={fake.port}"}


def hesitant(go: Callable[[], object]) -> Callable[[FakeConnection], None]:
    """Lets the pooler in once `go` returns."""

    def behave(connection: FakeConnection) -> None:
        go()
        connection.login()
        connection.serve()

    return behave


def full(connection: FakeConnection) -> None:
    connection.read_startup()
    connection.send(error_response("53300", "sorry, too many clients already", "FATAL"))


def test_server_login(pooler: PoolerFactory) -> None:
    let_in = threading.Event()
    with FakeServer() as fake:
        fake.script(hesitant(let_in.wait))
        process = pooler(behind(fake), settings=TRANSACTION)
        connecting = Background(lambda: process.connect(DATABASE).close())
        row = the_wait(process, "server login")
        assert (row["holder_state"], row["holder_id"]) == ("login", None)
        assert row["server_id"] == server_id(process)
        let_in.set()
        connecting.result()
        assert stats(process)["server login"] == 1


def test_server_down(pooler: PoolerFactory) -> None:
    with FakeServer() as fake:
        fake.script(well_behaved, *[full] * 20)
        process = pooler(behind(fake), settings={**TRANSACTION, "default_pool_size": 2})
        with in_transaction(process) as holder, process.connect(DATABASE) as other:
            answer = Background(lambda: value(other, "SELECT 'served'"))
            row = the_wait(process, "server down")
            assert (row["detail"], row["server_id"]) == ("sorry, too many clients already", None)
            holder.execute("COMMIT")
            assert answer.result() == "served"
        assert stats(process)["server down"] == 1
        failed = {
            row["reason"]: row["count"]
            for row in process.admin("SHOW SERVER_STATS")
            if row["event"] == "failed"
        }
        assert failed == {"sorry, too many clients already": 1}


def test_who_gives_up_counts(pooler: PoolerFactory) -> None:
    process = pooler(settings={**TRANSACTION, "query_wait_timeout": 1})
    with in_transaction(process):
        with pytest.raises(psycopg.OperationalError, match="query_wait_timeout"):
            queued(process).result()
        (row,) = [row for row in process.admin("SHOW WAIT_STATS") if row["reason"] == "pool full"]
        assert row["count"] == 1
        assert row["longest_us"] == row["total_us"] >= 1_000_000
        (waits,) = [
            row
            for row in process.admin("SHOW LATENCY")
            if (row["database"], row["kind"], row["span"]) == (DATABASE, "wait", "total") and row["max"]
        ]
        assert waits["max"] >= 1_000_000
