"""The filter is told as it is typed, and what is wrong with it is shown."""

from __future__ import annotations

from textual import on
from textual.app import App, ComposeResult
from textual.widgets import Static

from tests.unit.widgets.clients import COLUMNS
from tui.widgets.filter_bar import FilterBar


class BarApp(App[None]):
    """One bar, the texts that it told and how often it was left."""

    def __init__(self) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.left = 0

    def compose(self) -> ComposeResult:
        yield FilterBar()

    def on_mount(self) -> None:
        self.bar.set_columns(COLUMNS)
        self.bar.focus_input()

    @property
    def bar(self) -> FilterBar:
        return self.query_one(FilterBar)

    @property
    def shown_problem(self) -> str:
        text = self.bar.query_one(Static)
        return str(text.render()) if text.display else ""

    @on(FilterBar.Changed)
    def changed(self, message: FilterBar.Changed) -> None:
        self.texts.append(message.text)

    @on(FilterBar.Left)
    def done(self) -> None:
        self.left += 1


async def test_every_text_that_is_a_filter_is_told() -> None:
    app = BarApp()
    async with app.run_test() as pilot:
        await pilot.press("w", "e", "b")
        assert app.texts == ["w", "we", "web"]
        assert app.shown_problem == ""


async def test_what_is_wrong_is_shown_and_the_last_good_filter_holds() -> None:
    app = BarApp()
    async with app.run_test(size=(60, 20)) as pilot:
        await pilot.press(*"wait", "greater_than_sign")
        assert app.texts[-1] == "wait"
        assert app.shown_problem == app.bar.problem == 'wait > needs a value; "" is the empty one'
        await pilot.press("1")
        assert app.texts[-1] == "wait>1"
        assert app.shown_problem == app.bar.problem == ""


async def test_a_problem_is_not_read_as_markup() -> None:
    app = BarApp()
    async with app.run_test() as pilot:
        await pilot.press(*"wait=", "left_square_bracket", "slash", "x", "right_square_bracket")
        assert app.shown_problem == "wait holds numbers, [/x] is none"


async def test_escape_clears_and_then_leaves() -> None:
    app = BarApp()
    async with app.run_test() as pilot:
        await pilot.press("w", "escape")
        assert (app.texts, app.left) == (["w", ""], 0)
        await pilot.press("escape")
        assert app.left == 1
        await pilot.press("enter")
        assert app.left == 2


async def test_a_filter_is_judged_again_when_the_columns_change() -> None:
    app = BarApp()
    async with app.run_test() as pilot:
        await pilot.press(*"user=x")
        app.bar.set_columns(COLUMNS[:1])
        assert app.bar.problem == "no column user"
        app.bar.set_columns(COLUMNS)
        assert app.bar.problem == ""
