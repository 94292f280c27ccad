"""userlist.txt (`auth_file`): lines of `"user" "secret"`, read as PgBouncer reads them, and edited."""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

from pooler.config.kinds import WHITESPACE
from pooler.config.names import MAX_USERNAME, byte_size

MAX_PASSWORD: Final = 65530
"""Bytes of a secret: more does not fit into a password message that PostgreSQL accepts."""

_QUOTED: Final = r'"((?:[^"]|"")*+)"'
_ENTRY: Final = re.compile(rf'{_QUOTED}[^"]*+{_QUOTED}[^\n]*')
_NOTHING: Final = re.compile(rf"[{WHITESPACE}]+|;[^\n]*")


@dataclass(frozen=True, slots=True)
class Userlist:
    """The users of a file and their secrets: plain, md5 or SCRAM, or empty.

    When the file is broken, `error` says how and `error_line` where; the users above that line count.
    """

    users: dict[str, str] = field(repr=False)
    error: str | None = None
    error_line: int | None = None


class BrokenUserlist(ValueError):
    """What stands in `line`, counted from 1, is no entry; nothing from there on is read."""

    def __init__(self, reason: str, line: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = line


def parse_userlist(text: str) -> Userlist:
    """Read the entries; the rest of the line after a secret is ignored, the last entry of a user counts.

    `""` is a quote within quotes. `;` at the start of a line is a comment, `#` is not. As in PgBouncer the
    secret is the next quoted text after the name wherever it stands, even on a later line.
    """
    users: dict[str, str] = {}
    try:
        for entry in _entries(text.partition("\0")[0]):
            users[_unquoted(entry[1])] = _unquoted(entry[2])
    except BrokenUserlist as broken:
        return Userlist(users, broken.reason, broken.line)
    return Userlist(users)


def with_user(text: str, user: str, secret: str) -> str:
    """`text` with `secret` for `user`: in every entry of the user, or else in a new one at the end.

    Nothing else changes. Raises BrokenUserlist, as nobody would read an entry behind a mistake, and
    ValueError as `userlist_line` does.
    """
    line = userlist_line(user, secret)
    entries = _entries_of(text, user)
    if entries:
        return _replaced(text, [entry.span(2) for entry in entries], _quoted(secret))
    line_end = "\r\n" if re.match(r"[^\n]*\r\n", text) else "\n"
    due = line_end if text and not text.endswith("\n") else ""
    return f"{text}{due}{line}{line_end}"


def without_user(text: str, user: str) -> str:
    """`text` without the entries of `user` and the lines that they stand in. Raises BrokenUserlist."""
    return _replaced(text, [_lines_of(text, entry) for entry in _entries_of(text, user)], "")


def userlist_line(user: str, secret: str) -> str:
    """An entry, without a line end. Raises ValueError for a name or a secret that no reader would take."""
    if not user:
        raise ValueError("the user name is empty")
    if "\0" in user + secret:
        raise ValueError("a zero byte cannot stand in an auth file")
    if error := _too_long(_quoted(user), _quoted(secret)):
        raise ValueError(error)
    return f'"{_quoted(user)}" "{_quoted(secret)}"'


def _entries(text: str) -> Iterator[re.Match[str]]:
    """The entries in their order; groups 1 and 2 are name and secret as they are quoted."""
    at = 0
    while at < len(text):
        if nothing := _NOTHING.match(text, at):
            at = nothing.end()
            continue
        entry = _ENTRY.match(text, at)
        if entry is None:
            raise BrokenUserlist("broken auth file", _line_number(text, at))
        if error := _too_long(entry[1], entry[2]):
            raise BrokenUserlist(error, _line_number(text, at))
        yield entry
        at = entry.end()


def _entries_of(text: str, user: str) -> list[re.Match[str]]:
    if "\0" in text:
        raise BrokenUserlist("nothing behind a zero byte is read", _line_number(text, text.index("\0")))
    return [entry for entry in _entries(text) if _unquoted(entry[1]) == user]


def _lines_of(text: str, entry: re.Match[str]) -> tuple[int, int]:
    """From the start of its first line to the start of the line behind it: no line has a second entry."""
    start, end = entry.span()
    return text.rfind("\n", 0, start) + 1, min(end + 1, len(text))


def _replaced(text: str, spans: list[tuple[int, int]], new: str) -> str:
    parts: list[str] = []
    at = 0
    for start, end in spans:
        parts += text[at:start], new
        at = end
    return "".join(parts) + text[at:]


def _line_number(text: str, at: int) -> int:
    return text.count("\n", 0, at) + 1


def _too_long(user: str, secret: str) -> str | None:
    """As PgBouncer measures: before a doubled quote becomes one."""
    if byte_size(user) > MAX_USERNAME:
        return "username too long in auth file"
    if byte_size(secret) > MAX_PASSWORD:
        return "password too long in auth file"
    return None


def _quoted(text: str) -> str:
    return text.replace('"', '""')


def _unquoted(text: str) -> str:
    return text.replace('""', '"')


def load_userlist(path: str) -> Userlist:
    """Read a userlist; bytes that are not UTF-8 become surrogates (PEP 383). Raises OSError."""
    with open(path, "rb") as file:
        return parse_userlist(file.read().decode("utf-8", "surrogateescape"))


class UserlistFile:
    """A userlist that is read again only when its file was replaced or changed."""

    __slots__ = ("_seen", "path")

    def __init__(self, path: str) -> None:
        self.path = path
        self._seen: tuple[int, ...] | None = None

    def load_if_changed(self) -> Userlist | None:
        """The userlist, or None if the file is still the one that was read last.

        Raises OSError as long as it cannot be read; once it can be, it counts as changed.
        """
        last, self._seen = self._seen, None
        # Looked at before it is read: the next call then sees a change that comes in between.
        now = _identity(self.path)
        userlist = None if now == last else load_userlist(self.path)
        self._seen = now
        return userlist


def _identity(path: str) -> tuple[int, ...]:
    """What stat() says about a file that differs once it is written, replaced or given to somebody else."""
    stat = os.stat(path)
    return (
        stat.st_dev,
        stat.st_ino,
        stat.st_mode,
        stat.st_uid,
        stat.st_gid,
        stat.st_mtime_ns,
        stat.st_size,
    )
