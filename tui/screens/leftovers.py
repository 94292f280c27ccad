"""What somebody left paused, suspended or disabled: each can be taken back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import OptionList
from textual.widgets.option_list import Option

from tui.operate.leftovers import Leftover
from tui.widgets.cells import safe


class LeftoversScreen(ModalScreen[Leftover | None]):
    """Which of them to take back; None for none. The first line is no."""

    DEFAULT_CSS = """
    LeftoversScreen { align: center middle; }
    LeftoversScreen > Vertical {
        width: 90; max-width: 100%; height: auto; max-height: 90%;
        border: round $warning; background: $surface; padding: 0 1;
    }
    LeftoversScreen OptionList { height: auto; max-height: 100%; border: none; background: $surface; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,V", "dismiss(None)", "Leave it")]

    def __init__(self, leftovers: Sequence[Leftover]) -> None:
        super().__init__()
        self._leftovers = leftovers

    def compose(self) -> ComposeResult:
        box = Vertical()
        box.border_title = "Left over"
        box.border_subtitle = "enter takes back, esc leaves"
        with box:
            yield OptionList(
                Option("Leave all as it is", id="none"),
                *(
                    Option(Content(safe(f"{leftover.action.title}: {leftover}")), id=str(number))
                    for number, leftover in enumerate(self._leftovers)
                ),
            )

    @on(OptionList.OptionSelected)
    def _chosen(self, event: OptionList.OptionSelected) -> None:
        number = event.option.id
        self.dismiss(None if number in (None, "none") else self._leftovers[int(number)])
