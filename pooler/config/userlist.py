"""userlist.txt (`auth_file`): lines of `"user" "secret"`, read as PgBouncer reads them."""

import os
import re
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


def parse_userlist(text: str) -> Userlist:
    """Read the entries; the rest of the line after a secret is ignored, the last entry of a user counts.

    `""` is a quote within quotes. `;` at the start of a line is a comment, `#` is not. As in PgBouncer the
    secret is the next quoted text after the name wherever it stands, even on a later line.
    """
    text = text.partition("\0")[0]
    users: dict[str, str] = {}
    at = 0
    while at < len(text):
        if nothing := _NOTHING.match(text, at):
            at = nothing.end()
            continue
        entry = _ENTRY.match(text, at)
        error = "broken auth file" if entry is None else _too_long(entry)
        if entry is None or error is not None:
            return Userlist(users, error, text.count("\n", 0, at) + 1)
        users[_unquoted(entry[1])] = _unquoted(entry[2])
        at = entry.end()
    return Userlist(users)


def _too_long(entry: re.Match[str]) -> str | None:
    """As PgBouncer measures: before a doubled quote becomes one."""
    if byte_size(entry[1]) > MAX_USERNAME:
        return "username too long in auth file"
    if byte_size(entry[2]) > MAX_PASSWORD:
        return "password too long in auth file"
    return None


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
