"""Logging the pooler in to a server, without I/O: the answer to each authentication request."""

import os
import struct
from enum import Enum, auto

from pooler.auth.codes import MD5_SALT_LENGTH, AuthCode
from pooler.auth.scram import MECHANISM, ScramClient, ScramError, ScramKeys, SignatureMismatch, Token
from pooler.auth.secrets import SecretKind, kind_of, md5_response
from pooler.wire.messages import encode, message


class ServerLoginError(Exception):
    """The login failed and the connection is to be closed; `detail` says more and is for the log only."""

    def __init__(self, message: str, detail: str = "") -> None:
        super().__init__(message)
        self.detail = detail


class ServerLoginRejected(ServerLoginError):
    """No login can succeed as configured; PgBouncer tells this text to the clients that wait for a server."""


class _Stage(Enum):
    START = auto()
    PASSWORD_SENT = auto()
    SASL_BEGUN = auto()
    PROOF_SENT = auto()
    SERVER_VERIFIED = auto()
    DONE = auto()


class ServerLogin:
    """Answers one server's authentication requests as `user`.

    `secret` is what the pooler knows of the user: a plain password (may be empty), an md5 hash, or a SCRAM
    secret, which is of use only with the `keys` that the user's own SCRAM login to the pooler left behind. A
    hash is never sent as if it were the password.

    A server gets one answer to one method. Once SASL has begun it must prove that it knows the password too;
    without that, AuthenticationOk is refused.
    """

    def __init__(self, user: str, secret: str, keys: ScramKeys | None, token: Token = os.urandom) -> None:
        self._user = user
        self._secret = secret
        self._kind = kind_of(secret)
        self._keys = keys
        self._token = token
        self._scram: ScramClient | None = None
        self._stage = _Stage.START

    @property
    def done(self) -> bool:
        """Whether the server has accepted the login."""
        return self._stage is _Stage.DONE

    def respond(self, auth_body: bytes) -> bytes | None:
        """Takes the payload of an 'R' message; returns the complete message to answer with, if any.

        Raises ServerLoginError, of which ServerLoginRejected concerns the waiting clients too.
        """
        if len(auth_body) < 4:
            raise ServerLoginError("protocol error: malformed authentication request")
        (code,) = struct.unpack_from("!I", auth_body)
        payload = auth_body[4:]
        match code:
            case AuthCode.OK:
                self._ok()
                return None
            case AuthCode.CLEARTEXT_PASSWORD:
                return self._cleartext()
            case AuthCode.MD5_PASSWORD:
                return self._md5(payload)
            case AuthCode.SASL:
                return self._sasl(payload)
            case AuthCode.SASL_CONTINUE:
                return self._sasl_continue(payload)
            case AuthCode.SASL_FINAL:
                self._sasl_final(payload)
                return None
        raise ServerLoginError(f"unknown/unsupported auth method: {code}")

    def _ok(self) -> None:
        if self._stage in (_Stage.SASL_BEGUN, _Stage.PROOF_SENT):
            raise ServerLoginError("protocol error: AuthenticationOk without prior AuthenticationSASLFinal")
        if self._stage is _Stage.DONE:
            raise ServerLoginError("protocol error: duplicate AuthenticationOk message from server")
        self._stage = _Stage.DONE

    def _cleartext(self) -> bytes:
        self._start("AuthenticationCleartextPassword")
        if self._kind not in (SecretKind.PLAIN, SecretKind.EMPTY):
            raise _wrong_password_type("cannot do cleartext authentication: wrong password type")
        return self._password_message(self._secret)

    def _md5(self, salt: bytes) -> bytes:
        self._start("AuthenticationMD5Password")
        if len(salt) != MD5_SALT_LENGTH:
            raise ServerLoginError("protocol error: malformed AuthenticationMD5Password message")
        if self._kind is SecretKind.SCRAM:
            raise _wrong_password_type("cannot do MD5 authentication: wrong password type")
        return self._password_message(md5_response(self._secret, self._user, salt))

    def _sasl(self, mechanisms: bytes) -> bytes:
        self._start("AuthenticationSASL")
        if MECHANISM not in mechanisms.split(b"\0")[:-1]:
            complaint = "none of the server's SASL authentication mechanisms are supported"
            raise ServerLoginRejected(f"server login failed: {complaint}")
        self._scram = self._new_scram()
        self._stage = _Stage.SASL_BEGUN
        first = self._scram.first()
        return message(b"p", MECHANISM, b"\0", struct.pack("!i", len(first)), first)

    def _sasl_continue(self, server_first: bytes) -> bytes:
        if self._scram is None:
            raise ServerLoginError(
                "protocol error: AuthenticationSASLContinue without prior AuthenticationSASL"
            )
        if self._stage is not _Stage.SASL_BEGUN:
            raise ServerLoginError(
                "SCRAM exchange protocol error: received second AuthenticationSASLContinue"
            )
        try:
            final = self._scram.final(server_first)
        except ScramError as error:
            raise ServerLoginError(str(error)) from None
        self._stage = _Stage.PROOF_SENT
        return message(b"p", final)

    def _sasl_final(self, server_final: bytes) -> None:
        if self._scram is None or self._stage is _Stage.SASL_BEGUN:
            raise ServerLoginError(
                "protocol error: AuthenticationSASLFinal without prior AuthenticationSASLContinue"
            )
        if self._stage is not _Stage.PROOF_SENT:
            raise ServerLoginError("protocol error: duplicate AuthenticationSASLFinal message from server")
        try:
            self._scram.verify(server_final)
        except SignatureMismatch as error:
            raise ServerLoginRejected("server login failed: invalid server signature", str(error)) from None
        except ScramError as error:
            raise ServerLoginRejected(
                "server login failed: failed to verify server signature", str(error)
            ) from None
        self._stage = _Stage.SERVER_VERIFIED

    def _start(self, request: str) -> None:
        """Enters a method; whether the answer can be made or not, there is no other method after it."""
        if self._stage is not _Stage.START:
            raise ServerLoginError(f"protocol error: duplicate {request} message from server")
        self._stage = _Stage.PASSWORD_SENT

    def _new_scram(self) -> ScramClient:
        if self._kind in (SecretKind.PLAIN, SecretKind.EMPTY):
            return ScramClient(self._secret, None, self._token)
        if self._kind is SecretKind.SCRAM and self._keys is not None:
            return ScramClient(None, self._keys, self._token)
        reason = (
            "password is SCRAM secret but client authentication did not provide SCRAM keys"
            if self._kind is SecretKind.SCRAM
            else "wrong password type"
        )
        raise _wrong_password_type(f"cannot do SCRAM authentication: {reason}")

    def _password_message(self, password: str) -> bytes:
        return message(b"p", encode(password), b"\0")


def _wrong_password_type(detail: str) -> ServerLoginRejected:
    return ServerLoginRejected("server login failed: wrong password type", detail)
