"""Cursor, selection and scroll position belong to rows, whatever view comes."""

from __future__ import annotations

from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from tests.unit.widgets.clients import view
from tui.widgets.place import Place
from tui.widgets.view import View

HEIGHT = 5

IDS = st.lists(st.integers(0, 30), unique=True, max_size=30)
SORTS = st.sampled_from(["", "id", "wait", "user"])
VIEWS = st.builds(
    lambda numbers, seed, sort, descending: view(numbers, seed, sort=sort, descending=descending),
    IDS,
    st.integers(0, 5),
    SORTS,
    st.booleans(),
)


def at(place: Place, key: int) -> Place:
    position = place.view.position(key)
    assert position is not None
    place.move_to(position)
    return place


def test_there_is_no_cursor_before_the_first_move_and_the_top_is_watched() -> None:
    place = Place(view(range(20)))
    assert place.replace(view(range(50, 99)), 0, HEIGHT) == 0
    assert place.cursor is None


def test_rows_that_are_watched_without_a_cursor_keep_their_lines_once_scrolled() -> None:
    place = Place(view(range(20)))
    assert place.replace(view([90, 91, *range(20)]), 7, HEIGHT) == 9


def test_without_a_cursor_another_order_begins_at_the_top() -> None:
    place = Place(view(range(20)))
    assert place.replace(view(range(20), sort="id", descending=True), 7, HEIGHT) == 0


def test_a_cursor_that_is_scrolled_out_of_sight_does_not_hold_the_screen() -> None:
    place = at(Place(view(range(40))), 35)
    assert place.replace(view([90, *range(40)]), 7, HEIGHT) == 8
    assert place.replace(view(range(40)), 0, HEIGHT) == 0
    assert place.cursor == 35


def test_a_cursor_whose_row_has_gone_is_on_the_row_below_else_above() -> None:
    place = at(Place(view(range(10))), 4)
    cursors = []
    for numbers in ([0, 1, 2, 6, 7], [0, 1], [70, 71, 72], []):
        place.replace(view(numbers), 0, HEIGHT)
        cursors.append(place.cursor)
    assert cursors == [6, 1, 71, None]


@given(VIEWS, st.data())
def test_the_cursor_stays_on_its_row_and_the_row_on_its_line(first: View, data: st.DataObject) -> None:
    place = Place(view(range(30)))
    top = 0
    for new in [first, *data.draw(st.lists(VIEWS, max_size=6))]:
        if len(place.view) and data.draw(st.booleans()):
            top = data.draw(st.integers(0, max(0, len(place.view) - HEIGHT)))
            place.move_to(data.draw(st.integers(top, min(top + HEIGHT, len(place.view)) - 1)))
        cursor, position = place.cursor, place.position
        new_top = place.replace(new, top, HEIGHT)
        lowest = max(0, len(place.view) - HEIGHT)
        assert 0 <= new_top <= lowest
        if cursor is not None and cursor in place.view:
            assert place.cursor == cursor
        assert (place.cursor is None) == (cursor is None or not len(place.view))
        if position is not None and place.position is not None and top <= position < top + HEIGHT:
            assert new_top == min(max(0, place.position - (position - top)), lowest)
            assert new_top <= place.position < new_top + HEIGHT
        top = new_top


@given(st.lists(IDS, max_size=5), IDS)
def test_selected_rows_stay_selected_while_they_are_there(
    views: Sequence[list[int]], chosen: list[int]
) -> None:
    place = Place(view(range(31)))
    place.selected = frozenset(chosen)
    left = set(chosen)
    for numbers in views:
        place.replace(view(numbers), 0, HEIGHT)
        left &= set(numbers)
        assert place.selected == left


def test_nobody_has_chosen_the_row_that_the_cursor_is_swept_to() -> None:
    place = at(Place(view(range(10))), 3)
    place.replace(view(range(10), filter="id < 3"), 0, HEIGHT)
    place.replace(view(range(10)), 0, HEIGHT)
    assert not place.adrift  # it was hidden, not gone
    at(place, 3)
    place.replace(view([0, 1, 2, 4]), 0, HEIGHT)
    assert (place.cursor, place.adrift) == (4, True)
    place.replace(view([0, 1, 2, 3, 4]), 0, HEIGHT)
    assert (place.cursor, place.adrift) == (4, True)
    assert (at(place, 3).cursor, place.adrift) == (3, False)


def test_nobody_has_chosen_the_cursor_in_place_of_a_selection_that_is_gone() -> None:
    place = at(Place(view(range(10))), 3)
    place.toggle()
    at(place, 5)
    place.toggle()
    place.replace(view([5, 6, 7]), 0, HEIGHT)
    assert not place.adrift
    at(place, 7)
    place.replace(view([6, 7]), 0, HEIGHT)
    assert (place.cursor, place.adrift) == (7, True)


def test_a_filter_hides_selected_rows_and_forgets_none() -> None:
    place = Place(view(range(10)))
    place.select_all()
    place.replace(view(range(10), filter="id < 3"), 0, HEIGHT)
    assert place.selected == set(range(10))
    assert place.hidden == 7


def test_all_of_a_filtered_view_is_what_is_seen() -> None:
    place = Place(view(range(10), filter="id < 3"))
    place.select_all()
    assert place.selected == {0, 1, 2}


def test_extending_selects_what_the_cursor_was_on_and_going_back_unselects() -> None:
    place = at(Place(view(range(10))), 4)
    place.extend_to(5)
    place.extend_to(6)
    assert place.selected == {4, 5, 6}
    place.extend_to(5)
    assert place.selected == {4, 5}
    place.extend_to(4)
    place.extend_to(3)
    assert place.selected == {3, 4}


def test_extending_over_selected_rows_and_back_leaves_them_selected() -> None:
    place = at(Place(view(range(10))), 5)
    place.toggle()
    place.move_to(4)
    place.extend_to(5)
    place.extend_to(4)
    assert place.selected == {4, 5}


def test_rows_that_come_between_are_not_selected_by_extending() -> None:
    place = at(Place(view([1, 2, 3])), 1)
    place.extend_to(1)
    place.replace(view([1, 50, 51, 2, 3]), 0, HEIGHT)
    place.extend_to(4)
    assert place.selected == {1, 2, 3}


def test_extending_at_the_end_of_the_rows_stays_there() -> None:
    place = at(Place(view([1, 2])), 2)
    place.extend_to(2)
    place.extend_to(2)
    assert place.cursor == 2
    assert place.selected == {2}


def test_clearing_takes_the_selection_first_and_the_cursor_then() -> None:
    place = at(Place(view(range(5))), 3)
    place.toggle()
    seen = [(place.clear(), place.cursor, len(place.selected)) for _ in range(3)]
    assert seen == [(True, 3, 0), (True, None, 0), (False, None, 0)]


def test_toggling_twice_leaves_it_as_it_was() -> None:
    place = at(Place(view(range(5))), 3)
    place.toggle()
    assert place.selected == {3}
    place.toggle()
    assert place.selected == frozenset()


def test_a_range_is_selected_both_ways() -> None:
    place = at(Place(view(range(9))), 5)
    place.select_through(2)
    assert place.selected == {2, 3, 4, 5}
    assert place.cursor == 2
