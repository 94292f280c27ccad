"""Packets that no driver sends."""

from __future__ import annotations

import struct

from tests.support.rawclient import PROTOCOL_3, RawClient, error_fields

CANCEL_CODE = 80877102


def packet(body: bytes) -> bytes:
    """A packet without a type, as a connection starts with."""
    return struct.pack("!I", len(body) + 4) + body


def startup(body: bytes, version: int = PROTOCOL_3) -> bytes:
    """A StartupMessage whose parameters are these bytes, however wrong."""
    return packet(struct.pack("!I", version) + body)


def cancel_request(key: bytes) -> bytes:
    """A CancelRequest; a proper key has eight bytes."""
    return packet(struct.pack("!I", CANCEL_CODE) + key)


def with_length(kind: bytes, length: int, body: bytes = b"") -> bytes:
    """A message that says to be that long, whatever comes."""
    return kind + struct.pack("!I", length) + body


def query(sql: str) -> bytes:
    """A Query."""
    return with_length(b"Q", len(sql.encode()) + 5, sql.encode() + b"\0")


def parse(sql: str, name: str = "") -> bytes:
    """A Parse without parameter types."""
    body = f"{name}\0{sql}\0\0\0".encode()
    return with_length(b"P", len(body) + 4, body)


BIND = with_length(b"B", 12, b"\0\0" + bytes(6))
"""The unnamed statement to the unnamed portal, without arguments."""

DESCRIBE = with_length(b"D", 6, b"P\0")
EXECUTE = with_length(b"E", 9, bytes(5))
EXECUTE_ONE_ROW = with_length(b"E", 9, b"\0" + struct.pack("!I", 1))
SYNC = with_length(b"S", 4)
FLUSH = with_length(b"H", 4)
TERMINATE = with_length(b"X", 4)
COPY_DONE = with_length(b"c", 4)
COPY_FAIL = with_length(b"f", 5, b"\0")


def copy_data(data: bytes) -> bytes:
    """A CopyData."""
    return with_length(b"d", len(data) + 4, data)


def rows(messages: list[tuple[str, bytes]]) -> list[str]:
    """The first column of each DataRow, as text."""
    found = []
    for kind, body in messages:
        if kind == "D":
            (length,) = struct.unpack_from("!i", body, 2)
            found.append(body[6 : 6 + length].decode())
    return found


def assert_in_sync(client: RawClient, token: str = "in sync") -> None:
    """The next query is answered with its own rows and with nothing else."""
    answer = client.query(f"SELECT '{token}'")
    assert "".join(kind for kind, _ in answer) == "TDCZ"
    assert rows(answer) == [token]


def assert_refused(client: RawClient, text: str) -> None:
    """The client is told so, as a FATAL protocol violation, and nothing else, and is disconnected."""
    kind, body = client.read_message()
    assert kind == "E", (kind, body)
    fields = error_fields(body)
    assert fields["S"] == "FATAL", fields
    assert fields["C"] == "08P01", fields
    assert text in fields["M"], fields
    assert client.expect_close() == b""
