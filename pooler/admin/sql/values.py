"""Values between PostgreSQL's types and sqlite's.

Inside of sqlite a boolean is 0 or 1, a timestamp its text in UTC, an interval a number of seconds, and a
numeric an integer or a double.
"""

import re
import time
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal, InvalidOperation
from math import floor, isfinite
from typing import Final

from pooler.admin.errors import AdminError
from pooler.admin.sql.errors import INVALID_TEXT, OUT_OF_RANGE
from pooler.wire.messages import BOOL, BYTEA, INT4, INT8, NUMERIC, TEXT, TIMESTAMPTZ

INTERVAL: Final = 1186
"""Never leaves: it is sent as text."""

TEXT_LIMIT: Final = 64 * 1024
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
        return to_int8(text)
    if oid == TIMESTAMPTZ:
        return to_timestamp(text)
    return to_numeric(text) if oid == NUMERIC else text


# Casts -----------------------------------------------------------------------------------------------------


def to_int4(value: Value) -> Value:
    """`::int`."""
    number = to_int8(value)
    if isinstance(number, int) and not -(2**31) <= number < 2**31:
        raise AdminError("integer out of range", OUT_OF_RANGE)
    return number


def to_int8(value: Value) -> Value:
    """`::int8`: halves away from zero."""
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
    text = text_of(value).strip()
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
    return value if value is None or isinstance(value, bytes) else text_of(value)


def bool_to_text(value: Value) -> Value:
    """`::text` of a boolean."""
    return None if value is None else ("true" if value else "false")


def to_bool(value: Value) -> Value:
    """`::bool`."""
    if value is None or isinstance(value, (int, float)):
        return None if value is None else int(value != 0)
    text = text_of(value).strip().lower()
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
        match = _MOMENT.fullmatch(text_of(value))
        if match is None:
            raise ValueError
        year, month, day, hour, minute, second = (int(part or 0) for part in match.groups()[:6])
        micro = int((match[7] or "0").ljust(6, "0"))
        naive = datetime(year, month, day, hour, minute, second, micro)
        return moment(_with_zone(naive, match[8], match[9], match[10]))
    except (ValueError, OverflowError, OSError):
        raise AdminError(
            f'invalid input syntax for type timestamp with time zone: "{text_of(value)[:100]}"', "22007"
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


def parsed(text: Value) -> datetime:
    """A timestamp as it is kept, or can be."""
    return datetime.strptime(text_of(to_timestamp(text)), "%Y-%m-%d %H:%M:%S.%f+00").replace(tzinfo=UTC)


def to_interval(value: Value) -> Value:
    """`::interval`, in seconds."""
    if value is None or isinstance(value, (int, float)):
        return value
    text = text_of(value).strip().lower()
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


def text_of(value: Value) -> str:
    """As PostgreSQL prints it."""
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return plain(value) if isinstance(value, float) else str(value)
