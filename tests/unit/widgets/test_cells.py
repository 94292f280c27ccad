"""Cells are exactly as wide as they should be and hold nothing that steers a terminal."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from tui.widgets.cells import cell, fit, safe
from tui.widgets.columns import Column, Kind, Level
from tui.widgets.widths import PATIENCE, SLACK, Widths


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain [b]text[/b]", "plain [b]text[/b]"),
        ("a\x1b[31mb", "a␛[31mb"),
        ("a\nb\tc\x7f", "a␊b␉c␡"),
        ("\x9b31m", "\ufffd31m"),
        ("a\u202eb\u200dc", "a\ufffdb\ufffdc"),
        ("no\u00a0break", "no break"),
        ("\u2764\ufe0f", "\u2764"),
        ("\u0301a", "◌\u0301a"),
        ("日本", "日本"),
        ("e\u0301", "e\u0301"),
        ("\ud800", "\ufffd"),
    ],
)
def test_what_is_not_printed_is_replaced(text: str, shown: str) -> None:
    assert safe(text) == shown


@pytest.mark.parametrize(
    ("text", "width", "right", "shown"),
    [
        ("ab", 4, False, "ab  "),
        ("ab", 4, True, "  ab"),
        ("abcdef", 4, False, "abc…"),
        ("日本語", 6, False, "日本語"),
        ("日本語", 5, False, "日本…"),
        ("日本語", 4, False, "日… "),
        ("日本語", 4, True, " 日…"),
        ("e\u0301e\u0301e\u0301", 2, False, "e\u0301…"),
        ("abc", 1, False, "…"),
        ("abc", 0, False, ""),
    ],
)
def test_text_is_cut_and_padded_by_cells(text: str, width: int, right: bool, shown: str) -> None:
    assert fit(text, width, right) == shown


@given(st.text(max_size=20), st.integers(0, 12), st.booleans())
def test_a_cell_is_as_wide_as_it_should_be_and_printable(text: str, width: int, right: bool) -> None:
    shown = fit(safe(text), width, right)
    assert cell_len(shown) == width
    assert all(character.isprintable() for character in shown)
    assert not any(unicodedata.category(character) in ("Cc", "Cf", "Cs") for character in shown)


def test_a_level_has_its_symbol() -> None:
    column = Column("wait", Kind.NUMBER, level=lambda value: Level.CRITICAL if value > 5 else Level.PLAIN)
    assert cell(column, 9) == ("✖ 9", Level.CRITICAL)
    assert cell(column, 1) == ("1", Level.PLAIN)


def test_a_value_that_the_format_was_not_made_for_is_shown_as_it_came() -> None:
    column = Column("wait", Kind.NUMBER, format=lambda value: f"{value:.1f}", level=lambda value: Level.GOOD)
    assert cell(column, 1.25) == ("● 1.2", Level.GOOD)
    assert cell(column, "soon") == ("soon", Level.PLAIN)
    assert cell(column, None) == ("–", Level.PLAIN)


def test_columns_grow_at_once_and_shrink_when_they_had_room_to_spare_for_long() -> None:
    widths, column = Widths(), Column("name", max_width=20)
    widths.fit(column, 12, refreshed=True)
    assert widths.of(column) == 12
    for _ in range(2 * PATIENCE):
        widths.fit(column, 12 - SLACK + 1, refreshed=True)
        widths.fit(column, 3, refreshed=False)
    assert widths.of(column) == 12
    for _ in range(PATIENCE):
        assert widths.of(column) == 12
        widths.fit(column, 5, refreshed=True)
    assert widths.of(column) == 5
    widths.fit(column, 99, refreshed=False)
    assert widths.of(column) == 20


def test_one_need_between_keeps_a_column_wide() -> None:
    widths, column = Widths(), Column("name")
    widths.fit(column, 12, refreshed=True)
    for _ in range(3):
        for _ in range(PATIENCE - 1):
            widths.fit(column, 4, refreshed=True)
        widths.fit(column, 11, refreshed=True)
    assert widths.of(column) == 12


def test_columns_of_which_one_cell_is_seen_are_visible() -> None:
    widths = Widths()
    columns = [Column(name, min_width=4) for name in "abcd"]
    assert [column.name for column in widths.visible(columns, 0, 11).columns] == ["a", "b", "c"]
    assert [column.name for column in widths.visible(columns, 0, 10).columns] == ["a", "b"]
    assert widths.visible(columns, 7, 5)[1:] == (1, 5)
    assert widths.visible(columns, 99, 5).columns == []
