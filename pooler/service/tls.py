"""TLS with clients and with servers: contexts of the ssl module, made from PgBouncer's settings.

`load` reads the settings and the files that they name; it makes everything, or raises `TlsError`. Who is
asked for TLS, and when, is not decided here.
"""

import hashlib
import os
import re
import ssl
import stat
import warnings
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple, NoReturn

from pooler.config.settings import SETTINGS, AuthType, Settings, SslMode, SslNegotiation
from pooler.relay.certificates import (
    CertificateError,
    VerifiedServer,
    end_point_binding,
    pem_certificates,
    read_certificate,
)
from pooler.relay.tls import ALPN_PROTOCOL, describe_failure

EXPIRY_DAYS: Final = 30

_VERSIONS: Final = {
    "tlsv1.0": ssl.TLSVersion.TLSv1,
    "tlsv1.1": ssl.TLSVersion.TLSv1_1,
    "tlsv1.2": ssl.TLSVersion.TLSv1_2,
    "tlsv1.3": ssl.TLSVersion.TLSv1_3,
}
_ALL_VERSIONS: Final = frozenset(_VERSIONS.values())
_SECURE_VERSIONS: Final = frozenset((ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3))
_VERSION_WORDS: Final = {
    "all": _ALL_VERSIONS,
    "tlsv1": _ALL_VERSIONS,
    "default": _SECURE_VERSIONS,
    "secure": _SECURE_VERSIONS,
    **{word: frozenset((version,)) for word, version in _VERSIONS.items()},
}
_DEFAULT_CIPHERS: Final = ("", "default", "secure", "normal", "fast")
_MISMATCHES: Final = ("KEY_VALUES_MISMATCH", "KEY_TYPE_MISMATCH", "NO_CERTIFICATE_ASSIGNED")

# The group ffdhe2048 of RFC 7919.
_DH_PARAMETERS: Final = b"""-----BEGIN DH PARAMETERS-----
MIIBCAKCAQEA//////////+t+FRYortKmq/cViAnPTzx2LnFg84tNpWp4TZBFGQz
+8yTnc4kmz75fS/jY2MMddj2gbICrsRhetPfHtXV/WVhJDP1H18GbtCFY2VVPe0a
87VXE15/V8k1mE8McODmi3fipona8+/och3xWKE2rec1MKzKT0g6eXq8CrGCsyT7
YdEIqUuyyOP7uWrat2DX9GgdT0Kj3jlN9K5W7edjcrsZCwenyO4KbXCeAvzhzffi
7MA0BM0oNC9hkXL+nOmFg/+OTxIy7vKBg8P+OxtMb61zO7X8vC7CIAXFjvGDfRaD
ssbzSibBsu/6iGtCOGEoXJf//////////wIBAg==
-----END DH PARAMETERS-----
"""


class TlsError(Exception):
    """TLS cannot be as the settings say; the text names the setting, and the file where it is about one."""

    def __init__(self, message: str) -> None:
        # Bytes of a file name that are not UTF-8 are lone surrogates here, which no log could encode.
        super().__init__(message.encode("utf-8", "backslashreplace").decode())


class UsedCertificate(NamedTuple):
    """A certificate in one of the files in use."""

    setting: str
    file: str
    subject: str
    not_after: datetime

    def days_left(self, now: datetime) -> int:
        """Whole days, rounded down: negative once it has expired."""
        return (self.not_after - now).days


@dataclass(frozen=True, slots=True)
class Side:
    """TLS with clients, or with servers."""

    mode: SslMode
    context: ssl.SSLContext | None
    """None where TLS is neither offered nor asked for."""
    binding: bytes | None
    """Channel binding `tls-server-end-point` for clients; None where the certificate allows of none."""
    certificates: tuple[UsedCertificate, ...]
    warnings: tuple[str, ...]
    """For the log, when the side is new."""
    fingerprint: bytes
    """Of the settings and files that it was made from."""
    direct: bool = False
    """Whether a handshake with a server begins without asking."""

    @property
    def required(self) -> bool:
        """Whether a TCP connection without TLS is refused."""
        return self.mode >= SslMode.REQUIRE


@dataclass(frozen=True, slots=True)
class Tls:
    """All that follows for TLS from the settings, and from the files as they were at that time."""

    clients: Side
    servers: Side


