"""The lines of a log: only those on the screen are painted, however many there are."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar, Final

from rich.segment import Segment
from rich.style import Style
from rich.text import Text
from textual import events
from textual.binding import Binding, BindingType
from textual.geometry import Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui.files.logbook import LogBook
from tui.files.logline import LogLine
from tui.widgets.cells import fit, width_of

MARGIN: Final = 4
SIDEWAYS: Final = 8

# Symbol and colour of what is worse than usual; what is less than usual steps back.
_MARKS: Final[Mapping[str, tuple[str, str]]] = {
    "FATAL": ("✖", "log--error"),
    "ERROR": ("✖", "log--error"),
    "WARNING": ("▲", "log--warning"),
    "DEBUG": (" ", "log--muted"),
    "NOISE": (" ", "log--muted"),
}


class LogLines(ScrollView, can_focus=True):
    """Shows what a LogBook lets pass. While it follows, the last line is in sight, and the cursor on it.

    Its owner adds to the book, and says so with `grow` or `show_all`.
    """

    ALLOW_SELECT = False

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "log--muted",
        "log--connection",
        "log--warning",
        "log--error",
        "log--match",
        "log--cursor",
    }

    DEFAULT_CSS = """
    LogLines {
        background: $surface;
        color: $foreground;
        overflow: auto;
        scrollbar-gutter: stable;
        scrollbar-size: 0 1;
        & > .log--muted { color: $text-muted; }
        & > .log--connection { color: $text-accent; }
        & > .log--warning { color: $text-warning; text-style: bold; }
        & > .log--error { color: $text-error; text-style: bold; }
        & > .log--match { background: $warning-muted; color: $text-warning; text-style: bold underline; }
        & > .log--cursor { background: $block-cursor-blurred-background; text-style: bold; }
        &:focus > .log--cursor { background: $secondary-muted; text-style: bold; }
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", "Line up", show=False),
        Binding("down", "move(1)", "Line down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("home", "first", "First line", show=False),
        Binding("end", "follow", "Follow", id="log.follow"),
        Binding("left", "sideways(-1)", "To the left", show=False),
        Binding("right", "sideways(1)", "To the right", show=False),
        Binding("enter", "activate", "Its client or server", id="log.activate"),
    ]

    @dataclass
    class Activated(Message):
        """Enter, or a double click, on a line."""

        line: LogLine

    @dataclass
    class FollowChanged(Message):
        """It follows from now on, or no more."""

        follows: bool

    def __init__(self, book: LogBook, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self.follows = True
        self.why_empty = ""
        self._book = book
        self._cursor = 0
        self._width = 0

    @property
    def page(self) -> int:
        """How many lines fit the screen."""
        return max(1, self.size.height)

    @property
    def line(self) -> LogLine | None:
        """The one of the cursor."""
        return self._book[self._position] if len(self._book) else None

    @property
    def _position(self) -> int:
        return min(self._book.position_of(self._cursor), max(0, len(self._book) - 1))

    def grow(self, came: int, left: int) -> None:
        """`came` lines are new at the end, and `left` at the beginning are no more."""
        count = len(self._book)
        new = (self._book[place] for place in range(max(0, count - came), count))
        self._fit(max(map(_width, new), default=0))
        if self.follows:
            self._go_to_end()
        elif left:
            self.scroll_to(y=max(0, self.scroll_offset.y - left), animate=False, force=True)
        self.refresh()

    def show_all(self) -> None:
        """Other lines pass than before; the cursor stays on its line, or goes to the next one that passes."""
        self._width = 0
        self._fit(max((_width(self._book[place]) for place in range(len(self._book))), default=0))
        if self.follows:
            self._go_to_end()
        else:
            self._scroll_into_view(center=True)
        self.refresh()

    def _fit(self, width: int) -> None:
        self._width = max(self._width, width)
        self.virtual_size = Size(MARGIN + self._width, len(self._book))

    def _go_to_end(self) -> None:
        if len(self._book):
            self._cursor = self._book[len(self._book) - 1].number
        self.scroll_to(y=max(0, len(self._book) - self.page), animate=False, force=True)

    def on_resize(self) -> None:
        if self.follows:
            self._go_to_end()
        else:
            self._scroll_into_view()

    def _scroll_into_view(self, center: bool = False) -> None:
        position, top = self._position, self.scroll_offset.y
        if center and not top <= position < top + self.page:
            wanted = position - self.page // 2
        else:
            wanted = min(max(top, position - self.page + 1), position)
        if wanted != top:
            self.scroll_to(y=max(0, wanted), animate=False, force=True)

    def set_follows(self, follows: bool) -> None:
        """Keep to the end, or stay where it is."""
        if follows:
            self._go_to_end()
        if follows != self.follows:
            self.follows = follows
            self.post_message(self.FollowChanged(follows))
        self.refresh()

    def go_to(self, position: int) -> None:
        """Put the cursor on a line; it is followed no more, so that the line stays."""
        if not len(self._book):
            return
        place = min(max(0, position), len(self._book) - 1)
        self._cursor = self._book[place].number
        self.set_follows(False)
        self._scroll_into_view()

    # Keys and mouse

    def action_move(self, lines: int) -> None:
        position = self._position
        if self.follows and lines > 0:
            return
        if not self.follows and lines > 0 and position == len(self._book) - 1:
            self.set_follows(True)
            return
        self.go_to(position + lines)

    def action_page(self, pages: int) -> None:
        self.action_move(pages * max(1, self.page - 1))

    def action_first(self) -> None:
        self.go_to(0)

    def action_follow(self) -> None:
        self.set_follows(True)

    def action_sideways(self, steps: int) -> None:
        self.scroll_to(x=max(0, self.scroll_offset.x + steps * SIDEWAYS), animate=False, force=True)

    def action_activate(self) -> None:
        if self.line is not None:
            self.post_message(self.Activated(self.line))

    def on_mouse_scroll_up(self, event: events.MouseScrollUp) -> None:
        if len(self._book) > self.page:
            self.set_follows(False)

    def on_click(self, event: events.Click) -> None:
        offset = event.get_content_offset(self)
        if offset is None or event.button != 1:
            return
        position = self.scroll_offset.y + offset.y
        if position >= len(self._book):
            return
        self.go_to(position)
        if event.chain == 2:
            self.action_activate()

    # Painting

    def render_line(self, y: int) -> Strip:
        width = self.scrollable_content_region.width
        position = self.scroll_offset.y + y
        if position >= len(self._book):
            words = textwrap.wrap(self.why_empty, max(20, width)) if not len(self._book) else []
            text = words[y] if y < len(words) else ""
            return Strip([Segment(fit(text, width), self.rich_style)], width)
        return self._paint(self._book[position], width)

    def _paint(self, line: LogLine, width: int) -> Strip:
        at_cursor = line.number == self._cursor and not (self.follows and not self.has_focus)
        style = self._style("log--cursor") if at_cursor else Style()
        mark, level = _MARKS.get(line.level, (" ", ""))
        text = Text(line.text, no_wrap=True, end="")
        text.stylize(self._style("log--muted"), 0, len(line.time))
        if line.connection is not None:
            start = line.text.find(line.connection.pointer) - 2
            text.stylize(self._style("log--connection"), start, line.message_at)
        if level:
            start = len(line.time) if level != "log--muted" else 0
            text.stylize(self._style(level), start)
        for start, stop in self._book.filter.pattern.spans(line.text):
            text.stylize(self._style("log--match"), start, stop)
        offset = self.scroll_offset.x
        content = Strip(text.render(self.app.console)).crop_extend(offset, offset + width - MARGIN, None)
        margin = Segment("› " if at_cursor else "  "), Segment(f"{mark} ", self._style(level))
        return Strip([*margin, *content], width).apply_style(self.rich_style + style)

    def _style(self, name: str) -> Style:
        return self.get_component_rich_style(name, partial=True) if name else Style()


def _width(line: LogLine) -> int:
    return width_of(line.text)
