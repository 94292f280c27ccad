"""Rates, times and gauges over a quarter of an hour."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tests.support.fake_admin import database, pairs, pool, stats, table
from tests.unit.console_watch.moments import counted, moment
from tui.admin.table import Table
from tui.watch.history import DATABASE_METRICS, METRICS, RINGS, SECONDS, History


def history_of(*rows: dict[str, Any], seconds: float = 2.0) -> History:
    """A moment for each row of SHOW STATS, so many seconds apart."""
    history = History()
    for number, row in enumerate(rows):
        history.add(moment(100 + number * seconds, STATS=table(row)))
    return history


def values(history: History, metric: str, database: str = "") -> list[float | None]:
    return [value for _, value in history.series(metric, database)]


def test_rates_are_per_second() -> None:
    history = history_of(
        counted(queries=100, xacts=10, received=5000, logins=3),
        counted(queries=150, xacts=20, received=7000, logins=5),
    )
    latest = history.latest
    assert (latest["queries"], latest["transactions"], latest["bytes_in"], latest["logins"]) == (
        *(25.0, 5.0, 1000.0),
        1.0,
    )
    assert values(history, "queries") == [None, 25.0]


def test_times_are_averages_of_what_ended_in_between() -> None:
    history = history_of(
        counted(queries=100, xacts=10, assignments=10, query_us=1e6, xact_us=2e6, wait_us=0),
        counted(queries=110, xacts=15, assignments=14, query_us=1.5e6, xact_us=4e6, wait_us=4e5),
    )
    latest = history.latest
    assert latest["query_time"] == pytest.approx(0.05)
    assert latest["run_time"] == pytest.approx(0.01)
    assert latest["xact_time"] == pytest.approx(0.4)
    assert latest["wait_time"] == pytest.approx(0.1)
    assert latest["idle_share"] == pytest.approx(1.5 / 1.6)
    assert latest["busy_servers"] == pytest.approx(0.8)


def test_a_release_without_assignments_counts_waits_by_transactions() -> None:
    def row(xacts: int, wait_us: int) -> Table:
        return table({"database": "app", "total_xact_count": xacts, "total_wait_time": wait_us})

    history = History()
    history.add(moment(100, STATS=row(10, 0)))
    history.add(moment(101, STATS=row(12, 5_000_000)))
    assert history.latest["wait_time"] == pytest.approx(2.5)
    assert history.latest["logins"] is None


def test_prepared_statements_that_were_there_already() -> None:
    history = history_of(
        counted(binds=100, client_parses=10, server_parses=5),
        counted(binds=200, client_parses=10, server_parses=15),
    )
    assert history.latest["prepared_hits"] == pytest.approx(0.9)


def test_without_binds_prepared_statements_are_held_against_what_clients_prepared() -> None:
    def row(client_parses: int, server_parses: int) -> Table:
        names = ("database", "total_client_parse_count", "total_server_parse_count")
        return Table(names, [("app", client_parses, server_parses)])

    history = History()
    history.add(moment(100, STATS=row(0, 0)))
    history.add(moment(101, STATS=row(10, 4)))
    assert history.latest["prepared_hits"] == pytest.approx(0.6)


def test_nothing_done_has_no_average_time() -> None:
    history = history_of(counted(queries=100), counted(queries=100))
    assert (history.latest["queries"], history.latest["query_time"]) == (0.0, None)


def test_a_reset_is_a_gap_and_no_spike() -> None:
    history = history_of(
        *(counted(queries=queries, xacts=1) for queries in (1000, 1100, 5, 105)),
    )
    assert values(history, "queries") == [None, 50.0, None, 50.0]


def test_after_a_new_start_a_counter_that_has_outgrown_the_old_one_is_not_a_rate() -> None:
    history = history_of(counted(queries=10, xacts=9), counted(queries=5000, xacts=1))
    assert history.latest["queries"] is None


def test_one_database_that_was_reset_makes_a_gap_of_all() -> None:
    history = History()
    history.add(moment(100, STATS=table(counted("a", queries=10), counted("b", queries=1000))))
    history.add(moment(101, STATS=table(counted("a", queries=90), counted("b", queries=3))))
    assert history.latest["queries"] is None


def test_a_database_that_comes_or_goes_is_no_spike() -> None:
    history = History()
    history.add(moment(100, STATS=table(counted("a", queries=10), counted("b", queries=1000))))
    history.add(moment(101, STATS=table(counted("a", queries=20), counted("c", queries=9999))))
    assert history.latest["queries"] == 10.0
    assert (values(history, "queries", "b"), values(history, "queries", "c")) == ([], [None])


def test_the_database_of_the_admins_does_not_count() -> None:
    history = History()
    for at, queries in ((100, 0), (101, 500)):
        rows = (counted("app", queries=10), counted("pgbouncer", queries=queries))
        pools = (pool(cl_waiting=1, maxwait=1), pool("pgbouncer", "pgbouncer", cl_waiting=9, maxwait=9))
        history.add(moment(at, STATS=table(*rows), POOLS=table(*pools)))
    assert (history.latest["queries"], history.latest["waiting"], history.latest["maxwait"]) == (0, 1, 1)


def test_what_comes_after_a_lost_connection_is_not_joined_to_what_was() -> None:
    history = history_of(counted(queries=100), counted(queries=110))
    history.interrupt(103.5)
    history.interrupt(103.6)  # is known already
    history.add(moment(110, STATS=table(counted(queries=90_000))))
    history.add(moment(112, STATS=table(counted(queries=90_010))))
    assert values(history, "queries") == [None, 5.0, None, None, 5.0]
    assert values(history, "waiting") == [0.0, 0.0, None, 0.0, 0.0]


def test_a_long_silence_is_a_gap_too() -> None:
    history = history_of(*(counted(queries=queries) for queries in (0, 10, 20)), seconds=1)
    history.add(moment(140, STATS=table(counted(queries=90_000))))
    assert values(history, "queries") == [None, 10.0, 10.0, None, None]


def test_a_poll_that_comes_a_little_late_is_no_gap() -> None:
    history = history_of(*(counted(queries=queries) for queries in (0, 10, 20)), seconds=1)
    history.add(moment(105, STATS=table(counted(queries=50))))
    assert values(history, "queries")[-1] == 10.0


def test_rates_are_by_when_the_counters_were_read() -> None:
    history = History()
    first = moment(100, STATS=table(counted(queries=0)))
    second = moment(103, STATS=table(counted(queries=100)))
    history.add(first)
    history.add(replace(second, read_at={**second.read_at, "STATS": 102.0}))
    assert history.latest["queries"] == 50.0


def test_counters_that_could_not_be_read_are_a_gap() -> None:
    history = history_of(counted(queries=0), counted(queries=10))
    history.add(moment(104, STATS=None))
    history.add(moment(106, STATS=table(counted(queries=30))))
    history.add(moment(108, STATS=table(counted(queries=50))))
    assert values(history, "queries") == [None, 5.0, None, None, 10.0]


def test_gauges() -> None:
    pools = (
        pool(cl_active=5, cl_waiting=2, sv_active=3, maxwait=1, maxwait_us=250_000),
        pool("shop", cl_active=1, cl_waiting=4, sv_active=1, maxwait=0, maxwait_us=900_000),
    )
    history = History()
    history.add(
        moment(
            100,
            POOLS=table(*pools),
            LISTS=pairs(("list", "items"), {"used_clients": 14}),
            DATABASES=table(database(), database("shop")),
        )
    )
    latest = history.latest
    assert (latest["waiting"], latest["active_servers"], latest["clients"]) == (6, 4, 14)
    assert latest["maxwait"] == pytest.approx(1.25)
    assert values(history, "waiting", "shop") == [4]


def test_without_pools_there_are_gaps() -> None:
    history = History()
    history.add(moment(100, POOLS=None, STATS=None, LISTS=None))
    assert values(history, "waiting") == [None]
    assert set(history.latest.values()) <= {None}


def test_no_pools_at_all_is_nobody_waiting() -> None:
    history = History()
    history.add(moment(100, POOLS=table(columns=tuple(pool())), STATS=table(columns=tuple(stats()))))
    assert values(history, "waiting") == [0]
    assert values(history, "queries") == [None]


def test_it_goes_back_a_quarter_of_an_hour() -> None:
    history = History()
    for at in range(2000):
        history.add(moment(at, STATS=table(counted(queries=at * 10))))
    series = history.series("queries")
    assert (series[0][0], series[-1]) == (1999 - SECONDS, (1999, 10.0))
    assert len(series) == SECONDS + 1


def test_only_so_many_databases_have_a_past() -> None:
    names = [f"db{number:03}" for number in range(RINGS + 5)]
    history = History()
    for at in (100, 101):
        rows = [counted(name, queries=at * number) for number, name in enumerate(names)]
        history.add(moment(at, STATS=table(*rows), POOLS=table(*(pool(name) for name in names))))
    assert [bool(history.series("queries", name)) for name in names].count(True) == RINGS
    assert history.latest["queries"] == sum(range(len(names)))


def test_what_is_usual_and_what_is_recent() -> None:
    history = History()
    total = 0.0
    for at in range(200):
        total += 1000 if at < 170 else 9000
        history.add(moment(at, STATS=table(counted(queries=at, query_us=total))))
    assert history.usual("query_time", "app") == pytest.approx(0.001)
    assert history.recent("query_time", "app", 20) == pytest.approx(0.009)
    assert History().usual("query_time") is None
    assert History().recent("query_time") is None


def test_every_metric_has_a_series() -> None:
    history = history_of(counted(queries=1), counted(queries=2))
    assert all(len(history.series(name)) == 2 for name in METRICS)
    assert all(len(history.series(name, "app")) == 2 for name in DATABASE_METRICS)
