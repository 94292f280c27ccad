"""The password exchange with a client, message by message."""

import hashlib
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pooler.auth.client_login import (
    LoginError,
    Md5Exchange,
    PasswordExchange,
    PlainExchange,
    ScramExchange,
    Step,
    begin,
)
from pooler.auth.scram import ScramSecret, SecretCache
from pooler.auth.scram_keys import ScramKeys
from pooler.config.settings import AuthType
from tests.unit.auth.peers import (
    MD5_FOO,
    SCRAM_FOO,
    SEED,
    LibpqClient,
    Pbkdf2Counter,
    fixed_token,
    initial_response,
    keys,
    password_message,
    payload_of,
)

FIRST = LibpqClient(b"foo").first()
MD5_SALT = fixed_token(4)


def opened(auth_type: AuthType, secret: str | None, cache: SecretCache | None = None) -> PasswordExchange:
    return begin(auth_type, "muser1", secret, SEED, 4096, cache, fixed_token)


def challenge_of(step: Step) -> bytes:
    """The server-first-message in an AuthenticationSASLContinue."""
    assert not step.done
    payload = payload_of(step.send, b"R")
    assert payload[:4] == struct.pack("!i", 11)
    return payload[4:]


def md5_answer(secret: str) -> bytes:
    return b"md5" + hashlib.md5(secret.removeprefix("md5").encode() + MD5_SALT).hexdigest().encode()


# Requests


