"""All of one line of the log."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

from rich.table import Table as RichTable
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from tui.files.logline import LogLine


class LineDetail(ModalScreen[None]):
    """A line taken apart, the message folded so that all of it can be read."""

    DEFAULT_CSS = """
    LineDetail { align: center middle; }
    LineDetail > Vertical {
        width: 96; max-width: 100%; height: auto; max-height: 95%;
        border: round $primary; background: $surface; padding: 0 1;
    }
    LineDetail VerticalScroll { height: auto; max-height: 85vh; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,q,d", "dismiss", "Close"),
        Binding("y", "copy", "Copy"),
    ]

    def __init__(self, line: LogLine) -> None:
        super().__init__()
        self._line = line

    def compose(self) -> ComposeResult:
        table = RichTable.grid(padding=(0, 2))
        table.add_column(style="bold", no_wrap=True)
        table.add_column(overflow="fold")
        for name, value in _parts(self._line):
            table.add_row(name, Text(value))
        box = Vertical()
        box.border_title = "Line of the log"
        box.border_subtitle = "esc closes, y copies"
        with box, VerticalScroll():
            yield Static(table)

    def action_copy(self) -> None:
        self.app.copy_to_clipboard(self._line.text)
        self.notify("Copied", markup=False)


def _parts(line: LogLine) -> Iterator[tuple[str, str]]:
    if line.time:
        yield "time", line.time
    if line.level:
        yield "level", line.level
    if line.pid is not None:
        yield "process", str(line.pid)
    connection = line.connection
    if connection is not None:
        yield connection.kind, connection.pointer
        yield "database", connection.database or "–"
        yield "user", connection.user or "–"
        yield "address", connection.address
    yield "message", line.message
