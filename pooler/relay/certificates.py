"""What the pooler reads in certificates by itself, where the ssl module has no answer.

ssl verifies certificates. It tells neither which digest one is signed with, which channel binding needs, nor
when one in a file expires. Both take a short walk over its DER, strict in form and blind to all else.
"""

import binascii
import hashlib
import re
import ssl
from collections.abc import Mapping
from datetime import UTC, datetime
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Final, NamedTuple

__all__ = [
    "Certificate",
    "CertificateError",
    "VerifiedServer",
    "end_point_binding",
    "peer_common_name",
    "peer_subject",
    "pem_certificates",
    "read_certificate",
    "server_hostname",
    "server_name_matches",
]

_BIT_STRING: Final = 0x03
_OID: Final = 0x06
_UTC_TIME: Final = 0x17
_GENERALIZED_TIME: Final = 0x18
_SEQUENCE: Final = 0x30
_SET: Final = 0x31
_CONTEXT_0: Final = 0xA0


def _by_oid(names: Mapping[str, str]) -> Mapping[bytes, str]:
    return {bytes.fromhex(oid): name for oid, name in names.items()}


_PSS: Final = bytes.fromhex("2a864886f70d01010a")
_SIGNATURE_DIGESTS: Final = _by_oid(
    {
        # RSA
        "2a864886f70d010104": "md5",
        "2a864886f70d010105": "sha1",
        "2a864886f70d01010e": "sha224",
        "2a864886f70d01010b": "sha256",
        "2a864886f70d01010c": "sha384",
        "2a864886f70d01010d": "sha512",
        # ECDSA
        "2a8648ce3d0401": "sha1",
        "2a8648ce3d040301": "sha224",
        "2a8648ce3d040302": "sha256",
        "2a8648ce3d040303": "sha384",
        "2a8648ce3d040304": "sha512",
        # DSA
        "2a8648ce380403": "sha1",
        "608648016503040301": "sha224",
        "608648016503040302": "sha256",
    }
)
_DIGESTS: Final = _by_oid(
    {
        "2b0e03021a": "sha1",
        "608648016503040204": "sha224",
        "608648016503040201": "sha256",
        "608648016503040202": "sha384",
        "608648016503040203": "sha512",
    }
)
_BROKEN_DIGESTS: Final = ("md5", "sha1")
_ATTRIBUTES: Final = _by_oid(
    {
        "550403": "CN",
        "550406": "C",
        "550407": "L",
        "550408": "ST",
        "55040a": "O",
        "55040b": "OU",
        "0992268993f22c640119": "DC",
        "2a864886f70d010901": "emailAddress",
    }
)
_ENCODINGS: Final = {0x0C: "utf-8", 0x14: "latin-1", 0x1C: "utf-32-be", 0x1E: "utf-16-be"}

_HOSTNAME_MISMATCH: Final = 62
"""X509_V_ERR_HOSTNAME_MISMATCH of OpenSSL."""

_PEM: Final = re.compile(
    rb"^-----BEGIN ((?:X509 |TRUSTED )?CERTIFICATE)-----(.*?)^-----END \1-----", re.DOTALL | re.MULTILINE
)
_TIMES: Final = {
    _UTC_TIME: re.compile(rb"(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z"),
    _GENERALIZED_TIME: re.compile(rb"(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z"),
}


class CertificateError(ValueError):
    """This is no certificate, or not one that is good for what was asked."""


class Certificate(NamedTuple):
    """What the log and SHOW say of a certificate."""

    subject: str
    """In OpenSSL's short form, `/O=Example/CN=db`, as far as the attributes are well known."""
    not_after: datetime


def pem_certificates(data: bytes) -> list[bytes]:
    """The DER of every certificate in a PEM file, in order; whatever else is in it is passed over.

    Raises CertificateError if one is not base64, or has not the shape of a certificate.
    """
    certificates = [_leading_value(_decode_base64(match[2])) for match in _PEM.finditer(data)]
    for der in certificates:
        _parts(der)
    return certificates


def read_certificate(der: bytes) -> Certificate:
    """Subject and end of validity; raises CertificateError."""
    fields = _sequence(_parts(der)[0])
    if fields and fields[0][0] == _CONTEXT_0:
        del fields[0]
    if len(fields) < 6:
        raise CertificateError("fields are missing in a certificate")
    _serial, _algorithm, _issuer, validity, subject = fields[:5]
    return Certificate(_subject_text(subject), _end_of_validity(validity))


