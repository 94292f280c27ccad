"""Stored secrets and clear-text or md5 answers to them."""

import base64
import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pooler.auth.scram import ScramKeys, ScramSecret
from pooler.auth.scram_keys import MAX_ITERATIONS
from pooler.auth.secrets import SecretKind, kind_of, md5_response, md5_secret, verify_md5, verify_plain
from tests.unit.auth.peers import MD5_FOO, SALT, SCRAM_FOO, Pbkdf2Counter

KEY = base64.b64encode(bytes(32)).decode()
SHORT_KEY = base64.b64encode(bytes(31)).decode()
NOT_UTF8 = b"p\xe4ss\xff".decode("utf-8", "surrogateescape")


@pytest.mark.parametrize(
    ("secret", "kind"),
    [
        ("", SecretKind.EMPTY),
        ("foo", SecretKind.PLAIN),
        (MD5_FOO, SecretKind.MD5),
        (MD5_FOO.upper(), SecretKind.PLAIN),
        ("md5" + "A" * 32, SecretKind.PLAIN),
        ("md5" + "a" * 31, SecretKind.PLAIN),
        (MD5_FOO + "\n", SecretKind.PLAIN),
        (SCRAM_FOO, SecretKind.SCRAM),
        (SCRAM_FOO + "\n", SecretKind.PLAIN),
        (SCRAM_FOO.lower(), SecretKind.PLAIN),
        (f"SCRAM-SHA-256$0:AAAA${KEY}:{KEY}", SecretKind.PLAIN),
        (f"SCRAM-SHA-256$-1:AAAA${KEY}:{KEY}", SecretKind.PLAIN),
        (f"SCRAM-SHA-256$2147483648:AAAA${KEY}:{KEY}", SecretKind.PLAIN),
        (f"SCRAM-SHA-256$2147483647:AAAA${KEY}:{KEY}", SecretKind.SCRAM),
        (f"SCRAM-SHA-256$4096:AAA${KEY}:{KEY}", SecretKind.PLAIN),
        (f"SCRAM-SHA-256$4096:A AA${KEY}:{KEY}", SecretKind.PLAIN),
        (f"SCRAM-SHA-256$4096:é===${KEY}:{KEY}", SecretKind.PLAIN),
        (f"SCRAM-SHA-256$4096:${KEY}:{KEY}", SecretKind.PLAIN),
        (f"SCRAM-SHA-256$4096:AAAA${SHORT_KEY}:{KEY}", SecretKind.PLAIN),
        (f"SCRAM-SHA-256$4096:AAAA${KEY}:{SHORT_KEY}", SecretKind.PLAIN),
        (f"SCRAM-SHA-256$4096:AAAA${KEY}", SecretKind.PLAIN),
    ],
)
def test_the_kind_of_a_secret_shows_in_its_text(secret: str, kind: SecretKind) -> None:
    assert kind_of(secret) is kind


def test_a_scram_secret_is_written_as_postgresql_does() -> None:
    parsed = ScramSecret.parse(SCRAM_FOO)
    assert parsed is not None
    assert str(parsed) == SCRAM_FOO
    assert ScramSecret.from_password("foo", parsed.iterations, parsed.salt) == parsed


@given(st.integers(1, 2**31 - 1), st.binary(min_size=1, max_size=64), st.binary(min_size=32, max_size=32))
def test_every_scram_secret_survives_its_text(iterations: int, salt: bytes, key: bytes) -> None:
    secret = ScramSecret(iterations, salt, key, key[::-1])
    assert ScramSecret.parse(str(secret)) == secret


def test_representations_do_not_show_keys() -> None:
    assert repr(ScramSecret(4096, SALT, b"stored", b"server")) == "ScramSecret(iterations=4096)"
    assert repr(ScramKeys(b"client", b"server")) == "ScramKeys()"


def test_an_md5_secret_is_the_one_that_postgresql_stores() -> None:
    assert md5_secret("muser1", "foo") == MD5_FOO


def test_the_md5_response_is_the_same_from_password_and_from_hash() -> None:
    salt = b"\x01\x02\xfe\xff"
    expected = "md5" + hashlib.md5(MD5_FOO[3:].encode() + salt).hexdigest()
    assert md5_response("foo", "muser1", salt) == expected
    assert md5_response(MD5_FOO, "muser1", salt) == expected


def test_a_scram_secret_has_no_md5_response() -> None:
    with pytest.raises(ValueError, match="SCRAM"):
        md5_response(SCRAM_FOO, "scramuser1", b"salt")


@pytest.mark.parametrize("secret", ["foo", MD5_FOO, SCRAM_FOO])
def test_the_right_password_matches_however_it_is_stored(secret: str) -> None:
    assert verify_plain(secret, "muser1", "foo")


@pytest.mark.parametrize("secret", ["foo", MD5_FOO, SCRAM_FOO, "", None])
@pytest.mark.parametrize("password", ["bar", "", "fo", "foo ", MD5_FOO, SCRAM_FOO])
def test_no_other_password_matches(secret: str | None, password: str) -> None:
    assert not verify_plain(secret, "muser1", password)


@pytest.mark.parametrize("secret", [NOT_UTF8, md5_secret("u", NOT_UTF8)])
def test_a_password_need_not_be_utf8(secret: str) -> None:
    assert verify_plain(secret, "u", NOT_UTF8)
    assert not verify_plain(secret, "u", NOT_UTF8[:-1])


def test_a_scram_secret_is_compared_after_saslprep() -> None:
    secret = str(ScramSecret.from_password("IX", 1, SALT))
    assert verify_plain(secret, "u", "\u2168")


def test_an_absurd_iteration_count_is_not_run(pbkdf2: Pbkdf2Counter) -> None:
    secret = ScramSecret.from_password("foo", 1, SALT)
    absurd = str(ScramSecret(MAX_ITERATIONS + 1, secret.salt, secret.stored_key, secret.server_key))
    pbkdf2.take()
    assert not verify_plain(absurd, "u", "foo")
    assert pbkdf2.take() == [4096]


@pytest.mark.parametrize("secret", ["foo", "bar", MD5_FOO, SCRAM_FOO, "", None])
def test_checking_costs_the_same_whatever_is_stored(secret: str | None, pbkdf2: Pbkdf2Counter) -> None:
    verify_plain(secret, "muser1", "foo")
    assert pbkdf2.take() == [4096]


@pytest.mark.parametrize("secret", ["foo", MD5_FOO])
def test_the_right_md5_response_matches(secret: str) -> None:
    salt = b"\x00\xff\x10\x80"
    assert verify_md5(secret, "muser1", salt, md5_response("foo", "muser1", salt))
    assert not verify_md5(secret, "muser1", salt, md5_response("foo", "muser1", b"else"))
    assert not verify_md5(secret, "muser1", salt, md5_response("bar", "muser1", salt))
    assert not verify_md5(secret, "muser1", salt, "foo")
    assert not verify_md5(secret, "muser1", salt, MD5_FOO)


@pytest.mark.parametrize("secret", [None, "", SCRAM_FOO])
def test_a_user_without_a_usable_secret_never_matches_md5(secret: str | None) -> None:
    assert not verify_md5(secret, "u", b"salt", md5_response("", "u", b"salt"))
    assert not verify_md5(secret, "u", b"salt", NOT_UTF8)
