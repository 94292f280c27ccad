"""What the console answers, as bytes: rows, tags, errors."""

from collections.abc import Callable, Iterator
from itertools import islice
from typing import Final

from pooler.admin.console import Result, Row
from pooler.admin.errors import AdminError
from pooler.wire import messages

ROWS_AT_ONCE: Final = 200
"""Rows that are made and sent before the event loop gets its turn: a few milliseconds."""

Pieces = Iterator[tuple[bytes, bool]]
"""What to send, piece by piece, each with whether there is more to come."""


def answer(
    result: Result, head: bytes, tail: bytes, encode: Callable[[Row], bytes] = messages.data_row
) -> Pieces:
    """Notices, `head`, rows, tag and `tail`."""
    rows = iter(result.rows)
    start = result.notices + head
    while len(slice_ := list(map(encode, islice(rows, ROWS_AT_ONCE)))) == ROWS_AT_ONCE:
        yield b"".join((start, *slice_)), True
        start = b""
    yield b"".join((start, *slice_, messages.command_complete(result.tag), tail)), False


def simple_answer(result: Result) -> Pieces:
    """The answer to a Query."""
    head = b"" if result.columns is None else messages.row_description(result.columns)
    return answer(result, head, messages.READY_IDLE)


def error(problem: AdminError) -> bytes:
    """The command has failed; the connection goes on."""
    more = b"" if problem.detail is None else b"D" + messages.string(problem.detail)
    fields = (
        b"SERROR\x00C",
        messages.string(problem.sqlstate),
        b"M",
        messages.string(problem.message),
        more,
        b"\x00",
    )
    return messages.message(b"E", *fields)
