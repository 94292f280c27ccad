"""Named prepared statements on a server connection.

Clients' statements live in the pooler and have other names on servers (`pooler.wire.prepared`). Here is what
is prepared on one server, what has to be sent for a client that runs on it, and what is taken back when the
server throws requests away.
"""

from typing import TYPE_CHECKING, Final

from mypy_extensions import i64

from pooler.pool.members import Client, Server
from pooler.wire import messages
from pooler.wire.framing import CLOSE, PARSE
from pooler.wire.prepared import Change, Statement, bind_missing
from pooler.wire.requests import FAKE, REPLACE, SWALLOW

if TYPE_CHECKING:
    from pooler.pool.pool import Pool
    from pooler.relay.context import Context


REFUSED_QUERY: Final = messages.query("refused by transaction_mode_guard of the pooler")
"""A syntax error for PostgreSQL, in whatever state it is."""


class PreparingServer(Server):
    """A server connection, as far as named prepared statements go."""

    __slots__ = (
        "context",
        "prepared",
        "remaining",
        "stale",
    )

    context: "Context"
    remaining: i64
    """Bytes to come of a message of the server's that is half way."""
    stale: bool
    """A statement's result has other types than when it was prepared: none that is here can be relied on."""
    prepared: dict[Statement, None]
    """Statements that are prepared here, or will be when the server gets to it; least recently used first."""

    def __init__(self, context: "Context", pool: "Pool") -> None:
        super().__init__(context.registry.next_id(), pool, context.registry.parameters.empty)
        self.context = context
        self.remaining = 0
        self.stale = False
        self.prepared = {}

    def parse_named(self, text: bytes, name: bytes) -> Statement:
        """The client prepares a statement: here too, unless it is there already."""
        self._drop_stale()
        statement = self.context.statements.share(text)
        if statement in self.prepared:
            self._use(statement)
            self._owe(PARSE, Change(PARSE, statement, name))
            return statement
        self._make_room()
        self.queue.push_change(PARSE, Change(PARSE, statement, name, True))
        self._parse(statement)
        return statement

    def use_statement(self, statement: Statement) -> None:
        """The client is about to bind or describe this statement: prepares it here if it is not."""
        self._drop_stale()
        if statement in self.prepared:
            self._use(statement)
            return
        self._make_room()
        self.queue.push_change(PARSE | SWALLOW, Change(PARSE, statement, None, True))
        self._parse(statement)

    def close_named(self, statement: Statement | None, name: bytes) -> None:
        """The client forgets a statement. It stays prepared here, for others."""
        if statement is None:
            self._owe(CLOSE, None)
        else:
            self._owe(CLOSE, Change(CLOSE, statement, name))

    def refuse_parse(self, name: bytes) -> None:
        """The client has a statement of that name already: an error where PostgreSQL would raise it."""
        text = f'prepared statement "{messages.decode(name)}" already exists'
        self.refuse(PARSE, messages.error("ERROR", "42P05", text))

    def refuse(self, kind: i64, refusal: bytes) -> None:
        """The pooler refuses a Query or a Parse: something that fails is sent in its place."""
        change = Change(int(kind), None, None, refusal=refusal)
        if self.queue.push_change(kind | REPLACE, change):
            self.send(bind_missing() if kind == PARSE else REFUSED_QUERY)

    def _parse(self, statement: Statement) -> None:
        self.prepared[statement] = None
        self.pool.stats.server_parse_count += 1
        self.send(statement.parse())

    def _use(self, statement: Statement) -> None:
        del self.prepared[statement]
        self.prepared[statement] = None

    def _make_room(self) -> None:
        """Closes the statements that were not used for longest, down to `max_prepared_statements`."""
        while len(self.prepared) >= self.context.max_prepared:
            self._close(next(iter(self.prepared)))

    def _drop_stale(self) -> None:
        """Drivers prepare anew after "cached plan must not change result type", and need a new plan."""
        if self.stale:
            self.stale = False
            for statement in list(self.prepared):
                self._close(statement)

    def _close(self, statement: Statement) -> None:
        del self.prepared[statement]
        self.queue.push_change(CLOSE | SWALLOW, Change(CLOSE, statement, None))
        self.send(statement.close())

    def _owe(self, kind: i64, change: Change | None) -> None:
        """An answer of the pooler's own: at once if nothing else is due before it, else in its turn."""
        client = self.link
        if client is None:
            return
        if len(self.queue) == 0 and self.remaining == 0:
            client.send(_fake(kind))
        elif change is None:
            self.queue.push(kind | FAKE)
        else:
            self.queue.push_change(kind | FAKE, change)

    def send_fakes(self, client: Client) -> None:
        while True:
            kind = self.queue.next_fake()
            if kind == 0:
                return
            client.send(_fake(kind))

    def undo_changes(self) -> None:
        """The server threw away requests that were to change what is prepared."""
        client = self.link
        statements = client.prepared_statements() if client is not None else {}
        for change in reversed(self.queue.undone):
            change.undo(statements, self.prepared)
        self.queue.undone.clear()

    def forget_statements(self, tag: bytes) -> None:
        """DISCARD ALL and DEALLOCATE ALL take all prepared statements with them."""
        if tag == b"DISCARD ALL\x00" or tag == b"DEALLOCATE ALL\x00":
            client = self.link
            statements = client.prepared_statements() if client is not None else {}
            statements.clear()
            self.prepared.clear()
            for change in self.queue.changes:
                change.redo(statements, self.prepared)


def _fake(kind: i64) -> bytes:
    return messages.PARSE_COMPLETE_MESSAGE if kind == PARSE else messages.CLOSE_COMPLETE_MESSAGE
