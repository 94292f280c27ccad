"""Bad messages after login: either the server answers them, or they end their own connection and no other."""

from __future__ import annotations

import random
import struct
from collections.abc import Callable
from contextlib import suppress

import pytest

from tests.integration.bad_input.packets import (
    BIND,
    COPY_DONE,
    COPY_FAIL,
    DESCRIBE,
    EXECUTE,
    FLUSH,
    SYNC,
    TERMINATE,
    assert_in_sync,
    assert_refused,
    cancel_request,
    copy_data,
    parse,
    query,
    rows,
    with_length,
)
from tests.integration.bad_input.target import DATABASE, Target
from tests.support.bouncer import USER
from tests.support.rawclient import GSSENC_REQUEST, SSL_REQUEST, RawClient, message, startup_message

KINDS = [b"Q", b"P", b"B", b"D", b"E", b"C", b"S", b"H", b"F", b"d", b"c", b"f", b"X"]

# Where a client may be when it sends what it should not.


def idle(client: RawClient) -> None:
    """It has no server."""


def in_transaction(client: RawClient) -> None:
    client.query("BEGIN")


def in_failed_transaction(client: RawClient) -> None:
    client.query("BEGIN")
    client.query("SELECT 1/0")


def in_copy(client: RawClient) -> None:
    client.query("BEGIN; CREATE TEMP TABLE copied (a text) ON COMMIT DROP")
    client.send(query("COPY copied FROM STDIN"))
    client.read_until("G")


def after_parse(client: RawClient) -> None:
    client.send(parse("SELECT 1") + FLUSH)
    client.read_until("1")


def after_an_error_before_sync(client: RawClient) -> None:
    client.send(parse("SELECT nonsense") + FLUSH)
    client.read_until("E")


STATES: list[Callable[[RawClient], None]] = [
    idle,
    in_transaction,
    in_failed_transaction,
    in_copy,
    after_parse,
    after_an_error_before_sync,
]


@pytest.fixture
def client(target: Target) -> RawClient:
    """Is logged in."""
    return target.login()


# Refused by the pooler ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("length", [0, 3, 2**31, 2**32 - 1])
def test_length_that_cannot_be_is_refused(client: RawClient, kind: bytes, length: int) -> None:
    client.send(with_length(kind, length, b"SELECT 1\0"))
    assert_refused(client, "bad packet header")


@pytest.mark.parametrize("state", STATES)
def test_length_that_cannot_be_is_refused_in_any_state(
    client: RawClient, state: Callable[[RawClient], None]
) -> None:
    state(client)
    client.send(with_length(b"Q", 2**31, b"SELECT 1\0"))
    assert b"bad packet header" in client.expect_close()


@pytest.mark.parametrize("kind", ["\0", "\1", "p", "A", "R", "Z", "W", "v", "N", "a", "1", " ", "\n", "\xff"])
def test_unknown_message_is_refused(client: RawClient, kind: str) -> None:
    client.send(message(kind, b"SELECT 1\0"))
    assert_refused(client, "unknown pkt")


@pytest.mark.parametrize("state", STATES)
def test_unknown_message_is_refused_in_any_state(
    client: RawClient, state: Callable[[RawClient], None]
) -> None:
    state(client)
    client.send(message("!", b"what"))
    assert b"unknown pkt" in client.expect_close()


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize(
    "packet",
    [startup_message(USER, DATABASE), startup_message("other", "other"), SSL_REQUEST, GSSENC_REQUEST],
    ids=["startup", "other startup", "ssl", "gss"],
)
def test_second_startup_packet_is_refused(
    client: RawClient, state: Callable[[RawClient], None], packet: bytes
) -> None:
    state(client)
    client.send(packet)
    assert b"FATAL" in client.expect_close()


def test_cancel_request_after_login_is_refused(target: Target) -> None:
    victim, client = target.connect(), target.login()
    victim.send(startup_message(USER, DATABASE))
    key = dict(victim.read_until("Z"))["K"]
    victim.send(query("SELECT pg_sleep(0.1), 'undisturbed'"))
    client.send(cancel_request(key))
    assert b"FATAL" in client.expect_close()
    assert [kind for kind, _ in victim.read_until("Z")] == ["T", "D", "C", "Z"]


@pytest.mark.parametrize("garbage", [b"\xff" * 5000, b"\x16\x03\x01" * 100, b"GET / HTTP/1.1\r\n\r\n"])
def test_garbage_is_refused(client: RawClient, garbage: bytes) -> None:
    client.send(garbage)
    assert b"FATAL" in client.expect_close()


