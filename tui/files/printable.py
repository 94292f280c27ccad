"""Text from a log, fit to be shown, searched and marked."""

from __future__ import annotations

from typing import Final

_CONTROL_PICTURES: Final = 0x2400
_DELETE: Final = 0x7F
_UNKNOWN: Final = "\N{REPLACEMENT CHARACTER}"


def printable(text: str) -> str:
    """`text` with a character that is printed in place of each one that is not, or that steers a terminal."""
    if text.isprintable() and (text.isascii() or not any(map(_selects, text))):
        return text
    return "".join(map(_visible, text))


def _visible(character: str) -> str:
    code = ord(character)
    if code < ord(" "):
        return " " if character == "\t" else chr(_CONTROL_PICTURES + code)
    if code == _DELETE:
        return "\N{SYMBOL FOR DELETE}"
    if character.isprintable() and not _selects(character):
        return character
    return " " if character.isspace() else _UNKNOWN


def _selects(character: str) -> bool:
    """A variation selector, which asks for another picture of the character before, of another width."""
    return "\ufe00" <= character <= "\ufe0f" or "\U000e0100" <= character <= "\U000e01ef"
