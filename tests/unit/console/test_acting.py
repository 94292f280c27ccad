"""Every verb by its key, its dialog and what is sent; and everything that must not be sent."""

from __future__ import annotations

from typing import Any

import pytest
from textual.pilot import Pilot
from textual.widgets import Button, Input, OptionList

from tests.support.fake_admin import FakePooler, client, database, pairs, table
from tests.unit.console.driving import driven, polled, press, settle, text, until
from tui.admin.errors import AdminError
from tui.app import Console
from tui.operate.actions import ACTIONS
from tui.operate.jobs import State
from tui.screens.action_menu import ActionMenu, SetForm
from tui.screens.choose import ChooseOne
from tui.screens.confirm import ConfirmScreen
from tui.screens.help import HelpScreen
from tui.screens.job import JobsLeaveScreen, JobsScreen
from tui.screens.leftovers import LeftoversScreen

DATABASE = ("5", "down", "up")
"""Keys that put the cursor on database app."""
POOLER = "pooler.example:6432"


async def on_client(pilot: Pilot[Any]) -> None:
    """Put the cursor on the client at the top."""
    await press(pilot, "3")
    await polled(pilot)
    await press(pilot, "down", "up")


async def dialog(pilot: Pilot[Any], key: str, screen: type[Any] = ConfirmScreen) -> None:
    """Press a key that opens one."""
    await pilot.press(key)
    await until(pilot, lambda: isinstance(pilot.app.screen, screen))
    await pilot.pause()


async def typed(pilot: Pilot[Any], name: str) -> None:
    pilot.app.screen.query_one(Input).value = name
    await pilot.pause()
    await pilot.press("enter")


def messages(console: Console) -> list[tuple[str, str]]:
    return [(notice.severity, notice.message) for notice in console._notifications]


# Every verb ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("key", "name", "command"),
    [
        ("D", "app", "DISABLE app"),
        ("K", "app", "KILL app"),
        ("T", "app", "KILL_CLIENTS WHERE database = 'app'"),
    ],
)
async def test_a_database_that_has_to_be_typed(key: str, name: str, command: str) -> None:
    pooler = FakePooler()
    async with driven(pooler) as (console, pilot):
        await press(pilot, *DATABASE)
        await dialog(pilot, key)
        assert command in text(console)
        assert "2 clients (1 in a transaction), 2 servers" in text(console)
        for wrong in ("", "ap", "App", POOLER):
            await typed(pilot, wrong)
            assert isinstance(console.screen, ConfirmScreen)
            assert console.screen.query_one("#do", Button).disabled
        await pilot.press("y")  # a letter like any other
        assert pooler.commands == []
        await typed(pilot, name)
        await settle(pilot)
        assert pooler.commands == [command]
        assert messages(console) == [("information", f"{command}: done")]
        assert [entry.command for entry in console.desk.operator.journal.entries] == [command]


async def test_a_key_does_nothing_to_the_neighbour_of_a_row_that_has_gone() -> None:
    pooler = FakePooler()
    pooler.tables["DATABASES"] = table(database("app"), database("reports"))
    async with driven(pooler) as (console, pilot):
        await press(pilot, *DATABASE)
        pooler.tables["DATABASES"] = table(database("reports"))
        await polled(pilot)
        await press(pilot, "R")
        assert pooler.commands == []
        assert "gone" in messages(console)[-1][1]
        await dialog(pilot, "L")  # for the pooler, whatever is chosen
        await press(pilot, "escape", "R")
        assert pooler.commands == ["RESUME reports"]


@pytest.mark.parametrize(("key", "command"), [("R", "RESUME app"), ("E", "ENABLE app")])
async def test_what_only_helps_is_done_at_once(key: str, command: str) -> None:
    pooler = FakePooler()
    async with driven(pooler) as (_, pilot):
        await press(pilot, *DATABASE, key)
        assert pooler.commands == [command]


