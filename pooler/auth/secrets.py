"""Stored secrets: which kind one is, and whether a client's answer fits it.

A secret is what userlist.txt, `password=` or auth_query hold for a user: a plain password, PostgreSQL's md5
hash or a SCRAM secret. The user who does not exist has the secret None; checking it costs what checking a
real one does.
"""

import hashlib
import hmac
import re
from enum import Enum, auto

from pooler.auth.scram_keys import MAX_ITERATIONS, SALT_LENGTH, ScramSecret
from pooler.wire.messages import encode

DEFAULT_ITERATIONS = 4096
"""PostgreSQL's and PgBouncer's default of scram_iterations."""

_MD5_SECRET = re.compile(r"md5[0-9a-f]{32}")
_DECOY_SALT = bytes(SALT_LENGTH)


class SecretKind(Enum):
    """The form in which a password is stored."""

    EMPTY = auto()
    PLAIN = auto()
    MD5 = auto()
    SCRAM = auto()


def kind_of(secret: str) -> SecretKind:
    """Tells the forms apart by their text, as PgBouncer does; what is not recognized is a plain password."""
    if not secret:
        return SecretKind.EMPTY
    if _MD5_SECRET.fullmatch(secret):
        return SecretKind.MD5
    if ScramSecret.parse(secret) is not None:
        return SecretKind.SCRAM
    return SecretKind.PLAIN


def md5_secret(user: str, password: str) -> str:
    """PostgreSQL's md5 hash of a password, as pg_authid and userlist.txt store it."""
    return _md5(encode(password) + encode(user))


def md5_response(secret: str, user: str, salt: bytes) -> str:
    """The answer to AuthenticationMD5Password with these 4 bytes; raises ValueError for a SCRAM secret."""
    kind = kind_of(secret)
    if kind is SecretKind.SCRAM:
        raise ValueError("a SCRAM secret cannot answer an md5 request")
    hashed = secret if kind is SecretKind.MD5 else md5_secret(user, secret)
    return _md5(hashed.removeprefix("md5").encode("ascii") + salt)


def verify_plain(secret: str | None, user: str, password: str, iterations: int = DEFAULT_ITERATIONS) -> bool:
    """Whether a clear-text `password` is the one behind `secret`; an empty or unknown secret never matches.

    Every call runs PBKDF2 once, with the secret's own iterations if it is a SCRAM secret and `iterations` if
    not, so that the time taken tells neither whether the user exists nor how the password is stored. A SCRAM
    secret beyond MAX_ITERATIONS never matches.
    """
    stored = secret or ""
    scram = ScramSecret.parse(stored)
    if scram is not None and scram.iterations <= MAX_ITERATIONS:
        computed = ScramSecret.from_password(password, scram.iterations, scram.salt)
        return hmac.compare_digest(computed.stored_key, scram.stored_key)
    ScramSecret.from_password(password, iterations, _DECOY_SALT)
    match kind_of(stored):
        case SecretKind.PLAIN:
            return _same(stored, password)
        case SecretKind.MD5:
            return _same(stored, md5_secret(user, password))
        case _:
            return False


def verify_md5(secret: str | None, user: str, salt: bytes, response: str) -> bool:
    """Whether `response` answers AuthenticationMD5Password with these 4 bytes; a SCRAM secret never does."""
    stored = secret or ""
    usable = kind_of(stored) in (SecretKind.PLAIN, SecretKind.MD5)
    expected = md5_response(stored if usable else "", user, salt)
    return _same(expected, response) and usable


def _md5(data: bytes) -> str:
    return "md5" + hashlib.md5(data, usedforsecurity=False).hexdigest()


def _same(left: str, right: str) -> bool:
    return hmac.compare_digest(encode(left), encode(right))
