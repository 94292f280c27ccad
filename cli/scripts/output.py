"""Rows as text for people, as CSV and as JSON."""

from __future__ import annotations

import csv
import enum
import io
import json
from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

import typer

from tui.admin.table import Table


class Format(enum.Enum):
    """How to print."""

    TABLE = "table"
    CSV = "csv"
    JSON = "json"


def chosen(*, as_json: bool, as_csv: bool, as_table: bool) -> Format:
    """The one that an option asks for; a table without. Raises typer.BadParameter for more than one."""
    options = {Format.JSON: as_json, Format.CSV: as_csv, Format.TABLE: as_table}
    asked = [name for name, is_asked in options.items() if is_asked]
    if len(asked) > 1:
        raise typer.BadParameter("--json, --csv and --table exclude one another")
    return asked[0] if asked else Format.TABLE


def rendered(table: Table, form: Format) -> str:
    """All rows, with a line end after the last."""
    if form is Format.JSON:
        return as_json(list(table.dicts()))
    return as_csv(table) if form is Format.CSV else as_table(table)


def as_json(value: Any) -> str:
    """In ASCII, indented; numbers are numbers, times ISO 8601, bytes hexadecimal."""
    return json.dumps(value, indent=2, default=_plain) + "\n"


def as_csv(table: Table) -> str:
    """With a line of names; NULL is empty."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(table.columns)
    writer.writerows([["" if value is None else _text(value) for value in row] for row in table.rows])
    return text.getvalue()


def as_table(table: Table) -> str:
    """Columns below their names, numbers to the right. Control characters are escaped: what a client calls
    itself is shown on somebody's terminal.
    """
    cells = [[_cell(value) for value in row] for row in table.rows]
    heads = [_cell(name) for name in table.columns]
    widths = [max(map(len, column)) for column in zip(heads, *cells, strict=True)]
    numeric = [_is_numeric([row[index] for row in table.rows]) for index in range(len(heads))]
    lines = [heads, ["-" * width for width in widths], *cells]
    return "".join(_line(line, widths, numeric) + "\n" for line in lines)


def _line(cells: Sequence[str], widths: Sequence[int], numeric: Sequence[bool]) -> str:
    padded = (
        cell.rjust(width) if is_number else cell.ljust(width)
        for cell, width, is_number in zip(cells, widths, numeric, strict=True)
    )
    return "  ".join(padded).rstrip()


def _is_numeric(values: Sequence[Any]) -> bool:
    known = [value for value in values if value is not None]
    return bool(known) and all(isinstance(value, int | float | Decimal) for value in known)


def _cell(value: Any) -> str:
    if value is None:
        return ""
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in _text(value))


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    plain = _plain(value) if isinstance(value, Decimal | datetime | bytes) else value
    return str(plain)


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal):
        return int(value) if value == value.to_integral_value() else float(value)
    if isinstance(value, datetime):
        return value.isoformat()
    return value.hex() if isinstance(value, bytes) else str(value)
