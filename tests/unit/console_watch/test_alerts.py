"""Alerts: when they are raised, get worse, get better and are over, and whom that rouses."""

from __future__ import annotations

from typing import Any

import pytest

from tests.support.fake_admin import database, pairs, pool, table
from tests.unit.console_watch.moments import OURS, config, moment, state
from tui.admin.table import Table
from tui.watch.alerts import EVENTS, Alarms, Edge
from tui.watch.rules import AlertKey, Severity
from tui.watch.thresholds import AlertThresholds

INFO, WARNING, CRITICAL = Severity
WAITING = AlertKey("waiting", "app", "web")


class Watch:
    """Alarms with a clock of their own, given a moment each second."""

    def __init__(self, **thresholds: float) -> None:
        self.now = 0.0
        self.alarms = Alarms(AlertThresholds.from_mapping(thresholds), lambda: self.now)

    def see(self, times: int = 1, **tables: Table | None) -> list[Edge]:
        """The edges of the same moment, some times over."""
        edges: list[Edge] = []
        for _ in range(times):
            self.now += 1
            edges += self.alarms.update(moment(self.now, OURS, **tables))
        return edges

    def pool(self, times: int = 1, **values: Any) -> list[Edge]:
        return self.see(times, POOLS=table(pool(**{"sv_active": 1, **values})))

    @property
    def severities(self) -> dict[AlertKey, Severity]:
        return {alert.key: alert.severity for alert in self.alarms.active}


def changes(edges: list[Edge]) -> list[tuple[str, Severity | None, Severity | None]]:
    return [(edge.alert.key.kind, edge.before, edge.after) for edge in edges]


def test_a_quiet_pooler_has_no_alerts() -> None:
    watch = Watch()
    assert watch.see(20) == []
    assert (watch.alarms.active, watch.alarms.events) == ((), ())


def test_clients_that_wait_for_three_moments_are_a_warning_once() -> None:
    watch = Watch()
    assert watch.pool(2, cl_waiting=1) == []
    (edge,) = watch.pool(5, cl_waiting=2, maxwait_us=400_000)
    assert (edge.before, edge.after, edge.is_worse) == (None, WARNING, True)
    assert edge.text == "app/web: 2 clients wait, the first for 400 ms"
    assert watch.severities == {WAITING: WARNING}


def test_clients_that_come_and_go_are_no_alert() -> None:
    watch = Watch()
    for _ in range(10):
        assert watch.pool(2, cl_waiting=3) == []
        assert watch.pool(1) == []


def test_a_long_wait_is_told_at_once_and_gets_worse() -> None:
    watch = Watch()
    edges = watch.pool(cl_waiting=1, maxwait=1) + watch.pool(cl_waiting=1, maxwait=5)
    assert changes(edges) == [("waiting", None, WARNING), ("waiting", WARNING, CRITICAL)]
    assert watch.alarms.active[0].text == "1 client waits, for 5 s"


def test_around_a_bound_an_alert_does_not_flicker() -> None:
    watch = Watch()
    watch.pool(3, cl_waiting=1, maxwait=5)
    for _ in range(10):
        assert watch.pool(cl_waiting=1, maxwait=4, maxwait_us=600_000) == []
        assert watch.pool(cl_waiting=1, maxwait=5, maxwait_us=100_000) == []


def test_it_gets_better_after_some_moments_below_the_lower_bound() -> None:
    watch = Watch()
    watch.pool(3, cl_waiting=1, maxwait=6)
    assert watch.pool(2, cl_waiting=1, maxwait=2) == []
    assert changes(watch.pool(1, cl_waiting=1, maxwait=2)) == [("waiting", CRITICAL, WARNING)]
    assert watch.pool(2) == []
    (edge,) = watch.pool(1)
    assert (edge.after, edge.is_worse) == (None, False)
    assert edge.text == "app/web: over: no client waits any more"
    assert watch.pool(10) == []
    assert watch.alarms.active == ()


def test_one_good_moment_does_not_end_it() -> None:
    watch = Watch()
    watch.pool(3, cl_waiting=4)
    for _ in range(5):
        assert watch.pool(2) + watch.pool(1, cl_waiting=4) == []


def test_a_pool_that_has_gone_ends_its_alerts() -> None:
    watch = Watch()
    watch.pool(3, cl_waiting=4)
    assert changes(watch.see(3, POOLS=table(pool("shop")))) == [("waiting", WARNING, None)]


