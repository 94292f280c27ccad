"""Names and values in the language of the admin database, which is not SQL: see PgBouncer's usage.md.

A word of ASCII letters, digits and `_` stands for itself, in either case; all else goes in double quotes. A
name has 63 bytes at most, quotes included, because that is what PgBouncer's buffer holds.
"""

from __future__ import annotations

import re
from typing import Final

NAME_BYTES: Final = 63
VALUE_BYTES: Final = 255

_WORD: Final = re.compile(r"[0-9A-Za-z_]+")


def identifier(name: str) -> str:
    """A name as the argument of a command. Raises ValueError for none at all, and one that does not fit."""
    if not name:
        raise ValueError("a name is needed here")
    if "\0" in name:
        raise ValueError("a name has no zero byte")
    text = name if _WORD.fullmatch(name) else '"' + name.replace('"', '""') + '"'
    if len(text.encode()) > NAME_BYTES:
        raise ValueError(f"{name}: too long for the admin database, which takes {NAME_BYTES} bytes")
    return text


def unquoted(text: str) -> str:
    """The name that `identifier` made this of."""
    return text[1:-1].replace('""', '"') if text.startswith('"') else text


def string(value: str) -> str:
    """The value of SET. Raises ValueError for one that does not fit."""
    if "\0" in value:
        raise ValueError("a value has no zero byte")
    text = literal(value)
    if len(text.encode()) > VALUE_BYTES:
        raise ValueError(f"a value has at most {VALUE_BYTES} bytes, quotes included")
    return text


def literal(text: str) -> str:
    """A text in a WHERE."""
    return "'" + text.replace("'", "''") + "'"


def setting(name: str) -> str:
    """The name of a setting. Raises ValueError for what cannot be one."""
    if not _WORD.fullmatch(name):
        raise ValueError(f"not a setting: {name}" if name else "a setting is needed here")
    return identifier(name)
