import os
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from hypothesis import example, given
from hypothesis import strategies as st

from pooler.config.settings import Settings, SslMode
from pooler.relay.tls import describe_failure
from pooler.service import tls
from tests.support import certificates
from tests.support.certificates import Authority, handshake
from tests.unit.service.tls_peers import (
    ENABLED,
    FOREIGN,
    OURS,
    SERVER,
    Values,
    client,
    client_values,
    load,
    refusal,
    server,
    server_values,
)

FILES = ("cert_file", "key_file", "ca_file")
TLS13_CIPHERS = ":".join(one["name"] for one in client().get_ciphers() if one["protocol"] == "TLSv1.3")


@pytest.fixture
def files(tmp_path: Path) -> Values:
    return client_values(tmp_path)


@pytest.fixture
def both(tmp_path: Path) -> Values:
    """Files for both sides."""
    (tmp_path / "servers").mkdir()
    certificate, key = OURS.issue("pooler").write(tmp_path / "servers", "pooler")
    return {
        **client_values(tmp_path),
        **server_values(tmp_path / "servers"),
        "server_tls_cert_file": str(certificate),
        "server_tls_key_file": str(key),
    }


# Errors ----------------------------------------------------------------------------------------------------


def put(path: Path, content: bytes | None) -> str:
    """Puts a file there, or nothing; returns its path as text."""
    if content is not None:
        path.write_bytes(content)
    return str(path)


@pytest.mark.parametrize("side", ["client", "server"])
@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize(
    ("content", "reason"),
    [(None, "No such file or directory"), (b"", "holds no "), (b"\xff\0junk\n", "holds no ")],
    ids=["missing", "empty", "junk"],
)
def test_a_file_that_is_no_good_is_named_with_its_setting(
    side: str, name: str, content: bytes | None, reason: str, both: Values, tmp_path: Path
) -> None:
    path = put(tmp_path / "bad", content)

    assert refusal(both, **{f"{side}_tls_{name}": path}).startswith(f'{side}_tls_{name} "{path}": {reason}')


