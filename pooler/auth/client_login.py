"""The password exchange with a client, without I/O: what to send, what the answer means.

The connection sends `request()`, hands the payload of each 'p' message to `respond` and sends what that
returns, until a step is done; AuthenticationOk is the connection's to send. After an error an exchange is
over.
"""

import os
import struct
from abc import ABC, abstractmethod
from typing import NamedTuple

from pooler.auth.codes import MD5_SALT_LENGTH, AuthCode
from pooler.auth.scram import (
    MECHANISM,
    MECHANISM_PLUS,
    ScramError,
    ScramKeys,
    ScramServer,
    SecretCache,
    Token,
)
from pooler.auth.secrets import SecretKind, kind_of, verify_md5, verify_plain
from pooler.config.settings import AuthType
from pooler.wire.messages import decode, message

MAX_PASSWORD = 65530
"""Longest password in bytes, PgBouncer's limit for a secret; a longer one cannot match."""


class LoginError(Exception):
    """The login is refused; the text is for the client and PgBouncer's, `detail` is for the log only."""

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.detail = detail


class Step(NamedTuple):
    """What an answer leads to: complete messages to send (may be empty), and whether the login succeeded."""

    send: bytes
    done: bool


class PasswordExchange(ABC):
    """One client's login by password."""

    scram_keys: ScramKeys | None = None
    """After success by SCRAM against a stored SCRAM secret: keys that log in to a server as this user."""

    @abstractmethod
    def request(self) -> bytes:
        """The complete authentication request that opens the exchange."""

    @abstractmethod
    def respond(self, body: bytes) -> Step:
        """Takes the payload of a 'p' message; raises LoginError."""


class PlainExchange(PasswordExchange):
    """AuthenticationCleartextPassword; `iterations` is what a check costs (see `verify_plain`)."""

    def __init__(self, user: str, secret: str | None, iterations: int) -> None:
        self._user = user
        self._secret = secret
        self._iterations = iterations

    def request(self) -> bytes:
        return _authentication(AuthCode.CLEARTEXT_PASSWORD)

    def respond(self, body: bytes) -> Step:
        password = read_password(body)
        if not verify_plain(self._secret, self._user, password, self._iterations):
            raise LoginError("password authentication failed")
        return Step(b"", True)


class Md5Exchange(PasswordExchange):
    """AuthenticationMD5Password, against a plain or md5 secret."""

    def __init__(self, user: str, secret: str | None, token: Token = os.urandom) -> None:
        self._user = user
        self._secret = secret
        self._salt = token(MD5_SALT_LENGTH)

    def request(self) -> bytes:
        return _authentication(AuthCode.MD5_PASSWORD, self._salt)

    def respond(self, body: bytes) -> Step:
        if not verify_md5(self._secret, self._user, self._salt, read_password(body)):
            raise LoginError("password authentication failed")
        return Step(b"", True)


class ScramExchange(PasswordExchange):
    """AuthenticationSASL, offering SCRAM-SHA-256, and before it SCRAM-SHA-256-PLUS if that is `offered`."""

    def __init__(self, server: ScramServer, offered: bool = False) -> None:
        self._server = server
        self._offered = (MECHANISM_PLUS, MECHANISM) if offered else (MECHANISM,)
        self._begun = False

    def request(self) -> bytes:
        return _authentication(AuthCode.SASL, b"\0".join(self._offered) + b"\0\0")

    def respond(self, body: bytes) -> Step:
        try:
            return self._final(body) if self._begun else self._first(body)
        except ScramError as error:
            raise LoginError("SASL authentication failed", str(error)) from None

    def _first(self, body: bytes) -> Step:
        self._begun = True
        mechanism, message = _read_initial_response(body)
        if mechanism not in self._offered:
            raise LoginError("client selected an invalid SASL authentication mechanism")
        challenge = self._server.first(message, mechanism == MECHANISM_PLUS)
        return Step(_authentication(AuthCode.SASL_CONTINUE, challenge), False)

    def _final(self, body: bytes) -> Step:
        outcome = self._server.final(body)
        self.scram_keys = self._server.keys
        return Step(_authentication(AuthCode.SASL_FINAL, outcome), True)


def begin(
    auth_type: AuthType,
    user: str,
    secret: str | None,
    mock_seed: bytes,
    iterations: int,
    cache: SecretCache | None = None,
    token: Token = os.urandom,
    binding: bytes = b"",
) -> PasswordExchange:
    """Opens the exchange that `auth_type` (plain, md5 or scram-sha-256) asks of a client.

    `secret` is what is stored for `user`, None if there is no such user. As in PgBouncer, md5 becomes SCRAM
    when a SCRAM secret is stored. `mock_seed`, `iterations`, `cache` and `binding` are as for ScramServer.
    Raises ValueError for a method without a password.
    """
    if auth_type is AuthType.PLAIN:
        return PlainExchange(user, secret, iterations)
    has_scram_secret = kind_of(secret or "") is SecretKind.SCRAM
    if auth_type is AuthType.MD5 and not has_scram_secret:
        return Md5Exchange(user, secret, token)
    if auth_type in (AuthType.MD5, AuthType.SCRAM_SHA_256):
        server = ScramServer(secret, mock_seed, user, iterations, token, cache, binding)
        return ScramExchange(server, binding != b"")
    raise ValueError(f"{auth_type} is not a password exchange")


def _authentication(code: AuthCode, payload: bytes = b"") -> bytes:
    return message(b"R", struct.pack("!i", code), payload)


def cleartext_request() -> bytes:
    """AuthenticationCleartextPassword, for a password that somebody else checks."""
    return _authentication(AuthCode.CLEARTEXT_PASSWORD)


def read_password(body: bytes) -> str:
    """The payload of a PasswordMessage; raises LoginError for none, and for what cannot be one."""
    password, terminator, rest = body.partition(b"\0")
    if not terminator or rest:
        raise LoginError("malformed password message")
    if not password:
        raise LoginError("empty password returned by client")
    if len(password) > MAX_PASSWORD:
        raise LoginError("password authentication failed", "password too long")
    return decode(password)


def _read_initial_response(body: bytes) -> tuple[bytes, bytes]:
    """SASLInitialResponse: mechanism name and client-first-message."""
    mechanism, terminator, rest = body.partition(b"\0")
    if not terminator or len(rest) < 4:
        raise ScramError("malformed SASLInitialResponse")
    (length,) = struct.unpack_from("!i", rest)
    if length != len(rest) - 4:
        raise ScramError("malformed SASLInitialResponse")
    return mechanism, rest[4:]
