"""Limits, rates, and what they come to."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tui.admin.health import METRICS, Health, Limits, judge, parse_limits
from tui.admin.overview import Overview, rates

POOL: dict[str, Any] = {"database": "shop", "user": "web", "maxwait": 0.0} | dict.fromkeys(
    ("cl_active", "cl_waiting", "sv_active", "sv_idle", "sv_login"), 0
)
IDLE = Overview("PgBouncer 1.25.2", "active", (), (), 10, 100, (POOL,), {}, {"shop": 20})


def busy(**columns: float) -> Overview:
    return replace(IDLE, pools=(POOL, {**POOL, "user": "batch", **columns}))


def test_limits_are_read() -> None:
    assert parse_limits(["cl_waiting=1,maxwait=0.5", "clients=80"]) == {
        "cl_waiting": 1,
        "maxwait": 0.5,
        "clients": 80,
    }
    assert parse_limits([]) == {}


@pytest.mark.parametrize("text", ["cl_waiting", "cl_waiting=", "cl_waiting=-1", "cl_waiting>1", "nothing=1"])
def test_limits_that_make_no_sense(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a limit|there is no"):
        parse_limits([text])


@pytest.mark.parametrize(
    ("overview", "health"),
    [
        (busy(), Health.OK),
        (busy(cl_waiting=1), Health.OK),
        (busy(cl_waiting=2), Health.WARNING),
        (busy(cl_waiting=3), Health.WARNING),
        (busy(maxwait=4.999), Health.OK),
        (busy(maxwait=5.0), Health.CRITICAL),
        (busy(cl_waiting=2, maxwait=5.5), Health.CRITICAL),
    ],
)
def test_a_limit_holds_from_its_value_on(overview: Overview, health: Health) -> None:
    assert judge(overview, Limits({"cl_waiting": 2}, {"maxwait": 5})).health is health


def test_a_pooler_that_cannot_say_whether_it_is_paused_is_not_ok() -> None:
    old = replace(IDLE, version="PgBouncer 1.18.0", state="unknown")
    limits = Limits({}, {"paused": 1, "maxwait": 5})
    verdict = judge(old, limits)
    assert verdict.health is Health.UNKNOWN
    assert verdict.line.startswith(
        "POOLDECK UNKNOWN - PgBouncer 1.18.0 does not say whether all of it is paused"
    )
    assert judge(replace(old, paused=("shop",)), limits).health is Health.CRITICAL
    assert judge(old, Limits({}, {"maxwait": 5})).health is Health.OK


def test_the_line_has_what_is_wrong_first_and_the_limits() -> None:
    verdict = judge(
        busy(cl_waiting=7, maxwait=5.25), Limits({"cl_waiting": 10}, {"cl_waiting": 20, "maxwait": 5})
    )
    assert verdict.line == (
        "POOLDECK CRITICAL - maxwait=5.25s cl_waiting=7 | cl_waiting=7;10;20;0 maxwait=5.25s;;5;0"
    )


def test_without_limits_it_is_enough_to_answer() -> None:
    verdict = judge(busy(cl_waiting=100), Limits({}, {}))
    assert verdict.line == "POOLDECK OK - cl_waiting=100 maxwait=0s | cl_waiting=100;;;0 maxwait=0s;;;0"


@pytest.mark.parametrize(
    ("name", "overview", "value"),
    [
        ("pool_percent", busy(sv_active=15), 75),
        ("pool_percent", replace(busy(sv_active=15), pool_sizes={}), 0),
        ("clients_percent", IDLE, 10),
        ("clients_percent", replace(IDLE, max_clients=None), 0),
        ("cl_active", busy(cl_active=4), 4),
        ("maxwait", replace(IDLE, pools=()), 0),
        ("paused", replace(IDLE, paused=("a", "b"), state="paused"), 3),
        ("disabled", replace(IDLE, disabled=("a",)), 1),
    ],
)
def test_metrics(name: str, overview: Overview, value: float) -> None:
    assert METRICS[name].measure(overview) == value


def test_every_metric_is_documented() -> None:
    text = (Path(__file__).parents[3] / "docs" / "scripts.md").read_text()
    assert [name for name in METRICS if f"`{name}`" not in text] == []


def test_rates_are_per_second() -> None:
    before = replace(IDLE, totals={"total_query_count": 100.0, "total_xact_count": 50.0})
    after = replace(IDLE, totals={"total_query_count": 150.0, "total_xact_count": 50.0})
    assert rates(before, after, 2.0) == {
        "queries": 25.0,
        "transactions": 0.0,
        "bytes_in": None,  # not counted
        "bytes_out": None,
        "logins": None,
    }


def test_a_counter_that_began_anew_makes_all_rates_unknown() -> None:
    before = replace(IDLE, totals={"total_query_count": 100.0, "total_xact_count": 50.0})
    after = replace(IDLE, totals={"total_query_count": 150.0, "total_xact_count": 49.0})
    assert set(rates(before, after, 2.0).values()) == {None}