@pytest.mark.parametrize("name", FILES)
def test_what_is_no_file_is_refused_at_once(name: str, files: Values, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        text = refusal(files, **{f"client_tls_{name}": str(path)})
        assert text == f'client_tls_{name} "{path}": not a regular file'


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("path", ["\0", "/\udcff", "\ud800"])
def test_a_path_that_cannot_be_is_refused(name: str, path: str, files: Values) -> None:
    text = refusal(files, **{f"client_tls_{name}": path})

    assert text.startswith(f"client_tls_{name} ")
    text.encode()


@pytest.mark.parametrize("name", ["cert_file", "ca_file"])
@pytest.mark.parametrize("body", ["%%%", "AAAA", "MAA="])
def test_a_broken_certificate_is_refused(name: str, body: str, files: Values, tmp_path: Path) -> None:
    pem = f"-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----\n"
    path = put(tmp_path / "broken", SERVER.pem + pem.encode())

    assert refusal(files, **{f"client_tls_{name}": path}).startswith(f'client_tls_{name} "{path}": ')


def test_an_authority_that_openssl_cannot_read_is_refused(files: Values, tmp_path: Path) -> None:
    der = bytes.fromhex("300a 3000 3000 0304 00000000")
    path = put(tmp_path / "shaped", OURS.pem + ssl.DER_cert_to_PEM_cert(der).encode())

    assert refusal(files, client_tls_ca_file=path).startswith(f'client_tls_ca_file "{path}": OpenSSL cannot')


def test_an_encrypted_key_is_refused_and_nobody_is_asked(files: Values, tmp_path: Path) -> None:
    path = put(tmp_path / "encrypted", SERVER.key_pem(b"a passphrase"))

    assert refusal(files, client_tls_key_file=path).startswith(
        f'client_tls_key_file "{path}": the key is encrypted'
    )


@pytest.mark.parametrize("kind", ["ecdsa", "rsa"])
def test_a_key_of_another_certificate_is_refused(
    kind: certificates.KeyKind, files: Values, tmp_path: Path
) -> None:
    path = put(tmp_path / "other", OURS.issue("other", key=kind).key_pem())

    assert refusal(files, client_tls_key_file=path) == (
        f'client_tls_key_file "{path}": '
        f'the key does not belong to client_tls_cert_file "{files["client_tls_cert_file"]}"'
    )


def test_a_broken_key_is_refused_without_a_word_of_it(files: Values, tmp_path: Path) -> None:
    lines = SERVER.key_pem().splitlines(keepends=True)
    path = put(tmp_path / "broken", b"".join([lines[0], lines[2], lines[1], *lines[3:]]))

    assert refusal(files, client_tls_key_file=path) == (
        f'client_tls_key_file "{path}": the key cannot be read: [SSL] PEM lib'
    )


def test_a_certificate_that_is_too_weak_is_refused(
    files: Values, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    weak = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    monkeypatch.setattr(certificates, "new_key", lambda kind: weak)
    values = client_values(tmp_path, OURS.issue("localhost"))

    assert refusal(values).startswith(f'client_tls_cert_file "{values["client_tls_cert_file"]}": ')


@pytest.mark.parametrize(("name", "other"), [("cert_file", "key_file"), ("key_file", "cert_file")])
def test_certificate_and_key_for_servers_go_together(name: str, other: str, both: Values) -> None:
    text = refusal(both, **{f"server_tls_{other}": ""})

    assert text == f'server_tls_{name} "{both[f"server_tls_{name}"]}": server_tls_{other} is not set'


def test_files_that_nothing_needs_are_not_read(tmp_path: Path) -> None:
    nowhere = str(tmp_path / "nowhere")
    unused = {f"{side}_tls_{name}": nowhere for side in ("client", "server") for name in FILES}
    load(unused, server_tls_sslmode=SslMode.DISABLE)
    for mode in (SslMode.ALLOW, SslMode.PREFER, SslMode.REQUIRE):
        load({"server_tls_ca_file": nowhere}, server_tls_sslmode=mode)


def test_a_failure_is_described_without_the_place_in_the_source() -> None:
    with pytest.raises(ssl.SSLError) as raised:
        handshake(client(), server(None))

    assert "_ssl.c" in str(raised.value)
    assert describe_failure(raised.value) == "no shared cipher"
    assert describe_failure(FileNotFoundError(2, "No such file")) == "No such file"
    assert describe_failure(TimeoutError()) == "TimeoutError"


# Permissions -----------------------------------------------------------------------------------------------


@pytest.fixture
def owned_by(monkeypatch: pytest.MonkeyPatch) -> Callable[[str, int], None]:
    """Makes a file look as if it were somebody else's."""
    stat = os.stat

    def pretend(path: str, uid: int) -> None:
        def pretended(name: Any, *arguments: Any, **options: Any) -> os.stat_result:
            status = stat(name, *arguments, **options)
            return os.stat_result((*status[:4], uid, *status[5:])) if name == path else status

        monkeypatch.setattr(os, "stat", pretended)

    return pretend


@pytest.mark.parametrize(
    ("uid", "mode", "fine"),
    [
        (0, 0o600, True),
        (0, 0o640, True),
        (0, 0o660, False),
        (0, 0o644, False),
        (1000, 0o600, True),
        (1000, 0o400, True),
        (1000, 0o640, False),
        (1000, 0o604, False),
    ],
)
def test_a_key_that_others_can_get_at_is_worth_a_warning(
    uid: int, mode: int, fine: bool, files: Values, owned_by: Callable[[str, int], None]
) -> None:
    path = files["client_tls_key_file"]
    Path(path).chmod(mode)
    owned_by(path, uid)
    expected = f'client_tls_key_file "{path}": others than its owner have access, mode {mode:04o}'

    assert load(files).clients.warnings == (() if fine else (expected,))


# Reload ----------------------------------------------------------------------------------------------------


def test_nothing_is_made_anew_when_nothing_has_changed(both: Values) -> None:
    old = load(both)

    assert load(both, old, max_client_conn=7) is old


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(
            (f"{side}_{name}", value)
            for side in ("client", "server")
            for name, value in (
                ("tls_sslmode", SslMode.ALLOW),
                ("tls_protocols", "tlsv1.3"),
                ("tls_ciphers", "HIGH"),
                ("tls13_ciphers", TLS13_CIPHERS),
            )
        ),
        ("client_tls_dheparams", "none"),
        ("client_tls_ecdhcurve", "secp384r1"),
    ],
)
def test_a_setting_of_one_side_changes_that_side(name: str, value: object, both: Values) -> None:
    old = load(both)
    new = load(both, old, **{name: value})
    of_clients = name.startswith("client")

    assert (new.clients is old.clients, new.servers is old.servers) == (not of_clients, of_clients)


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("side", ["client", "server"])
def test_what_a_file_holds_changes_its_side(side: str, name: str, both: Values) -> None:
    old = load(both)
    path = Path(both[f"{side}_tls_{name}"])
    path.write_bytes(path.read_bytes() + b"\n")
    new = load(both, old)

    assert (new.clients is old.clients, new.servers is old.servers) == (side == "server", side == "client")


def test_a_new_certificate_is_shown_after_a_reload(files: Values, tmp_path: Path) -> None:
    old = load(files)
    issued = OURS.issue("localhost")
    new = load(client_values(tmp_path, issued), old)

    def shown(loaded: tls.Tls) -> bytes | None:
        assert loaded.clients.context is not None
        return handshake(client(), loaded.clients.context)[0].getpeercert(binary_form=True)

    assert (shown(old), shown(new)) == (SERVER.der, issued.der)
    assert new.clients.binding != old.clients.binding


