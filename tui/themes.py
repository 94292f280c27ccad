"""The looks of the console: dark, light, and one in which no meaning hangs on red against green."""

from __future__ import annotations

from typing import Final

from textual.theme import BUILTIN_THEMES, Theme

DARK: Final = "pooldeck-dark"
LIGHT: Final = "pooldeck-light"
SAFE: Final = "pooldeck-safe"

THEMES: Final = (
    Theme(
        name=DARK,
        primary="#4f9cd9",
        secondary="#3d6f99",
        accent="#7fd1c7",
        success="#6cc070",
        warning="#e5b454",
        error="#f0716b",
        foreground="#d7dde3",
        background="#12171c",
        surface="#161c22",
        panel="#232c35",
        dark=True,
    ),
    Theme(
        name=LIGHT,
        primary="#1f6fb2",
        secondary="#5a8fbb",
        accent="#0d7a70",
        success="#2b7a2f",
        warning="#9a6200",
        error="#b3261e",
        foreground="#1d242b",
        background="#f7f8f9",
        surface="#ffffff",
        panel="#e3e8ec",
        dark=False,
    ),
    # Blue, yellow and vermilion differ for every kind of colour blindness, and in brightness too.
    Theme(
        name=SAFE,
        primary="#56b4e9",
        secondary="#0072b2",
        accent="#cc79a7",
        success="#56b4e9",
        warning="#f0e442",
        error="#d55e00",
        foreground="#e6e6e6",
        background="#101010",
        surface="#161616",
        panel="#2a2a2a",
        dark=True,
    ),
)

THEME_NAMES: Final = (*(theme.name for theme in THEMES), *sorted(BUILTIN_THEMES))
"""All that may be asked for, ours first."""
