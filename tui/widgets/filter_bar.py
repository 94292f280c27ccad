"""The line in which a filter is typed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.message import Message
from textual.widgets import Input, Static

from tui.files.logbook import pattern_of
from tui.widgets.columns import Column
from tui.widgets.filters import FilterError, parse


class FilterBar(Vertical):
    """Tells of every text that is a filter, as it is typed, and shows what is wrong with one that is none.

    While something is wrong the last good filter holds.
    """

    DEFAULT_CSS = """
    FilterBar {
        height: auto;
        & > Input { border: none; height: 1; padding: 0 1; }
        & > Static { height: auto; color: $text-error; padding: 0 1; display: none; }
        &.-wrong > Static { display: block; }
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "clear", "Clear the filter", show=False)]

    placeholder: ClassVar[str] = "filter: words, column = < > ~ value"

    class Changed(Message):
        """Another filter is to be applied; `text` is what Arrangement takes."""

        def __init__(self, bar: FilterBar, text: str) -> None:
            super().__init__()
            self.bar = bar
            self.text = text

        @property
        def control(self) -> FilterBar:
            return self.bar

    class Left(Message):
        """Nothing more is to be typed: the table may have the keys again."""

        def __init__(self, bar: FilterBar) -> None:
            super().__init__()
            self.bar = bar

        @property
        def control(self) -> FilterBar:
            return self.bar

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._columns: Sequence[Column] = ()
        self._told = ""
        self._problem = ""

    def compose(self) -> ComposeResult:
        yield Input(placeholder=self.placeholder, compact=True)
        yield Static(markup=False)

    @property
    def problem(self) -> str:
        """What is wrong with the text; empty when it is a filter."""
        return self._problem

    def set_columns(self, columns: Sequence[Column]) -> None:
        """The columns that a filter may name from now on."""
        self._columns = columns
        self._judge(self.query_one(Input).value)

    def set_text(self, text: str) -> None:
        """Put a text in, as if it had been typed."""
        self.query_one(Input).value = text

    def focus_input(self) -> None:
        """Take the keys at once: what is typed next is text, and no command any more."""
        self.screen.set_focus(self.query_one(Input))

    @on(Input.Changed)
    def _typed(self, event: Input.Changed) -> None:
        event.stop()
        self._judge(event.value)

    @on(Input.Submitted)
    def _entered(self, event: Input.Submitted) -> None:
        event.stop()
        self.post_message(self.Left(self))

    def _judge(self, text: str) -> None:
        self._problem = self._problem_of(text)
        self.set_class(bool(self._problem), "-wrong")
        self.query_one(Static).update(self._problem)
        if not self._problem and text != self._told:
            self._told = text
            self.post_message(self.Changed(self, text))

    def _problem_of(self, text: str) -> str:
        judged = parse(text, self._columns)
        return judged.message if isinstance(judged, FilterError) else ""

    def action_clear(self) -> None:
        """Clear the text, or leave when there is none."""
        field = self.query_one(Input)
        if field.value:
            field.value = ""
        else:
            self.post_message(self.Left(self))


class PatternBar(FilterBar):
    """The same for lines that have no columns: a text, or a regular expression between slashes."""

    placeholder = "filter: text or /regular expression/"

    def _problem_of(self, text: str) -> str:
        return pattern_of(text).problem