def test_garbage_behind_a_query_does_not_cost_the_next_client_anything(target: Target) -> None:
    client = target.login()
    client.send(query("SELECT 'first', pg_sleep(0.05)") + message("!", b"garbage"))
    assert b"unknown pkt" in client.expect_close()
    assert_in_sync(target.login())


def test_random_bytes_are_survived(target: Target) -> None:
    """From a fixed seed. Some are messages, most are not; every connection has an end."""
    source = random.Random(20261120)
    for _ in range(60):
        client = target.login()
        kinds = b"".join(source.choices(KINDS, k=4))
        for kind in kinds:
            body = source.randbytes(source.randrange(40))
            length = source.choice([len(body) + 4, 4, 5, 200])
            with suppress(ConnectionError):  # it may be refused before it has said everything
                client.send(with_length(bytes((kind,)), length, body))
        client.abort()


# Answered by the server -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [b"", b"abc", b"SELECT 1", b"\0\0\0", b"SELECT 1\0; SELECT 2\0", b"\xff\xfe\0", b"SELECT '\xc3\x28'\0"],
)
def test_broken_query_is_answered_with_an_error(client: RawClient, body: bytes) -> None:
    client.send(message("Q", body))
    assert [kind for kind, _ in client.read_until("Z")] == ["E", "Z"]
    assert_in_sync(client)


@pytest.mark.parametrize("kind", ["P", "B", "D", "E", "C"])
@pytest.mark.parametrize("body", [b"", b"abc", b"\0", b"Z\0", b"\0" * 3, b"\xff" * 12, b"S\0\0"])
def test_broken_extended_message_is_answered_with_an_error(client: RawClient, kind: str, body: bytes) -> None:
    client.send(parse("SELECT 1") + BIND + message(kind, body) + EXECUTE + SYNC)
    assert "E" in dict(client.read_until("Z"))
    assert_in_sync(client)


@pytest.mark.parametrize("body", [b"", b"\0\0\0\1", b"\xff" * 20])
def test_broken_function_call_is_answered_with_an_error(client: RawClient, body: bytes) -> None:
    client.send(message("F", body))
    assert "E" in dict(client.read_until("Z"))
    assert_in_sync(client)


@pytest.mark.parametrize(
    ("messages", "answer"),
    [
        (SYNC, "Z"),
        (SYNC * 1000, "Z" * 1000),
        (FLUSH + SYNC, "Z"),
        (EXECUTE + SYNC, "EZ"),
        (BIND + SYNC, "EZ"),
        (DESCRIBE + SYNC, "EZ"),
        (message("B", b"\0no such\0" + bytes(6)) + EXECUTE + SYNC, "EZ"),
        (EXECUTE + parse("SELECT 1") + BIND + EXECUTE + SYNC, "EZ"),
        (EXECUTE + query("SELECT 'skipped'") + SYNC, "EZ"),
        (message("C", b"Sno such\0") + SYNC, "3Z"),
        (parse("SELECT 1") * 100 + SYNC, "1" * 100 + "Z"),
        (query(""), "IZ"),
        (query(";"), "IZ"),
        (parse("") + BIND + EXECUTE + SYNC, "12IZ"),
    ],
)
def test_odd_order_of_messages_is_what_the_server_makes_of_it(
    client: RawClient, messages: bytes, answer: str
) -> None:
    client.send(messages)
    assert "".join(client.read_message()[0] for _ in answer) == answer
    assert_in_sync(client)


@pytest.mark.parametrize(
    "late", [copy_data(b"a\n"), COPY_DONE, COPY_FAIL, copy_data(b"a\n") * 50 + COPY_DONE]
)
def test_copy_messages_without_a_copy_are_ignored(client: RawClient, late: bytes) -> None:
    client.send(late)
    assert_in_sync(client)
    client.query("BEGIN")
    client.send(late)
    assert_in_sync_in_transaction(client)
    client.query("COMMIT")
    assert_in_sync(client)


@pytest.mark.parametrize("table", ["copied", "no_such_table"])
@pytest.mark.parametrize(
    "sent",
    [
        copy_data(b"a\n") + SYNC + FLUSH + COPY_DONE,
        copy_data(b"a\tb\tc\n") + copy_data(b"a\n") * 1000 + COPY_DONE,
        copy_data(b"") + COPY_FAIL,
        copy_data(b"a\n") + COPY_DONE + COPY_DONE + COPY_FAIL + copy_data(b"b\n"),
    ],
    ids=["sync inside", "bad row", "failed", "more than the end"],
)
def test_odd_copy_leaves_the_client_in_sync(client: RawClient, table: str, sent: bytes) -> None:
    client.query("BEGIN; CREATE TEMP TABLE copied (a text) ON COMMIT DROP")
    client.send(query(f"COPY {table} FROM STDIN") + sent)
    client.read_until("Z")
    client.send(query("ROLLBACK") + query("SELECT 'after'"))
    answers = client.read_until("Z")
    while rows(answers) != ["after"]:
        answers = client.read_until("Z")
    assert_in_sync(client)


