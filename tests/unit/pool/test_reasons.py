"""Why clients wait, for every state that a pool can be in, and who is in their way."""

from __future__ import annotations

from dataclasses import replace

import pytest

from pooler.config.settings import DEFAULTS
from pooler.pool.members import SERVER
from pooler.pool.pool import Pool
from pooler.pool.reasons import detail, holder, why
from pooler.pool.registry import Pause
from pooler.pool.waits import (
    DATABASE_LIMIT,
    PAUSED,
    POOL_FULL,
    REASONS,
    RESERVE_TIMEOUT,
    SERVER_CHECK,
    SERVER_DOWN,
    SERVER_LOGIN,
    USER_LIMIT,
    WaitCounts,
)
from pooler.relay.client import ClientConnection
from pooler.relay.server import ServerConnection
from tests.unit.admin.fakes import FakePooler, databases


def a_pooler(connstr: str = "pool_size=1", **settings: str) -> FakePooler:
    parsed = DEFAULTS
    for name, text in settings.items():
        parsed = parsed.replace(name, text)
    return FakePooler(replace(databases(db=f"host=h {connstr}", other="host=h"), settings=parsed))


def queued(pooler: FakePooler, user: str = "bob") -> tuple[Pool, ClientConnection]:
    """A client in line, and its pool."""
    client = pooler.client("db", user)
    assert client.pool is not None
    client.pool.enqueue(client, SERVER)
    return client.pool, client


def works(pooler: FakePooler, database: str = "db", user: str = "bob", since: int = 1) -> ServerConnection:
    """A server in a transaction that began at that time."""
    server = pooler.busy_server(database, user)
    assert server.link is not None
    server.link.xact_ns = since
    return server


def test_pool_full() -> None:
    pooler = a_pooler("pool_size=2")
    later, first = works(pooler, since=20), works(pooler, since=10)
    first.idle_in_transaction = True
    pool, client = queued(pooler)
    assert client.wait_reason == why(pool) == POOL_FULL
    assert holder(pool, POOL_FULL) == (first, first.link, "idle in transaction", 10)
    first.disconnect("gone")
    assert holder(pool, POOL_FULL) == (later, later.link, "running", 20)


def test_a_session_without_a_transaction_holds_its_server_too() -> None:
    pooler = a_pooler()
    server = works(pooler, since=0)
    pool, _ = queued(pooler)
    found = holder(pool, POOL_FULL)
    assert found is not None
    assert (found.server, found.state, found.since_ns) == (server, "idle", server.request_ns)


def test_max_db_connections() -> None:
    pooler = a_pooler("pool_size=5", max_db_connections="1")
    server = works(pooler, user="alice")
    pool, client = queued(pooler)
    assert client.wait_reason == why(pool) == DATABASE_LIMIT
    found = holder(pool, DATABASE_LIMIT)
    assert found is not None
    assert found.server is server


def test_max_user_connections() -> None:
    pooler = a_pooler("pool_size=5", max_user_connections="1")
    server = works(pooler, database="other")
    pool, client = queued(pooler)
    assert client.wait_reason == why(pool) == USER_LIMIT
    found = holder(pool, USER_LIMIT)
    assert found is not None
    assert found.server is server


def test_a_limit_is_no_reason_where_a_server_can_be_evicted() -> None:
    pooler = a_pooler("pool_size=5", max_db_connections="1")
    other = pooler.client("db", "alice").pool
    assert other is not None
    pooler.server(other, other.idle_servers)
    assert why(queued(pooler)[0]) == SERVER_LOGIN


@pytest.mark.parametrize(
    ("text", "act"),
    [
        ("PAUSE", lambda registry: registry.set_pause(Pause.PAUSE)),
        ("SUSPEND", lambda registry: registry.set_pause(Pause.SUSPEND)),
        (
            "PAUSE of the database",
            lambda registry: registry.set_database_pause(registry.databases["db"], True),
        ),
    ],
)
def test_paused(text: str, act: object) -> None:
    pooler = a_pooler()
    works(pooler)
    assert callable(act)
    act(pooler.registry)
    pool, client = queued(pooler)
    assert client.wait_reason == why(pool) == PAUSED
    assert (detail(pool, PAUSED), holder(pool, PAUSED)) == (text, None)


