"""Bad packets before login: nothing of them reaches a server, and their sender alone is refused."""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator

import pytest

from tests.integration.bad_input.conftest import running
from tests.integration.bad_input.packets import (
    assert_in_sync,
    assert_refused,
    cancel_request,
    packet,
    query,
    startup,
)
from tests.integration.bad_input.target import DATABASE, Target, wait_until
from tests.support.bouncer import USER, USER_PASSWORD
from tests.support.postgres import TemporaryPostgres
from tests.support.rawclient import GSSENC_REQUEST, PROTOCOL_3, SSL_REQUEST, message, startup_message

HELLO = startup_message(USER, DATABASE)

# What a TLS client sends first: a handshake record of TLS 1.0 with a ClientHello.
TLS_CLIENT_HELLO = bytes.fromhex("16030100c8010000c40303") + bytes(range(190))
HTTP_REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"


@pytest.mark.parametrize("length", [0, 3, 4, 7, 65_536, 2**24, 2**31 - 1, 2**31, 2**31 + 8, 2**32 - 1])
def test_startup_length_that_cannot_be_is_refused(target: Target, length: int) -> None:
    client = target.connect()
    client.send(struct.pack("!II", length, PROTOCOL_3) + HELLO[8:])
    assert_refused(client, "bad packet header")


@pytest.mark.parametrize("sent", [1, 3, 4, 7, 8, 9, len(HELLO) - 1])
@pytest.mark.parametrize("leave", ["close", "abort"])
def test_startup_packet_that_stops_short_is_forgotten_with_its_client(
    target: Target, sent: int, leave: str
) -> None:
    client = target.connect()
    client.send(HELLO[:sent])
    _wait_for_logins(target, 1)
    getattr(client, leave)()


@pytest.mark.parametrize(
    "garbage",
    [
        TLS_CLIENT_HELLO,
        HTTP_REQUEST,
        query("SELECT 1"),
        b"\xff" * 64,
        random.Random(1).randbytes(20_000).lstrip(b"\0p"),
    ],
    ids=["tls", "http", "query", "ones", "random"],
)
def test_garbage_instead_of_a_startup_packet_is_refused(target: Target, garbage: bytes) -> None:
    client = target.connect()
    client.send(garbage)
    assert b"bad packet header" in client.expect_close()


def test_tls_client_hello_after_the_answer_no_is_refused(target: Target) -> None:
    client = target.connect()
    client.send(SSL_REQUEST)
    assert client.read_bytes(1) == b"N"
    client.send(TLS_CLIENT_HELLO)
    assert_refused(client, "bad packet header")


@pytest.mark.parametrize("request_", [SSL_REQUEST, GSSENC_REQUEST], ids=["ssl", "gss"])
@pytest.mark.parametrize(
    "behind", [HELLO, b"\0", SSL_REQUEST, TLS_CLIENT_HELLO], ids=["startup", "nul", "ssl", "tls"]
)
def test_bytes_behind_an_encryption_request_are_refused(
    target: Target, request_: bytes, behind: bytes
) -> None:
    """They were sent in the belief that they would be encrypted (CVE-2021-3935)."""
    client = target.connect()
    client.send(request_ + behind)
    assert_refused(client, "received unencrypted data after")


@pytest.mark.parametrize("request_", [SSL_REQUEST, GSSENC_REQUEST], ids=["ssl", "gss"])
def test_second_encryption_request_does_not_get_in_the_way_of_others(target: Target, request_: bytes) -> None:
    client = target.connect()
    client.send(request_)
    assert client.read_bytes(1) == b"N"
    client.send(request_)
    answer = client.read_bytes(1)
    assert answer in (b"N", b"E")
    if answer == b"E":
        client.expect_close()


def test_each_encryption_request_once_and_then_a_startup_packet_is_fine(target: Target) -> None:
    client = target.connect()
    for request_ in (GSSENC_REQUEST, SSL_REQUEST):
        client.send(request_)
        assert client.read_bytes(1) == b"N"
    client.startup(USER, DATABASE)
    assert_in_sync(client)


@pytest.mark.parametrize(
    "parameters",
    [
        b"",
        b"user",
        b"user\0",
        b"user\0postgres",
        b"user\0postgres\0",
        b"user\0postgres\0database\0",
        b"user\0postgres\0database\0postgres",
        b"user\0postgres\0\0database\0postgres\0\0",
        b"user\0postgres\0\0\0",
        b"user\0postgres\0\0rest",
    ],
)
def test_startup_parameters_without_proper_end_are_refused(target: Target, parameters: bytes) -> None:
    client = target.connect()
    client.send(startup(parameters))
    assert_refused(client, "invalid startup packet layout: expected terminator as last byte")


