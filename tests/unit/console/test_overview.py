"""The overview and the alerts, as somebody sees them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from textual.pilot import Pilot

from tests.support.fake_admin import EPOCH, FakePooler, client, database, pool, stats, table
from tests.unit.console.driving import driven, polled, press, seen, settle, text
from tests.unit.console.snapshots import SIZES as PICTURES
from tests.unit.console.snapshots import check
from tests.unit.console_watch.moments import config, counted, state
from tui.admin.errors import AdminError
from tui.admin.table import Table
from tui.app import Console
from tui.screens.alerts import AlertsScreen
from tui.screens.overview import OverviewScreen
from tui.screens.tables import PoolsScreen
from tui.watch.clock import Clock
from tui.watch.rules import AlertKey
from tui.widgets.alert_strip import AlertStrip
from tui.widgets.cells import width_of
from tui.widgets.graph import Graph
from tui.widgets.table import SnapshotTable

SIZES = [(60, 20), (80, 24), (120, 40), (200, 60)]
EVERY_SIZE = pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")

STUCK: dict[str, Any] = {"cl_active": 20, "cl_waiting": 12, "sv_active": 20, "maxwait": 6}
WAIT = {
    "id": 300,
    "user": "web",
    "database": "app",
    "addr": "10.0.0.7",
    "port": 4000,
    "application_name": "",
    "reason": "pool full",
    "detail": None,
    "wait_us": 6_000_000,
    "server_id": 17,
    "held_us": 41_000_000,
    "holder_state": "idle in transaction",
    "holder_id": 127,
    "holder_user": "web",
    "holder_addr": "10.0.0.7",
    "holder_application_name": "",
}
QUESTION = (
    "SHOW CLIENTS WHERE database = 'app' AND \"user\" = 'web' AND state = 'active' AND wait = 0"
    " AND wait_us = 0 ORDER BY request_time LIMIT 1000"
)
WHY = (
    "app holds transactions: 18 of 20 servers idle in transaction, oldest 41 s,"
    " client 127 user web from 10.0.0.7"
)


class Ticking:
    """A clock that a test moves on."""

    def __init__(self) -> None:
        self.seconds = 1000.0

    @property
    def clock(self) -> Clock:
        return Clock(seconds=lambda: self.seconds, now=lambda: EPOCH)

    async def poll(self, pilot: Pilot[Any], seconds: float = 1.0) -> None:
        self.seconds += seconds
        await polled(pilot)


def stuck_pooler() -> FakePooler:
    """A pool in which an application holds its transactions."""
    pooler = FakePooler()
    pooler.tables["POOLS"] = table(pool(**STUCK), pool("reports", "ana", cl_active=1))
    pooler.tables["WAITS"] = table(WAIT)
    pooler.answers[QUESTION] = table(*(client(number, link="0x1") for number in range(100, 118)))
    return pooler


def latency(*rows: dict[str, Any]) -> Table:
    found = {"user": "web", "span": "recent", "count": 10, "p50": 1200, "p90": 9000, "p95": 15_000}
    return table(*({"database": "app", **found, "p99": 250_000, "max": 3_000_000, **row} for row in rows))


@contextmanager
def heard(console: Console) -> Iterator[list[str]]:
    """Bells, as they ring."""
    bells: list[str] = []
    original = console.bell
    console.bell = lambda: bells.append("bell")  # type: ignore[method-assign]
    yield bells
    console.bell = original  # type: ignore[method-assign]


def words(console: Console) -> str:
    """The text without the blanks that set it in columns."""
    return " ".join(text(console).split())


def notices(console: Console) -> list[str]:
    return [notice.message for notice in console._notifications]


# The overview


async def test_a_quiet_pooler() -> None:
    async with driven(FakePooler()) as (console, _):
        shown = text(console)
        assert "● active" in shown
        assert "no alerts" in shown
        assert "4 of 100   4%" in shown


@EVERY_SIZE
async def test_it_fits_every_size(size: tuple[int, int]) -> None:
    pooler = stuck_pooler()
    pooler.tables["LATENCY"] = latency({"kind": "query"}, {"kind": "wait"})
    async with driven(pooler, size=size) as (console, pilot):
        lines = (await seen(console, pilot)).splitlines()
        assert max(map(width_of, lines)) <= size[0]
        shown = "\n".join(lines)
        for word in ("active", "✖ critical app/web: 12 clients wait", "app holds transactions: 18 of 20"):
            assert word in shown
        assert "queries" in shown
        assert "1.2 ms" in shown
        assert "20 of 20 100%" in shown
        table = console.screen.query_one(SnapshotTable)
        assert table.region.bottom <= size[1] - 1
        assert any("reports" in line and "ana" in line for line in lines)


@pytest.mark.parametrize(("size", "graphs"), [((60, 20), 1), ((80, 30), 2), ((120, 40), 9), ((200, 60), 12)])
async def test_graphs_take_the_room_there_is(size: tuple[int, int], graphs: int) -> None:
    async with driven(FakePooler(), size=size) as (console, pilot):
        assert len([graph for graph in console.screen.query(Graph) if graph.display]) == graphs
        await pilot.resize_terminal(60, 18)
        await settle(pilot)
        assert not [graph for graph in console.screen.query(Graph) if graph.display]


async def test_rates_are_of_two_polls() -> None:
    time, pooler = Ticking(), FakePooler()
    async with driven(pooler, clock=time.clock) as (console, pilot):
        assert "queries – " in words(console)
        pooler.tables["STATS"] = table(
            stats("app", total_query_count=3000, total_xact_count=500), stats("reports")
        )
        await time.poll(pilot, 2)
        assert "queries 1k/s " in words(console)
        pooler.tables["STATS"] = table(stats("app", total_query_count=7), stats("reports"))
        await time.poll(pilot, 2)
        assert "queries – " in words(console)


async def test_percentiles_of_several_pools_are_marked_as_estimates() -> None:
    pooler = FakePooler()
    pooler.tables["LATENCY"] = latency(
        {"kind": "query"}, {"kind": "query", "database": "b"}, {"kind": "wait"}
    )
    async with driven(pooler) as (console, _):
        assert " query ~1.2 ms ~15 ms ~250 ms 3 s " in words(console)
        assert " wait 1.2 ms 15 ms 250 ms 3 s" in words(console)


async def test_an_old_release_shows_averages_and_says_what_it_does_not_know() -> None:
    time, pooler = Ticking(), FakePooler()
    pooler.tables["STATS"] = table({"database": "app", "total_query_count": 0, "total_query_time": 0})
    for name in ("STATE",):
        del pooler.tables[name]
    pooler.verbs = ("SHOW", "PAUSE")
    async with driven(pooler, clock=time.clock) as (console, pilot):
        pooler.tables["STATS"] = table(
            {"database": "app", "total_query_count": 10, "total_query_time": 25_000}
        )
        await time.poll(pilot)
        shown = text(console)
        assert "this release does not say whether it is paused" in shown
        assert "average" in shown
        assert "2.5 ms" in shown
        assert "queries 10/s " in words(console)
        await pilot.resize_terminal(60, 20)
        await settle(pilot)
        assert "average:  query 2.5 ms  transaction –  wait –" in text(console)


async def test_no_pools_at_all() -> None:
    pooler = FakePooler()
    pooler.tables["POOLS"] = table(columns=tuple(pool()))
    pooler.tables["STATS"] = table(columns=tuple(stats()))
    pooler.tables["DATABASES"] = table(columns=tuple(database()))
    async with driven(pooler) as (console, _):
        assert "no rows" in text(console)


async def test_tables_that_are_refused_are_left_out() -> None:
    pooler = FakePooler()
    for name in ("POOLS", "STATS", "LISTS", "CONFIG", "DATABASES", "STATE"):
        pooler.refuse(f"SHOW {name}", AdminError("no"))
    async with driven(pooler) as (console, pilot):
        await polled(pilot)
        assert "● up" in text(console)


async def test_states_of_pooler_and_databases() -> None:
    pooler = FakePooler()
    pooler.tables["STATE"] = state("suspended")
    pooler.tables["DATABASES"] = table(
        *(database(f"db{number}", paused=1) for number in range(7)), database("old", disabled=1)
    )
    async with driven(pooler) as (console, _):
        line = next(line for line in text(console).splitlines() if "disabled: old" in line)
        assert "▲ SUSPENDED" in line
        assert "▲ paused: db0, db1, db2, db3, db4 and 2 more" in line
        assert "▲ disabled: old" in line


async def test_a_pooler_that_is_about_to_end_says_so() -> None:
    time, pooler = Ticking(), FakePooler()
    pooler.tables["AUDIT"] = table(columns=("time", "user", "addr", "command", "result", "ms"))
    async with driven(pooler, clock=time.clock) as (console, pilot):
        (question,) = [asked for asked in pooler.asked if asked.startswith("SHOW AUDIT WHERE")]
        pooler.answers[question] = table(
            {"command": "SHUTDOWN WAIT_FOR_CLIENTS", "user": "ops", "addr": "10.0.0.1"}
        )
        await time.poll(pilot, 5)
        await time.poll(pilot)
        assert "✖ SHUTTING DOWN: SHUTDOWN WAIT_FOR_CLIENTS by ops from 10.0.0.1" in text(console)
        pooler.answers[question] = table(columns=("command", "user", "addr"))
        await time.poll(pilot, 5)
        await time.poll(pilot)
        assert "SHUTTING" not in text(console)


NAMES = [
    "[red]",
    "[/]",
    "\x1b[31mred",
    "日本語データベース",
    "x" * 63,
    "a'b",
    'a"b',
    "with blank",
    "\n",
    "\u202eabc",
]


@pytest.mark.parametrize("size", [(60, 20), (120, 40)], ids=str)
async def test_names_are_shown_as_they_are(size: tuple[int, int]) -> None:
    pooler = FakePooler()
    pooler.tables["POOLS"] = table(*(pool(name, name, **STUCK) for name in NAMES))
    pooler.tables["DATABASES"] = table(*(database(name, disabled=1) for name in NAMES))
    pooler.tables["WAITS"] = table(
        *({**WAIT, "database": name, "user": name, "holder_user": name} for name in NAMES)
    )
    async with driven(pooler, size=size) as (console, pilot):
        for key in "12a":
            await press(pilot, key)
            shown = text(console)
            assert "\x1b" not in shown
            assert max(map(width_of, shown.splitlines())) <= size[0]
            await seen(console, pilot)


@pytest.mark.parametrize("name", ["[red]", "\x1b[31mred", 'a"b'], ids=ascii)
async def test_enter_finds_a_pool_whatever_its_name(name: str) -> None:
    pooler = FakePooler()
    pooler.tables["POOLS"] = table(pool(name, name, **STUCK), pool("other", "other"))
    async with driven(pooler) as (console, pilot):
        await press(pilot, "down", "enter")
        assert isinstance(console.screen, PoolsScreen)
        assert console.screen.query_one(SnapshotTable).view.keys == [(name, name)]
        assert "\x1b" not in text(console)


async def test_enter_goes_to_the_pool() -> None:
    async with driven(stuck_pooler()) as (console, pilot):
        await press(pilot, "down", "enter")
        screen = console.screen
        assert isinstance(screen, PoolsScreen)
        assert screen.arrangement.filter == 'database="app" user="web"'


async def test_what_actions_are_about_is_the_pool_of_the_cursor() -> None:
    async with driven(stuck_pooler()) as (console, pilot):
        screen = console.screen
        assert isinstance(screen, OverviewScreen)
        assert screen.selected_rows() == []
        await press(pilot, "down")
        (row,) = screen.selected_rows()
        assert (row["database"], row["user"], row["cl_waiting"]) == ("app", "web", 12)


async def test_the_fullest_five_pools() -> None:
    pooler = FakePooler()
    pooler.tables["POOLS"] = table(*(pool(f"db{number}", sv_active=number) for number in range(9)))
    async with driven(pooler) as (console, _):
        keys = console.screen.query_one(SnapshotTable).view.keys
        assert keys == [(f"db{number}", "web") for number in (8, 7, 6, 5, 4)]


async def test_without_colours_everything_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with driven(stuck_pooler()) as (console, pilot):
        assert console.no_color
        assert "✖ critical app/web" in text(console)
        assert "✖ 20 of 20 100%" in " ".join(text(console).split())
        await press(pilot, "2")
        assert "✖ critical app/web" in text(console)


async def test_frozen_is_what_is_shown_and_not_what_is_known() -> None:
    time, pooler = Ticking(), FakePooler()
    async with driven(pooler, clock=time.clock) as (console, pilot):
        await press(pilot, "z")
        pooler.tables["POOLS"] = stuck_pooler().tables["POOLS"]
        await time.poll(pilot)
        shown = await seen(console, pilot)
        assert "❄ frozen" in shown
        assert "✖ critical app/web: 12 clients wait" in shown
        assert "20 of 20" not in shown
        assert len(console.lookout.history.series("waiting")) == 2


async def test_a_lost_connection_is_a_gap() -> None:
    time, pooler = Ticking(), FakePooler()
    async with driven(pooler, clock=time.clock) as (console, pilot):
        await time.poll(pilot)
        pooler.stop()
        await time.poll(pilot)
        pooler.start()
        pooler.tables["STATS"] = table(counted("app", queries=10**9))
        await time.poll(pilot)
        await time.poll(pilot)
        values = [value for _, value in console.lookout.history.series("queries")]
        assert values == [None, 0.0, None, None, 0.0]


@pytest.mark.parametrize("size", PICTURES, ids=lambda size: f"{size[0]}x{size[1]}")
async def test_pictures(size: tuple[int, int]) -> None:
    time, pooler = Ticking(), stuck_pooler()
    waiting = pooler.tables["POOLS"]
    pooler.tables["POOLS"] = table(pool(cl_active=8, sv_active=3, sv_idle=5), pool("reports", "ana"))
    pooler.tables["LATENCY"] = latency({"kind": "query"}, {"kind": "transaction"}, {"kind": "wait"})
    pooler.tables["DATABASES"] = table(database(), database("reports", paused=1))
    async with driven(pooler, size=size, clock=time.clock, name="shop-1") as (console, pilot):
        for number in range(1, 6):
            pooler.tables["STATS"] = table(counted("app", queries=number * 7000, query_us=number * 9e6))
            if number == 4:
                pooler.tables["POOLS"] = waiting
            await time.poll(pilot, 9)
        await seen(console, pilot)
        check(console, "overview")
        await press(pilot, "a")
        await seen(console, pilot)
        check(console, "alerts")


# The strip, notifications, bells


async def test_the_worst_alert_and_why_are_on_every_screen() -> None:
    async with driven(stuck_pooler()) as (console, pilot):
        for key in "234567890":
            await press(pilot, key)
            shown = text(console)
            assert "✖ critical app/web: 12 clients wait, the first for 6 s" in shown
            assert WHY in shown
        assert "a: all alerts" in shown


async def test_the_strip_goes_with_the_alert() -> None:
    time, pooler = Ticking(), stuck_pooler()
    async with driven(pooler, clock=time.clock) as (console, pilot):
        await press(pilot, "2")
        assert console.screen.query_one(AlertStrip).display
        pooler.tables["POOLS"] = table(pool())
        for _ in range(3):
            await time.poll(pilot)
        assert not console.screen.query_one(AlertStrip).display
        assert any(notice == "app/web: over: no client waits any more" for notice in notices(console))


async def test_a_click_on_the_strip_shows_the_alerts() -> None:
    async with driven(stuck_pooler()) as (console, pilot):
        await press(pilot, "2")
        await pilot.click(AlertStrip)
        await settle(pilot)
        assert isinstance(console.screen, AlertsScreen)


async def test_one_notification_and_one_bell_for_each_edge() -> None:
    time, pooler = Ticking(), FakePooler()
    async with driven(pooler, clock=time.clock) as (console, pilot):
        with heard(console) as bells:
            pooler.tables["POOLS"] = table(pool(**{**STUCK, "maxwait": 1}))
            for _ in range(5):
                await time.poll(pilot)
            assert (len(bells), len(notices(console))) == (1, 1)
            pooler.tables["POOLS"] = table(pool(**STUCK))
            for _ in range(3):
                await time.poll(pilot)
            assert (len(bells), len(notices(console))) == (2, 2)


async def test_many_at_once_are_not_many_notifications() -> None:
    time, pooler = Ticking(), FakePooler()
    async with driven(pooler, clock=time.clock) as (console, pilot):
        with heard(console) as bells:
            pooler.tables["POOLS"] = table(*(pool(f"db{number}", **STUCK) for number in range(40)))
            await time.poll(pilot)
            assert bells == ["bell"]
            assert len(notices(console)) == 4
            assert notices(console)[-1] == "37 more changes of alerts: press a"


async def test_what_a_notification_says_is_no_markup() -> None:
    time, pooler = Ticking(), FakePooler()
    async with driven(pooler, clock=time.clock) as (console, pilot):
        pooler.tables["POOLS"] = table(pool("[red]", "[/x]", **STUCK))
        await time.poll(pilot)
        assert "[red]/[/x]: 12 clients wait" in text(console)


# The alerts


async def test_alerts_and_what_was_before() -> None:
    time, pooler = Ticking(), FakePooler()
    pooler.tables["DATABASES"] = table(database(disabled=1))
    pooler.tables["WAITS"] = table(columns=tuple(WAIT))
    async with driven(pooler, clock=time.clock) as (console, pilot):
        pooler.tables |= stuck_pooler().tables
        pooler.answers |= stuck_pooler().answers
        pooler.tables["CONFIG"] = config(max_client_conn="4")
        await time.poll(pilot, 5)
        await press(pilot, "a")
        shown = await seen(console, pilot)
        assert "2 alerts" in shown
        assert WHY in " ".join(shown.split())
        table_ = console.screen.query_one("#active", SnapshotTable)
        assert [row[0] for row in table_.view.snapshot.rows] == ["critical", "critical"]
        events = console.screen.query_one("#events", SnapshotTable).view.snapshot.rows
        assert [row[2] for row in events] == ["over", "critical", "critical", "info"]


async def test_the_reason_is_that_of_the_cursor() -> None:
    pooler = stuck_pooler()
    pooler.tables["DATABASES"] = table(database(), database("old", disabled=1))
    async with driven(pooler) as (console, pilot):
        await press(pilot, "a", "end")
        assert "ENABLE old lets new clients in" in text(console)
        await press(pilot, "enter")
        screen = console.screen
        assert isinstance(screen, PoolsScreen)
        assert screen.arrangement.filter == 'database="old"'


async def test_acknowledge() -> None:
    async with driven(stuck_pooler()) as (console, pilot):
        await press(pilot, "a", "k")
        assert "acknowledged" in text(console)
        assert console.lookout.alarms.active[0].acknowledged
        await press(pilot, "2")
        assert "(acknowledged)" in text(console)


async def test_mute_one_for_a_quarter_of_an_hour() -> None:
    time, pooler = Ticking(), stuck_pooler()
    async with driven(pooler, clock=time.clock) as (console, pilot):
        await press(pilot, "a", "m")
        alarms = console.lookout.alarms
        assert alarms.muted_for(AlertKey("waiting", "app", "web")) == 900
        assert "muted 15 min" in text(console)
        await press(pilot, "m")
        assert alarms.muted_for(AlertKey("waiting", "app", "web")) == 0
        await press(pilot, "m")
        with heard(console) as bells:
            pooler.tables["POOLS"] = table(pool())
            for _ in range(3):
                await time.poll(pilot)
            pooler.tables["POOLS"] = stuck_pooler().tables["POOLS"]
            before = notices(console)
            await time.poll(pilot)
            assert (bells, notices(console)) == ([], before)
            assert "12 clients wait" in text(console)


async def test_mute_all() -> None:
    time, pooler = Ticking(), FakePooler()
    async with driven(pooler, clock=time.clock) as (console, pilot):
        await press(pilot, "a", "n")
        assert "No alerts; all are muted for 15 min" in text(console)
        with heard(console) as bells:
            pooler.tables |= stuck_pooler().tables
            await time.poll(pilot)
            assert (bells, notices(console)) == ([], [])
        await press(pilot, "n")
        assert "muted" not in text(console)


async def test_escape_goes_back_to_where_one_was() -> None:
    async with driven(stuck_pooler()) as (console, pilot):
        await press(pilot, "3", "a", "a", "escape")
        assert console.current_mode == "clients"


async def test_alerts_can_be_sorted() -> None:
    pooler = stuck_pooler()
    pooler.tables["DATABASES"] = table(database(), database("old", disabled=1))
    async with driven(pooler) as (console, pilot):
        await press(pilot, "a", "greater_than_sign", "greater_than_sign")
        active = console.screen.query_one("#active", SnapshotTable)
        assert active.view.arrangement.sort == "about"


async def test_nothing_to_do_without_alerts() -> None:
    async with driven(FakePooler()) as (console, pilot):
        await press(pilot, "a", "k", "m", "enter")
        assert isinstance(console.screen, AlertsScreen)
        assert "No alerts" in text(console)


async def test_thresholds_are_those_of_the_profile() -> None:
    async with driven(stuck_pooler(), thresholds={"maxwait_critical": 60, "maxwait_warning": 30}) as (
        console,
        _,
    ):
        assert "no alerts" in text(console)


async def test_a_stock_pooler_is_asked_for_clients_while_there_is_an_alert() -> None:
    time, pooler = Ticking(), FakePooler()
    pooler.verbs = ("SHOW", "PAUSE")
    async with driven(pooler, clock=time.clock) as (console, pilot):
        assert "SHOW CLIENTS" not in pooler.asked
        pooler.tables["POOLS"] = table(pool(**{**STUCK, "sv_active": 1}))
        pooler.tables["CLIENTS"] = table(client(7, link="0x1"))
        await time.poll(pilot)
        await time.poll(pilot)
        assert "1 of 1 server idle in transaction, oldest since 11:59:58, client 7" in text(console)