@pytest.mark.parametrize(
    ("keys", "key", "command"),
    [(DATABASE, "N", "RECONNECT app"), (("8",), "N", "RECONNECT"), (("1",), "L", "RELOAD")],
)
async def test_cancel_comes_first(keys: tuple[str, ...], key: str, command: str) -> None:
    pooler = FakePooler()
    async with driven(pooler) as (console, pilot):
        await press(pilot, *keys)
        for no in ("enter", "escape", "n"):
            await dialog(pilot, key)
            assert console.focused is console.screen.query_one("#cancel")
            await press(pilot, no)
            assert not isinstance(console.screen, ConfirmScreen)
        assert pooler.commands == []
        await dialog(pilot, key)
        await press(pilot, "right", "enter")
        assert pooler.commands == [command]
        await dialog(pilot, key)
        await press(pilot, "y")
        assert pooler.commands == [command, command]


async def test_the_mouse_does_it_too() -> None:
    pooler = FakePooler()
    async with driven(pooler) as (console, pilot):
        await press(pilot, *DATABASE)
        await dialog(pilot, "N")
        await pilot.click("#cancel")
        await settle(pilot)
        assert pooler.commands == []
        await dialog(pilot, "N")
        await pilot.click("#do")
        await settle(pilot)
        assert pooler.commands == ["RECONNECT app"]
        assert not isinstance(console.screen, ConfirmScreen)


@pytest.mark.parametrize(("key", "verb"), [("T", "KILL_CLIENT"), ("C", "CANCEL_CLIENT")])
async def test_clients_that_are_selected(key: str, verb: str) -> None:
    pooler = FakePooler()
    async with driven(pooler) as (console, pilot):
        await on_client(pilot)
        await press(pilot, "space", "down", "space")
        await dialog(pilot, key)
        assert "client 2, user web" in text(console)
        await press(pilot, "y")
        assert pooler.commands == [f"{verb} 1", f"{verb} 2"]
        assert messages(console)[-1][1].endswith("2 clients: 2 done")


async def test_selected_clients_that_a_filter_hides_are_told_of() -> None:
    async with driven(FakePooler()) as (console, pilot):
        await on_client(pilot)
        await press(pilot, "space", "slash", *"ana", "enter")
        await settle(pilot)
        await dialog(pilot, "T")
        assert "1 of the selected are hidden by the filter." in text(console)


async def test_the_client_of_a_server() -> None:
    pooler = FakePooler()
    async with driven(pooler) as (_, pilot):
        await press(pilot, "4")
        await polled(pilot)
        await press(pilot, "down", "up")
        await dialog(pilot, "T")
        await press(pilot, "y")
        assert pooler.commands == ["KILL_CLIENT 1"]


async def test_a_pool_stands_for_its_database() -> None:
    pooler = FakePooler()
    async with driven(pooler) as (_, pilot):
        await press(pilot, "2", "down", "up", "R")
        assert pooler.commands == ["RESUME app"]


async def test_kill_of_everything_takes_the_name_of_the_pooler() -> None:
    pooler = FakePooler()
    async with driven(pooler) as (console, pilot):
        await press(pilot, "8")
        await dialog(pilot, "K")
        assert "in all databases" in text(console)
        await typed(pilot, "app")
        assert pooler.commands == []
        await typed(pilot, POOLER)
        await settle(pilot)
        assert pooler.commands == ["KILL"]
        assert console.desk.views == {}


async def test_set_asks_for_a_name_and_a_value() -> None:
    pooler = FakePooler()
    async with driven(pooler) as (console, pilot):
        await dialog(pilot, "S", SetForm)
        await pilot.press(*"max_client_conn", "enter", *"200", "enter")
        await until(pilot, lambda: isinstance(console.screen, ConfirmScreen))
        await pilot.pause()
        assert "Undo: SET max_client_conn = '100'" in text(console)
        await press(pilot, "y")
        assert pooler.commands == ["SET max_client_conn = '200'"]
        await dialog(pilot, "S", SetForm)
        await press(pilot, "escape")
        await dialog(pilot, "S", SetForm)
        await press(pilot, *"nothing", "enter", "enter")
        assert messages(console)[-1] == ("warning", "SET: this pooler has no setting nothing")


