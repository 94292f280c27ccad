import hashlib
import ssl
from pathlib import Path

import pytest

from pooler.config.settings import AuthType, SslMode
from pooler.relay.certificates import peer_common_name, server_hostname
from tests.support.certificates import Authority, handshake
from tests.unit.service.tls_peers import (
    ENABLED,
    OURS,
    PEERS,
    SERVER,
    VERIFYING,
    Values,
    accepting,
    client,
    client_values,
    connecting,
    load,
    refusal,
    server,
    server_values,
)


@pytest.fixture
def files(tmp_path: Path) -> Values:
    return client_values(tmp_path)


@pytest.fixture
def verifying(tmp_path: Path) -> Values:
    return server_values(tmp_path)


# Clients ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("peer", PEERS)
@pytest.mark.parametrize("mode", ENABLED)
def test_a_certificate_of_a_client_is_verified_whenever_it_shows_one(
    mode: SslMode, peer: str, files: Values
) -> None:
    context = accepting(files, client_tls_sslmode=mode)
    if peer in ("expired", "foreign") or (peer == "none" and mode in VERIFYING):
        with pytest.raises(ssl.SSLError, match="certificate"):
            handshake(client(PEERS[peer]), context)
    else:
        ssl_object = handshake(client(PEERS[peer]), context)[1]
        assert peer_common_name(ssl_object) == (None if peer == "none" else "alice")


@pytest.mark.parametrize("peer", PEERS)
@pytest.mark.parametrize("mode", [SslMode.ALLOW, SslMode.PREFER, SslMode.REQUIRE])
def test_without_authorities_no_certificate_is_asked_for(mode: SslMode, peer: str, files: Values) -> None:
    context = accepting(files, client_tls_sslmode=mode, client_tls_ca_file="")

    assert handshake(client(PEERS[peer]), context)[1].getpeercert(binary_form=True) is None


def test_tls_is_off_unless_it_is_asked_for(tmp_path: Path) -> None:
    nowhere = str(tmp_path / "nowhere")
    nothing = {f"client_tls_{name}": nowhere for name in ("cert_file", "key_file", "ca_file", "protocols")}
    clients = load(nothing).clients

    assert (clients.context, clients.binding, clients.required) == (None, None, False)


@pytest.mark.parametrize("mode", ENABLED)
def test_tls_is_required_from_require_on(mode: SslMode, files: Values) -> None:
    loaded = load(files, client_tls_sslmode=mode, server_tls_sslmode=SslMode.PREFER)

    assert loaded.clients.required is (mode >= SslMode.REQUIRE)
    assert loaded.servers.required is False


@pytest.mark.parametrize("missing", ["cert_file", "key_file", "ca_file"])
@pytest.mark.parametrize("mode", VERIFYING)
def test_a_mode_says_which_files_it_requires(mode: SslMode, missing: str, files: Values) -> None:
    text = refusal(files, client_tls_sslmode=mode, **{f"client_tls_{missing}": ""})

    assert f"client_tls_{missing}" in text
    assert text.startswith("client_tls_sslmode = verify-")


@pytest.mark.parametrize("mode", list(SslMode)[:-1])
def test_login_by_certificate_requires_verify_full(mode: SslMode, files: Values) -> None:
    text = refusal(files, client_tls_sslmode=mode, auth_type=AuthType.CERT)

    assert text == "auth_type = cert requires client_tls_sslmode = verify-full"
    assert load(files, client_tls_sslmode=SslMode.VERIFY_FULL, auth_type=AuthType.CERT).clients.required


def test_the_channel_binding_is_of_the_certificate_that_clients_see(files: Values, tmp_path: Path) -> None:
    chain = tmp_path / "chain.crt"
    chain.write_bytes(SERVER.pem + OURS.pem)
    clients = load(files, client_tls_cert_file=str(chain)).clients
    assert clients.context is not None

    seen = handshake(client(), clients.context)[0].getpeercert(binary_form=True)
    assert clients.binding == hashlib.sha256(seen or b"").digest()


def test_a_certificate_may_allow_of_no_channel_binding(files: Values, tmp_path: Path) -> None:
    issued = Authority("Ed25519 authority", key="ed25519").issue("localhost", key="ed25519")
    certificate, key = issued.write(tmp_path, "ed25519")
    clients = load(files, client_tls_cert_file=str(certificate), client_tls_key_file=str(key)).clients

    assert (clients.context is not None, clients.binding) == (True, None)


