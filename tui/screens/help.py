"""Every key that means something where one is."""

from __future__ import annotations

from typing import Any, ClassVar

from rich.table import Table as RichTable
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen, Screen
from textual.widgets import Static

from tui.screens.base import PLACES


class HelpScreen(ModalScreen[None]):
    """The keys of the screen that it was called from; any of escape, ? and q closes it."""

    DEFAULT_CSS = """
    HelpScreen { align: center middle; }
    HelpScreen > Vertical {
        width: 76; max-width: 100%; height: auto; max-height: 100%;
        border: round $primary; background: $surface; padding: 0 1;
    }
    HelpScreen VerticalScroll { height: auto; max-height: 90vh; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,question_mark,q", "dismiss", "Close"),
    ]

    def __init__(self, screen: Screen[Any]) -> None:
        super().__init__()
        self._keys = _keys(screen)
        self._about = (type(screen).__doc__ or "").split("\n\n")[0].strip()

    def compose(self) -> ComposeResult:
        box = Vertical()
        box.border_title = "Keys"
        box.border_subtitle = "esc closes"
        with box, VerticalScroll():
            yield Static(Text(self._about), id="about")
            yield Static(_table(self._keys))


def _keys(screen: Screen[Any]) -> list[tuple[str, str]]:
    """Key and what it does, without the screens' own, which are one line."""
    found: dict[str, list[str]] = {}
    for active in screen.active_bindings.values():
        binding = active.binding
        if binding.system or not binding.description or binding.action.startswith("go("):
            continue
        key = screen.app.get_key_display(binding)
        keys = found.setdefault(active.tooltip or binding.description, [])
        if key not in keys:
            keys.append(key)
    places = "  ".join(f"{place.key} {place.title}" for place in PLACES)
    return [*((" ".join(keys), text) for text, keys in found.items()), ("0 – 9", places)]


def _table(keys: list[tuple[str, str]]) -> RichTable:
    table = RichTable.grid(padding=(0, 2))
    table.add_column(justify="right", style="bold", no_wrap=True)
    table.add_column()
    for key, text in keys:
        table.add_row(Text(key), Text(text))
    return table
