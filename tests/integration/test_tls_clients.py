"""TLS between clients and the pooler, beside a real PgBouncer where it has the feature too."""

from __future__ import annotations

import os
import shutil
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg
import psycopg
import pytest

from cli.demo.postgres import TemporaryPostgres
from cli.demo.throwaway import ThrowawayDirectory
from tests.conftest import PgBouncerFactory, PoolerFactory
from tests.integration.clients import DATABASE, Connection, value
from tests.support.bouncer import USER, BouncerProcess, PoolerProcess
from tests.support.certificates import Authority, Issued
from tests.support.rawclient import SSL_REQUEST, RawClient, message, startup_message

PASSWORD = "client-password"
MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


@dataclass(frozen=True)
class Files:
    """A pooler's certificate and key for 127.0.0.1 and localhost, the CA, and certificates of clients."""

    directory: Path
    ca: Authority
    certificate: Path
    key: Path
    ca_file: Path
    client: dict[str, str]
    stranger: dict[str, str]

    def settings(self, mode: str = "require", **more: object) -> dict[str, object]:
        """The settings of a pooler that uses them."""
        return {
            "client_tls_sslmode": mode,
            "client_tls_cert_file": self.certificate,
            "client_tls_key_file": self.key,
            "client_tls_ca_file": self.ca_file,
            **more,
        }

    def replace(self, issued: Issued) -> None:
        """Another certificate and key in the pooler's files."""
        self.certificate.write_bytes(issued.pem)
        self.key.write_bytes(issued.key_pem())


@pytest.fixture
def files() -> Iterator[Files]:
    """Fresh ones for each test, since some replace them."""
    with ThrowawayDirectory("pooldeck-tls-", None) as throwaway:
        directory = throwaway.path
        ca = Authority()
        certificate, key = ca.issue("pooler", names=["127.0.0.1", "localhost"]).write(directory, "pooler")
        if os.geteuid() == 0:
            shutil.chown(key, "nobody")
        yield Files(
            directory,
            ca,
            certificate,
            key,
            ca.write(directory),
            _client_files(ca.issue(USER), directory, "client"),
            _client_files(Authority("Other CA").issue(USER), directory, "stranger"),
        )


@pytest.fixture(params=["pooldeck", "pgbouncer"])
def start(
    pooler: PoolerFactory, pgbouncer: PgBouncerFactory, request: pytest.FixtureRequest
) -> PoolerFactory | PgBouncerFactory:
    return pooler if request.param == "pooldeck" else pgbouncer


@pytest.fixture
def process(start: PoolerFactory, files: Files) -> BouncerProcess:
    """TLS is required."""
    return start(settings=files.settings())


@pytest.fixture
def own(pooler: PoolerFactory, files: Files) -> PoolerProcess:
    """TLS is required, and logins are by SCRAM; only pooldeck."""
    settings = files.settings(auth_type="scram-sha-256")
    return pooler(settings=settings, userlist={USER: PASSWORD})


def _client_files(issued: Issued, directory: Path, name: str) -> dict[str, str]:
    certificate, key = issued.write(directory, name)
    return {"sslcert": str(certificate), "sslkey": str(key)}


def _outcome(process: BouncerProcess, **options: Any) -> str:
    """`clear` or `TLS`, else the last line of what libpq says."""
    try:
        with process.connect(DATABASE, **options) as connection:
            assert value(connection, "SELECT 1") == 1
            return "TLS" if connection.pgconn.ssl_in_use else "clear"
    except psycopg.OperationalError as error:
        return str(error).strip().splitlines()[-1]


def _tls(sock: socket.socket, files: Files, *protocols: str) -> ssl.SSLSocket:
    """A verified handshake over a connected socket."""
    context = ssl.create_default_context(cafile=str(files.ca_file))
    if protocols:
        context.set_alpn_protocols(protocols)
    return context.wrap_socket(sock, server_hostname="127.0.0.1")


def _encrypted(process: BouncerProcess, files: Files) -> RawClient:
    """A raw client behind SSLRequest and handshake, before its StartupMessage."""
    client = RawClient(process.host, process.port)
    client.send(SSL_REQUEST)
    assert client.read_bytes(1) == b"S"
    client.socket = _tls(client.socket, files)
    return client


def _direct(process: BouncerProcess, files: Files, *protocols: str) -> RawClient:
    """A raw client behind a handshake that it did not ask for."""
    client = RawClient(process.host, process.port)
    client.socket = _tls(client.socket, files, *protocols)
    return client


