"""Bad packets while a password is asked for: nobody gets in, and nobody else notices."""

from __future__ import annotations

import base64
import hashlib
import struct

import pytest

from tests.integration.bad_input.conftest import SCRAM_USER
from tests.integration.bad_input.packets import (
    SYNC,
    TERMINATE,
    assert_in_sync,
    assert_refused,
    cancel_request,
    query,
    with_length,
)
from tests.integration.bad_input.target import DATABASE, Target
from tests.support.bouncer import USER, USER_PASSWORD
from tests.support.rawclient import SSL_REQUEST, RawClient, message, startup_message

CLIENT_FIRST = b"n,,n=,r=abcdefghijklmnopqrstuvwx"


@pytest.fixture
def md5_client(password_target: Target) -> RawClient:
    """Has been asked for an MD5 password."""
    return _asked(password_target, USER, 5)[0]


@pytest.fixture
def scram_client(password_target: Target) -> RawClient:
    """Has been asked for SCRAM."""
    return _asked(password_target, SCRAM_USER, 10)[0]


@pytest.fixture
def challenged_client(scram_client: RawClient) -> RawClient:
    """Has sent its client-first-message and got the server's challenge."""
    scram_client.send(_initial_response(CLIENT_FIRST))
    kind, body = scram_client.read_message()
    assert (kind, body[:4]) == ("R", struct.pack("!I", 11))
    return scram_client


# Lengths --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [0, 3, 65_600 * 2, 2**31 - 1, 2**31, 2**32 - 1])
def test_password_length_that_cannot_be_is_refused(md5_client: RawClient, length: int) -> None:
    md5_client.send(with_length(b"p", length, b"secret\0"))
    assert md5_client.expect_close()[:1] in (b"E", b"")


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\0",
        b"abc",
        b"\0\0",
        b"abc\0def\0",
        b"md5\0",
        b"md5" + b"0" * 32,
        b"md5" + b"0" * 32 + b"\0",
        b"x" * 65_520 + b"\0",
        b"\xff\xfe\xfd\0",
    ],
    ids=["empty", "nul", "endless", "two nuls", "two", "md5", "endless md5", "wrong", "long", "not utf-8"],
)
def test_broken_or_wrong_password_is_refused(md5_client: RawClient, body: bytes) -> None:
    md5_client.send(message("p", body))
    left = md5_client.expect_close()
    assert b"FATAL" in left
    assert b"password" in left


@pytest.mark.parametrize("sent", [1, 3, 5, 10])
@pytest.mark.parametrize("leave", ["close", "abort"])
def test_password_that_stops_short_is_forgotten_with_its_client(
    md5_client: RawClient, sent: int, leave: str
) -> None:
    md5_client.send(message("p", b"md5" + b"0" * 32 + b"\0")[:sent])
    getattr(md5_client, leave)()


# Order ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("client", ["md5_client", "scram_client", "challenged_client"])
@pytest.mark.parametrize(
    "early",
    [
        query("SELECT 1"),
        SYNC,
        message("P", b"\0SELECT 1\0\0\0"),
        message("d", b"data"),
        message("Z", b"I"),
        message("R", struct.pack("!I", 0)),
    ],
    ids=["query", "sync", "parse", "copy data", "ready", "authentication ok"],
)
def test_anything_but_a_password_is_refused(
    client: str, early: bytes, request: pytest.FixtureRequest
) -> None:
    connection: RawClient = request.getfixturevalue(client)
    connection.send(early)
    assert connection.expect_close()[:1] in (b"E", b"")


@pytest.mark.parametrize("client", ["md5_client", "scram_client", "challenged_client"])
def test_second_startup_packet_is_refused_at_once(client: str, request: pytest.FixtureRequest) -> None:
    """CVE-2026-107350: in the middle of SCRAM it made one user another."""
    connection: RawClient = request.getfixturevalue(client)
    connection.send(startup_message("somebody_else", DATABASE))
    assert connection.expect_close()[:1] in (b"E", b"")


@pytest.mark.parametrize("late", [SSL_REQUEST, cancel_request(b"12345678")], ids=["ssl", "cancel"])
def test_other_packets_of_the_start_are_refused_after_it(md5_client: RawClient, late: bytes) -> None:
    md5_client.send(late)
    assert md5_client.expect_close()[:1] in (b"E", b"")


@pytest.mark.parametrize("client", ["md5_client", "scram_client", "challenged_client"])
def test_terminate_ends_a_login_in_silence(client: str, request: pytest.FixtureRequest) -> None:
    connection: RawClient = request.getfixturevalue(client)
    connection.send(TERMINATE)
    assert connection.expect_close() == b""


def test_password_before_the_startup_packet_is_refused(password_target: Target) -> None:
    client = password_target.connect()
    client.send(message("p", b"secret\0") + startup_message(USER, DATABASE))
    assert_refused(client, "client password pkt before startup packet")


def test_password_sent_ahead_of_the_request_is_no_more_than_wrong(password_target: Target) -> None:
    """The salt was not known when it was sent."""
    client = password_target.connect()
    client.send(
        startup_message(USER, DATABASE) + message("p", b"md5" + b"0" * 32 + b"\0") + query("SELECT 1")
    )
    assert client.read_message()[0] == "R"
    assert_refused(client, "password authentication failed")


def test_query_sent_along_with_the_right_password_is_answered(password_target: Target) -> None:
    """The next test's counterpart: what comes behind a login that succeeds is not thrown away."""
    client, salt = _asked(password_target, USER, 5)
    client.send(_md5_answer(salt) + query("SELECT 'behind'"))
    client.read_until("Z")
    assert "D" in dict(client.read_until("Z"))
    assert_in_sync(client)


