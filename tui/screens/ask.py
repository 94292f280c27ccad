"""A question with a few answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Button, Static

from tui.widgets.cells import safe


class Ask(ModalScreen[str | None]):
    """The name of the answer that was chosen, or None. The first has the focus, so it is to be harmless."""

    DEFAULT_CSS = """
    Ask { align: center middle; }
    Ask > Vertical {
        width: 76; max-width: 100%; height: auto; max-height: 95%;
        border: round $primary; background: $surface; padding: 0 1;
    }
    Ask.-bad > Vertical { border: round $error; }
    Ask VerticalScroll { height: auto; max-height: 70vh; }
    Ask Horizontal { height: auto; align-horizontal: right; margin-top: 1; }
    Ask Button { margin-left: 1; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(None)", "Leave it"),
        Binding("left", "app.focus_previous", "Answer before", show=False),
        Binding("right", "app.focus_next", "Next answer", show=False),
    ]

    def __init__(
        self, title: str, text: str, answers: Sequence[tuple[str, str]], *, is_bad: bool = False
    ) -> None:
        """`answers`: what comes back, and what is read."""
        super().__init__(classes="-bad" if is_bad else None)
        self._title = title
        self._text = text
        self._answers = answers

    def compose(self) -> ComposeResult:
        box = Vertical()
        box.border_title = self._title
        with box:
            with VerticalScroll(can_focus=False):
                yield Static("\n".join(map(safe, self._text.split("\n"))), markup=False)
            with Horizontal():
                for name, label in self._answers:
                    yield Button(label, id=name, compact=True)

    def on_mount(self) -> None:
        self.query(Button).first().focus()

    @on(Button.Pressed)
    def _chosen(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id)
