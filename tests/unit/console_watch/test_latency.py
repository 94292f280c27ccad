"""Times of all pools together."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.support.fake_admin import table
from tui.watch.latency import Times, times


def row(database: str = "app", kind: str = "query", span: str = "recent", **values: Any) -> dict[str, Any]:
    found = {"count": 100, "p50": 1000, "p90": 4000, "p95": 5000, "p99": 9000, "max": 20000}
    return {"database": database, "user": "web", "kind": kind, "span": span, **found, **values}


def test_one_pool_is_as_the_pooler_says() -> None:
    latency = table(row(), row(span="total", p50=7), row("pgbouncer", p50=9), row("idle", count=0, p50=3))
    assert times(latency) == {"query": Times(100, 1000, 5000, 9000, 20000, True)}


def test_alike_pools_are_as_each_of_them() -> None:
    found = times(table(row("a"), row("b")))["query"]
    assert (found.count, found.exact, found.max) == (200, False, 20000)
    assert (found.p50, found.p95, found.p99) == pytest.approx((1000, 5000, 9000), rel=0.01)


def test_a_pool_with_few_samples_moves_little() -> None:
    found = times(
        table(row("a", count=100_000), row("b", count=1, p50=10**6, p95=10**6, p99=10**6, max=10**6))
    )
    assert found["query"].p99 == pytest.approx(9000, rel=0.02)
    assert found["query"].max == 10**6


def test_kinds_are_kept_apart() -> None:
    found = times(table(row(), row(kind="wait", p50=5), row(kind="something new")))
    assert set(found) == {"query", "wait"}


@given(
    st.lists(
        st.tuples(st.integers(1, 10**6), st.lists(st.integers(0, 10**9), min_size=5, max_size=5)), min_size=2
    )
)
def test_percentiles_are_in_order_and_within_what_there_was(rows: list[tuple[int, list[int]]]) -> None:
    pools = []
    for number, (count, values) in enumerate(rows):
        p50, p90, p95, p99, most = sorted(values)
        pools.append(row(f"db{number}", count=count, p50=p50, p90=p90, p95=p95, p99=p99, max=most))
    found = times(table(*pools))["query"]
    assert 0 <= found.p50 <= found.p95 <= found.p99 <= found.max
