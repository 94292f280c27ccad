"""SCRAM-SHA-256, both sides of the exchange (RFC 5802, RFC 7677, PostgreSQL protocol "SASL Authentication").

`ScramServer` authenticates a client of the pooler, over TLS with channel binding if the client wants it
(`tls-server-end-point`, RFC 5929). `ScramClient` logs the pooler in to a server, without.
"""

import hmac
import os
import re
from collections.abc import Callable, MutableMapping

from pooler.auth.scram_keys import (
    KEY_LENGTH,
    MAX_ITERATIONS,
    SALT_LENGTH,
    ScramKeys,
    ScramSecret,
    decode_base64,
    encode_base64,
    sign,
    stored_key_of,
    xor,
)
from pooler.auth.secrets import SecretKind, kind_of
from pooler.wire.messages import decode, encode

__all__ = [
    "MECHANISM",
    "MECHANISM_PLUS",
    "ScramClient",
    "ScramError",
    "ScramKeys",
    "ScramSecret",
    "ScramServer",
    "SecretCache",
    "SignatureMismatch",
    "Token",
    "derive",
]

MECHANISM = b"SCRAM-SHA-256"
MECHANISM_PLUS = b"SCRAM-SHA-256-PLUS"

BINDING_FLAG = b"p=tls-server-end-point,"

MAX_MESSAGE = 1024
"""Bytes in one SCRAM message, PostgreSQL's own limit for SASL messages."""

MAX_NONCE = 512
"""Bytes in a nonce; libpq and PostgreSQL send 24 each."""

MAX_SALT = 256
"""Bytes in the salt that a server sends; PostgreSQL's have 16."""

MAX_CACHED_SECRETS = 10_000
"""Entries that `derive` keeps in a cache; made-up user names must not fill the memory."""

_RAW_NONCE_LENGTH = 18
_ENCODED_KEY_LENGTH = len(encode_base64(bytes(KEY_LENGTH)))
_ENCODED_SALT_LENGTH = len(encode_base64(bytes(MAX_SALT)))
_ATTRIBUTE = re.compile(rb"[A-Za-z]=[^\0]*", re.DOTALL)
_PRINTABLE = re.compile(rb"[\x21-\x2b\x2d-\x7e]+")
_ITERATIONS = re.compile(rb"[1-9][0-9]{0,9}")

Token = Callable[[int], bytes]
"""A source of that many random bytes."""

SecretCache = MutableMapping[tuple[str, str, int], ScramSecret]
"""Secrets derived so far, by user name, fingerprint of the password, iterations; no password in it."""


class ScramError(Exception):
    """The exchange failed; the text is for the log, without secrets."""


class SignatureMismatch(ScramError):
    """The server's signature is wrong: it does not know the password's keys."""


def derive(
    user: str, password: str, iterations: int, mock_seed: bytes, cache: SecretCache | None = None
) -> ScramSecret:
    """The SCRAM secret for a password that is stored in plain text, from `cache` if it was derived before.

    The salt depends on `mock_seed` and `user` alone, so that it looks the same for users with a password,
    without one and without existence, on every try. A full cache forgets its oldest entry.
    """
    fingerprint = sign(mock_seed, b"password:" + encode(password)).hex()
    key = (user, fingerprint, iterations)
    if cache is not None and (cached := cache.get(key)) is not None:
        return cached
    secret = ScramSecret.from_password(password, iterations, _salt_of(user, mock_seed))
    if cache is not None:
        while len(cache) >= MAX_CACHED_SECRETS:
            del cache[next(iter(cache))]
        cache[key] = secret
    return secret


