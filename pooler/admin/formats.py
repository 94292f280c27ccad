"""Types of columns and parameters, in text and in binary format ("Formats and Format Codes" of the protocol).

The binary formats are those of PostgreSQL's send and receive functions. All raise AdminError for what a type
cannot be.
"""

import re
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from types import MappingProxyType
from typing import Final

from pooler.admin import numeric
from pooler.admin.console import Column, Row
from pooler.admin.errors import AdminError
from pooler.wire import messages
from pooler.wire.messages import BYTEA, INT4, INT8, NUMERIC, TEXT

BOOL: Final = 16
CHAR: Final = 18
NAME: Final = 19
INT2: Final = 21
OID: Final = 26
FLOAT4: Final = 700
FLOAT8: Final = 701
UNKNOWN: Final = 705
BPCHAR: Final = 1042
VARCHAR: Final = 1043
TIMESTAMPTZ: Final = 1184

INVALID_TEXT: Final = "22P02"
INVALID_BINARY: Final = "22P03"
OUT_OF_RANGE: Final = "22003"
INVALID_ENCODING: Final = "22021"
NOT_SUPPORTED: Final = "0A000"

_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_INTEGER: Final = re.compile(r"\s*[+-]?[0-9]+\s*", re.ASCII)
_NUMBER: Final = re.compile(
    r"\s*(?:nan|[+-]?(?:inf(?:inity)?|(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:e[+-]?[0-9]{1,5})?))\s*",
    re.IGNORECASE | re.ASCII,
)
_NUMERIC_DIGITS: Final = 131_072
"""Digits on either side of the point: what PostgreSQL takes before it, and more than it takes behind it."""

_BOOLEANS: Final = MappingProxyType(
    dict.fromkeys(("t", "true", "y", "yes", "on", "1"), True)
    | dict.fromkeys(("f", "false", "n", "no", "off", "0"), False)
)


@dataclass(frozen=True, slots=True)
class Type:
    """How values of one type go over the wire. Encoders raise ValueError, TypeError, ArithmeticError or
    struct.error.
    """

    name: str
    size: int
    """In bytes, as RowDescription says it; -1 if it varies."""
    to_text: Callable[[object], bytes]
    to_binary: Callable[[object], bytes]
    from_text: Callable[[str], object]
    from_binary: Callable[[bytes], object]


def of(oid: int) -> Type | None:
    """The type with this oid, None if values of it cannot be read or made."""
    return _TYPES.get(oid)


# Rows ------------------------------------------------------------------------------------------------------


def row_description(columns: Iterable[Column], format_codes: Sequence[int] = ()) -> bytes:
    """A RowDescription; `format_codes` as `column_formats` gives them, all text if left out."""
    fields = []
    for position, (name, oid) in enumerate(columns):
        kind = of(oid)
        size = -1 if kind is None else kind.size
        code = format_codes[position] if format_codes else 0
        fields.append(messages.string(name) + struct.pack("!ihihih", 0, 0, oid, size, -1, code))
    return messages.message(b"T", struct.pack("!h", len(fields)), *fields)


def row_encoder(columns: Sequence[Column], format_codes: Sequence[int] = ()) -> Callable[[Row], bytes]:
    """What makes DataRows of these columns. Raises AdminError for a value that its column cannot hold."""
    if not any(format_codes) and all(oid in _AS_THEY_ARE for _, oid in columns):
        return messages.data_row
    codes = format_codes or (0,) * len(columns)
    encoders = [_encoder(oid, code) for (_, oid), code in zip(columns, codes, strict=True)]

    def encode(row: Row) -> bytes:
        cells = [None if value is None else cell(value) for cell, value in zip(encoders, row, strict=True)]
        return messages.data_row(cells)

    return encode


def column_formats(codes: Sequence[int], columns: Sequence[Column]) -> tuple[int, ...]:
    """A format code for each column from those of a Bind: none, one for all, or one for each."""
    if len(codes) > 1 and len(codes) != len(columns):
        raise AdminError(f"bind message has {len(codes)} result formats but query has {len(columns)} columns")
    return _each(codes, len(columns))


