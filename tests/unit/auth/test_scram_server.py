"""The pooler authenticating a client by SCRAM."""

import base64
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pooler.auth import scram
from pooler.auth.scram import ScramError, ScramSecret, ScramServer, SecretCache, derive
from pooler.auth.scram_keys import ScramKeys, sign, stored_key_of, xor
from tests.unit.auth.peers import MD5_FOO, SCRAM_FOO, SEED, LibpqClient, Pbkdf2Counter, fixed_token, keys

NONCE = b"fyko+d2lbbFgONRv9qkxdawL"
FIRST = b"n,,n=,r=" + NONCE


def server(secret: str | None, user: str = "u", cache: SecretCache | None = None) -> ScramServer:
    return ScramServer(secret, SEED, user, 4096, token=fixed_token, cache=cache)


def login(secret: str | None, client: LibpqClient, cache: SecretCache | None = None) -> ScramServer:
    """Runs a whole exchange, and checks the server's signature as the client would."""
    side = server(secret, cache=cache)
    outcome = side.final(client.final(side.first(client.first())))
    assert outcome == client.expected_final
    return side


def test_rfc_7677_example() -> None:
    first_bare = b"n=user,r=rOprNGfwEbeRWgbNEkqO"
    nonce = b"rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0"
    server_first = b"r=" + nonce + b",s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096"
    signed = b",".join((first_bare, server_first, b"c=biws,r=" + nonce))
    salt = base64.b64decode("W22ZaJ0SNY7soEsUEjb6gQ==")

    derived = ScramKeys.from_password("pencil", 4096, salt)
    secret = ScramSecret.from_password("pencil", 4096, salt)

    proof = xor(derived.client_key, sign(secret.stored_key, signed))
    assert base64.b64encode(proof) == b"dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
    signature = sign(secret.server_key, signed)
    assert base64.b64encode(signature) == b"6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4="
    assert stored_key_of(derived.client_key) == secret.stored_key


@pytest.mark.parametrize("secret", ["foo", SCRAM_FOO])
@pytest.mark.parametrize("gs2", [b"n,,", b"y,,"])
def test_libpq_logs_in(secret: str, gs2: bytes) -> None:
    login(secret, LibpqClient(b"foo", gs2))


def test_extensions_are_ignored_but_signed() -> None:
    login(SCRAM_FOO, LibpqClient(b"foo", first_extensions=b",x=1,y=", final_extensions=b",z=a=b"))


def test_the_nonce_is_extended_with_printable_random_bytes() -> None:
    asked: list[int] = []

    def token(length: int) -> bytes:
        asked.append(length)
        return fixed_token(length)

    first = ScramServer(SCRAM_FOO, SEED, "u", 4096, token).first(FIRST)
    assert first.split(b",")[0] == b"r=" + NONCE + base64.b64encode(fixed_token(18))
    assert asked == [18]


def test_the_stored_salt_and_iterations_are_announced() -> None:
    secret = str(ScramSecret.from_password("foo", 77, b"any salt at all"))
    assert server(secret).first(FIRST).endswith(b",s=" + base64.b64encode(b"any salt at all") + b",i=77")


def test_a_plain_password_is_salted_with_the_configured_iterations() -> None:
    first = ScramServer("foo", SEED, "u", 1234, fixed_token).first(FIRST)
    assert first.endswith(b",i=1234")


def test_a_password_in_any_encoding_logs_in() -> None:
    login(b"\xff\xe4".decode("utf-8", "surrogateescape"), LibpqClient(b"\xff\xe4"))


def test_the_proof_of_a_scram_secret_yields_pass_through_keys() -> None:
    parsed = ScramSecret.parse(SCRAM_FOO)
    assert parsed is not None
    assert login(SCRAM_FOO, LibpqClient(b"foo")).keys == ScramKeys(*keys(b"foo", parsed.salt, 4096))


def test_keys_with_a_salt_of_our_own_are_not_offered_for_pass_through() -> None:
    assert login("foo", LibpqClient(b"foo")).keys is None


@pytest.mark.parametrize("secret", ["foo", SCRAM_FOO, "", None, MD5_FOO])
@pytest.mark.parametrize("password", [b"bar", b"", MD5_FOO.encode(), SCRAM_FOO.encode()])
def test_a_wrong_password_fails_and_leaves_no_keys(secret: str | None, password: bytes) -> None:
    side = server(secret)
    with pytest.raises(ScramError, match="authentication failed"):
        side.final(LibpqClient(password).final(side.first(FIRST)))
    assert side.keys is None


