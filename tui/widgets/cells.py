"""Text from elsewhere, fit for one cell: nothing in it steers the terminal, and it is as wide as it says."""

from __future__ import annotations

import unicodedata
from functools import lru_cache

from rich.cells import cell_len

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


@lru_cache(maxsize=16384)
def fit(text: str, width: int, right: bool = False) -> str:
    """`text`, which is safe, cut or padded to exactly `width` cells."""
    length = cell_len(text)
    if length > width:
        text = _cut(text, width - 1) + ELLIPSIS if width else ""
        length = cell_len(text)
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