async def test_set_is_about_the_setting_of_the_cursor() -> None:
    pooler = FakePooler()
    async with driven(pooler) as (console, pilot):
        await press(pilot, "8", "down", "up")
        await dialog(pilot, "S", SetForm)
        key, value = (console.screen.query_one(f"#{name}", Input).value for name in ("key", "value"))
        config = pooler.tables["CONFIG"].pairs()
        assert config[key] == value


async def test_shutdown_offers_its_variants() -> None:
    pooler = FakePooler()
    pooler.refuse("SHUTDOWN", AdminError("server closed the connection", lost=True))
    async with driven(pooler) as (console, pilot):
        await dialog(pilot, "X", ChooseOne)
        options = console.screen.query_one(OptionList)
        assert [option.id for option in options.options] == [
            "WAIT_FOR_CLIENTS",
            "WAIT_FOR_SERVERS",
            "IMMEDIATE",
        ]
        await press(pilot, "escape")
        await dialog(pilot, "X", ChooseOne)
        await pilot.press("end", "enter")
        await until(pilot, lambda: isinstance(console.screen, ConfirmScreen))
        await pilot.pause()
        assert "Ends at once." in text(console)
        await typed(pilot, POOLER)
        await settle(pilot)
        assert pooler.commands == ["SHUTDOWN"]


# Jobs ------------------------------------------------------------------------------------------------------


def paused(pooler: FakePooler, *names: str, state: str = "active") -> None:
    pooler.tables["DATABASES"] = table(
        *(database(name, paused=int(name in names)) for name in ("app", "reports", "pgbouncer"))
    )
    states = ("active", "paused", "suspended")
    pooler.tables["STATE"] = pairs(
        ("key", "value"), {name: "yes" if name == state else "no" for name in states}
    )


async def pause_app(pooler: FakePooler, console: Console, pilot: Pilot[Any]) -> None:
    """A PAUSE that is not complete."""
    pooler.hold("PAUSE app")
    paused(pooler, "app")

    def resume() -> None:
        paused(pooler)
        pooler.release("PAUSE app")

    pooler.effects["RESUME app"] = resume
    await press(pilot, *DATABASE)
    await dialog(pilot, "P")
    await typed(pilot, "app")
    await until(pilot, lambda: "PAUSE app" in pooler.commands)
    await until(pilot, lambda: console.desk.running)


@pytest.mark.parametrize(
    ("keys", "key", "name", "command", "state"),
    [
        (DATABASE, "P", "app", "PAUSE app", State.DONE),
        (("8",), "P", POOLER, "PAUSE", State.DONE),
        (DATABASE, "W", "", "WAIT_CLOSE app", State.DONE),
        (("1",), "U", POOLER, "SUSPEND", State.HOLDING),
    ],
)
async def test_jobs_by_their_keys(
    keys: tuple[str, ...], key: str, name: str, command: str, state: State
) -> None:
    pooler = FakePooler()
    if command == "SUSPEND":
        paused(pooler, state="suspended")
    async with driven(pooler) as (console, pilot):
        await press(pilot, *keys)
        await dialog(pilot, key)
        if name:
            await typed(pilot, name)
        else:
            await pilot.press("y")
        await until(pilot, lambda: [view.state for view in console.desk.views.values()] == [state])
        assert pooler.commands == [command]


async def test_a_pause_goes_on_wherever_one_is_and_is_given_up() -> None:
    pooler = FakePooler()
    async with driven(pooler) as (console, pilot):
        await pause_app(pooler, console, pilot)
        await until(pilot, lambda: "1 server still busy" in text(console))
        await press(pilot, "2")
        assert "◔ Pause: database app" in text(console)
        await dialog(pilot, "J", JobsScreen)
        assert "Held by client 1, user web" in text(console)
        await pilot.press("enter")  # nothing is given up by a stray key
        await pilot.press("tab", "enter")
        await until(pilot, lambda: not console.desk.running)
        (view,) = console.desk.views.values()
        assert (view.state, view.text) == (State.ABORTED, "taken back by RESUME app, and verified")
        assert pooler.commands == ["PAUSE app", "RESUME app"]
        await until(pilot, lambda: "aborted" in text(console))


