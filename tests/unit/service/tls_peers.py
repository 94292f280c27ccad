"""What the tests of TLS share: certificates of every kind, settings with good files, peers of all sorts."""

import ssl
from pathlib import Path
from typing import Any

import pytest

from pooler.config.settings import Settings, SslMode
from pooler.service import tls
from tests.support.certificates import Authority, Issued

TLS12, TLS13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
VERIFYING = (SslMode.VERIFY_CA, SslMode.VERIFY_FULL)
ENABLED = list(SslMode)[1:]

OURS = Authority("Our authority")
FOREIGN = Authority("Foreign authority")
SERVER = OURS.issue("localhost", names=["localhost", "127.0.0.1"])
PEERS: dict[str, Issued | None] = {
    "none": None,
    "ecdsa": OURS.issue("alice", names=["localhost"]),
    "rsa": OURS.issue("alice", names=["localhost"], key="rsa"),
    "expiring": OURS.issue("alice", names=["localhost"], days=1),
    "expired": OURS.issue("alice", names=["localhost"], days=-1),
    "foreign": FOREIGN.issue("alice", names=["localhost"]),
    "elsewhere": OURS.issue("alice", names=["elsewhere"]),
}

Values = dict[str, Any]


def client_values(directory: Path, issued: Issued = SERVER) -> Values:
    """Settings with all files for clients, who must use TLS, and with no TLS to servers."""
    certificate, key = issued.write(directory, "server")
    return {
        "client_tls_sslmode": SslMode.REQUIRE,
        "client_tls_cert_file": str(certificate),
        "client_tls_key_file": str(key),
        "client_tls_ca_file": str(OURS.write(directory)),
        "server_tls_sslmode": SslMode.DISABLE,
    }


def server_values(directory: Path) -> Values:
    """Settings for servers that have to show a certificate of our authority for their name."""
    authority = OURS.write(directory, "servers-ca")
    return {"server_tls_sslmode": SslMode.VERIFY_FULL, "server_tls_ca_file": str(authority)}


def load(values: Values, old: tls.Tls | None = None, **more: Any) -> tls.Tls:
    """What the settings come to, with some of them changed."""
    return tls.load(Settings(**{**values, **more}), old)


def accepting(values: Values, **more: Any) -> ssl.SSLContext:
    """The pooler's context for clients."""
    context = load(values, **more).clients.context
    assert context is not None
    return context


def connecting(values: Values, **more: Any) -> ssl.SSLContext:
    """The pooler's context for servers."""
    context = load(values, **more).servers.context
    assert context is not None
    return context


def refusal(values: Values, **more: Any) -> str:
    """Why such settings are refused."""
    with pytest.raises(tls.TlsError) as raised:
        load(values, **more)
    return str(raised.value)


def client(issued: Issued | None = None, only: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    """A client that verifies nobody, and may speak one version only."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return _equipped(context, issued, only)


def server(issued: Issued | None = SERVER, only: ssl.TLSVersion | None = None) -> ssl.SSLContext:
    """A server that asks nobody for a certificate, and may speak one version only."""
    return _equipped(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), issued, only)


def _equipped(context: ssl.SSLContext, issued: Issued | None, only: ssl.TLSVersion | None) -> ssl.SSLContext:
    if issued is not None:
        issued.load_into(context)
    if only is not None:
        context.minimum_version = context.maximum_version = only
    return context