@pytest.mark.parametrize("parameters", [b"\0", b"user\0\0\0", b"database\0postgres\0\0"])
def test_startup_without_a_user_is_refused(target: Target, parameters: bytes) -> None:
    client = target.connect()
    client.send(startup(parameters))
    assert_refused(client, "no username supplied")


@pytest.mark.parametrize("version", [0, 1, 2**16, 4 * 2**16, 80877105, 2**32 - 1])
def test_unknown_protocol_version_is_refused(target: Target, version: int) -> None:
    client = target.connect()
    client.send(startup(b"user\0postgres\0database\0postgres\0\0", version))
    assert_refused(client, "bad packet header")


def test_protocol_2_is_refused(target: Target) -> None:
    client = target.connect()
    client.send(startup(bytes(288), 2 * 2**16))
    assert_refused(client, "old V2 protocol not supported")


def test_newest_protocol_3_with_many_extensions_is_negotiated_down(target: Target) -> None:
    names = [f"_pq_.extension{number}" for number in range(1500)]
    extensions = "".join(f"{name}\0on\0" for name in names).encode()
    client = target.connect()
    client.send(startup(extensions + b"user\0postgres\0database\0postgres\0\0", PROTOCOL_3 + 9999))
    kind, body = client.read_message()
    assert kind == "v"
    assert body[8:].decode().split("\0")[:-1] == names
    client.read_until("Z")
    assert_in_sync(client)


@pytest.mark.parametrize("kind", ["p", "Q", "X", "S", "d", "\1"])
def test_message_before_the_startup_packet_is_refused(target: Target, kind: str) -> None:
    client = target.connect()
    client.send(message(kind, b"SELECT 1\0"))
    left = client.expect_close()
    assert left.startswith(b"E")
    assert b"pkt before startup packet" in left or b"bad packet header" in left


@pytest.mark.parametrize(
    "name",
    [
        b"\xff\xfe",
        b"\xc3\x28",
        b"caf\xe9",
        b"\xed\xa0\x80",
        b"line\nbreak",
        b"\x1b[2J",
        b"quote\"'\\",
        b"a\tb",
    ],
)
@pytest.mark.parametrize("where", ["user", "database"])
def test_odd_names_are_names_like_any_other(target: Target, name: bytes, where: str) -> None:
    """Whatever is not UTF-8 goes to the server as it came, and comes back in its complaint."""
    names = {"user": b"postgres", "database": b"postgres", where: name}
    lines = len(target.pooler.log_text().splitlines())
    client = target.connect()
    pairs = (key.encode() + b"\0" + value + b"\0" for key, value in names.items())
    client.send(startup(b"".join(pairs) + b"\0"))
    assert b"FATAL" in client.expect_close()
    for line in target.pooler.log_text().splitlines()[lines:]:
        assert "break" not in line or "line" in line, "a name must not start a line of the log"


@pytest.mark.parametrize("length", [128, 1000, 60_000])
def test_long_user_name_is_refused(target: Target, length: int) -> None:
    client = target.connect()
    client.send(startup_message("u" * length, DATABASE))
    assert b"username too long" in client.expect_close()


@pytest.mark.parametrize("length", [64, 128, 1000, 60_000])
def test_long_database_name_is_refused_and_not_remembered(target: Target, length: int) -> None:
    """CVE-2012-4575: what a configuration may not say, the network may say all the same."""
    client = target.connect()
    client.send(startup_message(USER, "d" * length))
    assert b"FATAL" in client.expect_close()
    assert not [row for row in target.show("DATABASES") if len(row["name"]) >= length]


@pytest.mark.parametrize("name", ["*", "**", ";", "[pgbouncer]", "%include x"])
def test_database_name_that_means_something_in_the_ini_file_is_only_a_name(target: Target, name: str) -> None:
    client = target.connect()
    client.send(startup_message(USER, name))
    assert b"FATAL" in client.expect_close()


@pytest.mark.parametrize(
    "options",
    [
        "-c =",
        "-c=",
        "-c",
        "--",
        "--=",
        "-",
        "=",
        "-c a",
        "\\",
        "-c \\",
        "-c \\ \\",
        "x" * 50_000,
        "-c" * 20_000,
    ],
)
def test_broken_options_are_refused(target: Target, options: str) -> None:
    """CVE-2026-107349: `-c =` held a pooler for ever, before authentication."""
    client = target.connect()
    client.send(startup_message(USER, DATABASE, options=options))
    assert_refused(client, "unsupported options startup parameter")


