"""Thresholds of a profile."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

from tui.watch.thresholds import AlertThresholds


def test_what_a_profile_leaves_out_has_its_default() -> None:
    found = AlertThresholds.from_mapping({"maxwait_critical": 10, "waiting_warning": 5})
    assert found == AlertThresholds(maxwait_critical=10, waiting_warning=5)
    assert AlertThresholds.from_mapping({}) == AlertThresholds()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"waitin_warning": 1}, r"^waitin_warning: there is no such threshold; there are waiting_warning, "),
        ({"waiting_warning": "5"}, r"^waiting_warning: '5' is not a whole number$"),
        ({"waiting_warning": 1.5}, r"^waiting_warning: 1.5 is not a whole number$"),
        ({"waiting_warning": True}, r"^waiting_warning: True is not a whole number$"),
        ({"maxwait_warning": None}, r"^maxwait_warning: None is not a number$"),
        ({"maxwait_warning": -1}, r"^maxwait_warning: -1 is out of range$"),
        ({"maxwait_warning": float("nan")}, r"^maxwait_warning: nan is out of range$"),
        ({"maxwait_warning": float("inf")}, r"^maxwait_warning: inf is out of range$"),
        ({"clear_ticks": 0}, r"^clear_ticks: has to be 1 at least$"),
        ({"pool_ticks": 0}, r"^pool_ticks: has to be 1 at least$"),
        ({"clear_percent": 101}, r"^clear_percent: cannot be above 100$"),
    ],
)
def test_what_is_wrong_is_named(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        AlertThresholds.from_mapping(values)


def test_all_are_plain_numbers() -> None:
    assert {each.type for each in fields(AlertThresholds)} == {"int", "float"}


def test_every_threshold_is_in_the_manual() -> None:
    text = (Path(__file__).parents[3] / "docs" / "console.md").read_text("utf-8")
    assert [each.name for each in fields(AlertThresholds) if f"`{each.name}`" not in text] == []
