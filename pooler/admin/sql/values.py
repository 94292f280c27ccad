"""Values between PostgreSQL's types and sqlite's, and the functions of PostgreSQL that sqlite does not have.

Inside of sqlite a boolean is 0 or 1, a timestamp its text in UTC, an interval a number of seconds, and a
numeric an integer or a double.
"""

import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal, InvalidOperation
from math import ceil, floor, isfinite, trunc
from typing import Final

from pooler.admin.errors import AdminError
from pooler.admin.sql.errors import DIVISION_BY_ZERO, INVALID_TEXT, OUT_OF_RANGE, PROGRAM_LIMIT_EXCEEDED
from pooler.wire.messages import BOOL, BYTEA, INT4, INT8, NUMERIC, TEXT, TIMESTAMPTZ

INTERVAL: Final = 1186
"""Never leaves: it is sent as text."""

TEXT_LIMIT: Final = 256 * 1024
"""Characters of a value."""

Value = None | int | float | str | bytes

_WHOLE: Final = frozenset((INT4, INT8))
_MOMENT: Final = re.compile(
    r"\s*(\d{4})-(\d\d?)-(\d\d?)(?:[ T](\d\d?):(\d\d?)(?::(\d\d?)(?:\.(\d{1,6})\d*)?)?)?\s*"
    r"(?:([A-Za-z]+)|([+-]\d\d?)(?::?(\d\d))?)?\s*"
)
_SPAN: Final = re.compile(r"([+-]?\d+(?:\.\d+)?)\s*([a-z]+)")
_CLOCK: Final = re.compile(r"([+-]?)(\d+):(\d\d)(?::(\d\d(?:\.\d+)?))?")
_UNITS: Final[Mapping[str, float]] = {
    "microsecond": 1e-6,
    "us": 1e-6,
    "millisecond": 1e-3,
    "ms": 1e-3,
    "second": 1,
    "sec": 1,
    "s": 1,
    "minute": 60,
    "min": 60,
    "m": 60,
    "hour": 3600,
    "h": 3600,
    "day": 86400,
    "d": 86400,
    "week": 604800,
    "w": 604800,
}
_TRUE: Final = frozenset(("t", "tr", "tru", "true", "y", "ye", "yes", "on", "1"))
_FALSE: Final = frozenset(("f", "fa", "fal", "fals", "false", "n", "no", "of", "off", "0"))


# Results ---------------------------------------------------------------------------------------------------


def kind_of(values: list[Value]) -> int:
    """The type that a column has by its values."""
    found = {type(value) for value in values if value is not None}
    if found == {int}:
        return INT8
    if found and found <= {int, float}:
        return NUMERIC
    return BYTEA if found == {bytes} else TEXT


def fits(value: Value, oid: int) -> bool:
    """Whether a value of sqlite can be sent as this type."""
    if value is None or oid == TEXT:
        return True
    if oid == BYTEA:
        return isinstance(value, bytes)
    if oid == TIMESTAMPTZ:
        return isinstance(value, str)
    if oid in _WHOLE or oid == BOOL:
        return isinstance(value, int)
    return isinstance(value, (int, float))


def result_value(value: Value, oid: int, scale: int | None) -> object:
    """A value of sqlite as text format has it; with `scale` digits after the point, if that is known."""
    if value is None or isinstance(value, bytes):
        return value
    if oid == BOOL:
        return "t" if value else "f"
    if oid == INTERVAL and isinstance(value, (int, float)):
        return interval_text(value)
    if oid == TIMESTAMPTZ:
        return re.sub(r"\.?0*\+00$", "+00", str(value))
    if oid == NUMERIC and scale is not None and isinstance(value, (int, float)) and isfinite(value):
        return f"{Decimal(repr(value)):.{scale}f}"
    return plain(value) if isinstance(value, float) else value


def plain(value: float) -> str:
    """A number without an exponent, as numeric has it."""
    if not isfinite(value):
        return "NaN" if value != value else ("Infinity" if value > 0 else "-Infinity")
    text = f"{Decimal(repr(value)):f}"
    return text.removesuffix(".0")


def parameter_value(value: object, oid: int) -> Value:
    """What a client gives for $1, as sqlite takes it. Raises AdminError if it is none of that type."""
    if value is None or isinstance(value, bytes):
        return value
    if oid == BOOL:
        return to_bool(value) if isinstance(value, (int, str)) else int(bool(value))
    text = str(value)
    if oid in _WHOLE:
        return to_int(text)
    return to_numeric(text) if oid == NUMERIC else text


