"""Percentiles are as exact as promised, and histograms add up."""

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pooler.pool.histogram import BUCKETS, Distribution, Histogram, bucket, merge, middle

HOUR_US = 3_600_000_000
times_us = st.lists(
    st.one_of(st.integers(0, 100), st.integers(0, 100_000), st.integers(0, 10 * HOUR_US)), max_size=60
)


def recorded(times: list[int]) -> Histogram:
    histogram = Histogram()
    for us in times:
        histogram.record(us * 1000)
    return histogram


def same(one: Distribution, other: Distribution) -> bool:
    """Empty buckets at the end make no difference."""
    size = max(len(one.counts), len(other.counts))
    padded = [found.counts.tolist() + [0] * (size - len(found.counts)) for found in (one, other)]
    return padded[0] == padded[1] and one.highest == other.highest


@given(times_us.filter(bool), st.sampled_from([1, 50, 90, 95, 99, 100]))
def test_percentiles_are_within_a_32nd(times: list[int], percent: int) -> None:
    exact = sorted(times)[max(1, -(-len(times) * percent // 100)) - 1]
    found = recorded(times).reading().percentile(percent)
    assert abs(found - exact) <= exact / 32


@given(times_us)
def test_count_and_maximum_are_exact(times: list[int]) -> None:
    reading = recorded(times).reading()
    assert (reading.samples, reading.highest) == (len(times), max(times, default=0))


@given(times_us, times_us)
def test_merged_is_the_same_as_recorded_together(some: list[int], others: list[int]) -> None:
    merged = merge([recorded(some).reading(), recorded(others).reading()])
    assert same(merged, recorded(some + others).reading())


@given(times_us, times_us, times_us)
def test_recent_is_the_period_before_and_this_one(
    old: list[int], last: list[int], present: list[int]
) -> None:
    histogram = Histogram()
    for times in (old, last):
        for us in times:
            histogram.record(us * 1000)
        histogram.rotate()
    for us in present:
        histogram.record(us * 1000)
    assert same(histogram.recent(), recorded(last + present).reading())
    assert same(histogram.reading(), recorded(old + last + present).reading())


@given(st.integers(0, 20 * HOUR_US))
def test_buckets_are_in_the_order_of_times(us: int) -> None:
    assert bucket(us) <= bucket(us + 1) <= bucket(us) + 1
    assert bucket(us) < BUCKETS


def test_every_bucket_holds_its_middle() -> None:
    assert [bucket(middle(place)) for place in range(BUCKETS)] == list(range(BUCKETS))


def test_what_is_too_long_counts_in_the_last_bucket() -> None:
    reading = recorded([100 * 24 * HOUR_US]).reading()
    assert (reading.samples, reading.highest) == (1, 100 * 24 * HOUR_US)
    assert reading.percentile(50) > 17 * HOUR_US


def test_many_of_the_same() -> None:
    reading = recorded([7] * 1000 + [9] * 256).reading()
    assert (reading.samples, reading.counts[7], reading.counts[9]) == (1256, 1000, 256)


def test_nothing_recorded() -> None:
    assert merge([]).percentile(99) == 0
    assert Distribution(array("q"), 0).samples == 0


@pytest.mark.parametrize("slowest_us", [1_000, 1_000_000, HOUR_US])
def test_memory_is_that_of_what_was_seen(slowest_us: int) -> None:
    counts = recorded([slowest_us]).reading().counts
    assert bucket(slowest_us) < len(counts) <= bucket(slowest_us) + 33
