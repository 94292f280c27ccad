import hashlib
import ssl
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID
from hypothesis import example, given
from hypothesis import strategies as st

from pooler.relay.certificates import (
    CertificateError,
    end_point_binding,
    peer_common_name,
    peer_subject,
    pem_certificates,
    read_certificate,
    server_hostname,
    server_name_matches,
)
from tests.support.certificates import Authority, Issued, KeyKind, Subject, handshake

ECDSA = Authority("ECDSA authority")
RSA = Authority("RSA authority", key="rsa")
CERTIFICATE = ECDSA.issue("db.example.com", names=["db.example.com"])

SHA256_WITH_RSA = bytes.fromhex("06092a864886f70d01010b")


# Reading ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["ecdsa", "rsa", "ed25519"])
@pytest.mark.parametrize("days", [-400, -1, 0, 29.5, 3650, 40 * 365])
def test_the_end_of_validity_is_read_from_either_form_of_time(key: KeyKind, days: float) -> None:
    issued = ECDSA.issue("db", key=key, days=days)

    assert read_certificate(issued.der).not_after == issued.certificate.not_valid_after_utc


@pytest.mark.parametrize(
    ("text", "not_after"),
    [
        (b"491231235959Z", datetime(2049, 12, 31, 23, 59, 59, tzinfo=UTC)),
        (b"500101000000Z", datetime(1950, 1, 1, tzinfo=UTC)),
    ],
)
def test_a_year_of_two_digits_is_from_1950_to_2049(text: bytes, not_after: datetime) -> None:
    assert read_certificate(with_end_of_validity(text)).not_after == not_after


@pytest.mark.parametrize("text", [b"491331235959Z", b"490230000000Z", b"491231246060Z", b"4912312359+00"])
def test_a_time_that_is_none_is_refused(text: bytes) -> None:
    with pytest.raises(CertificateError, match="time"):
        read_certificate(with_end_of_validity(text))


@pytest.mark.parametrize(
    ("subject", "text"),
    [
        ("db.example.com", "/CN=db.example.com"),
        ([], ""),
        (
            [
                (NameOID.COUNTRY_NAME, "QQ"),
                (NameOID.ORGANIZATION_NAME, "Org"),
                (NameOID.TITLE, "unknown to us"),
                (NameOID.COMMON_NAME, "db"),
            ],
            "/C=QQ/O=Org/CN=db",
        ),
        ("Zoë", "/CN=Zoë"),
        ("a\nb\0c\x1b", r"/CN=a\nb\x00c\x1b"),
    ],
)
def test_the_subject_is_fit_for_a_log(subject: str | Subject, text: str) -> None:
    assert read_certificate(ECDSA.issue(subject).der).subject == text


@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20), st.integers(-400, 9999))
def test_subject_and_time_are_what_another_reader_finds(name: str, days: int) -> None:
    issued = ECDSA.issue(name, days=days)
    subject, not_after = read_certificate(issued.der)

    assert not_after == issued.certificate.not_valid_after_utc
    assert subject.isprintable()
    if name.isprintable():
        assert subject == f"/CN={name}"


@given(st.binary(max_size=80))
@example(b"\x30\x80\x00\x00")
@example(b"\x30\x84\xff\xff\xff\xff")
@example(b"\x1f\x01\x00")
def test_bytes_that_are_no_certificate_are_refused(data: bytes) -> None:
    with pytest.raises(CertificateError):
        read_certificate(data)
    with pytest.raises(CertificateError):
        end_point_binding(data)


@given(st.data())
def test_a_damaged_certificate_is_read_or_refused(data: st.DataObject) -> None:
    der = bytearray(CERTIFICATE.der)
    for _ in range(data.draw(st.integers(1, 4))):
        der[data.draw(st.integers(0, len(der) - 1))] = data.draw(st.integers(0, 255))
    for read in (read_certificate, end_point_binding):
        with suppress(CertificateError):
            read(bytes(der))


