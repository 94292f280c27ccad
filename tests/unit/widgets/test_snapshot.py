"""Snapshots and views: order, filter, groups, keys; and that none of it needs Textual."""

from __future__ import annotations

import random
import subprocess
import sys
from decimal import Decimal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.unit.widgets.clients import COLUMNS, clients
from tui.widgets.columns import Column, Kind, plain
from tui.widgets.snapshot import Repeated, Snapshot
from tui.widgets.view import Arrangement, View, arrange, group

VALUES = st.one_of(
    st.none(),
    st.integers(-5, 5),
    st.floats(allow_nan=True),
    st.decimals(allow_nan=False, places=2),
    st.text(max_size=3),
)
PAIR = (Column("id", Kind.NUMBER), Column("value"))


def pairs(values: list[object], numbers: list[int] | None = None) -> Snapshot:
    return Snapshot(PAIR, zip(numbers or range(len(values)), values, strict=True), ["id"])


def column(view: View, name: str) -> list[object]:
    number = view.snapshot.column_number(name)
    assert number is not None
    return [view.row(position)[number] for position in range(len(view))]


def test_the_models_load_neither_textual_nor_rich() -> None:
    code = (
        "import sys, tui.widgets.view; print([m for m in sys.modules if m.startswith(('textual', 'rich'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_rows_are_found_by_their_key() -> None:
    snapshot = clients([7, 3, 9])
    assert snapshot.row(3) == snapshot.rows[1]
    assert snapshot.row(4) is None
    assert 9 in snapshot
    assert 4 not in snapshot


def test_a_key_of_several_columns_is_a_tuple() -> None:
    snapshot = Snapshot(PAIR, [(1, "a"), (1, "b")], ["id", "value"])
    assert snapshot.keys == [(1, "a"), (1, "b")]


def test_a_key_that_comes_twice_still_tells_the_rows_apart() -> None:
    snapshot = pairs(["a", "b", "c"], [1, 2, 1])
    assert snapshot.keys == [1, 2, Repeated(1, 1)]
    assert snapshot.row(Repeated(1, 1)) == (1, "c")


def test_without_key_columns_the_place_is_the_key() -> None:
    assert Snapshot(PAIR, [(5, "a"), (6, "b")], ["ptr"]).keys == [0, 1]


@pytest.mark.parametrize("descending", [False, True])
def test_none_and_nan_come_last_in_either_direction(descending: bool) -> None:
    snapshot = pairs([2, None, 10, float("nan"), 1])
    view = arrange(snapshot, Arrangement("value", descending))
    assert column(view, "value")[:3] == ([10, 2, 1] if descending else [1, 2, 10])
    assert column(view, "id")[3:] == [1, 3]


def test_numbers_are_sorted_as_numbers() -> None:
    view = arrange(pairs([Decimal("96.5"), 791, 1000.25]), Arrangement("value"))
    assert column(view, "value") == [Decimal("96.5"), 791, 1000.25]


@given(st.lists(VALUES), st.booleans())
def test_any_values_can_be_sorted_and_none_is_lost(values: list[object], descending: bool) -> None:
    view = arrange(pairs(values), Arrangement("value", descending))
    assert sorted(view.keys, key=str) == sorted(range(len(values)), key=str)
    shown = column(view, "value")
    empty = [value is None or value != value for value in shown]
    assert empty == sorted(empty)


@given(st.lists(st.integers(0, 3)), st.booleans())
def test_sorting_is_stable(values: list[int], descending: bool) -> None:
    view = arrange(pairs(list(values)), Arrangement("value", descending))
    expected = sorted(range(len(values)), key=values.__getitem__, reverse=descending)
    assert view.keys == expected


@given(st.lists(st.integers(0, 3), max_size=8), st.randoms(use_true_random=False))
def test_rows_that_sort_alike_do_not_dance_when_they_come_in_another_order(
    values: list[int], chance: random.Random
) -> None:
    before = arrange(pairs(list(values)), Arrangement("value"))
    numbers = list(range(len(values)))
    chance.shuffle(numbers)
    again = pairs([values[number] for number in numbers], numbers)
    assert arrange(again, Arrangement("value")).keys == before.keys


def test_rows_that_sort_alike_are_in_the_order_of_their_keys() -> None:
    assert arrange(pairs([1, 1, 1], [9, 3, 1]), Arrangement("value")).keys == [1, 3, 9]
    assert arrange(pairs([1, 1, 1], [9, 3, 1]), Arrangement("value", True)).keys == [1, 3, 9]


def test_without_a_sort_rows_stay_in_the_order_of_the_reply() -> None:
    assert arrange(pairs([1, 1], [2, 1]), Arrangement()).keys == [2, 1]


def test_a_sort_by_a_column_that_is_not_there_changes_nothing() -> None:
    assert arrange(pairs([3, 1, 2]), Arrangement("nothing")).keys == [0, 1, 2]


def test_columns_are_chosen_and_missing_ones_passed_over() -> None:
    view = arrange(clients([1]), Arrangement(columns=("link", "nothing", "id")))
    assert [column.name for column in view.columns] == ["link", "id"]
    assert arrange(clients([1]), Arrangement(columns=("nothing",))).columns == COLUMNS


def test_a_filter_that_is_none_shows_no_rows_and_says_why() -> None:
    view = arrange(clients(range(9)), Arrangement(filter="wiat > 1"))
    assert len(view) == 0
    assert view.problem == "no column wiat: wait?"


def test_words_are_looked_for_in_the_columns_that_are_shown() -> None:
    snapshot = clients(range(20))
    everywhere = arrange(snapshot, Arrangement(filter="USER3"))
    assert everywhere.keys == [3, 10, 17]
    assert len(arrange(snapshot, Arrangement(filter="user3", columns=("id", "database")))) == 0


@example([("a\0b", "x"), ("c", "y")], "c")
@given(st.lists(st.tuples(st.text(max_size=4), st.text(max_size=4)), max_size=6), st.text(max_size=2))
def test_a_word_is_found_where_it_is(rows: list[tuple[str, str]], word: str) -> None:
    snapshot = Snapshot((Column("one"), Column("two")), rows, [])
    wanted = word.strip()
    if not wanted or any(character in "\"'\0" or character.isspace() for character in wanted):
        return
    found = arrange(snapshot, Arrangement(filter=f'"{wanted}"')).keys
    assert found == [
        number
        for number, values in enumerate(rows)
        if any(wanted.casefold() in value.replace("\0", " ").casefold() for value in values)
    ]


def test_groups_are_counted_over_the_rows_of_the_view() -> None:
    view = arrange(clients(range(21)), Arrangement(filter="database=db0"))
    counted = group(view, ["user", "database"])
    assert sum(row[-1] for row in counted.rows) == len(view) == 7
    assert counted.keys == [row[:2] for row in counted.rows]
    assert [column.name for column in counted.columns] == ["user", "database", "count"]
    assert group(view, ["database"]).row("db0") == ("db0", 7)


def test_grouped_by_nothing_that_is_there_all_rows_are_one() -> None:
    assert group(arrange(clients(range(5)), Arrangement()), ["nothing"]).rows == ((5,),)


@pytest.mark.parametrize(
    ("value", "text"), [(None, "–"), (1.5, "1.5"), (2.0, "2"), (7, "7"), ("[b]", "[b]"), (0.12345, "0.123")]
)
def test_plain_text_of_values(value: object, text: str) -> None:
    assert plain(value) == text
