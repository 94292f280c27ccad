"""The screens that are a table: going there, filters, orders, groups, columns, details, links."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.events import Key
from textual.widgets import Input

from tests.support.fake_admin import FakePooler, client, database, pool, server, table
from tests.unit.console.driving import driven, polled, press, settle, text
from tui.screens.tables import ClientsScreen, ServersScreen, TableScreen
from tui.widgets.table import SnapshotTable

SCREENS = {
    "2": ("pools", "reports"),
    "3": ("clients", "psql"),
    "4": ("servers", "9017"),
    "5": ("databases", "10.0.0.5"),
    "6": ("users", "ana"),
    "7": ("stats", "query/s"),
}


@pytest.mark.parametrize("key", SCREENS)
async def test_each_has_a_key_and_shows_its_rows(key: str) -> None:
    async with driven(FakePooler()) as (console, pilot):
        await press(pilot, key)
        await polled(pilot)
        name, expected = SCREENS[key]
        assert console.current_mode == name
        assert expected in text(console)


async def test_what_costs_much_is_asked_only_while_it_is_seen() -> None:
    pooler = FakePooler()
    async with driven(pooler) as (_, pilot):
        assert "SHOW CLIENTS" not in pooler.asked
        await press(pilot, "3")
        await polled(pilot)
        assert pooler.asked.count("SHOW CLIENTS") == 1
        await press(pilot, "2")
        await polled(pilot)
        assert pooler.asked.count("SHOW CLIENTS") == 1


async def test_the_cursor_stays_on_its_row_when_others_come_and_go() -> None:
    pooler = FakePooler()
    async with driven(pooler) as (console, pilot):
        await press(pilot, "3")
        await polled(pilot)
        await press(pilot, "end")
        shown = console.screen.query_one(SnapshotTable)
        key = shown.cursor_key
        pooler.tables["CLIENTS"] = table(
            *(client(number, state="waiting", wait=number) for number in range(10, 60)),
            client(3, user="ana", database="reports"),
        )
        await polled(pilot)
        assert shown.cursor_key == key == 3


async def test_who_waits_longest_is_on_top_and_only_waiting_counts() -> None:
    pooler = FakePooler()
    pooler.tables["CLIENTS"] = table(
        client(1, state="active", wait=900),
        client(2, state="waiting", wait=3, wait_us=500_000),
        client(3, state="waiting", wait=7),
    )
    async with driven(pooler) as (console, pilot):
        await press(pilot, "3")
        await polled(pilot)
        view = console.screen.query_one(SnapshotTable).view
        assert view.keys == [3, 2, 1]
        assert "▲ 3.5" in text(console)
        assert "900" not in text(console)


async def test_a_filter_is_typed_and_taken_back() -> None:
    async with driven(FakePooler()) as (console, pilot):
        await press(pilot, "3")
        await polled(pilot)
        await press(pilot, "slash", *"database=reports", "enter")
        assert console.screen.query_one(SnapshotTable).view.keys == [3]
        assert "1 of 3 clients: database=reports" in text(console)
        await polled(pilot)
        assert console.screen.query_one(SnapshotTable).view.keys == [3]
        await press(pilot, "escape", "escape")
        assert len(console.screen.query_one(SnapshotTable).view) == 3


async def test_digits_in_a_filter_are_no_screens() -> None:
    async with driven(FakePooler()) as (console, pilot):
        await press(pilot, "3", "slash", *"5")
        assert console.current_mode == "clients"


async def test_from_a_pool_of_a_forced_user_to_its_clients() -> None:
    pooler = FakePooler()
    pooler.tables["DATABASES"] = table(database("app", force_user="owner"))
    pooler.tables["POOLS"] = table(pool("app", "owner"))
    pooler.tables["CLIENTS"] = table(client(1, user="web", database="app"), client(2, database="reports"))
    async with driven(pooler) as (console, pilot):
        await press(pilot, "2", "home", "l")
        await polled(pilot)
        assert console.screen.query_one(SnapshotTable).view.keys == [1]


@pytest.mark.parametrize("screen", ["2", "9"])
async def test_a_filter_that_comes_in_one_piece_holds_no_commands(screen: str) -> None:
    """Over a slow line several keys come at once, and R is RESUME elsewhere."""
    pooler = FakePooler()
    async with driven(pooler) as (console, pilot):
        await press(pilot, screen, "home")
        console.post_message(Key("slash", "/"))
        for letter in "nzR1":
            console.post_message(Key(letter, letter))
        await settle(pilot)
        assert console.screen.query_one(Input).value == "nzR1"
        assert not console.frozen
        assert not [sql for sql in pooler.asked if not sql.startswith(("SHOW", "SELECT"))]


async def test_a_wrong_filter_is_said_and_the_last_good_one_holds() -> None:
    async with driven(FakePooler()) as (console, pilot):
        await press(pilot, "3")
        await polled(pilot)
        await press(pilot, "slash", *"usr=web")
        assert "no column usr: user?" in text(console)
        assert console.screen.query_one(SnapshotTable).view.arrangement.filter == "usr"


async def test_order_and_columns_are_remembered(tmp_path: Path) -> None:
    async with driven(FakePooler(), state_dir=tmp_path) as (console, pilot):
        await press(pilot, "2")
        await press(pilot, "less_than_sign")
        await press(pilot, "c", "down", "space", "enter")
        chosen = console.screen.query_one(SnapshotTable).view.columns
        assert "user" not in [column.name for column in chosen]
    async with driven(FakePooler(), state_dir=tmp_path) as (console, pilot):
        await press(pilot, "2")
        view = console.screen.query_one(SnapshotTable).view
        assert [column.name for column in view.columns] == [column.name for column in chosen]
        assert view.arrangement.sort == "cl_active"


async def test_columns_are_as_at_the_beginning_when_reset() -> None:
    async with driven(FakePooler()) as (console, pilot):
        await press(pilot, "2")
        before = console.screen.query_one(SnapshotTable).view.columns
        await press(pilot, "c", "space", "enter")
        assert console.screen.query_one(SnapshotTable).view.columns != before
        await press(pilot, "c", "r")
        assert console.screen.query_one(SnapshotTable).view.columns == before


async def test_groups_count_and_enter_opens_one() -> None:
    async with driven(FakePooler()) as (console, pilot):
        await press(pilot, "3")
        await polled(pilot)
        await press(pilot, "g", "down", "enter")
        assert "3 clients by user: 2" in text(console)
        await press(pilot, "home", "enter")
        assert console.screen.query_one(SnapshotTable).view.keys == [1, 2]
        await press(pilot, "g", "down", "enter", "escape", "escape")
        assert console.screen.query_one(SnapshotTable).view.keys == [1, 2]


async def test_a_group_is_nothing_that_can_be_acted_on() -> None:
    async with driven(FakePooler()) as (console, pilot):
        await press(pilot, "3")
        await polled(pilot)
        await press(pilot, "home")
        screen = console.screen
        assert isinstance(screen, ClientsScreen)
        assert [row["id"] for row in screen.selected_rows()] == [1]
        await press(pilot, "g", "down", "enter", "home")
        assert screen.selected_rows() == []


async def test_the_detail_is_of_the_row_and_says_when_it_has_gone() -> None:
    pooler = FakePooler()
    async with driven(pooler) as (console, pilot):
        await press(pilot, "3")
        await polled(pilot)
        await press(pilot, "end", "enter")
        assert "Clients: 3" in text(console)
        assert "prepared_statements" in text(console)
        pooler.tables["CLIENTS"] = table(client(1), client(3, application_name="renamed"))
        await polled(pilot)
        assert "renamed" in text(console)
        pooler.tables["CLIENTS"] = table(client(1))
        await polled(pilot)
        assert "It has gone" in text(console)
        await press(pilot, "escape")
        assert isinstance(console.screen, ClientsScreen)


async def test_from_a_client_to_its_server_and_back() -> None:
    async with driven(FakePooler()) as (console, pilot):
        await press(pilot, "3")
        await polled(pilot)
        await press(pilot, "home", "l")
        await polled(pilot)
        assert isinstance(console.screen, ServersScreen)
        assert console.screen.query_one(SnapshotTable).cursor_key == 17
        await press(pilot, "l")
        await polled(pilot)
        assert isinstance(console.screen, ClientsScreen)
        assert console.screen.query_one(SnapshotTable).cursor_key == 1


async def test_a_link_to_what_has_gone_is_said() -> None:
    pooler = FakePooler()
    async with driven(pooler) as (console, pilot):
        await press(pilot, "4")
        await polled(pilot)
        await press(pilot, "3")
        await polled(pilot)
        pooler.tables["SERVERS"] = table(server(18))
        await press(pilot, "home", "l")
        assert console.screen.query_one(SnapshotTable).cursor_key is None
        await polled(pilot)
        assert "not among the servers any more" in text(console)


async def test_who_has_no_other_end_stays() -> None:
    async with driven(FakePooler()) as (console, pilot):
        await press(pilot, "3")
        await polled(pilot)
        await press(pilot, "end", "l")
        assert isinstance(console.screen, ClientsScreen)
        assert "no server at the moment" in text(console)


@pytest.mark.parametrize(("key", "other"), [("l", "clients"), ("s", "servers")])
async def test_from_a_pool_to_its_connections(key: str, other: str) -> None:
    async with driven(FakePooler()) as (console, pilot):
        await press(pilot, "2", "slash", *"app", "enter", "home", key)
        await polled(pilot)
        screen = console.screen
        assert console.current_mode == other
        assert isinstance(screen, TableScreen)
        assert screen.arrangement.filter == 'database="app" user="web"'
        assert len(screen.query_one(SnapshotTable).view) == 2


async def test_a_release_with_other_columns_is_shown_as_it_is() -> None:
    pooler = FakePooler()
    pooler.tables["POOLS"] = table(
        {"database": "app", "user": "web", "cl_active": 1, "cl_waiting": 0, "sv_active": 1, "novelty": "yes"}
    )
    async with driven(pooler, size=(160, 30)) as (console, pilot):
        await press(pilot, "2")
        shown = text(console)
        assert "–" in shown
        assert "novelty" not in shown
        await press(pilot, "enter", "enter")
        assert "novelty" in text(console)
        await press(pilot, "escape", "c")
        assert "novelty" in text(console)


async def test_clients_without_ids_are_told_apart_by_pointer_and_time() -> None:
    pooler = FakePooler()
    rows = [{name: value for name, value in client(number).items() if name != "id"} for number in (1, 2)]
    pooler.tables["CLIENTS"] = table(*rows)
    async with driven(pooler) as (console, pilot):
        await press(pilot, "3")
        await polled(pilot)
        shown = console.screen.query_one(SnapshotTable)
        assert shown.view.keys == [(row["ptr"], row["connect_time"]) for row in rows]


async def test_values_are_no_markup_and_steer_no_terminal() -> None:
    pooler = FakePooler()
    name = "[bold]x[/] \x1b[31m\nнов 漢字"
    pooler.tables["CLIENTS"] = table(client(1, application_name=name))
    pooler.tables["POOLS"] = table(pool("[red]", "[/]"))
    pooler.tables["DATABASES"] = table(database("[link=x]"))
    async with driven(pooler) as (console, pilot):
        await press(pilot, "3")
        await polled(pilot)
        assert "[bold]x[/] ␛[31m␊нов 漢字"[:20] in text(console)
        await press(pilot, "home", "enter")
        assert "[bold]x[/] ␛[31m␊нов" in text(console)
        await press(pilot, "escape", "g", "down", "down", "down", "enter", "home", "enter")
        await settle(pilot)
        await press(pilot, "2", "g", "down", "enter", "home", "enter")
        await settle(pilot)
        assert "[red]" in text(console)


async def test_a_table_that_the_pooler_does_not_show_is_said() -> None:
    pooler = FakePooler()
    del pooler.tables["USERS"]
    async with driven(pooler) as (console, pilot):
        await press(pilot, "6")
        await polled(pilot)
        assert "This pooler has no SHOW USERS" in text(console)


async def test_rows_are_copied() -> None:
    async with driven(FakePooler()) as (console, pilot):
        await press(pilot, "6")
        await polled(pilot)
        await press(pilot, "home", "space", "down", "space", "y")
        assert console.clipboard.splitlines() == ["ana\t–\t–\t0", "web\t–\t–\t0"] or (
            console.clipboard.startswith("ana\t")
        )
        assert "2 rows copied" in text(console)


async def test_selected_rows_are_counted_with_those_that_are_hidden() -> None:
    async with driven(FakePooler()) as (console, pilot):
        await press(pilot, "3")
        await polled(pilot)
        await press(pilot, "home", "ctrl+a", "slash", *"ana", "enter")
        assert "3 selected, 2 of them hidden by the filter" in text(console)
        screen = console.screen
        assert isinstance(screen, ClientsScreen)
        assert len(screen.selected_rows()) == 3


async def test_the_admin_database_alone_is_a_pooler_too() -> None:
    pooler = FakePooler()
    pooler.tables["POOLS"] = table(columns=("database", "user", "cl_active", "cl_waiting"))
    async with driven(pooler, size=(60, 20)) as (console, pilot):
        await press(pilot, "2")
        assert "no rows" in text(console)


async def test_the_detail_of_a_waiting_client_says_for_whom() -> None:
    pooler = FakePooler()
    pooler.tables["CLIENTS"] = table(client(5, state="waiting", wait=3))
    pooler.tables["WAITS"] = table(
        {
            "id": 5,
            "reason": "pool full",
            "detail": None,
            "server_id": 17,
            "held_us": 41_000_000,
            "holder_state": "idle in transaction",
            "holder_id": 127,
            "holder_user": "web",
            "holder_addr": "10.0.0.7",
            "holder_application_name": "shop",
        }
    )
    async with driven(pooler) as (console, pilot):
        await press(pilot, "3")
        await polled(pilot)
        await press(pilot, "home", "enter")
        shown = text(console)
        assert "pool full" in shown
        assert "client 127 (web from 10.0.0.7, shop), idle in" in shown


async def test_from_a_detail_to_the_other_end() -> None:
    async with driven(FakePooler()) as (console, pilot):
        await press(pilot, "3")
        await polled(pilot)
        await press(pilot, "home", "enter", "l")
        await polled(pilot)
        assert isinstance(console.screen, ServersScreen)
        assert console.screen.query_one(SnapshotTable).cursor_key == 17
        assert len(console.screen_stack) == 1


async def test_a_filter_that_is_written_from_a_row_steers_no_terminal() -> None:
    pooler = FakePooler()
    pooler.tables["POOLS"] = table(pool("\x1b[31mapp", 'a"b'))
    pooler.tables["CLIENTS"] = table(client(1, database="\x1b[31mapp", user='a"b'), client(2))
    async with driven(pooler) as (console, pilot):
        await press(pilot, "2", "down", "l")
        await polled(pilot)
        assert "1 of 2 clients" in text(console)
        assert "\x1b" not in text(console)