@given(st.integers(0, len(CERTIFICATE.der) - 1))
def test_a_part_of_a_certificate_is_refused(length: int) -> None:
    with pytest.raises(CertificateError):
        end_point_binding(CERTIFICATE.der[:length])


@pytest.mark.parametrize(
    "der",
    [
        CERTIFICATE.der + b"\0",
        CERTIFICATE.der + CERTIFICATE.der,
        b"\x30\x83\x00" + CERTIFICATE.der[2:],
        b"\x31" + CERTIFICATE.der[1:],
    ],
)
def test_one_encoding_of_a_certificate_is_taken_and_no_other(der: bytes) -> None:
    assert CERTIFICATE.der[:2] == b"\x30\x82"
    with pytest.raises(CertificateError):
        end_point_binding(der)


def test_a_tag_of_several_bytes_is_refused() -> None:
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    key = CERTIFICATE.key.public_key().public_bytes(serialization.Encoding.DER, form)
    extensions = CERTIFICATE.der.index(key) + len(key)
    assert CERTIFICATE.der[extensions] == 0xA3

    with pytest.raises(CertificateError, match="several bytes"):
        read_certificate(CERTIFICATE.der[:extensions] + b"\xbf" + CERTIFICATE.der[extensions + 1 :])


def with_end_of_validity(text: bytes) -> bytes:
    """A certificate with another UTCTime in the place of notAfter; its signature is wrong then."""
    der = ECDSA.issue("db", days=0).der
    first = der.index(b"\x17\x0d")
    second = der.index(b"\x17\x0d", first + 1)
    return der[: second + 2] + text + der[second + 15 :]


# Channel binding -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("authority", [ECDSA, RSA])
@pytest.mark.parametrize("digest", [hashes.SHA224(), hashes.SHA256(), hashes.SHA384(), hashes.SHA512()])
def test_the_binding_takes_the_digest_of_the_signature(
    authority: Authority, digest: hashes.HashAlgorithm
) -> None:
    der = authority.issue("db", digest=digest).der

    assert end_point_binding(der) == hashlib.new(digest.name, der).digest()


@pytest.mark.parametrize("digest", [hashes.SHA256(), hashes.SHA384(), hashes.SHA512()])
def test_the_digest_of_a_pss_signature_is_among_its_parameters(digest: hashes.HashAlgorithm) -> None:
    der = RSA.issue("db", digest=digest, pss=True).der

    assert end_point_binding(der) == hashlib.new(digest.name, der).digest()


@pytest.mark.parametrize("last_of_oid", [b"\x04", b"\x05"], ids=["md5", "sha1"])
def test_digests_that_are_broken_give_way_to_sha256(last_of_oid: bytes) -> None:
    der = RSA.issue("db").der.replace(SHA256_WITH_RSA, SHA256_WITH_RSA[:-1] + last_of_oid)

    assert end_point_binding(der) == hashlib.sha256(der).digest()


def test_pss_without_parameters_for_the_digest_means_sha1_and_so_sha256() -> None:
    der = RSA.issue("db").der
    algorithm = b"\x30\x0d" + SHA256_WITH_RSA + b"\x05\x00"
    bare_pss = b"\x30\x0d" + SHA256_WITH_RSA[:-1] + b"\x0a" + b"\x30\x00"
    der = der.replace(algorithm, bare_pss)

    assert end_point_binding(der) == hashlib.sha256(der).digest()


@pytest.mark.parametrize(
    "issued",
    [Authority("Ed25519 authority", key="ed25519").issue("db"), RSA.issue("db", digest=hashes.SHA3_256())],
    ids=["ed25519", "sha3"],
)
def test_other_signatures_have_no_binding(issued: Issued) -> None:
    with pytest.raises(CertificateError, match="no digest"):
        end_point_binding(issued.der)


# PEM -------------------------------------------------------------------------------------------------------


