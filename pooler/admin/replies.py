"""What the console answers, as bytes: results, tags, errors."""

from collections.abc import Iterable, Sequence

from pooler.admin.errors import AdminError
from pooler.wire import messages

Column = tuple[str, int]
"""Name and type oid."""

Row = tuple[object, ...]
"""Values as text format has them; None is NULL."""


def complete(tag: str) -> bytes:
    """The command is done."""
    return messages.command_complete(tag) + messages.READY_IDLE


def result(columns: Sequence[Column], rows: Iterable[Row]) -> bytes:
    """The rows of a SHOW."""
    return b"".join((messages.row_description(columns), *map(messages.data_row, rows), complete("SHOW")))


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
    return messages.message(b"E", *fields) + messages.READY_IDLE