def _encoder(oid: int, code: int) -> Callable[[object], bytes]:
    kind = of(oid) or _TYPES[TEXT]
    convert = kind.to_binary if code else kind.to_text

    def encode(value: object) -> bytes:
        try:
            return convert(value)
        except (ValueError, TypeError, ArithmeticError, struct.error):
            raise AdminError(f"value out of range for type {kind.name}", OUT_OF_RANGE) from None

    return encode


# Parameters ------------------------------------------------------------------------------------------------


def parameter_values(
    oids: Sequence[int], codes: Sequence[int], raw: Sequence[bytes | None]
) -> tuple[object, ...]:
    """The values of a Bind, as many as `oids`; `codes` are none, one for all, or one for each."""
    if len(codes) > 1 and len(codes) != len(raw):
        raise AdminError(f"bind message has {len(codes)} parameter formats but {len(raw)} parameters")
    described = zip(oids, _each(codes, len(raw)), raw, strict=True)
    return tuple(_parameter(number, *found) for number, found in enumerate(described, 1))


def _parameter(number: int, oid: int, code: int, raw: bytes | None) -> object:
    if raw is None:
        return None
    kind = of(oid)
    if kind is None and code:
        raise AdminError(f"no binary input function available for type {oid}", NOT_SUPPORTED)
    kind = kind or _TYPES[TEXT]
    if code:
        return _from_binary(kind, number, raw)
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = "\0"
    if "\0" in text:
        raise AdminError(
            f'invalid byte sequence for encoding "UTF8" in parameter ${number}', INVALID_ENCODING
        )
    try:
        return kind.from_text(text)
    except OverflowError:
        raise AdminError(
            f"value of parameter ${number} is out of range for type {kind.name}", OUT_OF_RANGE
        ) from None
    except (ValueError, ArithmeticError):
        raise AdminError(
            f"invalid input syntax for type {kind.name} in parameter ${number}", INVALID_TEXT
        ) from None


def _from_binary(kind: Type, number: int, raw: bytes) -> object:
    try:
        return kind.from_binary(raw)
    except (ValueError, ArithmeticError, struct.error):
        raise AdminError(f"incorrect binary data format in bind parameter {number}", INVALID_BINARY) from None


def _each(codes: Sequence[int], count: int) -> tuple[int, ...]:
    """One code for each of `count` values."""
    for code in codes:
        if code not in (0, 1):
            raise AdminError(f"unsupported format code: {code}", "22023")
    if len(codes) == 1:
        return (codes[0],) * count
    return tuple(codes) or (0,) * count


# Types -----------------------------------------------------------------------------------------------------


def _text(value: object) -> bytes:
    """Bytes are text that is encoded already."""
    return value if isinstance(value, bytes) else messages.legible(str(value))


def _identity(text: str) -> object:
    return text


def _text_from_binary(raw: bytes) -> object:
    text = raw.decode()
    if "\0" in text:
        raise ValueError(text)
    return text


def _integer_text(value: object) -> bytes:
    return b"%d" % _integer(value)


def _integer(value: object) -> int:
    return value if isinstance(value, int) else int(str(value))


def _integer_type(name: str, size: int, code: str, *, signed: bool = True) -> Type:
    layout = struct.Struct(f"!{code}")
    lowest = -(1 << (8 * size - 1)) if signed else 0
    highest = lowest + (1 << 8 * size)

    def from_text(text: str) -> object:
        if not _INTEGER.fullmatch(text):
            raise ValueError(text)
        if len(text) > 100 or not lowest <= int(text) < highest:
            raise OverflowError(text)
        return int(text)

    return Type(
        name,
        size,
        _integer_text,
        lambda value: layout.pack(_integer(value)),
        from_text,
        lambda raw: layout.unpack(raw)[0],
    )


def _float_text(value: object) -> bytes:
    number = float(str(value))
    if number != number or number in (float("inf"), float("-inf")):
        return {"nan": b"NaN", "inf": b"Infinity", "-inf": b"-Infinity"}[repr(number)]
    return repr(number).removesuffix(".0").encode()


