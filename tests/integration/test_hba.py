"""`auth_hba_file`, beside a real PgBouncer where it has the feature too."""

from __future__ import annotations

import os
import pwd
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest

from cli.demo.postgres import TemporaryPostgres
from cli.demo.throwaway import ThrowawayDirectory
from tests.conftest import PgBouncerFactory, PoolerFactory
from tests.integration.clients import DATABASE, value
from tests.support.bouncer import BouncerFailed, BouncerProcess, PoolerProcess, RealPgBouncer
from tests.support.certificates import Authority

ADMIN = "host all admin 127.0.0.1/32 trust\n"
RULES = """
local all all reject
hostssl all postgres 0.0.0.0/0 reject
host all bad 0.0.0.0/0 reject
host all clear,nobody_clear 127.0.0.0/8 password
host all hashed,nobody_hashed 127.0.0.0 255.0.0.0 md5
host all salted,nobody_salted 0.0.0.0/0 scram-sha-256
host sameuser same 0.0.0.0/0 trust
host all far 10.0.0.0/8 trust
host "all" quoted 0.0.0.0/0 trust
hostnossl all postgres 0.0.0.0/0 trust
"""
USERS = ("bad", "clear", "hashed", "salted", "same", "far", "quoted", "walker", "other", "alice", "bob")
SECRET = "secret"
ME = pwd.getpwuid(os.geteuid()).pw_name
"""Whom the kernel names as the peer of a unix socket."""

NO_RULE = ("no authentication method is found", "login rejected")
"""What PgBouncer says of a client without a rule, and what its old versions say."""
NO_CERTIFICATE = ("certificate authentication failed",)


@dataclass(frozen=True)
class Files:
    """A pooler's TLS settings, and the certificates of clients as libpq's options."""

    settings: dict[str, object]
    ca: Authority
    directory: Path

    def certificate(self, name: str, *names: str) -> dict[str, str]:
        """One for this common name, and for those alternative names."""
        certificate, key = self.ca.issue(name, names=names).write(self.directory, "-".join((name, *names)))
        return {"sslcert": str(certificate), "sslkey": str(key)}

    def forged(self, name: str) -> dict[str, str]:
        """One by another authority."""
        certificate, key = Authority("Other CA").issue(name).write(self.directory, f"forged-{name}")
        return {"sslcert": str(certificate), "sslkey": str(key)}


@pytest.fixture(scope="module")
def files() -> Iterator[Files]:
    with ThrowawayDirectory("pooldeck-hba-", None) as throwaway:
        ca = Authority()
        certificate, key = ca.issue("pooler", names=["127.0.0.1"]).write(throwaway.path, "pooler")
        if os.geteuid() == 0:
            shutil.chown(key, "nobody")
        settings: dict[str, object] = {
            "client_tls_sslmode": "prefer",
            "client_tls_cert_file": certificate,
            "client_tls_key_file": key,
            "client_tls_ca_file": ca.write(throwaway.path),
        }
        yield Files(settings, ca, throwaway.path)


@pytest.fixture(params=["pooldeck", "pgbouncer"])
def start(
    pooler: PoolerFactory, pgbouncer: PgBouncerFactory, request: pytest.FixtureRequest
) -> PoolerFactory | PgBouncerFactory:
    return pooler if request.param == "pooldeck" else pgbouncer


def _start(
    start: PoolerFactory | PgBouncerFactory,
    postgres: TemporaryPostgres,
    rules: str,
    ident: str = "",
    settings: dict[str, object] | None = None,
) -> BouncerProcess:
    """A pooler with these rules, whose clients are all `postgres` to the server."""
    forced = {"*": f"host=127.0.0.1 port={postgres.port} user=postgres dbname=postgres"}
    process = start(forced, userlist=dict.fromkeys((*USERS, ME), SECRET), settings=settings)
    # The text has to be there before the process, and its directory is not.
    path = _hba(process)
    path.write_text(ADMIN + rules)
    process.configure(auth_type="hba", auth_hba_file=path)
    if ident:
        _ident(process).write_text(ident)
        process.configure(auth_ident_file=_ident(process))
    process.admin("RELOAD")
    return process


