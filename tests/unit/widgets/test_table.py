"""The table on a screen: keys, mouse, refreshes while somebody uses it, what is painted."""

from __future__ import annotations

import asyncio
from typing import TypeAlias, TypeVar

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from textual import events, on
from textual.app import App, ComposeResult

from tests.unit.widgets.clients import COLUMNS, client, view
from tui.widgets.columns import Column, Kind, Level
from tui.widgets.snapshot import Snapshot
from tui.widgets.table import SnapshotTable
from tui.widgets.view import Arrangement, View, arrange

MouseEvent = TypeVar("MouseEvent", bound=events.MouseEvent)

SIZES = [(60, 20), (100, 30), (200, 60)]
EVERY_SIZE = pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")


class TableApp(App[None]):
    """One table, and what it told."""

    def __init__(self, first: View) -> None:
        super().__init__()
        self.first = first
        self.told: list[object] = []

    def compose(self) -> ComposeResult:
        yield SnapshotTable()

    def on_mount(self) -> None:
        self.table.focus()
        self.table.show(self.first)

    @property
    def table(self) -> SnapshotTable:
        return self.query_one(SnapshotTable)

    @on(SnapshotTable.CursorMoved)
    @on(SnapshotTable.RowActivated)
    @on(SnapshotTable.SelectionChanged)
    @on(SnapshotTable.SortRequested)
    def remember(self, message: SnapshotTable.TableMessage) -> None:
        self.told.append(message)

    def last(self, kind: type[SnapshotTable.TableMessage]) -> SnapshotTable.TableMessage | None:
        return next((message for message in reversed(self.told) if type(message) is kind), None)


def lines(table: SnapshotTable) -> list[str]:
    """What is painted, each line exactly as wide as the table."""
    width = table.scrollable_content_region.width
    strips = [table.render_line(y) for y in range(table.size.height)]
    assert [strip.cell_length for strip in strips] == [width] * len(strips)
    assert [cell_len(strip.text) for strip in strips] == [width] * len(strips)
    painted = table.render_lines(table.size.region)
    assert [strip.crop(0, width).text for strip in painted] == [strip.text for strip in strips]
    return [strip.text for strip in strips]


def mouse(kind: type[MouseEvent], table: SnapshotTable, x: int, y: int) -> MouseEvent:
    return kind(table, x, y, 0, 0, 1, False, False, False)


def line_of_cursor(table: SnapshotTable) -> int | None:
    marked = [number for number, line in enumerate(lines(table)) if line.startswith("›")]
    assert len(marked) <= 1
    return marked[0] if marked else None


@EVERY_SIZE
async def test_keys_move_the_cursor_and_the_screen_follows(size: tuple[int, int]) -> None:
    app = TableApp(view(range(1000)))
    async with app.run_test(size=size) as pilot:
        table, page = app.table, size[1] - 1
        assert (table.cursor_key, line_of_cursor(table)) == (None, None)
        await pilot.press("down")
        assert (table.cursor_key, line_of_cursor(table)) == (0, 1)
        await pilot.press("down", "down", "up")
        assert (table.cursor_key, line_of_cursor(table)) == (1, 2)
        await pilot.press("end")
        assert (table.cursor_key, line_of_cursor(table)) == (999, page)
        assert " 999 " in lines(table)[-1]
        await pilot.press("pageup")
        assert (table.cursor_key, line_of_cursor(table)) == (1000 - page, 1)
        await pilot.press("home")
        assert (table.cursor_key, line_of_cursor(table)) == (0, 1)
        await pilot.press("pagedown")
        assert (table.cursor_key, line_of_cursor(table)) == (page - 1, page)
        assert app.last(table.CursorMoved) == table.CursorMoved(table, page - 1)


@EVERY_SIZE
async def test_the_row_under_the_cursor_keeps_its_line_when_rows_come_and_go(size: tuple[int, int]) -> None:
    app = TableApp(view(range(500)))
    async with app.run_test(size=size) as pilot:
        table = app.table
        await pilot.press("end", "home", *["pagedown"] * 3, "up", "up")
        key, line = table.cursor_key, line_of_cursor(table)
        assert line is not None
        for new in (
            view([*range(900, 950), *range(500)]),
            view(range(20, 500)),
            view(range(500), 3, sort="wait", descending=True),
            view(range(500), 4, sort="wait"),
        ):
            table.show(new)
            await pilot.pause()
            assert table.cursor_key == key
            position = new.position(key)
            assert position is not None
            top = min(max(0, position - line + 1), len(new) + 1 - size[1])
            assert line_of_cursor(table) == position - top + 1


