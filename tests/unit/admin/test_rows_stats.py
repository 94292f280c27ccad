"""SHOW STATS and its relatives."""

import pytest

from pooler.admin.tables import SHOW_TABLES
from pooler.pool.pool import Pool
from pooler.pool.stats import Totals
from tests.unit.admin.fakes import FakePooler, databases


@pytest.fixture
def pooler(monkeypatch: pytest.MonkeyPatch) -> FakePooler:
    """Averages cover 10.5 s; p0 is used by two users, p1 by one."""
    pooler = FakePooler(databases(p0="host=h", p1="host=h"))
    monkeypatch.setattr(pooler.registry, "stats_seconds", lambda: 10.5)
    for database, user, factor in (("p0", "alice", 1), ("p0", "bob", 2), ("p1", "alice", 10)):
        pool = pooler.client(database, user).pool
        assert pool is not None
        _count(pool, factor)
    return pooler


def _count(pool: Pool, factor: int) -> None:
    stats = pool.stats
    stats.server_assignment_count = 100 * factor
    stats.xact_count = 200 * factor
    stats.query_count = 300 * factor
    stats.client_bytes = 4000 * factor
    stats.server_bytes = 5000 * factor
    stats.xact_ns = 200 * factor * 11_000
    stats.query_ns = 300 * factor * 12_000
    stats.wait_ns = 100 * factor * 13_000
    stats.client_parse_count = 400 * factor
    stats.server_parse_count = 500 * factor
    stats.bind_count = 600 * factor
    stats.client_login_count = 700 * factor


P0 = (300, 600, 900, 12_000, 15_000, 6600, 10_800, 3900, 1200, 1500, 1800, 2100)
P0_AVERAGES = (28, 57, 85, 1142, 1428, 11, 12, 13, 114, 142, 171, 200)
"""Counts a second; µs for one transaction, one query, one assignment of a server."""

NOTHING = (0,) * 12


def test_totals_of_a_database_are_the_sum_of_its_pools(pooler: FakePooler) -> None:
    rows = list(SHOW_TABLES["stats_totals"].rows(pooler))
    assert [row[0] for row in rows] == ["p0", "p1", "pgbouncer"]
    assert rows[0] == ("p0", *P0)
    assert rows[1][1:4] == (1000, 2000, 3000)
    assert rows[2] == ("pgbouncer", *NOTHING)


def test_averages_are_rates_and_times_of_one(pooler: FakePooler) -> None:
    rows = list(SHOW_TABLES["stats_averages"].rows(pooler))
    assert rows[0] == ("p0", *P0_AVERAGES)
    assert rows[2] == ("pgbouncer", *NOTHING)


def test_averages_leave_out_what_was_before_the_period(pooler: FakePooler) -> None:
    for pool in pooler.registry.pools.values():
        pool.older = pool.stats.reading()
    assert next(iter(SHOW_TABLES["stats_averages"].rows(pooler))) == ("p0", *NOTHING)
    assert next(iter(SHOW_TABLES["stats_totals"].rows(pooler))) == ("p0", *P0)


def test_stats_are_totals_and_averages(pooler: FakePooler) -> None:
    assert next(iter(SHOW_TABLES["stats"].rows(pooler))) == ("p0", *P0, *P0_AVERAGES)


def test_totals_of_everything(pooler: FakePooler) -> None:
    rows = list(SHOW_TABLES["totals"].rows(pooler))
    assert [row[0] for row in rows] == [
        f"{prefix}_{name}"
        for prefix in ("total", "avg")
        for name in (
            *("server_assignment_count", "xact_count", "query_count", "client_bytes", "server_bytes"),
            *("xact_time", "query_time", "wait_time"),
            *("ps_client_parse_count", "ps_server_parse_count", "ps_bind_count", "client_login_count"),
        )
    ]
    found = {row[0]: row[1] for row in rows}
    assert found["total_query_count"] == 3900
    assert found["total_ps_bind_count"] == 7800
    assert found["avg_query_time"] == 12
    assert found["avg_client_login_count"] == 866
    assert Totals(*(row[1] for row in rows[:12])) == pooler.registry.totals()[0]  # type: ignore[arg-type]