def _shown(client: RawClient) -> bytes | None:
    """The certificate that the pooler has shown."""
    assert isinstance(client.socket, ssl.SSLSocket)
    return client.socket.getpeercert(binary_form=True)


# Who is let in ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_what_each_mode_takes(
    start: PoolerFactory, files: Files, mode: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    # For the console, which the harness asks as soon as the process is there.
    monkeypatch.setenv("PGSSLCERT", files.client["sslcert"])
    monkeypatch.setenv("PGSSLKEY", files.client["sslkey"])
    process = start(settings=files.settings(mode))
    nothing = {"sslcert": "", "sslkey": ""}
    verify = {"sslmode": "verify-full", "sslrootcert": files.ca_file}
    outcomes = {
        "unix": _outcome(process, host=str(process.directory)),
        "clear": _outcome(process, sslmode="disable"),
        "require": _outcome(process, sslmode="require"),
        "verify": _outcome(process, **verify),
        "no certificate": _outcome(process, **verify, **nothing),
        "strange certificate": _outcome(process, **verify, **files.stranger),
    }
    assert outcomes.pop("unix") == "clear"
    if mode == "disable":
        assert outcomes.pop("clear") == "clear"
        assert all("server does not support SSL" in text for text in outcomes.values())
        return
    assert ("SSL required" in outcomes["clear"]) == (mode not in ("allow", "prefer"))
    assert (outcomes["clear"] == "clear") == (mode in ("allow", "prefer"))
    assert outcomes["require"] == outcomes["verify"] == "TLS"
    assert (outcomes["no certificate"] == "TLS") == (mode not in ("verify-ca", "verify-full"))
    assert outcomes["strange certificate"] not in ("clear", "TLS")


def test_a_client_that_verifies_refuses_the_wrong_ca(process: BouncerProcess, files: Files) -> None:
    other = Authority("Other CA").write(files.directory, "other")
    options = {"sslmode": "verify-full", "sslrootcert": other}
    assert "certificate verify failed" in _outcome(process, **options)
    assert _outcome(process, sslmode="verify-full", sslrootcert=files.ca_file) == "TLS"


def test_scram_is_bound_to_the_channel(own: PoolerProcess, files: Files) -> None:
    verify = {"sslmode": "verify-full", "sslrootcert": files.ca_file, "password": PASSWORD}
    for binding in ("require", "prefer", "disable"):
        assert _outcome(own, **verify, channel_binding=binding) == "TLS"
    wrong = {**verify, "password": "wrong"}
    assert "SASL authentication failed" in _outcome(own, **wrong, channel_binding="require")


def test_direct_tls_with_libpq(own: PoolerProcess, files: Files) -> None:
    options = {"sslmode": "verify-full", "sslrootcert": files.ca_file, "sslnegotiation": "direct"}
    assert _outcome(own, **options, password=PASSWORD, channel_binding="require") == "TLS"


@pytest.mark.asyncio
async def test_asyncpg(own: PoolerProcess, files: Files) -> None:
    context = ssl.create_default_context(cafile=str(files.ca_file))
    connection = await asyncpg.connect(own.dsn(DATABASE, password=PASSWORD), ssl=context)
    assert await connection.fetchval("SELECT length($1)", "x" * 3_000_000) == 3_000_000
    await connection.close()
    with pytest.raises(asyncpg.PostgresError, match="SSL required"):
        await asyncpg.connect(own.dsn(DATABASE, password=PASSWORD), ssl=False)


# Packets ---------------------------------------------------------------------------------------------------


def test_direct_tls_names_the_protocol(own: PoolerProcess, files: Files) -> None:
    with _direct(own, files, "h2", "postgresql") as client:
        client.send(startup_message(USER, DATABASE))
        assert client.read_message()[0] == "R"


@pytest.mark.parametrize("protocols", [(), ("h2",)], ids=["none", "another"])
def test_direct_tls_without_the_protocol(
    own: PoolerProcess, files: Files, protocols: tuple[str, ...]
) -> None:
    with _direct(own, files, *protocols) as client:
        assert "without ALPN protocol negotiation extension" in client.expect_error()["M"]
        assert client.expect_close() == b""


