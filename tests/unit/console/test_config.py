"""The Config screen and the editor of the configuration file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot
from textual.screen import Screen
from textual.widgets import Button, ContentSwitcher, Input, OptionList

from tests.support.fake_admin import COMMANDS, FakePooler, small_tables
from tests.unit.console.driving import driven, polled, press, text, until
from tui.admin.errors import AdminError
from tui.admin.table import Table
from tui.admin.target import Target
from tui.app import Console
from tui.screens.ask import Ask
from tui.screens.ask_path import AskPath
from tui.screens.config import ConfigScreen
from tui.screens.editor import EditorScreen
from tui.screens.save_dialog import SaveDialog
from tui.widgets.ini_area import IniArea

MAIN = """\
; pooler of the shop
[databases]
shop = host=10.0.0.5 password=geheim
[pgbouncer]
%include limits.ini
listen_port = 6432
pool_mode = transaction
"""

STOCK = tuple(command for command in COMMANDS if command != "KILL_CLIENTS")

CONFIG_DIFF = Table(
    ("section", "key", "file", "running", "default", "source", "changeable"),
    [
        ("pgbouncer", "max_client_conn", "200", "100", "100", "set", "yes"),
        ("databases", "shop.pool_size", "9", "5", None, "file", "yes"),
    ],
)


@pytest.fixture
def ini(tmp_path: Path) -> Path:
    (tmp_path / "limits.ini").write_text("max_client_conn = 10\n")
    path = tmp_path / "pgbouncer.ini"
    path.write_text(MAIN)
    return path


def config(*rows: tuple[str, str | None, str | None, str]) -> Table:
    return Table(("key", "value", "default", "changeable"), list(rows))


def stock(*settings: str) -> FakePooler:
    """A PgBouncer with these settings, all of which have their default."""
    pairs = [setting.split("=") for setting in settings]
    table = config(*((key, value, value, "yes") for key, value in pairs))
    return FakePooler({**small_tables(), "CONFIG": table}, STOCK)


def area(console: Console) -> IniArea:
    switcher = console.screen.query_one(ContentSwitcher)
    return switcher.query_one(f"#{switcher.current}", IniArea)


def at(console: Console, kind: type[Screen[Any]]) -> bool:
    """Whether such a screen is on top."""
    return isinstance(console.screen, kind)


def joined(console: Console) -> str:
    """What is on the terminal, without the places where lines are broken."""
    return " ".join(text(console).replace("│", " ").split())


def content(path: Path) -> str:
    return path.read_text()


def put(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def raw(path: Path) -> bytes:
    return path.read_bytes()


def replace(console: Console, old: str, new: str) -> None:
    """Type `new` over the first `old` of the file in the editor."""
    before, found, _ = area(console).text.partition(old)
    assert found
    start = (before.count("\n"), len(before.rpartition("\n")[2]))
    stop = (start[0] + old.count("\n"), len((before + old).rpartition("\n")[2]))
    area(console).replace(new, start, stop)


# The settings


async def test_settings_beside_what_the_pooler_says_of_its_file() -> None:
    pooler = FakePooler({**small_tables(), "CONFIG_DIFF": CONFIG_DIFF})
    async with driven(pooler, size=(160, 40)) as (console, pilot):
        await press(pilot, "8")
        row = next(line for line in text(console).splitlines() if "max_client_conn" in line)
        assert row.split()[:8] == ["max_client_conn", "100", "▲", "≠", "file", "200", "100", "yes"]
        assert "Most client connections in all" in row
        assert "databases: shop.pool_size" in text(console)
        assert "2 not as in the file" in text(console)
        await press(pilot, "slash", *"client connections in all")
        assert "admin_users" not in text(console)
        assert "max_client_conn" in text(console)


async def test_a_setting_with_all_that_is_known_of_it() -> None:
    pooler = FakePooler({**small_tables(), "CONFIG_DIFF": CONFIG_DIFF})
    async with driven(pooler) as (console, pilot):
        await press(pilot, "8", "down", "enter")
        assert "Most client connections in all" in text(console)
        assert "set" in text(console)


async def test_settings_of_a_stock_pooler_beside_the_file_on_this_machine(ini: Path) -> None:
    async with driven(
        stock("listen_port=6432", "max_client_conn=100", "pool_mode=session"), size=(160, 40), ini=ini
    ) as (console, pilot):
        await press(pilot, "8")
        row = next(line for line in text(console).splitlines() if "pool_mode" in line)
        assert row.split()[:6] == ["pool_mode", "session", "▲", "≠", "file", "transaction"]
        assert f"2 not as in the file · {ini}" in text(console)


async def test_mistakes_of_the_file_are_told_beside_the_settings() -> None:
    pooler = FakePooler({**small_tables(), "CONFIG_DIFF": CONFIG_DIFF})
    error = AdminError("the configuration file has errors", detail="a.ini:3: unknown parameter: x")
    pooler.refuse("SHOW CONFIG_DIFF", error)
    async with driven(pooler) as (console, pilot):
        await press(pilot, "8")
        assert "✖ the configuration file has errors: a.ini:3: unknown parameter: x" in text(console)


async def test_the_file_of_a_pooler_elsewhere_is_not_edited() -> None:
    tables = {**small_tables(), "CONFIG": config(("conffile", "/etc/pgbouncer.ini", None, "yes"))}
    async with driven(FakePooler(tables)) as (console, pilot):
        await press(pilot, "8", "e")
        assert at(console, ConfigScreen)
        assert "There is nothing to edit" in text(console)
        assert "is on another machine" in text(console)


async def test_a_file_that_nobody_knows_is_asked_for(ini: Path, tmp_path: Path) -> None:
    tables = {**small_tables(), "CONFIG": config(("conffile", "nowhere/a.ini", None, "yes"))}
    pooler = FakePooler(tables)
    async with driven(pooler, target=Target("/run", "6432", "ops")) as (console, pilot):
        await press(pilot, "8", "e")
        assert at(console, AskPath)
        console.screen.query_one(Input).value = f"{tmp_path}/none"
        await press(pilot, "enter")
        assert "there is no such file" in text(console)
        console.screen.query_one(Input).value = str(ini)
        await press(pilot, "enter")
        assert area(console).text == MAIN


# The editor


async def test_it_shows_the_file_with_line_numbers_and_colours(ini: Path) -> None:
    async with driven(FakePooler(), ini=ini) as (console, pilot):
        await press(pilot, "8", "e")
        assert area(console).text == MAIN
        assert "1  ; pooler of the shop" in text(console)
        lines = [area(console).get_line(number) for number in range(7)]
        styles = {str(line): [str(span.style) for span in line.spans] for line in lines}
        assert styles["; pooler of the shop"] != styles["[databases]"] != styles["%include limits.ini"]
        assert len(styles["listen_port = 6432"]) == 1


async def test_mistakes_are_listed_as_they_are_typed_and_gone_to(ini: Path) -> None:
    async with driven(FakePooler(), ini=ini) as (console, pilot):
        await press(pilot, "8", "e")
        replace(console, "pool_mode", "pol_mode")
        replace(console, "6432", "many")
        await press(pilot)
        assert "✖ 2 mistakes" in text(console)
        assert f"{ini}:7: unknown parameter: pgbouncer/pol_mode" in joined(console)
        await press(pilot, "ctrl+end")
        assert area(console).cursor_location == (7, 0)
        await press(pilot, "ctrl+home")
        assert area(console).cursor_location == (0, 0)
        await press(pilot, "f8")
        assert area(console).cursor_location[0] == 5
        await press(pilot, "f8")
        assert area(console).cursor_location[0] == 6
        await press(pilot, "f8")
        assert area(console).cursor_location[0] == 5
        await press(pilot, "tab", "down", "enter")
        assert area(console).has_focus
        assert area(console).cursor_location[0] == 6
        replace(console, "pol_mode", "pool_mode")
        replace(console, "many", "6433")
        await press(pilot)
        assert not console.screen.query_one("#mistakes", OptionList).display


async def test_nothing_is_written_while_there_is_a_mistake(ini: Path) -> None:
    async with driven(FakePooler(), ini=ini) as (console, pilot):
        await press(pilot, "8", "e")
        replace(console, "6432", "many")
        await press(pilot, "ctrl+s")
        assert at(console, EditorScreen)
        assert "Nothing is written" in text(console)
        assert area(console).cursor_location[0] == 5
        assert content(ini) == MAIN


async def test_cancel_has_the_focus_and_writes_nothing(ini: Path) -> None:
    async with driven(FakePooler(), ini=ini) as (console, pilot):
        await press(pilot, "8", "e")
        replace(console, "6432", "6433")
        await press(pilot, "ctrl+s")
        assert at(console, SaveDialog)
        assert isinstance(console.focused, Button)
        assert console.focused.id == "cancel"
        assert "6       - listen_port = 6432" in text(console)
        assert "6 + listen_port = 6433" in text(console)
        assert "▲ RESTART: RELOAD leaves it as it is: listen_port 6432 → 6433" in text(console)
        await press(pilot, "enter")
        assert at(console, EditorScreen)
        assert content(ini) == MAIN
        assert "● changed" in text(console)


async def save(console: Console, pilot: Pilot[None]) -> None:
    await press(pilot, "ctrl+s")
    assert at(console, SaveDialog)
    await press(pilot, "right", "enter")


async def test_it_is_written_with_a_backup_and_reloaded(ini: Path) -> None:
    pooler = FakePooler()
    async with driven(pooler, ini=ini) as (console, pilot):
        await press(pilot, "8", "e")
        replace(console, "transaction", "session")
        replace(console, "geheim", "neu")
        await press(pilot, "ctrl+s")
        assert "● RELOAD: pool_mode transaction → session" in text(console)
        assert "● RELOAD, for new connections: [databases] shop.password *** → ***" in text(console)
        await press(pilot, "right", "enter")
        assert at(console, Ask)
        assert console.focused is not None
        assert console.focused.id == "no"
        assert content(ini) == MAIN.replace("transaction", "session").replace("geheim", "neu")
        backups = [name for name in os.listdir(ini.parent) if name.endswith(".bak")]
        assert backups == ["pgbouncer.ini.20260301T120000.bak"]
        assert content(ini.parent / backups[0]) == MAIN
        assert "RELOAD" not in pooler.commands
        await press(pilot, "right", "enter")
        assert pooler.commands == ["RELOAD"]
        noted = [(entry.verb, entry.target, entry.result) for entry in console.desk.operator.journal.entries]
        assert noted == [("EDIT", str(ini), "done"), ("RELOAD", "the whole pooler", "done")]
        assert "neu" not in str(console.desk.operator.journal.entries)
        assert "The pooler has reloaded its configuration." in text(console)
        await press(pilot, "enter")
        assert at(console, EditorScreen)
        assert "● changed" not in text(console)
        await press(pilot, "ctrl+s")
        assert "Nothing has been changed" in text(console)
        await press(pilot, "escape")
        assert at(console, ConfigScreen)


async def test_what_the_pooler_says_against_it_is_shown(ini: Path) -> None:
    pooler = FakePooler()
    pooler.refuse("RELOAD", AdminError("RELOAD failed", sqlstate="F0000", detail="no such file: server.key"))
    async with driven(pooler, ini=ini) as (console, pilot):
        await press(pilot, "8", "e")
        replace(console, "transaction", "session")
        await save(console, pilot)
        await press(pilot, "right", "enter")
        assert "✖ RELOAD" in text(console)
        assert "no such file: server.key" in text(console)


async def test_what_a_stock_pooler_says_in_its_log_alone_is_shown(ini: Path, tmp_path: Path) -> None:
    log = tmp_path / "log"
    head = "2026-03-01 12:00:00.000 UTC [7]"
    log.write_text(f"{head} ERROR long ago\n")

    def complain() -> None:
        with log.open("a") as file:
            file.write(f"{head} LOG RELOAD command issued\n{head} WARNING auth_file not found\n")

    pooler = stock("max_client_conn=100", "listen_port=6432", "pool_mode=session")
    pooler.effects["RELOAD"] = complain
    async with driven(pooler, ini=ini, log=log) as (console, pilot):
        await press(pilot, "8", "e")
        replace(console, "transaction", "session")
        await save(console, pilot)
        await press(pilot, "right", "enter")
        assert "WARNING: auth_file not found" in text(console)
        assert "long ago" not in text(console)


async def test_a_setting_that_the_pooler_does_not_have_is_a_mistake(ini: Path) -> None:
    async with driven(stock("max_client_conn=100", "pool_mode=session"), ini=ini) as (console, pilot):
        await press(pilot, "8", "e")
        assert f"{ini}:6: this pooler has no setting listen_port" in joined(console)


async def test_a_file_that_changed_underneath_is_left_alone(ini: Path) -> None:
    async with driven(FakePooler(), ini=ini) as (console, pilot):
        await press(pilot, "8", "e")
        replace(console, "transaction", "session")
        put(ini, (MAIN + "; by another hand\n").encode())
        await save(console, pilot)
        assert at(console, EditorScreen)
        assert "somebody else has changed it since it was opened" in joined(console)
        assert content(ini) == MAIN + "; by another hand\n"
        assert [path for editor in console.editors for path in editor.unsaved] == [str(ini)]
        assert [(entry.verb, entry.result) for entry in console.desk.operator.journal.entries] == [
            ("EDIT", "failed")
        ]


async def test_an_included_file_is_opened_edited_and_written_with_the_main_file(ini: Path) -> None:
    async with driven(FakePooler(), ini=ini) as (console, pilot):
        await press(pilot, "8", "e")
        replace(console, "transaction", "session")
        await press(pilot, "ctrl+o", "down", "enter")
        assert area(console).text == "max_client_conn = 10\n"
        replace(console, "10", "x")
        await press(pilot)
        assert "✖ 1 mistake" in text(console)
        assert "limits.ini:1: invalid value" in text(console)
        replace(console, "= x", "= 11")
        await press(pilot)
        assert "● also changed" in text(console)
        await save(console, pilot)
        assert content(ini) == MAIN.replace("transaction", "session")
        assert content(ini.parent / "limits.ini") == "max_client_conn = 11\n"


async def test_leaving_asks_when_something_is_not_saved(ini: Path) -> None:
    async with driven(FakePooler(), ini=ini) as (console, pilot):
        await press(pilot, "8", "e")
        replace(console, "transaction", "session")
        await press(pilot, "escape")
        assert at(console, Ask)
        await press(pilot, "enter")
        assert at(console, EditorScreen)
        await press(pilot, "escape", "right", "enter")
        assert at(console, ConfigScreen)
        assert content(ini) == MAIN


async def test_quitting_asks_too(ini: Path) -> None:
    async with driven(FakePooler(), ini=ini) as (console, pilot):
        await press(pilot, "8", "e")
        replace(console, "transaction", "session")
        await pilot.press("ctrl+q")
        await until(pilot, lambda: at(console, Ask))
        await press(pilot, "enter")
        assert at(console, EditorScreen)
        await pilot.press("ctrl+q")
        await until(pilot, lambda: at(console, Ask))
        await pilot.press("right", "enter")
        await until(pilot, lambda: not console.is_running)


async def test_a_read_only_console_edits_nothing(ini: Path) -> None:
    async with driven(FakePooler(), ini=ini, read_only=True) as (console, pilot):
        await press(pilot, "8", "e", "i", "delete")
        assert area(console).text == MAIN
        assert "read-only: this console is read-only" in text(console)
        await press(pilot, "ctrl+s")
        assert at(console, EditorScreen)


async def test_a_file_that_cannot_be_written_says_why_beforehand(
    ini: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tui.screens.editor.why_not_editable", lambda path: f"{path}: belongs to root")
    async with driven(FakePooler(), ini=ini) as (console, pilot):
        await press(pilot, "8", "e", "i")
        assert area(console).text == MAIN
        assert "belongs to root" in text(console)


async def test_a_file_that_is_not_there_says_so(tmp_path: Path) -> None:
    async with driven(FakePooler(), ini=tmp_path / "none.ini") as (console, pilot):
        await press(pilot, "8", "e")
        assert "No such file or directory" in joined(console)
        await press(pilot, "escape")
        assert at(console, ConfigScreen)


async def test_line_ends_and_bytes_that_are_no_utf_8_stay(ini: Path) -> None:
    before = MAIN.replace("\n", "\r\n").encode().replace(b"shop", b"sh\xf6p", 1)
    put(ini, before)
    async with driven(FakePooler(), ini=ini) as (console, pilot):
        await press(pilot, "8", "e")
        assert "read as latin-1" in text(console)
        replace(console, "transaction", "session")
        await save(console, pilot)
        assert raw(ini) == before.replace(b"transaction", b"session")


async def test_without_a_connection_it_is_written_all_the_same(ini: Path) -> None:
    pooler = FakePooler()
    async with driven(pooler, ini=ini) as (console, pilot):
        await press(pilot, "8", "e")
        replace(console, "transaction", "session")
        pooler.stop()
        await polled(pilot)
        await save(console, pilot)
        assert "there is no connection to the pooler" in joined(console)
        assert content(ini) == MAIN.replace("transaction", "session")


async def test_the_palette_leads_to_the_editor(ini: Path) -> None:
    async with driven(FakePooler(), ini=ini) as (console, pilot):
        commands = console.get_system_commands(console.screen)
        await next(command for command in commands if command.title == "Edit pgbouncer.ini").callback()
        await press(pilot)
        assert area(console).text == MAIN