async def test_leaving_with_a_job_asks() -> None:
    pooler = FakePooler()
    async with driven(pooler) as (console, pilot):
        await pause_app(pooler, console, pilot)
        await dialog(pilot, "q", JobsLeaveScreen)
        assert "the pooler takes back a PAUSE" in text(console)
        await pilot.press("enter")  # stay
        await pilot.pause()
        assert console.desk.running
        await dialog(pilot, "q", JobsLeaveScreen)
        await pilot.click("#abort")
        await until(pilot, lambda: not console.is_running)
        assert pooler.commands == ["PAUSE app", "RESUME app"]


async def test_a_connection_that_is_lost_during_a_pause() -> None:
    pooler = FakePooler()
    async with driven(pooler) as (console, pilot):
        await pause_app(pooler, console, pilot)
        pooler.stop()
        await until(pilot, lambda: not console.desk.running)
        (view,) = console.desk.views.values()
        assert view.state is State.LOST
        assert "whether it is in force is not known" in view.text
        assert messages(console)[-1][0] == "error"


async def test_a_pause_that_is_still_in_force_although_its_connection_broke() -> None:
    pooler = FakePooler()
    async with driven(pooler) as (console, pilot):
        await pause_app(pooler, console, pilot)
        pooler.drop()
        await until(pilot, lambda: not console.desk.running)
        (view,) = console.desk.views.values()
        assert view.state is State.LOST
        assert "it is still in force" in view.text


async def test_a_pause_that_is_still_in_force_after_resume() -> None:
    pooler = FakePooler()
    async with driven(pooler) as (console, pilot):
        await pause_app(pooler, console, pilot)
        pooler.effects["RESUME app"] = lambda: None
        await console.desk.abort(1)
        await until(pilot, lambda: not console.desk.running)
        (view,) = console.desk.views.values()
        assert view.state is State.FAILED
        assert view.text.startswith("still in force after RESUME app")


# What must not be ------------------------------------------------------------------------------------------


async def test_what_is_asked_about_does_not_change_meanwhile() -> None:
    pooler = FakePooler()
    async with driven(pooler) as (console, pilot):
        await on_client(pilot)
        await dialog(pilot, "T")
        before = text(console)
        assert "❄ frozen" in before
        pooler.tables["CLIENTS"] = table(client(9, user="new"))
        await polled_below(pilot)
        assert text(console) == before
        await pilot.press("n")
        await polled(pilot)
        assert "new" in text(console)
        assert "frozen" not in text(console)


async def polled_below(pilot: Pilot[Any]) -> None:
    """Poll while a dialog waits for an answer."""
    console = pilot.app
    assert isinstance(console, Console)
    await console.refresh_now()
    await pilot.pause()


async def test_two_operators_at_once() -> None:
    pooler = FakePooler()
    async with driven(pooler) as (console, pilot):
        await on_client(pilot)
        await dialog(pilot, "T")
        pooler.tables["CLIENTS"] = table(client(2))
        await press(pilot, "y")
        assert pooler.commands == []
        assert messages(console)[-1] == ("information", "KILL_CLIENT 1: gone already")
        await press(pilot, "3", "down", "up")
        await dialog(pilot, "T")
        pooler.refuse("KILL_CLIENT 2", AdminError("client not found"))
        await press(pilot, "y")
        assert messages(console)[-1] == ("information", "KILL_CLIENT 2: client not found")


async def test_a_number_that_another_client_has_by_now_is_not_hit() -> None:
    pooler = FakePooler()
    async with driven(pooler) as (console, pilot):
        await on_client(pilot)
        await dialog(pilot, "T")
        pooler.tables["CLIENTS"] = table(client(1, user="boss", connect_time="2026-03-01 11:59:59 UTC"))
        await press(pilot, "y")
        assert pooler.commands == []
        assert "another client has this number now" in messages(console)[-1][1]