@EVERY_SIZE
async def test_selection_outlives_refreshes_and_goes_with_its_rows(size: tuple[int, int]) -> None:
    app = TableApp(view(range(100)))
    async with app.run_test(size=size) as pilot:
        table = app.table
        await pilot.press("down", "space", "down", "down", "shift+down", "shift+down")
        assert table.selected_keys == {0, 2, 3, 4}
        table.show(view(range(3, 100), 1, sort="wait"))
        await pilot.pause()
        assert table.selected_keys == {3, 4}
        assert app.last(table.SelectionChanged) == table.SelectionChanged(table, frozenset({3, 4}))
        await pilot.press("ctrl+a")
        assert table.selected_keys == set(range(3, 100))
        table.show(view(range(3, 100), filter="id < 10"))
        assert table.hidden_selected == 90
        await pilot.press("escape")
        assert table.selected_keys == frozenset()
        assert table.cursor_key == 4
        await pilot.press("escape")
        assert table.cursor_key is None


async def test_escape_goes_on_to_the_screen_when_there_is_nothing_to_clear() -> None:
    class Backwards(TableApp):
        BINDINGS = [("escape", "go_back", "Back")]  # noqa: RUF012
        went_back = 0

        def action_go_back(self) -> None:
            self.went_back += 1

    app = Backwards(view(range(5)))
    async with app.run_test() as pilot:
        await pilot.press("down", "escape")
        assert app.went_back == 0
        await pilot.press("escape")
        assert app.went_back == 1


async def test_the_first_enter_shows_the_row_and_the_second_opens_it() -> None:
    app = TableApp(view([7, 8]))
    async with app.run_test() as pilot:
        await pilot.press("enter")
        assert app.table.cursor_key == 7
        assert app.last(SnapshotTable.RowActivated) is None
        await pilot.press("enter")
        assert app.last(SnapshotTable.RowActivated) == SnapshotTable.RowActivated(app.table, 7)


async def test_keys_ask_for_another_order_and_the_header_shows_it() -> None:
    app = TableApp(view(range(9)))
    async with app.run_test(size=(100, 30)) as pilot:
        table = app.table
        await pilot.press("o")
        assert app.last(table.SortRequested) is None
        await pilot.press("greater_than_sign")
        assert app.last(table.SortRequested) == table.SortRequested(table, "id", True)
        table.show(view(range(9), sort="id", descending=True))
        assert "id ↓" in lines(table)[0]
        await pilot.press("greater_than_sign")
        assert app.last(table.SortRequested) == table.SortRequested(table, "user", False)
        await pilot.press("less_than_sign")
        assert app.last(table.SortRequested) == table.SortRequested(table, "link", False)
        await pilot.press("o")
        assert app.last(table.SortRequested) == table.SortRequested(table, "id", False)
        table.show(view(range(9), sort="id"))
        assert "id ↑" in lines(table)[0]


@EVERY_SIZE
async def test_a_click_takes_the_row_and_a_double_click_opens_it(size: tuple[int, int]) -> None:
    app = TableApp(view(range(100)))
    async with app.run_test(size=size) as pilot:
        table = app.table
        await pilot.click(table, offset=(10, 5))
        assert (table.cursor_key, line_of_cursor(table)) == (4, 5)
        assert app.last(table.RowActivated) is None
        await pilot.click(table, offset=(10, 7), times=2)
        assert app.last(table.RowActivated) == table.RowActivated(table, 6)
        await pilot.click(table, offset=(10, 3), control=True)
        await pilot.click(table, offset=(10, 5), shift=True)
        assert table.selected_keys == {2, 3, 4}
        await pilot.click(table, offset=(10, 5), control=True)
        assert table.selected_keys == {2, 3}


async def test_a_row_that_comes_under_the_pointer_before_the_second_click_is_not_opened() -> None:
    app = TableApp(view(range(100)))
    async with app.run_test() as pilot:
        table = app.table
        await pilot.click(table, offset=(10, 5))
        table.show(view(range(2, 100)))
        await pilot.pause()
        second = mouse(events.Click, table, 10, 5)
        second.chain = 2
        table.post_message(second)
        await pilot.pause()
        assert app.last(table.RowActivated) is None
        second = mouse(events.Click, table, 10, 3)
        second.chain = 2
        table.post_message(second)
        await pilot.pause()
        assert app.last(table.RowActivated) == table.RowActivated(table, 4)


