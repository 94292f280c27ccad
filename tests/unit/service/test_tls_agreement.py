import ssl
import warnings
from contextlib import suppress
from decimal import Decimal, localcontext
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pooler.relay.tls import ALPN_PROTOCOL, version_and_cipher
from pooler.service import tls
from tests.support.certificates import handshake
from tests.unit.service.tls_peers import (
    OURS,
    TLS12,
    TLS13,
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


@pytest.mark.parametrize(
    ("text", "versions"),
    [
        ("secure", {TLS12, TLS13}),
        ("default", {TLS12, TLS13}),
        ("all", set(tls.parse_protocols("tlsv1.0,tlsv1.1,tlsv1.2,tlsv1.3"))),
        ("tlsv1", set(tls.parse_protocols("all"))),
        ("tlsv1.2", {TLS12}),
        ("TLSv1.3", {TLS13}),
        ("tlsv1.2:tlsv1.3", {TLS12, TLS13}),
        (" tlsv1.2,\ttlsv1.3", {TLS12, TLS13}),
        ("!tlsv1.0,!tlsv1.1", {TLS12, TLS13}),
        ("secure,!tlsv1.3", {TLS12}),
        ("tlsv1.3,!tlsv1.3,tlsv1.2", {TLS12}),
    ],
)
def test_versions_are_read_as_pgbouncer_reads_them(text: str, versions: set[ssl.TLSVersion]) -> None:
    assert tls.parse_protocols(text) == versions


@pytest.mark.parametrize("text", ["", "legacy", "sslv3", "tlsv1.2 ,tlsv1.3", "tlsv1.2,", "! tlsv1.3", "!all"])
def test_other_texts_are_no_versions(text: str, files: Values) -> None:
    with pytest.raises(ValueError, match=r"TLS version"):
        tls.parse_protocols(text)
    if text:
        assert refusal(files, client_tls_protocols=text).startswith(f'client_tls_protocols "{text}": ')


@given(
    st.text(max_size=30) | st.lists(st.sampled_from(["all", "!", ",", ":", " ", "tlsv1.2", "x"])).map("".join)
)
def test_any_text_is_versions_or_is_refused(text: str) -> None:
    with suppress(ValueError):
        assert tls.parse_protocols(text)


@pytest.mark.parametrize(
    ("text", "version", "agreed"),
    [
        ("secure", TLS12, True),
        ("", TLS13, True),
        ("tlsv1.3", TLS12, False),
        ("tlsv1.2", TLS13, False),
    ],
)
def test_the_version_is_one_of_those_allowed(
    text: str, version: ssl.TLSVersion, agreed: bool, files: Values, verifying: Values
) -> None:
    for connects, accepts in (
        (client(only=version), accepting(files, client_tls_protocols=text)),
        (connecting(verifying, server_tls_protocols=text), server(only=version)),
    ):
        if agreed:
            assert handshake(connects, accepts, "localhost")[0].version() == version.name.replace("_", ".")
        else:
            with pytest.raises(ssl.SSLError):
                handshake(connects, accepts, "localhost")


def test_there_may_be_a_gap_between_the_versions(files: Values) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        context = accepting(files, client_tls_protocols="all,!tlsv1.2")

    assert handshake(client(), context)[0].version() == "TLSv1.3"
    with pytest.raises(ssl.SSLError):
        handshake(client(only=TLS12), context)


def test_versions_that_nobody_speaks_any_more_can_be_asked_for(files: Values, verifying: Values) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        contexts = [
            accepting(files, client_tls_protocols="tlsv1.0", client_tls_ciphers="ALL:@SECLEVEL=0"),
            connecting(verifying, server_tls_protocols="tlsv1.0", server_tls_ciphers="ALL:@SECLEVEL=0"),
        ]

    assert handshake(contexts[1], contexts[0], "localhost")[0].version() == "TLSv1"


def ciphers(context: ssl.SSLContext) -> list[str]:
    return [cipher["name"] for cipher in context.get_ciphers()]


@pytest.mark.parametrize("word", ["default", "secure", "normal", "fast", "", "Default"])
def test_words_for_the_default_leave_the_ciphers_to_openssl(word: str, files: Values) -> None:
    default = client()
    default.set_ciphers("DEFAULT")

    assert ciphers(accepting(files, client_tls_ciphers=word)) == ciphers(default)


def test_all_ciphers_and_chosen_ones_are_to_be_had(files: Values, verifying: Values) -> None:
    chosen = "ECDHE-ECDSA-AES128-GCM-SHA256"
    everything = client()
    everything.set_ciphers("ALL")
    assert ciphers(accepting(files, client_tls_ciphers="all")) == ciphers(everything)

    for connects, accepts in (
        (client(only=TLS12), accepting(files, client_tls_ciphers=chosen)),
        (connecting(verifying, server_tls_ciphers=chosen), server(only=TLS12)),
    ):
        ssl_object = handshake(connects, accepts, "localhost")[0]
        assert version_and_cipher(ssl_object) == f"TLSv1.2/{chosen}"


@pytest.mark.parametrize("text", ["nonsense", "TLS_AES_128_GCM_SHA256", "\0", "\ud800"])
def test_ciphers_that_do_not_exist_are_refused(text: str, files: Values, verifying: Values) -> None:
    assert refusal(files, client_tls_ciphers=text).startswith("client_tls_ciphers ")
    assert refusal(verifying, server_tls_ciphers=text).startswith("server_tls_ciphers ")


def test_nobody_evades_verification_by_a_cipher_without_certificates(
    files: Values, verifying: Values
) -> None:
    anonymous = "ALL:aNULL:@SECLEVEL=0"
    connects, accepts = client(only=TLS12), server(None, only=TLS12)
    connects.set_ciphers("aNULL:@SECLEVEL=0")
    accepts.set_ciphers("aNULL:@SECLEVEL=0")
    handshake(connects, accepts)
    handshake(connecting({"server_tls_ciphers": anonymous}), accepts)

    for mode in VERIFYING:
        with pytest.raises(ssl.SSLError):
            handshake(connects, accepting(files, client_tls_sslmode=mode, client_tls_ciphers=anonymous))
        with pytest.raises(ssl.SSLError):
            handshake(connecting(verifying, server_tls_sslmode=mode, server_tls_ciphers=anonymous), accepts)


def test_tls13_ciphers_are_refused_where_ssl_cannot_choose_them(
    files: Values, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssl.SSLContext, "set_ciphersuites", None, raising=False)
    text = refusal(files, client_tls13_ciphers="TLS_CHACHA20_POLY1305_SHA256")
    assert text.startswith('client_tls13_ciphers "TLS_CHACHA20_POLY1305_SHA256": Python before 3.15')
    assert "client_tls_protocols" in text

    have = ":".join(name for name in ciphers(client()) if name.startswith("TLS_"))
    handshake(client(), accepting(files, client_tls13_ciphers=have))
    handshake(client(), accepting(files, client_tls13_ciphers="nonsense", client_tls_protocols="tlsv1.2"))


def test_tls13_ciphers_are_chosen_where_ssl_can(files: Values, monkeypatch: pytest.MonkeyPatch) -> None:
    chosen: list[str] = []

    def set_ciphersuites(self: ssl.SSLContext, suites: str) -> None:
        if suites != "TLS_CHACHA20_POLY1305_SHA256":
            raise ssl.SSLError("No cipher suite can be selected.")
        chosen.append(suites)

    monkeypatch.setattr(ssl.SSLContext, "set_ciphersuites", set_ciphersuites, raising=False)
    accepting(files, client_tls13_ciphers="TLS_CHACHA20_POLY1305_SHA256")

    assert chosen == ["TLS_CHACHA20_POLY1305_SHA256"]
    assert "failed to set the TLSv1.3 cipher suites" in refusal(files, client_tls13_ciphers="unknown")


@pytest.mark.parametrize("curve", ["auto", "none", "AUTO", ""])
def test_any_curve_will_do_unless_one_is_named(curve: str, files: Values) -> None:
    for name in ("prime256v1", "secp384r1", "X25519"):
        connects = client()
        connects.set_ecdh_curve(name)
        handshake(connects, accepting(files, client_tls_ecdhcurve=curve))


@pytest.mark.parametrize("version", [TLS12, TLS13])
def test_a_curve_that_is_named_is_the_only_one(version: ssl.TLSVersion, files: Values) -> None:
    accepts = accepting(files, client_tls_ecdhcurve="secp384r1")
    connects = client(only=version)
    handshake(connects, accepts)
    connects.set_ecdh_curve("prime256v1")

    with pytest.raises(ssl.SSLError):
        handshake(connects, accepts)


@pytest.mark.parametrize("curve", ["nonsense", "sha256", "P-256", "\0"])
def test_curves_that_do_not_exist_are_refused(curve: str, files: Values) -> None:
    assert refusal(files, client_tls_ecdhcurve=curve).startswith("client_tls_ecdhcurve ")


@pytest.fixture
def rsa_files(tmp_path: Path) -> Values:
    return client_values(tmp_path, OURS.issue("localhost", key="rsa"))


@pytest.mark.parametrize(("parameters", "offered"), [("auto", True), ("none", False), ("", False)])
def test_dhe_is_offered_unless_it_is_switched_off(parameters: str, offered: bool, rsa_files: Values) -> None:
    accepts = accepting(rsa_files, client_tls_dheparams=parameters)
    connects = client(only=TLS12)
    connects.set_ciphers("kDHE")
    if offered:
        assert version_and_cipher(handshake(connects, accepts)[0]).startswith("TLSv1.2/DHE-RSA-")
    else:
        with pytest.raises(ssl.SSLError):
            handshake(connects, accepts)


@pytest.mark.parametrize("parameters", ["legacy", "/etc/dh.pem", "1024"])
def test_other_dh_parameters_are_refused(parameters: str, files: Values) -> None:
    text = refusal(files, client_tls_dheparams=parameters)

    assert text == f'client_tls_dheparams "{parameters}": expected auto or none'


def test_where_dh_parameters_cannot_be_loaded_tls_works_without(
    rsa_files: Values, monkeypatch: pytest.MonkeyPatch
) -> None:
    def no_files(self: ssl.SSLContext, path: str) -> None:
        raise FileNotFoundError(2, "No such file or directory")

    monkeypatch.setattr(ssl.SSLContext, "load_dh_params", no_files)
    clients = load(rsa_files).clients

    assert clients.context is not None
    handshake(client(), clients.context)
    assert [text.split(":")[0] for text in clients.warnings] == ['client_tls_dheparams "auto"']


def test_the_dh_group_is_the_one_of_rfc_7919() -> None:
    with localcontext() as context:
        context.prec = 620
        e = int(Decimal(2) ** 1918 * Decimal(1).exp())
    prime = 2**2048 - 2**1984 + (e + 560316) * 2**64 - 1
    der = bytes.fromhex("308201080282010100") + prime.to_bytes(256) + bytes.fromhex("020102")

    assert (
        ssl.PEM_cert_to_DER_cert(tls._DH_PARAMETERS.decode().replace("DH PARAMETERS", "CERTIFICATE")) == der
    )


def test_both_sides_speak_the_protocol_of_postgresql(files: Values, verifying: Values) -> None:
    for ssl_object in handshake(connecting(verifying), accepting(files), "localhost"):
        assert ssl_object.selected_alpn_protocol() == ALPN_PROTOCOL == "postgresql"


def test_another_application_protocol_is_not_agreed_on(files: Values) -> None:
    connects = client()
    connects.set_alpn_protocols(["http/1.1"])

    assert handshake(connects, accepting(files))[1].selected_alpn_protocol() is None


def test_there_is_neither_compression_nor_renegotiation_nor_a_ticket(
    files: Values, verifying: Values
) -> None:
    accepts, connects = accepting(files), connecting(verifying)
    for context in (accepts, connects):
        assert context.options & ssl.OP_NO_COMPRESSION
        assert context.options & ssl.OP_NO_RENEGOTIATION
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    ends = [
        connects.wrap_bio(to_client, to_server, server_hostname="localhost"),
        accepts.wrap_bio(to_server, to_client, server_side=True),
    ]
    with pytest.raises(ssl.SSLWantReadError):
        ends[0].do_handshake()
    with pytest.raises(ssl.SSLWantReadError):
        ends[1].do_handshake()
    for end in ends:
        end.do_handshake()

    assert to_client.pending == 0
    assert ends[0].compression() is None


def test_a_connection_is_described_as_show_has_it(files: Values) -> None:
    connects = client(only=TLS12)
    connects.set_ciphers("ECDHE-ECDSA-AES256-GCM-SHA384")
    ends = handshake(connects, accepting(files))
    unconnected = client().wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO())

    assert [version_and_cipher(end) for end in ends] == ["TLSv1.2/ECDHE-ECDSA-AES256-GCM-SHA384"] * 2
    assert version_and_cipher(handshake(client(), accepting(files))[1]) == "TLSv1.3/TLS_AES_256_GCM_SHA384"
    assert version_and_cipher(unconnected).endswith("/-")
