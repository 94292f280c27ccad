"""The pooler's login to a server, message by message."""

import base64
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pooler.auth.scram import ScramKeys
from pooler.auth.secrets import md5_response
from pooler.auth.server_login import ServerLogin, ServerLoginError, ServerLoginRejected
from tests.unit.auth.peers import (
    MD5_FOO,
    SALT,
    SCRAM_FOO,
    PostgresServer,
    auth_body,
    fixed_token,
    keys,
    payload_of,
)

OK = auth_body(0)
CLEARTEXT = auth_body(3)
MD5 = auth_body(5, b"salt")
SASL = auth_body(10, b"SCRAM-SHA-256\0\0")
WRONG_TYPE = "server login failed: wrong password type"


def login(secret: str, scram_keys: ScramKeys | None = None) -> ServerLogin:
    return ServerLogin("muser1", secret, scram_keys, fixed_token)


def answer(side: ServerLogin, body: bytes) -> bytes:
    """Payload of the 'p' message that the pooler answers with."""
    message = side.respond(body)
    assert message is not None
    return payload_of(message, b"p")


def begin_sasl(side: ServerLogin, server: PostgresServer, request: bytes = SASL) -> bytes:
    """Runs SASL up to the client's proof; returns a SASLFinal that fits."""
    initial = answer(side, request)
    mechanism, _, rest = initial.partition(b"\0")
    assert mechanism == b"SCRAM-SHA-256"
    assert struct.unpack_from("!i", rest) == (len(rest) - 4,)
    proof = answer(side, auth_body(11, server.first(rest[4:])))
    return auth_body(12, server.final(proof))


def test_a_server_that_asks_for_nothing_is_accepted() -> None:
    side = login("foo")
    assert not side.done
    assert side.respond(OK) is None
    assert side.done


@pytest.mark.parametrize("secret", ["foo", "", b"\xff\xe4".decode("utf-8", "surrogateescape")])
def test_a_clear_text_password_is_sent_as_its_bytes(secret: str) -> None:
    side = login(secret)
    assert answer(side, CLEARTEXT) == secret.encode("utf-8", "surrogateescape") + b"\0"
    assert not side.done
    assert side.respond(OK) is None
    assert side.done


@pytest.mark.parametrize("secret", ["foo", MD5_FOO, ""])
def test_an_md5_request_is_answered_from_password_or_hash(secret: str) -> None:
    side = login(secret)
    assert answer(side, MD5) == md5_response(secret, "muser1", b"salt").encode() + b"\0"
    side.respond(OK)
    assert side.done


@pytest.mark.parametrize(
    ("secret", "scram_keys"),
    [("foo", None), (SCRAM_FOO, ScramKeys(*keys(b"foo", SALT, 4096)))],
    ids=["password", "pass-through"],
)
@pytest.mark.parametrize(
    "mechanisms", [b"SCRAM-SHA-256\0\0", b"SCRAM-SHA-256-PLUS\0SCRAM-SHA-256\0\0", b"X\0SCRAM-SHA-256\0"]
)
def test_scram_logs_in(secret: str, scram_keys: ScramKeys | None, mechanisms: bytes) -> None:
    side = login(secret, scram_keys)
    final = begin_sasl(side, PostgresServer(b"foo"), auth_body(10, mechanisms))
    assert side.respond(final) is None
    assert not side.done
    assert side.respond(OK) is None
    assert side.done


def test_a_plain_password_is_used_even_if_keys_are_at_hand() -> None:
    """Keys belong to one salt; the password works with any."""
    side = login("foo", ScramKeys(bytes(32), bytes(32)))
    assert side.respond(begin_sasl(side, PostgresServer(b"foo"))) is None


@pytest.mark.parametrize(
    ("secret", "scram_keys", "request_body", "detail"),
    [
        (MD5_FOO, None, CLEARTEXT, "cannot do cleartext authentication: wrong password type"),
        (SCRAM_FOO, None, CLEARTEXT, "cannot do cleartext authentication: wrong password type"),
        (SCRAM_FOO, None, MD5, "cannot do MD5 authentication: wrong password type"),
        (SCRAM_FOO, ScramKeys(b"", b""), MD5, "cannot do MD5 authentication: wrong password type"),
        (MD5_FOO, None, SASL, "cannot do SCRAM authentication: wrong password type"),
        (MD5_FOO, ScramKeys(b"", b""), SASL, "cannot do SCRAM authentication: wrong password type"),
        (
            SCRAM_FOO,
            None,
            SASL,
            "cannot do SCRAM authentication: password is SCRAM secret but client authentication did not"
            " provide SCRAM keys",
        ),
    ],
)
def test_a_secret_of_the_wrong_kind_is_told_to_the_clients(
    secret: str, scram_keys: ScramKeys | None, request_body: bytes, detail: str
) -> None:
    with pytest.raises(ServerLoginRejected) as caught:
        login(secret, scram_keys).respond(request_body)
    assert str(caught.value) == WRONG_TYPE
    assert caught.value.detail == detail


@pytest.mark.parametrize(
    "mechanisms",
    [b"", b"\0", b"SCRAM-SHA-256-PLUS\0\0", b"SCRAM-SHA-1\0OAUTHBEARER\0\0", b"SCRAM-SHA-256"],
)
def test_a_server_without_scram_sha_256_is_told_to_the_clients(mechanisms: bytes) -> None:
    with pytest.raises(ServerLoginRejected) as caught:
        login("foo").respond(auth_body(10, mechanisms))
    expected = "server login failed: none of the server's SASL authentication mechanisms are supported"
    assert str(caught.value) == expected