def test_query_inside_a_copy_ends_the_connection(client: RawClient) -> None:
    """PostgreSQL gives up: it has lost synchronization with its client."""
    in_copy(client)
    client.send(copy_data(b"a\n") + query("SELECT 'never'") + COPY_DONE)
    assert b"never" not in client.expect_close()


@pytest.mark.parametrize("state", STATES)
def test_terminate_is_the_end_in_any_state(client: RawClient, state: Callable[[RawClient], None]) -> None:
    state(client)
    client.send(TERMINATE)
    client.expect_close()


def test_terminate_behind_a_query_is_the_end(client: RawClient) -> None:
    client.send(query("SELECT pg_sleep(0.05)") + TERMINATE + query("SELECT 'never'"))
    assert b"never" not in client.expect_close()


def test_message_longer_than_the_server_takes_costs_only_its_client(client: RawClient) -> None:
    """PostgreSQL takes no message of 1 GB and more; the header alone tells."""
    client.send(with_length(b"Q", 2**31 - 1, b"SELECT 1\0"))
    assert b"FATAL" in client.expect_close()


def test_session_in_single_bytes_is_answered(client: RawClient) -> None:
    conversation = query("SELECT 'one'") + parse("SELECT 'two'") + BIND + DESCRIBE + EXECUTE + SYNC
    for byte in conversation:
        client.send(struct.pack("B", byte))
    assert rows(client.read_until("Z")) == ["one"]
    assert rows(client.read_until("Z")) == ["two"]
    assert_in_sync(client)


# The console ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sent",
    [
        with_length(b"Q", 0),
        with_length(b"Q", 3),
        with_length(b"Q", 2**31, b"SHOW HELP\0"),
        with_length(b"Q", 2**31 - 1, b"SHOW HELP\0"),
        message("!", b"what"),
        message("\0", b"what"),
        startup_message("admin", "pgbouncer"),
        SSL_REQUEST,
        message("d", b"data"),
        message("F", b""),
        b"\xff" * 5000,
        b"Q\0\0\0\xffSHOW HEL",
        TERMINATE,
    ],
)
@pytest.mark.parametrize("leave", ["close", "abort"])
def test_bad_message_to_the_console_costs_only_its_client(target: Target, sent: bytes, leave: str) -> None:
    client = target.connect()
    client.startup("admin", "pgbouncer")
    client.send(sent)
    getattr(client, leave)()


@pytest.mark.parametrize(
    "body",
    [b"", b"SHOW POOLS", b"SHOW\0 POOLS\0", b"\xff\xfe\0", b"SHOW \xc3\x28;\0", b"x" * 30_000 + b"\0"],
)
def test_broken_query_to_the_console_ends_in_an_error(target: Target, body: bytes) -> None:
    client = target.connect()
    client.startup("admin", "pgbouncer")
    client.send(message("Q", body))
    assert "E" in dict(client.read_until("E"))


@pytest.mark.parametrize("kind", ["P", "B", "D", "E", "C", "F"])
@pytest.mark.parametrize(
    "body", [b"", b"abc", b"\0", b"Z\0", b"\0" * 3, b"\xff" * 12, b"S\0\0", b"\0" * 30_000]
)
def test_broken_extended_message_to_the_console_is_answered_with_an_error(
    target: Target, kind: str, body: bytes
) -> None:
    client = target.connect()
    client.startup("admin", "pgbouncer")
    client.send(parse("SHOW VERSION") + BIND + message(kind, body) + EXECUTE + SYNC)
    assert "E" in dict(client.read_until("Z"))
    client.send(SYNC + parse("SHOW VERSION") + BIND + EXECUTE + SYNC)
    while [kind for kind, _ in client.read_until("Z")] != ["1", "2", "D", "C", "Z"]:
        pass


def test_statements_for_the_console_without_end_are_refused_at_the_limit(target: Target) -> None:
    client = target.connect()
    client.startup("admin", "pgbouncer")
    named = b"".join(message("P", b"s%d\0SHOW VERSION\0\0\0" % number) for number in range(5000))
    client.send(named + SYNC)
    answer = client.read_until("Z")
    assert dict(answer)["E"].startswith(b"SERROR\0C54000\0")
    assert answer.count(("1", b"")) == 1000


def assert_in_sync_in_transaction(client: RawClient) -> None:
    """As `assert_in_sync`, and the transaction is still open."""
    answer = client.query("SELECT 'inside'")
    assert rows(answer) == ["inside"]
    assert answer[-1] == ("Z", b"T")