def _hba(process: BouncerProcess) -> Path:
    return process.directory / "hba.conf"


def _ident(process: BouncerProcess) -> Path:
    return process.directory / "ident.conf"


def _outcome(process: BouncerProcess, user: str, password: str = "", **options: Any) -> str:
    """`in`, else why not."""
    given = {"dbname": DATABASE, "sslmode": "disable", "password": password, **options}
    try:
        with process.connect(given.pop("dbname"), user=user, **given) as connection:
            assert "replication" in options or value(connection, "SELECT 1") == 1
            return "in"
    except psycopg.OperationalError as error:
        return str(error).strip().splitlines()[-1].rpartition("FATAL:")[2].strip()


# Rules -----------------------------------------------------------------------------------------------------


def test_rules(start: PoolerFactory, postgres: TemporaryPostgres) -> None:
    process = _start(start, postgres, RULES)
    assert _outcome(process, "postgres") == "in"
    assert _outcome(process, "postgres", host=str(process.directory)) == "login rejected"
    assert _outcome(process, "bad", SECRET) == "login rejected"
    for user in ("clear", "hashed", "salted"):
        assert _outcome(process, user, SECRET) == "in"
        wrong = _outcome(process, user, "wrong")
        assert "authentication failed" in wrong
        assert _outcome(process, f"nobody_{user}", "wrong") == wrong
    assert _outcome(process, "same", dbname="same") == "in"
    for nobody in ("same", "far", "quoted", "other", "stranger"):
        assert _outcome(process, nobody, SECRET) in NO_RULE
    assert _outcome(process, "quoted", dbname="all") == "in"


def test_all_addresses(pooler: PoolerFactory, postgres: TemporaryPostgres) -> None:
    # PgBouncer 1.18 takes `all` for a broken address.
    process = _start(pooler, postgres, "host all bad all reject\nhost all all all trust\n")
    assert _outcome(process, "bad", SECRET) == "login rejected"
    assert _outcome(process, "other") == "in"
    assert _outcome(process, "other", host=str(process.directory)) in NO_RULE


def test_the_kind_of_connection(start: PoolerFactory, postgres: TemporaryPostgres, files: Files) -> None:
    rules = """
hostssl all bad 0.0.0.0/0 reject
hostssl all alice 0.0.0.0/0 trust
hostnossl all bob 0.0.0.0/0 trust
host all other 0.0.0.0/0 trust
local all walker trust
"""
    process = _start(start, postgres, rules, settings=files.settings)
    ways: dict[str, dict[str, str]] = {
        "TLS": {"sslmode": "require"},
        "clear": {"sslmode": "disable"},
        "unix": {"host": str(process.directory)},
    }
    entered = {
        user: {name for name, way in ways.items() if _outcome(process, user, **way) == "in"}
        for user in ("alice", "bob", "other", "walker", "bad")
    }
    expected = {"alice": {"TLS"}, "bob": {"clear"}, "other": {"TLS", "clear"}, "walker": {"unix"}}
    assert entered == {**expected, "bad": set()}


def test_replication(pooler: PoolerFactory, postgres: TemporaryPostgres) -> None:
    rules = "host replication walker 0.0.0.0/0 trust\nhost all other 0.0.0.0/0 trust\n"
    process = _start(pooler, postgres, rules)
    # It is past the rules here; the server's own do not let it replicate.
    assert _outcome(process, "walker", replication="true") == "login failed"
    assert _outcome(process, "walker") in NO_RULE
    assert _outcome(process, "walker", replication="database") in NO_RULE
    assert _outcome(process, "walker", dbname="replication") in NO_RULE
    assert _outcome(process, "other", replication="true") in NO_RULE
    assert _outcome(process, "other", replication="database") == "in"
    assert _outcome(process, "other") == "in"


# Certificates ----------------------------------------------------------------------------------------------


