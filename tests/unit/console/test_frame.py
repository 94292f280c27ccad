"""What is around every screen, and what happens to the connection."""

from __future__ import annotations

import pytest
from textual.color import Color
from textual.events import Key
from textual.filter import Monochrome

from tests.support.fake_admin import FakePooler, pairs, table
from tests.unit.console.driving import driven, polled, press, text, until
from tui.admin.errors import AdminError
from tui.themes import THEMES
from tui.watch.link import Link, State
from tui.widgets.frame import Heading, TitleBar

REFUSED = AdminError('password authentication failed for user "ops"', sqlstate="28P01", lost=True)


async def test_the_title_says_which_pooler_this_is() -> None:
    async with driven(FakePooler(), name="production", read_only=True) as (console, _):
        first = text(console).splitlines()[0]
        assert "● live" in first
        assert "production" in first
        assert "read-only" in first
        assert "12:00:00" in first


async def test_production_has_a_colour_of_its_own_that_can_be_read() -> None:
    async with driven(FakePooler(), colour="red") as (console, _):
        bar = console.screen.query_one(TitleBar)
        assert bar.styles.background == Color.parse("red")
        assert abs(bar.styles.color.brightness - bar.styles.background.brightness) > 0.3


async def test_without_colours_symbols_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    async with driven(FakePooler()) as (console, pilot):
        await press(pilot, "3")
        await polled(pilot)
        assert any(isinstance(each, Monochrome) for each in console._filters)
        assert "● active" in text(console)


async def test_a_paused_pooler_says_so_on_every_screen() -> None:
    pooler = FakePooler()
    pooler.tables["STATE"] = pairs(("key", "value"), {"active": "no", "paused": "yes", "suspended": "no"})
    async with driven(pooler) as (console, pilot):
        await press(pilot, "6")
        assert "▲ PAUSED" in text(console).splitlines()[0]


@pytest.mark.parametrize(
    ("state", "silence", "frozen", "mark"),
    [
        (State.LIVE, 0.0, False, "● live"),
        (State.LIVE, 2.9, False, "● live"),
        (State.LIVE, 4.0, False, "▲ no answer for 4 s"),
        (State.LIVE, 4.0, True, "❄ frozen"),
        (State.CONNECTING, 4.0, False, "◌ connecting"),
    ],
)
def test_what_is_not_answered_for_long_is_not_called_live(
    state: State, silence: float, frozen: bool, mark: str
) -> None:
    heading = Heading("title", False, frozen, Link(state, 0.0), None, silence=silence)
    assert heading.mark[0] == mark


@pytest.mark.parametrize("key", ["2", "3", "9", "0"])
async def test_a_key_right_behind_that_of_a_screen_counts(key: str) -> None:
    async with driven(FakePooler()) as (console, pilot):
        for pressed in (key, "z"):
            console.post_message(Key(pressed, pressed))
        await until(pilot, lambda: console.frozen)


async def test_a_lost_connection_keeps_what_was_seen_and_comes_back() -> None:
    pooler = FakePooler()
    async with driven(pooler) as (console, pilot):
        await press(pilot, "2")
        pooler.stop()
        await polled(pilot)
        assert console.link.state is State.LOST
        shown = text(console)
        assert "▲ No connection" in shown
        assert "What is shown is" in shown
        assert "reports" in shown
        assert console.screen.has_class("-stale")
        pooler.start()
        await polled(pilot)
        assert console.heading.link.state is State.LIVE
        assert "No connection" not in text(console)
        assert not console.screen.has_class("-stale")


async def test_another_pooler_behind_the_same_address_is_not_taken_for_the_first() -> None:
    pooler = FakePooler()
    async with driven(pooler) as (console, pilot):
        pooler.stop()
        await polled(pilot)
        pooler.start()
        del pooler.tables["STATE"]
        pooler.tables["VERSION"] = table({"version": "PgBouncer 1.18.0"})
        await polled(pilot)
        assert console.moment is not None
        assert console.moment.version == "PgBouncer 1.18.0"
        assert "STATE" not in console.moment.tables


async def test_a_refused_login_is_said_and_not_repeated() -> None:
    pooler = FakePooler()
    pooler.stop(REFUSED)
    async with driven(pooler) as (console, pilot):
        assert console.link.state is State.REFUSED
        assert console.link.retry_at is None
        assert "refuses this login: password authentication failed" in text(console)
        await press(pilot, "3", "4")
        assert console.link.attempts == 1
        await press(pilot, "f5")
        assert console.link.attempts == 2


async def test_a_frozen_screen_stays_as_it_is() -> None:
    pooler = FakePooler()
    async with driven(pooler) as (console, pilot):
        await press(pilot, "6")
        await polled(pilot)
        await press(pilot, "z")
        pooler.tables["USERS"] = table({"name": "newcomer"})
        await polled(pilot)
        assert "❄ frozen" in text(console)
        assert "newcomer" not in text(console)
        await press(pilot, "z")
        await polled(pilot)
        assert "newcomer" in text(console)


@pytest.mark.parametrize("width", [60, 80, 104, 200])
async def test_all_screens_are_named_at_every_width(width: int) -> None:
    async with driven(FakePooler(), size=(width, 20)) as (console, _):
        bar = text(console).splitlines()[1]
        assert all(str(number) in bar for number in range(10))


async def test_a_click_goes_to_a_screen() -> None:
    async with driven(FakePooler()) as (console, pilot):
        bar = text(console).splitlines()[1]
        await pilot.click("NavBar", offset=(bar.index("Users"), 0))
        await pilot.pause()
        assert console.current_mode == "users"


async def test_help_lists_the_keys_of_the_screen() -> None:
    async with driven(FakePooler(), size=(120, 60)) as (console, pilot):
        await press(pilot, "3", "question_mark")
        shown = text(console)
        assert "Group" in shown
        assert "4 Servers" in shown
        await press(pilot, "escape")
        assert console.current_mode == "clients"
        assert len(console.screen_stack) == 1


async def test_themes_go_round() -> None:
    async with driven(FakePooler()) as (console, pilot):
        seen = []
        for _ in THEMES:
            seen.append(console.theme)
            await press(pilot, "t")
        assert len(set(seen)) == len(THEMES)
        assert console.theme == seen[0]


async def test_the_palette_knows_the_screens() -> None:
    async with driven(FakePooler()) as (console, pilot):
        commands = [command.title for command in console.get_system_commands(console.screen)]
        assert {"Overview", "Clients", "Audit"} <= set(commands)
        await press(pilot, "q")
        assert not console.is_running