def end_point_binding(der: bytes) -> bytes:
    """The channel binding `tls-server-end-point` (RFC 5929) of a server with this certificate.

    It is a digest of the certificate: the one that its signature is made with, but SHA-256 for MD5 and SHA-1.
    Raises CertificateError, also where the signature has no digest of its own (Ed25519) and so no binding.
    """
    digest = _signature_digest(der)
    return hashlib.new("sha256" if digest in _BROKEN_DIGESTS else digest, der).digest()


# Whom a certificate is for ---------------------------------------------------------------------------------


class VerifiedServer(ssl.SSLObject):
    """A connection for verify-full: the handshake fails unless the certificate is for `server_hostname`.

    ssl's own check refuses an address that is the common name; libpq and PgBouncer take it.
    """

    def do_handshake(self) -> None:
        super().do_handshake()
        host = self.server_hostname
        if host is None or not server_name_matches(self.getpeercert() or {}, host):
            raise _name_mismatch(host)


def _name_mismatch(host: str | None) -> ssl.SSLCertVerificationError:
    """The error with all that ssl's own errors have."""
    message = f'the certificate of the server is not for "{host}"'
    error = ssl.SSLCertVerificationError(ssl.SSL_ERROR_SSL, f"certificate verify failed: {message}")
    error.library, error.reason = "SSL", "CERTIFICATE_VERIFY_FAILED"
    error.verify_code, error.verify_message = _HOSTNAME_MISMATCH, message
    return error


def server_hostname(host: str) -> str | None:
    """What ssl takes as `server_hostname` for the host of a connect string.

    It is sent as SNI, unless it is an address, and is what `VerifiedServer` looks for. None for what ssl
    would not take: then there is no SNI, and verify-full fails.
    """
    if _address(host) is None and (not host or host.startswith(".") or not set(":%\0").isdisjoint(host)):
        return None
    try:
        host.encode("idna")
    except UnicodeError:
        return None
    return host


def server_name_matches(certificate: Mapping[str, Any], host: str) -> bool:
    """Whether a certificate, as `getpeercert()` returns it, is for this host name or address.

    As in libpq, the common name counts only if there is no alternative name of the kind in question. A `*` in
    front stands for one whole label, if the domain behind it has a dot in it.
    """
    address = _address(host)
    kind = "DNS" if address is None else "IP Address"
    names = [name for name_kind, name in certificate.get("subjectAltName", ()) if name_kind == kind]
    if not names:
        name = _common_name(certificate)
        names = [] if name is None else [name]
    if address is not None:
        return any(_address(name) == address for name in names)
    return any(_name_matches(name, host) for name in names)


def peer_common_name(ssl_object: ssl.SSLObject) -> str | None:
    """The first common name of the peer's verified certificate: the user, for `cert` authentication.

    None if there is none, or if it has a NUL in it: what is behind that is hidden from whoever reads the name
    as a string of C, so it is a forgery.
    """
    return _common_name(ssl_object.getpeercert() or {})


def peer_subject(ssl_object: ssl.SSLObject) -> str | None:
    """The subject of the peer's certificate, for the log; None without one."""
    der = ssl_object.getpeercert(binary_form=True)
    try:
        return None if der is None else read_certificate(der).subject
    except CertificateError:
        return None


def _common_name(certificate: Mapping[str, Any]) -> str | None:
    for relative_name in certificate.get("subject", ()):
        for kind, value in relative_name:
            if kind == "commonName":
                return value if value and "\0" not in value else None
    return None


def _address(text: str) -> IPv4Address | IPv6Address | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def _name_matches(pattern: str, host: str) -> bool:
    if not pattern.isascii():
        return False
    pattern, host = pattern.lower(), host.lower()
    if not pattern.startswith("*."):
        return pattern == host
    label, _, domain = host.partition(".")
    return label != "" and "." in domain and pattern[2:] == domain


# DER -------------------------------------------------------------------------------------------------------

_Value = tuple[int, bytes]
"""Tag and contents."""


def _decode_base64(text: bytes) -> bytes:
    try:
        return binascii.a2b_base64(b"".join(text.split()), strict_mode=True)
    except binascii.Error as error:
        raise CertificateError(f"a certificate is not base64: {error}") from None