def test_what_cannot_be_read_is_not_over() -> None:
    watch = Watch()
    watch.pool(3, cl_waiting=4)
    assert watch.see(10, POOLS=None) == []
    assert watch.severities == {WAITING: WARNING}


def test_half_of_query_wait_timeout_is_critical_if_that_is_less() -> None:
    watch = Watch()
    pools = table(pool(cl_waiting=1, maxwait=3))
    assert changes(watch.see(POOLS=pools, CONFIG=config(query_wait_timeout="6"))) == [
        ("waiting", None, CRITICAL)
    ]
    assert changes(Watch().see(POOLS=pools, CONFIG=config(query_wait_timeout="0"))) == [
        ("waiting", None, WARNING)
    ]
    assert changes(Watch().see(POOLS=pools, CONFIG=None)) == [("waiting", None, WARNING)]


def test_a_bound_of_nothing_is_never_reached() -> None:
    watch = Watch(waiting_warning=0, maxwait_warning=0, maxwait_critical=0, pool_critical=0)
    assert watch.pool(20, cl_waiting=500, maxwait=100, sv_active=10) == []


def test_many_that_wait_can_be_critical() -> None:
    watch = Watch(waiting_critical=50)
    assert changes(watch.pool(3, cl_waiting=50)) == [("waiting", None, CRITICAL)]


def test_each_pool_has_an_alert_of_its_own_the_worst_on_top() -> None:
    watch = Watch()
    pools = table(
        pool("a", cl_waiting=1),
        pool("b", cl_waiting=1, maxwait=9),
        pool("a", "etl", cl_waiting=1),
        pool("pgbouncer", "pgbouncer", cl_waiting=3, maxwait=50),
    )
    watch.see(3, POOLS=pools)
    assert [alert.key.subject for alert in watch.alarms.active] == ["b/web", "a/etl", "a/web"]


def test_a_pool_at_work_for_long_is_a_warning_and_critical_when_clients_wait() -> None:
    watch = Watch(waiting_warning=0, maxwait_warning=0, maxwait_critical=0)
    assert watch.pool(9, sv_active=16) == []
    assert changes(watch.pool(1, sv_active=16)) == [("saturation", None, WARNING)]
    assert watch.pool(9, sv_active=20, cl_waiting=2) == []
    (edge,) = watch.pool(1, sv_active=20, cl_waiting=2)
    assert edge.after is CRITICAL
    assert edge.text == "app/web: 20 of 20 servers have a client"
    assert changes(watch.pool(3, sv_active=20)) == [("saturation", CRITICAL, WARNING)]
    assert watch.pool(10, sv_active=15) == []  # 75 % is above 90 % of 80
    assert changes(watch.pool(3, sv_active=14)) == [("saturation", WARNING, None)]


def test_a_full_pool_with_a_queue_of_milliseconds_is_well_used() -> None:
    watch = Watch(waiting_warning=0)
    watch.pool(20, sv_active=20, cl_waiting=2, maxwait=0, maxwait_us=80_000)
    assert list(watch.severities.values()) == [WARNING]
    edges = watch.pool(10, sv_active=20, cl_waiting=2, maxwait=1, maxwait_us=80_000)
    assert ("saturation", WARNING, CRITICAL) in changes(edges)


def test_clients_are_held_against_max_client_conn_and_never_against_what_is_free() -> None:
    def lists(used: int) -> Table:
        return pairs(("list", "items"), {"used_clients": used, "free_clients": 0})

    watch = Watch()
    assert watch.see(LISTS=lists(79)) == []
    (edge,) = watch.see(LISTS=lists(80))
    assert (edge.after, edge.text) == (WARNING, "pooler: 80 of 100 clients that max_client_conn allows")
    assert changes(watch.see(LISTS=lists(93))) == [("clients", WARNING, CRITICAL)]
    assert watch.see(10, LISTS=lists(82)) == []  # above 81
    assert changes(watch.see(3, LISTS=lists(80))) == [("clients", CRITICAL, WARNING)]
    assert changes(watch.see(3, LISTS=lists(10))) == [("clients", WARNING, None)]


def test_a_database_has_a_limit_of_clients_of_its_own() -> None:
    row = database(max_client_connections=10, current_client_connections=9)
    (edge,) = Watch().see(DATABASES=table(row))
    assert edge.text == "app: 9 of 10 clients that max_db_client_connections allows"


