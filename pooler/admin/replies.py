"""What the console answers, as bytes: rows, tags, errors."""

from collections.abc import Callable, Generator, Iterator
from itertools import islice
from typing import Final

from pooler.admin import formats
from pooler.admin.console import Result, Row, Wait
from pooler.admin.errors import AdminError
from pooler.wire import messages

ROWS_AT_ONCE: Final = 200
"""Rows that are made and sent before the event loop gets its turn: a few milliseconds."""

Step = bytes | Wait
"""What to send to the client, or what to wait for before the next step."""

Steps = Iterator[Step]
"""An answer. Each step is made when the one before is done."""

TURN: Final = Wait(lambda: True)
"""Everybody else's turn, and the client's to read what it was sent."""

EMPTY_QUERY: Final = messages.message(b"I")
NO_DATA: Final = messages.message(b"n")
BIND_COMPLETE: Final = messages.message(b"2")
PORTAL_SUSPENDED: Final = messages.message(b"s")


def simple_answer(result: Result) -> Steps:
    """The answer to a query of the simple protocol, without ReadyForQuery."""
    if result.columns is None:
        yield result.notices + messages.command_complete(result.tag)
        return
    yield result.notices + formats.row_description(result.columns)
    yield from rows(iter(result.rows), formats.row_encoder(result.columns))
    yield messages.command_complete(result.tag)


def rows(found: Iterator[Row], encode: Callable[[Row], bytes]) -> Generator[Step, None, int]:
    """All rows, piece by piece; how many there were."""
    count = 0
    while slice_ := list(map(encode, islice(found, ROWS_AT_ONCE))):
        count += len(slice_)
        yield b"".join(slice_)
        if len(slice_) == ROWS_AT_ONCE:
            yield TURN
    return count


def ready(status: str) -> bytes:
    """ReadyForQuery: `I` idle, `T` in a transaction, `E` in a failed one."""
    return messages.message(b"Z", status.encode())


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


def warning(sqlstate: str, text: str) -> bytes:
    """A NoticeResponse as PostgreSQL has it when a command does nothing."""
    fields = (b"SWARNING\x00C", messages.string(sqlstate), b"M", messages.string(text), b"\x00")
    return messages.message(b"N", *fields)
