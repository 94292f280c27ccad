"""The messages of the extended protocol, and what the console says to them."""

import struct
from collections.abc import Sequence
from typing import Final

from pooler.wire import messages
from pooler.wire.messages import message
from tests.unit.admin.fakes import FakeConsole

SYNC: Final = message(b"S")
FLUSH: Final = message(b"H")


def parse(sql: str | bytes, name: str = "", oids: Sequence[int] = ()) -> bytes:
    """Parse."""
    text = sql if isinstance(sql, bytes) else sql.encode()
    types = struct.pack(f"!H{len(oids)}I", len(oids), *oids)
    return message(b"P", messages.string(name), text, b"\0", types)


def bind(
    values: Sequence[bytes | None] = (),
    *,
    portal: str = "",
    name: str = "",
    formats: Sequence[int] = (),
    results: Sequence[int] = (),
) -> bytes:
    """Bind."""
    cells = b"".join(
        b"\xff\xff\xff\xff" if value is None else struct.pack("!i", len(value)) + value for value in values
    )
    return message(
        b"B",
        messages.string(portal),
        messages.string(name),
        struct.pack(f"!H{len(formats)}h", len(formats), *formats),
        struct.pack("!H", len(values)),
        cells,
        struct.pack(f"!H{len(results)}h", len(results), *results),
    )


def describe(kind: str, name: str = "") -> bytes:
    """Describe."""
    return message(b"D", kind.encode(), messages.string(name))


def execute(portal: str = "", limit: int = 0) -> bytes:
    """Execute."""
    return message(b"E", messages.string(portal), struct.pack("!i", limit))


def close(kind: str, name: str = "") -> bytes:
    """Close."""
    return message(b"C", kind.encode(), messages.string(name))


def run(sql: str, values: Sequence[bytes | None] = (), results: Sequence[int] = ()) -> bytes:
    """All of a statement but Sync."""
    return parse(sql) + bind(values, results=results) + execute()


def said(console: FakeConsole) -> list[tuple[str, bytes]]:
    """What came since the last look: types and bodies."""
    console.pooler.run()
    found = [(chr(kind), body) for kind, body in messages.split(console.transport.sent, 1 << 30)]
    assert not console.transport.sent, "half a message"
    return found


def kinds(console: FakeConsole) -> str:
    """The types alone."""
    return "".join(kind for kind, _ in said(console))


def talk(console: FakeConsole, *sent: bytes) -> list[tuple[str, bytes]]:
    """Sends these messages; all that they bring."""
    console.send(b"".join(sent))
    return said(console)


def refusals(answers: Sequence[tuple[str, bytes]]) -> list[tuple[str, str]]:
    """SQLSTATE and text of each ErrorResponse."""
    errors = [messages.parse_error(body) for kind, body in answers if kind == "E"]
    return [(error.sqlstate, error.message) for error in errors]


def status(answers: Sequence[tuple[str, bytes]]) -> str:
    """Of the last ReadyForQuery, which has to be the last message."""
    kind, body = answers[-1]
    assert kind == "Z"
    return body.decode()