def test_certificates_are_found_in_their_order_among_other_things() -> None:
    other = RSA.issue("other")
    data = b"\n".join(
        [b"Bag Attributes: none", CERTIFICATE.key_pem(), CERTIFICATE.pem, "Zoë".encode(), other.pem]
    )

    assert pem_certificates(data) == [CERTIFICATE.der, other.der]
    assert pem_certificates(data.replace(b"\n", b"\r\n")) == [CERTIFICATE.der, other.der]


@pytest.mark.parametrize("label", [b"X509 CERTIFICATE", b"TRUSTED CERTIFICATE"])
def test_older_labels_are_certificates_too(label: bytes, tmp_path: Path) -> None:
    pem = CERTIFICATE.pem.replace(b"CERTIFICATE", label)

    assert pem_certificates(pem) == [CERTIFICATE.der]
    # What ssl shows to a peer has to be what we think it shows.
    assert shown_certificate(tmp_path, pem + RSA.issue("other").pem) == CERTIFICATE.der


def test_trust_settings_behind_a_certificate_are_no_part_of_it(tmp_path: Path) -> None:
    text = ssl.DER_cert_to_PEM_cert(CERTIFICATE.der + b"\x30\x03\x0c\x01a")
    pem = text.replace("CERTIFICATE", "TRUSTED CERTIFICATE").encode()

    assert pem_certificates(pem) == [CERTIFICATE.der]
    assert shown_certificate(tmp_path, pem) == CERTIFICATE.der


def test_what_stands_behind_something_else_on_its_line_is_no_certificate(tmp_path: Path) -> None:
    quoted = b"> " + RSA.issue("other").pem

    assert pem_certificates(quoted) == []
    assert shown_certificate(tmp_path, quoted + CERTIFICATE.pem) == CERTIFICATE.der


@pytest.mark.parametrize("body", [b"%%%", b"AAA", b"", b"AAAA", b"MAA="])
def test_a_broken_certificate_is_refused(body: bytes) -> None:
    with pytest.raises(CertificateError):
        pem_certificates(b"-----BEGIN CERTIFICATE-----\n" + body + b"\n-----END CERTIFICATE-----\n")


@given(st.binary(max_size=60), st.binary(max_size=60))
def test_any_file_has_certificates_or_is_refused(before: bytes, within: bytes) -> None:
    data = before + b"\n-----BEGIN CERTIFICATE-----\n" + within + b"\n-----END CERTIFICATE-----"
    with suppress(CertificateError):
        pem_certificates(data)


def shown_certificate(directory: Path, pem: bytes) -> bytes | None:
    """What a peer gets to see of a server with this certificate file and the key of CERTIFICATE."""
    certificate, key = CERTIFICATE.write(directory, "shown")
    certificate.write_bytes(pem)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate, key)
    return handshake(unverified(), server)[0].getpeercert(binary_form=True)


def plain_server() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    CERTIFICATE.load_into(context)
    return context


def unverified() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


# Names -----------------------------------------------------------------------------------------------------


def for_names(common_name: str | None, *alternatives: tuple[str, str]) -> dict[str, Any]:
    """As getpeercert() returns it."""
    subject = () if common_name is None else ((("commonName", common_name),),)
    return {"subject": subject, "subjectAltName": alternatives}