def test_direct_tls_without_tls(pooler: PoolerFactory, files: Files) -> None:
    process = pooler()
    with pytest.raises((ssl.SSLError, ConnectionError)):
        _direct(process, files, "postgresql")
    assert _outcome(process) == "clear"


def test_clear_bytes_behind_the_request(process: BouncerProcess) -> None:
    with RawClient(process.host, process.port) as client:
        client.send(SSL_REQUEST + startup_message(USER, DATABASE))
        assert client.expect_error()["M"] == "received unencrypted data after SSL request"
        assert client.expect_close() == b""


def test_second_request_inside_of_tls(process: BouncerProcess, files: Files) -> None:
    with _encrypted(process, files) as client:
        client.send(SSL_REQUEST)
        assert client.expect_close() == b""
    process.wait_for_log("SSL req inside SSL")


def test_unix_sockets_are_not_encrypted(process: BouncerProcess) -> None:
    with RawClient(str(process.directory), process.port) as client:
        client.send(SSL_REQUEST)
        assert client.read_bytes(1) == b"N"
        client.startup(USER, DATABASE)
        assert client.query("SELECT 1")[-1] == ("Z", b"I")


@pytest.mark.parametrize(
    "garbage", [b"x" * 4096, b"\x16\x03\x01\xff\xff" + b"\0" * 70000, startup_message(USER, DATABASE)]
)
def test_garbage_for_a_handshake(own: PoolerProcess, garbage: bytes) -> None:
    with RawClient(own.host, own.port) as client:
        client.send(SSL_REQUEST)
        assert client.read_bytes(1) == b"S"
        client.send(garbage)
        # An alert at most, which is a record of seven bytes.
        assert len(client.expect_close()) <= 7
    own.wait_for_log("TLS handshake failed")
    assert _outcome(own, password=PASSWORD) == "TLS"


def test_end_of_stream_in_a_handshake(own: PoolerProcess) -> None:
    with RawClient(own.host, own.port) as client:
        client.send(SSL_REQUEST)
        assert client.read_bytes(1) == b"S"
        client.socket.shutdown(socket.SHUT_WR)
        assert client.expect_close() == b""
    own.wait_for_log("TLS handshake failed: connection closed in the handshake")


def test_goodbye_of_tls_closes(own: PoolerProcess, files: Files) -> None:
    with _direct(own, files, "postgresql") as client:
        client.send(startup_message(USER, DATABASE))
        assert client.read_message()[0] == "R"
        assert isinstance(client.socket, ssl.SSLSocket)
        client.socket.unwrap().close()
    own.wait_for_log("closing because: client unexpected eof")


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01"], ids=["nothing", "half a record"])
def test_a_stalled_handshake_is_closed(start: PoolerFactory, files: Files, sent: bytes) -> None:
    process = start(settings=files.settings(client_login_timeout=1))
    with RawClient(process.host, process.port) as client:
        client.send(SSL_REQUEST)
        assert client.read_bytes(1) == b"S"
        client.send(sent)
        client.expect_close()
    process.wait_for_log("client_login_timeout")


def test_records_of_one_byte(pooler: PoolerFactory, files: Files) -> None:
    packets = startup_message(USER, DATABASE) + message("Q", b"SELECT 'a', 'b'\0") * 3
    with _encrypted(pooler(settings=files.settings()), files) as client:
        for byte in packets:
            client.send(bytes([byte]))
        client.read_until("Z")
        for _ in range(3):
            assert [kind for kind, _ in client.read_until("Z")] == ["T", "D", "C", "Z"]


def test_handshake_in_single_bytes(own: PoolerProcess, files: Files) -> None:
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    context = ssl.create_default_context(cafile=str(files.ca_file))
    context.set_alpn_protocols(["postgresql"])
    end = context.wrap_bio(incoming, outgoing, server_hostname="127.0.0.1")
    with RawClient(own.host, own.port) as client:
        client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

        def attempt(work: Callable[[], Any]) -> Any:
            while True:
                try:
                    return work()
                except ssl.SSLWantReadError:
                    pass
                finally:
                    for byte in outgoing.read():
                        client.send(bytes([byte]))
                incoming.write(client.socket.recv(1))

        attempt(end.do_handshake)
        attempt(lambda: end.write(startup_message(USER, DATABASE)))
        assert attempt(lambda: end.read(1)) == b"R"


# What the console says, and new files ----------------------------------------------------------------------


