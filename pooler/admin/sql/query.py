"""SELECT, SHOW with a condition, and KILL_CLIENTS, as the event loop sees them.

Understanding and running takes milliseconds to a second, so both happen in the host's worker thread; only the
rows are noted on the loop in between, all at one instant. Nothing here imports sqlglot or sqlite3.
"""

from __future__ import annotations

import os
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Final

from pooler.admin.console import Column, Console, Reply, Result, Wait, require_admin
from pooler.admin.errors import AdminError
from pooler.admin.sql.errors import INSUFFICIENT_PRIVILEGE
from pooler.admin.tables import HELP, SHOW_TABLES
from pooler.relay.client import ClientConnection

if TYPE_CHECKING:
    from pooler.admin.sql.engine import Answer, Snapshot
    from pooler.admin.sql.translate import Translation

AT_ONCE: Final = 100
"""Clients that are closed before the event loop gets its turn."""

_LIBRARY: Final = ("_strptime", "csv", "decimal", "difflib", "importlib.metadata", "numbers", "sqlite3")
"""What of Python's library sqlglot and the engine load late."""

_BLANK: Final = r"(?:\s|--[^\n]*(?:\n|$)|/\*(?:[^*]|\*(?!/))*\*/)"
_SELECT: Final = re.compile(rf"(?:{_BLANK}|\()*+(?:select|with|values)(?![a-z0-9_])", re.IGNORECASE)
_SHOW: Final = re.compile(
    rf"{_BLANK}*+show{_BLANK}++([a-z_]+){_BLANK}++(?=(?:where|order|limit|offset|fetch)(?![a-z0-9_]))",
    re.IGNORECASE,
)
_KILL: Final = re.compile(rf"{_BLANK}*+kill_clients{_BLANK}++(?=where(?![a-z0-9_]))", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Described:
    """What Describe tells of a query: its columns, None if it has no rows; the type oids of $1 and so on."""

    columns: Sequence[Column] | None
    parameters: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Study:
    """A query that is being understood: once `over` is true, `outcome` describes it, or raises AdminError."""

    over: Callable[[], bool]
    outcome: Callable[[], Described]


class Query:
    """A SELECT, from whatever it was written as. `acts`: it is for the audit, and changes something."""

    acts = False
    verb = "select"

    def __init__(self, text: str, tag: str) -> None:
        """`tag` of the answer; a number follows that of SELECT."""
        self.text = text
        self.tag = tag
        self.columns: Sequence[Column] | None = None
        """Once they are told to a client, they do not change."""

    def study(self, console: Console) -> Study:
        """Has it understood, for Parse and Describe."""
        job = _Job(console, self)
        job.understand(job.finish)
        return Study(job.is_over, job.described)

    def run(self, console: Console, values: Sequence[object]) -> Reply:
        """Has it run, with a value for each parameter."""
        job = _Job(console, self, values)
        job.understand(job.take_snapshot)
        return Wait(job.is_over, job.result)


class KillClients(Query):
    """KILL_CLIENTS WHERE: closes the connections of the clients that a condition selects."""

    acts = True
    verb = "kill_clients"

    def __init__(self, condition: str) -> None:
        super().__init__(f"SELECT id FROM pgbouncer.clients {condition}", "KILL_CLIENTS")

    def study(self, console: Console) -> Study:
        """It has no rows."""
        job = _Job(console, self)
        job.understand(job.finish)
        return Study(job.is_over, lambda: Described(None, job.described().parameters))

    def run(self, console: Console, values: Sequence[object]) -> Reply:
        """Finds them in the snapshot, and closes those that are still there."""
        require_admin(console)
        console.host.registry.log.info(f"{self.text.replace(_KILLED, 'KILL_CLIENTS ', 1)} command issued")
        job = _KillJob(console, self, values)
        job.understand(job.take_snapshot)
        return Wait(job.is_over, job.result)


_KILLED: Final = "SELECT id FROM pgbouncer.clients "


def query(text: str) -> Query | None:
    """What the text asks for, if it looks like one of these."""
    if _SELECT.match(text):
        return Query(text, "SELECT")
    if found := _KILL.match(text):
        return KillClients(text[found.end() :])
    found = _SHOW.match(text)
    name = found[1].lower() if found else HELP.name
    if found is None or name == HELP.name or name not in SHOW_TABLES:
        return None
    return Query(f"SELECT * FROM pgbouncer.{name} {text[found.end() :]}", "SHOW")


def load(can_read: Callable[[str], bool]) -> None:
    """Loads what a first query would, for a process that cannot read all of the files any more then."""
    if not can_read(os.__file__):
        for name in _LIBRARY:
            import_module(name)
    found = find_spec("sqlglot")
    if found is not None and found.origin is not None and not can_read(found.origin):
        from pooler.admin.sql.engine import Snapshot, run
        from pooler.admin.sql.translate import translate

        sample = translate("SELECT count(*)::numeric(5, 2), $1 FROM (VALUES (1)) v LIMIT 1")
        run(sample, ("",), Snapshot({}, 0.0, ""), False)


class _Job:
    """One run of a query: steps on the loop and in the worker thread take turns."""

    def __init__(self, console: Console, asked: Query, values: Sequence[object] = ()) -> None:
        self._console = console
        self._asked = asked
        self._values = values
        self._over = False
        self._problem: AdminError | None = None
        self._translation: Translation | None = None
        self._columns: Sequence[Column] = ()
        self._snapshot: Snapshot | None = None
        self._answer: Answer | None = None

    # On the loop

    def is_over(self) -> bool:
        return self._over

    def understand(self, then: Callable[[], None]) -> None:
        """Has the text translated, and goes on with `then`."""
        self._in_thread(self._understand if then == self.take_snapshot else self._describe, then)

    def take_snapshot(self) -> None:
        """Notes the rows of all tables that the query names."""
        if self._problem is None and not self._console.client.closed:
            try:
                self._note()
            except AdminError as error:
                self._problem = error
        if self._snapshot is None:
            self.finish()
        else:
            self._in_thread(self._run, self.finish)

    def finish(self) -> None:
        self._over = True
        self._console.host.registry.check_waits()

    def described(self) -> Described:
        """Raises AdminError."""
        if self._problem is not None:
            raise self._problem
        assert self._translation is not None
        self._asked.columns = self._columns
        return Described(self._columns, self._translation.parameters)

    def result(self) -> Result:
        """Raises AdminError."""
        answer = self._found()
        tag = self._asked.tag
        return Result(f"{tag} {len(answer.rows)}" if tag == "SELECT" else tag, answer.columns, answer.rows)

    def _found(self) -> Answer:
        if self._problem is not None:
            raise self._problem
        assert self._answer is not None
        return self._answer

    def _note(self) -> None:
        from pooler.admin.sql.engine import Snapshot

        assert self._translation is not None
        tables = [SHOW_TABLES[name] for name in self._translation.tables]
        if any(table.admin_only for table in tables) and not self._console.is_admin:
            raise AdminError("admin access needed", INSUFFICIENT_PRIVILEGE)
        credentials = self._console.client.credentials
        self._snapshot = Snapshot(
            {table.name: table.rows(self._console.host) for table in tables},
            time.time(),
            "" if credentials is None else credentials.name,
        )

    def _in_thread(self, work: Callable[[], None], then: Callable[[], None]) -> None:
        def guarded() -> None:
            try:
                work()
            except AdminError as error:
                self._problem = error
            except Exception as error:
                self._problem = AdminError(f"internal error: {type(error).__name__}: {error}", "XX000")

        self._console.host.in_thread(guarded, then)

    # In the thread

    def _understand(self) -> None:
        from pooler.admin.sql.translate import translate

        self._translation = translate(self._asked.text)

    def _describe(self) -> None:
        from pooler.admin.sql.engine import describe

        self._understand()
        assert self._translation is not None
        self._columns = describe(self._translation)

    def _run(self) -> None:
        from pooler.admin.sql.engine import run

        assert self._translation is not None
        assert self._snapshot is not None
        fixed = self._asked.columns is not None
        self._answer = run(self._translation, self._values, self._snapshot, fixed)


class _KillJob(_Job):
    """Closes clients when the query has found them."""

    def __init__(self, console: Console, asked: Query, values: Sequence[object] = ()) -> None:
        super().__init__(console, asked, values)
        self._victims: list[ClientConnection] = []
        self._killed = 0

    def finish(self) -> None:
        """All clients that were selected and have not left, a few at a time."""
        if self._problem is None and self._answer is not None:
            chosen = {row[0] for row in self._answer.rows}
            registry = self._console.host.registry
            self._victims = [
                client
                for client in registry.clients()
                if isinstance(client, ClientConnection)
                and client.id in chosen
                and client is not self._console.client
                and client.place is not registry.login_clients
            ]
        self._kill_some()

    def _kill_some(self) -> None:
        some, self._victims = self._victims[:AT_ONCE], self._victims[AT_ONCE:]
        for client in some:
            if not client.closed:
                client.disconnect("admin forced disconnect")
                self._killed += 1
        if self._victims:
            self._in_thread(_nothing, self._kill_some)
        else:
            super().finish()

    def result(self) -> Result:
        self._found()
        return Result(f"{self._asked.tag} {self._killed}")


def _nothing() -> None:
    """The loop gets its turn."""