# Casts -----------------------------------------------------------------------------------------------------


def to_int(value: Value) -> Value:
    """`::int`, `::int8`: halves away from zero."""
    number = _number(value, "integer", "-+0123456789")
    if isinstance(number, float):
        if not isfinite(number):
            raise AdminError("bigint out of range", OUT_OF_RANGE)
        number = floor(abs(number) + 0.5) * (1 if number >= 0 else -1)
    if number is not None and not -(2**63) <= number < 2**63:
        raise AdminError("bigint out of range", OUT_OF_RANGE)
    return number


def to_numeric(value: Value) -> Value:
    """`::numeric`, `::float8`."""
    number = _number(value, "numeric", "-+0123456789.eE")
    if isinstance(number, int) and not -(2**63) <= number < 2**63:
        return float(number)
    return number


def _number(value: Value, name: str, letters: str) -> int | float | None:
    if value is None or isinstance(value, (int, float)):
        return value
    text = _text(value).strip()
    try:
        if not text or len(text) > 1000 or text.strip(letters):
            raise ValueError
        return int(text)
    except ValueError:
        pass
    try:
        if name == "integer" or text.strip(letters):
            raise ValueError
        return float(Decimal(text))
    except (ValueError, InvalidOperation, OverflowError):
        raise AdminError(f'invalid input syntax for type {name}: "{text[:100]}"', INVALID_TEXT) from None


def to_text(value: Value) -> Value:
    """`::text`."""
    return value if value is None or isinstance(value, bytes) else _text(value)


def bool_to_text(value: Value) -> Value:
    """`::text` of a boolean."""
    return None if value is None else ("true" if value else "false")


def to_bool(value: Value) -> Value:
    """`::bool`."""
    if value is None or isinstance(value, (int, float)):
        return None if value is None else int(value != 0)
    text = _text(value).strip().lower()
    if text in _TRUE or text in _FALSE:
        return int(text in _TRUE)
    raise AdminError(f'invalid input syntax for type boolean: "{text[:100]}"', INVALID_TEXT)


def to_timestamp(value: Value) -> Value:
    """`::timestamptz`: also of SHOW's times, which name the zone of the pooler; and of seconds since 1970."""
    if value is None:
        return None
    try:
        if isinstance(value, (int, float)):
            return moment(datetime.fromtimestamp(value, UTC))
        match = _MOMENT.fullmatch(_text(value))
        if match is None:
            raise ValueError
        year, month, day, hour, minute, second = (int(part or 0) for part in match.groups()[:6])
        micro = int((match[7] or "0").ljust(6, "0"))
        naive = datetime(year, month, day, hour, minute, second, micro)
        return moment(_with_zone(naive, match[8], match[9], match[10]))
    except (ValueError, OverflowError, OSError):
        raise AdminError(
            f'invalid input syntax for type timestamp with time zone: "{_text(value)[:100]}"', "22007"
        ) from None


def _with_zone(naive: datetime, name: str | None, hours: str | None, minutes: str | None) -> datetime:
    if hours is not None:
        offset = timedelta(hours=int(hours), minutes=int(hours[0] + (minutes or "0")))
        return naive.replace(tzinfo=timezone(offset))
    if name is not None and name.upper() in ("UTC", "GMT", "Z"):
        return naive.replace(tzinfo=UTC)
    if name is None or name in time.tzname:
        return naive.astimezone(UTC)
    raise ValueError(name)


def moment(when: datetime) -> str:
    """A timestamp as it is kept: such texts sort by time."""
    return when.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f+00")


def _parsed(text: Value) -> datetime:
    return datetime.strptime(_text(to_timestamp(text)), "%Y-%m-%d %H:%M:%S.%f+00").replace(tzinfo=UTC)