@pytest.mark.parametrize(
    ("auth_type", "secret", "request_message"),
    [
        (AuthType.PLAIN, "foo", b"R\0\0\0\x08\0\0\0\x03"),
        (AuthType.PLAIN, SCRAM_FOO, b"R\0\0\0\x08\0\0\0\x03"),
        (AuthType.PLAIN, None, b"R\0\0\0\x08\0\0\0\x03"),
        (AuthType.MD5, "foo", b"R\0\0\0\x0c\0\0\0\x05\x00\x01\x02\x03"),
        (AuthType.MD5, MD5_FOO, b"R\0\0\0\x0c\0\0\0\x05\x00\x01\x02\x03"),
        (AuthType.MD5, None, b"R\0\0\0\x0c\0\0\0\x05\x00\x01\x02\x03"),
        (AuthType.MD5, SCRAM_FOO, b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0"),
        (AuthType.SCRAM_SHA_256, SCRAM_FOO, b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0"),
        (AuthType.SCRAM_SHA_256, "foo", b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0"),
        (AuthType.SCRAM_SHA_256, MD5_FOO, b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0"),
        (AuthType.SCRAM_SHA_256, None, b"R\0\0\0\x17\0\0\0\x0aSCRAM-SHA-256\0\0"),
    ],
)
def test_the_request_follows_from_auth_type_and_secret(
    auth_type: AuthType, secret: str | None, request_message: bytes
) -> None:
    assert opened(auth_type, secret).request() == request_message


@pytest.mark.parametrize("auth_type", [AuthType.ANY, AuthType.TRUST, AuthType.CERT, AuthType.HBA])
def test_a_method_without_password_has_no_exchange(auth_type: AuthType) -> None:
    with pytest.raises(ValueError, match="not a password exchange"):
        opened(auth_type, "foo")


def test_every_md5_request_has_a_new_salt() -> None:
    assert Md5Exchange("u", "foo").request() != Md5Exchange("u", "foo").request()


# Clear text and md5


@pytest.mark.parametrize("secret", ["foo", MD5_FOO, SCRAM_FOO])
def test_the_right_password_logs_in(secret: str) -> None:
    assert opened(AuthType.PLAIN, secret).respond(password_message(b"foo")) == Step(b"", True)


@pytest.mark.parametrize("secret", ["foo", MD5_FOO])
def test_the_right_md5_answer_logs_in(secret: str) -> None:
    exchange = opened(AuthType.MD5, secret)
    assert exchange.respond(password_message(md5_answer(MD5_FOO))) == Step(b"", True)
    assert exchange.scram_keys is None


@pytest.mark.parametrize("auth_type", [AuthType.PLAIN, AuthType.MD5])
@pytest.mark.parametrize("secret", ["foo", MD5_FOO, "", None])
@pytest.mark.parametrize("answer", [b"bar", b"\xff", MD5_FOO.encode(), md5_answer(""), b"x" * 65530])
def test_any_other_answer_fails(auth_type: AuthType, secret: str | None, answer: bytes) -> None:
    with pytest.raises(LoginError) as caught:
        opened(auth_type, secret).respond(password_message(answer))
    assert str(caught.value) == "password authentication failed"


def test_a_password_of_the_greatest_length_logs_in_and_a_longer_one_does_not() -> None:
    longest = "x" * 65530
    assert opened(AuthType.PLAIN, longest).respond(password_message(longest.encode())).done
    with pytest.raises(LoginError, match=r"^password authentication failed$") as caught:
        opened(AuthType.PLAIN, longest + "x").respond(password_message(longest.encode() + b"x"))
    assert caught.value.detail == "password too long"


@pytest.mark.parametrize("auth_type", [AuthType.PLAIN, AuthType.MD5])
@pytest.mark.parametrize("secret", ["foo", "", None])
def test_an_empty_password_is_refused_by_name(auth_type: AuthType, secret: str | None) -> None:
    with pytest.raises(LoginError, match=r"^empty password returned by client$"):
        opened(auth_type, secret).respond(password_message(b""))


@pytest.mark.parametrize("auth_type", [AuthType.PLAIN, AuthType.MD5])
@pytest.mark.parametrize("body", [b"", b"foo", b"foo\0bar", b"foo\0\0", b"\0foo\0"])
def test_a_malformed_password_message_is_refused(auth_type: AuthType, body: bytes) -> None:
    with pytest.raises(LoginError, match=r"^malformed password message$"):
        opened(auth_type, "foo").respond(body)


@pytest.mark.parametrize("secret", ["foo", MD5_FOO, SCRAM_FOO, "", None])
def test_a_clear_text_try_costs_the_same_whatever_is_stored(
    secret: str | None, pbkdf2: Pbkdf2Counter
) -> None:
    with pytest.raises(LoginError):
        opened(AuthType.PLAIN, secret).respond(password_message(b"wrong"))
    assert pbkdf2.take() == [4096]


# SCRAM


@pytest.mark.parametrize("auth_type", [AuthType.SCRAM_SHA_256, AuthType.MD5])
def test_scram_logs_in_and_keeps_the_keys(auth_type: AuthType) -> None:
    client = LibpqClient(b"foo")
    exchange = opened(auth_type, SCRAM_FOO)
    challenge = challenge_of(exchange.respond(initial_response(client.first())))
    assert exchange.scram_keys is None

    step = exchange.respond(client.final(challenge))

    assert step.done
    assert payload_of(step.send, b"R") == struct.pack("!i", 12) + client.expected_final
    parsed = ScramSecret.parse(SCRAM_FOO)
    assert parsed is not None
    assert exchange.scram_keys == ScramKeys(*keys(b"foo", parsed.salt, 4096))


def test_scram_logs_in_against_a_plain_password_that_is_derived_once(pbkdf2: Pbkdf2Counter) -> None:
    cache: SecretCache = {}
    derivations = []
    for _ in range(2):
        client = LibpqClient(b"foo")
        exchange = opened(AuthType.SCRAM_SHA_256, "foo", cache)
        answer = client.final(challenge_of(exchange.respond(initial_response(client.first()))))
        pbkdf2.take()
        assert exchange.respond(answer).done
        derivations.append(pbkdf2.take())
    assert derivations == [[4096], []]


@pytest.mark.parametrize("secret", ["foo", SCRAM_FOO, MD5_FOO, "", None])
def test_a_scram_failure_is_told_in_one_text_at_the_same_point(secret: str | None) -> None:
    client = LibpqClient(b"wrong")
    exchange = opened(AuthType.SCRAM_SHA_256, secret)
    challenge = challenge_of(exchange.respond(initial_response(client.first())))
    with pytest.raises(LoginError) as caught:
        exchange.respond(client.final(challenge))
    assert str(caught.value) == "SASL authentication failed"
    assert "authentication failed" in caught.value.detail
    assert exchange.scram_keys is None


@pytest.mark.parametrize("mechanism", [b"SCRAM-SHA-256-PLUS", b"SCRAM-SHA-1", b"OAUTHBEARER", b""])
def test_another_mechanism_is_refused_by_name(mechanism: bytes) -> None:
    with pytest.raises(LoginError, match=r"^client selected an invalid SASL authentication mechanism$"):
        opened(AuthType.SCRAM_SHA_256, SCRAM_FOO).respond(initial_response(FIRST, mechanism))


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(b"", id="empty"),
        pytest.param(b"SCRAM-SHA-256", id="no-terminator"),
        pytest.param(b"SCRAM-SHA-256\0\0\0\0", id="no-length"),
        pytest.param(b"SCRAM-SHA-256\0\xff\xff\xff\xff", id="no-initial-response"),
        pytest.param(b"SCRAM-SHA-256\0\xff\xff\xff\xff" + FIRST, id="negative-length"),
        pytest.param(b"SCRAM-SHA-256\0\x7f\xff\xff\xff" + FIRST, id="length-too-great"),
        pytest.param(initial_response(FIRST)[:-1], id="cut-off"),
        pytest.param(initial_response(FIRST) + b"x", id="bytes-behind"),
        pytest.param(initial_response(b""), id="empty-first-message"),
        pytest.param(initial_response(b"p=tls-unique,,n=,r=abc"), id="channel-binding"),
        pytest.param(initial_response(b"n,,n=,r=abc" + b"x" * 1024), id="too-long"),
    ],
)
def test_a_malformed_sasl_initial_response_is_refused(body: bytes) -> None:
    with pytest.raises(LoginError) as caught:
        opened(AuthType.SCRAM_SHA_256, SCRAM_FOO).respond(body)
    assert str(caught.value) == "SASL authentication failed"
    assert caught.value.detail


def test_the_log_is_told_what_was_wrong() -> None:
    with pytest.raises(LoginError) as caught:
        opened(AuthType.SCRAM_SHA_256, SCRAM_FOO).respond(initial_response(b"p=tls-unique,,n=,r=abc"))
    assert caught.value.detail == "client requires SCRAM channel binding, but it is not supported"


def test_a_failed_exchange_cannot_be_restarted() -> None:
    exchange = opened(AuthType.SCRAM_SHA_256, SCRAM_FOO)
    with pytest.raises(LoginError, match="invalid SASL"):
        exchange.respond(initial_response(FIRST, b"PLAIN"))
    with pytest.raises(LoginError, match=r"^SASL authentication failed$"):
        exchange.respond(initial_response(FIRST))


def test_an_answer_after_success_is_refused() -> None:
    client = LibpqClient(b"foo")
    exchange = opened(AuthType.SCRAM_SHA_256, SCRAM_FOO)
    answer = client.final(challenge_of(exchange.respond(initial_response(client.first()))))
    assert exchange.respond(answer).done
    with pytest.raises(LoginError, match=r"^SASL authentication failed$"):
        exchange.respond(answer)


def test_no_secret_shows_in_an_exchange() -> None:
    for auth_type in (AuthType.PLAIN, AuthType.MD5, AuthType.SCRAM_SHA_256):
        assert "sesame" not in repr(opened(auth_type, "sesame"))


@given(st.binary(max_size=200))
def test_random_answers_are_refused(body: bytes) -> None:
    for exchange in (PlainExchange("u", "foo\nbar", 1), Md5Exchange("u", "foo")):
        with pytest.raises(LoginError):
            exchange.respond(body)


@given(st.binary(max_size=200) | st.binary(max_size=200).map(initial_response), st.binary(max_size=200))
def test_random_sasl_answers_are_refused(first: bytes, final: bytes) -> None:
    exchange = opened(AuthType.SCRAM_SHA_256, SCRAM_FOO)
    assert isinstance(exchange, ScramExchange)
    with pytest.raises(LoginError):
        _both(exchange, first, final)


def _both(exchange: ScramExchange, first: bytes, final: bytes) -> None:
    assert not exchange.respond(first).done
    exchange.respond(final)
