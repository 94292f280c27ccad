"""A throw-away certificate authority, and handshakes without sockets.

Keys and certificates are made by `cryptography`: it has all kinds of them, in milliseconds, and is something
to compare our own reading of certificates with.
"""

from __future__ import annotations

import functools
import ssl
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Literal, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.x509.oid import NameOID

KeyKind: TypeAlias = Literal["ecdsa", "rsa", "ed25519"]
Subject: TypeAlias = Sequence[tuple[x509.ObjectIdentifier, str]]

_PrivateKey: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
_VALID_BEFORE = timedelta(days=400)
"""How long ago everything became valid: longer than any test wants something to have expired for."""


@dataclass(frozen=True)
class Issued:
    """A certificate with its private key."""

    certificate: x509.Certificate
    key: _PrivateKey

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def key_pem(self, passphrase: bytes | None = None) -> bytes:
        """The key in PKCS #8, encrypted if there is a passphrase."""
        encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
        if passphrase is not None:
            encryption = serialization.BestAvailableEncryption(passphrase)
        form = serialization.PrivateFormat.PKCS8
        return self.key.private_bytes(serialization.Encoding.PEM, form, encryption)

    def write(self, directory: Path, name: str) -> tuple[Path, Path]:
        """Writes `name`.crt and `name`.key, which only its owner may read; returns both paths."""
        certificate, key = directory / f"{name}.crt", directory / f"{name}.key"
        certificate.write_bytes(self.pem)
        key.touch(mode=0o600)
        key.write_bytes(self.key_pem())
        return certificate, key

    def load_into(self, context: ssl.SSLContext) -> None:
        """Makes this the certificate that `context` shows; ssl takes it from files only."""
        with tempfile.TemporaryDirectory() as directory:
            context.load_cert_chain(*self.write(Path(directory), "own"))


class Authority:
    """Signs certificates; its own is self-signed, `pem` is what a `..._tls_ca_file` holds."""

    def __init__(self, name: str = "Test CA", *, key: KeyKind = "ecdsa", days: float = 365) -> None:
        self._subject: Subject = [(NameOID.COMMON_NAME, name)]
        self._key = new_key(key)
        constraints = x509.BasicConstraints(ca=True, path_length=None)
        builder = _builder(self._subject, self._subject, self._key, days)
        self.issued = Issued(_signed(builder.add_extension(constraints, True), self._key), self._key)

    @property
    def pem(self) -> bytes:
        return self.issued.pem

    def write(self, directory: Path, name: str = "ca") -> Path:
        path = directory / f"{name}.crt"
        path.write_bytes(self.pem)
        return path

    def issue(
        self,
        subject: str | Subject,
        *,
        names: Sequence[str] = (),
        key: KeyKind = "ecdsa",
        days: float = 365,
        digest: hashes.HashAlgorithm | None = None,
        pss: bool = False,
    ) -> Issued:
        """A certificate for a common name (or a whole subject), for servers and for clients.

        `names` are its alternative names, DNS names or addresses; without any it has no such extension.
        It expires in that many `days`, or has expired if there are less than none. `digest` (SHA-256 unless
        told) and `pss` are for the authority's signature.
        """
        attributes = [(NameOID.COMMON_NAME, subject)] if isinstance(subject, str) else subject
        own_key = new_key(key)
        builder = _builder(attributes, self._subject, own_key, days)
        builder = builder.add_extension(x509.BasicConstraints(ca=False, path_length=None), True)
        if names:
            builder = builder.add_extension(
                x509.SubjectAlternativeName(list(map(_general_name, names))), False
            )
        return Issued(_signed(builder, self._key, digest, pss), own_key)


def handshake(
    client: ssl.SSLContext, server: ssl.SSLContext, server_hostname: str | None = None
) -> tuple[ssl.SSLObject, ssl.SSLObject]:
    """Both ends of a connection whose handshake is done; raises what the end that fails first raises."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        client.wrap_bio(to_client, to_server, server_hostname=server_hostname),
        server.wrap_bio(to_server, to_client, server_side=True),
    ]
    waiting = list(ends)
    while waiting:
        for end in list(waiting):
            try:
                end.do_handshake()
            except ssl.SSLWantReadError:
                assert to_server.pending or to_client.pending, "both ends wait for each other"
            else:
                waiting.remove(end)
    return ends[0], ends[1]


def new_key(kind: KeyKind) -> _PrivateKey:
    """A private key; all RSA keys are the same one, since making one takes its time."""
    if kind == "rsa":
        return _rsa_key()
    return (
        ed25519.Ed25519PrivateKey.generate() if kind == "ed25519" else ec.generate_private_key(ec.SECP256R1())
    )


@functools.cache
def _rsa_key() -> rsa.RSAPrivateKey:
    return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _name(attributes: Subject) -> x509.Name:
    return x509.Name([x509.NameAttribute(kind, value) for kind, value in attributes])


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _builder(subject: Subject, issuer: Subject, key: _PrivateKey, days: float) -> x509.CertificateBuilder:
    now = datetime.now(UTC).replace(microsecond=0)
    return (
        x509.CertificateBuilder()
        .subject_name(_name(subject))
        .issuer_name(_name(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _VALID_BEFORE)
        .not_valid_after(now + timedelta(days=days))
    )


def _signed(
    builder: x509.CertificateBuilder,
    key: _PrivateKey,
    digest: hashes.HashAlgorithm | None = None,
    pss: bool = False,
) -> x509.Certificate:
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return builder.sign(key, None)
    algorithm = digest or hashes.SHA256()
    if not pss:
        return builder.sign(key, algorithm)  # type: ignore[arg-type]
    scheme = padding.PSS(padding.MGF1(algorithm), padding.PSS.DIGEST_LENGTH)
    return builder.sign(key, algorithm, rsa_padding=scheme)  # type: ignore[arg-type]