def to_interval(value: Value) -> Value:
    """`::interval`, in seconds."""
    if value is None or isinstance(value, (int, float)):
        return value
    text = _text(value).strip().lower()
    clock = _CLOCK.search(text)
    seconds = 0.0
    if clock is not None:
        seconds = int(clock[2]) * 3600 + int(clock[3]) * 60 + float(clock[4] or 0)
        seconds = -seconds if clock[1] == "-" else seconds
        text = (text[: clock.start()] + text[clock.end() :]).strip()
    parts = _SPAN.findall(text)
    units = [_UNITS.get(unit if unit in _UNITS else unit.removesuffix("s")) for _, unit in parts]
    if _SPAN.sub("", text).strip() or (clock is None and not parts) or None in units:
        raise AdminError(f'invalid input syntax for type interval: "{text[:100]}"', "22007")
    return seconds + sum(float(count) * unit for (count, _), unit in zip(parts, units, strict=True) if unit)


def interval_text(seconds: float) -> str:
    """`1 day 02:03:04.5`."""
    micros = round(abs(seconds) * 1_000_000)
    days, micros = divmod(micros, 86_400_000_000)
    hours, micros = divmod(micros, 3_600_000_000)
    minutes, micros = divmod(micros, 60_000_000)
    whole, micros = divmod(micros, 1_000_000)
    part = f".{micros:06d}".rstrip("0") if micros else ""
    sign = "-" if seconds < 0 else ""
    day = f"{sign}{days} day{'' if days == 1 else 's'}" if days else ""
    clock = f"{sign}{hours:02d}:{minutes:02d}:{whole:02d}{part}"
    if day and not (hours or minutes or whole or micros):
        return day
    return f"{day} {clock}".strip()


# Functions -------------------------------------------------------------------------------------------------


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
    return choose(there) if numbers else choose(there, key=_text)


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


def sign(value: Value) -> Value:
    if value is None:
        return None
    number = _operand(value)
    return (number > 0) - (number < 0)


def left(text: Value, count: Value) -> Value:
    if text is None or count is None:
        return None
    return _text(text)[: int(_operand(count))]


def right(text: Value, count: Value) -> Value:
    if text is None or count is None:
        return None
    number = int(_operand(count))
    return _text(text)[-number:] if number else ""


def split_part(text: Value, delimiter: Value, field: Value) -> Value:
    if text is None or delimiter is None or field is None:
        return None
    number = int(_operand(field))
    parts = _text(text).split(_text(delimiter)) if _text(delimiter) else [_text(text)]
    if number == 0:
        raise AdminError("field position must not be zero", "22023")
    index = number - 1 if number > 0 else len(parts) + number
    return parts[index] if 0 <= index < len(parts) else ""


def starts_with(text: Value, prefix: Value) -> Value:
    return None if text is None or prefix is None else int(_text(text).startswith(_text(prefix)))


def concat(*values: Value) -> Value:
    """NULL is nothing."""
    return _short("".join(_text(value) for value in values if value is not None))


def concat_ws(separator: Value, *values: Value) -> Value:
    if separator is None:
        return None
    return _short(_text(separator).join(_text(value) for value in values if value is not None))


def pad_left(text: Value, length: Value, fill: Value = " ") -> Value:
    return _pad(text, length, fill, True)


def pad_right(text: Value, length: Value, fill: Value = " ") -> Value:
    return _pad(text, length, fill, False)


def _pad(text: Value, length: Value, fill: Value, before: bool) -> Value:
    if text is None or length is None or fill is None:
        return None
    size = max(0, min(int(_operand(length)), TEXT_LIMIT))
    body = _text(text)[:size]
    pattern = _text(fill)
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
    return (_parsed(later) - _parsed(earlier)).total_seconds()


def shift(when: Value, seconds: Value) -> Value:
    """A timestamp plus an interval."""
    if when is None or seconds is None:
        return None
    try:
        return moment(_parsed(when) + timedelta(seconds=_operand(seconds)))
    except OverflowError:
        raise AdminError("timestamp out of range", "22008") from None


def epoch(when: Value) -> Value:
    """`extract(epoch FROM timestamp)`."""
    return None if when is None else _parsed(when).timestamp()


def _text(value: Value) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return plain(value) if isinstance(value, float) else str(value)


def _short(text: str) -> str:
    if len(text) > TEXT_LIMIT:
        raise AdminError("string too long", PROGRAM_LIMIT_EXCEEDED)
    return text


FUNCTIONS: Final[Mapping[str, tuple[Callable[..., Value], int]]] = {
    "pg_int": (to_int, 1),
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
    "pg_sign": (sign, 1),
    "pg_left": (left, 2),
    "pg_right": (right, 2),
    "pg_split_part": (split_part, 3),
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