def load(settings: Settings, old: Tls | None = None) -> Tls:
    """What settings and files come to now. Raises TlsError; `old` is as good as before then.

    A side for which nothing has changed is the same object as in `old`, and so is the whole. Where `servers`
    is another one, the connections to servers have to be replaced.
    """
    _check_client_settings(settings)
    _check_server_settings(settings)
    clients = _load_side(_Source(settings, "client"), None if old is None else old.clients)
    servers = _load_side(_Source(settings, "server"), None if old is None else old.servers)
    if old is not None and clients is old.clients and servers is old.servers:
        return old
    return Tls(clients, servers)


def expiring(tls: Tls, now: datetime, days: int = EXPIRY_DAYS) -> list[UsedCertificate]:
    """The certificates in use that have expired, or will within so many days; the earliest first."""
    used = {*tls.clients.certificates, *tls.servers.certificates}
    soon = now + timedelta(days=days)
    return sorted((one for one in used if one.not_after < soon), key=lambda one: (one.not_after, one))


def parse_protocols(text: str) -> frozenset[ssl.TLSVersion]:
    """The versions that a setting such as `client_tls_protocols` allows; raises ValueError.

    Words stand between commas or colons and add up. One behind a `!` is taken away, from all versions if
    there are none yet to take it from. Blanks may stand in front of a word, not behind it, as in PgBouncer.
    """
    versions: frozenset[ssl.TLSVersion] = frozenset()
    for word in re.split("[,:]", text):
        name = word.lstrip(" \t")
        named = _VERSION_WORDS.get(name.removeprefix("!").lower())
        if named is None:
            raise ValueError(f'unknown TLS version "{name}"')
        versions = (versions or _ALL_VERSIONS) - named if name.startswith("!") else versions | named
    if not versions:
        raise ValueError("no TLS version is left")
    return versions


# One side --------------------------------------------------------------------------------------------------


class _Source:
    """The settings of one side, and what the files that it uses hold at this time."""

    def __init__(self, settings: Settings, prefix: str) -> None:
        self.settings = settings
        self.prefix = prefix
        self.accepts = prefix == "client"
        self.mode: SslMode = getattr(settings, f"{prefix}_tls_sslmode")
        self.verifies = self.mode >= SslMode.VERIFY_CA
        self.files: dict[str, bytes] = {}
        if self.mode is not SslMode.DISABLE:
            # Without verify-ca a server is not verified at all, but a client is if it shows a certificate.
            used = ["tls_cert_file", "tls_key_file"] + ["tls_ca_file"] * (self.accepts or self.verifies)
            self.files = {name: self._read(name) for name in used if self.value(name)}

    def value(self, name: str) -> str:
        return getattr(self.settings, f"{self.prefix}_{name}") or ""

    def label(self, name: str) -> str:
        return f'{self.prefix}_{name} "{self.value(name)}"'

    def refuse(self, name: str, reason: object) -> NoReturn:
        raise TlsError(f"{self.label(name)}: {reason}") from None

    def fingerprint(self) -> bytes:
        if self.mode is SslMode.DISABLE:
            return b""
        names = ["tls_protocols", "tls_ciphers", "tls13_ciphers", *self.files]
        names += ["tls_dheparams", "tls_ecdhcurve"] if self.accepts else ["tls_sslnegotiation"]
        texts = [(name, self.value(name)) for name in names]
        digests = [hashlib.sha256(data).digest() for data in self.files.values()]
        everything = repr((self.mode, texts, digests))
        return hashlib.sha256(everything.encode("utf-8", "surrogatepass")).digest()

    def _read(self, name: str) -> bytes:
        path = self.value(name)
        try:
            # A pipe would hold up everything until somebody writes to it.
            if not stat.S_ISREG(os.stat(path).st_mode):
                self.refuse(name, "not a regular file")
            with open(path, "rb") as file:
                return file.read()
        except (OSError, ValueError) as error:
            self.refuse(name, describe_failure(error))


def _check_client_settings(settings: Settings) -> None:
    mode = settings.client_tls_sslmode
    if settings.auth_type is AuthType.CERT and mode is not SslMode.VERIFY_FULL:
        raise TlsError("auth_type = cert requires client_tls_sslmode = verify-full")
    if mode is SslMode.DISABLE:
        return
    shown = SETTINGS["client_tls_sslmode"].show(mode)
    if not settings.client_tls_cert_file or not settings.client_tls_key_file:
        raise TlsError(f"client_tls_sslmode = {shown} requires client_tls_cert_file and client_tls_key_file")
    if mode >= SslMode.VERIFY_CA and not settings.client_tls_ca_file:
        raise TlsError(f"client_tls_sslmode = {shown} requires client_tls_ca_file")


