"""Whole screens as text, compared with those that somebody has looked at.

After a change that is meant: POOLDECK_SNAPSHOTS=update make test ARGS=tests/unit/console, and read the diff.
"""

from __future__ import annotations

import difflib
import os
from pathlib import Path

from tests.unit.console.driving import text
from tui.app import Console

DIRECTORY = Path(__file__).parent / "snapshots"

SIZES = ((60, 20), (120, 36), (200, 60))


def check(console: Console, name: str) -> None:
    """Compare what is on the terminal with `name` at this size."""
    width, height = console.size
    path = DIRECTORY / f"{name}-{width}x{height}.txt"
    shown = text(console) + "\n"
    if os.environ.get("POOLDECK_SNAPSHOTS") == "update":
        path.parent.mkdir(exist_ok=True)
        path.write_text(shown, "utf-8")
        return
    kept = path.read_text("utf-8") if path.exists() else ""
    difference = difflib.unified_diff(kept.splitlines(), shown.splitlines(), str(path), "now", lineterm="")
    assert shown == kept, "\n".join(difference)
