"""TLS between the pooler and servers, beside a real PgBouncer where it has the feature too."""

from __future__ import annotations

import io
import os
import re
import shutil
import signal
import ssl
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg
import pytest
from psycopg.rows import tuple_row

from cli.demo.throwaway import ThrowawayDirectory, server_account
from tests.conftest import PgBouncerFactory, PoolerFactory
from tests.integration.clients import DATABASE, Background, backend_pid, value, wait_until
from tests.support.bouncer import USER, BouncerProcess, RealPgBouncer
from tests.support.certificates import Authority, Issued
from tests.support.fakeserver import Behaviour, FakeConnection, FakeServer, well_behaved
from tests.support.postgres import PostgresMissing, TemporaryPostgres
from tests.support.rawclient import SSL_REQUEST, RawClient, startup_message
from tests.support.require import missing

LARGE = 5_000_000
HANDSHAKE_FAILED = "TLS handshake failed|TLS handshake error|TLS startup failed"
MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
SERVER_HBA = """
hostssl all only_cert all cert
hostssl all only_tls all trust
hostnossl all only_tls all reject
host all all all trust
"""
IS_ENCRYPTED = "SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()"


@dataclass(frozen=True)
class Server:
    """A PostgreSQL with TLS whose certificate is for localhost alone."""

    postgres: TemporaryPostgres
    directory: Path
    ca: Authority
    ca_file: Path
    other_ca_file: Path

    def database(self, host: str = "localhost", **more: str) -> dict[str, str]:
        """A pooler's databases: every name leads here."""
        words = "".join(f" {name}={text}" for name, text in more.items())
        return {"*": f"host={host} port={self.postgres.port}{words}"}

    def settings(self, mode: str, **more: object) -> dict[str, object]:
        """Servers' TLS; a failure is tried again soon."""
        return {
            "server_tls_sslmode": mode,
            "server_tls_ca_file": self.ca_file,
            "server_login_retry": 1,
            **more,
        }


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with ThrowawayDirectory("pooldeck-tls-", None) as throwaway:
        directory = throwaway.path
        ca = Authority()
        certificate, key = ca.issue("localhost", names=["localhost"]).write(directory, "server")
        account = server_account()
        if account is not None:
            shutil.chown(key, account.name)
        ca_file = ca.write(directory)
        other = Authority("Other CA").write(directory, "other")
        names = {"cert": certificate, "key": key, "ca": ca_file}
        settings = {"ssl": "on", **{f"ssl_{name}_file": str(path) for name, path in names.items()}}
        try:
            postgres = TemporaryPostgres(hba=SERVER_HBA, settings=settings)
        except PostgresMissing:
            missing("a PostgreSQL server")
        with postgres:
            postgres.sql("CREATE ROLE only_cert LOGIN; CREATE ROLE only_tls LOGIN")
            yield Server(postgres, directory, ca, ca_file, other)


@pytest.fixture(params=["pooldeck", "pgbouncer"])
def start(
    pooler: PoolerFactory, pgbouncer: PgBouncerFactory, request: pytest.FixtureRequest
) -> PoolerFactory | PgBouncerFactory:
    return pooler if request.param == "pooldeck" else pgbouncer


def _for_the_pooler(issued: Issued, directory: Path, name: str) -> tuple[Path, Path]:
    """Certificate and key in files that the pooler may read."""
    certificate, key = issued.write(directory, name)
    if os.geteuid() == 0:
        shutil.chown(key, "nobody")
    return certificate, key


def _seen(process: BouncerProcess, database: str = DATABASE) -> str:
    """`clear` or `TLS`, as the server sees it."""
    with process.connect(database) as connection:
        return "TLS" if value(connection, IS_ENCRYPTED) else "clear"


def _refused(process: BouncerProcess, pattern: str, database: str = DATABASE) -> None:
    """Returns once the log says anew of a server for this database what the pattern says."""
    line = re.compile(rf"(?:S-[^ ]* {database}/[^ ]* .*|WARNING )(?:{pattern})")
    before = len(process.log_text())
    with RawClient(process.host, process.port) as client:
        client.send(startup_message(USER, database))
        wait_until(lambda: line.search(process.log_text(), before), f"{pattern} in the log")


def _fake_database(fake: FakeServer) -> dict[str, str]:
    return {"*": f"host=127.0.0.1 port={fake.port}"}


