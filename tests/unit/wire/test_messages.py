"""What the pooler says: read back by its own parser where there is one, and by an independent decoder."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pooler.wire import messages
from pooler.wire.framing import body_length
from pooler.wire.messages import ServerError, split
from pooler.wire.prepared import MISSING, Statement, StatementCatalog, bind_missing, renamed_bind
from tests.unit.wire.decoder import body_of, packet
from tests.unit.wire.decoder import messages as decoded

RAW = st.binary(max_size=40).map(lambda raw: raw.replace(b"\0", b""))
TEXTS = st.sampled_from(["", "select 'é'", "\\ \N{GRINNING FACE}"]) | RAW.map(messages.decode)
"""Text as it can come over the wire, also where it is not UTF-8."""

KEYS = st.binary(min_size=8, max_size=8)
OIDS = st.sampled_from([messages.INT4, messages.INT8, messages.TEXT, messages.NUMERIC, messages.BYTEA])
SIZES = {messages.INT4: 4, messages.INT8: 8}
"""typlen of the types that are not of variable length."""


def raw(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def fields_of(body: bytes) -> list[tuple[bytes, bytes]]:
    """Letters and values of an ErrorResponse or NoticeResponse."""
    assert body.endswith(b"\0\0")
    return [(field[:1], field[1:]) for field in body[:-2].split(b"\0")]


# Bytes and text --------------------------------------------------------------------------------------------


@given(st.binary(max_size=100))
def test_any_bytes_survive_as_text(data: bytes) -> None:
    assert messages.encode(messages.decode(data)) == data


@given(TEXTS, st.binary(max_size=10), st.binary(max_size=10))
def test_a_string_is_read_back_wherever_it_stands(text: str, before: bytes, behind: bytes) -> None:
    body = before + messages.string(text)
    assert messages.read_string(body + behind, len(before)) == (text, len(body))


@given(st.text(max_size=20, alphabet="ab\0"))
def test_a_zero_cannot_end_a_string_early(text: str) -> None:
    assert messages.string(text) == text.replace("\0", "").encode() + b"\0"


@given(st.lists(st.tuples(st.binary(min_size=1, max_size=1), st.lists(st.binary(max_size=40), max_size=3))))
def test_messages_are_split_where_they_were_joined(said: list[tuple[bytes, list[bytes]]]) -> None:
    buffer = bytearray(b"".join(messages.message(kind, *parts) for kind, parts in said))
    assert [kind.rest() for _, kind in decoded(bytes(buffer))] == [b"".join(parts) for _, parts in said]
    assert list(split(buffer, 1000)) == [(kind[0], b"".join(parts)) for kind, parts in said]
    assert not buffer


# What a connection begins with -----------------------------------------------------------------------------


@given(st.lists(st.tuples(TEXTS.filter(bool), TEXTS), max_size=5))
def test_a_startup_message_is_read_back(parameters: list[tuple[str, str]]) -> None:
    data = messages.startup(parameters)
    body = packet(data)
    assert body.number("I") == 3 << 16
    for name, value in parameters:
        assert (body.string(), body.string()) == (raw(name), raw(value))
    assert body.rest() == b"\0"
    found = messages.parse_startup(data[4:])
    assert (found.version, found.parameters) == (3 << 16, parameters)


@pytest.mark.parametrize(("minor", "newer"), [(0, False), (1, True), (2, True), (9999, True)])
def test_a_newer_minor_version_shows(minor: int, newer: bool) -> None:
    assert messages.parse_startup((3 << 16 | minor).to_bytes(4, "big") + b"\0").minor_is_newer == newer


@given(KEYS)
def test_a_cancel_request(key: bytes) -> None:
    body = packet(messages.cancel_request(key))
    assert (body.number("H"), body.number("H"), body.rest()) == (1234, 5678, key)


def test_an_ssl_request() -> None:
    body = packet(messages.SSL_REQUEST_MESSAGE)
    assert (body.number("H"), body.number("H"), body.rest()) == (1234, 5679, b"")
    assert messages.GSSENC_REQUEST == 1234 << 16 | 5680


# To clients ------------------------------------------------------------------------------------------------


@given(TEXTS, TEXTS, TEXTS)
def test_an_error_is_read_back(severity: str, sqlstate: str, text: str) -> None:
    body = body_of(b"E", messages.error(severity, sqlstate, text)).rest()
    assert fields_of(body) == [(b"S", raw(severity)), (b"C", raw(sqlstate)), (b"M", raw(text))]
    assert messages.parse_error(body) == ServerError(severity, sqlstate, text)


@given(TEXTS, st.none() | TEXTS)
def test_a_notice_is_read_back(text: str, detail: str | None) -> None:
    body = body_of(b"N", messages.notice(text, detail)).rest()
    expected = [(b"S", b"NOTICE"), (b"C", b"00000"), (b"M", raw(text))]
    assert fields_of(body) == expected + ([] if detail is None else [(b"D", raw(detail))])
    assert messages.parse_error(body) == ServerError("NOTICE", "00000", text)


@given(TEXTS, TEXTS)
def test_a_parameter_status_is_read_back(name: str, value: str) -> None:
    data = messages.parameter_status(name, value)
    body = body_of(b"S", data)
    assert (body.string(), body.string(), body.rest()) == (raw(name), raw(value), b"")
    assert messages.parse_parameter_status(data[5:]) == (name, value)


@given(st.lists(st.none() | st.binary(max_size=30), max_size=10))
def test_a_row_is_read_back(cells: list[bytes | None]) -> None:
    data = messages.data_row(cells)
    body = body_of(b"D", data)
    assert body.values() == cells
    body.end()
    assert messages.parse_data_row(data[5:]) == cells


@given(st.lists(st.none() | st.integers() | st.booleans() | TEXTS, max_size=10))
def test_values_go_into_a_row_as_text(values: list[object]) -> None:
    body = body_of(b"D", messages.data_row(values))
    assert body.values() == [
        None if value is None else raw(str(value)).decode("utf-8", "backslashreplace").encode()
        for value in values
    ]
    body.end()


@given(st.lists(st.tuples(TEXTS, OIDS), max_size=5))
def test_a_row_description(columns: list[tuple[str, int]]) -> None:
    body = body_of(b"T", messages.row_description(columns))
    assert body.number("h") == len(columns)
    for name, oid in columns:
        assert body.string() == raw(name)
        assert [body.number(layout) for layout in "ihihih"] == [0, 0, oid, SIZES.get(oid, -1), -1, 0]
    body.end()


@given(KEYS)
def test_a_key(key: bytes) -> None:
    assert body_of(b"K", messages.backend_key_data(key)).rest() == key


@given(TEXTS)
def test_a_command_tag(tag: str) -> None:
    body = body_of(b"C", messages.command_complete(tag))
    assert (body.string(), body.rest()) == (raw(tag), b"")


@given(st.lists(TEXTS, max_size=5))
def test_the_version_that_is_spoken(extensions: list[str]) -> None:
    body = body_of(b"v", messages.negotiate_protocol_version(extensions))
    assert (body.number("I"), body.number("I")) == (3 << 16, len(extensions))
    assert [body.string() for _ in extensions] == [raw(name) for name in extensions]
    body.end()


@pytest.mark.parametrize(
    ("message", "kind", "body"),
    [
        (messages.TERMINATE_MESSAGE, b"X", b""),
        (messages.SYNC_MESSAGE, b"S", b""),
        (messages.AUTHENTICATION_OK, b"R", bytes(4)),
        (messages.READY_IDLE, b"Z", b"I"),
        (messages.PARSE_COMPLETE_MESSAGE, b"1", b""),
        (messages.CLOSE_COMPLETE_MESSAGE, b"3", b""),
    ],
)
def test_messages_that_are_always_the_same(message: bytes, kind: bytes, body: bytes) -> None:
    assert body_of(kind, message).rest() == body


# To servers ------------------------------------------------------------------------------------------------


@given(TEXTS)
def test_a_query(sql: str) -> None:
    body = body_of(b"Q", messages.query(sql))
    assert (body.string(), body.rest()) == (raw(sql), b"")


@given(TEXTS, st.lists(TEXTS, max_size=3))
def test_an_extended_query(sql: str, arguments: list[str]) -> None:
    (_, parse), (_, describe), (_, bind), (_, execute) = found = decoded(
        messages.extended_query(sql, arguments)
    )
    assert b"".join(kind for kind, _ in found) == b"PDBE"
    assert (parse.string(), parse.string(), parse.numbers("I")) == (b"", raw(sql), [])
    assert (describe.raw(1), describe.string()) == (b"S", b"")
    assert (bind.string(), bind.string(), bind.numbers("h")) == (b"", b"", [])
    assert (bind.values(), bind.numbers("h")) == ([raw(value) for value in arguments], [])
    assert (execute.string(), execute.number("I")) == (b"", 0)
    for body in (parse, describe, bind, execute):
        body.end()


# Prepared statements ---------------------------------------------------------------------------------------


@given(RAW, RAW, st.lists(st.integers(0, 2**32 - 1), max_size=4))
def test_a_statement_says_what_its_client_said(name: bytes, sql: bytes, types: list[int]) -> None:
    text = sql + b"\0" + len(types).to_bytes(2, "big") + b"".join(oid.to_bytes(4, "big") for oid in types)
    statement = Statement(text, name)
    body = body_of(b"P", statement.parse())
    assert (body.string(), body.string(), body.numbers("I")) == (name, sql, types)
    body.end()
    for kind, message in ((b"D", statement.describe()), (b"C", statement.close())):
        body = body_of(kind, message)
        assert (body.raw(1), body.string(), body.rest()) == (b"S", name, b"")


@given(st.lists(RAW, max_size=20))
def test_each_text_has_a_name_of_its_own(texts: list[bytes]) -> None:
    catalog = StatementCatalog()
    statements = [catalog.share(text) for text in texts]
    assert len({statement.name for statement in statements}) == len(set(texts))
    assert [statement.text for statement in statements] == texts


@given(RAW, RAW, RAW, st.lists(st.integers(0, 1)), st.lists(st.none() | RAW, max_size=4), st.data())
def test_a_renamed_bind_is_whole_however_it_was_cut(
    portal: bytes, old: bytes, new: bytes, formats: list[int], values: list[bytes | None], data: st.DataObject
) -> None:
    counted = b"".join(format.to_bytes(2, "big") for format in formats)
    rest = len(formats).to_bytes(2, "big") + counted + messages.data_row(values)[5:] + bytes(2)
    whole = messages.message(b"B", portal, b"\0", old, b"\0", rest)
    cut = data.draw(st.integers(len(whole) - len(rest), len(whole)))
    body = body_of(b"B", renamed_bind(whole[:cut], body_length(whole, 0), new) + whole[cut:])
    assert (body.string(), body.string(), body.numbers("h")) == (portal, new, formats)
    assert (body.values(), body.numbers("h")) == (values, [])
    body.end()


def test_a_bind_that_must_fail() -> None:
    body = body_of(b"B", bind_missing())
    assert (body.string(), body.string()) == (b"", MISSING)
    assert (body.numbers("h"), body.values(), body.numbers("h")) == ([], [], [])
    body.end()