async def test_a_click_on_the_header_asks_for_an_order() -> None:
    app = TableApp(view(range(9)))
    async with app.run_test(size=(100, 30)) as pilot:
        table = app.table
        place = lines(table)[0].index("database")
        await pilot.click(table, offset=(place, 0))
        assert app.last(table.SortRequested) == table.SortRequested(table, "database", False)
        table.show(view(range(9), sort="database"))
        await pilot.click(table, offset=(lines(table)[0].index("database"), 0))
        assert app.last(table.SortRequested) == table.SortRequested(table, "database", True)
        assert table.cursor_key is None
        await pilot.click(table, offset=(0, 0))
        await pilot.click(table, offset=(50, 25))
        assert table.cursor_key is None


@EVERY_SIZE
async def test_columns_scroll_one_by_one_and_the_header_with_them(size: tuple[int, int]) -> None:
    columns = [Column(f"column{number}", min_width=12) for number in range(30)]
    snapshot = Snapshot(columns, [tuple(f"value{number}" for number in range(30))], ["column0"])
    app = TableApp(arrange(snapshot, Arrangement()))
    async with app.run_test(size=size) as pilot:
        table = app.table
        header, row = lines(table)[:2]
        assert header.startswith("  column0 ")
        assert header.rstrip().endswith("›")
        await pilot.press("right", "right")
        header, row = lines(table)[:2]
        assert header.startswith("‹ column2 ")
        assert row.startswith("  value2 ")
        await pilot.press("left")
        assert lines(table)[0].startswith("‹ column1 ")
        await pilot.press(*["right"] * 40)
        header, row = lines(table)[:2]
        assert "column29" in header
        assert "value29" in row
        assert not header.rstrip().endswith("›")
        await pilot.press(*["left"] * 40)
        assert lines(table)[0].startswith("  column0 ")


@pytest.mark.parametrize(
    "value",
    [
        "[/x]",
        "[bold red]x[/]",
        "[@click=app.quit]x[/]",
        "a\x1b[2Jb",
        "line\nbreak",
        "日本語のアプリ",
        "e\u0301" * 9,
        "👩\u200d💻",
    ],
)
async def test_values_are_written_as_they_are_and_lines_stay_straight(value: str) -> None:
    rows = [client(1, application=value), client(2, application="plain")]
    app = TableApp(arrange(Snapshot(COLUMNS, rows, ["id"]), Arrangement()))
    async with app.run_test(size=(100, 30)) as pilot:
        _, first, second, *_ = lines(app.table)
        links = [cell_len(line[: line.index("0x0000")]) for line in (first, second)]
        assert links[0] == links[1]
        if value.startswith("["):
            assert value in first
        assert first.isprintable()
        await pilot.press("down", "end", "space")
        lines(app.table)


async def test_wide_characters_are_cut_where_the_screen_scrolls() -> None:
    columns = (Column("name", max_width=60), Column("more", min_width=60))
    app = TableApp(arrange(Snapshot(columns, [("日本語" * 9, "x")], []), Arrangement()))
    async with app.run_test(size=(60, 20)):
        for x in range(6):
            app.table.scroll_to(x=x, animate=False, force=True)
            lines(app.table)


async def test_levels_have_symbols_and_colours_of_the_theme() -> None:
    rows = [client(1, 0), client(2, 2), client(3, 9)]
    app = TableApp(arrange(Snapshot(COLUMNS, rows, ["id"]), Arrangement()))
    async with app.run_test(size=(100, 30)):
        table = app.table
        painted = lines(table)
        assert "▲ 2" in painted[2]
        assert "✖ 9" in painted[3]
        assert "● active" in painted[1]
        colours = {
            level: table.get_component_rich_style(f"table--{level.value}").color
            for level in (Level.GOOD, Level.WARNING, Level.CRITICAL)
        }
        assert len(set(colours.values())) == 3
        segment = next(segment for segment in table.render_line(3) if "✖" in segment.text)
        assert segment.style is not None
        assert segment.style.color == colours[Level.CRITICAL]