def test_second_password_after_the_right_one_is_refused(password_target: Target) -> None:
    client, salt = _asked(password_target, USER, 5)
    client.send(_md5_answer(salt) * 2)
    client.read_until("Z")
    assert client.expect_error()["S"] == "FATAL"
    client.expect_close()


def test_password_in_single_bytes_is_understood(password_target: Target) -> None:
    client, salt = _asked(password_target, USER, 5)
    for byte in _md5_answer(salt):
        client.send(bytes((byte,)))
    client.read_until("Z")
    assert_in_sync(client)


# SCRAM ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"\0",
        b"SCRAM-SHA-256",
        b"SCRAM-SHA-256\0",
        b"SCRAM-SHA-256\0\0\0\0",
        b"SCRAM-SHA-256\0\0\0\0\0",
        b"SCRAM-SHA-256\0" + struct.pack("!I", 2**32 - 1),
        b"SCRAM-SHA-256\0" + struct.pack("!I", 2**31 - 1) + CLIENT_FIRST,
        b"SCRAM-SHA-256\0" + struct.pack("!I", 2**31) + CLIENT_FIRST,
        b"SCRAM-SHA-256\0" + struct.pack("!I", len(CLIENT_FIRST) + 1) + CLIENT_FIRST,
        b"SCRAM-SHA-256\0" + struct.pack("!I", len(CLIENT_FIRST) - 1) + CLIENT_FIRST,
        b"SCRAM-SHA-256-PLUS\0" + struct.pack("!I", len(CLIENT_FIRST)) + CLIENT_FIRST,
        b"SCRAM-SHA-1\0" + struct.pack("!I", len(CLIENT_FIRST)) + CLIENT_FIRST,
        b"\xff" * 100 + b"\0" + struct.pack("!I", len(CLIENT_FIRST)) + CLIENT_FIRST,
        CLIENT_FIRST,
        b"secret\0",
    ],
)
def test_broken_initial_response_is_refused(scram_client: RawClient, body: bytes) -> None:
    """CVE-2026-6664: a length in it overflowed and took the pooler down, before any authentication."""
    scram_client.send(message("p", body))
    assert b"FATAL" in scram_client.expect_close()


@pytest.mark.parametrize(
    "first",
    [
        b"",
        b"n",
        b"n,,",
        b"n,,n=,r=",
        b"n,,n=",
        b"n,,r=abc,n=",
        b"p=tls-server-end-point,,n=,r=abc",
        b"n,a=postgres,n=,r=abc",
        b"n,,m=ext,n=,r=abc",
        b"n,,n=,r=ab\0c",
        b"n,,n=,r=\xff\xfe",
        b"n,,n=,r=a,,",
        b"x,,n=,r=abc",
        b"n,,n=,r=" + b"a" * 2000,
        b"n,,n=" + b"u" * 60_000 + b",r=abc",
        b"," * 1000,
    ],
)
def test_broken_client_first_message_is_refused(scram_client: RawClient, first: bytes) -> None:
    scram_client.send(_initial_response(first))
    assert b"SASL authentication failed" in scram_client.expect_close()


@pytest.mark.parametrize(
    "final",
    [
        b"",
        b"c=biws",
        b"c=biws,",
        b"c=biws,p=" + base64.b64encode(bytes(32)),
        b"c=biws,r=,p=" + base64.b64encode(bytes(32)),
        b"c=biws,r=NONCE",
        b"c=biws,r=NONCE,p=",
        b"c=biws,r=NONCE,p=" + base64.b64encode(bytes(31)),
        b"c=biws,r=NONCE,p=" + base64.b64encode(bytes(32)),
        b"c=biws,r=NONCE,p=" + base64.b64encode(bytes(1000)),
        b"c=biws,r=NONCE,p=not base 64",
        b"c=eSws,r=NONCE,p=" + base64.b64encode(bytes(32)),
        b"c=biws,r=NONCEx,p=" + base64.b64encode(bytes(32)),
        b"r=NONCE,c=biws,p=" + base64.b64encode(bytes(32)),
        b"p=" + base64.b64encode(bytes(32)),
        b"\0" * 100,
        b"\xff" * 100,
        b"," * 1000,
        b"c=biws,r=NONCE,p=" + b"A" * 60_000,
    ],
)
def test_broken_client_final_message_is_refused(password_target: Target, final: bytes) -> None:
    """CVE-2026-19888: without a nonce it took the pooler down."""
    client, _ = _asked(password_target, SCRAM_USER, 10)
    client.send(_initial_response(CLIENT_FIRST))
    challenge = dict([client.read_message()])["R"][4:]
    nonce = challenge.split(b",")[0].removeprefix(b"r=")
    client.send(message("p", final.replace(b"NONCE", nonce)))
    assert b"SASL authentication failed" in client.expect_close()


def test_second_client_first_message_is_refused(challenged_client: RawClient) -> None:
    challenged_client.send(_initial_response(CLIENT_FIRST))
    assert b"SASL authentication failed" in challenged_client.expect_close()


def _asked(target: Target, user: str, code: int) -> tuple[RawClient, bytes]:
    """A client that has been asked to authenticate by this method, and what came with the request."""
    client = target.connect()
    client.send(startup_message(user, DATABASE))
    kind, body = client.read_message()
    assert (kind, body[:4]) == ("R", struct.pack("!I", code))
    return client, body[4:]


def _initial_response(first: bytes) -> bytes:
    return message("p", b"SCRAM-SHA-256\0" + struct.pack("!I", len(first)) + first)


def _md5_answer(salt: bytes) -> bytes:
    inner = hashlib.md5((USER_PASSWORD + USER).encode()).hexdigest()
    return message("p", b"md5" + hashlib.md5(inner.encode() + salt).hexdigest().encode() + b"\0")
