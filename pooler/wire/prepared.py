"""Named prepared statements that many clients share over many servers (`max_prepared_statements`).

A client's statement lives in the pooler: the client's name leads to a `Statement`, shared by all clients
that sent the same Parse. On a server a statement has a name of ours, and is prepared there when a client that
runs on it first needs it.
"""

from typing import Final
from weakref import WeakValueDictionary

from mypy_extensions import i64, mypyc_attr

from pooler.wire.framing import BIND, CLOSE, DESCRIBE, HEADER, PARSE

NAME_PREFIX: Final = b"PGBOUNCER_"
"""How statements are called on servers; PgBouncer's, for those who look into pg_prepared_statements."""

MISSING: Final = b"pooldeck: a name that no statement has"
"""Bound in place of a Parse that PostgreSQL would refuse: its error takes the place of that of the Parse."""


LETTER_S: Final = 0x53

FORGETTING_LIMIT: Final = 40
"""The length field of a Query that `forgets_all` need not look at."""

_FORGETTING: Final = (b"DISCARD ALL", b"DEALLOCATE ALL", b"DEALLOCATE PREPARE ALL")
_AROUND_SQL: Final = b" \t\r\n;\x00"


@mypyc_attr(native_class=False)  # a native class cannot be referred to weakly
class Statement:
    """The text of a Parse behind its name (query and parameter types), and what it is called on servers."""

    __slots__ = ("__weakref__", "name", "text")

    def __init__(self, text: bytes, name: bytes) -> None:
        self.text = text
        self.name = name

    def parse(self) -> bytes:
        """The Parse that prepares it on a server."""
        body = self.name + b"\x00" + self.text
        return b"P" + (len(body) + 4).to_bytes(4, "big") + body

    def describe(self) -> bytes:
        """The Describe that asks a server about it."""
        return _about(b"D", self.name)

    def close(self) -> bytes:
        """The Close that makes a server forget it."""
        return _about(b"C", self.name)


class StatementCatalog:
    """All statements that a client or a server of this pooler holds, one for each text."""

    def __init__(self) -> None:
        self._by_text: WeakValueDictionary[bytes, Statement] = WeakValueDictionary()
        self._count = 0

    def __len__(self) -> int:
        return len(self._by_text)

    def share(self, text: bytes) -> Statement:
        """The statement of this text."""
        found = self._by_text.get(text)
        if found is None:
            self._count += 1
            found = self._by_text[text] = Statement(text, NAME_PREFIX + str(self._count).encode())
        return found


class Change:
    """What a request did to the statements of a client and a server, to be undone if it is never run."""

    __slots__ = ("kind", "name", "on_server", "refusal", "statement")

    def __init__(
        self,
        kind: int,
        statement: Statement | None,
        name: bytes | None,
        on_server: bool = False,
        refusal: bytes = b"",
    ) -> None:
        self.kind = kind
        self.statement = statement
        self.name = name
        self.on_server = on_server
        self.refusal = refusal
        """The error for the client, where the request was sent in order to fail."""

    def redo(self, client: dict[bytes, Statement], server: dict[Statement, None]) -> None:
        """Makes it hold again after everything was forgotten, because it comes later than that."""
        if self.kind != PARSE or self.statement is None:
            return
        if self.name is not None:
            client[self.name] = self.statement
        if self.on_server:
            server[self.statement] = None

    def undo(self, client: dict[bytes, Statement], server: dict[Statement, None]) -> None:
        """Takes back a Parse, or a Close."""
        if self.statement is None:
            return
        if self.kind == PARSE:
            if self.name is not None:
                client.pop(self.name, None)
            if self.on_server:
                server.pop(self.statement, None)
        elif self.name is not None:
            client[self.name] = self.statement
        else:
            server[self.statement] = None


def statement_name(data: bytes, position: i64, end: i64) -> bytes | None:
    """The name of the statement that a Parse, Bind, Describe or Close is about.

    The message stands in `data` from its type byte to `end`, where it may be cut. Empty if the statement has
    no name or the message is about a portal; None if the name is not there yet.
    """
    kind: i64 = data[position]
    position += HEADER
    if position >= end:
        return None
    if kind == BIND:
        position = data.find(b"\x00", position, end) + 1
        if position == 0 or position == end:
            return None
    elif kind == DESCRIBE or kind == CLOSE:
        if data[position] != LETTER_S:
            return b""
        position += 1
    elif data[position] == 0:
        return b""
    name_end: i64 = data.find(b"\x00", position, end)
    return None if name_end < 0 else data[position:name_end]


def is_stale_plan(error: bytes) -> bool:
    """Whether PostgreSQL refuses to run a prepared statement since its result has other types by now.

    The name of the function that says so is in every language the same.
    """
    return b"\x00C0A000\x00" in error and b"\x00RRevalidateCachedQuery\x00" in error


def forgets_all(query: bytes) -> bool:
    """Whether the body of a simple Query does nothing but take away all prepared statements."""
    return query.strip(_AROUND_SQL).upper() in _FORGETTING


def renamed_bind(message: bytes, length: int, name: bytes) -> bytes:
    """A Bind with another statement name; it may be cut behind the name, `length` is its length field."""
    portal_end = message.find(b"\x00", 5) + 1
    name_end = message.find(b"\x00", portal_end)
    size = length + len(name) - (name_end - portal_end)
    return b"B" + size.to_bytes(4, "big") + message[5:portal_end] + name + message[name_end:]


def bind_missing() -> bytes:
    """A Bind that fails."""
    body = b"\x00" + MISSING + b"\x00\x00\x00\x00\x00\x00\x00"
    return b"B" + (len(body) + 4).to_bytes(4, "big") + body


def _about(kind: bytes, name: bytes) -> bytes:
    body = b"S" + name + b"\x00"
    return kind + (len(body) + 4).to_bytes(4, "big") + body