@pytest.mark.parametrize(
    ("certificate", "host", "matches"),
    [
        (for_names("db.example.com"), "db.example.com", True),
        (for_names("DB.Example.com"), "db.exAMPle.com", True),
        (for_names("db.example.com"), "db.example.org", False),
        (for_names("db"), "db", True),
        (for_names("other", ("DNS", "db")), "db", True),
        (for_names("db", ("DNS", "other")), "db", False),
        (for_names("db", ("IP Address", "10.0.0.5")), "db", True),
        (for_names(None, ("DNS", "a"), ("DNS", "db")), "db", True),
        (for_names(None), "db", False),
        ({}, "db", False),
        (for_names("*.example.com"), "db.example.com", True),
        (for_names("*.example.com"), "a.db.example.com", False),
        (for_names("*.example.com"), "example.com", False),
        (for_names("*.example.com"), ".example.com", False),
        (for_names("*.com"), "example.com", False),
        (for_names("*"), "db", False),
        (for_names("d*.example.com"), "db.example.com", False),
        (for_names("db.*.com"), "db.example.com", False),
        (for_names("db\0.example.com"), "db", False),
        (for_names("dbK.example.com".replace("K", "\u212a")), "dbk.example.com", False),
        (for_names("10.0.0.5"), "10.0.0.5", True),
        (for_names("other", ("IP Address", "10.0.0.5")), "10.0.0.5", True),
        (for_names("10.0.0.5", ("IP Address", "10.0.0.6")), "10.0.0.5", False),
        (for_names("10.0.0.5", ("DNS", "db")), "10.0.0.5", True),
        (for_names(None, ("DNS", "10.0.0.5")), "10.0.0.5", False),
        (for_names("*.0.0.5"), "10.0.0.5", False),
        (for_names(None, ("IP Address", "FD00:0:0:0:0:0:0:5")), "fd00::5", True),
        (for_names(None, ("IP Address", "<invalid>")), "10.0.0.5", False),
    ],
)
def test_a_certificate_is_for_the_names_in_it(certificate: dict[str, Any], host: str, matches: bool) -> None:
    assert server_name_matches(certificate, host) is matches


@pytest.mark.parametrize(
    ("host", "name"),
    [
        ("db.example.com", "db.example.com"),
        ("my_db", "my_db"),
        ("10.0.0.5", "10.0.0.5"),
        ("fd00::5", "fd00::5"),
        ("bücher.example", "bücher.example"),
        ("", None),
        (".example.com", None),
        ("a..b", None),
        ("x" * 64, None),
        ("db\0", None),
        ("not:an:address", None),
        ("[::1]", None),
    ],
)
def test_a_host_is_a_name_for_ssl_if_ssl_can_take_it(host: str, name: str | None) -> None:
    assert server_hostname(host) == name


@given(st.text(max_size=70))
@example("fe80::1%eth0")
@example("1.2.3.4.")
@example("\u3002a")
def test_whatever_the_host_is_ssl_takes_the_name(host: str) -> None:
    unverified().wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_hostname=server_hostname(host))


def seen_by_server(issued: Issued) -> ssl.SSLObject:
    """The server's end of a connection from a client with that certificate."""
    client = unverified()
    issued.load_into(client)
    server = plain_server()
    server.load_verify_locations(cadata=ECDSA.issued.der)
    server.verify_mode = ssl.CERT_OPTIONAL
    return handshake(client, server)[1]


@pytest.mark.parametrize(
    ("subject", "names", "name"),
    [
        ("alice", [], "alice"),
        ("Zoë", [], "Zoë"),
        ([(NameOID.COMMON_NAME, "alice"), (NameOID.COMMON_NAME, "bob")], [], "alice"),
        ([(NameOID.ORGANIZATION_NAME, "alice")], [], None),
        ([], ["alice"], None),
        ("alice\0.example.com", [], None),
    ],
)
def test_the_user_of_a_certificate_is_its_first_common_name(
    subject: str | Subject, names: list[str], name: str | None
) -> None:
    ssl_object = seen_by_server(ECDSA.issue(subject, names=names))

    assert peer_common_name(ssl_object) == name


def test_the_subject_of_a_peer_is_there_for_the_log() -> None:
    subject = [(NameOID.ORGANIZATION_NAME, "Org"), (NameOID.COMMON_NAME, "alice\n")]

    assert peer_subject(seen_by_server(ECDSA.issue(subject))) == r"/O=Org/CN=alice\n"


def test_a_peer_without_certificate_has_no_names() -> None:
    ssl_object = handshake(unverified(), plain_server())[1]

    assert (peer_common_name(ssl_object), peer_subject(ssl_object)) == (None, None)


def test_a_certificate_that_was_not_verified_names_nobody() -> None:
    ssl_object = handshake(unverified(), plain_server())[0]

    assert peer_common_name(ssl_object) is None
    assert peer_subject(ssl_object) == "/CN=db.example.com"
