"""Bytes that nobody should send: every parser returns something, or raises ProtocolError."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pooler.wire import messages
from pooler.wire.errors import ProtocolError
from pooler.wire.framing import (
    BIND,
    CLOSE,
    COPY_DATA,
    DATA_ROW,
    DESCRIBE,
    HEADER,
    PARSE,
    body_length,
    skip_rows,
)
from pooler.wire.messages import message, split
from pooler.wire.parameters import TrackedParameters
from pooler.wire.prepared import forgets_all, is_stale_plan, statement_name
from tests.unit.wire.decoder import Malformed
from tests.unit.wire.decoder import messages as decoded

LIMIT = 200
"""Bytes that a message may have here."""

VALID = st.lists(
    st.builds(message, st.sampled_from([b"D", b"d", b"C", b"Z", b"\0", b"\xff"]), st.binary(max_size=20)),
    max_size=8,
).map(b"".join)
LENGTHS = st.sampled_from([0, 3, 4, 5, LIMIT, LIMIT + 1, 2**31 - 1, 2**31, 2**32 - 1])
STREAMS = st.one_of(
    st.binary(max_size=100),
    VALID,
    st.tuples(
        VALID, st.binary(min_size=1, max_size=1), LENGTHS.map(lambda n: n.to_bytes(4, "big")), VALID
    ).map(b"".join),
    st.tuples(VALID, st.integers(0, 60)).map(lambda cut: cut[0][: cut[1]]),
)
"""Whole messages, cut ones, false lengths, and noise."""


@given(STREAMS)
def test_split_returns_all_that_it_takes(data: bytes) -> None:
    buffer = bytearray(data)
    taken = b""
    try:
        for kind, body in split(buffer, LIMIT):
            taken += message(bytes((kind,)), body)
            assert len(body) <= LIMIT - 4
    except ProtocolError:
        length = int.from_bytes(buffer[1:5], "big", signed=True)
        assert length < 4 or length > LIMIT
    else:
        assert len(buffer) < LIMIT + 1
    assert taken + bytes(buffer) == data


@given(STREAMS, st.lists(st.integers(0, 100)))
def test_split_does_not_mind_where_chunks_end(data: bytes, cuts: list[int]) -> None:
    assert _in_chunks(data, sorted(cut for cut in cuts if cut < len(data))) == _in_chunks(data, [])


def _in_chunks(data: bytes, cuts: list[int]) -> tuple[list[tuple[int, bytes]], bool, bytes]:
    """The messages, whether it went wrong behind them, and what is left of the part that was given."""
    buffer = bytearray()
    found: list[tuple[int, bytes]] = []
    for start, end in zip([0, *cuts], [*cuts, len(data)], strict=True):
        buffer += data[start:end]
        try:
            found.extend(split(buffer, LIMIT))
        except ProtocolError:
            return found, True, bytes(buffer[:5])
    return found, False, bytes(buffer)


def test_a_length_is_refused_before_anything_is_collected() -> None:
    with pytest.raises(ProtocolError):
        list(split(bytearray(b"Q" + (LIMIT + 1).to_bytes(4, "big")), LIMIT))


@given(STREAMS, st.integers(0, 10))
def test_skip_rows_stops_at_the_first_thing_that_is_no_whole_row(data: bytes, start: int) -> None:
    start = min(start, len(data))
    end = int(skip_rows(data, start, len(data)))
    assert start <= end <= len(data)
    rows = decoded(data[start:end])
    assert all(kind in (b"D", b"d") for kind, _ in rows)
    if len(data) - end >= HEADER and data[end] in (DATA_ROW, COPY_DATA):
        length = int(body_length(data, end))
        assert length < 4 or end + 1 + length > len(data)


@given(st.binary(min_size=HEADER, max_size=20), st.integers(0, 15))
def test_a_length_is_four_bytes_without_a_sign(data: bytes, position: int) -> None:
    position = min(position, len(data) - HEADER)
    assert body_length(data, position) == struct.unpack_from("!I", data, position + 1)[0]


@given(st.binary(max_size=60), st.integers(0, 70))
def test_a_string_ends_at_its_zero_or_is_refused(body: bytes, position: int) -> None:
    try:
        text, end = messages.read_string(body, position)
    except ProtocolError:
        assert b"\0" not in body[position:]
        return
    assert body[position:end] == messages.encode(text) + b"\0"


@given(
    st.one_of(
        st.binary(max_size=60),
        st.binary(max_size=60).map(lambda rest: bytes((0, 3, 0, 0)) + rest),
        st.lists(st.binary(max_size=8).map(lambda raw: raw + b"\0"), max_size=7).map(
            lambda strings: bytes((0, 3, 0, 0)) + b"".join(strings)
        ),
    )
)
def test_a_startup_packet_is_read_to_its_end_or_refused(body: bytes) -> None:
    try:
        startup = messages.parse_startup(body)
    except ProtocolError:
        return
    strings = (messages.string(name) + messages.string(value) for name, value in startup.parameters)
    assert startup.version.to_bytes(4, "big", signed=True) + b"".join(strings) + body[-1:] == body


@given(st.binary(max_size=80) | st.binary(max_size=80).map(lambda rest: b"SERROR\0C" + rest))
def test_any_error_can_be_shown(body: bytes) -> None:
    found = messages.parse_error(body)
    assert all(messages.encode(text) in body for text in (found.severity, found.sqlstate, found.message))


@given(st.binary(max_size=60))
def test_a_parameter_status_has_a_name_and_a_value(body: bytes) -> None:
    try:
        name, value = messages.parse_parameter_status(body)
    except ProtocolError:
        assert body.count(b"\0") < 2
        return
    assert body.startswith(messages.string(name) + messages.string(value))


ROWS = st.lists(st.none() | st.binary(max_size=10), max_size=4).map(
    lambda cells: messages.data_row(cells)[5:]
)


@given(
    st.one_of(
        st.binary(max_size=60),
        st.tuples(ROWS, st.binary(max_size=3)).map(b"".join),
        st.tuples(ROWS, st.integers(0, 30)).map(lambda cut: cut[0][: cut[1]]),
        st.tuples(st.binary(min_size=2, max_size=2), ROWS).map(lambda parts: parts[0] + parts[1][2:]),
    )
)
def test_a_row_is_filled_by_its_cells_or_refused(body: bytes) -> None:
    try:
        cells = messages.parse_data_row(body)
    except ProtocolError:
        return
    sizes = sum(4 + len(cell or b"") for cell in cells)
    assert (len(cells), 2 + sizes) == (int.from_bytes(body[:2], "big"), len(body))


NAMING = st.sampled_from([PARSE, BIND, DESCRIBE, CLOSE])


@given(NAMING, st.binary(max_size=60), st.booleans())
def test_a_name_is_found_in_any_bytes_or_is_not_there_yet(kind: int, body: bytes, framed: bool) -> None:
    data = message(bytes((kind,)), body) if framed else bytes((kind,)) + bytes(4) + body
    name = statement_name(data, 0, len(data))
    assert name is None or (b"\0" not in name and name in data)


@given(st.binary(max_size=60))
def test_any_bytes_can_be_asked_what_they_say(body: bytes) -> None:
    assert not forgets_all(b"SELECT " + body)
    assert not is_stale_plan(body)


# SQL -------------------------------------------------------------------------------------------------------

VALUES = st.text(max_size=20, alphabet="aB'\\;\"= \n$é") | st.binary(max_size=10).map(
    lambda raw: messages.decode(raw.replace(b"\0", b""))
)
NAMES = TrackedParameters(()).names


@given(st.lists(VALUES, min_size=len(NAMES), max_size=len(NAMES)))
def test_no_value_of_a_parameter_gets_out_of_its_quotes(values: list[str]) -> None:
    parameters = TrackedParameters(())
    sql = parameters.set_statements(tuple(values), ("?",) * len(NAMES))
    assert _assignments(sql) == [
        (name, value) for name, value in zip(NAMES, values, strict=True) if value != "?"
    ]


def _assignments(sql: str) -> list[tuple[str, str]]:
    """SET statements as PostgreSQL reads them: a doubled quote is a quote, in E'' a doubled backslash is one
    ("Lexical Structure").
    """
    found: list[tuple[str, str]] = []
    position = 0
    while position < len(sql):
        if not sql.startswith("SET ", position):
            raise Malformed(sql[position:])
        equals = sql.index("=", position)
        name = sql[position + 4 : equals]
        escapes = sql[equals + 1] == "E"
        value, position = _literal(sql, equals + 1 + escapes, escapes)
        if sql[position] != ";":
            raise Malformed(sql[position:])
        position += 1
        found.append((name, value))
    return found


def _literal(sql: str, position: int, escapes: bool) -> tuple[str, int]:
    """The string at `position`, which is at its quote, and the position behind it."""
    assert sql[position] == "'"
    position += 1
    value = ""
    while True:
        character = sql[position]
        doubled = sql[position + 1 : position + 2] == character
        if character == "'" and not doubled:
            return value, position + 1
        if character == "\\" and escapes and not doubled:
            raise Malformed(sql[position:])
        value += character
        position += 2 if character == "'" or (character == "\\" and escapes) else 1