def _encrypting(issued: Issued, names: list[str | None] | None = None) -> Behaviour:
    """A server with this certificate; appends to `names` whom clients ask for (SNI)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued.load_into(context)
    if names is not None:
        context.sni_callback = lambda _socket, name, _context: names.append(name)

    def behave(connection: FakeConnection) -> None:
        assert connection.read_bytes(8) == SSL_REQUEST
        connection.send(b"S")
        try:
            encrypted = context.wrap_socket(connection.socket, server_side=True)
        except (ssl.SSLError, OSError):
            return
        with encrypted:
            well_behaved(FakeConnection(encrypted))

    return behave


def _answering(answer: bytes) -> Behaviour:
    """A server that says this to the SSLRequest and then lets everybody in."""

    def behave(connection: FakeConnection) -> None:
        assert connection.read_bytes(8) == SSL_REQUEST
        connection.send(answer)
        connection.until_closed()

    return behave


@contextmanager
def _fakes(*behaviours: Behaviour) -> Iterator[list[FakeServer]]:
    """A server for each behaviour, which goes on in that way."""
    with ExitStack() as stack:
        servers = [stack.enter_context(FakeServer()) for _ in behaviours]
        for server, behaviour in zip(servers, behaviours, strict=True):
            server.script(*[behaviour] * 50)
        yield servers
    assert [server.errors for server in servers] == [[]] * len(servers)


# Modes -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
def test_what_each_mode_makes_of_servers(
    start: PoolerFactory, server: Server, postgres: TemporaryPostgres, mode: str
) -> None:
    databases = {
        "right": f"dbname=postgres {server.database()['*']}",
        "address": f"dbname=postgres {server.database('127.0.0.1')['*']}",
        "unix": f"dbname=postgres {server.database(str(server.postgres.socket_dir))['*']}",
        "without": f"dbname=postgres host=127.0.0.1 port={postgres.port}",
    }
    process = start(databases, settings=server.settings(mode))
    encrypted = "clear" if mode == "disable" else "TLS"
    assert _seen(process, "unix") == "clear"
    assert _seen(process, "right") == encrypted
    if mode == "verify-full":
        _refused(process, HANDSHAKE_FAILED, "address")
    else:
        assert _seen(process, "address") == encrypted
    if mode in ("disable", "allow", "prefer"):
        assert _seen(process, "without") == "clear"
    else:
        _refused(process, "closing because: server refused SSL", "without")


@pytest.mark.parametrize("mode", ["prefer", "verify-ca", "verify-full"])
def test_certificate_of_another_ca(start: PoolerFactory, server: Server, mode: str) -> None:
    settings = server.settings(mode, server_tls_ca_file=server.other_ca_file)
    process = start(server.database(), settings=settings)
    if mode == "prefer":
        assert _seen(process) == "TLS"
    else:
        # Never in clear instead.
        _refused(process, HANDSHAKE_FAILED)


def test_log_says_why_a_certificate_is_refused(pooler: PoolerFactory, server: Server) -> None:
    process = pooler(server.database("127.0.0.1"), settings=server.settings("verify-full"))
    _refused(process, 'the certificate of the server is not for "127.0.0.1"')
    _refused(process, "closing because: server TLS handshake failed")
    process.configure(server_tls_sslmode="verify-ca", server_tls_ca_file=server.other_ca_file)
    process.admin("RELOAD")
    _refused(process, "TLS handshake failed: certificate verify failed")


def test_a_waiting_client_is_told(start: PoolerFactory, server: Server, postgres: TemporaryPostgres) -> None:
    databases = {"*": f"host=127.0.0.1 port={postgres.port}"}
    process = start(databases, settings=server.settings("require", query_wait_timeout=1))
    with pytest.raises(psycopg.OperationalError, match="query_wait_timeout"):
        process.connect(DATABASE)


# Names in certificates -------------------------------------------------------------------------------------

GOOD, BAD, GOOD_FOR_PGBOUNCER = range(3)
NAMES = [
    # Host, common name, alternative names, whether they are good for verify-full. Libpq and we look at the
    # common name only where there is no alternative name of the kind.
    ("127.0.0.1", "db", ["127.0.0.1"], GOOD),
    ("127.0.0.1", "127.0.0.1", [], GOOD),
    ("127.0.0.1", "127.0.0.1", ["127.0.0.2"], GOOD_FOR_PGBOUNCER),
    ("127.0.0.1", "*.0.0.1", [], BAD),
    ("localhost", "localhost", [], GOOD),
    ("localhost", "localhost", ["db.example"], GOOD_FOR_PGBOUNCER),
    ("localhost", "db", ["db.example", "LOCALHOST"], GOOD),
    ("localhost", "*", [], BAD),
    ("localhost", "db", ["*.localhost", "local*", "127.0.0.1"], BAD),
]


def test_names_that_verify_full_takes(start: PoolerFactory, server: Server) -> None:
    asked: list[list[str | None]] = [[] for _ in NAMES]
    behaviours = [
        _encrypting(server.ca.issue(subject, names=names), names_asked)
        for (_, subject, names, _), names_asked in zip(NAMES, asked, strict=True)
    ]
    with _fakes(*behaviours) as fakes:
        databases = {
            f"db{number}": f"host={host} port={fake.port}"
            for number, ((host, *_), fake) in enumerate(zip(NAMES, fakes, strict=True))
        }
        process = start(databases, settings=server.settings("verify-full"))
        good = (GOOD, GOOD_FOR_PGBOUNCER) if isinstance(process, RealPgBouncer) else (GOOD,)
        for number, (*_, fits) in enumerate(NAMES):
            if fits not in good:
                _refused(process, HANDSHAKE_FAILED, f"db{number}")
                continue
            with process.connect(f"db{number}") as connection:
                assert value(connection, "SELECT 'text'") == "text"
    # An address is not sent as SNI.
    assert [set(found) for found in asked] == [
        {None} if host == "127.0.0.1" else {host} for host, *_ in NAMES
    ]


def test_each_host_of_a_list_is_verified_by_its_own_name(pooler: PoolerFactory, server: Server) -> None:
    settings = server.settings("verify-full", server_login_retry=0)
    process = pooler(server.database("127.0.0.1,localhost"), settings=settings)
    with process.connect(DATABASE) as one, process.connect(DATABASE) as two:
        assert value(one, IS_ENCRYPTED)
        assert value(two, IS_ENCRYPTED)
    process.wait_for_log('the certificate of the server is not for "127.0.0.1"')


def test_own_certificate_is_shown(start: PoolerFactory, server: Server) -> None:
    certificate, key = server.directory / "own.crt", server.directory / "own.key"
    if not key.exists():
        _for_the_pooler(server.ca.issue("only_cert"), server.directory, "own")
    files = {"server_tls_cert_file": certificate, "server_tls_key_file": key}
    process = start(server.database(user="only_cert"), settings=server.settings("verify-full", **files))
    assert _seen(process) == "TLS"


# Answers to the SSLRequest ---------------------------------------------------------------------------------

LOGGED_IN = b"R\0\0\0\x08\0\0\0\0"
ANSWERS = [
    (b"S" + LOGGED_IN, "received unencrypted data after SSL response"),
    (b"N" + LOGGED_IN, "received unencrypted data after SSL response"),
    (b"E\0\0\0\x10SFATAL\0\0", "bad sslreq answer"),
    (b"X", "bad sslreq answer"),
]


@pytest.mark.parametrize("mode", ["prefer", "require"])
def test_other_answers_are_refused(start: PoolerFactory, server: Server, mode: str) -> None:
    with _fakes(*(_answering(answer) for answer, _ in ANSWERS)) as fakes:
        databases = {f"db{number}": f"host=127.0.0.1 port={fake.port}" for number, fake in enumerate(fakes)}
        process = start(databases, settings=server.settings(mode))
        for number, (_, reason) in enumerate(ANSWERS):
            _refused(process, f"closing because: {reason}", f"db{number}")
            fakes[number].connection(0).wait_closed()


def test_garbage_for_a_handshake(start: PoolerFactory, server: Server) -> None:
    def garbage(connection: FakeConnection) -> None:
        assert connection.read_bytes(8) == SSL_REQUEST
        connection.send(b"S")
        connection.read_bytes(1)
        connection.send(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        connection.until_closed()

    with _fakes(garbage) as (fake,):
        process = start(_fake_database(fake), settings=server.settings("prefer"))
        _refused(process, HANDSHAKE_FAILED)


@pytest.mark.parametrize("answer", [b"", b"S"], ids=["request", "handshake"])
def test_a_server_that_stalls_is_given_up(start: PoolerFactory, server: Server, answer: bytes) -> None:
    def stall(connection: FakeConnection) -> None:
        connection.read_bytes(8)
        connection.send(answer)
        connection.until_closed()

    with _fakes(stall) as (fake,):
        process = start(_fake_database(fake), settings=server.settings("require", server_connect_timeout=1))
        _refused(process, "closing because: connect timeout")
        fake.connection(0).wait_closed()


# Data ------------------------------------------------------------------------------------------------------


@pytest.fixture
def both(start: PoolerFactory, server: Server) -> BouncerProcess:
    """TLS on both sides."""
    certificate, key = server.directory / "pooler.crt", server.directory / "pooler.key"
    if not key.exists():
        _for_the_pooler(server.ca.issue("pooler", names=["127.0.0.1"]), server.directory, "pooler")
    files = {"client_tls_cert_file": certificate, "client_tls_key_file": key}
    return start(
        server.database(), settings=server.settings("verify-full", client_tls_sslmode="require", **files)
    )


def test_large_parameters_and_results(both: BouncerProcess) -> None:
    text = os.urandom(LARGE // 2).hex()
    with both.connect(DATABASE) as connection, psycopg.Cursor(connection, row_factory=tuple_row) as cursor:
        for _ in range(2):
            (found,) = cursor.execute("SELECT %s || '.'", (text,)).fetchone() or ("",)
            assert found == text + "."
        rows = cursor.execute("SELECT repeat(i::text, 100) FROM generate_series(1, 20000) i").fetchall()
        assert [row[0] for row in rows] == [str(i) * 100 for i in range(1, 20001)]


def test_copy_both_ways(both: BouncerProcess) -> None:
    lines = b"".join(b"%d\t%s\n" % (i, b"x" * 100) for i in range(40_000))
    with both.connect(DATABASE) as connection:
        connection.execute("CREATE TEMP TABLE items (n int, text text)")
        with connection.cursor().copy("COPY items FROM STDIN") as copy:
            source = io.BytesIO(lines)
            while chunk := source.read(70_001):
                copy.write(chunk)
        with connection.cursor().copy("COPY items TO STDOUT") as copy:
            assert b"".join(bytes(chunk) for chunk in copy) == lines


def test_a_client_that_reads_late_gets_everything(both: BouncerProcess) -> None:
    with both.connect(DATABASE) as connection:
        connection.pgconn.send_query(b"SELECT repeat('x', 1000) FROM generate_series(1, 20000)")
        # Others go on while nobody reads that.
        assert _seen(both) == "TLS"
        result = connection.pgconn.get_result()
        assert result is not None
        assert result.ntuples == 20_000
        assert connection.pgconn.get_result() is None


def test_cancel(both: BouncerProcess, server: Server) -> None:
    with both.connect(DATABASE) as connection:
        pid = backend_pid(connection)
        sleeping = Background(lambda: connection.execute("SELECT pg_sleep(60)"))
        query = f"SELECT 1 FROM pg_stat_activity WHERE pid = {pid} AND wait_event = 'PgSleep'"
        wait_until(lambda: server.postgres.sql(query), "the query runs")
        connection.cancel_safe(timeout=10)
        with pytest.raises(psycopg.errors.QueryCanceled):
            sleeping.result()
        assert value(connection, IS_ENCRYPTED)


def test_show_servers_has_version_and_cipher(both: BouncerProcess) -> None:
    with both.connect(DATABASE) as connection:
        assert value(connection, IS_ENCRYPTED)
        (row,) = both.admin("SHOW SERVERS")
        assert row["tls"].startswith("TLSv1.3/TLS_")


def test_show_servers_without_tls(start: PoolerFactory, server: Server) -> None:
    process = start(server.database(), settings=server.settings("disable"))
    with process.connect(DATABASE) as connection:
        assert not value(connection, IS_ENCRYPTED)
        (row,) = process.admin("SHOW SERVERS")
        assert row["tls"] == ""


# New settings and files ------------------------------------------------------------------------------------


def _pid(process: BouncerProcess) -> int:
    with process.connect(DATABASE) as connection:
        return backend_pid(connection)


def test_servers_are_recycled_only_for_their_own_settings(pooler: PoolerFactory, server: Server) -> None:
    process = pooler(server.database(), settings=server.settings("prefer", pool_mode="transaction"))
    first = _pid(process)
    process.admin("RELOAD")
    process.configure(client_tls_ciphers="HIGH", max_client_conn=90)
    process.admin("RELOAD")
    assert _pid(process) == first
    with process.connect(DATABASE) as connection, connection.transaction():
        assert backend_pid(connection) == first
        process.configure(server_tls_sslmode="verify-full")
        process.admin("RELOAD")
        # What is under way goes on.
        assert backend_pid(connection) == first
    assert _pid(process) != first
    assert _seen(process) == "TLS"
    process.configure(server_tls_sslmode="disable")
    process.admin("RELOAD")
    assert _seen(process) == "clear"


def test_servers_are_recycled_for_new_files(pooler: PoolerFactory, server: Server) -> None:
    ca_file = server.directory / "changing.crt"
    shutil.copy(server.ca_file, ca_file)
    settings = server.settings("verify-ca", server_tls_ca_file=ca_file, pool_mode="transaction")
    process = pooler(server.database(), settings=settings)
    first = _pid(process)
    ca_file.write_bytes(ca_file.read_bytes() + server.other_ca_file.read_bytes())
    process.admin("RELOAD")
    assert _pid(process) != first


def test_servers_stay_when_files_are_written_anew_as_they_were(pooler: PoolerFactory, server: Server) -> None:
    ca_file = server.directory / "same.crt"
    shutil.copy(server.ca_file, ca_file)
    settings = server.settings("verify-ca", server_tls_ca_file=ca_file, pool_mode="transaction")
    process = pooler(server.database(), settings=settings)
    first = _pid(process)
    ca_file.write_bytes(server.ca_file.read_bytes())
    process.admin("RELOAD")
    assert _pid(process) == first


def test_a_sighup_with_a_broken_file_is_logged_and_changes_nothing(
    pooler: PoolerFactory, server: Server
) -> None:
    ca_file = server.directory / "breaking.crt"
    shutil.copy(server.ca_file, ca_file)
    settings = server.settings("verify-full", server_tls_ca_file=ca_file, default_pool_size=1)
    process = pooler(server.database(), settings=settings)
    first = _pid(process)
    ca_file.write_text("nothing\n")
    process.configure(default_pool_size=2)
    process.signal(signal.SIGHUP)
    process.wait_for_log(f'server_tls_ca_file "{ca_file}": holds no certificate in PEM form')
    assert _pid(process) == first
    # A second server: the old files are still good for that.
    with process.connect(DATABASE) as connection:
        process.admin("RECONNECT")
        assert value(connection, IS_ENCRYPTED)
    assert _seen(process) == "TLS"
    assert {row["key"]: row["value"] for row in process.admin("SHOW CONFIG")}["default_pool_size"] == "1"


def test_direct_tls_takes_postgresql_17(pooler: PoolerFactory, server: Server) -> None:
    settings = server.settings("verify-full", server_tls_sslnegotiation="direct")
    process = pooler(server.database(), settings=settings)
    ((version,),) = server.postgres.sql("SHOW server_version_num")
    if int(version) >= 170000:
        assert _seen(process) == "TLS"
    else:
        _refused(process, HANDSHAKE_FAILED)


@pytest.mark.parametrize("setting", ["server_tls_ca_file", "server_tls_key_file"])
def test_reload_refuses_broken_files(pooler: PoolerFactory, server: Server, setting: str) -> None:
    certificate, key = _for_the_pooler(server.ca.issue("pooldeck"), server.directory, f"for_{setting}")
    files = {"server_tls_cert_file": certificate, "server_tls_key_file": key}
    process = pooler(server.database(), settings=server.settings("verify-full", **files))
    first = _pid(process)
    broken = server.directory / f"{setting}.broken"
    broken.write_text("-----BEGIN NOTHING-----\n")
    process.configure(**{setting: broken})
    with pytest.raises(psycopg.Error, match=f'{setting} "{broken}"'):
        process.admin("RELOAD")
    assert _pid(process) == first
    assert {row["key"]: row["value"] for row in process.admin("SHOW CONFIG")}[setting] != str(broken)