def test_servers_that_cannot_be_logged_in_to_by_our_own_counts() -> None:
    def server_stats(failed: int) -> Table:
        rows = (
            ("app", "web", "opened", "login", 5, "2026-03-01 12:00:00 UTC"),
            ("app", "web", "failed", "connect failed", failed, "2026-03-01 12:00:00 UTC"),
        )
        return Table(("database", "user", "event", "reason", "count", "last_time"), rows)

    watch = Watch()
    assert watch.see(SERVER_STATS=server_stats(7)) == []  # before we came
    (edge,) = watch.see(SERVER_STATS=server_stats(8))
    assert edge.after is WARNING
    assert edge.text == "app/web: 1 server login failed in the last 1 min: connect failed"
    assert watch.see(30, SERVER_STATS=server_stats(8)) == []
    assert changes(watch.see(SERVER_STATS=server_stats(10))) == [("logins", WARNING, CRITICAL)]
    assert changes(watch.see(70, SERVER_STATS=server_stats(10))) == [
        ("logins", CRITICAL, WARNING),
        ("logins", WARNING, None),
    ]


def test_failures_of_a_pooler_that_was_started_again_are_counted_anew() -> None:
    def server_stats(failed: int) -> Table:
        rows = [("app", "web", "failed", "timeout", failed, "2026-03-01 12:00:00 UTC")]
        return Table(("database", "user", "event", "reason", "count", "last_time"), rows)

    watch = Watch()
    watch.see(SERVER_STATS=server_stats(70))
    assert watch.see(5, SERVER_STATS=server_stats(2)) == []
    assert changes(watch.see(SERVER_STATS=server_stats(3))) == [("logins", None, WARNING)]


def test_a_pool_that_gets_no_server_at_all() -> None:
    watch = Watch(waiting_warning=0, maxwait_warning=0, maxwait_critical=0)
    assert watch.pool(4, sv_active=0, cl_waiting=2, sv_login=1) == []
    (edge,) = watch.pool(1, sv_active=0, cl_waiting=2)
    assert edge.alert.key.kind == "logins"
    assert edge.text == "app/web: the pool has no server; 2 clients wait, the first for 0 µs"
    (edge,) = watch.pool(3, sv_active=1)
    assert edge.text == "app/web: over: servers can be logged in to again"


def test_a_pool_whose_database_has_all_servers_that_it_may_is_not_one() -> None:
    watch = Watch(waiting_warning=0, maxwait_warning=0, maxwait_critical=0)
    full = table(database(max_connections=5, current_connections=5))
    assert watch.see(20, POOLS=table(pool(cl_waiting=2)), DATABASES=full) == []


def test_errors_of_the_poolers_own_within_a_minute() -> None:
    def errors(timeouts: int, **others: int) -> Table:
        rows = [
            ("app", "web", "server", "23505", 9999 * (timeouts + 1), "", ""),
            ("app", "web", "pooler", "client unexpected eof", 9999 * (timeouts + 1), "", ""),
            ("app", "web", "pooler", "query_wait_timeout", timeouts, "query_wait_timeout", ""),
            *(("app", "web", "pooler", code, count, "", "") for code, count in others.items()),
        ]
        return Table(("database", "user", "source", "code", "count", "last_message", "last_time"), rows)

    watch = Watch()
    assert watch.see(ERRORS=errors(500)) == []
    assert watch.see(ERRORS=errors(507)) == []
    (edge,) = watch.see(ERRORS=errors(509, other=3))
    assert edge.after is WARNING
    assert edge.text == "app/web: 12 errors of the pooler in the last 1 min, mostly query_wait_timeout"


def test_a_pause_is_told_and_gets_worse_with_time() -> None:
    watch = Watch()
    (edge,) = watch.see(STATE=state("paused"))
    assert (edge.after, edge.text) == (INFO, "pooler: paused")
    assert changes(watch.see(400, STATE=state("paused"))) == [
        ("paused", INFO, WARNING),
        ("paused", WARNING, CRITICAL),
    ]
    assert watch.alarms.active[0].text == "paused, for 6 min 40 s at least"
    (edge,) = watch.see()
    assert (edge.after, edge.text) == (None, "pooler: over: active again")


def test_who_waits_for_resume_is_part_of_the_pause() -> None:
    watch = Watch()
    pools = table(pool(cl_waiting=3, maxwait=30))
    edges = watch.see(10, STATE=state("suspended"), POOLS=pools)
    assert changes(edges) == [("paused", None, INFO)]
    assert watch.alarms.active[0].text == "suspended, for 9 s at least; 3 clients wait, the first for 30 s"
    edges = watch.see(STATE=state("suspended"), POOLS=table(pool(cl_waiting=3, maxwait=60)))
    assert changes(edges) == [("paused", INFO, CRITICAL)]  # half of query_wait_timeout