def test_an_md5_secret_fails_with_its_own_password_and_the_log_says_why() -> None:
    side = ScramServer(MD5_FOO, SEED, "muser1", 4096)
    with pytest.raises(ScramError, match="user has MD5 secret"):
        side.final(LibpqClient(b"foo").final(side.first(FIRST)))


@pytest.mark.parametrize("secret", ["foo", SCRAM_FOO])
@pytest.mark.parametrize("unusable", [None, "", MD5_FOO])
def test_mock_messages_look_like_real_ones(secret: str, unusable: str | None) -> None:
    real, mock = server(secret).first(FIRST), server(unusable).first(FIRST)
    shape = re.compile(rb"r=[\x21-\x2b\x2d-\x7e]{48},s=[A-Za-z0-9+/]{22}==,i=4096")
    assert shape.fullmatch(real)
    assert shape.fullmatch(mock)


@pytest.mark.parametrize("secret", [None, "", MD5_FOO, "foo"])
def test_the_salt_of_a_user_is_the_same_on_every_try(secret: str | None) -> None:
    def salt(user: str, seed: bytes = SEED) -> bytes:
        return ScramServer(secret, seed, user, 4096).first(FIRST).split(b",")[1]

    assert salt("a") == salt("a")
    assert salt("a") != salt("b")
    assert salt("a") != salt("a", b"another process")


@pytest.mark.parametrize("secret", ["foo", "bar", SCRAM_FOO, MD5_FOO, "", None])
def test_a_try_costs_the_same_whatever_is_stored(secret: str | None, pbkdf2: Pbkdf2Counter) -> None:
    cache: SecretCache = {}
    costs = []
    for _ in range(3):
        side = server(secret, cache=cache)
        server_first = side.first(FIRST)
        answer = LibpqClient(b"wrong").final(server_first)
        pbkdf2.take()
        with pytest.raises(ScramError, match="failed"):
            side.final(answer)
        costs.append(pbkdf2.take())
    assert costs == [[4096], [], []]


def test_the_first_message_derives_nothing(pbkdf2: Pbkdf2Counter) -> None:
    for secret in ("foo", SCRAM_FOO, None):
        server(secret).first(FIRST)
    assert pbkdf2.take() == []


def test_a_cached_derivation_is_not_reused_for_another_password_user_or_count(pbkdf2: Pbkdf2Counter) -> None:
    cache: SecretCache = {}
    for user, password, iterations in (("a", "x", 2), ("a", "y", 2), ("b", "x", 2), ("a", "x", 3)):
        fresh = derive(user, password, iterations, SEED, cache)
        assert derive(user, password, iterations, SEED, cache) is fresh
    assert pbkdf2.take() == [2, 2, 2, 3]


def test_the_cache_shows_no_password() -> None:
    cache: SecretCache = {}
    derive("u", "sesame", 1, SEED, cache)
    assert "sesame" not in repr(cache)


def test_a_full_cache_forgets_its_oldest_entry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scram, "MAX_CACHED_SECRETS", 3)
    cache: SecretCache = {}
    for user in "abcde":
        derive(user, "", 1, SEED, cache)
    assert [user for user, _, _ in cache] == ["c", "d", "e"]


