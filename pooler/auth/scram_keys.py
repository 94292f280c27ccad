"""SCRAM-SHA-256 keys: what is stored, what is derived from a password, and the only place that runs PBKDF2.

Names follow RFC 5802 section 3: SaltedPassword, ClientKey, StoredKey, ServerKey.
"""

import binascii
import hashlib
import hmac
import re
from dataclasses import dataclass, field
from typing import Self

from pooler.auth.saslprep import saslprep

KEY_LENGTH = 32
"""Bytes in a SHA-256 key, signature or proof."""

SALT_LENGTH = 16
"""Bytes of salt in a secret made here, as PostgreSQL's own secrets have."""

MAX_ITERATIONS = 1_000_000
"""Most PBKDF2 iterations that another party can make this process run.

PostgreSQL's default is 4096 (about 1 ms); a million blocks the process for a quarter of a second. Without a
bound, a server could stop the pooler with one message (CVE-2026-6669 in PgBouncer).
"""

_MAX_STORED_ITERATIONS = 2**31 - 1
_SECRET = re.compile(
    r"SCRAM-SHA-256\$(?P<iterations>[0-9]{1,10}):(?P<salt>[^$:]+)\$(?P<stored_key>[^$:]+):(?P<server_key>[^$:]+)"
)


@dataclass(frozen=True, slots=True)
class ScramKeys:
    """The two keys that log in to a server without the password (SCRAM pass-through)."""

    client_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)

    @classmethod
    def from_password(cls, password: str, iterations: int, salt: bytes) -> Self:
        """Derives both keys; costs `iterations` rounds of PBKDF2."""
        salted = hashlib.pbkdf2_hmac("sha256", saslprep(password), salt, iterations)
        return cls(sign(salted, b"Client Key"), sign(salted, b"Server Key"))


@dataclass(frozen=True, slots=True)
class ScramSecret:
    """What PostgreSQL keeps in pg_authid for a SCRAM user; `str()` gives that text, `repr()` does not."""

    iterations: int
    salt: bytes = field(repr=False)
    stored_key: bytes = field(repr=False)
    server_key: bytes = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> Self | None:
        """Reads `SCRAM-SHA-256$<iterations>:<salt>$<StoredKey>:<ServerKey>`; None when `text` is not that."""
        match = _SECRET.fullmatch(text)
        if match is None or not 1 <= int(match["iterations"]) <= _MAX_STORED_ITERATIONS:
            return None
        try:
            salt, stored_key, server_key = (
                decode_base64(match[name].encode("ascii")) for name in ("salt", "stored_key", "server_key")
            )
        except ValueError:
            return None
        if len(stored_key) != KEY_LENGTH or len(server_key) != KEY_LENGTH:
            return None
        return cls(int(match["iterations"]), salt, stored_key, server_key)

    @classmethod
    def from_password(cls, password: str, iterations: int, salt: bytes) -> Self:
        """The secret for a plain password; costs `iterations` rounds of PBKDF2."""
        keys = ScramKeys.from_password(password, iterations, salt)
        return cls(iterations, salt, stored_key_of(keys.client_key), keys.server_key)

    def __str__(self) -> str:
        salt, stored_key, server_key = (
            encode_base64(value).decode("ascii") for value in (self.salt, self.stored_key, self.server_key)
        )
        return f"SCRAM-SHA-256${self.iterations}:{salt}${stored_key}:{server_key}"


def sign(key: bytes, message: bytes) -> bytes:
    """HMAC-SHA-256."""
    return hmac.digest(key, message, "sha256")


def stored_key_of(client_key: bytes) -> bytes:
    """StoredKey: what the verifying side keeps instead of ClientKey."""
    return hashlib.sha256(client_key).digest()


def xor(left: bytes, right: bytes) -> bytes:
    """ClientProof from ClientKey and ClientSignature, or ClientKey back from the other two."""
    return bytes(a ^ b for a, b in zip(left, right, strict=True))


def encode_base64(data: bytes) -> bytes:
    """Base64 on one line."""
    return binascii.b2a_base64(data, newline=False)


def decode_base64(text: bytes) -> bytes:
    """Strict base64: complete padding, no blanks; raises ValueError otherwise."""
    return binascii.a2b_base64(text, strict_mode=True)
