"""Message boundaries and message types (PostgreSQL protocol, chapter "Message Formats").

Every message after the start-up packet is one type byte and a four-byte length that counts itself but not the
type. The relay looks at these five bytes and forwards the rest as it came.
"""

from typing import Final

from mypy_extensions import i64

HEADER: Final = 5
"""Bytes of a message header: the type and the length."""

# Sent by clients.
QUERY: Final = 0x51  # Q
PARSE: Final = 0x50  # P
BIND: Final = 0x42  # B
DESCRIBE: Final = 0x44  # D
EXECUTE: Final = 0x45  # E
CLOSE: Final = 0x43  # C
SYNC: Final = 0x53  # S
FLUSH: Final = 0x48  # H
FUNCTION_CALL: Final = 0x46  # F
TERMINATE: Final = 0x58  # X
PASSWORD: Final = 0x70  # p, also the SASL responses

# Sent by both sides.
COPY_DATA: Final = 0x64  # d
COPY_DONE: Final = 0x63  # c
COPY_FAIL: Final = 0x66  # f

# Sent by servers.
AUTHENTICATION: Final = 0x52  # R
PARAMETER_STATUS: Final = 0x53  # S
BACKEND_KEY_DATA: Final = 0x4B  # K
READY_FOR_QUERY: Final = 0x5A  # Z
ROW_DESCRIPTION: Final = 0x54  # T
DATA_ROW: Final = 0x44  # D
COMMAND_COMPLETE: Final = 0x43  # C
EMPTY_QUERY: Final = 0x49  # I
ERROR: Final = 0x45  # E
NOTICE: Final = 0x4E  # N
NOTIFICATION: Final = 0x41  # A
PARSE_COMPLETE: Final = 0x31  # 1
BIND_COMPLETE: Final = 0x32  # 2
CLOSE_COMPLETE: Final = 0x33  # 3
NO_DATA: Final = 0x6E  # n
PARAMETER_DESCRIPTION: Final = 0x74  # t
PORTAL_SUSPENDED: Final = 0x73  # s
COPY_IN_RESPONSE: Final = 0x47  # G
COPY_OUT_RESPONSE: Final = 0x48  # H
COPY_BOTH_RESPONSE: Final = 0x57  # W
FUNCTION_CALL_RESPONSE: Final = 0x56  # V
NEGOTIATE_PROTOCOL_VERSION: Final = 0x76  # v

# Transaction status of ReadyForQuery.
IDLE: Final = 0x49  # I
IN_TRANSACTION: Final = 0x54  # T
IN_FAILED_TRANSACTION: Final = 0x45  # E


def body_length(data: bytes, position: i64) -> i64:
    """The length field of the message at `position`: the bytes that follow its type, itself included.

    The caller has made sure that the whole header is there.
    """
    return (
        (data[position + 1] << 24)
        | (data[position + 2] << 16)
        | (data[position + 3] << 8)
        | data[position + 4]
    )


def skip_rows(data: bytes, position: i64, size: i64) -> i64:
    """The position behind the DataRow and CopyData messages that stand complete in `data` from `position` on.

    Rows are most of what a pooler carries and never need a look; `size` is the length of `data`. A length
    below four or above what is there ends the run, for the caller to look at.
    """
    while position + HEADER <= size:
        kind: i64 = data[position]
        if kind != DATA_ROW and kind != COPY_DATA:
            break
        length: i64 = (
            (data[position + 1] << 24)
            | (data[position + 2] << 16)
            | (data[position + 3] << 8)
            | data[position + 4]
        )
        if length < 4 or position + 1 + length > size:
            break
        position += 1 + length
    return position