@pytest.mark.parametrize(
    "value", ["x'; CREATE TABLE from_startup(); --", "\\'; SELECT 1/0; --", "é' || '", "$$"]
)
def test_parameter_value_is_never_sql(target: Target, value: str) -> None:
    client = target.connect()
    client.startup(USER, DATABASE, application_name=value)
    answer = client.query("SELECT current_setting('application_name'), to_regclass('from_startup')")
    assert dict(answer)["D"].endswith(b"\xff\xff\xff\xff"), "the table is there"
    assert_in_sync(client)


@pytest.mark.parametrize("parameter", ["TimeZone", "DateStyle", "client_encoding"])
def test_parameter_value_that_the_server_refuses_costs_only_its_client(
    target: Target, parameter: str
) -> None:
    client = target.connect()
    client.startup(USER, DATABASE, **{parameter: "no\nsuch value"})
    client.send(query("SELECT 1"))
    assert b"invalid server parameter" in client.expect_close()


def test_parameter_with_a_forged_log_line_is_one_line(target: Target) -> None:
    client = target.connect()
    client.send(startup_message(USER, DATABASE, **{"x\n2026 LOG forged": "y\n2026 LOG forged"}))
    assert b"unsupported startup parameter" in client.expect_close()
    assert not [line for line in target.pooler.log_text().splitlines() if line.startswith("2026 LOG forged")]


def test_startup_packet_in_single_bytes_is_understood(target: Target) -> None:
    client = target.connect()
    for byte in _bytes_of(HELLO):
        client.send(byte)
    client.read_until("Z")
    assert_in_sync(client)


def test_queries_sent_ahead_of_the_welcome_are_answered(target: Target) -> None:
    client = target.connect()
    client.send(HELLO + query("SELECT 'ahead'"))
    client.read_until("Z")
    answer = client.read_until("Z")
    assert [kind for kind, _ in answer] == ["T", "D", "C", "Z"]


@pytest.mark.parametrize("leave", ["close", "abort"])
@pytest.mark.parametrize("unix", [False, True], ids=["tcp", "unix"])
def test_clients_that_hang_up_at_once_leave_nothing(target: Target, unix: bool, leave: str) -> None:
    for _ in range(50):
        getattr(target.connect(str(target.pooler.directory) if unix else None), leave)()


def test_half_open_logins_are_closed_in_time(postgres: TemporaryPostgres) -> None:
    settings = {"auth_type": "md5", "client_login_timeout": 1, "max_client_conn": 200}
    sent = [b"\0", HELLO[:20], SSL_REQUEST, HELLO, HELLO + message("p", b"md5")[:6]]
    with running({"*": f"host=127.0.0.1 port={postgres.port}"}, USER_PASSWORD, settings=settings) as target:
        clients = [target.connect() for _ in range(100)]
        for number, client in enumerate(clients):
            client.send(sent[number % len(sent)])
        for client in clients:
            assert b"client_login_timeout" in client.expect_close()
        target.assert_unharmed()


def test_refused_clients_leave_no_memory(target: Target) -> None:
    before = 0
    for number in range(1200):
        with target.connect() as client:
            client.send(startup_message(USER, DATABASE, **{f"unknown{number}": "x" * 20_000}))
            client.expect_close()
        if number == 200:
            before = target.resident_bytes()
    assert target.resident_bytes() - before < 4 * 1024 * 1024


@pytest.mark.parametrize("key", [b"", b"\0", b"1234567", b"123456789", b"x" * 300], ids=len)
def test_cancel_key_of_the_wrong_length_is_ignored(target: Target, key: bytes) -> None:
    client = target.connect()
    client.send(cancel_request(key))
    assert client.expect_close() == b""


def test_random_packets_are_survived(target: Target) -> None:
    """Well-formed starts with random ends, from a fixed seed: whatever happens, happens to them alone."""
    source = random.Random(20261120)
    for _ in range(100):
        cut = source.randrange(len(HELLO))
        client = target.connect()
        client.send(HELLO[:cut] + source.randbytes(source.randrange(200)))
        client.abort()


def test_every_startup_code_beside_the_known_ones_is_refused(target: Target) -> None:
    for code in range(80877090, 80877102):
        client = target.connect()
        client.send(packet(struct.pack("!I", code)))
        assert_refused(client, "bad packet header")


def _wait_for_logins(target: Target, number: int) -> None:
    wait_until(
        lambda: {row["list"]: row["items"] for row in target.show("LISTS")}["login_clients"] == str(number),
        "the client is seen",
    )


def _bytes_of(data: bytes) -> Iterator[bytes]:
    return (data[position : position + 1] for position in range(len(data)))
