"""Leaving a console whose pooler lives in the same process."""

from __future__ import annotations

from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.screen import ModalScreen
from textual.widgets import Button, Static


class LeaveScreen(ModalScreen[bool | None]):
    """Whether to stop the pooler: True at once, False when its clients have left, None not at all."""

    DEFAULT_CSS = """
    LeaveScreen { align: center middle; }
    LeaveScreen > Vertical {
        width: 64; max-width: 100%; height: auto; border: round $warning; background: $surface; padding: 1 2;
    }
    LeaveScreen Horizontal { height: auto; margin-top: 1; align-horizontal: center; }
    LeaveScreen Button { min-width: 0; margin: 0 1; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,q", "dismiss(None)", "Cancel"),
        Binding("left", "app.focus_previous", show=False),
        Binding("right", "app.focus_next", show=False),
    ]

    def __init__(self, clients: int | None) -> None:
        super().__init__()
        self._clients = clients

    def compose(self) -> ComposeResult:
        box = Vertical()
        box.border_title = "The pooler ends with this console"
        count = "its clients" if self._clients is None else f"{self._clients} clients"
        with box:
            yield Static(
                f"It serves {count}. It can stop at once, which cuts them off, or take no new ones"
                " and end when the last of them has left.",
                markup=False,
            )
            with Horizontal():
                yield Button("Cancel", id="cancel", variant="primary")
                yield Button("When all have left", id="wait")
                yield Button("At once", id="now", variant="error")

    def on_mount(self) -> None:
        self.query_one("#cancel").focus()

    @on(Button.Pressed)
    def _pressed(self, event: Button.Pressed) -> None:
        self.dismiss({"now": True, "wait": False}.get(event.button.id or ""))
