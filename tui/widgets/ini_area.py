"""The text of an ini file, to be edited."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import ClassVar, Final

from rich.text import Text
from textual.binding import Binding, BindingType
from textual.widgets import TextArea

from pooler.config.ini import value_span

_STRAY: Final = re.compile("[\ue000-\uf8ff]")
_UNKNOWN: Final = "\N{REPLACEMENT CHARACTER}"
_NAME: Final = re.compile(r"\s*\[[^\]]*\]?")
_INCLUDE: Final = re.compile(r"\s*%include\b")


class IniArea(TextArea):
    """Colours what `pooler.config.ini` would read, and marks lines that are wrong. No line is wrapped."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "ini--section",
        "ini--key",
        "ini--comment",
        "ini--include",
        "ini--stray",
        "ini--mistake",
    }

    DEFAULT_CSS = """
    IniArea {
        border: none;
        padding: 0;
        height: 1fr;
        &:focus { border: none; }
        & > .ini--section { color: $text-accent; text-style: bold; }
        & > .ini--key { color: $text-primary; }
        & > .ini--comment { color: $text-muted; }
        & > .ini--include { color: $text-accent; text-style: italic; }
        & > .ini--stray { background: $warning-muted; color: $text-warning; }
        & > .ini--mistake { background: $error-muted; text-style: underline; }
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+home", "end_of_file(-1)", "Beginning of the file", show=False),
        Binding("ctrl+end", "end_of_file(1)", "End of the file", show=False),
    ]

    def __init__(self, text: str, *, read_only: bool = False, id: str | None = None) -> None:
        super().__init__(
            text,
            id=id,
            read_only=read_only,
            soft_wrap=False,
            show_line_numbers=True,
            tab_behavior="focus",
            highlight_cursor_line=True,
            max_checkpoints=500,
        )
        self._mistakes: frozenset[int] = frozenset()

    def mark(self, lines: Iterable[int]) -> None:
        """Mark these lines, counted from 1, as wrong, and no others."""
        mistakes = frozenset(line - 1 for line in lines)
        if mistakes != self._mistakes:
            self._mistakes = mistakes
            self._line_cache.clear()
            self.refresh()

    def go_to(self, line: int) -> None:
        """Put the cursor at the beginning of a line, counted from 1, that may have gone meanwhile."""
        row = min(max(0, line - 1), self.document.line_count - 1)
        self.move_cursor((row, 0), center=True)

    def action_end_of_file(self, side: int) -> None:
        """To the very first place, or the very last."""
        self.move_cursor((0, 0) if side < 0 else self.document.end)

    def get_line(self, line_index: int) -> Text:
        line = str(self.document.get_line(line_index))
        text = Text(_STRAY.sub(_UNKNOWN, line), end="", no_wrap=True)
        stripped = line.lstrip()
        if stripped.startswith((";", "#")):
            self._style(text, "comment", 0, len(line))
        else:
            self._style_parts(text, line)
        for match in _STRAY.finditer(line):
            self._style(text, "stray", *match.span())
        if line_index in self._mistakes:
            self._style(text, "mistake", 0, len(line))
        return text

    def _style_parts(self, text: Text, line: str) -> None:
        at = 0
        while (name := _NAME.match(line, at)) is not None:
            self._style(text, "section", at, name.end())
            at = name.end()
        include = _INCLUDE.match(line, at)
        span = value_span(line)
        if include is not None:
            self._style(text, "include", at, len(line))
        elif span is not None:
            self._style(text, "key", at, line.rindex("=", at, span[0]))

    def _style(self, text: Text, name: str, start: int, stop: int) -> None:
        text.stylize(self.get_component_rich_style(f"ini--{name}", partial=True), start, stop)
