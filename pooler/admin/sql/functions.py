"""The functions of PostgreSQL that sqlite does not have, or has otherwise. NULL gives NULL unless said."""

from collections.abc import Callable, Mapping
from datetime import timedelta
from math import ceil, floor, trunc
from typing import Final

from pooler.admin.errors import AdminError
from pooler.admin.sql.errors import DIVISION_BY_ZERO, PROGRAM_LIMIT_EXCEEDED
from pooler.admin.sql.values import (
    TEXT_LIMIT,
    Value,
    bool_to_text,
    moment,
    parsed,
    text_of,
    to_bool,
    to_int4,
    to_int8,
    to_interval,
    to_numeric,
    to_text,
    to_timestamp,
)


def divide(left: Value, right: Value) -> Value:
    """`/` of whole numbers leaves no fraction."""
    if left is None or right is None:
        return None
    above, below = _operand(left), _operand(right)
    if below == 0:
        raise AdminError("division by zero", DIVISION_BY_ZERO)
    if isinstance(above, int) and isinstance(below, int):
        quotient = abs(above) // abs(below)
        return quotient if (above < 0) == (below < 0) else -quotient
    return above / below


def divide_numeric(left: Value, right: Value) -> Value:
    """`/` where one side is numeric."""
    if left is None or right is None:
        return None
    above, below = _operand(left), _operand(right)
    if below == 0:
        raise AdminError("division by zero", DIVISION_BY_ZERO)
    return above / below


def modulo(left: Value, right: Value) -> Value:
    """`%` has the sign of its left side."""
    if left is None or right is None:
        return None
    above, below = _operand(left), _operand(right)
    if below == 0:
        raise AdminError("division by zero", DIVISION_BY_ZERO)
    rest = abs(above) % abs(below)
    return rest if above >= 0 else -rest


def _operand(value: Value) -> int | float:
    number = to_numeric(value)
    assert isinstance(number, (int, float))
    return number


def greatest(*values: Value) -> Value:
    """The largest that is not NULL."""
    return _extreme(values, max)


def least(*values: Value) -> Value:
    """The smallest that is not NULL."""
    return _extreme(values, min)


def _extreme(values: tuple[Value, ...], choose: Callable[..., Value]) -> Value:
    there = [value for value in values if value is not None]
    if not there:
        return None
    numbers = all(isinstance(value, (int, float)) for value in there)
    return choose(there) if numbers else choose(there, key=text_of)


def ceiling(value: Value) -> Value:
    return None if value is None else ceil(_operand(value))


def flooring(value: Value) -> Value:
    return None if value is None else floor(_operand(value))


def truncated(value: Value, digits: Value = 0) -> Value:
    """`trunc`."""
    if value is None or digits is None:
        return None
    number = _operand(value)
    if not digits or isinstance(number, int):
        return trunc(number)
    factor = 10 ** max(-15, min(15, int(_operand(digits))))
    return float(trunc(number * factor) / factor)


def rounded(value: Value, digits: Value) -> Value:
    """`round` to tens and hundreds, where sqlite's own would round to ones."""
    if value is None or digits is None:
        return None
    factor = 10 ** max(0, min(18, -int(_operand(digits))))
    number = _operand(value)
    return float(floor(abs(number) / factor + 0.5) * factor * (1 if number >= 0 else -1))


def sign(value: Value) -> Value:
    if value is None:
        return None
    number = _operand(value)
    return (number > 0) - (number < 0)


def left(text: Value, count: Value) -> Value:
    if text is None or count is None:
        return None
    return text_of(text)[: int(_operand(count))]


def right(text: Value, count: Value) -> Value:
    if text is None or count is None:
        return None
    number = int(_operand(count))
    return text_of(text)[-number:] if number else ""


def split_part(text: Value, delimiter: Value, field: Value) -> Value:
    if text is None or delimiter is None or field is None:
        return None
    number = int(_operand(field))
    parts = text_of(text).split(text_of(delimiter)) if text_of(delimiter) else [text_of(text)]
    if number == 0:
        raise AdminError("field position must not be zero", "22023")
    index = number - 1 if number > 0 else len(parts) + number
    return parts[index] if 0 <= index < len(parts) else ""


def position(text: Value, part: Value) -> Value:
    """From 1; sqlite's own takes the product of both lengths."""
    return None if text is None or part is None else text_of(text).find(text_of(part)) + 1


def replace(text: Value, old: Value, new: Value) -> Value:
    if text is None or old is None or new is None:
        return None
    whole, before, after = text_of(text), text_of(old), text_of(new)
    if not before:
        return whole
    if len(whole) + whole.count(before) * (len(after) - len(before)) > TEXT_LIMIT:
        raise AdminError("string too long", PROGRAM_LIMIT_EXCEEDED)
    return whole.replace(before, after)


