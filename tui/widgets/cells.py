"""Text from elsewhere, fit for one cell: nothing in it steers the terminal, and it is as wide as it says."""

from __future__ import annotations

import unicodedata

from rich.cells import cell_len

from tui.widgets.columns import SYMBOLS, Column, Level, plain

ELLIPSIS = "…"
_UNKNOWN = "\N{REPLACEMENT CHARACTER}"
_CONTROL_PICTURES = 0x2400
_DELETE = 0x7F


def safe(text: str) -> str:
    """`text` with every character that is not printed replaced by one that is.

    Joiners and direction marks count as such: terminals do not agree on how wide a joined character is, and
    what is turned around leaves its column. A mark that combines with nothing gets a circle to stand on.
    """
    if text.isascii() and text.isprintable():
        return text
    replaced = "".join(map(_visible, text))
    if replaced and cell_len(replaced[0]) == 0:
        return "\N{DOTTED CIRCLE}" + replaced
    return replaced


def _visible(character: str) -> str:
    code = ord(character)
    if code < ord(" "):
        return chr(_CONTROL_PICTURES + code)
    if code == _DELETE:
        return "\N{SYMBOL FOR DELETE}"
    if unicodedata.category(character) == "Zs":
        return " "
    if 0xFE00 <= code <= 0xFE0F or 0xE0100 <= code <= 0xE01EF:
        # Variation selectors ask for another picture of the character before, of another width.
        return ""
    return character if character.isprintable() else _UNKNOWN


def width_of(text: str) -> int:
    """How many cells `text`, which is safe, takes."""
    return len(text) if text.isascii() else cell_len(text)


def fit(text: str, width: int, right: bool = False) -> str:
    """`text`, which is safe, cut or padded to exactly `width` cells."""
    length = width_of(text)
    if length > width:
        text = _cut(text, width - 1) + ELLIPSIS if width else ""
        length = width_of(text)
    padding = " " * (width - length)
    return padding + text if right else text + padding


def _cut(text: str, width: int) -> str:
    """The beginning of `text` in at most `width` cells, with the marks on its last character."""
    used = 0
    for place, character in enumerate(text):
        used += cell_len(character)
        if used > width:
            return text[:place]
    return text


def cell(column: Column, value: object) -> tuple[str, Level]:
    """What is written for `value`, symbol included, and how it is set off."""
    try:
        level = Level.PLAIN if column.level is None else column.level(value)
        text = column.format(value)
    except (TypeError, ValueError, ArithmeticError):
        # Another pooler's value, which the format was not made for, is shown as it came.
        level, text = Level.PLAIN, plain(value)
    return safe(SYMBOLS.get(level, "") + text), level