def test_show_clients_has_version_and_cipher(process: BouncerProcess) -> None:
    with process.connect(DATABASE, host=str(process.directory)), process.connect(DATABASE):
        shown = {row["tls"] for row in process.admin("SHOW CLIENTS") if row["user"] == USER}
    assert "" in shown
    (encrypted,) = shown - {""}
    assert encrypted.startswith("TLSv1.3/TLS_")


def test_older_versions(start: PoolerFactory, files: Files) -> None:
    process = start(settings=files.settings(client_tls_protocols="tlsv1.2"))
    assert "version" in _outcome(process, sslmode="require", ssl_min_protocol_version="TLSv1.3")
    with process.connect(DATABASE):
        (row,) = (row for row in process.admin("SHOW CLIENTS") if row["user"] == USER)
    assert row["tls"].startswith("TLSv1.2/ECDHE-")


def test_reload_takes_new_files(process: BouncerProcess, files: Files) -> None:
    with process.connect(DATABASE) as before, _encrypted(process, files) as first:
        fresh = files.ca.issue("new", names=["127.0.0.1"])
        files.replace(fresh)
        with _encrypted(process, files) as untouched:
            assert _shown(untouched) == _shown(first)
        process.admin("RELOAD")
        with _encrypted(process, files) as second:
            assert _shown(second) == fresh.der
        assert value(before, "SELECT 1") == 1
        first.startup(USER, DATABASE)
        assert first.query("SELECT 1")[-1] == ("Z", b"I")


def _without_key(files: Files) -> Path:
    files.key.unlink()
    return files.key


def _wrong_key(files: Files) -> Path:
    files.key.write_bytes(files.ca.issue("other").key_pem())
    return files.key


def _empty_ca(files: Files) -> Path:
    files.ca_file.write_text("nothing\n")
    return files.ca_file


@pytest.mark.parametrize("damage", [_without_key, _wrong_key, _empty_ca])
def test_reload_refuses_broken_files(
    own: PoolerProcess, files: Files, damage: Callable[[Files], Path]
) -> None:
    trusted = files.directory / "trusted.crt"
    shutil.copy(files.ca_file, trusted)
    options = {"sslmode": "verify-full", "sslrootcert": trusted, "password": PASSWORD}
    broken = damage(files)
    own.configure(auth_type="trust", pool_mode="statement")
    with pytest.raises(psycopg.Error) as refused:
        own.admin("RELOAD")
    assert str(broken) in str(refused.value)
    assert "PRIVATE" not in str(refused.value)
    # Nothing of that file has come into force.
    assert _outcome(own, **options) == "TLS"
    assert "SASL authentication failed" in _outcome(own, **{**options, "password": "wrong"})


def test_start_refuses_broken_files(files: Files, postgres: TemporaryPostgres) -> None:
    broken = _wrong_key(files)
    process = PoolerProcess({"*": f"host=127.0.0.1 port={postgres.port}"}, settings=files.settings())
    with pytest.raises(RuntimeError) as refused:
        process.start()
    assert f'client_tls_key_file "{broken}": the key does not belong to' in str(refused.value)
    assert "Traceback" not in str(refused.value)


def _notices(connection: Connection) -> list[str]:
    found: list[str] = []
    connection.add_notice_handler(lambda notice: found.append(notice.message_primary or ""))
    return found


def test_set_of_what_cannot_be_applied(own: PoolerProcess, files: Files) -> None:
    with own.connect("pgbouncer", user="admin", password="admin-password") as console:
        notices = _notices(console)
        console.execute("SET client_tls_key_file = '/nowhere/key.pem'")
        assert notices == ["TLS settings could not be applied, still using old configuration"]
        assert _outcome(own, password=PASSWORD) == "TLS"
        console.execute(f"SET client_tls_key_file = '{files.key}'".encode())
        console.execute("SET client_tls_sslmode = 'prefer'")
        assert len(notices) == 1
    assert _outcome(own, password=PASSWORD, sslmode="disable") == "clear"
    own.wait_for_log("/nowhere/key.pem")


def test_modes_change_on_reload(process: BouncerProcess) -> None:
    with process.connect(DATABASE) as encrypted:
        process.configure(client_tls_sslmode="disable")
        process.admin("RELOAD")
        assert "does not support SSL" in _outcome(process, sslmode="require")
        assert _outcome(process, sslmode="disable") == "clear"
        assert value(encrypted, "SELECT 1") == 1
        assert encrypted.pgconn.ssl_in_use
