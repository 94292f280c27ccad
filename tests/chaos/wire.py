"""Messages as bytes, both ways: what a client sends, and what it then has to get back.

On purpose nothing of `pooler.wire`: the test must not share its mistakes (protocol chapter, "Message
Formats").
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from tests.support.rawclient import error_fields, message

TEXT_OID = 25
INVALID_TEXT = "22P02"
"""The SQLSTATE of a text that is no number."""

# Client to server ------------------------------------------------------------------------------------------

SYNC = message("S")
FLUSH = message("H")
TERMINATE = message("X")
COPY_DONE = message("c")


def zero_ended(text: str) -> bytes:
    """A protocol String."""
    return text.encode() + b"\0"


def query(sql: str) -> bytes:
    """Query: the simple protocol."""
    return message("Q", zero_ended(sql))


def parse(name: str, sql: str, parameters: int = 0) -> bytes:
    """Parse, with all parameters of type text."""
    types = struct.pack(f"!H{parameters}I", parameters, *[TEXT_OID] * parameters)
    return message("P", zero_ended(name) + zero_ended(sql) + types)


def bind(portal: str, statement: str, *values: str) -> bytes:
    """Bind; parameters and results as text."""
    cells = b"".join(_counted(value.encode()) for value in values)
    body = struct.pack("!HH", 0, len(values)) + cells + struct.pack("!H", 0)
    return message("B", zero_ended(portal) + zero_ended(statement) + body)


def execute(portal: str = "", limit: int = 0) -> bytes:
    """Execute, of at most `limit` rows if that is not 0."""
    return message("E", zero_ended(portal) + struct.pack("!I", limit))


def describe_statement(name: str) -> bytes:
    return message("D", b"S" + zero_ended(name))


def describe_portal(name: str) -> bytes:
    return message("D", b"P" + zero_ended(name))


def close_statement(name: str) -> bytes:
    return message("C", b"S" + zero_ended(name))


def close_portal(name: str) -> bytes:
    return message("C", b"P" + zero_ended(name))


def function_call(oid: int, *arguments: str) -> bytes:
    """FunctionCall; arguments and result as text."""
    cells = b"".join(_counted(argument.encode()) for argument in arguments)
    return message("F", struct.pack("!IHH", oid, 0, len(arguments)) + cells + struct.pack("!H", 0))


def copy_data(data: str) -> bytes:
    return message("d", data.encode())


def copy_fail(reason: str) -> bytes:
    return message("f", zero_ended(reason))


# Server to client ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Reply:
    """A message that has to come next.

    `body` is what it must hold, to the byte, or a function that says what is wrong with it (empty: nothing).
    """

    kind: str
    body: bytes | Callable[[bytes], str] = b""

    def fault(self, kind: str, body: bytes) -> str:
        """What is wrong with the message that came; empty if it is this one."""
        if kind != self.kind:
            return f"expected {self}"
        if callable(self.body):
            return self.body(body)
        return "" if body == self.body else f"expected {self}"

    def __str__(self) -> str:
        return f"{self.kind} {'(checked)' if callable(self.body) else abridged(self.body)}"


def abridged(body: bytes) -> str:
    """A body for people to read: its beginning and its end."""
    if len(body) <= 160:
        return repr(body)
    return f"{body[:110]!r} ... {body[-40:]!r} ({len(body)} bytes)"


PARSE_COMPLETE = Reply("1")
BIND_COMPLETE = Reply("2")
CLOSE_COMPLETE = Reply("3")
NO_DATA = Reply("n")
PORTAL_SUSPENDED = Reply("s")
EMPTY_QUERY = Reply("I")
COPY_IN = Reply("G", struct.pack("!BHHH", 0, 2, 0, 0))
"""CopyInResponse for the two text columns of every COPY here."""
COPY_OUT = Reply("H", struct.pack("!BHH", 0, 1, 0))
COPY_OUT_DONE = Reply("c")


def ready(status: str = "I") -> Reply:
    """ReadyForQuery: I is idle, T in a transaction, E in a failed one."""
    return Reply("Z", status.encode())


def complete(tag: str) -> Reply:
    return Reply("C", zero_ended(tag))


def columns(*names: str) -> Reply:
    """RowDescription of text columns."""
    one = struct.Struct("!IHIHIH").pack(0, 0, TEXT_OID, 0xFFFF, 0xFFFFFFFF, 0)
    return Reply("T", struct.pack("!H", len(names)) + b"".join(zero_ended(name) + one for name in names))


def row(*values: str) -> Reply:
    """DataRow of texts."""
    cells = b"".join(_counted(value.encode()) for value in values)
    return Reply("D", struct.pack("!H", len(values)) + cells)


def parameters(count: int) -> Reply:
    """ParameterDescription of text parameters."""
    return Reply("t", struct.pack(f"!H{count}I", count, *[TEXT_OID] * count))


def parameter_status(name: str, value: str) -> Reply:
    return Reply("S", zero_ended(name) + zero_ended(value))


def copied(data: str) -> Reply:
    return Reply("d", data.encode())


def function_result(value: str) -> Reply:
    return Reply("V", _counted(value.encode()))


def error(sqlstate: str, text: str) -> Reply:
    """ErrorResponse of severity ERROR with this state, and with `text` somewhere in it."""
    return Reply("E", lambda body: _error_fault(body, "ERROR", sqlstate, text))


def fatal(sqlstate: str, text: str) -> Reply:
    return Reply("E", lambda body: _error_fault(body, "FATAL", sqlstate, text))


def notice(text: str) -> Reply:
    return Reply("N", lambda body: _error_fault(body, "NOTICE", "00000", text))


def one_row(column: str, value: str) -> Sequence[Reply]:
    """What a simple SELECT of one text brings, ReadyForQuery not included."""
    return (columns(column), row(value), complete("SELECT 1"))


def values_of(body: bytes) -> list[str]:
    """The texts of a DataRow, NULL as an empty one."""
    (count,) = struct.unpack_from("!H", body)
    values: list[str] = []
    position = 2
    for _ in range(count):
        (size,) = struct.unpack_from("!i", body, position)
        position += 4
        values.append(body[position : position + max(size, 0)].decode())
        position += max(size, 0)
    return values


def _counted(value: bytes) -> bytes:
    return struct.pack("!I", len(value)) + value


def _error_fault(body: bytes, severity: str, sqlstate: str, text: str) -> str:
    fields = error_fields(body)
    if fields.get("S") != severity or fields.get("C") != sqlstate:
        return f"expected {severity} {sqlstate}"
    return "" if text.encode() in body else f"expected {severity} {sqlstate} about {text!r}"
