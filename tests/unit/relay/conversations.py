"""Conversations of clients: valid ones, of every form that the protocol has, and what a server answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from hypothesis import strategies as st

from tests.chaos.wire import (
    COPY_DONE,
    FLUSH,
    SYNC,
    bind,
    close_portal,
    close_statement,
    copy_data,
    copy_fail,
    describe_portal,
    describe_statement,
    execute,
    function_call,
    parse,
    query,
)
from tests.support.rawclient import startup_message
from tests.unit.relay.postgres import Postgres

USER = "ann"
DATABASE = "db"
NAMES = ["s1", "s2", "s3", "s4"]
"""Of prepared statements, the same for all clients."""

WITH_PARAMETER = "SELECT $1::text"


_SQL = (
    "SELECT 'TOKEN'",
    "SELECT 'common'",
    "SELECT 'TOKEN' FROM generate_series(1, COUNT)",
    "SELECT 'TOKEN' || repeat('x', SIZE)",
    "SELECT 1/0",
    "SELECT 1/(2-i) FROM generate_series(0, 9) i",
    "SELECT nosuch",
    "SELEC 1",
    "",
    "SHOW application_name",
    "SET application_name = 'TOKENCOUNT'",
    "SET TimeZone = 'TOKEN'",
    "SET TimeZone = 'UTC'",
    "DO $$BEGIN RAISE NOTICE 'TOKEN'; END$$",
    "NOTIFY channel, 'TOKEN'",
    "COPY (SELECT 'TOKEN' FROM generate_series(1, 3)) TO STDOUT",
)
_LATE_SQL = ("NOTIFY late, 'TOKEN'",)


@dataclass(slots=True)
class Step:
    """What a client sends in one go. With `waits` it reads all that this brings before it goes on."""

    data: bytes
    waits: bool


@dataclass(slots=True)
class Conversation:
    """What a client says, from its StartupMessage to what comes before its Terminate."""

    startup: bytes
    steps: list[Step] = field(default_factory=list)

    def answers(self, server: Postgres) -> list[bytes]:
        """What a server without a pooler says to each step."""
        server.feed(self.startup)
        return [server.feed(step.data) for step in self.steps]


@dataclass(frozen=True, slots=True)
class Kind:
    """What may occur in a conversation.

    `named`: prepared statements with names. `late`: notifications behind a ReadyForQuery, which a pooler
    passes on for as long as the server stays with its client.
    """

    named: bool = True
    late: bool = False


class Writer:
    """Makes up one conversation; `token` is in whatever belongs to this client alone."""

    def __init__(self, draw: st.DrawFn, kind: Kind, token: str) -> None:
        self._draw = draw
        self._kind = kind
        self._token = token
        # DISCARD ALL takes a client back to what it said at its start, which a server does not know.
        self._discards = draw(st.booleans())
        parameters = {} if self._discards else {"application_name": token}
        self._server = Postgres()
        self.conversation = Conversation(startup_message(USER, DATABASE, **parameters))
        self._server.feed(self.conversation.startup)

    def write(self) -> Conversation:
        """Some segments, and perhaps the beginning of one more."""
        for form in self._draw(_FORMS):
            form(self)
        operations = self._operations() if self._one_in(6) else []
        if operations:
            self._send(b"".join(operations) + FLUSH)
        return self.conversation

    # Tools -------------------------------------------------------------------------------------------------

    def _send(self, data: bytes, wait: bool | None = None) -> None:
        self.conversation.steps.append(Step(data, self._draw(st.booleans()) if wait is None else wait))
        self._server.feed(data)

    def _in_failed_transaction(self) -> bool:
        return self._server.in_failed_transaction

    def _number(self, low: int, high: int) -> int:
        return self._draw(st.integers(low, high))

    def _one_in(self, count: int) -> bool:
        return self._number(0, count - 1) == count - 1

    def _pick(self, *choices: str) -> str:
        return choices[self._number(0, len(choices) - 1)]

    def _sql(self) -> str:
        sql = self._pick(*_SQL, *_LATE_SQL) if self._kind.late else self._pick(*_SQL)
        sql = sql.replace("TOKEN", self._token)
        if "COUNT" in sql:
            sql = sql.replace("COUNT", str(self._number(0, 5)))
        return sql.replace("SIZE", self._pick("1", "100", "3000", "70000")) if "SIZE" in sql else sql

    # Simple protocol ---------------------------------------------------------------------------------------

    def simple(self) -> None:
        statements = [self._sql() for _ in range(self._number(1, 3))]
        if len(statements) > 1:
            statements = [sql for sql in statements if not sql.startswith("DO ")]
            statements.insert(self._number(0, 2), self._pick("BEGIN", "COMMIT", "SELECT 'common'"))
        self._send(query("; ".join(statements)))

    def transaction_step(self) -> None:
        self._send(query(self._pick("BEGIN", "BEGIN", "COMMIT", "ROLLBACK")))

    def remember(self) -> None:
        """A parameter that the pooler follows: it is the client's on whichever server it gets."""
        self._send(query(f"SET application_name = '{self._token}{self._number(0, 5)}'"))
        self._send(query("SHOW application_name"))

    def forget(self) -> None:
        self._send(query(self._pick("DEALLOCATE ALL", *["DISCARD ALL"] * self._discards)))

    def function_call(self) -> None:
        self._send(function_call(self._number(0, 2), self._token * int(self._pick("1", "1", "1", "30000"))))

    def copy_in(self) -> None:
        self._send(query(self._pick("COPY t FROM STDIN", "COPY t FROM STDIN; SELECT 'common'")))
        self._send(self._copied())

    def _copied(self) -> bytes:
        lines = [self._token, "", "bad", "y" * 500, "z" * 40000]
        data = b"".join(copy_data(self._pick(*lines)) for _ in range(self._number(0, 4)))
        return data + (copy_fail(self._token) if self._one_in(4) else COPY_DONE)

    def failed_copy(self) -> None:
        """PostgreSQL has gone on long before the client stops to send rows."""
        rows = [copy_data(line * self._number(1, 50)) for line in ["bad", "more", "rest"]]
        self._send(query("COPY t FROM STDIN"))
        self._send(rows[0], wait=False)
        self._send(b"".join(rows[1:]) + COPY_DONE)

    # Extended protocol -------------------------------------------------------------------------------------

    def pipeline(self) -> None:
        data = b"".join(self._operations())
        end = self._pick("sync", "sync", "sync", "two", "flush", "query")
        if end == "flush" and data:
            self._send(data + FLUSH)
            data = b"".join(self._operations())
        elif end == "query":
            data += query(self._sql())
        self._send(data + SYNC * (2 if end == "two" else 1))

    def _operations(self) -> list[bytes]:
        forms = [self._unnamed, self._unnamed, self._cursor]
        if self._kind.named:
            forms += [self._use_named, self._use_named, self._close_named]
            # A Parse that the server has seen before is answered without it, which cannot know that it would
            # refuse a Parse, and would describe what is not there.
            if not self._in_failed_transaction():
                forms += [self._name, self._name, self._describe_named]
        operations = [forms[self._number(0, len(forms) - 1)]() for _ in range(self._number(0, 5))]
        if operations and self._one_in(4):
            operations.append(FLUSH)
        return operations

    def _unnamed(self) -> bytes:
        if self._one_in(3):
            return parse("", WITH_PARAMETER, 1) + bind("", "", self._token) + execute()
        data = parse("", self._sql())
        if self._one_in(3):
            data += describe_statement("")
        return data + bind("", "") + describe_portal("") + execute()

    def _cursor(self) -> bytes:
        sql = f"SELECT '{self._token}' FROM generate_series(1, {self._number(0, 5)})"
        data = parse("", sql) + bind("c", "") + execute("c", self._number(1, 3))
        if self._one_in(2):
            data += execute("c", 1)
        return data + (close_portal("c") if self._one_in(2) else b"")

    def _name(self) -> bytes:
        name = self._pick(*NAMES)
        if name == NAMES[0]:
            return parse(name, WITH_PARAMETER, 1)
        return parse(name, self._sql())

    def _use_named(self) -> bytes:
        name = self._pick(*(self._server.names or NAMES), *NAMES[:2])
        values = [self._token] if name == NAMES[0] else []
        if values and self._one_in(3):
            values = [self._token * int(self._pick("20", "2000", "25000"))]
        data = bind("", name, *values)
        return data + (execute() if self._one_in(2) else describe_portal("") + execute("", 2))

    def _describe_named(self) -> bytes:
        return describe_statement(self._pick(*NAMES))

    def many_names(self) -> None:
        """More of them than a server may keep."""
        if not self._kind.named or self._in_failed_transaction():
            return
        names = NAMES[1:]
        self._send(b"".join(parse(name, f"SELECT '{self._token}{name}'") for name in names) + SYNC)
        for _ in range(self._number(1, 3)):
            picked = [self._pick(*names) for _ in range(self._number(1, 4))]
            self._send(b"".join(bind("", name) + execute() for name in picked) + SYNC)
        if self._one_in(2) and not self._in_failed_transaction():
            self._send(parse(self._pick(*names), "SELECT 'taken'") + bind("", names[0]) + execute() + SYNC)

    def close_behind_describe(self) -> None:
        """The pooler answers the Close by itself, perhaps before the other answer is all there."""
        if not self._kind.named or self._in_failed_transaction():
            return
        name = self._pick(*NAMES)
        self._send(self._name() + describe_statement(name) + FLUSH, wait=False)
        self._send(close_statement(name), wait=False)
        self._send(b"".join(self._operations()) + SYNC)

    def failed_names(self) -> None:
        """What is prepared behind an error is not, and the client has not waited to hear it."""
        if not self._kind.named or self._in_failed_transaction():
            return
        name = self._pick(*NAMES[1:])
        self._send(parse("", "SELECT nosuch") + parse(name, self._sql()) + SYNC, wait=False)
        if self._in_failed_transaction():
            return
        data = bind("", name) + execute() if self._one_in(2) else parse(name, self._sql())
        self._send(data + describe_statement(name) + SYNC)

    def _close_named(self) -> bytes:
        return close_statement(self._pick(*NAMES))

    def extended_copy_in(self) -> None:
        """With the Sync behind the data, or in front of it as well, where PostgreSQL ignores it."""
        sync = self._one_in(2)
        data = b"".join(self._operations()) if self._one_in(2) else b""
        data += parse("", "COPY t FROM STDIN") + bind("", "") + execute()
        self._send(data + (SYNC if sync else FLUSH))
        self._send(self._copied() + SYNC)

    def driver_transaction(self) -> None:
        """As drivers do it: what is prepared is run later, in the same transaction if it has no name."""
        self._send(query("BEGIN"))
        if self._kind.named and not self._in_failed_transaction() and self._one_in(2):
            name = self._pick(*NAMES[1:])
            self._send(parse(name, self._sql()) + describe_statement(name) + SYNC)
        else:
            name = ""
            self._send(parse("", self._sql()) + describe_statement("") + SYNC)
        self._send(bind("", name) + execute() + SYNC)
        self._send(bind("d", name) + execute("d", 2) + FLUSH)
        self._send(execute("d", 2) + close_portal("d") + SYNC)
        self._send(query(self._pick("COMMIT", "ROLLBACK")))


_FORMS: st.SearchStrategy[list[Callable[[Writer], None]]] = st.lists(
    st.sampled_from(
        [
            Writer.simple,
            Writer.simple,
            Writer.transaction_step,
            Writer.transaction_step,
            Writer.pipeline,
            Writer.pipeline,
            Writer.pipeline,
            Writer.copy_in,
            Writer.extended_copy_in,
            Writer.failed_copy,
            Writer.failed_names,
            Writer.many_names,
            Writer.close_behind_describe,
            Writer.function_call,
            Writer.driver_transaction,
            Writer.forget,
            Writer.remember,
        ]
    ),
    min_size=1,
    max_size=8,
)


@st.composite
def conversations(draw: st.DrawFn, kind: Kind, token: str) -> Conversation:
    """A conversation of one client."""
    return Writer(draw, kind, token).write()
