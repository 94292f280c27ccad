"""The Logs screen."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
from textual.pilot import Pilot

from tests.support.fake_admin import COMMANDS, FakePooler, pairs, small_tables
from tests.unit.console.driving import driven, polled, press, text
from tui.admin.errors import AdminError
from tui.admin.table import Table
from tui.app import Console
from tui.screens.line_detail import LineDetail
from tui.screens.logs import LogsScreen
from tui.screens.tables import ClientsScreen, ServersScreen
from tui.widgets.log_lines import LogLines
from tui.widgets.table import SnapshotTable

HEAD = "2026-03-01 12:00:00.000 UTC [7] "
PREFIX = "C-0xc0000002: app/web@10.0.0.7:40002 "

LOG_COLUMNS = ("line", "time", "level", "message")


def write(path: Path, *lines: str) -> None:
    with path.open("a") as file:
        file.writelines(f"{HEAD}{line}\n" for line in lines)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    path = tmp_path / "pooler.log"
    write(path, "LOG process up", f"LOG {PREFIX}login attempt", "WARNING tls off", "ERROR no [bold]server")
    return path


def lines_of(console: Console) -> LogLines:
    return console.screen.query_one(LogLines)


def joined(console: Console) -> str:
    """What is on the terminal, without the places where lines are broken."""
    return " ".join(text(console).replace("│", " ").split())


def numbered(console: Console) -> list[str]:
    """The lines with a number in them, without the scrollbar."""
    return [found for line in text(console).splitlines() for found in re.findall(r".*LOG line \d+", line)]


async def more(pilot: Pilot[Any], path: Path, *lines: str) -> None:
    write(path, *lines)
    await polled(pilot)


async def test_the_file_is_shown_and_followed(log: Path) -> None:
    async with driven(FakePooler(), log=log) as (console, pilot):
        await press(pilot, "9")
        assert "ERROR no [bold]server" in text(console)
        assert "▲ 2026-03-01" in text(console)
        assert f"▶ following · 4 lines · {log}"[:118] in text(console)
        await more(pilot, log, *(f"LOG line {number}" for number in range(100)))
        assert "LOG line 99" in text(console)
        assert "process up" not in text(console)


async def test_scrolling_up_pauses_and_new_lines_are_counted_until_end(log: Path) -> None:
    write(log, *(f"LOG line {number}" for number in range(100)))
    async with driven(FakePooler(), log=log) as (console, pilot):
        await press(pilot, "9", "pageup")
        assert "❚❚ paused" in text(console)
        before = numbered(console)
        await more(pilot, log, "LOG new 1", "LOG new 2")
        assert "❚❚ paused, 2 new" in text(console)
        assert numbered(console) == before
        await press(pilot, "end")
        assert "▶ following" in text(console)
        assert "LOG new 2" in text(console)


async def test_the_cursor_that_goes_below_the_last_line_follows_again(log: Path) -> None:
    async with driven(FakePooler(), log=log) as (console, pilot):
        await press(pilot, "9", "up")
        assert not lines_of(console).follows
        await press(pilot, "down", "down")
        assert lines_of(console).follows
        await press(pilot, "space")
        assert not lines_of(console).follows


async def test_lines_that_are_forgotten_do_not_move_what_is_read(log: Path) -> None:
    write(log, *(f"LOG line {number}" for number in range(10_000)))
    async with driven(FakePooler(), log=log) as (console, pilot):
        await press(pilot, "9", "pageup", "pageup")
        before = numbered(console)
        await more(pilot, log, *(f"LOG more {number}" for number in range(500)))
        assert numbered(console) == before
        assert "10000 lines" in text(console)


async def test_levels_go_from_all_to_errors_and_back(log: Path) -> None:
    write(log, "DEBUG nothing much")
    async with driven(FakePooler(), log=log) as (console, pilot):
        await press(pilot, "9")
        seen = []
        for _ in range(4):
            await press(pilot, "v")
            seen.append([words in text(console) for words in ("nothing much", "process up", "tls off")])
        assert seen == [[False, True, True], [False, False, True], [False, False, False], [True, True, True]]
        await press(pilot, "v", "v")
        assert "2 of 5 lines · WARNING and worse" in text(console)


async def test_a_filter_works_as_it_is_typed_and_marks_what_it_finds(log: Path) -> None:
    async with driven(FakePooler(), log=log) as (console, pilot):
        await press(pilot, "9", "slash", *"LOGIN")
        assert "login attempt" in text(console)
        assert "process up" not in text(console)
        strip = lines_of(console).render_line(0)
        marked = [segment.text for segment in strip if segment.style and segment.style.underline]
        assert marked == ["login"]
        await press(pilot, "escape")
        assert "process up" in text(console)


async def test_a_regular_expression_that_is_none_says_so_and_the_last_filter_holds(log: Path) -> None:
    async with driven(FakePooler(), log=log) as (console, pilot):
        await press(pilot, "9", "slash")
        await press(pilot, *"/(up|off)/")
        assert "tls off" in text(console)
        assert "login" not in text(console)
        await press(pilot, "left", "backspace")
        assert "no regular expression: missing )" in text(console)
        await press(pilot, *")|server", "enter")
        assert "no [bold]server" in text(console)


async def test_a_filter_without_lines_says_so(log: Path) -> None:
    async with driven(FakePooler(), log=log) as (console, pilot):
        await press(pilot, "9", "slash", *"zzz")
        assert "no line matches the filter" in text(console)


async def test_from_a_line_to_its_client(log: Path) -> None:
    async with driven(FakePooler(), log=log) as (console, pilot):
        await press(pilot, "9", "up", "up", "enter")
        await polled(pilot)
        assert isinstance(console.screen, ClientsScreen)
        view = console.screen.query_one(SnapshotTable).view
        assert [view.row(place)[view.snapshot.column_number("ptr") or 0] for place in range(len(view))] == [
            "0xc0000002"
        ]


async def test_from_a_line_to_its_server_that_has_gone(log: Path) -> None:
    write(log, "LOG S-0x5ff: app/web@10.0.0.5:5432 closing because: server lifetime over")
    async with driven(FakePooler(), log=log) as (console, pilot):
        await press(pilot, "9", "enter")
        await polled(pilot)
        assert isinstance(console.screen, ServersScreen)
        assert "no row matches the filter" in text(console)


async def test_a_line_of_nobody_is_shown_whole(log: Path) -> None:
    write(log, "LOG " + "long " * 60 + "end of it")
    async with driven(FakePooler(), log=log) as (console, pilot):
        await press(pilot, "9")
        assert "end of it" not in text(console)
        await press(pilot, "enter")
        assert isinstance(console.screen, LineDetail)
        assert "end of it" in text(console)
        await press(pilot, "escape", "right")
        assert lines_of(console).scroll_offset.x > 0


async def test_what_a_line_says_of_its_connection(log: Path) -> None:
    async with driven(FakePooler(), log=log) as (console, pilot):
        await press(pilot, "9", "up", "up", "d")
        for value in ("0xc0000002", "app", "web", "10.0.0.7:40002", "login attempt", "LOG"):
            assert value in text(console)
        await press(pilot, "y")
        assert console.clipboard == f"{HEAD}LOG {PREFIX}login attempt"


async def test_rotation_goes_unnoticed(log: Path) -> None:
    async with driven(FakePooler(), log=log) as (console, pilot):
        await press(pilot, "9")
        os.replace(log, f"{log}.1")
        await more(pilot, log, "LOG after rotation")
        assert "LOG after rotation" in text(console)
        assert "no [bold]server" in text(console)


async def test_control_characters_steer_nothing(log: Path) -> None:
    write(log, "LOG \x1b[31mred\x07")
    async with driven(FakePooler(), log=log) as (console, pilot):
        await press(pilot, "9")
        assert "LOG ␛[31mred␇" in text(console)


async def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    async with driven(FakePooler(), log=tmp_path / "none.log") as (console, pilot):
        await press(pilot, "9")
        assert f"No log to show: {tmp_path}/none.log: No such file or directory." in joined(console)
        write(tmp_path / "none.log", "LOG here now")
        await polled(pilot)
        assert "LOG here now" in text(console)


def with_log(*rows: tuple[int, str, str, str]) -> FakePooler:
    return FakePooler({**small_tables(), "LOG": Table(LOG_COLUMNS, rows)})


async def test_the_log_of_a_pooler_elsewhere_is_asked_for_and_only_what_is_new() -> None:
    first, second = (1, "12:00:00", "LOG", "process up"), (2, "12:00:01", "ERROR", f"{PREFIX}no")
    pooler = with_log(first)
    async with driven(pooler) as (console, pilot):
        await press(pilot, "9")
        assert "12:00:00 LOG process up" in text(console)
        assert "1 line · SHOW LOG (the pooler has no log file: its setting logfile is empty)" in text(console)
        pooler.answers["SHOW LOG WHERE line >= 1"] = Table(LOG_COLUMNS, [first, second])
        await polled(pilot)
        assert "2 lines" in text(console)
        await press(pilot, "enter")
        assert isinstance(console.screen, ClientsScreen)


async def test_a_pooler_that_was_started_anew_is_asked_for_all_of_it() -> None:
    pooler = with_log((1, "12:00:00", "LOG", "process up"))
    async with driven(pooler) as (console, pilot):
        await press(pilot, "9")
        pooler.tables["LOG"] = Table(LOG_COLUMNS, [(1, "12:05:00", "LOG", "process up again")])
        pooler.answers["SHOW LOG WHERE line >= 1"] = pooler.tables["LOG"]
        await polled(pilot)
        assert "process up again" in text(console)
        assert "12:00:00 LOG process up" in text(console)


async def test_who_may_not_see_the_log_is_told() -> None:
    pooler = with_log()
    pooler.refuse("SHOW LOG", AdminError("admin access needed", sqlstate="42501"))
    async with driven(pooler) as (console, pilot):
        await press(pilot, "9")
        assert "No log to show: SHOW LOG: admin access needed." in text(console)


async def test_a_pooler_without_either_says_why() -> None:
    tables = small_tables()
    tables["CONFIG"] = pairs(("key", "value"), {"logfile": "/var/log/pgbouncer.log"})
    async with driven(FakePooler(tables, COMMANDS)) as (console, pilot):
        await press(pilot, "9")
        shown = joined(console)
        assert "the log file, /var/log/pgbouncer.log, is on another machine: that of pooler.example" in shown
        assert "and this pooler has no SHOW LOG" in shown


async def test_a_file_that_cannot_be_read_gives_way_to_the_table() -> None:
    pooler = with_log((1, "12:00:00", "LOG", "from the table"))
    async with driven(pooler, log=Path("/")) as (console, pilot):
        await press(pilot, "9")
        assert "from the table" in text(console)
        assert "SHOW LOG (/ is a directory)" in text(console)


async def test_the_source_can_be_changed(log: Path) -> None:
    pooler = with_log((1, "12:00:00", "LOG", "from the table"))
    async with driven(pooler, log=log) as (console, pilot):
        await press(pilot, "9", "home", "s")
        assert "from the table" in text(console)
        assert "process up" not in text(console)
        assert "▶ following · 1 line" in text(console)
        await press(pilot, "s")
        assert "process up" in text(console)


async def test_there_may_be_no_other_source(log: Path) -> None:
    async with driven(FakePooler(), log=log) as (console, pilot):
        await press(pilot, "9", "s")
        assert "There is no other: this pooler has no SHOW LOG" in text(console)
        assert isinstance(console.screen, LogsScreen)


async def test_it_fits_a_small_terminal(log: Path) -> None:
    async with driven(FakePooler(), size=(60, 20), log=log) as (console, pilot):
        await press(pilot, "9")
        assert "login attempt" not in text(console)
        await press(pilot, *["right"] * 6)
        assert "login attempt" in text(console)


async def test_a_frozen_console_reads_nothing(log: Path) -> None:
    async with driven(FakePooler(), log=log) as (console, pilot):
        await press(pilot, "9", "z")
        write(log, "LOG later")
        await polled(pilot)
        assert "LOG later" not in text(console)
        await press(pilot, "f5")
        assert "LOG later" in text(console)