def test_cert(start: PoolerFactory, postgres: TemporaryPostgres, files: Files) -> None:
    process = _start(start, postgres, "host all all 0.0.0.0/0 cert\n", settings=files.settings)
    tls = {"sslmode": "require"}
    alice = files.certificate("alice")
    assert _outcome(process, "alice", **tls, **alice) == "in"
    assert _outcome(process, "bob", **tls, **files.certificate("server", "bob")) == "in"
    assert _outcome(process, "bob", SECRET, **tls, **alice) in NO_CERTIFICATE
    assert _outcome(process, "stranger", **tls, **files.certificate("stranger")) in NO_CERTIFICATE
    assert _outcome(process, "alice", SECRET, **tls, sslcert="", sslkey="") in NO_CERTIFICATE
    assert _outcome(process, "alice", SECRET) in NO_CERTIFICATE
    assert _outcome(process, "alice", **tls, **files.forged("alice")) != "in"


def test_cert_with_a_map(pooler: PoolerFactory, postgres: TemporaryPostgres, files: Files) -> None:
    ident = "people /^([a-z]+)@example\\.com$ \\1\npeople root all\n"
    rules = "hostssl all all 0.0.0.0/0 cert map=people\n"
    process = _start(pooler, postgres, rules, ident, files.settings)
    entered = [
        (name, user)
        for name in ("alice@example.com", "root", "alice")
        for user in ("alice", "bob")
        if _outcome(process, user, sslmode="require", **files.certificate(name)) == "in"
    ]
    assert entered == [("alice@example.com", "alice"), ("root", "alice"), ("root", "bob")]


@pytest.mark.parametrize("method", ["scram-sha-256", "md5", "password", "trust"])
def test_clientcert(pooler: PoolerFactory, postgres: TemporaryPostgres, files: Files, method: str) -> None:
    rules = f"""
hostssl all alice 0.0.0.0/0 {method} clientcert=verify-full
hostssl all bob 0.0.0.0/0 {method} clientcert=verify-ca
"""
    process = _start(pooler, postgres, rules, settings=files.settings)
    tls = {"sslmode": "require"}
    alice = files.certificate("alice")
    for user in ("alice", "bob"):
        assert _outcome(process, user, SECRET, **tls, **alice) == "in"
        assert _outcome(process, user, SECRET, **tls, sslcert="", sslkey="") in NO_CERTIFICATE
        assert _outcome(process, user, SECRET, **tls, **files.forged(user)) != "in"
        assert _outcome(process, user, SECRET) in NO_RULE
        if method != "trust":
            assert "authentication failed" in _outcome(process, user, "wrong", **tls, **alice)
    assert _outcome(process, "alice", SECRET, **tls, **files.certificate("bob")) in NO_CERTIFICATE


