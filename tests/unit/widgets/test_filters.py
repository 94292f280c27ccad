"""What may be typed as a filter, what it finds, and what is said about the rest."""

from __future__ import annotations

import operator
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui.widgets.columns import Column, Kind
from tui.widgets.filters import Filter, FilterError, condition, parse
from tui.widgets.snapshot import Snapshot

COLUMNS = (Column("user"), Column("wait", Kind.NUMBER), Column("link"))
ROWS = (
    ("web", 0, "0x1"),
    ("Web app", 2.5, None),
    ("batch", Decimal(10), "0x2"),
    ("a=b", None, ""),
    ("batch2", "n/a", "0x10"),
    ("nan", Decimal("NaN"), "x"),
)

OPERATORS = {
    "=": operator.eq,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def found(text: str) -> list[int]:
    wanted = parse(text, COLUMNS)
    assert isinstance(wanted, Filter), wanted
    return list(wanted.rows(Snapshot(COLUMNS, ROWS, []), range(len(COLUMNS))))


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("", [0, 1, 2, 3, 4, 5]),
        ("  ", [0, 1, 2, 3, 4, 5]),
        ("web", [0, 1]),
        ("WEB app", [1]),
        ('"web app"', [1]),
        ("'a=b'", [3]),
        ("user=web", [0]),
        ("user = web", [0]),
        ('user="Web app"', [1]),
        ("USER!=web", [1, 2, 3, 4, 5]),
        ("user~WEB", [0, 1]),
        ("user > batch user<c", [4]),
        ("wait=10", [2]),
        ("wait > 2", [1, 2]),
        ("wait>=2.5", [1, 2]),
        ("wait < 3", [0, 1]),
        ("wait <= 0", [0]),
        ("wait != 0", [1, 2, 3, 4, 5]),
        ("wait = 1e1", [2]),
        ("wait ~ 0", [0, 2]),
        ('wait=""', [3]),
        ('link = ""', [1, 3]),
        ("link!=''", [0, 2, 4, 5]),
        ("batch wait > 5", [2]),
        ("wait > 1 0x2", [2]),
        ('user = "batch', [2]),
        (">5", []),
        ("10", [2, 4]),
        ("2.5", [1]),
        ("user=web wait=1", []),
    ],
)
def test_what_a_filter_finds(text: str, numbers: list[int]) -> None:
    assert found(text) == numbers


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("wiat > 1", "no column wiat: wait?"),
        ("zzzzzz = 1", "no column zzzzzz"),
        ("wait >", 'wait > needs a value; "" is the empty one'),
        ("web wait =", 'wait = needs a value; "" is the empty one'),
        ("wait > soon", "wait holds numbers, soon is none"),
        ("wait = nan", "wait holds numbers, nan is none"),
        ('wait > ""', "wait holds numbers, nothing is none"),
    ],
)
def test_what_is_no_filter_is_said(text: str, message: str) -> None:
    assert parse(text, COLUMNS) == FilterError(message)


@pytest.mark.parametrize(
    ("word", "numbers"), [("5", [1, 2]), ("-5", [2]), ("x", [3]), ("5x", []), ("none", [])]
)
def test_words_are_looked_for_in_integers_too(word: str, numbers: list[int]) -> None:
    wanted = parse(word, COLUMNS)
    assert isinstance(wanted, Filter)
    rows = [("", None, ""), ("", 15, ""), ("", -5, ""), ("x", 1, "")]
    assert list(wanted.rows(Snapshot(COLUMNS, rows, []), range(3))) == numbers


@given(st.text())
def test_any_text_is_a_filter_or_an_error_and_neither_raises(text: str) -> None:
    wanted = parse(text, COLUMNS)
    if isinstance(wanted, Filter):
        found(text)
    else:
        assert wanted.message


@given(st.sampled_from(list(OPERATORS)), st.integers(-3, 3), st.lists(st.integers(-3, 3)))
def test_numbers_compare_as_numbers_do(op: str, literal: int, values: list[int]) -> None:
    wanted = parse(f"wait {op} {literal}", COLUMNS)
    assert isinstance(wanted, Filter)
    rows = [("", value, "") for value in values]
    expected = [number for number, value in enumerate(values) if OPERATORS[op](value, literal)]
    assert list(wanted.rows(Snapshot(COLUMNS, rows, []), range(3))) == expected


def test_a_heading_names_its_column_unless_another_has_it_for_a_name() -> None:
    snapshot = Snapshot(
        (
            Column("current_connections", Kind.NUMBER, "servers"),
            Column("max", Kind.NUMBER),
            Column("x", title="max"),
        ),
        [(1, 5, "5"), (2, 6, "6")],
        (),
    )
    for text in ("servers=2", "current_connections=2", "max=6"):
        found = parse(text, snapshot.columns)
        assert isinstance(found, Filter)
        assert list(found.rows(snapshot, (0, 1, 2))) == [1]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("web", 'user="web"'),
        ("", 'user=""'),
        ("with blank", 'user="with blank"'),
        ('a"b', "user='a\"b'"),
        ("a'b", 'user="a\'b"'),
        ("a'bcd\"e", 'user~"a\'bcd"'),
        ("\x1b[31mred", 'user~"[31mred"'),
        ("\x1b\n", 'user~""'),
        ("日本", 'user="日本"'),
    ],
)
def test_a_condition_selects_a_value_and_steers_no_terminal(value: str, text: str) -> None:
    columns = (Column("user"),)
    assert condition("user", value) == text
    wanted = parse(text, columns)
    assert isinstance(wanted, Filter)
    assert 0 in wanted.rows(Snapshot(columns, [(value,), ("\0other",)], ["user"]), [0])
