"""The conversation with a console client, message by message."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pooler.admin.replies import ROWS_AT_ONCE
from pooler.admin.session import console_welcome
from pooler.config.settings import Settings
from pooler.wire import messages
from pooler.wire.messages import message, query
from tests.unit.admin.fakes import FakeConsole, FakePooler, Reply, databases, decoded


@pytest.fixture
def pooler() -> FakePooler:
    return FakePooler(databases(p0="host=h"))


@pytest.fixture
def console(pooler: FakePooler) -> FakeConsole:
    return pooler.console()


def fatal(text: str) -> Reply:
    return "E", {"S": "FATAL", "C": "08P01", "M": text}


def error(text: str) -> Reply:
    return "E", {"S": "ERROR", "C": "08P01", "M": text}


# Welcome ---------------------------------------------------------------------------------------------


def welcomed(raw: bytes) -> list[Reply]:
    return [decoded(chr(kind), body) for kind, body in messages.split(bytearray(raw), 1000)]


def test_welcome() -> None:
    raw = console_welcome(b"\x01234567\x08", Settings())
    assert message(b"K", b"\x01234567\x08") in raw
    replies = welcomed(raw)
    assert [kind for kind, _ in replies] == ["R", *"SSSSSSS", "K", "Z"]
    assert [text.split("\x00") for kind, text in replies if kind == "S"] == [
        ["server_version", "1.25.2/bouncer"],
        ["client_encoding", "UTF8"],
        ["server_encoding", "UTF8"],
        ["DateStyle", "ISO"],
        ["TimeZone", "GMT"],
        ["standard_conforming_strings", "on"],
        ["is_superuser", "on"],
    ]


def test_welcome_with_a_notice() -> None:
    replies = welcomed(console_welcome(b"12345678", Settings(login_notify_message="Hello")))
    assert replies[-2:] == [("N", {"S": "NOTICE", "C": "00000", "M": "Hello"}), ("Z", "I")]


def test_welcome_repeats_what_the_client_has_set() -> None:
    replies = welcomed(console_welcome(b"12345678", Settings(), [("client_encoding", "LATIN1")]))
    assert [text for kind, text in replies if kind == "S"][-1] == "client_encoding\x00LATIN1"


# Messages --------------------------------------------------------------------------------------------


def test_queries_may_come_in_pieces_or_together(console: FakeConsole) -> None:
    raw = query("show version")
    for position in range(len(raw)):
        console.send(raw[position : position + 1])
    assert console.replies()[1] == ("D", ("PgBouncer 1.25.2",))
    console.send(raw * 3)
    assert [kind for kind, _ in console.replies()] == list("TDCZ") * 3


def test_a_query_ends_at_its_first_zero(console: FakeConsole) -> None:
    console.send(message(b"Q", b"show version\x00junk\x00"))
    assert console.replies()[-2:] == [("C", "SHOW"), ("Z", "I")]


def test_a_query_that_is_not_utf8_is_quoted_as_it_came(console: FakeConsole) -> None:
    console.send(message(b"Q", b"gr\xfc\xdfe\x00"))
    pooler_sent = bytes(console.transport.sent)
    assert b"Minvalid command 'gr\xfc\xdfe', use SHOW HELP;\x00" in pooler_sent


def test_terminate(pooler: FakePooler, console: FakeConsole) -> None:
    console.send(message(b"X"))
    assert console.replies() == []
    assert console.transport.closed
    assert pooler.log.lines[-1].endswith("closing because: client close request (age=0s)")


@pytest.mark.parametrize("kind", [b"p", b"?", b"\x00"])
def test_unknown_messages_end_the_connection(kind: bytes, pooler: FakePooler, console: FakeConsole) -> None:
    console.send(message(kind, b"\0\0"))
    assert console.replies() == [fatal("unknown pkt")]
    assert "unknown pkt from client: " in pooler.log.lines[0]


def test_other_callbacks_get_their_turn_while_many_rows_are_sent(
    pooler: FakePooler, console: FakeConsole
) -> None:
    for _ in range(2 * ROWS_AT_ONCE + 1):
        pooler.client("p0", "ada")
    console.send(query("show clients") + query("show version"))
    assert bytes(console.transport.sent).count(b"10.1.1.1") == ROWS_AT_ONCE
    pooler.soon.pop(0)()
    assert bytes(console.transport.sent).count(b"10.1.1.1") == 2 * ROWS_AT_ONCE
    kinds = [kind for kind, _ in console.replies()]
    assert kinds == ["T", *["D"] * (2 * ROWS_AT_ONCE + 2), "C", "Z", "T", "D", "C", "Z"]


def test_late_copy_messages_are_ignored(console: FakeConsole) -> None:
    console.send(message(b"d", b"x") + message(b"c") + message(b"f", b"\0"))
    assert console.replies() == []
    assert not console.client.closed
    assert console.client.query_ns == 0


def test_a_query_without_its_end_is_refused(console: FakeConsole) -> None:
    console.send(message(b"Q", b"show version"))
    assert console.replies() == [fatal("incomplete query")]


@pytest.mark.parametrize("header", [b"Q\x00\x00\x00\x03", b"Q\xff\xff\xff\xff", b"Q\x00\x10\x00\x01"])
def test_a_length_that_cannot_be_is_refused_before_anything_is_collected(
    header: bytes, console: FakeConsole
) -> None:
    console.send(header)
    assert console.replies() == [fatal(f"bad packet header: '{header.hex()}'")]
    assert console.client.closed


def test_a_long_query_is_only_long(console: FakeConsole) -> None:
    console.send(query("show version" + " " * 1_000_000))
    assert console.replies()[-2:] == [("C", "SHOW"), ("Z", "I")]


def test_disable_pqexec_holds_here_too(pooler: FakePooler, console: FakeConsole) -> None:
    pooler.context.disable_pqexec = True
    console.send(query("show version"))
    assert console.replies() == [fatal("PQexec disallowed")]


@given(st.lists(st.binary(max_size=40) | st.sampled_from([query("show state"), query("pause p0")])))
def test_whatever_comes_the_console_answers_or_closes(chunks: list[bytes]) -> None:
    pooler = FakePooler(databases(p0="host=h"))
    console = pooler.console()
    for chunk in chunks:
        if not console.client.closed:
            console.send(chunk)
    kinds = [kind for kind, _ in console.replies()]
    assert set(kinds) <= set("123CDEINTZnst")
    assert console.client.closed == console.transport.closed
    assert (pooler.registry.client_count == 0) == console.client.closed


# Counting --------------------------------------------------------------------------------------------


def test_a_connection_counts_as_one_query_and_one_transaction(
    pooler: FakePooler, console: FakeConsole
) -> None:
    stats = pooler.registry.admin_pool.stats
    console.ask("show state")
    console.ask("show state")
    assert (stats.query_count, stats.xact_count, stats.client_bytes) == (1, 1, 0)
    pooler.console().ask("no command")
    assert (stats.query_count, stats.xact_count) == (2, 2)
    pooler.console().send(message(b"X"))
    assert (stats.query_count, stats.xact_count) == (2, 2)


def test_the_console_shows_how_long_ago_its_first_query_was(console: FakeConsole) -> None:
    console.ask("show state")
    console.client.query_ns -= 5_000_000_000
    (row,) = console.table("show clients")
    assert row["wait"] == "5"
    assert row["state"] == "idle"
