"""Where a file is, asked of the one who should know."""

from __future__ import annotations

import os
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Input, Static

from tui.widgets.cells import safe


class AskPath(ModalScreen[str | None]):
    """A path that can be read, absolute; None when it was left."""

    DEFAULT_CSS = """
    AskPath { align: center middle; }
    AskPath > Vertical {
        width: 72; max-width: 100%; height: auto;
        border: round $primary; background: $surface; padding: 0 1;
    }
    AskPath #problem { color: $text-error; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "Leave it")]

    def __init__(self, title: str, reason: str) -> None:
        super().__init__()
        self._title = title
        self._reason = reason

    def compose(self) -> ComposeResult:
        box = Vertical()
        box.border_title = self._title
        box.border_subtitle = "enter opens, esc leaves"
        with box:
            yield Static(safe(f"{self._reason[:1].upper()}{self._reason[1:]}. Where is it?"), markup=False)
            yield Input(placeholder="/etc/pgbouncer/pgbouncer.ini", compact=True)
            yield Static(id="problem", markup=False)

    @on(Input.Submitted)
    def _entered(self, event: Input.Submitted) -> None:
        event.stop()
        path = os.path.abspath(os.path.expanduser(event.value.strip()))
        problem = "" if os.path.isfile(path) else f"{path}: there is no such file"
        self.query_one("#problem", Static).update(safe(problem))
        if event.value.strip() and not problem:
            self.dismiss(path)
