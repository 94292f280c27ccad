"""What a statement begins with, where transaction pooling cares: it would leave something on its server.

SQL is not parsed. `find_head` is for every Query and Parse, and costs a look at a few bytes; `use_of` looks
closer at the few statements that it lets through. What stands behind the first statement of a text is seen by
its command tag only, if it has one of its own.
"""

import re
from typing import Final, NamedTuple

from mypy_extensions import i64

NOTHING: Final = 0
SET: Final = 1
LISTEN: Final = 2
PREPARE: Final = 3
DEALLOCATE: Final = 4
ADVISORY_LOCK: Final = 5
TEMPORARY: Final = 6
HOLD: Final = 7

NAMES: Final = (
    "",
    "SET",
    "LISTEN",
    "PREPARE",
    "DEALLOCATE",
    "advisory lock",
    "temporary table",
    "WITH HOLD cursor",
)
"""How SHOW UNSAFE and the log call them."""

HEAD_LIMIT: Final = 4096
"""Bytes of a text that are looked at."""


class Use(NamedTuple):
    """What a statement uses, and of SET the parameter, in lower case; empty where nothing is left behind."""

    kind: int
    parameter: str = ""


HARMLESS: Final = Use(NOTHING)

_SET: Final = re.compile(
    rb"set\s+(?:session\s+(?!characteristics\b|authorization\b))?"
    rb"(local\b|transaction\b|constraints\b|names\b|time\s+zone\b|session\b|[\w.]+|\"[^\"]*\")",
    re.IGNORECASE,
)
_LOCK: Final = re.compile(rb"\bpg_(?:try_)?advisory_lock(?:_shared)?\s*\(", re.IGNORECASE)
_TEMPORARY: Final = re.compile(
    rb"create\s+(?:(?:global|local)\s+)?temp(?:orary)?\s+(?!view\b)", re.IGNORECASE
)
_HOLD: Final = re.compile(rb"declare\b.*?\bwith\s+hold\b", re.IGNORECASE | re.DOTALL)
_OTHERS: Final = (
    (LISTEN, re.compile(rb"listen\b", re.IGNORECASE)),
    (PREPARE, re.compile(rb"prepare\s+(?!transaction\b)", re.IGNORECASE)),
    (DEALLOCATE, re.compile(rb"deallocate\s+(?!(?:prepare\s+)?all\b)", re.IGNORECASE)),
    (TEMPORARY, _TEMPORARY),
    (HOLD, _HOLD),
    (ADVISORY_LOCK, re.compile(rb"select\b", re.IGNORECASE)),
)
_SPELLED_OTHERWISE: Final = {b"names": "client_encoding", b"time": "timezone"}


def find_head(data: bytes, start: i64, end: i64) -> i64:
    """Where the first statement of a text begins, if it deserves a closer look, else -1."""
    position = start if start < end and data[start] > 0x40 else _first_word(data, start, end)
    if position + 3 > end:
        return -1
    first: i64 = data[position] | 0x20
    second: i64 = data[position + 1] | 0x20
    third: i64 = data[position + 2] | 0x20
    if first == 0x73:  # s
        if second == 0x65:  # e
            if third == 0x74:  # SET
                return position
            if third == 0x6C:  # SELECT
                return position if _calls_pg(data, position, end) else -1
    elif first == 0x64:  # DEALLOCATE, DECLARE
        return position if second == 0x65 and (third == 0x61 or third == 0x63) else -1
    elif first == 0x63:  # CREATE
        return position if second == 0x72 else -1
    elif first == 0x6C:  # LISTEN
        return position if second == 0x69 else -1
    elif first == 0x70:  # PREPARE
        return position if second == 0x72 else -1
    return -1


def _calls_pg(data: bytes, position: i64, end: i64) -> bool:
    """Whether something that begins with `pg_` comes first in a SELECT.

    To search the text for more would cost more than all the rest.
    """
    position += len(b"SELECT")
    if position + 1 < end and data[position + 1] > 0x40 and data[position + 1] | 0x20 != 0x70:
        return False
    position = _first_word(data, position, end)
    return (
        position + 3 <= end
        and data[position] | 0x20 == 0x70
        and data[position + 1] | 0x20 == 0x67
        and data[position + 2] == 0x5F
    )


def _first_word(data: bytes, position: i64, end: i64) -> i64:
    """Behind blanks and comments."""
    while position < end:
        byte: i64 = data[position]
        if byte == 0x20 or byte == 0x0A or byte == 0x0D or byte == 0x09 or byte == 0x3B:
            position += 1
        elif byte == 0x2D and position + 1 < end and data[position + 1] == 0x2D:
            position = data.find(b"\n", position, end) + 1
            if position == 0:
                return end
        elif byte == 0x2F and position + 1 < end and data[position + 1] == 0x2A:
            position = data.find(b"*/", position + 2, end) + 2
            if position == 1:
                return end
        else:
            break
    return position


def use_of(text: bytes) -> Use:
    """What a text that begins with a statement uses."""
    found = _SET.match(text)
    if found is not None:
        return _use_of_set(found[1].lower())
    for kind, pattern in _OTHERS:
        if pattern.match(text):
            if kind == ADVISORY_LOCK and not _LOCK.search(text):
                return HARMLESS
            return Use(kind)
    return HARMLESS


def _use_of_set(word: bytes) -> Use:
    if word == b"constraints":
        return HARMLESS
    if word in (b"local", b"transaction"):
        return Use(SET)
    word = word.split()[0]
    return Use(SET, _SPELLED_OTHERWISE.get(word) or word.strip(b'"').decode("utf-8", "replace"))


def use_of_tag(tag: bytes) -> int:
    """What a command tag stands for, if that leaves something behind."""
    if tag == b"SET\x00":
        return SET
    if tag == b"LISTEN\x00":
        return LISTEN
    if tag == b"PREPARE\x00":
        return PREPARE
    if tag == b"DEALLOCATE\x00":
        return DEALLOCATE
    return NOTHING


def tag_tells(data: bytes, position: i64, length: i64) -> bool:
    """Whether a CommandComplete at `position` may have such a tag; its first letter is there."""
    initial: i64 = data[position + 5]
    return (
        (initial == 0x53 and length == 8)
        or (initial == 0x4C and length == 11)
        or (initial == 0x50 and length == 12)
        or (initial == 0x44 and length == 15)
    )
