"""One line of a pooler's log, taken apart.

    2026-11-20 18:11:07.160 UTC [22234] LOG C-0x17: shop/web@10.0.0.7:5432 login attempt: ...

The part in front of the message names a connection: `C` a client, `S` a server, by its `ptr` in SHOW CLIENTS
and SHOW SERVERS. PgBouncer and our pooler write the same; old releases write the process id without brackets.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from tui.files.printable import printable

LEVELS: Final = ("NOISE", "DEBUG", "LOG", "WARNING", "ERROR", "FATAL")
"""From what nobody needs to what ends the pooler."""

RANKS: Final[Mapping[str, int]] = {level: rank for rank, level in enumerate(LEVELS)}

CLIENT: Final = "client"
SERVER: Final = "server"

_HEAD: Final = re.compile(
    rf"(?P<time>\d{{4}}-\d\d-\d\d \d\d:\d\d:\d\d(?:[.,]\d+)?(?: [A-Za-z0-9+:-]+)?)"
    rf" (?:\[(?P<pid>\d+)\]|(?P<bare_pid>\d+)) (?P<level>{'|'.join(LEVELS)}) ?"
)
_CONNECTION: Final = re.compile(
    r"(?P<side>[CS])-(?P<pointer>0x[0-9a-fA-F]+): "
    r"(?:peer-(?P<peer>\d+)|(?P<database>[^/]*)/(?P<user>.*?))"
    r"@(?P<address>unix(?:\(\d+\))?:\d+|\[[^\]]*\]:\d+|[^\s:@\[]+:\d+) "
)
_NOBODY: Final = {"(nodb)": "", "(nouser)": ""}


@dataclass(frozen=True, slots=True)
class Connection:
    """Of which connection a line speaks."""

    kind: str
    """`client` or `server`."""
    pointer: str
    """As in the column `ptr`."""
    database: str
    user: str
    address: str
    """`1.2.3.4:5`, `[::1]:5`, `unix:5` or `unix(77):5`, where 77 is the process at the other end."""


@dataclass(frozen=True, slots=True)
class LogLine:
    """A line that can be shown as it is. What could not be taken apart is all message."""

    number: int
    """Counted by whoever collects lines."""
    text: str
    """All of it, with nothing in it that is not printed."""
    time: str
    pid: int | None
    level: str
    """Of a line that goes on with the message of the one before it, that one's; or empty."""
    message_at: int
    """Where in `text` the message begins, behind the connection."""
    connection: Connection | None

    @property
    def message(self) -> str:
        return self.text[self.message_at :]


def parse_line(data: bytes, number: int, previous: str = "") -> LogLine:
    """Take a line of a log file apart; `previous` is the level of the line before it."""
    text = printable(data.decode("utf-8", "backslashreplace"))
    head = _HEAD.match(text)
    if head is None:
        return LogLine(number, text, "", None, previous, 0, None)
    connection, message_at = _connection(text, head.end())
    pid = int(head["pid"] or head["bare_pid"])
    return LogLine(number, text, head["time"], pid, head["level"], message_at, connection)


def parse_lines(lines: Iterable[bytes], number: int, previous: str = "") -> list[LogLine]:
    """The same for several, the first of which has this number."""
    found: list[LogLine] = []
    for place, data in enumerate(lines, start=number):
        found.append(parse_line(data, place, found[-1].level if found else previous))
    return found


def line_of_row(time: str, level: str, message: str, number: int) -> LogLine:
    """The line of a row of SHOW LOG."""
    head = f"{printable(time)} {printable(level)} "
    text = head + printable(message)
    connection, message_at = _connection(text, len(head))
    return LogLine(number, text, time, None, level, message_at, connection)


def _connection(text: str, start: int) -> tuple[Connection | None, int]:
    """The connection that is named at `start`, and where the message behind it begins."""
    found = _CONNECTION.match(text, start)
    if found is None:
        return None, start
    database, user = (
        (f"peer-{found['peer']}", "")
        if found["peer"]
        else (_NOBODY.get(found[name], found[name]) for name in ("database", "user"))
    )
    kind = CLIENT if found["side"] == "C" else SERVER
    return Connection(kind, found["pointer"], database, user, found["address"]), found.end()
