"""Numbers of type numeric in PostgreSQL's binary format."""

import struct
from decimal import Decimal
from types import MappingProxyType
from typing import Final

_NO_NUMBERS: Final = MappingProxyType({0xC000: "NaN", 0xD000: "Infinity", 0xF000: "-Infinity"})
"""What takes the place of the sign in numeric's binary format."""


def to_binary(number: Decimal) -> bytes:
    """Digits to the base of 10,000: how many, the weight of the first, sign, decimals that are shown."""
    if number.is_nan():
        return struct.pack("!hhHh", 0, 0, 0xC000, 0)
    if number.is_infinite():
        return struct.pack("!hhHh", 0, 0, 0xF000 if number < 0 else 0xD000, 0x20)
    sign, digits, exponent = number.as_tuple()
    assert isinstance(exponent, int)
    decimals = max(0, -exponent)
    text = ("".join(map(str, digits)) + "0" * max(0, exponent)).rjust(decimals, "0")
    whole, fraction = text[: len(text) - decimals], text[len(text) - decimals :]
    whole = whole.rjust(-(-len(whole) // 4) * 4, "0")
    padded = whole + fraction.ljust(-(-len(fraction) // 4) * 4, "0")
    groups = [int(padded[at : at + 4]) for at in range(0, len(padded), 4)]
    leading = next((at for at, group in enumerate(groups) if group), len(groups))
    weight = len(whole) // 4 - 1 - leading
    del groups[:leading]
    while groups and groups[-1] == 0:
        groups.pop()
    header = struct.pack(
        "!hhHh", len(groups), weight if groups else 0, 0x4000 if sign and groups else 0, decimals
    )
    return header + struct.pack(f"!{len(groups)}h", *groups)


def from_binary(raw: bytes) -> Decimal:
    """Raises ValueError or struct.error for what is no number."""
    count, weight, sign, decimals = struct.unpack_from("!hhHh", raw)
    if len(raw) != 8 + 2 * count or decimals < 0:
        raise ValueError(raw)
    if sign in _NO_NUMBERS:
        return Decimal(_NO_NUMBERS[sign])
    if sign not in (0, 0x4000):
        raise ValueError(raw)
    groups = struct.unpack_from(f"!{count}h", raw, 8)
    if any(not 0 <= group < 10_000 for group in groups):
        raise ValueError(raw)
    digits = "".join(f"{group:04d}" for group in groups) or "0"
    number = Decimal((int(sign == 0x4000), tuple(map(int, digits)), 4 * (weight + 1 - count)))
    text = format(number, "f")
    whole, _, fraction = text.partition(".")
    return Decimal(f"{whole}.{fraction[:decimals].ljust(decimals, '0')}" if decimals else whole)