def _float_type(name: str, size: int, code: str) -> Type:
    layout = struct.Struct(f"!{code}")
    return Type(
        name,
        size,
        _float_text,
        lambda value: layout.pack(float(str(value))),
        _float_from_text,
        lambda raw: layout.unpack(raw)[0],
    )


def _float_from_text(text: str) -> object:
    if not _NUMBER.fullmatch(text):
        raise ValueError(text)
    return float(text)


def _bool(value: object) -> bool:
    if isinstance(value, str):
        return _bool_from_text(value)
    return bool(value)


def _bool_from_text(text: str) -> bool:
    found = _BOOLEANS.get(text.strip().lower())
    if found is None:
        raise ValueError(text)
    return found


def _bool_from_binary(raw: bytes) -> object:
    return bool(struct.unpack("!B", raw)[0])


def _bytea(value: object) -> bytes:
    return value if isinstance(value, bytes) else messages.encode(str(value))


def _bytea_text(value: object) -> bytes:
    return b"\\x" + _bytea(value).hex().encode()


def _bytea_from_text(text: str) -> object:
    if text.startswith("\\x"):
        return bytes.fromhex(text[2:])
    if "\\" in text:
        raise ValueError(text)
    return text.encode()


def _moment(value: object) -> datetime:
    """What has no time zone is UTC, as the console's TimeZone says."""
    moment = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _moment_text(value: object) -> bytes:
    return _moment(value).isoformat(" ").replace("+00:00", "+00").encode()


def _moment_binary(value: object) -> bytes:
    return struct.pack("!q", (_moment(value) - _EPOCH) // _MICROSECOND)


def _moment_from_binary(raw: bytes) -> object:
    return _EPOCH + struct.unpack("!q", raw)[0] * _MICROSECOND


def _decimal(value: object) -> Decimal:
    return value if isinstance(value, Decimal) else Decimal(str(value))


def _numeric_text(value: object) -> bytes:
    if not isinstance(value, Decimal):
        return _text(value)
    return format(value, "f").encode() if value.is_finite() else _float_text(value)


def _numeric_from_text(text: str) -> object:
    if not _NUMBER.fullmatch(text):
        raise ValueError(text)
    number = Decimal(text.strip())
    if number.is_finite() and not -_NUMERIC_DIGITS < _exponent(number) <= number.adjusted() < _NUMERIC_DIGITS:
        raise OverflowError(text)
    return number


def _exponent(number: Decimal) -> int:
    return int(number.as_tuple().exponent)


def _text_type(name: str, size: int = -1) -> Type:
    return Type(name, size, _text, _text, _identity, _text_from_binary)


_TYPES: Final[Mapping[int, Type]] = MappingProxyType(
    {
        BOOL: Type(
            "boolean",
            1,
            lambda value: b"t" if _bool(value) else b"f",
            lambda value: b"\1" if _bool(value) else b"\0",
            _bool_from_text,
            _bool_from_binary,
        ),
        BYTEA: Type("bytea", -1, _bytea_text, _bytea, _bytea_from_text, lambda raw: raw),
        CHAR: _text_type('"char"', 1),
        NAME: _text_type("name", 64),
        INT8: _integer_type("bigint", 8, "q"),
        INT2: _integer_type("smallint", 2, "h"),
        INT4: _integer_type("integer", 4, "i"),
        TEXT: _text_type("text"),
        OID: _integer_type("oid", 4, "I", signed=False),
        FLOAT4: _float_type("real", 4, "f"),
        FLOAT8: _float_type("double precision", 8, "d"),
        UNKNOWN: _text_type("unknown", -2),
        BPCHAR: _text_type("character"),
        VARCHAR: _text_type("character varying"),
        TIMESTAMPTZ: Type(
            "timestamp with time zone",
            8,
            _moment_text,
            _moment_binary,
            lambda text: _moment(text),
            _moment_from_binary,
        ),
        NUMERIC: Type(
            "numeric",
            -1,
            _numeric_text,
            lambda value: numeric.to_binary(_decimal(value)),
            _numeric_from_text,
            numeric.from_binary,
        ),
    }
)

_AS_THEY_ARE: Final = frozenset((INT4, INT8, TEXT))
"""Types whose text is that of the Python value, as the SHOW tables have it; see `messages.data_row`."""
