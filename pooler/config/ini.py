"""The language of pgbouncer.ini: sections, `key = value` lines, comments and `%include`.

It is that of PgBouncer's parser. White space at the start of a line means nothing, so there are no
continuation lines; `;` and `#` start a comment only as the first character; quotes in a value are part of it.
What follows a `[section]` on its line is read as a line of its own. `snapshot` knows what they mean.

Two things that PgBouncer reads are refused, because no file can mean them: an empty key, and a quoted key
that goes on in the next line.
"""

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Final

from pooler.config.errors import ConfigError, ConfigErrors, Origin
from pooler.config.kinds import WHITESPACE

MAX_INCLUDE_DEPTH: Final = 10
"""Levels of `%include` below the first file."""

_INCLUDE: Final = re.compile(r"%include[ \t]+(.*)", re.DOTALL)
_PAIR: Final = re.compile(r"(?:'([^']+)'|([A-Za-z0-9_.*-]+))[ \t]*=[ \t]*(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class SectionStart:
    """`[name]`: the following pairs belong to this section, also those of included files."""

    name: str
    origin: Origin


@dataclass(frozen=True, slots=True)
class KeyValue:
    """`key = value`, the value without the white space around it."""

    key: str
    value: str = field(repr=False)
    origin: Origin


Item = SectionStart | KeyValue | ConfigError

Reader = Callable[[str], bytes]
"""Gives the content of a file; raises OSError or ValueError."""


def read_bytes(path: str) -> bytes:
    """The content of a file of the disk."""
    with open(path, "rb") as file:
        return file.read()


def parse_ini(path: str, read: Reader = read_bytes) -> list[Item]:
    """Read a file and all that it includes; a mistake is an item at its place, and reading goes on below it.

    Names of included files are relative to the directory that the process runs in. Bytes that are not UTF-8
    become surrogates (PEP 383). Raises ConfigErrors if the file itself cannot be read.
    """
    try:
        text = _read(path, read)
    except ValueError as error:
        raise ConfigErrors((ConfigError(path, None, str(error)),)) from None
    return list(_items(path, text, (os.path.realpath(path),), read))


def text_of(data: bytes) -> str:
    """What is read of a file: all up to the first NUL, as C sees it."""
    return data.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def value_span(line: str) -> tuple[int, int] | None:
    """Where the value of the pair in a line begins and ends; None if there is no pair."""
    stripped = line.strip(WHITESPACE)
    rest = stripped
    while rest.startswith("["):
        _, bracket, rest = rest[1:].partition("]")
        if not bracket:
            return None
        rest = rest.lstrip(WHITESPACE)
    pair = None if not rest or rest[0] in ";#" or _INCLUDE.fullmatch(rest) else _PAIR.fullmatch(rest)
    if pair is None:
        return None
    end = len(line.rstrip(WHITESPACE))
    return end - len(rest) + pair.start(3), end


def _read(path: str, read: Reader) -> str:
    """The text of a file; ValueError says why there is none."""
    try:
        data = read(path)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a file name"
        raise ValueError(f'could not load file "{path}": {reason}') from None
    return text_of(data)


def _items(path: str, text: str, reading: tuple[str, ...], read: Reader) -> Iterator[Item]:
    """The items of one file; `reading` are the real paths of it and of the files that include it."""
    for number, line in enumerate(text.split("\n"), start=1):
        yield from _line(Origin(path, number), line.strip(WHITESPACE), reading, read)


def _line(origin: Origin, rest: str, reading: tuple[str, ...], read: Reader) -> Iterator[Item]:
    while rest.startswith("["):
        name, bracket, rest = rest[1:].partition("]")
        if not bracket:
            yield ConfigError(origin.file, origin.line, "syntax error: the name of a section ends with ]")
        # Also without its bracket: the pairs below are then judged as what they were meant to be.
        yield SectionStart(name, origin)
        rest = rest.lstrip(WHITESPACE)
    if not rest or rest[0] in ";#":
        return
    if include := _INCLUDE.fullmatch(rest):
        yield from _include(origin, include[1], reading, read)
    elif pair := _PAIR.fullmatch(rest):
        yield KeyValue(pair[1] or pair[2], pair[3], origin)
    else:
        message = "syntax error: expected [section], key = value or %include FILE"
        yield ConfigError(origin.file, origin.line, message)


def _include(origin: Origin, path: str, reading: tuple[str, ...], read: Reader) -> Iterator[Item]:
    try:
        real = os.path.realpath(path)
        if real in reading:
            raise ValueError(f'file "{path}" includes itself')
        if len(reading) > MAX_INCLUDE_DEPTH:
            raise ValueError("include nesting level too deep")
        text = _read(path, read)
    except ValueError as error:
        yield ConfigError(origin.file, origin.line, str(error))
        return
    yield from _items(path, text, (*reading, real), read)