def _check_server_settings(settings: Settings) -> None:
    """Direct TLS cannot go on in clear, so that must not be what the mode allows; libpq's rule."""
    mode = settings.server_tls_sslmode
    if settings.server_tls_sslnegotiation is SslNegotiation.DIRECT and mode < SslMode.REQUIRE:
        shown = SETTINGS["server_tls_sslmode"].show(mode)
        raise TlsError(f"server_tls_sslnegotiation = direct cannot be with server_tls_sslmode = {shown}")


def _load_side(source: _Source, old: Side | None) -> Side:
    fingerprint = source.fingerprint()
    if old is not None and old.fingerprint == fingerprint:
        return old
    if source.mode is SslMode.DISABLE:
        return Side(source.mode, None, None, (), (), fingerprint)
    found: list[str] = []
    authorities = _certificates(source, "tls_ca_file")
    own = _certificates(source, "tls_cert_file")
    context = _new_context(source, authorities, found)
    # ssl has read some of the files once more, by their names.
    if _Source(source.settings, source.prefix).fingerprint() != fingerprint:
        raise TlsError(f"the files of {source.prefix}_tls_* changed while they were read")
    return Side(
        source.mode,
        context,
        _binding(own) if source.accepts else None,
        _used(source, "tls_cert_file", own, found) + _used(source, "tls_ca_file", authorities, found),
        tuple(found),
        fingerprint,
        not source.accepts and source.settings.server_tls_sslnegotiation is SslNegotiation.DIRECT,
    )


def _certificates(source: _Source, name: str) -> list[bytes]:
    if name not in source.files:
        return []
    try:
        certificates = pem_certificates(source.files[name])
    except CertificateError as error:
        source.refuse(name, error)
    return certificates or source.refuse(name, "holds no certificate in PEM form")


def _used(
    source: _Source, name: str, certificates: list[bytes], found: list[str]
) -> tuple[UsedCertificate, ...]:
    used = []
    for der in certificates:
        try:
            used.append(
                UsedCertificate(f"{source.prefix}_{name}", source.value(name), *read_certificate(der))
            )
        except CertificateError as error:
            found.append(f"{source.label(name)}: cannot tell when a certificate expires: {error}")
    return tuple(used)


def _binding(certificates: list[bytes]) -> bytes | None:
    try:
        return end_point_binding(certificates[0])
    except CertificateError:
        return None


# Contexts --------------------------------------------------------------------------------------------------