def test_kill_is_told_from_pause() -> None:
    pooler = a_pooler()
    console = pooler.console()
    console.ask("KILL db")
    pool, _ = queued(pooler)
    assert (why(pool), detail(pool, PAUSED)) == (PAUSED, "KILL")
    console.ask("RESUME db")
    console.ask("PAUSE db")
    assert detail(pool, PAUSED) == "PAUSE of the database"


def test_a_login_under_way() -> None:
    pooler = a_pooler()
    pool = queued(pooler)[0]
    assert why(pool) == SERVER_LOGIN
    server = pooler.server(pool, pool.new_servers)
    assert why(pool) == SERVER_LOGIN
    assert holder(pool, SERVER_LOGIN) == (server, None, "login", server.connect_ns)


def test_a_server_that_is_reset_or_checked() -> None:
    pooler = a_pooler()
    pool = queued(pooler)[0]
    server = pooler.server(pool, pool.tested_servers)
    assert why(pool) == SERVER_CHECK
    found = holder(pool, SERVER_CHECK)
    assert found is not None
    assert (found.server, found.state) == (server, "check")


def test_server_down() -> None:
    pooler = a_pooler("pool_size=2")
    works(pooler)
    pool = pooler.registry.pool(pooler.registry.databases["db"], pooler.registry.global_credentials("bob"))
    server = pooler.server(pool, pool.new_servers)
    server.ready = False
    server.disconnect("connect failed")
    _, client = queued(pooler)
    assert client.wait_reason == why(pool) == SERVER_DOWN
    assert (detail(pool, SERVER_DOWN), holder(pool, SERVER_DOWN)) == ("connect failed", None)


def test_reserve_pool() -> None:
    pooler = a_pooler("pool_size=1 reserve_pool_size=1", reserve_pool_timeout="60")
    works(pooler)
    pool, client = queued(pooler)
    assert client.wait_reason == why(pool) == RESERVE_TIMEOUT
    assert holder(pool, RESERVE_TIMEOUT) is not None
    works(pooler)
    assert why(pool) == POOL_FULL


def test_a_wait_counts_once_under_the_gravest_reason() -> None:
    pooler = a_pooler(pool_mode="transaction")
    server = works(pooler)
    pool, client = queued(pooler)
    for paused in (True, False):
        pool.paused = paused
        pool.note_reasons()
    server.ready = True
    pool.release(server)
    assert client.link is server
    assert [each.count for each in pool.waits.by_reason] == [
        reason == PAUSED for reason in range(len(REASONS))
    ]
    assert pool.stats.wait_times.reading().samples == 1
    assert (
        client.waited_ns
        == pool.waits.by_reason[PAUSED].total_ns
        == pool.waits.by_reason[PAUSED].longest_ns
        > 0
    )


def test_who_gives_up_has_waited_too() -> None:
    pooler = a_pooler()
    works(pooler)
    pool, client = queued(pooler)
    client.disconnect("query_wait_timeout")
    assert pool.waits.by_reason[POOL_FULL].count == 1
    assert (pool.stats.wait_times.reading().samples, pool.stats.wait_ns) == (1, 0)


def test_who_is_told_that_the_server_is_down_has_waited_for_that() -> None:
    pooler = a_pooler()
    pool, client = queued(pooler)
    pool.fail_waiting("password authentication failed", "28P01")
    assert client.closed
    assert pool.waits.by_reason[SERVER_DOWN].count == 1


def test_the_longest_wait() -> None:
    counts = WaitCounts()
    for ns in (5, 9, 7):
        counts.add(POOL_FULL, ns)
    found = counts.by_reason[POOL_FULL]
    assert (found.count, found.total_ns, found.longest_ns) == (3, 21, 9)
