"""What is remembered from one time to the next, and how numbers are said."""

from __future__ import annotations

from pathlib import Path

import pytest

from tui.admin import words
from tui.remembered import Remembered


def test_what_is_kept_is_there_again(tmp_path: Path) -> None:
    remembered = Remembered(tmp_path / "state")
    remembered.keep_columns("pools", ("user", "maxwait"))
    remembered.keep_order("pools", "maxwait", True)
    remembered.keep_theme("dark")
    again = Remembered(tmp_path / "state")
    assert again.columns("pools") == ("user", "maxwait")
    assert again.order("pools") == ("maxwait", True)
    assert again.theme == "dark"
    assert again.columns("clients") == ()
    assert again.order("clients") is None


@pytest.mark.parametrize(
    "text", ["", "[]", '{"screens": 3}', '{"screens": {"pools": {"columns": 1, "sort": 2}}}']
)
def test_a_file_that_makes_no_sense_is_as_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "console.json").write_text(text)
    remembered = Remembered(tmp_path)
    assert remembered.columns("pools") == ()
    assert remembered.order("pools") is None
    assert remembered.theme == ""
    remembered.keep_theme("light")
    assert Remembered(tmp_path).theme == "light"


def test_what_cannot_be_written_is_remembered_for_this_run(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    remembered = Remembered(tmp_path / "file" / "below")
    remembered.keep_theme("light")
    assert remembered.theme == "light"
    assert Remembered(None).theme == ""


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        *((-1, "0 s"), (0.44, "0.4 s"), (3, "3 s"), (59.4, "59 s"), (60, "1 min"), (185, "3 min 5 s")),
        *((3600, "1 h"), (7800, "2 h 10 min"), (86400, "1 d"), (360_000, "4 d 4 h")),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert words.duration(seconds) == text


def test_sizes_and_amounts() -> None:
    assert [words.size(count) for count in (0, 999, 1000, 1_500_000, 10**18)] == [
        *("0 B", "999 B", "1 KB", "1.5 MB", "1e+03 PB")
    ]
    assert [words.amount(count) for count in (12, 3400, 1_200_000)] == ["12", "3.4k", "1.2M"]
    assert [words.short_duration(micro) for micro in (850, 1200, 340_000, 2_500_000)] == [
        *("850 µs", "1.2 ms", "340 ms", "2.5 s")
    ]
