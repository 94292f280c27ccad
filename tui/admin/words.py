"""Numbers as people say them."""

from __future__ import annotations

_SIZES = ("B", "KB", "MB", "GB", "TB", "PB")


def duration(seconds: float) -> str:
    """0.4 s, 12 s, 3 min 5 s, 2 h 10 min, 4 d 3 h."""
    if seconds < 10:
        return f"{max(0.0, seconds):.1f} s".replace(".0 ", " ")
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return _two(whole, 60, "min", 1, "s")
    if whole < 86400:
        return _two(whole, 3600, "h", 60, "min")
    return _two(whole, 86400, "d", 3600, "h")


def _two(whole: int, size: int, name: str, small_size: int, small_name: str) -> str:
    rest = whole % size // small_size
    return f"{whole // size} {name} {rest} {small_name}" if rest else f"{whole // size} {name}"


def short_duration(microseconds: float) -> str:
    """850 µs, 1.2 ms, 340 ms, 2.5 s: what a query takes."""
    if microseconds < 1000:
        return f"{microseconds:.0f} µs"
    if microseconds < 1_000_000:
        return f"{microseconds / 1000:.3g} ms"
    return duration(microseconds / 1_000_000)


def size(count: float) -> str:
    """512 B, 1.5 MB: bytes, a thousand of each to the next."""
    for unit in _SIZES[:-1]:
        if abs(count) < 999.5:
            return f"{count:.3g} {unit}"
        count /= 1000
    return f"{count:.3g} {_SIZES[-1]}"


def amount(count: float) -> str:
    """12, 3.4k, 1.2M: how many, where three digits are enough."""
    for unit in ("", "k", "M", "G"):
        if abs(count) < 999.5:
            return f"{count:.3g}{unit}"
        count /= 1000
    return f"{count:.3g}T"


def counted(number: float, what: str) -> str:
    """1 client, 12 clients."""
    return f"{number:.0f} {what}" if number == 1 else f"{number:.0f} {what}s"