def test_clientcert_is_asked_for_before_ldap(
    pooler: PoolerFactory, files: Files, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The user whom a pooler changes to may not be able to read the library.
    code = "import ldap3, sys; from pooler.service.main import main; sys.exit(main())"
    monkeypatch.setattr(PoolerProcess, "program", lambda _: [sys.executable, "-P", "-c", code])
    # Nobody listens there: whoever is let through to LDAP is refused by it.
    ldap = "ldap ldapserver=127.0.0.1 ldapport=1 ldapprefix=cn="
    rules = f"""
hostssl all alice 0.0.0.0/0 {ldap} clientcert=verify-full
hostssl all bob 0.0.0.0/0 {ldap}, clientcert=verify-ca
"""
    path = files.directory / "ldap-hba.conf"
    path.write_text(ADMIN + rules)
    process = pooler(settings={**files.settings, "auth_type": "hba", "auth_hba_file": path})
    tls = {"sslmode": "require"}
    alice = files.certificate("alice")
    for user in ("alice", "bob"):
        assert "LDAP" in _outcome(process, user, SECRET, **tls, **alice)
        assert _outcome(process, user, SECRET, **tls, sslcert="", sslkey="") in NO_CERTIFICATE
    assert _outcome(process, "alice", SECRET, **tls, **files.certificate("bob")) in NO_CERTIFICATE


# Peers -----------------------------------------------------------------------------------------------------


def test_peer(start: PoolerFactory, postgres: TemporaryPostgres) -> None:
    process = _start(start, postgres, "local all all peer\nhost all all 0.0.0.0/0 peer\n")
    unix = {"host": str(process.directory)}
    assert _outcome(process, ME, **unix) == "in"
    assert _outcome(process, "alice", SECRET, **unix) == "unix socket login rejected"
    if not isinstance(process, RealPgBouncer):
        # PgBouncer is at odds with itself there, from version to version.
        assert _outcome(process, ME, SECRET) == "unix socket login rejected"


def test_peer_with_a_map(pooler: PoolerFactory, postgres: TemporaryPostgres) -> None:
    ident = f"m1 {ME} alice\nm1 nobody-else bob\nm2 /^(.)(.*)$ all\nm3 {ME}x all\n"
    rules = "".join(f"local db{number} all peer map=m{number}\n" for number in (1, 2, 3))
    process = _start(pooler, postgres, rules, ident)
    entered = [
        (dbname, user)
        for dbname in ("db1", "db2", "db3")
        for user in ("alice", "bob", ME)
        if _outcome(process, user, host=str(process.directory), dbname=dbname) == "in"
    ]
    assert entered == [("db1", "alice"), ("db2", "alice"), ("db2", "bob"), ("db2", ME)]


# Mistakes --------------------------------------------------------------------------------------------------

BROKEN = [
    ("host all all 0.0.0.0/0 nonsense", "unsupported authentication method"),
    ("hist all all 0.0.0.0/0 trust", "unknown connection type"),
    ("host all all 1.2.3/24 trust", "is not an IP address"),
    ("host all all 0.0.0.0/33 trust", "invalid mask"),
    ("host all all 0.0.0.0/0 cert map=nobody", "is not in auth_ident_file"),
    ("host all all 0.0.0.0/0 md5 clientcert=verify-ca", "clientcert is an option of hostssl only"),
    ("host all @nowhere 0.0.0.0/0 trust", "could not load file"),
]


def test_reload_takes_a_changed_file_and_refuses_a_broken_one(
    pooler: PoolerFactory, postgres: TemporaryPostgres
) -> None:
    process = _start(pooler, postgres, "host all all 0.0.0.0/0 trust\n")
    path = _hba(process)
    path.write_text(f"{ADMIN}host all other 0.0.0.0/0 reject\nhost all all 0.0.0.0/0 trust\n")
    process.admin("RELOAD")
    for line, reason in BROKEN:
        path.write_text(f"{ADMIN}host all all 0.0.0.0/0 trust\n{line}\n")
        with pytest.raises(psycopg.Error, match=f"{path}:3: .*{reason}"):
            process.admin("RELOAD")
        assert _outcome(process, "other") == "login rejected"
    path.unlink()
    with pytest.raises(psycopg.Error, match=f'could not load file "{path}"'):
        process.admin("RELOAD")
    assert _outcome(process, "other") == "login rejected"
    assert _outcome(process, "alice") == "in"


def test_reload_refuses_a_broken_ident_file(pooler: PoolerFactory, postgres: TemporaryPostgres) -> None:
    process = _start(pooler, postgres, "local all all peer map=m\n", f"m {ME} alice\n")
    _ident(process).write_text(f"m {ME} bob\nm /(unclosed bob\n")
    with pytest.raises(psycopg.Error, match=f"{_ident(process)}:2: "):
        process.admin("RELOAD")
    unix = {"host": str(process.directory)}
    assert _outcome(process, "alice", **unix) == "in"
    assert _outcome(process, "bob", **unix) == "unix socket login rejected"


def test_start_refuses_broken_files(files: Files) -> None:
    rules, ident = files.directory / "broken-hba.conf", files.directory / "broken-ident.conf"
    rules.write_text("# Rules\nhost all all 0.0.0.0/0 nonsense\nhost all all 0.0.0.0/0 trust\nlocal all\n")
    ident.write_text("m alone\n")
    settings = {"auth_type": "hba", "auth_hba_file": rules}
    with pytest.raises(BouncerFailed) as refused:
        PoolerProcess({"*": "host=127.0.0.1"}, settings=settings).start()
    for number in (2, 4):
        assert f"{rules}:{number}: " in str(refused.value)
    assert f"{rules}:3: " not in str(refused.value)
    assert "Traceback" not in str(refused.value)
    with pytest.raises(BouncerFailed, match=f"{ident}:1: "):
        PoolerProcess({"*": "host=127.0.0.1"}, settings={**settings, "auth_ident_file": ident}).start()
