"""The table of the bench: medians, and ratios within a round."""

import os

from tests.bench.procfs import cpu_seconds, resident_bytes
from tests.bench.report import Results
from tests.bench.rows import Measurement, Row
from tests.bench.targets import DIRECT, REFERENCE


def table_of(results: Results) -> list[list[str]]:
    row = Row("select", "tx/s", "µs CPU/tx", lambda target: None)
    lines = results.markdown([row], [DIRECT, "pooldeck", REFERENCE]).splitlines()[2:]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_ratio_is_the_median_of_the_rounds_not_the_ratio_of_the_medians() -> None:
    results = Results()
    for ours, theirs in [(10, 10), (30, 10), (40, 20)]:
        results.add("select", "pooldeck", Measurement(rate=1, cost=ours))
        results.add("select", REFERENCE, Measurement(rate=1, cost=theirs))
    assert sorted(results.ratios("select", "pooldeck")) == [1, 2, 3]
    assert table_of(results)[1] == [
        "select",
        "pooldeck",
        "1 tx/s",
        "",
        "30.0 µs CPU/tx",
        "2.00 (1.00 to 3.00)",
    ]


def test_a_round_that_failed_for_one_side_has_no_ratio() -> None:
    results = Results()
    results.add("select", "pooldeck", None)
    results.add("select", REFERENCE, Measurement(rate=1, cost=10))
    results.add("select", "pooldeck", Measurement(rate=1, cost=15))
    results.add("select", REFERENCE, Measurement(rate=1, cost=10))
    assert results.ratios("select", "pooldeck") == [1.5]


def test_what_was_not_measured_is_said_to_be_so() -> None:
    results = Results()
    results.add("select", DIRECT, Measurement(rate=2000, latency=0.5))
    results.add("select", "pooldeck", None)
    results.add("select", REFERENCE, Measurement(rate=1000, latency=1, cost=9.44))
    assert table_of(results) == [
        ["select", DIRECT, "2,000 tx/s", "0.500", "", ""],
        ["select", "pooldeck", "n/a", "", "", ""],
        ["select", REFERENCE, "1,000 tx/s", "1.000", "9.4 µs CPU/tx", ""],
    ]


def test_cpu_and_memory_of_a_process_are_read_from_proc() -> None:
    before = cpu_seconds(os.getpid())
    while cpu_seconds(os.getpid()) < before + 0.05:
        sum(range(10_000))
    assert 5_000_000 < resident_bytes(os.getpid()) < 5_000_000_000
