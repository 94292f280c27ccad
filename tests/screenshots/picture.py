"""From the SVG that Textual exports to a PNG that looks the same everywhere.

An SVG names its font, and whoever shows it takes another one when that is not there: then lines break and
columns drift. So the pictures are rendered here, with a font that has box drawing, blocks and our symbols.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final

FONTS: Final = Path("/usr/share/fonts/truetype/dejavu")
"""Debian's fonts-dejavu-core and fonts-dejavu-extra."""

_MONO: Final = "DejaVu Sans Mono"
_TITLE: Final = "DejaVu Sans"

_FONT_SIZE: Final = 21
"""Instead of Rich's 20: lines are 24.4 high, and only so do DejaVu's box characters meet."""
_BASELINE: Final = 1.0
"""How much lower the text has to stand then."""

ZOOM: Final = 1.5


class NoFonts(RuntimeError):
    """The fonts are not on this machine."""


def png_of(svg: str) -> bytes:
    """The picture. Raises NoFonts."""
    import resvg_py

    if not (FONTS / "DejaVuSansMono.ttf").exists():
        raise NoFonts(f"{_MONO} is not in {FONTS}: install fonts-dejavu")
    return bytes(
        resvg_py.svg_to_bytes(
            svg_string=with_our_fonts(svg),
            skip_system_fonts=True,
            font_dirs=[str(FONTS)],
            zoom=ZOOM,
            text_rendering="geometric_precision",
        )
    )


def with_our_fonts(svg: str) -> str:
    """The SVG with DejaVu, in a size in which lines meet."""
    text = re.sub(r"@font-face \{.*?\}\n", "", svg, flags=re.DOTALL)
    text = text.replace("Fira Code", _MONO).replace("font-family: arial", f"font-family: {_TITLE}")
    text = re.sub(r"(-matrix \{[^}]*font-size: )20px", rf"\g<1>{_FONT_SIZE}px", text)
    return re.sub(r'(<text class="[^"]*-r\d+"[^>]* y=")([\d.]+)"', _lowered, text)


def _lowered(found: re.Match[str]) -> str:
    return f'{found[1]}{float(found[2]) + _BASELINE:g}"'
