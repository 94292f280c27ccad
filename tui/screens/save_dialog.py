"""What is about to be written, and what it will do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Final

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Button, Static

from pooler.config.effects import NOW, RECONNECT, RESTART, Change
from tui.files.difference import DiffLine
from tui.widgets.cells import safe
from tui.widgets.diff_view import DiffView

NEEDS: Final[Mapping[str, str]] = {
    NOW: "● RELOAD",
    RECONNECT: "● RELOAD, for new connections",
    RESTART: "▲ RESTART: RELOAD leaves it as it is",
}
"""What has to happen until a change counts."""


class SaveDialog(ModalScreen[bool]):
    """The difference, and what each change needs to take effect. Cancel has the focus."""

    DEFAULT_CSS = """
    SaveDialog { align: center middle; }
    SaveDialog > Vertical {
        width: 95%; max-width: 140; height: 90%;
        border: round $primary; background: $surface; padding: 0 1;
    }
    SaveDialog DiffView { height: 1fr; }
    SaveDialog VerticalScroll { height: auto; max-height: 8; border-top: solid $panel; }
    SaveDialog Horizontal { height: auto; align-horizontal: right; }
    SaveDialog Button { margin-left: 1; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(False)", "Cancel"),
        Binding("left", "app.focus_previous", "Answer before", show=False),
        Binding("right", "app.focus_next", "Next answer", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
    ]

    def __init__(self, files: Sequence[tuple[str, Sequence[DiffLine]]], changes: Sequence[Change]) -> None:
        """`files`: the path of each, and its diff."""
        super().__init__()
        self._title = ", ".join(path for path, _ in files)
        headed = [[DiffLine("@", path), *lines] if len(files) > 1 else [*lines] for path, lines in files]
        self._lines = [line for lines in headed for line in lines]
        self._changes = changes

    def compose(self) -> ComposeResult:
        added = sum(line.sign == "+" for line in self._lines)
        removed = sum(line.sign == "-" for line in self._lines)
        box = Vertical()
        box.border_title = safe(f"Write {self._title}?")
        box.border_subtitle = f"+{added} -{removed}"
        with box:
            yield DiffView(self._lines)
            with VerticalScroll(can_focus=False):
                yield Static(safe_lines(self._changes), id="effects", markup=False)
            with Horizontal():
                yield Button("Cancel", id="cancel", compact=True)
                yield Button("Write", id="write", variant="warning", compact=True)

    def on_mount(self) -> None:
        self.query_one("#cancel", Button).focus()

    def action_page(self, pages: int) -> None:
        view = self.query_one(DiffView)
        view.scroll_relative(y=pages * max(1, view.size.height - 1), animate=False)

    @on(Button.Pressed)
    def _chosen(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id == "write")


def safe_lines(changes: Sequence[Change]) -> str:
    """A line for each change: what it needs, what it is."""
    if not changes:
        return "No setting, database or user changes by this."
    return "\n".join(safe(f"{NEEDS[change.needs]}: {_change(change)}") for change in changes)


def _change(change: Change) -> str:
    name = change.key if change.section == "pgbouncer" else f"[{change.section}] {change.key}"
    if change.change != "changed":
        return f"{name} {change.change}"
    return f"{name} {_value(change.old)} → {_value(change.new)}"


def _value(text: str | None) -> str:
    return "unset" if text is None else text or '""'
