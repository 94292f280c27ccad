"""The other side of a login, written from the RFCs alone, so that the two sides cannot share a mistake."""

import base64
import hashlib
import hmac
import struct
from collections.abc import Callable
from dataclasses import dataclass

SEED = b"process secret"
SALT = b"0123456789abcdef"

SCRAM_FOO = (
    "SCRAM-SHA-256$4096:D76gvGUVj9Z4DNiGoabOBg==$RukL0Xo3Ql/2F9FsD7mcQ3GATG2fD3PA71qY1JagGDs="
    ":BhKUwyyivFm7Tq2jDJVXSVRbRDgTWyBilZKgg6DDuYU="
)
"""What PostgreSQL stores for the password "foo"."""

MD5_FOO = "md5ab8b744ff66bee42dc47bae34ca17959"
"""What PostgreSQL stores for user "muser1" with the password "foo"."""


def fixed_token(length: int) -> bytes:
    """Random bytes that are not."""
    return bytes(range(length))


def mac(key: bytes, message: bytes) -> bytes:
    return hmac.new(key, message, hashlib.sha256).digest()


def keys(password: bytes, salt: bytes, iterations: int) -> tuple[bytes, bytes]:
    """ClientKey and ServerKey."""
    salted = hashlib.pbkdf2_hmac("sha256", password, salt, iterations)
    return mac(salted, b"Client Key"), mac(salted, b"Server Key")


def proof(client_key: bytes, signed: bytes) -> bytes:
    signature = mac(hashlib.sha256(client_key).digest(), signed)
    return base64.b64encode(bytes(a ^ b for a, b in zip(client_key, signature, strict=True)))


@dataclass
class LibpqClient:
    """Answers as libpq does: empty user name, no channel binding unless `gs2` and `binding` say so."""

    password: bytes
    gs2: bytes = b"n,,"
    nonce: bytes = b"fyko+d2lbbFgONRv9qkxdawL"
    first_extensions: bytes = b""
    final_extensions: bytes = b""
    expected_final: bytes = b""
    binding: bytes = b""

    def first(self) -> bytes:
        return self.gs2 + self.first_bare()

    def first_bare(self) -> bytes:
        return b"n=,r=" + self.nonce + self.first_extensions

    def final(self, server_first: bytes) -> bytes:
        nonce, salt, iterations = (field.partition(b"=")[2] for field in server_first.split(b","))
        client_key, server_key = keys(self.password, base64.b64decode(salt), int(iterations))
        bare = b"c=" + base64.b64encode(self.gs2 + self.binding) + b",r=" + nonce + self.final_extensions
        signed = b",".join((self.first_bare(), server_first, bare))
        self.expected_final = b"v=" + base64.b64encode(mac(server_key, signed))
        return bare + b",p=" + proof(client_key, signed)


@dataclass
class PostgresServer:
    """Answers as PostgreSQL does, checking nothing but the proof."""

    password: bytes
    salt: bytes = SALT
    iterations: int = 4096
    first_bare: bytes = b""
    server_first: bytes = b""

    def first(self, client_first: bytes) -> bytes:
        self.first_bare = client_first.removeprefix(b"n,,")
        nonce = self.first_bare.partition(b",r=")[2]
        salt = base64.b64encode(self.salt)
        self.server_first = b"r=%b3rfcNHYJY1ZVvWVs7j,s=%b,i=%d" % (nonce, salt, self.iterations)
        return self.server_first

    def final(self, client_final: bytes) -> bytes:
        bare, _, given = client_final.rpartition(b",p=")
        client_key, server_key = keys(self.password, self.salt, self.iterations)
        signed = b",".join((self.first_bare, self.server_first, bare))
        assert given == proof(client_key, signed)
        return b"v=" + base64.b64encode(mac(server_key, signed))


def password_message(text: bytes) -> bytes:
    """Payload of a PasswordMessage."""
    return text + b"\0"


def initial_response(data: bytes, mechanism: bytes = b"SCRAM-SHA-256") -> bytes:
    """Payload of a SASLInitialResponse."""
    return mechanism + b"\0" + struct.pack("!i", len(data)) + data


def auth_body(code: int, payload: bytes = b"") -> bytes:
    """Payload of an authentication request."""
    return struct.pack("!I", code) + payload


def payload_of(message: bytes, kind: bytes) -> bytes:
    """Payload of one complete message of that kind, whose length has to be right."""
    assert message[:1] == kind
    assert struct.unpack_from("!i", message, 1) == (len(message) - 1,)
    return message[5:]


class Pbkdf2Counter:
    """Counts derivations and adds up their iterations, while they still happen."""

    def __init__(self, real: Callable[[str, bytes, bytes, int], bytes]) -> None:
        self._real = real
        self.iterations: list[int] = []

    def __call__(self, name: str, password: bytes, salt: bytes, iterations: int) -> bytes:
        self.iterations.append(iterations)
        return self._real(name, password, salt, iterations)

    def take(self) -> list[int]:
        """The iteration counts of the derivations since the last call."""
        taken, self.iterations = self.iterations, []
        return taken
