"""Graphs and bars, as text."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from textual.app import App, ComposeResult

from tui.widgets.bar import bar
from tui.widgets.graph import Graph, Points, blocks, round_up, spread


def test_each_part_of_the_time_has_the_mean_or_the_greatest() -> None:
    points = [(1.0, 1.0), (2.0, 3.0), (11.0, 5.0), (12.0, 9.0)]
    assert spread(points, 19.0, 20.0, 2, peaks=False) == [2.0, 7.0]
    assert spread(points, 19.0, 20.0, 2, peaks=True) == [3.0, 9.0]


def test_a_point_tells_of_the_time_since_the_one_before() -> None:
    assert spread([(0.0, 1.0), (5.0, 2.0), (6.0, 3.0)], 7.0, 8.0, 8, peaks=False) == [
        *(1.0, 2.0, 2.0, 2.0, 2.0, 2.0, 3.0),
        None,
    ]


def test_a_gap_stays_one() -> None:
    points = [(0.0, 1.0), (1.0, 1.0), (2.0, None), (6.0, 4.0), (7.0, 4.0)]
    assert spread(points, 7.0, 8.0, 8, peaks=False) == [1.0, 1.0, None, None, None, None, 4.0, 4.0]


def test_what_is_older_is_left_out() -> None:
    assert spread([(1.0, 9.0), (50.0, None), (99.0, 2.0), (100.0, 1.0)], 100.0, 4.0, 4, peaks=True) == [
        None,
        None,
        2.0,
        1.0,
    ]
    assert spread([], 100.0, 4.0, 4, peaks=True) == [None] * 4


def test_time_goes_on_without_flicker() -> None:
    points = [(float(at), float(at % 7)) for at in range(100)]
    before = spread(points, 95.0, 60.0, 12, peaks=False)
    after = spread(points, 97.0, 60.0, 12, peaks=False)
    later = spread(points, 100.0, 60.0, 12, peaks=False)
    assert before[:-1] == after[:-1]
    assert after[1:-1] == later[:-2]


def test_blocks() -> None:
    values = [None, 0.0, 1.0, 4.0, 6.0, 8.0, 9.0]
    assert blocks(values, 2, 8.0) == ["    ▄██", " ▁▂████"]
    assert blocks([8.0], 1, 8.0) == ["█"]
    assert blocks([], 2, 8.0) == ["", ""]


def test_nothing_a_little_and_unknown_differ() -> None:
    assert blocks([None, 0.0, 0.001], 3, 1000.0)[-1] == " ▁▂"


@pytest.mark.parametrize(
    ("value", "top"), [(0, 1), (0.03, 0.05), (1, 1), (1.1, 2), (2.1, 5), (51, 100), (12_345, 20_000)]
)
def test_the_top_is_a_round_number(value: float, top: float) -> None:
    assert round_up(value) == pytest.approx(top)


@given(
    st.lists(st.one_of(st.none(), st.floats(0, 1e15))),
    st.integers(1, 200),
    st.integers(1, 30),
    st.booleans(),
)
def test_any_past_fits_any_size(values: list[float | None], width: int, height: int, peaks: bool) -> None:
    points = [(float(number), value) for number, value in enumerate(values)]
    slots = spread(points, len(values), 60.0, width, peaks)
    lines = blocks(slots, height, round_up(max((value or 0.0 for value in slots), default=0.0)))
    assert [len(line) for line in lines] == [width] * height


@given(st.floats(-1, 3), st.integers(0, 60))
def test_a_bar_is_as_wide_as_it_should_be(share: float, width: int) -> None:
    assert cell_len(bar(share, width)) == width


def test_a_bar_is_full_only_of_what_is_full() -> None:
    assert bar(0, 4) == "░░░░"
    assert bar(0.5, 4) == "██░░"
    assert bar(0.0001, 4) == "▏░░░"
    assert bar(0.9999, 4) == "███▉"
    assert bar(1, 4) == bar(1.7, 4) == "████"


class GraphApp(App[None]):
    def __init__(self, points: Points) -> None:
        super().__init__()
        self.points = points

    def compose(self) -> ComposeResult:
        yield Graph("queries", lambda value: f"{value:.0f}/s")

    def on_mount(self) -> None:
        self.query_one(Graph).show(self.points, 900.0, 900.0)

    @property
    def lines(self) -> list[str]:
        graph = self.query_one(Graph)
        return [strip.text for strip in graph.render_lines(graph.outer_size.region)]


@pytest.mark.parametrize("size", [(60, 8), (120, 20), (200, 30), (12, 4)], ids=str)
async def test_a_graph_fills_its_place(size: tuple[int, int]) -> None:
    points: Points = [(float(at), None if 400 < at < 600 else at / 9) for at in range(0, 900, 5)]
    app = GraphApp(points)
    async with app.run_test(size=size) as pilot:
        await pilot.pause()
        assert app.lines[0].lstrip().startswith("queries")
        assert {cell_len(line) for line in app.lines} == {size[0]}
        low = app.lines[-1][1:-1]
        assert " " in low.strip()  # the gap
        assert app.lines[1][-4:].strip()  # now is the greatest


async def test_a_graph_of_nothing_says_so() -> None:
    app = GraphApp([])
    async with app.run_test(size=(40, 6)) as pilot:
        await pilot.pause()
        assert app.lines[0].split() == ["queries", "–"]
        assert "".join(app.lines[1:]).strip() == ""


async def test_the_heading_has_now_and_the_greatest() -> None:
    app = GraphApp([(890.0, 70.0), (895.0, 20.0), (900.0, 0.0)])
    async with app.run_test(size=(40, 6)) as pilot:
        await pilot.pause()
        assert app.lines[0].split() == ["queries", "0/s", "max", "70/s"]
        assert app.lines[-1].rstrip()[-1] == "▁"