def test_a_database_can_be_paused_by_itself() -> None:
    watch = Watch()
    databases = table(database(paused=1), database("shop"))
    pools = table(pool(cl_waiting=2, maxwait=9), pool("shop", cl_waiting=1, maxwait=2))
    watch.see(DATABASES=databases, POOLS=pools)
    assert watch.severities == {
        AlertKey("paused", "app"): INFO,
        AlertKey("waiting", "shop", "web"): WARNING,
    }


def test_a_disabled_database_is_told() -> None:
    watch = Watch()
    (edge,) = watch.see(100, DATABASES=table(database(disabled=1)))
    assert (edge.after, edge.text) == (INFO, "app: disabled: new clients are refused")
    assert changes(watch.see()) == [("disabled", INFO, None)]


def test_an_old_release_has_less_to_look_at() -> None:
    databases = Table(("name", "pool_size"), [("app", 20)])
    watch = Watch()
    edges = watch.see(3, STATE=None, CONFIG=None, DATABASES=databases, POOLS=table(pool(cl_waiting=1)))
    assert changes(edges) == [("waiting", None, WARNING)]
    assert Watch().see(3, STATE=None, CONFIG=None, DATABASES=None, POOLS=None, LISTS=None) == []


def test_acknowledged_is_shown_and_hushed_until_it_gets_worse() -> None:
    watch = Watch()
    watch.pool(3, cl_waiting=1)
    watch.alarms.acknowledge(WAITING)
    (alert,) = watch.alarms.active
    assert (alert.acknowledged, alert.hushed) == (True, True)
    (edge,) = watch.pool(1, cl_waiting=1, maxwait=9)
    assert (edge.after, edge.alert.hushed) == (CRITICAL, False)
    watch.alarms.acknowledge(WAITING)
    edges = watch.pool(10)
    assert [edge.alert.hushed for edge in edges] == [True]
    (edge,) = watch.pool(3, cl_waiting=1)
    assert not edge.alert.hushed


def test_acknowledging_what_is_not_there_does_nothing() -> None:
    watch = Watch()
    watch.alarms.acknowledge(WAITING)
    watch.pool(1, cl_waiting=1)  # it is watched, and no alert yet
    watch.alarms.acknowledge(WAITING)
    (edge,) = watch.pool(3, cl_waiting=1)
    assert not edge.alert.hushed


def test_a_mute_holds_for_its_time() -> None:
    watch = Watch()
    watch.alarms.mute(WAITING, 900)
    (edge,) = watch.pool(3, cl_waiting=1)
    assert (edge.alert.muted, edge.alert.hushed) == (True, True)
    assert watch.alarms.muted_for(WAITING) == 897
    watch.now += 897
    assert not watch.alarms.active[0].muted
    watch.alarms.mute(WAITING, 900)
    watch.alarms.mute(WAITING, 0)
    assert watch.alarms.muted_for(WAITING) == 0


def test_everything_can_be_muted() -> None:
    watch = Watch()
    watch.alarms.mute(None, 60)
    watch.alarms.mute(WAITING, 10)
    assert watch.alarms.muted_for() == watch.alarms.muted_for(WAITING) == 60
    assert [edge.alert.muted for edge in watch.pool(3, cl_waiting=1)] == [True]


def test_the_history_has_the_newest_on_top_and_an_end() -> None:
    watch = Watch(clear_ticks=1)
    for _ in range(EVENTS):
        watch.pool(1, cl_waiting=1, maxwait=2)
        watch.pool(1)
    assert len(watch.alarms.events) == EVENTS
    assert watch.alarms.events[0].after is None
    assert watch.alarms.events[0].clock > watch.alarms.events[1].clock


def test_since_is_when_it_was_raised() -> None:
    watch = Watch()
    watch.pool(3, cl_waiting=1)
    watch.pool(7, cl_waiting=1, maxwait=8)
    (alert,) = watch.alarms.active
    assert alert.since_at == 3
    assert alert.since == moment(3).clock


@pytest.mark.parametrize(("severity", "symbol"), [(INFO, "●"), (WARNING, "▲"), (CRITICAL, "✖")])
def test_each_severity_has_a_symbol_and_a_word(severity: Severity, symbol: str) -> None:
    assert (severity.symbol, severity.word) == (symbol, severity.name.lower())


def test_names_of_subjects() -> None:
    assert AlertKey("clients").subject == "pooler"
    assert AlertKey("paused", "app").subject == "app"
    assert WAITING.subject == "app/web"
