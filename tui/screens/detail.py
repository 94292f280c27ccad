"""Everything that the pooler says of one row."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar

from rich.table import Table as RichTable
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from tui.widgets.cells import safe
from tui.widgets.columns import plain
from tui.widgets.snapshot import Key

if TYPE_CHECKING:
    from tui.screens.tables import TableScreen


class RowDetail(ModalScreen[None]):
    """A row with all its columns, as it is now; it says so when the row has gone."""

    DEFAULT_CSS = """
    RowDetail { align: center middle; }
    RowDetail > Vertical {
        width: 72; max-width: 100%; height: auto; max-height: 95%;
        border: round $primary; background: $surface; padding: 0 1;
    }
    RowDetail VerticalScroll { height: auto; max-height: 85vh; }
    RowDetail #gone { color: $text-warning; display: none; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,q", "dismiss", "Close"),
        Binding("l", "follow", "Go to what belongs to it"),
        Binding("y", "copy", "Copy"),
    ]

    def __init__(self, owner: TableScreen, key: Key) -> None:
        super().__init__()
        self._owner = owner
        self._key = key
        self._row: Mapping[str, Any] = owner.row(key) or {}

    def compose(self) -> ComposeResult:
        box = Vertical()
        box.border_title = safe(f"{self._owner.spec.title}: {self._label()}")
        box.border_subtitle = "esc closes, l goes on, y copies"
        with box, VerticalScroll():
            yield Static("▲ It has gone; this is how it was last seen.", id="gone")
            yield Static(id="values")

    def _label(self) -> str:
        return " ".join(plain(self._row.get(name)) for name in self._owner.spec.key)

    def on_mount(self) -> None:
        self._paint()

    def show_again(self) -> None:
        """The rows have been read again."""
        row = self._owner.row(self._key)
        self.query_one("#gone").display = row is None
        if row is not None:
            self._row = row
            self._paint()

    def _paint(self) -> None:
        table = RichTable.grid(padding=(0, 2))
        table.add_column(style="bold", no_wrap=True)
        table.add_column(overflow="fold")
        moment = self._owner.console.moment
        for name, said in () if moment is None else self._owner.more(self._row, moment):
            table.add_row(Text(name), Text(safe(said), style="italic"))
        for name, value in self._row.items():
            table.add_row(Text(safe(name)), Text(safe(plain(value))))
        self.query_one("#values", Static).update(table)

    async def action_follow(self) -> None:
        self.dismiss()
        await self._owner.follow(self._row)

    def action_copy(self) -> None:
        self.app.copy_to_clipboard("\n".join(f"{name}\t{plain(value)}" for name, value in self._row.items()))
        self.notify("Copied", markup=False)
