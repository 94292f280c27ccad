"""What a file would have more, and what it would have less."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Final

from rich.segment import Segment
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui.files.difference import DiffLine
from tui.widgets.cells import fit, safe, width_of

_STYLES: Final[Mapping[str, str]] = {"+": "diff--added", "-": "diff--removed", "@": "diff--place"}


class DiffView(ScrollView, can_focus=True):
    """A unified diff with line numbers; + and - say with signs what colours say."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {"diff--added", "diff--removed", "diff--place"}

    DEFAULT_CSS = """
    DiffView {
        background: $surface;
        scrollbar-size: 1 1;
        & > .diff--added { background: $success-muted; color: $text-success; }
        & > .diff--removed { background: $error-muted; color: $text-error; }
        & > .diff--place { color: $text-accent; }
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "scroll_up", "Up", show=False),
        Binding("down", "scroll_down", "Down", show=False),
    ]

    def __init__(self, lines: Sequence[DiffLine], *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._lines = [(line.sign, _text(line)) for line in lines]
        self.virtual_size = Size(max((width_of(text) for _, text in self._lines), default=0), len(lines))

    def render_line(self, y: int) -> Strip:
        width = self.scrollable_content_region.width
        position = self.scroll_offset.y + y
        if position >= len(self._lines):
            return Strip.blank(width, self.rich_style)
        sign, text = self._lines[position]
        style = self.rich_style
        if sign in _STYLES:
            style = self.get_component_rich_style(_STYLES[sign])
        whole = max(width_of(text), self.virtual_size.width, width)
        offset = self.scroll_offset.x
        return Strip([Segment(fit(text, whole), style)], whole).crop(offset, offset + width)


def _text(line: DiffLine) -> str:
    """Old number, new number, sign and line."""
    if line.sign == "@":
        return safe(f"{'':11} {line.text}")
    old, new = ("" if number is None else str(number) for number in (line.old, line.new))
    return safe(f"{old:>5} {new:>5} {line.sign} {line.text}")