@pytest.mark.parametrize(
    ("message", "complaint"),
    [
        (b"", "unexpected channel-binding flag"),
        (b"n", "unexpected channel-binding flag"),
        (b"x,,n=,r=abc", "unexpected channel-binding flag"),
        (b"p=tls-server-end-point,,n=,r=abc", "requires SCRAM channel binding"),
        (b"n,a=admin,n=,r=abc", "uses authorization identity"),
        (b"n,x=1,n=,r=abc", "unexpected attribute"),
        (b"n,,m=ext,n=,r=abc", "unsupported SCRAM extension"),
        (b"n,,", 'attribute "n" expected'),
        (b"n,,r=abc", 'attribute "n" expected'),
        (b"n,,n=", 'attribute "r" expected'),
        (b"n,,n=,s=abc", 'attribute "r" expected'),
        (b"n,,n=,r=", "non-printable characters in SCRAM nonce"),
        (b"n,,n=,r=a b", "non-printable characters in SCRAM nonce"),
        (b"n,,n=,r=\xc3\xa9", "non-printable characters in SCRAM nonce"),
        (b"n,,n=,r=abc\n", "non-printable characters in SCRAM nonce"),
        (b"n,,n=,r=abc,", "invalid character"),
        (b"n,,n=,r=abc,1=x", "invalid character"),
        (b"n,,n=,r=abc,xy", "invalid character"),
        (b"n,,n=,r=abc\0", "invalid character"),
        (b"n,,n=\0,r=abc", "invalid character"),
        (b"n,,n=,r=" + b"a" * 513, "nonce too long"),
        (b"n,,n=" + b"a" * 1024 + b",r=abc", r"\(too long"),
    ],
)
def test_a_malformed_first_message_is_refused(message: bytes, complaint: str) -> None:
    with pytest.raises(ScramError, match=complaint):
        server(SCRAM_FOO).first(message)


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        (b",p=", b",q=", "could not read proof"),
        (b"c=biws", b"c=eSws", "channel-binding"),
        (b"c=biws", b"c=", "channel-binding"),
        (b"c=biws,", b"", 'attribute "c" expected'),
        (b",r=" + NONCE, b",s=" + NONCE, 'attribute "r" expected'),
        (b"r=" + NONCE, b"r=" + NONCE[::-1], "nonce does not match"),
        (b",p=", b"A,p=", "nonce does not match"),
        (b",p=", b",1=,p=", "invalid character"),
        (b",p=", b",p=A", "malformed proof"),
        (b",p=", b",p=\0", "malformed proof"),
        (b",p=", b",x=" + b"y" * 1024 + b",p=", r"\(too long"),
    ],
)
def test_a_malformed_final_message_is_refused_before_any_work(
    old: bytes, new: bytes, complaint: str, pbkdf2: Pbkdf2Counter
) -> None:
    side = server(SCRAM_FOO)
    good = LibpqClient(b"foo").final(side.first(FIRST))
    assert good.count(old) == 1
    pbkdf2.take()
    with pytest.raises(ScramError, match=complaint):
        side.final(good.replace(old, new))
    assert pbkdf2.take() == []


@pytest.mark.parametrize(
    "proof",
    [
        pytest.param(base64.b64encode(bytes(31)), id="31-bytes"),
        pytest.param(base64.b64encode(bytes(33)), id="33-bytes"),
        pytest.param(b"!" * 44, id="no-base64"),
        pytest.param(b"A" * 42 + b"=A", id="padding-in-the-middle"),
        pytest.param(b"", id="empty"),
    ],
)
def test_a_proof_must_be_32_bytes_of_base64(proof: bytes) -> None:
    side = server(SCRAM_FOO)
    good = LibpqClient(b"foo").final(side.first(FIRST))
    with pytest.raises(ScramError, match="malformed proof"):
        side.final(good.rpartition(b"=" + good[-44:])[0] + b"=" + proof)


def test_a_final_message_without_a_nonce_is_refused() -> None:
    side = server(SCRAM_FOO)
    side.first(FIRST)
    with pytest.raises(ScramError, match='attribute "r" expected'):
        side.final(b"c=biws,p=" + base64.b64encode(bytes(32)))


def test_the_channel_binding_flag_cannot_change_on_the_way() -> None:
    side = server(SCRAM_FOO)
    client = LibpqClient(b"foo", b"y,,")
    client_final = client.final(side.first(client.first()))
    with pytest.raises(ScramError, match="channel-binding"):
        side.final(client_final.replace(b"c=eSws", b"c=biws"))


def test_the_final_message_cannot_come_first() -> None:
    with pytest.raises(ScramError, match="unexpected client-final-message"):
        server(SCRAM_FOO).final(b"c=biws,r=abc,p=" + base64.b64encode(bytes(32)))


def test_an_exchange_cannot_be_restarted() -> None:
    side = server(SCRAM_FOO)
    side.first(FIRST)
    with pytest.raises(ScramError, match="second client-first-message"):
        side.first(FIRST)


def test_an_exchange_has_one_try() -> None:
    side = server(SCRAM_FOO)
    server_first = side.first(FIRST)
    with pytest.raises(ScramError, match="password authentication failed"):
        side.final(LibpqClient(b"bar").final(server_first))
    with pytest.raises(ScramError, match="unexpected client-final-message"):
        side.final(LibpqClient(b"foo").final(server_first))


@given(st.binary(max_size=1100) | st.binary(max_size=100).map(lambda tail: b"n,,n=,r=" + tail))
def test_any_first_message_is_answered_or_refused(message: bytes) -> None:
    try:
        answer = server(SCRAM_FOO).first(message)
    except ScramError:
        return
    assert answer.startswith(b"r=")


@given(st.binary(max_size=1100) | st.binary(max_size=100).map(lambda tail: b"c=biws,r=" + tail))
def test_no_random_final_message_gets_in(message: bytes) -> None:
    side = server(SCRAM_FOO)
    side.first(FIRST)
    with pytest.raises(ScramError):
        side.final(message)
