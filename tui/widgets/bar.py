"""How full something is, as a bar that needs no colour."""

from __future__ import annotations

from typing import Final

_PARTS: Final = " ▏▎▍▌▋▊▉"
_REST: Final = "░"


def bar(share: float, width: int) -> str:
    """`share` of 1 in exactly `width` cells; a little is seen, and only what is full is drawn full."""
    if width < 1:
        return ""
    eighths = round(min(max(share, 0.0), 1.0) * width * 8)
    if 0 < share < 1:
        eighths = min(max(eighths, 1), width * 8 - 1)
    whole, part = divmod(eighths, 8)
    drawn = "█" * whole + (_PARTS[part] if part else "")
    return drawn + _REST * (width - len(drawn))
