"""The pooler logging in to a server by SCRAM."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pooler.auth.scram import ScramClient, ScramError, ScramKeys, ScramSecret, ScramServer, SignatureMismatch
from tests.unit.auth.peers import SALT, SEED, Pbkdf2Counter, PostgresServer, fixed_token, keys

NONCE = base64.b64encode(fixed_token(18))
SALT_64 = base64.b64encode(SALT)
LONG_SALT_64 = base64.b64encode(bytes(257))


def client() -> ScramClient:
    return ScramClient("foo", None, fixed_token)


def run(side: ScramClient, server: PostgresServer) -> None:
    side.verify(server.final(side.final(server.first(side.first()))))


def test_the_first_message_is_libpqs() -> None:
    assert client().first() == b"n,,n=,r=" + NONCE


@pytest.mark.parametrize("iterations", [1, 4096])
def test_it_logs_in_with_a_password(iterations: int) -> None:
    run(client(), PostgresServer(b"foo", iterations=iterations))


def test_it_logs_in_with_the_keys_alone_and_derives_nothing(pbkdf2: Pbkdf2Counter) -> None:
    server = PostgresServer(b"foo")
    side = ScramClient(None, ScramKeys(*keys(b"foo", SALT, 4096)), fixed_token)
    server_first = server.first(side.first())
    pbkdf2.take()
    client_final = side.final(server_first)
    assert pbkdf2.take() == []
    side.verify(server.final(client_final))


def test_the_password_is_prepared_by_saslprep() -> None:
    run(ScramClient("\u2168", None), PostgresServer(b"IX"))


def test_it_needs_a_password_or_keys() -> None:
    with pytest.raises(ValueError, match="needs a password or keys"):
        ScramClient(None, None)


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.integers(1, 20), st.data())
def test_client_and_server_agree(password: str, iterations: int, data: st.DataObject) -> None:
    """A plain password, the secret made of it, and the keys that a login with it leaves all work together."""
    secret = str(
        ScramSecret.from_password(password, iterations, data.draw(st.binary(min_size=1, max_size=64)))
    )
    first_login = ScramServer(secret, SEED, "u", iterations)
    _exchange(ScramClient(password, None), first_login)
    assert first_login.keys is not None
    _exchange(ScramClient(None, first_login.keys), ScramServer(secret, SEED, "u", iterations))


def test_client_and_server_agree_on_a_plain_password() -> None:
    _exchange(ScramClient("foo", None), ScramServer("foo", SEED, "u", 10))


def _exchange(side: ScramClient, server: ScramServer) -> None:
    side.verify(server.final(side.final(server.first(side.first()))))


@pytest.mark.parametrize(
    ("server_first", "complaint"),
    [
        (b"", 'attribute "r" expected'),
        (b"r=" + NONCE + b"x", 'attribute "s" expected'),
        (b"r=" + NONCE + b"x,s=" + SALT_64, 'attribute "i" expected'),
        (b"r=" + NONCE + b"x,i=1,s=" + SALT_64, 'attribute "s" expected'),
        (b"m=x,r=" + NONCE + b"x,s=" + SALT_64 + b",i=1", 'attribute "r" expected'),
        (b"r=" + NONCE + b"x,s=" + SALT_64 + b",i=1,x=y", "garbage at the end"),
        (b"r=" + NONCE + b"x,s=" + SALT_64 + b",i=1,", "garbage at the end"),
        (b"r=" + NONCE + b"x\0,s=" + SALT_64 + b",i=1", "invalid character"),
        (b"r=" + NONCE + b",s=" + SALT_64 + b",i=1", "nonce mismatch"),
        (b"r=" + NONCE[:-1] + b",s=" + SALT_64 + b",i=1", "nonce mismatch"),
        (b"r=x" + NONCE + b",s=" + SALT_64 + b",i=1", "nonce mismatch"),
        (b"r=" + NONCE + b" ,s=" + SALT_64 + b",i=1", "non-printable"),
        (b"r=" + NONCE + b"x" * 500 + b",s=" + SALT_64 + b",i=1", "nonce too long"),
        (b"r=" + NONCE + b"x" * 1000 + b",s=" + SALT_64 + b",i=1", r"\(too long"),
        (b"r=" + NONCE + b"x,s=!!!!,i=1", "invalid salt"),
        (b"r=" + NONCE + b"x,s=AAA,i=1", "invalid salt"),
        (b"r=" + NONCE + b"x,s=" + LONG_SALT_64 + b"AAAA,i=1", "salt too long"),
        (b"r=" + NONCE + b"x,s=" + SALT_64 + b",i=0", "invalid iteration count"),
        (b"r=" + NONCE + b"x,s=" + SALT_64 + b",i=-1", "invalid iteration count"),
        (b"r=" + NONCE + b"x,s=" + SALT_64 + b",i=", "invalid iteration count"),
        (b"r=" + NONCE + b"x,s=" + SALT_64 + b",i=4096x", "invalid iteration count"),
        (b"r=" + NONCE + b"x,s=" + SALT_64 + b",i=" + b"9" * 100, "invalid iteration count"),
        (b"r=" + NONCE + b"x,s=" + SALT_64 + b",i=1000001", "above the limit of 1000000"),
    ],
)
def test_a_bad_first_message_of_a_server_is_refused_before_any_work(
    server_first: bytes, complaint: str, pbkdf2: Pbkdf2Counter
) -> None:
    with pytest.raises(ScramError, match=complaint):
        client().final(server_first)
    assert pbkdf2.take() == []


@pytest.mark.parametrize(
    ("server_final", "complaint"),
    [
        (b"", 'attribute "v" expected'),
        (b"v=", "malformed server signature"),
        (b"v=" + base64.b64encode(bytes(31)), "malformed server signature"),
        (b"v=" + b"!" * 44, "malformed server signature"),
        (b"v=" + base64.b64encode(bytes(32)) + b",x=y", "garbage at the end"),
        (b"v=" + b"A" * 2000, r"\(too long"),
        (b"e=invalid-proof", "error received from server in SCRAM exchange: 'invalid-proof'"),
        (b"e=\x1b[2J\xff", r"'\\x1b\[2J\\udcff'"),
    ],
)
def test_a_bad_final_message_of_a_server_is_refused(server_final: bytes, complaint: str) -> None:
    side = client()
    side.final(PostgresServer(b"foo").first(side.first()))
    with pytest.raises(ScramError, match=complaint) as caught:
        side.verify(server_final)
    assert not isinstance(caught.value, SignatureMismatch)


def test_a_server_that_does_not_know_the_password_is_found_out() -> None:
    side = client()
    side.final(PostgresServer(b"foo").first(side.first()))
    with pytest.raises(SignatureMismatch, match="invalid server signature"):
        side.verify(b"v=" + base64.b64encode(bytes(32)))


def test_the_final_message_of_a_server_cannot_come_early() -> None:
    with pytest.raises(ScramError, match="unexpected server-final-message"):
        client().verify(b"v=" + base64.b64encode(bytes(32)))


@given(st.binary(max_size=1100))
def test_random_messages_of_a_server_are_refused(data: bytes) -> None:
    side = client()
    with pytest.raises(ScramError):
        side.final(data)
    with pytest.raises(ScramError):
        side.verify(data)


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_random_salt_and_iterations_are_used_or_refused(salt: bytes, iterations: bytes) -> None:
    side = ScramClient(None, ScramKeys(bytes(32), bytes(32)), fixed_token)
    try:
        answer = side.final(b"r=" + NONCE + b"x,s=" + salt + b",i=" + iterations)
    except ScramError:
        return
    assert answer.startswith(b"c=biws,r=" + NONCE + b"x,p=")
