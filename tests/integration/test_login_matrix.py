"""Every way in at the client's side with every way in at the server's, by three drivers over every transport.

Each case has a user of its own, so that a server logs in anew for it in every database, and nothing is known
of the user but what the user list and the client say. What holds for us holds for PgBouncer.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import pwd
import shutil
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

import asyncpg
import psycopg
import pytest

from cli.demo.postgres import TemporaryPostgres
from cli.demo.throwaway import ThrowawayDirectory, server_account
from tests.integration.clients import run_program
from tests.support.bouncer import (
    ADMIN,
    ADMIN_PASSWORD,
    BouncerProcess,
    PoolerProcess,
    RealPgBouncer,
    find_pgbouncer,
)
from tests.support.certificates import Authority
from tests.support.postgres import PostgresMissing
from tests.support.require import missing

pytestmark = pytest.mark.xdist_group("login_matrix")

PASSWORD: Final = "a password of 'theirs'"
ME: Final = pwd.getpwuid(os.geteuid()).pw_name
"""Whom the kernel names as the peer of a unix socket."""

SERVER_HBA: Final = """
host trust all all trust
host password all all password
host md5 all all md5
host scram all all scram-sha-256
hostssl cert all all cert map=pooler
host postgres postgres all trust
"""
SERVERS: Final = ("trust", "password", "md5", "scram", "cert")
"""Databases, named after how the server lets in to them."""

WHO: Final = "SELECT current_database() || ' ' || current_user"
TRANSPORTS: Final = ("TCP", "TLS", "unix")
Outcome: TypeAlias = dict[str, str]


@dataclass(frozen=True)
class Case:
    """A user, what the user list has of him, and how he logs in.

    `auth_type` is `hba` where there is a `rule`. `stored` is how PostgreSQL keeps the same password.
    """

    user: str
    auth_type: str
    secret: str
    stored: str
    servers: tuple[str, ...]
    rule: str = ""
    transports: tuple[str, ...] = TRANSPORTS

    @property
    def rules(self) -> str:
        """His lines of auth_hba_file."""
        if not self.rule:
            return ""
        return f"local all {self.user} {self.rule}\nhost all {self.user} 0.0.0.0/0 {self.rule}\n"


# A password that stands in the user list is good for everything, but not for SCRAM where PostgreSQL has MD5.
# An MD5 hash answers MD5. The keys of SCRAM are known only once a client has logged in by SCRAM.
ALL = SERVERS
NOT_SCRAM = ("trust", "password", "md5", "cert")
BY_HASH = ("trust", "md5", "cert")
BY_KEYS = ("trust", "md5", "scram", "cert")
NO_PASSWORD = ("trust", "cert")

CASES: Final = [
    Case("trust", "trust", "plain", "scram", ALL),
    Case("trust_md5", "trust", "md5", "md5", BY_HASH),
    Case("trust_empty", "trust", "empty", "scram", NO_PASSWORD),
    Case("plain", "plain", "plain", "scram", ALL),
    Case("plain_md5", "plain", "md5", "md5", BY_HASH),
    Case("plain_scram", "plain", "scram", "scram", NO_PASSWORD),
    Case("md5", "md5", "plain", "md5", NOT_SCRAM),
    Case("md5_md5", "md5", "md5", "md5", BY_HASH),
    Case("md5_scram", "md5", "scram", "scram", BY_KEYS),
    Case("scram", "scram-sha-256", "plain", "scram", ALL),
    Case("scram_scram", "scram-sha-256", "scram", "scram", BY_KEYS),
    Case("cert", "cert", "plain", "scram", ALL, transports=("TLS",)),
    Case("hba_trust", "hba", "plain", "md5", NOT_SCRAM, "trust"),
    Case("hba_password", "hba", "plain", "scram", ALL, "password"),
    Case("hba_md5", "hba", "md5", "md5", BY_HASH, "md5"),
    Case("hba_scram", "hba", "scram", "scram", BY_KEYS, "scram-sha-256"),
    Case("hba_cert", "hba", "plain", "scram", ALL, "cert", ("TLS",)),
    Case(ME, "hba", "plain", "scram", ALL, "peer", ("unix",)),
    Case("hba_reject", "hba", "plain", "scram", ALL, "reject", ()),
]


@dataclass(frozen=True)
class Server:
    """A PostgreSQL with TLS, and the certificates of everybody."""

    postgres: TemporaryPostgres
    directory: Path
    ca: Authority

    def certificate(self, name: str, *names: str, owner: str | None = None) -> tuple[Path, Path]:
        """Certificate and key for a name, made when they are needed first."""
        certificate, key = self.directory / f"{name}.crt", self.directory / f"{name}.key"
        if not key.exists():
            self.ca.issue(name, names=names).write(self.directory, name)
            if owner is not None and os.geteuid() == 0:
                shutil.chown(key, owner)
        return certificate, key

    def secret(self, case: Case) -> str:
        """What stands in the user list."""
        if case.secret == "md5":
            return "md5" + hashlib.md5((PASSWORD + case.user).encode()).hexdigest()
        if case.secret == "scram":
            query = f"SELECT rolpassword FROM pg_authid WHERE rolname = '{case.user}'"
            ((verifier,),) = self.postgres.sql(query)
            return verifier
        return PASSWORD if case.secret == "plain" else ""


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with ThrowawayDirectory("pooldeck-matrix-", None) as throwaway:
        ca = Authority()
        ca_file = ca.write(throwaway.path)
        certificate, key = ca.issue("localhost", names=["localhost"]).write(throwaway.path, "server")
        account = server_account()
        if account is not None:
            shutil.chown(key, account.name)
        files = {"ssl_cert_file": certificate, "ssl_key_file": key, "ssl_ca_file": ca_file}
        settings = {"ssl": "on", **{name: str(path) for name, path in files.items()}}
        try:
            postgres = TemporaryPostgres(hba=SERVER_HBA, settings=settings)
        except PostgresMissing:
            missing("a PostgreSQL server")
        with postgres:
            _populate(postgres)
            yield Server(postgres, throwaway.path, ca)


def _populate(postgres: TemporaryPostgres) -> None:
    password = PASSWORD.replace("'", "''")
    roles = "".join(
        f"SET password_encryption = '{'md5' if case.stored == 'md5' else 'scram-sha-256'}';"
        f"CREATE ROLE \"{case.user}\" LOGIN PASSWORD '{password}';"
        for case in CASES
    )
    databases = "".join(f"CREATE DATABASE {name};" for name in SERVERS)
    maps = "".join(f'pooler pooldeck "{case.user}"\n' for case in CASES)
    (postgres.data_dir / "pg_ident.conf").write_text(maps)
    postgres.sql(f"{roles}{databases}SELECT pg_reload_conf()")


@pytest.fixture(scope="module", params=["pooldeck", "pgbouncer"])
def process(server: Server, request: pytest.FixtureRequest) -> Iterator[BouncerProcess]:
    """One for all cases: a RELOAD leads from one `auth_type` to the next."""
    if request.param == "pgbouncer" and find_pgbouncer() is None:
        missing("a real PgBouncer")
    make = PoolerProcess if request.param == "pooldeck" else RealPgBouncer
    own = server.certificate("pooler", "127.0.0.1", owner="nobody")
    to_servers = server.certificate("pooldeck", owner="nobody")
    rules = server.directory / "hba.conf"
    rules.write_text(f"host all {ADMIN} 127.0.0.1/32 trust\n" + "".join(case.rules for case in CASES))
    settings = {
        "client_tls_sslmode": "prefer",
        "client_tls_cert_file": own[0],
        "client_tls_key_file": own[1],
        "client_tls_ca_file": server.directory / "ca.crt",
        "server_tls_sslmode": "verify-full",
        "server_tls_cert_file": to_servers[0],
        "server_tls_key_file": to_servers[1],
        "server_tls_ca_file": server.directory / "ca.crt",
        "auth_hba_file": rules,
        "query_wait_timeout": 10,
        "server_login_retry": 1,
    }
    databases = dict.fromkeys(SERVERS, f"host=localhost port={server.postgres.port}")
    userlist = {case.user: server.secret(case) for case in CASES}
    with make(databases, settings=settings, userlist=userlist) as process:
        yield process


def _change(process: BouncerProcess, server: Server, auth_type: str) -> None:
    """Lets clients in by `auth_type` from now on."""
    if process.settings.get("auth_type") == auth_type:
        return
    mode = "verify-full" if auth_type == "cert" else "prefer"
    process.configure(auth_type=auth_type, client_tls_sslmode=mode)
    certificate, key = server.certificate(ADMIN)
    files = {"sslcert": str(certificate), "sslkey": str(key)}
    with process.connect("pgbouncer", user=ADMIN, password=ADMIN_PASSWORD, **files) as console:
        console.execute("RELOAD")


# Drivers ---------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Way:
    """How a case reaches the pooler over one transport."""

    process: BouncerProcess
    server: Server
    case: Case
    transport: str

    @property
    def host(self) -> str:
        return str(self.process.directory) if self.transport == "unix" else self.process.host

    def certificate(self) -> tuple[Path, Path]:
        return self.server.certificate(self.case.user)

    def options(self, dbname: str, password: str) -> dict[str, str]:
        """For libpq."""
        given = {"host": self.host, "port": str(self.process.port), "dbname": dbname, "user": self.case.user}
        given |= {"password": password, "sslmode": "disable"}
        if self.transport == "TLS":
            certificate, key = self.certificate()
            ca_file = str(self.server.directory / "ca.crt")
            given |= {"sslmode": "verify-full", "sslrootcert": ca_file}
            given |= {"sslcert": str(certificate), "sslkey": str(key)}
        return given

    def context(self) -> ssl.SSLContext | bool:
        """For asyncpg."""
        if self.transport != "TLS":
            return False
        context = ssl.create_default_context(cafile=str(self.server.directory / "ca.crt"))
        context.load_cert_chain(*self.certificate())
        return context


def _psycopg(way: Way, databases: tuple[str, ...], password: str) -> list[str]:
    found = []
    for dbname in databases:
        try:
            with psycopg.connect(**way.options(dbname, password)) as connection:  # type: ignore[arg-type]
                found += [text for (text,) in connection.execute(WHO.encode())]
        except psycopg.OperationalError:
            found.append("refused")
    return found


def _asyncpg(way: Way, databases: tuple[str, ...], password: str) -> list[str]:
    context = way.context()

    async def one(dbname: str) -> str:
        try:
            connection = await asyncpg.connect(
                host=way.host,
                port=way.process.port,
                user=way.case.user,
                password=password,
                database=dbname,
                ssl=context,
            )
        except (asyncpg.PostgresError, OSError):
            return "refused"
        try:
            return str(await connection.fetchval(WHO))
        finally:
            await connection.close()

    async def all_of_them() -> list[str]:
        return [await one(dbname) for dbname in databases]

    return asyncio.run(all_of_them())


def _psql(way: Way, databases: tuple[str, ...], password: str) -> list[str]:
    """One psql goes from database to database."""
    texts = [psycopg.conninfo.make_conninfo(**way.options(dbname, password)) for dbname in databases]
    quoted = [text.replace("\\", "\\\\").replace("'", "\\'") for text in texts[1:]]
    script = f"{WHO};\n" + "".join(f"\\connect '{text}'\n{WHO};\n" for text in quoted)
    done = run_program(way.server.postgres, "psql", "-XAtqw", "-v", "ON_ERROR_STOP=1", texts[0], stdin=script)
    found = done.stdout.splitlines()
    return found + ["refused"] * (len(databases) - len(found))


DRIVERS: Final = {"psql": _psql, "asyncpg": _asyncpg, "psycopg": _psycopg}


# The matrix ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("case", CASES, ids=lambda case: "peer" if case.user == ME else case.user)
def test_logins(process: BouncerProcess, server: Server, case: Case) -> None:
    _change(process, server, case.auth_type)
    expected: Outcome = {}
    seen: Outcome = {}
    for transport in TRANSPORTS:
        way = Way(process, server, case, transport)
        fits = transport in case.transports
        databases = case.servers if fits else case.servers[:1]
        for driver, log_in in DRIVERS.items():
            found = log_in(way, databases, PASSWORD)
            for dbname, text in zip(databases, found, strict=True):
                key = f"{driver} over {transport} to {dbname}"
                expected[key] = f"{dbname} {case.user}" if fits else "refused"
                seen[key] = text
    assert {key: text for key, text in seen.items() if text != expected[key]} == {}


@pytest.mark.parametrize(
    "case",
    [case for case in CASES if {case.auth_type, case.rule} & {"plain", "md5", "scram-sha-256", "password"}],
    ids=lambda case: case.user,
)
def test_a_wrong_password(process: BouncerProcess, server: Server, case: Case) -> None:
    _change(process, server, case.auth_type)
    for transport in TRANSPORTS:
        assert _psycopg(Way(process, server, case, transport), ("trust",), "wrong") == ["refused"], transport


@pytest.mark.parametrize("auth_type", ["trust", "hba"])
def test_servers_that_want_more_than_is_known(
    process: BouncerProcess, server: Server, auth_type: str
) -> None:
    _change(process, server, auth_type)
    for case in CASES:
        if case.auth_type == auth_type and case.transports:
            databases = tuple(name for name in SERVERS if name not in case.servers)
            found = _psycopg(Way(process, server, case, case.transports[0]), databases, PASSWORD)
            assert found == ["refused"] * len(databases), case.user
