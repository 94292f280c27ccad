"""The messages of scripts by name: to bytes, and back to what a script says of them.

On purpose nothing of `pooler.wire`, whose mistakes must not be shared (protocol chapter, "Message Formats").
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import NamedTuple

from tests.support.rawclient import GSSENC_REQUEST, SSL_REQUEST, error_fields, message

Values = list[str | None]

END = "end"
"""In place of a message: the other side has closed the connection."""

CUT_SHORT = "cut-short"
"""The other side has closed the connection in the middle of a message."""

BYTE = "Byte"
"""In place of a message: a single byte, as it answers an SSLRequest."""

STARTUP = "StartupMessage"
CANCEL_REQUEST = "CancelRequest"
CANCEL_CODE = 80877102
TEXT_OID = 25


class Form(NamedTuple):
    """How a message is made, out of how many values at least and at most (None: any number)."""

    make: Callable[..., bytes]
    least: int = 0
    most: int | None = 0

    def takes(self, count: int) -> bool:
        return self.least <= count and (self.most is None or count <= self.most)


def _text(text: str) -> bytes:
    return text.encode() + b"\0"


def _cell(value: str | None) -> bytes:
    if value is None:
        return struct.pack("!i", -1)
    data = value.encode()
    return struct.pack("!I", len(data)) + data


def _texts_of(kind: str) -> Callable[..., bytes]:
    """A message that is nothing but texts."""
    return lambda *texts: message(kind, b"".join(map(_text, texts)))


def _about(kind: str) -> Callable[[str, str], bytes]:
    def make(what: str, name: str) -> bytes:
        if what not in ("statement", "portal"):
            raise ValueError("it is about a statement or a portal")
        return message(kind, what[0].upper().encode() + _text(name))

    return make


def _parse(name: str, sql: str) -> bytes:
    """The types of the parameters are left to the server."""
    return message("P", _text(name) + _text(sql) + struct.pack("!H", 0))


def _bind(portal: str, statement: str, *values: str | None) -> bytes:
    """Parameters and results as text."""
    cells = b"".join(map(_cell, values))
    body = struct.pack("!HH", 0, len(values)) + cells + struct.pack("!H", 0)
    return message("B", _text(portal) + _text(statement) + body)


def _execute(portal: str, limit: str = "0") -> bytes:
    return message("E", _text(portal) + struct.pack("!I", int(limit)))


def _function_call(oid: str, *values: str | None) -> bytes:
    """Arguments and result as text."""
    cells = b"".join(map(_cell, values))
    return message("F", struct.pack("!IHH", int(oid), 0, len(values)) + cells + struct.pack("!H", 0))


def _copy_data(data: str) -> bytes:
    return message("d", data.encode())


def startup(*pairs: str) -> bytes:
    """A StartupMessage. `protocol=3.2` is its version, all else a parameter."""
    parameters = dict(pair.split("=", 1) for pair in pairs)
    major, minor = parameters.pop("protocol", "3.0").split(".")
    text = "".join(f"{key}\0{value}\0" for key, value in parameters.items())
    body = struct.pack("!HH", int(major), int(minor)) + text.encode() + b"\0"
    return struct.pack("!I", len(body) + 4) + body


def cancel_request(key: str) -> bytes:
    """A CancelRequest with what BackendKeyData held, in hexadecimal."""
    data = bytes.fromhex(key)
    return struct.pack("!II", 8 + len(data), CANCEL_CODE) + data


def _fixed(data: bytes) -> Form:
    return Form(lambda: data)


CLIENT_MESSAGES: dict[str, Form] = {
    "Query": Form(_texts_of("Q"), 1, 1),
    "Parse": Form(_parse, 2, 2),
    "Bind": Form(_bind, 2, None),
    "Execute": Form(_execute, 1, 2),
    "Describe": Form(_about("D"), 2, 2),
    "Close": Form(_about("C"), 2, 2),
    "Sync": _fixed(message("S")),
    "Flush": _fixed(message("H")),
    "Terminate": _fixed(message("X")),
    "FunctionCall": Form(_function_call, 1, None),
    "CopyData": Form(_copy_data, 1, 1),
    "CopyDone": _fixed(message("c")),
    "CopyFail": Form(_texts_of("f"), 1, 1),
    "PasswordMessage": Form(_texts_of("p"), 1, 1),
    STARTUP: Form(startup, 0, None),
    CANCEL_REQUEST: Form(cancel_request, 1, 1),
    "SSLRequest": _fixed(SSL_REQUEST),
    "GSSENCRequest": _fixed(GSSENC_REQUEST),
    "Bytes": Form(lambda *words: bytes.fromhex("".join(words)), 1, None),
}
"""What a client can send."""


# What a fake server can send --------------------------------------------------------------------------------


def _report(kind: str) -> Callable[[str, str, str], bytes]:
    def make(severity: str, sqlstate: str, text: str) -> bytes:
        return message(kind, f"S{severity}\0V{severity}\0C{sqlstate}\0M{text}\0\0".encode())

    return make


def _data_row(*values: str | None) -> bytes:
    return message("D", struct.pack("!H", len(values)) + b"".join(map(_cell, values)))


def _row_description(*names: str) -> bytes:
    one = struct.pack("!IHIHIH", 0, 0, TEXT_OID, 0xFFFF, 0xFFFFFFFF, 0)
    columns = b"".join(_text(name) + one for name in names)
    return message("T", struct.pack("!H", len(names)) + columns)


def _ready(status: str) -> bytes:
    return message("Z", status.encode())


def _notification(channel: str, payload: str) -> bytes:
    return message("A", struct.pack("!I", 1) + _text(channel) + _text(payload))


AUTHENTICATION_OK = message("R", struct.pack("!I", 0))

SERVER_MESSAGES: dict[str, Form] = {
    "AuthenticationOk": _fixed(AUTHENTICATION_OK),
    "AuthenticationCleartextPassword": _fixed(message("R", struct.pack("!I", 3))),
    "ParameterStatus": Form(_texts_of("S"), 2, 2),
    "BackendKeyData": Form(lambda key: message("K", bytes.fromhex(key)), 1, 1),
    "ReadyForQuery": Form(_ready, 1, 1),
    "RowDescription": Form(_row_description, 0, None),
    "DataRow": Form(_data_row, 0, None),
    "CommandComplete": Form(_texts_of("C"), 1, 1),
    "ErrorResponse": Form(_report("E"), 3, 3),
    "NoticeResponse": Form(_report("N"), 3, 3),
    "NotificationResponse": Form(_notification, 2, 2),
    "ParseComplete": _fixed(message("1")),
    "BindComplete": _fixed(message("2")),
    "CloseComplete": _fixed(message("3")),
    "NoData": _fixed(message("n")),
    "Bytes": CLIENT_MESSAGES["Bytes"],
}

WELCOME = (
    AUTHENTICATION_OK
    + b"".join(
        message("S", _text(name) + _text(value))
        for name, value in {
            "server_version": "15.0",
            "client_encoding": "UTF8",
            "DateStyle": "ISO, MDY",
            "TimeZone": "UTC",
            "standard_conforming_strings": "on",
            "application_name": "",
            "IntervalStyle": "postgres",
        }.items()
    )
    + message("K", bytes(range(8)))
    + _ready("I")
)
"""How a fake server lets somebody in."""


# What comes back --------------------------------------------------------------------------------------------


class Reply(NamedTuple):
    """A message that was received: its name, the values that a script may ask for, and `detail`, which is
    compared between the targets only.
    """

    word: str
    values: Values = []  # noqa: RUF012
    detail: str = ""


_EMPTY_REPLIES = {
    "1": "ParseComplete",
    "2": "BindComplete",
    "3": "CloseComplete",
    "I": "EmptyQueryResponse",
    "c": "CopyDone",
    "n": "NoData",
    "s": "PortalSuspended",
}
_COPY_REPLIES = {"G": "CopyInResponse", "H": "CopyOutResponse", "W": "CopyBothResponse"}
_AUTHENTICATION = {
    0: "AuthenticationOk",
    3: "AuthenticationCleartextPassword",
    5: "AuthenticationMD5Password",
    10: "AuthenticationSASL",
    11: "AuthenticationSASLContinue",
    12: "AuthenticationSASLFinal",
}

KEY_DATA = "BackendKeyData"
PARAMETER_STATUS = "ParameterStatus"
READY_FOR_QUERY = "ReadyForQuery"
ERROR_RESPONSE = "ErrorResponse"
NOTICE_RESPONSE = "NoticeResponse"

REPLIES = frozenset(
    {
        *_EMPTY_REPLIES.values(),
        *_COPY_REPLIES.values(),
        *_AUTHENTICATION.values(),
        *("NotificationResponse", "CommandComplete", "DataRow", ERROR_RESPONSE, KEY_DATA, NOTICE_RESPONSE),
        *(PARAMETER_STATUS, "RowDescription", "FunctionCallResponse", READY_FOR_QUERY, "CopyData"),
        *("ParameterDescription", "NegotiateProtocolVersion", END, CUT_SHORT, BYTE),
    }
)
"""What a client can expect."""

REQUESTS = frozenset({*CLIENT_MESSAGES, END}) - {"Bytes"}
"""What a fake server can expect."""


def read_reply(kind: str, body: bytes) -> Reply:
    """What a message of a server says."""
    if kind in _EMPTY_REPLIES:
        return Reply(_EMPTY_REPLIES[kind])
    if kind in _COPY_REPLIES:
        return Reply(_COPY_REPLIES[kind], detail=body.hex())
    if kind == "R":
        (code,) = struct.unpack_from("!I", body)
        return Reply(_AUTHENTICATION.get(code, f"Authentication{code}"))
    reader = _READERS.get(kind)
    return reader(body) if reader is not None else Reply(f"message {kind!r}", [], body.hex())


def _read_report(word: str) -> Callable[[bytes], Reply]:
    def read(body: bytes) -> Reply:
        fields = error_fields(body)
        more = {key: fields[key] for key in "DHP" if key in fields}
        values: Values = [fields.get("S", ""), fields.get("C", ""), fields.get("M", "")]
        return Reply(word, values, repr(more) if more else "")

    return read


def _read_columns(body: bytes) -> Reply:
    names: Values = []
    types: list[str] = []
    position = 2
    while position < len(body):
        end = body.index(0, position)
        names.append(body[position:end].decode())
        # Not compared: the table and the column that it comes from.
        oid, _, _, form = struct.unpack_from("!IHIH", body, end + 7)
        types.append(f"{oid}/{form}")
        position = end + 19
    return Reply("RowDescription", names, " ".join(types))


def _read_row(body: bytes) -> Reply:
    (count,) = struct.unpack_from("!H", body)
    values: Values = []
    position = 2
    for _ in range(count):
        (size,) = struct.unpack_from("!i", body, position)
        position += 4
        values.append(None if size < 0 else body[position : position + size].decode())
        position += max(size, 0)
    return Reply("DataRow", values)


def _read_function_result(body: bytes) -> Reply:
    (size,) = struct.unpack_from("!i", body)
    return Reply("FunctionCallResponse", [None if size < 0 else body[4:].decode()])


def _read_negotiation(body: bytes) -> Reply:
    major, minor, _ = struct.unpack_from("!HHI", body)
    options = [option.decode() for option in body[8:].split(b"\0") if option]
    return Reply("NegotiateProtocolVersion", [f"{major}.{minor}", *options])


def _texts(body: bytes) -> Values:
    return [text.decode() for text in body.split(b"\0")[:-1]]


_READERS: dict[str, Callable[[bytes], Reply]] = {
    "A": lambda body: Reply("NotificationResponse", _texts(body[4:])),
    "C": lambda body: Reply("CommandComplete", _texts(body)),
    "D": _read_row,
    "E": _read_report(ERROR_RESPONSE),
    "K": lambda body: Reply(KEY_DATA, [body.hex()]),
    "N": _read_report(NOTICE_RESPONSE),
    "S": lambda body: Reply(PARAMETER_STATUS, _texts(body)),
    "T": _read_columns,
    "V": _read_function_result,
    "Z": lambda body: Reply(READY_FOR_QUERY, [body.decode()]),
    "d": lambda body: Reply("CopyData", [body.decode()]),
    "t": lambda body: Reply("ParameterDescription", [str(n) for (n,) in struct.iter_unpack("!I", body[2:])]),
    "v": _read_negotiation,
}


# What a fake server is asked --------------------------------------------------------------------------------

_REQUEST_NAMES = {
    "Q": "Query",
    "P": "Parse",
    "B": "Bind",
    "E": "Execute",
    "D": "Describe",
    "C": "Close",
    "S": "Sync",
    "H": "Flush",
    "X": "Terminate",
    "d": "CopyData",
    "c": "CopyDone",
    "f": "CopyFail",
    "p": "PasswordMessage",
}


def read_request(kind: str, body: bytes) -> Reply:
    """What a message of a client says; values only where it has nothing but text."""
    word = _REQUEST_NAMES.get(kind, f"message {kind!r}")
    return Reply(word, _texts(body) if kind in "QPp" else [])


def read_first_packet(body: bytes) -> Reply:
    """What the packet says that a connection starts with."""
    (code,) = struct.unpack_from("!I", body)
    if code == CANCEL_CODE:
        return Reply(CANCEL_REQUEST, [body[4:].hex()])
    texts = _texts(body[4:])
    pairs = zip(texts[::2], texts[1::2], strict=False)
    return Reply(STARTUP, [f"{key}={value}" for key, value in pairs])
