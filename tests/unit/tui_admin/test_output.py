"""Rows as text, CSV and JSON."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal

import pytest
import typer

from cli.scripts.output import Format, chosen, rendered
from tui.admin.table import Table

TABLE = Table(
    ("name", "count", "when"),
    [
        ("a,b", Decimal(12345678901234567890), datetime(2026, 11, 21, tzinfo=UTC)),
        ("\x1b[31mé", Decimal("1.5"), None),
        (b"\x00\xff", 7, None),
    ],
)


def test_json_keeps_numbers() -> None:
    assert json.loads(rendered(TABLE, Format.JSON)) == [
        {"name": "a,b", "count": 12345678901234567890, "when": "2026-11-21T00:00:00+00:00"},
        {"name": "\x1b[31mé", "count": 1.5, "when": None},
        {"name": "00ff", "count": 7, "when": None},
    ]


def test_csv_quotes_what_it_must() -> None:
    assert rendered(TABLE, Format.CSV) == (
        'name,count,when\n"a,b",12345678901234567890,2026-11-21T00:00:00+00:00\n\x1b[31mé,1.5,\n00ff,7,\n'
    )


def test_a_table_is_aligned_and_moves_no_cursor() -> None:
    assert rendered(TABLE, Format.TABLE).splitlines() == [
        "name                      count  when",
        "---------  --------------------  -------------------------",
        "a,b        12345678901234567890  2026-11-21T00:00:00+00:00",
        "\\x1b[31mé                   1.5",
        "00ff                          7",
    ]


def test_a_table_without_rows_has_its_names() -> None:
    empty = Table(("a", "bb"), [])
    assert rendered(empty, Format.TABLE) == "a  bb\n-  --\n"
    assert rendered(empty, Format.CSV) == "a,bb\n"
    assert rendered(empty, Format.JSON) == "[]\n"


def test_one_format_at_a_time() -> None:
    assert chosen(as_json=False, as_csv=False, as_table=False) is Format.TABLE
    assert chosen(as_json=False, as_csv=True, as_table=False) is Format.CSV
    with pytest.raises(typer.BadParameter):
        chosen(as_json=True, as_csv=True, as_table=False)