@pytest.mark.parametrize(
    ("server_final", "text", "detail"),
    [
        (b"v=" + base64.b64encode(bytes(32)), "invalid server signature", "invalid server signature"),
        (b"v=AAAA", "failed to verify server signature", "malformed server signature"),
        (b"e=other-error", "failed to verify server signature", "'other-error'"),
        (b"", "failed to verify server signature", "expected"),
    ],
)
def test_a_server_that_cannot_prove_itself_is_told_to_the_clients(
    server_final: bytes, text: str, detail: str
) -> None:
    side = login("foo")
    begin_sasl(side, PostgresServer(b"foo"))
    with pytest.raises(ServerLoginRejected) as caught:
        side.respond(auth_body(12, server_final))
    assert str(caught.value) == f"server login failed: {text}"
    assert detail in caught.value.detail
    with pytest.raises(ServerLoginError, match="AuthenticationOk without prior"):
        side.respond(OK)


def test_the_iteration_limit_applies() -> None:
    side = login("foo")
    nonce = answer(side, SASL).partition(b"r=")[2]
    with pytest.raises(ServerLoginError, match="above the limit") as caught:
        side.respond(auth_body(11, b"r=" + nonce + b"x,s=AAAA,i=2000000"))
    assert not isinstance(caught.value, ServerLoginRejected)


@pytest.mark.parametrize(
    ("bodies", "text"),
    [
        ([b""], "protocol error: malformed authentication request"),
        ([b"\0\0\0"], "protocol error: malformed authentication request"),
        ([auth_body(7)], "unknown/unsupported auth method: 7"),
        ([auth_body(2**32 - 1)], "unknown/unsupported auth method: 4294967295"),
        ([auth_body(5, b"sal")], "protocol error: malformed AuthenticationMD5Password message"),
        ([auth_body(5, b"salty")], "protocol error: malformed AuthenticationMD5Password message"),
        ([SASL, SASL], "protocol error: duplicate AuthenticationSASL message from server"),
        ([SASL, OK], "protocol error: AuthenticationOk without prior AuthenticationSASLFinal"),
        (
            [SASL, CLEARTEXT],
            "protocol error: duplicate AuthenticationCleartextPassword message from server",
        ),
        ([CLEARTEXT, MD5], "protocol error: duplicate AuthenticationMD5Password message from server"),
        (
            [CLEARTEXT, CLEARTEXT],
            "protocol error: duplicate AuthenticationCleartextPassword message from server",
        ),
        ([MD5, SASL], "protocol error: duplicate AuthenticationSASL message from server"),
        (
            [auth_body(11, b"x")],
            "protocol error: AuthenticationSASLContinue without prior AuthenticationSASL",
        ),
        (
            [CLEARTEXT, auth_body(11, b"x")],
            "protocol error: AuthenticationSASLContinue without prior AuthenticationSASL",
        ),
        (
            [auth_body(12, b"x")],
            "protocol error: AuthenticationSASLFinal without prior AuthenticationSASLContinue",
        ),
        (
            [SASL, auth_body(12, b"x")],
            "protocol error: AuthenticationSASLFinal without prior AuthenticationSASLContinue",
        ),
        ([OK, OK], "protocol error: duplicate AuthenticationOk message from server"),
        ([OK, CLEARTEXT], "protocol error: duplicate AuthenticationCleartextPassword message from server"),
    ],
)
def test_messages_out_of_order_are_refused(bodies: list[bytes], text: str) -> None:
    side = login("foo")
    for body in bodies[:-1]:
        side.respond(body)
    with pytest.raises(ServerLoginError) as caught:
        side.respond(bodies[-1])
    assert str(caught.value) == text
    assert not isinstance(caught.value, ServerLoginRejected)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (OK, "AuthenticationOk without prior AuthenticationSASLFinal"),
        (CLEARTEXT, "duplicate AuthenticationCleartextPassword"),
        (auth_body(11, b"x"), "received second AuthenticationSASLContinue"),
    ],
)
def test_after_the_proof_only_the_servers_own_will_do(body: bytes, text: str) -> None:
    side = login("foo")
    begin_sasl(side, PostgresServer(b"foo"))
    with pytest.raises(ServerLoginError, match=text):
        side.respond(body)
    assert not side.done


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (CLEARTEXT, "duplicate AuthenticationCleartextPassword"),
        (auth_body(11, b"x"), "received second AuthenticationSASLContinue"),
        (auth_body(12, b"x"), "duplicate AuthenticationSASLFinal"),
    ],
)
def test_a_verified_server_has_nothing_more_to_ask(body: bytes, text: str) -> None:
    side = login("foo")
    side.respond(begin_sasl(side, PostgresServer(b"foo")))
    with pytest.raises(ServerLoginError, match=text):
        side.respond(body)


def test_no_secret_shows_in_a_login() -> None:
    assert "sesame" not in repr(ServerLogin("u", "sesame", None))


_requests = st.builds(auth_body, st.sampled_from([0, 3, 5, 7, 10, 11, 12]), st.binary(max_size=60))


@given(st.lists(_requests | st.binary(max_size=80) | st.just(SASL), max_size=6))
def test_random_requests_are_answered_or_refused(bodies: list[bytes]) -> None:
    side = login("foo")
    try:
        for body in bodies:
            message = side.respond(body)
            assert message is None or payload_of(message, b"p") is not None
    except ServerLoginError:
        assert not side.done or OK[:4] in [body[:4] for body in bodies]