def test_the_old_contexts_outlive_a_reload_that_fails(both: Values) -> None:
    old = load(both)
    for name in FILES:
        Path(both[f"client_tls_{name}"]).write_bytes(b"junk")
    with pytest.raises(tls.TlsError, match="client_tls_"):
        load(both, old)

    assert old.clients.context is not None
    handshake(client(), old.clients.context)


def test_off_is_off_whatever_else_is_set(tmp_path: Path) -> None:
    old = load({}, server_tls_sslmode=SslMode.DISABLE)
    new = load({}, old, server_tls_sslmode=SslMode.DISABLE, server_tls_ca_file="x", client_tls_ciphers="x")

    assert new is old


@pytest.mark.parametrize("mode", ENABLED)
def test_switching_tls_on_or_off_changes_the_side(mode: SslMode, both: Values) -> None:
    off = load(both, server_tls_sslmode=SslMode.DISABLE)
    on = load(both, off, server_tls_sslmode=mode)

    assert on.servers is not off.servers
    assert load(both, on, server_tls_sslmode=SslMode.DISABLE).servers is not on.servers


@pytest.mark.parametrize("name", FILES)
def test_files_that_change_while_they_are_read_are_refused(
    name: str, files: Values, monkeypatch: pytest.MonkeyPatch
) -> None:
    load_cert_chain = ssl.SSLContext.load_cert_chain
    path = Path(files[f"client_tls_{name}"])

    def slow(self: ssl.SSLContext, *arguments: Any) -> None:
        load_cert_chain(self, *arguments)
        path.write_bytes(path.read_bytes() + b"\n")

    monkeypatch.setattr(ssl.SSLContext, "load_cert_chain", slow)

    assert refusal(files) == "the files of client_tls_* changed while they were read"


def test_no_secret_is_shown(both: Values) -> None:
    text = repr(load(both))
    for side in ("client", "server"):
        for line in Path(both[f"{side}_tls_key_file"]).read_text().splitlines():
            assert line not in text


# Expiry ----------------------------------------------------------------------------------------------------


def test_certificates_that_expire_soon_are_found_in_every_file(tmp_path: Path) -> None:
    soon = Authority("Soon gone", days=20)
    values = client_values(tmp_path, OURS.issue("localhost", days=10))
    chain = Path(values["client_tls_cert_file"])
    chain.write_bytes(chain.read_bytes() + soon.pem + OURS.pem)
    authorities = tmp_path / "servers-ca.crt"
    authorities.write_bytes(FOREIGN.pem + Authority("Gone", days=-3).pem)
    loaded = load(values, server_tls_sslmode=SslMode.VERIFY_CA, server_tls_ca_file=str(authorities))
    now = datetime.now(UTC)

    found = [(one.setting, one.file, one.subject, one.days_left(now)) for one in tls.expiring(loaded, now)]
    assert found == [
        ("server_tls_ca_file", str(authorities), "/CN=Gone", -4),
        ("client_tls_cert_file", str(chain), "/CN=localhost", 9),
        ("client_tls_cert_file", str(chain), "/CN=Soon gone", 19),
    ]


@given(st.integers(-50_000_000, 50_000_000))
@example(30 * 86_400)
@example(30 * 86_400 - 1)
@example(-1)
def test_days_are_counted_down(seconds: int) -> None:
    not_after = datetime(2030, 6, 1, tzinfo=UTC)
    one = tls.UsedCertificate("client_tls_cert_file", "server.crt", "/CN=db", not_after)
    now = not_after - timedelta(seconds=seconds)
    side = tls.Side(SslMode.DISABLE, None, None, (one, one), (), b"")

    assert one.days_left(now) == seconds // 86_400
    assert tls.expiring(tls.Tls(side, side), now) == ([one] if seconds < 30 * 86_400 else [])


def test_a_certificate_whose_end_is_unreadable_is_used_with_a_warning(files: Values, tmp_path: Path) -> None:
    der = SERVER.der
    first = der.index(b"\x17\x0d")
    odd = bytearray(der)
    odd[first + 2 + 15 : first + 2 + 15 + 13] = b"9913" + b"01000000" + b"Z"
    path = put(tmp_path / "odd", ssl.DER_cert_to_PEM_cert(bytes(odd)).encode())
    clients = load(files, client_tls_cert_file=path).clients

    assert clients.certificates == load(files).clients.certificates[1:]
    assert clients.warnings == (
        f'client_tls_cert_file "{path}": cannot tell when a certificate expires: no such time: '
        "month must be in 1..12",
    )


def test_nothing_expires_where_tls_is_off() -> None:
    off = tls.load(Settings(server_tls_sslmode=SslMode.DISABLE))

    assert tls.expiring(off, datetime.max.replace(tzinfo=UTC) - timedelta(days=31)) == []
