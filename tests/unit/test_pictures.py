"""What is made of an SVG before it is painted: the font is one that is there, and its lines meet."""

from __future__ import annotations

import re

from textual.app import App, ComposeResult
from textual.widgets import Static

from tests.screenshots.picture import with_our_fonts
from tests.screenshots.shots import SHOTS


class Box(App[None]):
    CSS = "Static { border: round red; }"

    def compose(self) -> ComposeResult:
        yield Static("text")


async def test_fonts_and_lines() -> None:
    app = Box()
    async with app.run_test(size=(20, 5)):
        before = app.export_screenshot(title="title")
    after = with_our_fonts(before)
    assert "Fira" in before
    assert "Fira" not in after
    assert "@font-face" not in after
    assert set(re.findall(r"font-family: ([^;,]+)", after)) == {"DejaVu Sans Mono", "DejaVu Sans"}
    assert re.search(r"-matrix \{[^}]*font-size: 21px", after)
    tops = [
        [float(y) for y in re.findall(r'<text class="[^"]*-r\d+"[^>]* y="([\d.]+)"', svg)]
        for svg in (before, after)
    ]
    assert tops[0]
    assert tops[1] == [round(y + 1, 4) for y in tops[0]]


def test_each_picture_has_a_file_of_its_own() -> None:
    names = [shot.name for shot in SHOTS]
    assert len(set(names)) == len(names)
