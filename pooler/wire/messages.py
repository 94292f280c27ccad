"""Building and parsing of every message that the pooler originates or reads (protocol chapter, "Message
Formats").
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from struct import Struct
from typing import Final

from pooler.wire.errors import ProtocolError

_INT16: Final = Struct("!h")
_INT32: Final = Struct("!i")

PROTOCOL_3: Final = 196608
CANCEL_REQUEST: Final = 80877102
SSL_REQUEST: Final = 80877103
GSSENC_REQUEST: Final = 80877104

STARTUP_LIMIT: Final = 65_535
"""Bytes that the length of a start-up packet may announce: PgBouncer reads it as 16 bits, PostgreSQL refuses
above 10,000.
"""

PROTOCOL_VIOLATION: Final = "08P01"
CONFIG_FILE_ERROR: Final = "F0000"

TERMINATE_MESSAGE: Final = b"X\x00\x00\x00\x04"
SYNC_MESSAGE: Final = b"S\x00\x00\x00\x04"
AUTHENTICATION_OK: Final = b"R\x00\x00\x00\x08\x00\x00\x00\x00"
READY_IDLE: Final = b"Z\x00\x00\x00\x05I"
PARSE_COMPLETE_MESSAGE: Final = b"1\x00\x00\x00\x04"
CLOSE_COMPLETE_MESSAGE: Final = b"3\x00\x00\x00\x04"
SSL_REQUEST_MESSAGE: Final = _INT32.pack(8) + _INT32.pack(SSL_REQUEST)

# Types of the columns that the admin database sends.
INT4: Final = 23
INT8: Final = 20
TEXT: Final = 25
NUMERIC: Final = 1700
BYTEA: Final = 17
BOOL: Final = 16
TIMESTAMPTZ: Final = 1184

_TYPE_SIZES: Final = {INT4: 4, INT8: 8, TEXT: -1, NUMERIC: -1, BYTEA: -1, BOOL: 1, TIMESTAMPTZ: 8}


def encode(text: str) -> bytes:
    """Text as it goes over the wire: UTF-8, and bytes that never were UTF-8 as they came."""
    return text.encode("utf-8", "surrogateescape")


def legible(text: str) -> bytes:
    """Text for a reader who was promised UTF-8: a byte that never was UTF-8 stands as `\\xff`, as PostgreSQL
    itself shows such an application_name.
    """
    try:
        return text.encode()
    except UnicodeEncodeError:
        return encode(text).decode("utf-8", "backslashreplace").encode()


def decode(raw: bytes) -> str:
    """Text as it came over the wire; whatever is not UTF-8 survives a round trip through `encode`."""
    return raw.decode("utf-8", "surrogateescape")


def message(kind: bytes, *parts: bytes) -> bytes:
    """One message: its type, its length, its body."""
    body = b"".join(parts)
    return kind + _INT32.pack(len(body) + 4) + body


def string(text: str) -> bytes:
    """A protocol String: bytes and a terminating zero. A zero inside would end it early, so it is dropped."""
    return encode(text).replace(b"\x00", b"") + b"\x00"


def read_string(body: bytes, position: int) -> tuple[str, int]:
    """The String at `position` and the position behind it. Raises ProtocolError if it does not end."""
    end = body.find(b"\x00", position)
    if end < 0:
        raise ProtocolError("unterminated string")
    return decode(body[position:end]), end + 1


# What a client sends first ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Startup:
    """A StartupMessage."""

    version: int
    parameters: list[tuple[str, str]] = field(default_factory=list)

    @property
    def minor_is_newer(self) -> bool:
        """The client asks for a later 3.x than we speak, and wants NegotiateProtocolVersion."""
        return self.version > PROTOCOL_3


def parse_startup(body: bytes) -> Startup:
    """A StartupMessage from its packet without the length. Raises ProtocolError with PgBouncer's text on a
    bad layout.
    """
    if len(body) < 4:
        raise ProtocolError("invalid startup packet layout: expected a protocol version")
    version = _INT32.unpack_from(body)[0]
    parameters: list[tuple[str, str]] = []
    position = 4
    try:
        while position < len(body) and body[position] != 0:
            key, position = read_string(body, position)
            value, position = read_string(body, position)
            parameters.append((key, value))
    except ProtocolError:
        raise ProtocolError("invalid startup packet layout: expected terminator as last byte") from None
    if position != len(body) - 1:
        raise ProtocolError("invalid startup packet layout: expected terminator as last byte")
    return Startup(version, parameters)


def startup(parameters: Iterable[tuple[str, str]]) -> bytes:
    """A StartupMessage of protocol 3.0."""
    body = (
        _INT32.pack(PROTOCOL_3) + b"".join(string(key) + string(value) for key, value in parameters) + b"\x00"
    )
    return _INT32.pack(len(body) + 4) + body


def cancel_request(key: bytes) -> bytes:
    """A CancelRequest for the eight bytes of a BackendKeyData."""
    return _INT32.pack(16) + _INT32.pack(CANCEL_REQUEST) + key


# What the pooler says to clients ---------------------------------------------------------------------------


def error(severity: str, sqlstate: str, text: str) -> bytes:
    """An ErrorResponse with the three fields that PgBouncer sends: S, C and M."""
    return message(b"E", b"S", string(severity), b"C", string(sqlstate), b"M", string(text), b"\x00")


def notice(text: str, detail: str | None = None) -> bytes:
    """A NoticeResponse, as PgBouncer sends it (SQLSTATE 00000)."""
    more = b"" if detail is None else b"D" + string(detail)
    return message(b"N", b"SNOTICE\x00C00000\x00M", string(text), more, b"\x00")


def parameter_status(name: str, value: str) -> bytes:
    """A ParameterStatus."""
    return message(b"S", string(name), string(value))


def backend_key_data(key: bytes) -> bytes:
    """A BackendKeyData: process id and secret are our eight bytes of `key`."""
    return message(b"K", key)


def negotiate_protocol_version(unsupported: Sequence[str]) -> bytes:
    """A NegotiateProtocolVersion: we speak 3.0 and none of the named `_pq_.` options.

    PostgreSQL sends the whole version, not the minor one that its documentation names, and libpq 18 takes
    nothing else.
    """
    return message(
        b"v", _INT32.pack(PROTOCOL_3), _INT32.pack(len(unsupported)), *(string(name) for name in unsupported)
    )


def command_complete(tag: str) -> bytes:
    """A CommandComplete."""
    return message(b"C", string(tag))


def row_description(columns: Iterable[tuple[str, int]]) -> bytes:
    """A RowDescription of columns given by name and type oid, all in text format."""
    fields = [
        string(name) + Struct("!ihihih").pack(0, 0, oid, _TYPE_SIZES[oid], -1, 0) for name, oid in columns
    ]
    return message(b"T", _INT16.pack(len(fields)), *fields)


def data_row(values: Iterable[object]) -> bytes:
    """A DataRow in text format; None is NULL."""
    cells: list[bytes] = []
    for value in values:
        if value is None:
            cells.append(b"\xff\xff\xff\xff")
        else:
            raw = value if isinstance(value, bytes) else legible(str(value))
            cells.append(_INT32.pack(len(raw)) + raw)
    return message(b"D", _INT16.pack(len(cells)), *cells)


# What the pooler says to servers ---------------------------------------------------------------------------


def query(sql: str) -> bytes:
    """A Query (simple protocol)."""
    return message(b"Q", string(sql))


def extended_query(sql: str, arguments: Sequence[str] = ()) -> bytes:
    """Parse, Describe, Bind and Execute of an unnamed statement, arguments and results as text; no Sync."""
    values = b"".join(_INT32.pack(len(encode(value))) + encode(value) for value in arguments)
    return b"".join(
        (
            message(b"P", b"\x00", string(sql), _INT16.pack(0)),
            message(b"D", b"S\x00"),
            message(b"B", b"\x00\x00", _INT16.pack(0), _INT16.pack(len(arguments)), values, _INT16.pack(0)),
            message(b"E", b"\x00", _INT32.pack(0)),
        )
    )


# What servers say ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class ServerError:
    """The fields of an ErrorResponse that the pooler looks at. A server may leave any of them out."""

    severity: str = ""
    sqlstate: str = ""
    message: str = ""


def parse_error(body: bytes) -> ServerError:
    """An ErrorResponse or NoticeResponse from its body; what is missing or cut stays empty."""
    fields: dict[int, str] = {}
    position = 0
    try:
        while position < len(body) and body[position] != 0:
            code = body[position]
            value, position = read_string(body, position + 1)
            fields.setdefault(code, value)
    except ProtocolError:
        pass
    return ServerError(fields.get(0x53, ""), fields.get(0x43, ""), fields.get(0x4D, ""))


def parse_parameter_status(body: bytes) -> tuple[str, str]:
    """Name and value of a ParameterStatus. Raises ProtocolError."""
    name, position = read_string(body, 0)
    value, _ = read_string(body, position)
    return name, value


def parse_data_row(body: bytes) -> list[bytes | None]:
    """The cells of a DataRow. Raises ProtocolError if they do not fill it."""
    if len(body) < 2:
        raise ProtocolError("broken DataRow packet")
    count = _INT16.unpack_from(body)[0]
    cells: list[bytes | None] = []
    position = 2
    for _ in range(count):
        if position + 4 > len(body):
            raise ProtocolError("broken DataRow packet")
        size = _INT32.unpack_from(body, position)[0]
        position += 4
        if size < 0:
            cells.append(None)
            continue
        if position + size > len(body):
            raise ProtocolError("broken DataRow packet")
        cells.append(body[position : position + size])
        position += size
    if count < 0 or position != len(body):
        raise ProtocolError("broken DataRow packet")
    return cells


def split(buffer: bytearray, limit: int) -> Iterator[tuple[int, bytes]]:
    """Takes the complete messages off the front of `buffer`: their type and body.

    Raises ProtocolError as soon as a header announces less than four or more than `limit` bytes, before
    anything is collected.
    """
    while len(buffer) >= 5:
        length = _INT32.unpack_from(buffer, 1)[0]
        if length < 4 or length > limit:
            raise ProtocolError("bad packet header: '" + buffer[:5].hex() + "'")
        if len(buffer) < 1 + length:
            return
        kind, body = buffer[0], bytes(buffer[5 : 1 + length])
        del buffer[: 1 + length]
        yield kind, body
