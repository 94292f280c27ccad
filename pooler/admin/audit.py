"""Who did what to the pooler: every command that acts, and every signal, in memory and in the log."""

import re
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from time import monotonic_ns
from typing import Final

from pooler.admin.console import Console, Reply, Result, Row, Wait
from pooler.admin.errors import AdminError
from pooler.admin.host import AdminHost
from pooler.admin.parser import Statement, parse
from pooler.config.settings import SETTINGS
from pooler.pool.registry import Log
from pooler.wire.messages import CONFIG_FILE_ERROR, INT8, TEXT

KEPT: Final = 1000
TEXT_LIMIT: Final = 300
"""Characters of a command, and of a result."""

HIDDEN: Final = "***"
SIGNAL_USER: Final = "signal"

COLUMNS: Final = (
    ("time", TEXT),
    ("user", TEXT),
    ("addr", TEXT),
    ("command", TEXT),
    ("result", TEXT),
    ("ms", INT8),
)

_UNPRINTABLE: Final = re.compile(r"[^\w\s!-~]|[^\S ]")


@dataclass(slots=True)
class Entry:
    """One command. `result` is `ok`, the error, or `waiting` while it is not done; `_ns` are nanoseconds."""

    user: str
    addr: str
    command: str
    result: str = "waiting"
    when: datetime = field(default_factory=lambda: datetime.now(UTC))
    began_ns: int = field(default_factory=monotonic_ns)
    ended_ns: int = 0

    def milliseconds(self) -> int:
        """How long it has taken, or takes already."""
        return ((self.ended_ns or monotonic_ns()) - self.began_ns) // 1_000_000


class Audit:
    """The last commands, the oldest first."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self._entries: deque[Entry] = deque(maxlen=KEPT)

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries)

    def begin(self, user: str, addr: str, command: str) -> Entry:
        """A command is about to run."""
        entry = Entry(user, addr, command)
        self._entries.append(entry)
        return entry

    def waits(self, entry: Entry) -> None:
        """It will take its time."""
        self._log.info(f"audit: {entry.command} by {entry.user} from {entry.addr}: waiting")

    def end(self, entry: Entry, result: str) -> None:
        """It is over."""
        entry.ended_ns = monotonic_ns()
        entry.result = _plain(result)
        self._log.info(
            f"audit: {entry.command} by {entry.user} from {entry.addr}: {entry.result}"
            f" ({entry.milliseconds()} ms)"
        )

    def signal(self, name: str, act: Callable[[], str | None]) -> None:
        """A signal came; `act` does what it asks for, and returns why that was not possible."""
        entry = self.begin(SIGNAL_USER, "", name)
        entry.addr = "local"
        self.end(entry, act() or "ok")


def rows(host: AdminHost) -> list[Row]:
    """SHOW AUDIT: the last commands, the newest at the end."""
    return [
        (
            entry.when.astimezone().strftime("%Y-%m-%d %H:%M:%S %Z"),
            entry.user,
            entry.addr,
            entry.command,
            entry.result,
            entry.milliseconds(),
        )
        for entry in host.audit
    ]


def audited(console: Console, statement: Statement, run: Callable[[], Reply]) -> Reply:
    """Runs a command and notes down who gave it and what came of it. Raises what `run` raises."""
    audit = console.host.audit
    client = console.client
    user = client.credentials.name if client.credentials is not None else ""
    entry = audit.begin(_plain(user), client.remote.text(), described(statement))
    return _watched(audit, entry, run)


def masked(text: str) -> str:
    """A query for the log of who wants to see everything, but for values that may be passwords."""
    try:
        statement = parse(text)
    except AdminError:
        return text
    return described(statement) if statement.value is not None else text


def described(statement: Statement) -> str:
    """A command as it may be shown to all: without values of settings that may be passwords."""
    if statement.verb != "set":
        return _plain(statement.text.strip(" \t\r\n;"))
    name, value = statement.argument, statement.value
    setting = SETTINGS.get(name)
    if setting is None or setting.secret:
        value = HIDDEN
    return _plain(f"SET {name} = {value}")


def _watched(audit: Audit, entry: Entry, run: Callable[[], Reply]) -> Reply:
    try:
        reply = run()
    except AdminError as error:
        audit.end(entry, _failure(error))
        raise
    if isinstance(reply, Result) or reply.outcome is None:
        audit.end(entry, "ok")
        return reply
    audit.waits(entry)
    outcome, abandoned = reply.outcome, reply.abandoned

    def finish() -> Result:
        try:
            result = outcome()
        except AdminError as error:
            audit.end(entry, _failure(error))
            raise
        audit.end(entry, "ok")
        return result

    def give_up(reason: str) -> None:
        if abandoned is not None:
            abandoned(reason)
        audit.end(entry, reason)

    return Wait(reply.over, finish, give_up)


def _failure(error: AdminError) -> str:
    """The detail too; but lines of a configuration file are not for everybody who may look here."""
    if error.detail is None or error.sqlstate == CONFIG_FILE_ERROR:
        return error.message
    return f"{error.message}: {error.detail}"


def _plain(text: str) -> str:
    """In one line, and not long."""
    text = _UNPRINTABLE.sub("?", " ".join(text.split()))
    return text if len(text) <= TEXT_LIMIT else f"{text[:TEXT_LIMIT]}..."