def _new_context(source: _Source, authorities: list[bytes], found: list[str]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if source.accepts else ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.set_alpn_protocols([ALPN_PROTOCOL])
    _set_versions(context, source)
    _set_ciphers(context, source)
    _load_key_pair(context, source, found)
    if source.accepts:
        # PostgreSQL hands out none either, so nobody waits for them; they take a sixth of a handshake's CPU.
        context.num_tickets = 0
        _set_key_exchange(context, source, found)
    _set_verification(context, source, authorities)
    return context


def _set_versions(context: ssl.SSLContext, source: _Source) -> None:
    try:
        versions = parse_protocols(source.value("tls_protocols") or "secure")
        with warnings.catch_warnings():
            # Whoever asks for TLS 1.0 gets it, and only the options can leave a gap between two versions.
            warnings.simplefilter("ignore", DeprecationWarning)
            context.minimum_version = min(versions)
            for version in _ALL_VERSIONS - versions:
                context.options |= ssl.Options[f"OP_NO_{version.name}"]
    except ValueError as error:
        source.refuse("tls_protocols", error)
    if ssl.TLSVersion.TLSv1_3 in versions:
        _set_tls13_ciphers(context, source)


def _set_ciphers(context: ssl.SSLContext, source: _Source) -> None:
    ciphers = source.value("tls_ciphers")
    if ciphers.lower() in _DEFAULT_CIPHERS:
        ciphers = "DEFAULT"
    elif ciphers.lower() == "all":
        ciphers = "ALL"
    if source.verifies:
        # With an anonymous cipher nobody shows a certificate, and nothing fails.
        ciphers += ":!aNULL"
    try:
        context.set_ciphers(ciphers)
    except (ssl.SSLError, ValueError) as error:
        source.refuse("tls_ciphers", describe_failure(error))


def _set_tls13_ciphers(context: ssl.SSLContext, source: _Source) -> None:
    wanted = source.value("tls13_ciphers")
    have = [cipher["name"] for cipher in context.get_ciphers() if cipher["protocol"] == "TLSv1.3"]
    if not wanted or wanted.split(":") == have:
        return
    choose = getattr(context, "set_ciphersuites", None)
    if choose is None:
        way_out = f"leave it empty, or tlsv1.3 out of {source.prefix}_tls_protocols"
        source.refuse("tls13_ciphers", f"Python before 3.15 cannot choose TLS 1.3 cipher suites; {way_out}")
    try:
        choose(wanted)
    except (ssl.SSLError, ValueError) as error:
        source.refuse("tls13_ciphers", f"failed to set the TLSv1.3 cipher suites: {describe_failure(error)}")


def _set_key_exchange(context: ssl.SSLContext, source: _Source, found: list[str]) -> None:
    curve = source.value("tls_ecdhcurve")
    # "none" leaves the choice to OpenSSL as well, as it does in PgBouncer.
    if curve.lower() not in ("", "auto", "none"):
        try:
            context.set_ecdh_curve(curve)
        except (ssl.SSLError, ValueError) as error:
            source.refuse("tls_ecdhcurve", describe_failure(error))
    parameters = source.value("tls_dheparams").lower()
    if parameters == "auto":
        _load_dh_parameters(context, source, found)
    elif parameters not in ("", "none"):
        source.refuse("tls_dheparams", "expected auto or none")


def _load_dh_parameters(context: ssl.SSLContext, source: _Source, found: list[str]) -> None:
    # ssl takes them from a file only, and there may be no directory to write one in.
    reader, writer = os.pipe()
    try:
        with open(writer, "wb") as pipe:
            pipe.write(_DH_PARAMETERS)
        context.load_dh_params(f"/dev/fd/{reader}")
    except OSError as error:
        found.append(f"{source.label('tls_dheparams')}: no DHE key exchange: {describe_failure(error)}")
    finally:
        os.close(reader)


def _load_key_pair(context: ssl.SSLContext, source: _Source, found: list[str]) -> None:
    for name, other in (("tls_cert_file", "tls_key_file"), ("tls_key_file", "tls_cert_file")):
        if name in source.files and other not in source.files:
            source.refuse(name, f"{source.prefix}_{other} is not set")
    if "tls_key_file" not in source.files:
        return
    if b"PRIVATE KEY-----" not in source.files["tls_key_file"]:
        source.refuse("tls_key_file", "holds no private key in PEM form")

    def refuse_passphrase() -> str:
        source.refuse("tls_key_file", "the key is encrypted, and there is nobody to ask for its passphrase")

    try:
        context.load_cert_chain(
            source.value("tls_cert_file"), source.value("tls_key_file"), refuse_passphrase
        )
        _check_permissions(source, found)
    except ssl.SSLError as error:
        _refuse_key_pair(source, error)
    except (OSError, ValueError) as error:
        source.refuse("tls_key_file", describe_failure(error))


def _refuse_key_pair(source: _Source, error: ssl.SSLError) -> NoReturn:
    reason = error.reason or ""
    if reason in _MISMATCHES:
        source.refuse("tls_key_file", f"the key does not belong to {source.label('tls_cert_file')}")
    if reason.endswith(("TOO_SMALL", "TOO_WEAK")):
        source.refuse("tls_cert_file", describe_failure(error))
    source.refuse("tls_key_file", f"the key cannot be read: {describe_failure(error)}")


def _check_permissions(source: _Source, found: list[str]) -> None:
    """By PostgreSQL's rule, which refuses such a key. PgBouncer takes it, so it is worth a warning."""
    status = os.stat(source.value("tls_key_file"))
    mode = stat.S_IMODE(status.st_mode)
    # A group may read root's key: that is how it is lent to a service.
    if mode & (0o037 if status.st_uid == 0 else 0o077):
        found.append(f"{source.label('tls_key_file')}: others than its owner have access, mode {mode:04o}")


def _set_verification(context: ssl.SSLContext, source: _Source, authorities: list[bytes]) -> None:
    if source.verifies:
        context.verify_mode = ssl.CERT_REQUIRED
    elif authorities:
        context.verify_mode = ssl.CERT_OPTIONAL
    else:
        context.verify_mode = ssl.CERT_NONE
        return
    if authorities:
        try:
            context.load_verify_locations(cadata=b"".join(authorities))
        except (ssl.SSLError, ValueError):
            source.refuse("tls_ca_file", "OpenSSL cannot read a certificate in it")
    elif not any(ssl.get_default_verify_paths()[:2]):
        source.refuse("tls_ca_file", "is not set, and the system has no certificates of authorities")
    else:
        context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    if source.mode is SslMode.VERIFY_FULL and not source.accepts:
        context.sslobject_class = VerifiedServer
