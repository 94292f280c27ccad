"""Small dialogs in which something is chosen that changes nothing but the screen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList, SelectionList
from textual.widgets.option_list import Option
from textual.widgets.selection_list import Selection

_CSS = """
    align: center middle;
    & > Vertical {
        width: 48; max-width: 100%; height: auto; max-height: 90%;
        border: round $primary; background: $surface; padding: 0 1;
    }
    & OptionList, & SelectionList { height: auto; max-height: 100%; border: none; background: $surface; }
"""


class ChooseOne(ModalScreen[str | None]):
    """One of some names; None when it was left."""

    DEFAULT_CSS = f"ChooseOne {{ {_CSS} }}"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "Leave it")]

    def __init__(self, title: str, names: Sequence[tuple[str, str]]) -> None:
        """`names`: what comes back, and what is read."""
        super().__init__()
        self._title = title
        self._names = names

    def compose(self) -> ComposeResult:
        box = Vertical()
        box.border_title = self._title
        box.border_subtitle = "enter takes, esc leaves"
        with box:
            yield OptionList(*(Option(Content(text), id=name) for name, text in self._names))

    @on(OptionList.OptionSelected)
    def _chosen(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(event.option.id)


class ChooseColumns(ModalScreen[tuple[str, ...] | None]):
    """Which columns are seen; an empty answer means those of the beginning, None no change."""

    DEFAULT_CSS = f"ChooseColumns {{ {_CSS} }}"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "done", "Done", show=False),
        Binding("enter", "done", "Done", priority=True),
        Binding("r", "reset", "As at the beginning"),
    ]

    def __init__(self, names: Sequence[str], shown: Sequence[str]) -> None:
        super().__init__()
        self._names = names
        self._shown = shown

    def compose(self) -> ComposeResult:
        box = Vertical()
        box.border_title = "Columns"
        box.border_subtitle = "space picks, enter is done, r resets"
        with box:
            yield SelectionList[str](
                *(Selection(Content(name), name, name in self._shown) for name in self._names), compact=True
            )

    def action_done(self) -> None:
        picked = set(self.query_one(SelectionList).selected)
        chosen = tuple(name for name in self._names if name in picked)
        self.dismiss(chosen or None)

    def action_reset(self) -> None:
        self.dismiss(())