# Servers ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("peer", [name for name in PEERS if name != "none"])
@pytest.mark.parametrize("mode", ENABLED)
def test_a_server_is_verified_as_far_as_the_mode_says(mode: SslMode, peer: str, verifying: Values) -> None:
    context = connecting(verifying, server_tls_sslmode=mode)
    unverified = peer in ("expired", "foreign") and mode in VERIFYING
    if unverified or (peer == "elsewhere" and mode is SslMode.VERIFY_FULL):
        with pytest.raises(ssl.SSLCertVerificationError):
            handshake(context, server(PEERS[peer]), "localhost")
    else:
        handshake(context, server(PEERS[peer]), "localhost")


@pytest.mark.parametrize(
    ("host", "subject", "names", "good"),
    [
        ("db1", "db1", [], True),
        ("db1", "other", ["db1", "db2"], True),
        ("db2", "other", ["db1", "db2"], True),
        ("db3", "other", ["db1", "db2"], False),
        ("db1", "db1", ["db2"], False),
        ("DB1.example.com", "db1.example.com", [], True),
        ("db1.example.com", "other", ["*.example.com"], True),
        ("b\u00fccher.example", "other", ["xn--bcher-kva.example"], True),
        ("127.0.0.1", "other", ["127.0.0.1"], True),
        ("127.0.0.2", "other", ["127.0.0.1"], False),
        ("127.0.0.1", "127.0.0.1", [], True),
        ("::1", "other", ["::1"], True),
        ("0:0::1", "other", ["::1"], True),
        ("::2", "other", ["::1"], False),
        ("..", "other", ["db1"], False),
    ],
)
def test_verify_full_wants_the_host_of_the_connect_string(
    host: str, subject: str, names: list[str], good: bool, verifying: Values
) -> None:
    context = connecting(verifying)
    issued = OURS.issue(subject, names=names)
    if good:
        handshake(context, server(issued), server_hostname(host))
    else:
        with pytest.raises(ssl.SSLCertVerificationError, match="is not for") as raised:
            handshake(context, server(issued), server_hostname(host))
        error = raised.value
        assert (error.library, error.reason, error.verify_code) == ("SSL", "CERTIFICATE_VERIFY_FAILED", 62)
        assert str(error) == f"certificate verify failed: {error.verify_message}"


def test_verify_full_without_a_name_fails(verifying: Values) -> None:
    for names in (["localhost"], [""]):
        with pytest.raises(ssl.SSLCertVerificationError):
            handshake(connecting(verifying), server(OURS.issue("localhost", names=names)))


@pytest.mark.parametrize("mode", ENABLED)
@pytest.mark.parametrize(("host", "sent"), [("localhost", "localhost"), ("127.0.0.1", None), ("::1", None)])
def test_host_names_are_sent_to_servers_and_addresses_are_not(
    mode: SslMode, host: str, sent: str | None, verifying: Values
) -> None:
    names: list[str | None] = []
    context = server(OURS.issue("localhost", names=["localhost", "127.0.0.1", "::1"]))
    context.sni_callback = lambda ssl_object, name, own: names.append(name)
    handshake(connecting(verifying, server_tls_sslmode=mode), context, server_hostname(host))

    assert names == [sent]


def test_the_authorities_of_the_system_serve_where_none_are_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(OURS.write(tmp_path)))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path / "nowhere"))
    context = connecting({"server_tls_sslmode": SslMode.VERIFY_CA})

    handshake(context, server(SERVER))
    with pytest.raises(ssl.SSLCertVerificationError):
        handshake(context, server(PEERS["foreign"]))


def test_verification_without_any_authority_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere")
    monkeypatch.setenv("SSL_CERT_DIR", "/nowhere")

    assert "server_tls_ca_file" in refusal({"server_tls_sslmode": SslMode.VERIFY_CA})


def test_a_server_gets_the_certificate_that_it_asks_for(tmp_path: Path) -> None:
    certificate, key = OURS.issue("pooler").write(tmp_path, "pooler")
    context = connecting({"server_tls_cert_file": str(certificate), "server_tls_key_file": str(key)})
    asking = server()
    asking.verify_mode = ssl.CERT_REQUIRED
    asking.load_verify_locations(cadata=OURS.issued.der)

    assert peer_common_name(handshake(context, asking)[1]) == "pooler"