class ScramServer:
    """Authenticates one client against its stored secret.

    `secret` is a plain password or a SCRAM secret. With any other (None for an unknown user, empty, md5) the
    exchange runs to its end in the same shape and then fails. `iterations` (scram_iterations) is used where
    the secret does not say. `binding` is the hash of our certificate on a TLS connection, empty on others.
    `mock_seed` is random and the same for all exchanges of the process. Whatever the
    secret, `final` derives once per user and password, and not again while `cache` remembers; without a
    cache, every time.
    """

    def __init__(
        self,
        secret: str | None,
        mock_seed: bytes,
        user: str,
        iterations: int,
        token: Token = os.urandom,
        cache: SecretCache | None = None,
        binding: bytes = b"",
    ) -> None:
        kind = kind_of(secret or "")
        self.keys: ScramKeys | None = None
        self._stored = ScramSecret.parse(secret or "")
        self._password = secret if secret and kind is SecretKind.PLAIN else ""
        self._can_succeed = kind in (SecretKind.PLAIN, SecretKind.SCRAM)
        self._refusal = (
            "SCRAM authentication failed: user has MD5 secret"
            if kind is SecretKind.MD5
            else "password authentication failed"
        )
        self._user = user
        self._mock_seed = mock_seed
        self._iterations = iterations
        self._token = token
        self._cache = cache
        self._binding = binding
        self._bound = b""
        self._first_bare = b""
        self._server_first = b""
        self._nonce = b""
        self._finished = False

    def first(self, message: bytes, plus: bool = False) -> bytes:
        """Takes client-first-message, returns server-first-message; raises ScramError.

        `plus`: the client has chosen the mechanism with channel binding.
        """
        if self._server_first:
            raise ScramError("second client-first-message")
        gs2_header, bare = _split_gs2_header(_checked(message), plus, self._binding != b"")
        self._bound = gs2_header + (self._binding if plus else b"")
        _name, client_nonce = _values(bare, "nr", extensions=True)
        self._first_bare = bare
        self._nonce = _checked_nonce(client_nonce) + _new_nonce(self._token)
        salt = self._stored.salt if self._stored else _salt_of(self._user, self._mock_seed)
        iterations = self._stored.iterations if self._stored else self._iterations
        self._server_first = b"r=%b,s=%b,i=%d" % (self._nonce, encode_base64(salt), iterations)
        return self._server_first

    def final(self, message: bytes) -> bytes:
        """Takes client-final-message, returns server-final-message; raises ScramError, for a wrong proof too.

        Afterwards `keys` holds the client's keys for pass-through if the stored secret was a SCRAM secret.
        Keys made from a plain password have a salt of our own, so no server would accept them.
        """
        if not self._server_first or self._finished:
            raise ScramError("unexpected client-final-message")
        self._finished = True
        without_proof, proof = self._read_final(message)
        derived = derive(self._user, self._password, self._iterations, self._mock_seed, self._cache)
        secret = self._stored or derived
        signed = b"%b,%b,%b" % (self._first_bare, self._server_first, without_proof)
        client_key = xor(proof, sign(secret.stored_key, signed))
        if not hmac.compare_digest(stored_key_of(client_key), secret.stored_key) or not self._can_succeed:
            raise ScramError(self._refusal)
        if self._stored:
            self.keys = ScramKeys(client_key, self._stored.server_key)
        return b"v=" + encode_base64(sign(secret.server_key, signed))

    def _read_final(self, message: bytes) -> tuple[bytes, bytes]:
        """client-final-message-without-proof and the proof, after every check that costs nothing."""
        without_proof, separator, encoded_proof = _checked(message).rpartition(b",p=")
        if not separator:
            raise ScramError("could not read proof")
        binding, nonce = _values(without_proof, "cr", extensions=True)
        if not hmac.compare_digest(binding, encode_base64(self._bound)):
            raise ScramError("unexpected SCRAM channel-binding attribute in client-final-message")
        if not hmac.compare_digest(nonce, self._nonce):
            raise ScramError("invalid SCRAM response (nonce does not match)")
        return without_proof, _decoded_key(encoded_proof, "malformed proof in client-final-message")


class ScramClient:
    """Logs in to a server with a password, or with the `keys` that a client's own login left behind.

    A server may ask for at most MAX_ITERATIONS; `keys` need no PBKDF2 at all. Raises ValueError without
    either.
    """

    def __init__(self, password: str | None, keys: ScramKeys | None, token: Token = os.urandom) -> None:
        if password is None and keys is None:
            raise ValueError("SCRAM needs a password or keys")
        self._password = password or ""
        self._keys = keys
        self._nonce = _new_nonce(token)
        self._first_bare = b"n=,r=" + self._nonce
        self._expected_signature = b""

    def first(self) -> bytes:
        """client-first-message. The user name stays empty: PostgreSQL takes it from the startup message."""
        return b"n,," + self._first_bare

    def final(self, server_first: bytes) -> bytes:
        """Takes server-first-message, returns client-final-message; raises ScramError."""
        nonce, encoded_salt, iterations = _values(_checked(server_first), "rsi", extensions=False)
        if not nonce.startswith(self._nonce) or len(nonce) <= len(self._nonce):
            raise ScramError("invalid SCRAM response (nonce mismatch)")
        without_proof = b"c=biws,r=" + _checked_nonce(nonce)
        keys = self._keys_for(_decoded_salt(encoded_salt), _checked_iterations(iterations))
        signed = b"%b,%b,%b" % (self._first_bare, server_first, without_proof)
        self._expected_signature = sign(keys.server_key, signed)
        proof = xor(keys.client_key, sign(stored_key_of(keys.client_key), signed))
        return b"%b,p=%b" % (without_proof, encode_base64(proof))

    def verify(self, server_final: bytes) -> None:
        """Takes server-final-message; raises SignatureMismatch, ScramError if it is malformed or an error."""
        if not self._expected_signature:
            raise ScramError("unexpected server-final-message")
        if _checked(server_final).startswith(b"e="):
            reason = ascii(decode(server_final[2:]))
            raise ScramError(f"error received from server in SCRAM exchange: {reason}")
        (encoded_signature,) = _values(server_final, "v", extensions=False)
        signature = _decoded_key(encoded_signature, "malformed server signature")
        if not hmac.compare_digest(signature, self._expected_signature):
            raise SignatureMismatch("invalid server signature")

    def _keys_for(self, salt: bytes, iterations: int) -> ScramKeys:
        return self._keys or ScramKeys.from_password(self._password, iterations, salt)