@pytest.mark.parametrize("size", [(60, 20)])
async def test_without_colours_everything_is_still_told_apart(
    size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = TableApp(view(range(5), 1))
    async with app.run_test(size=size) as pilot:
        await pilot.press("down", "space")
        assert lines(app.table)[1].startswith("›✓")
        assert any(symbol in "".join(lines(app.table)) for symbol in "▲✖")


async def test_what_changes_is_painted_anew() -> None:
    app = TableApp(view([1, 2]))
    async with app.run_test(size=(100, 30)) as pilot:
        table = app.table
        assert "worker" in lines(table)[2]
        rows = [client(1), client(2, application="other")]
        table.show(arrange(Snapshot(COLUMNS, rows, ["id"]), Arrangement()))
        await pilot.pause()
        assert "worker" in lines(table)[1]
        assert "other" in lines(table)[2]
        styles = [segment.style for segment in table.render_line(2)]
        app.theme = "textual-light"
        await pilot.pause()
        assert [segment.style for segment in table.render_line(2)] != styles
        await pilot.press("down")
        focused = [segment.style for segment in table.render_line(1)]
        app.set_focus(None)
        await pilot.pause()
        assert [segment.style for segment in table.render_line(1)] != focused


async def test_an_empty_table_says_why() -> None:
    app = TableApp(view([]))
    async with app.run_test() as pilot:
        assert lines(app.table)[1].strip() == "no rows"
        app.table.show(view(range(9), filter="nobody"))
        assert lines(app.table)[1].strip() == "no row matches the filter"
        app.table.show(view(range(9), filter="nobody = 1"))
        assert lines(app.table)[1].strip() == "no column nobody"
        await pilot.press("down", "end", "space", "enter", "shift+down", "ctrl+a", "left", "pageup")
        assert app.table.cursor_key is None


async def test_the_wheel_scrolls_and_leaves_the_cursor_on_its_row() -> None:
    app = TableApp(view(range(500)))
    async with app.run_test(size=(60, 20)) as pilot:
        table = app.table
        await pilot.press("down")
        for _ in range(2):
            table.post_message(mouse(events.MouseScrollDown, table, 10, 5))
        await pilot.pause()
        top = table.scroll_offset.y
        assert top > 1
        assert (table.cursor_key, line_of_cursor(table)) == (0, None)
        table.show(view([900, 901, *range(500)]))
        await pilot.pause()
        assert (table.cursor_key, table.scroll_offset.y) == (0, top + 2)


async def test_the_cursor_stays_in_sight_when_the_terminal_gets_smaller() -> None:
    app = TableApp(view(range(100)))
    async with app.run_test(size=(100, 30)) as pilot:
        await pilot.press("down", "pagedown")
        await pilot.resize_terminal(60, 20)
        await pilot.pause()
        assert line_of_cursor(app.table) is not None


async def test_only_rows_on_the_screen_are_formatted() -> None:
    formatted = []

    def formats(value: object) -> str:
        formatted.append(value)
        return str(value)

    columns = (Column("id", Kind.NUMBER, format=formats),)
    app = TableApp(
        arrange(Snapshot(columns, [(number,) for number in range(40_000)], ["id"]), Arrangement("id"))
    )
    async with app.run_test(size=(60, 20)) as pilot:
        await pilot.press("end")
        assert set(formatted) == {*range(19), *range(40_000 - 19, 40_000)}


Step: TypeAlias = str | tuple[list[int], int, str, bool]
STEPS: st.SearchStrategy[Step] = st.one_of(
    st.sampled_from(
        ["up", "down", "pageup", "pagedown", "home", "end", "shift+down", "space", "left", "right"]
    ),
    st.tuples(
        st.lists(st.integers(0, 60), unique=True, max_size=60),
        st.integers(0, 5),
        st.sampled_from(["", "id", "wait"]),
        st.booleans(),
    ),
)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(STEPS, max_size=15), st.sampled_from(SIZES))
def test_whatever_comes_the_cursor_stays_on_its_row(steps: list[Step], size: tuple[int, int]) -> None:
    async def play() -> None:
        app = TableApp(view(range(60)))
        async with app.run_test(size=size) as pilot:
            table = app.table
            for step in steps:
                before = table.cursor_key
                if isinstance(step, str):
                    await pilot.press(step)
                else:
                    numbers, seed, sort, descending = step
                    table.show(view(numbers, seed, sort=sort, descending=descending))
                    await pilot.pause()
                    assert table.cursor_key == before or before not in table.view
                    assert table.selected_keys <= set(numbers)
                assert table.cursor_key is None or table.cursor_key in table.view
                assert (line_of_cursor(table) is None) == (table.cursor_key is None)
                assert 0 <= table.scroll_offset.y <= max(0, len(table.view) + 1 - size[1])

    asyncio.run(play())
