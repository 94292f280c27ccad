"""SHOW LATENCY, WAITS, WAIT_STATS, CLIENT_STATS, ERRORS and SERVER_STATS."""

from __future__ import annotations

import pytest

from pooler.admin.tables import SHOW_TABLES
from pooler.pool.members import SERVER
from pooler.wire import messages
from tests.unit.admin.fakes import FakePooler, databases


@pytest.fixture
def pooler() -> FakePooler:
    return FakePooler(databases(db="host=h pool_size=1", other="host=h"))


def rows(pooler: FakePooler, name: str) -> list[dict[str, object]]:
    table = SHOW_TABLES[name]
    names = [column for column, _ in table.columns]
    return [dict(zip(names, row, strict=True)) for row in table.rows(pooler)]


def test_latency_of_the_pools_of_a_user_is_one(pooler: FakePooler) -> None:
    registry = pooler.registry
    pool = pooler.busy_server("db", "bob").pool
    for_auth = registry.pool(pool.database, pool.credentials, for_auth=True)
    pool.stats.query_over(1_000_000)
    registry.rotate_stats()
    registry.rotate_stats()
    for_auth.stats.query_over(7_000)
    pool.stats.query_over(9_000)
    found = {(row["kind"], row["span"]): row for row in rows(pooler, "latency") if row["database"] == "db"}
    assert set(found) == {
        (kind, span) for kind in ("query", "transaction", "wait") for span in ("recent", "total")
    }
    recent, total = found["query", "recent"], found["query", "total"]
    assert [recent[name] for name in ("user", "count", "p50", "p99", "max")] == ["bob", 2, 7, 9, 9]
    assert (total["count"], total["p50"], total["max"]) == (3, 9, 1000)
    assert list(found["wait", "total"].values())[4:] == [0] * 6


def test_waits_name_the_holder(pooler: FakePooler) -> None:
    server = pooler.busy_server("db", "bob")
    owner = server.link
    assert owner is not None
    owner.xact_ns = owner.connect_ns
    parameters = pooler.registry.parameters
    place = parameters.position("application_name")
    assert place is not None
    owner.params = parameters.with_value(owner.params, place, "nightly")
    clients = [pooler.client("db", "bob") for _ in range(2)]
    for client in reversed(clients):
        assert client.pool is not None
        client.pool.enqueue(client, SERVER)
    clients[0].wait_ns = clients[1].wait_ns - 1
    found = rows(pooler, "waits")
    assert [row["id"] for row in found] == [client.id for client in clients]
    row = found[0]
    assert (row["reason"], row["detail"], row["holder_state"]) == ("pool full", None, "running")
    assert (row["server_id"], row["holder_id"], row["holder_user"]) == (server.id, owner.id, "bob")
    assert (row["holder_addr"], row["holder_application_name"]) == ("10.1.1.1", "nightly")


def test_waits_without_a_holder(pooler: FakePooler) -> None:
    pooler.registry.set_database_pause(pooler.registry.databases["db"], True)
    client = pooler.client("db", "bob")
    assert client.pool is not None
    client.pool.enqueue(client, SERVER)
    (row,) = rows(pooler, "waits")
    assert (row["reason"], row["detail"]) == ("paused", "PAUSE of the database")
    assert {value for name, value in row.items() if name in ("server_id", "held_us", "holder_id")} == {None}
    client.disconnect("client_login_timeout")
    (stats,) = rows(pooler, "wait_stats")
    assert (stats["reason"], stats["count"]) == ("paused", 1)


def test_client_stats(pooler: FakePooler) -> None:
    server = pooler.busy_server("db", "bob")
    client = server.link
    assert client is not None
    server.data_received(b"")
    client.queries, client.xacts = 7, 3
    client.xact_ns = client.connect_ns
    (row,) = rows(pooler, "client_stats")
    assert (row["id"], row["user"], row["queries"], row["transactions"]) == (client.id, "bob", 7, 3)
    assert isinstance(row["xact_us"], int)
    assert row["xact_us"] > 0
    assert row["wait_us"] == 0


def test_errors_of_servers_without_their_detail(pooler: FakePooler) -> None:
    server = pooler.busy_server("db", "bob")
    server.queue.push(ord("Q"))
    text = "duplicate key value"
    fields = b"SERROR\0VERROR\0C23505\0M" + text.encode() + b"\0DKey (id)=(4711) already exists.\0\0"
    server.data_received(messages.message(b"E", fields))
    (row,) = rows(pooler, "errors")
    assert [row[name] for name in ("source", "code", "count", "last_message")] == ["server", "23505", 1, text]


def test_errors_of_the_pooler(pooler: FakePooler) -> None:
    for reason, notify in (("query_timeout", True), ("client close request", False), ("bad: x", True)):
        pooler.client("db", "bob").disconnect(reason, notify)
    found = {(row["source"], row["code"]): row["last_message"] for row in rows(pooler, "errors")}
    assert found == {("pooler", "query_timeout"): "query_timeout", ("pooler", "bad"): "bad: x"}


def test_server_stats(pooler: FakePooler) -> None:
    pool = pooler.client("db", "bob").pool
    assert pool is not None
    server = pooler.server(pool, pool.new_servers)
    pool.release(server)
    server.disconnect("server idle timeout")
    failing = pooler.server(pool, pool.new_servers)
    failing.ready = False
    failing.disconnect("connect failed")
    given_up = pooler.server(pool, pool.new_servers)
    given_up.ready = False
    given_up.close_needed = True
    given_up.disconnect("pause mode")
    found = {(row["event"], row["reason"]): row["count"] for row in rows(pooler, "server_stats")}
    assert found == {
        ("opened", "login"): 1,
        ("closed", "server idle timeout"): 1,
        ("failed", "connect failed"): 1,
    }


@pytest.mark.parametrize(
    "name", ["latency", "waits", "wait_stats", "client_stats", "errors", "server_stats", "unsafe"]
)
def test_columns_of_a_pooler_that_has_nothing_to_do(name: str, pooler: FakePooler) -> None:
    assert all(row["database"] == "pgbouncer" for row in rows(pooler, name))