def _split_gs2_header(message: bytes, plus: bool, offered: bool) -> tuple[bytes, bytes]:
    """Cuts client-first-message into its gs2 header ("n,,", "y,," or "p=...,,") and the rest."""
    length = len(_binding_flag(message, plus, offered))
    rest = message[length:]
    if rest.startswith(b"a"):
        raise ScramError("client uses authorization identity, but it is not supported")
    if not rest.startswith(b","):
        raise ScramError("malformed SCRAM message (unexpected attribute in client-first-message)")
    if rest.startswith(b",m"):
        raise ScramError("client requires an unsupported SCRAM extension")
    return message[: length + 1], rest[1:]


def _binding_flag(message: bytes, plus: bool, offered: bool) -> bytes:
    """What the client says about channel binding, with the comma behind it (RFC 5802, section 6)."""
    if message.startswith(b"p"):
        if not plus:
            raise ScramError("client requires SCRAM channel binding, but it is not supported")
        if not message.startswith(BINDING_FLAG):
            raise ScramError("client wants an unsupported type of SCRAM channel binding")
        return BINDING_FLAG
    if message[:2] not in (b"n,", b"y,"):
        raise ScramError("malformed SCRAM message (unexpected channel-binding flag)")
    if plus:
        raise ScramError("client chose SCRAM channel binding, but sent no channel-binding data")
    if offered and message.startswith(b"y"):
        # Somebody between us has taken the offer away.
        raise ScramError("client supports SCRAM channel binding, but thinks that the pooler does not")
    return message[:2]


def _checked(message: bytes) -> bytes:
    if len(message) > MAX_MESSAGE:
        raise ScramError("malformed SCRAM message (too long)")
    return message


def _values(message: bytes, names: str, *, extensions: bool) -> list[bytes]:
    """Values of the attributes `names`, which must come first and in this order.

    Further attributes must be well-formed and are ignored (RFC 5802 section 5.1), or refused without
    `extensions`.
    """
    attributes = message.split(b",")
    for name, attribute in zip(names, attributes, strict=False):
        if not attribute.startswith(b"%c=" % ord(name)):
            raise ScramError(f'malformed SCRAM message (attribute "{name}" expected)')
    if len(attributes) < len(names):
        raise ScramError(f'malformed SCRAM message (attribute "{names[len(attributes)]}" expected)')
    if len(attributes) > len(names) and not extensions:
        raise ScramError("malformed SCRAM message (garbage at the end)")
    if not all(map(_ATTRIBUTE.fullmatch, attributes)):
        raise ScramError("malformed SCRAM message (attribute expected, but found invalid character)")
    return [attribute[2:] for attribute in attributes[: len(names)]]


def _new_nonce(token: Token) -> bytes:
    return encode_base64(token(_RAW_NONCE_LENGTH))


def _checked_nonce(nonce: bytes) -> bytes:
    if not _PRINTABLE.fullmatch(nonce):
        raise ScramError("non-printable characters in SCRAM nonce")
    if len(nonce) > MAX_NONCE:
        raise ScramError("malformed SCRAM message (nonce too long)")
    return nonce


def _checked_iterations(text: bytes) -> int:
    if not _ITERATIONS.fullmatch(text):
        raise ScramError("malformed SCRAM message (invalid iteration count)")
    if int(text) > MAX_ITERATIONS:
        raise ScramError(f"SCRAM iteration count {int(text)} is above the limit of {MAX_ITERATIONS}")
    return int(text)


def _decoded_salt(encoded: bytes) -> bytes:
    if len(encoded) > _ENCODED_SALT_LENGTH:
        raise ScramError("malformed SCRAM message (salt too long)")
    try:
        return decode_base64(encoded)
    except ValueError:
        raise ScramError("malformed SCRAM message (invalid salt)") from None


def _decoded_key(encoded: bytes, complaint: str) -> bytes:
    if len(encoded) != _ENCODED_KEY_LENGTH:
        raise ScramError(f"malformed SCRAM message ({complaint})")
    try:
        key = decode_base64(encoded)
    except ValueError:
        key = b""
    if len(key) != KEY_LENGTH:
        raise ScramError(f"malformed SCRAM message ({complaint})")
    return key


def _salt_of(user: str, mock_seed: bytes) -> bytes:
    return sign(mock_seed, b"salt:" + encode(user))[:SALT_LENGTH]