@pytest.mark.parametrize("key", [action.key for action in ACTIONS])
@pytest.mark.parametrize("who", ["read-only", "stats"])
async def test_who_may_not_act_sends_nothing(key: str, who: str) -> None:
    pooler = FakePooler()
    if who == "stats":
        config = {"admin_users": "root", "stats_users": "ops", "max_client_conn": "100"}
        pooler.tables["CONFIG"] = pairs(("key", "value"), config)
    async with driven(pooler, read_only=who == "read-only") as (console, pilot):
        await press(pilot, *DATABASE, key)
        await on_client(pilot)
        await press(pilot, key)
        assert not isinstance(console.screen, ConfirmScreen | ChooseOne | SetForm)
        reason = "this console is read-only" if who == "read-only" else "ops may look, and not act"
        assert {message for _, message in messages(console)} == {
            f"{next(action.verb for action in ACTIONS if action.key == key)}: {reason}"
        }
    assert pooler.commands == []


async def test_nothing_is_selected() -> None:
    async with driven(FakePooler()) as (console, pilot):
        await press(pilot, "6", "T", "5", "T")
        assert [message for _, message in messages(console)] == [
            "KILL_CLIENT: nothing is selected; x has what can be done to the whole pooler"
        ] * 2


async def test_an_error_stays_on_the_screen() -> None:
    pooler = FakePooler()
    pooler.refuse("RESUME app", AdminError("database app is [not] paused"))
    async with driven(pooler) as (console, pilot):
        await press(pilot, *DATABASE, "R")
        (notice,) = console._notifications
        assert (notice.severity, notice.message) == ("error", "RESUME app: database app is [not] paused")
        assert notice.timeout > 1000
        assert not notice.markup


async def test_escape_takes_errors_away_and_then_what_else_it_is_for() -> None:
    """They cover rows and buttons, and not everybody has a mouse."""
    pooler = FakePooler()
    pooler.refuse("RESUME app", AdminError("database app is not paused"))
    async with driven(pooler) as (console, pilot):
        await press(pilot, *DATABASE, "space", "R")
        await until(pilot, lambda: bool(console.screen.query("Toast.-error")))
        await dialog(pilot, "D")
        await press(pilot, "escape")
        assert not isinstance(console.screen, ConfirmScreen)
        assert messages(console)
        await press(pilot, "escape")
        assert messages(console) == []
        assert "1 selected" in text(console)
        await press(pilot, "escape")
        assert "1 selected" not in text(console)


async def test_a_lost_connection_is_told_and_nothing_is_sent() -> None:
    pooler = FakePooler()
    async with driven(pooler) as (console, pilot):
        await press(pilot, *DATABASE)
        pooler.stop()
        await press(pilot, "R")
        assert pooler.commands == []
        assert messages(console)[0] == ("error", "RESUME: connection refused")


# Menu, buttons, palette, help ------------------------------------------------------------------------------


async def test_the_menu_lists_everything_with_its_reason() -> None:
    pooler = FakePooler(commands=("SHOW", "RESUME", "PAUSE", "RELOAD", "KILL"))
    pooler.forms["KILL"] = ("<db>",)
    async with driven(pooler) as (console, pilot):
        await press(pilot, *DATABASE)
        await dialog(pilot, "x", ActionMenu)
        shown = text(console)
        assert "For database app" in shown
        assert "D  Disable: this pooler has no DISABLE" in shown
        assert "K  Kill: KILL of this pooler needs a database" in shown
        await press(pilot, "R")
        assert pooler.commands == ["RESUME app"]


async def test_the_menu_reaches_the_whole_pooler_from_a_row() -> None:
    pooler = FakePooler()
    async with driven(pooler) as (console, pilot):
        await on_client(pilot)
        await dialog(pilot, "x", ActionMenu)
        await press(pilot, "escape")
        await dialog(pilot, "x", ActionMenu)
        menu = console.screen.query_one(OptionList)
        numbers = [number for number, option in enumerate(menu.options) if "Pause" in str(option.prompt)]
        menu.highlighted = numbers[0]
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(console.screen, ConfirmScreen))
        await pilot.pause()
        assert "Pause: the whole pooler" in text(console)