def _bounds(data: bytes, at: int) -> tuple[int, int]:
    """Where the contents of the value at this place begin and end."""
    if len(data) - at < 2:
        raise CertificateError("a certificate ends in the middle of a value")
    if data[at] & 0x1F == 0x1F:
        raise CertificateError("a tag in a certificate is of several bytes")
    length, start = data[at + 1], at + 2
    if length >= 0x80:
        # The shortest form is the only one. No certificate needs more than four bytes.
        octets = data[start : start + (length & 0x7F)]
        start += len(octets)
        length = int.from_bytes(octets)
        if not 0x80 <= length < 1 << 32 or octets[0] == 0:
            raise CertificateError("a length in a certificate is not in the form of DER")
    if length > len(data) - start:
        raise CertificateError("a certificate ends in the middle of a value")
    return start, start + length


def _leading_value(data: bytes) -> bytes:
    """The first value, without what follows, such as the settings of a TRUSTED CERTIFICATE."""
    return data[: _bounds(data, 0)[1]]


def _values(data: bytes) -> list[_Value]:
    values = []
    at = 0
    while at < len(data):
        start, end = _bounds(data, at)
        values.append((data[at], data[start:end]))
        at = end
    return values


def _contents(value: _Value, tag: int) -> bytes:
    if value[0] != tag:
        raise CertificateError(f"tag {value[0]:#04x} in a certificate in place of {tag:#04x}")
    return value[1]


def _sequence(value: _Value) -> list[_Value]:
    return _values(_contents(value, _SEQUENCE))


def _parts(der: bytes) -> list[_Value]:
    """What is signed, the algorithm, the signature."""
    whole = _values(der)
    parts = _sequence(whole[0]) if len(whole) == 1 else []
    if len(parts) != 3 or parts[2][0] != _BIT_STRING:
        raise CertificateError("not a certificate")
    return parts


def _signature_digest(der: bytes) -> str:
    algorithm = _sequence(_parts(der)[1])
    oid = _contents(algorithm[0], _OID) if algorithm else b""
    digest = _pss_digest(algorithm[1:]) if oid == _PSS else _SIGNATURE_DIGESTS.get(oid)
    if digest is None:
        raise CertificateError("the signature of the certificate has no digest for channel binding")
    return digest


def _pss_digest(parameters: list[_Value]) -> str | None:
    """The digest stands among the parameters of RSASSA-PSS; it is SHA-1 if they leave it out."""
    if len(parameters) != 1:
        return None
    given = _sequence(parameters[0])
    if not given or given[0][0] != _CONTEXT_0:
        return "sha1"
    wrapped = _values(given[0][1])
    algorithm = _sequence(wrapped[0]) if len(wrapped) == 1 else []
    return _DIGESTS.get(_contents(algorithm[0], _OID)) if algorithm else None


def _end_of_validity(validity: _Value) -> datetime:
    times = _sequence(validity)
    if len(times) != 2:
        raise CertificateError("the validity of a certificate is not two times")
    tag, text = times[1]
    match = _TIMES[tag].fullmatch(text) if tag in _TIMES else None
    if match is None:
        raise CertificateError("a time in a certificate is not in the form of DER")
    year, month, day, hour, minute, second = map(int, match.groups())
    if tag == _UTC_TIME:
        year += 2000 if year < 50 else 1900
    try:
        return datetime(year, month, day, hour, minute, second, tzinfo=UTC)
    except ValueError as error:
        raise CertificateError(f"no such time: {error}") from None


def _subject_text(subject: _Value) -> str:
    text = ""
    for relative_name in _sequence(subject):
        for attribute in _values(_contents(relative_name, _SET)):
            pair = _sequence(attribute)
            if len(pair) != 2:
                raise CertificateError("an attribute of a certificate's subject is not a pair")
            name = _ATTRIBUTES.get(_contents(pair[0], _OID))
            if name is not None:
                text += f"/{name}={_attribute_text(*pair[1])}"
    return text


def _attribute_text(tag: int, contents: bytes) -> str:
    """The text, with what a log should not take in escaped."""
    text = contents.decode(_ENCODINGS.get(tag, "ascii"), "backslashreplace")
    return "".join(char if char.isprintable() else ascii(char)[1:-1] for char in text)