def trim(text: Value, letters: Value = " ") -> Value:
    return None if text is None or letters is None else text_of(text).strip(_few(letters))


def trim_left(text: Value, letters: Value = " ") -> Value:
    return None if text is None or letters is None else text_of(text).lstrip(_few(letters))


def trim_right(text: Value, letters: Value = " ") -> Value:
    return None if text is None or letters is None else text_of(text).rstrip(_few(letters))


def _few(letters: Value) -> str:
    return "".join(set(text_of(letters)))


def starts_with(text: Value, prefix: Value) -> Value:
    return None if text is None or prefix is None else int(text_of(text).startswith(text_of(prefix)))


def concat(*values: Value) -> Value:
    """NULL is nothing."""
    return _short("".join(text_of(value) for value in values if value is not None))


def concat_ws(separator: Value, *values: Value) -> Value:
    if separator is None:
        return None
    return _short(text_of(separator).join(text_of(value) for value in values if value is not None))


def pad_left(text: Value, length: Value, fill: Value = " ") -> Value:
    return _pad(text, length, fill, True)


def pad_right(text: Value, length: Value, fill: Value = " ") -> Value:
    return _pad(text, length, fill, False)


def _pad(text: Value, length: Value, fill: Value, before: bool) -> Value:
    if text is None or length is None or fill is None:
        return None
    size = max(0, min(int(_operand(length)), TEXT_LIMIT))
    body = text_of(text)[:size]
    pattern = text_of(fill)
    padding = (pattern * (size // len(pattern) + 1))[: size - len(body)] if pattern else ""
    return padding + body if before else body + padding


def size_pretty(size: Value) -> Value:
    """`pg_size_pretty`."""
    if size is None:
        return None
    amount = float(_operand(size))
    for unit in ("bytes", "kB", "MB", "GB", "TB"):
        if abs(amount) < 10240:
            return f"{floor(amount + 0.5)} {unit}"
        amount /= 1024
    return f"{floor(amount + 0.5)} PB"


def seconds_between(later: Value, earlier: Value) -> Value:
    """`-` of two timestamps."""
    if later is None or earlier is None:
        return None
    return (parsed(later) - parsed(earlier)).total_seconds()


def shift(when: Value, seconds: Value) -> Value:
    """A timestamp plus an interval."""
    if when is None or seconds is None:
        return None
    try:
        return moment(parsed(when) + timedelta(seconds=_operand(seconds)))
    except OverflowError:
        raise AdminError("timestamp out of range", "22008") from None


def epoch(when: Value) -> Value:
    """`extract(epoch FROM timestamp)`."""
    return None if when is None else parsed(when).timestamp()


def _short(text: str) -> str:
    if len(text) > TEXT_LIMIT:
        raise AdminError("string too long", PROGRAM_LIMIT_EXCEEDED)
    return text


FUNCTIONS: Final[Mapping[str, tuple[Callable[..., Value], int]]] = {
    "pg_int4": (to_int4, 1),
    "pg_int8": (to_int8, 1),
    "pg_numeric": (to_numeric, 1),
    "pg_text": (to_text, 1),
    "pg_bool_text": (bool_to_text, 1),
    "pg_bool": (to_bool, 1),
    "pg_timestamp": (to_timestamp, 1),
    "pg_interval": (to_interval, 1),
    "pg_divide": (divide, 2),
    "pg_divide_numeric": (divide_numeric, 2),
    "pg_modulo": (modulo, 2),
    "pg_greatest": (greatest, -1),
    "pg_least": (least, -1),
    "pg_ceil": (ceiling, 1),
    "pg_floor": (flooring, 1),
    "pg_trunc": (truncated, -1),
    "pg_round": (rounded, 2),
    "pg_sign": (sign, 1),
    "pg_left": (left, 2),
    "pg_right": (right, 2),
    "pg_split_part": (split_part, 3),
    "pg_position": (position, 2),
    "pg_replace": (replace, 3),
    "pg_trim": (trim, -1),
    "pg_ltrim": (trim_left, -1),
    "pg_rtrim": (trim_right, -1),
    "pg_starts_with": (starts_with, 2),
    "pg_concat": (concat, -1),
    "pg_concat_ws": (concat_ws, -1),
    "pg_lpad": (pad_left, -1),
    "pg_rpad": (pad_right, -1),
    "pg_size_pretty": (size_pretty, 1),
    "pg_seconds_between": (seconds_between, 2),
    "pg_shift": (shift, 2),
    "pg_epoch": (epoch, 1),
}
"""By their names in sqlite, with the number of arguments; -1 for any."""