async def test_buttons() -> None:
    pooler = FakePooler()
    async with driven(pooler) as (console, pilot):
        await press(pilot, *DATABASE)
        line = text(console).splitlines()[-2]
        await pilot.click(offset=(line.index("R Resume") + 3, console.size.height - 2))
        await settle(pilot)
        assert pooler.commands == ["RESUME app"]
        await pilot.click(offset=(2, console.size.height - 2))
        await until(pilot, lambda: isinstance(console.screen, ActionMenu))


async def test_palette_and_help_know_all_of_them() -> None:
    async with driven(FakePooler()) as (console, pilot):
        titles = {command.title for command in console.get_system_commands(console.screen)}
        assert {f"{action.title} ({action.key})" for action in ACTIONS} <= titles
        await press(pilot, "question_mark")
        screen = console.screen
        assert isinstance(screen, HelpScreen)
        shown = {text: key for key, text in screen._keys}
        for action in ACTIONS:
            assert shown[f"{action.title}: {action.help}"] == action.key


# Leftovers -------------------------------------------------------------------------------------------------


async def test_what_was_left_paused_is_offered() -> None:
    pooler = FakePooler()
    paused(pooler, "app", "reports")
    pooler.effects["RESUME app"] = lambda: paused(pooler, "reports")
    async with driven(pooler) as (console, pilot):
        assert "▲ database app is paused, since when is not known, and 1 more. V takes it back." in text(
            console
        )
        await dialog(pilot, "V", LeftoversScreen)
        await press(pilot, "enter")  # leaves all as it is
        assert pooler.commands == []
        await dialog(pilot, "V", LeftoversScreen)
        await press(pilot, "down", "enter")
        assert pooler.commands == ["RESUME app"]
        assert "▲ database reports is paused" in text(console)


async def test_nothing_was_left() -> None:
    async with driven(FakePooler()) as (console, pilot):
        await press(pilot, "V")
        assert messages(console) == [("information", "This console has found nothing paused or disabled")]


# Audit -----------------------------------------------------------------------------------------------------


async def test_the_audit_of_the_pooler_and_of_this_machine(tmp_path: Any) -> None:
    pooler = FakePooler()
    row = {"time": "2026-03-01 11:58:00 UTC", "user": "eve", "addr": "10.0.0.9:5", "command": "KILL reports"}
    pooler.tables["AUDIT"] = table({**row, "result": "ok", "ms": 3}, {**row, "result": "ok", "ms": 4})
    async with driven(pooler, state_dir=tmp_path) as (console, pilot):
        await press(pilot, *DATABASE, "R", "0")
        await polled(pilot)
        assert "KILL reports" in text(console)
        assert "2 commands" in text(console)
        await press(pilot, "j")
        assert "RESUME app" in text(console)
        assert "done: RESUME" in text(console)
    assert "RESUME app" in (tmp_path / "audit.jsonl").read_text()


async def test_a_pooler_without_audit_shows_the_journal() -> None:
    async with driven(FakePooler()) as (console, pilot):
        await press(pilot, "0")
        assert "0 commands" in text(console)
        await press(pilot, *DATABASE, "R", "0")
        assert "RESUME app" in text(console)


@pytest.mark.parametrize("size", [(60, 20), (200, 60)])
async def test_dialogs_fit_the_terminal(size: tuple[int, int]) -> None:
    pooler = FakePooler()
    pooler.tables["CLIENTS"] = table(*(client(number) for number in range(1, 60)))
    async with driven(pooler, size=size) as (console, pilot):
        await on_client(pilot)
        await press(pilot, "ctrl+a")
        await dialog(pilot, "T")
        for name in ("#cancel", "#do"):
            region = console.screen.query_one(name).region
            assert region.bottom <= size[1]
            assert region.right <= size[0]
        await pilot.press("y")
        assert pooler.commands == []
        console.screen.query_one(Input).value = "59 clients"
        await pilot.pause()
        await pilot.click("#do")
        await settle(pilot)
        assert len(pooler.commands) == 59
