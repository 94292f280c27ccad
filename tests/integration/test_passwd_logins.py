"""What `pooldeck passwd` makes logs in: to the pooler, to a real PgBouncer, and to PostgreSQL."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import sql

from cli.demo.postgres import TemporaryPostgres
from pooler.config.userlist import parse_userlist
from tests.integration.clients import DATABASE, value
from tests.support.bouncer import USER, BouncerProcess

ROLE = 'we"ird ü'
PASSWORD = 'S3cret "Ⅸ" pass\u00a0word'
"""SASLprep makes `S3cret "IX" pass word` of it."""

Factory = Callable[..., BouncerProcess]

SCRAM: tuple[str, ...] = ()
MD5 = ("--md5",)
METHODS = [
    ("plain", SCRAM),
    ("plain", MD5),
    ("md5", SCRAM),
    ("md5", MD5),
    ("scram-sha-256", SCRAM),
    ("scram-sha-256", ("--iterations", "10000")),
]

HBA = """
host all postgres all trust
host all md5_only all md5
host all all all scram-sha-256
"""


def passwd(user: str, *arguments: str | Path) -> str:
    """Run it with PASSWORD on standard input; what it prints."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "cli.main", "passwd", user, "--stdin", *map(str, arguments)],
        input=PASSWORD,
        capture_output=True,
        text=True,
        check=True,
        timeout=50,
    )
    return done.stdout


def secret_of(line: str, user: str) -> str:
    return parse_userlist(line).users[user]


@pytest.fixture(params=["pooldeck", "PgBouncer"])
def start(request: pytest.FixtureRequest) -> Factory:
    """Starts poolers of both kinds, with the arguments of the fixture `pooler`."""
    factory: Factory = request.getfixturevalue("pooler" if request.param == "pooldeck" else "pgbouncer")
    return factory


@pytest.mark.parametrize(("auth_type", "arguments"), METHODS)
def test_a_user_logs_in_after_reload(
    start: Factory, postgres: TemporaryPostgres, auth_type: str, arguments: tuple[str, ...]
) -> None:
    process = start(
        {DATABASE: f"host=127.0.0.1 port={postgres.port} user={USER}"}, settings={"auth_type": auth_type}
    )
    userlist = process.directory / "userlist.txt"
    # As in an installation, where the file belongs to the account that the pooler runs as.
    shutil.chown(userlist, process.directory.owner(), process.directory.group())
    passwd(ROLE, "--file", userlist, *arguments)
    process.admin("RELOAD")
    with process.connect(DATABASE, user=ROLE, password=PASSWORD) as client:
        assert value(client, "SELECT 1") == 1
    for wrong in (PASSWORD + "x", PASSWORD.lower(), "S3cret"):
        with pytest.raises(psycopg.OperationalError, match="authentication failed"):
            process.connect(DATABASE, user=ROLE, password=wrong)


@pytest.fixture(scope="module")
def strict() -> Iterator[TemporaryPostgres]:
    """A server that wants passwords of everybody but postgres."""
    with TemporaryPostgres(hba=HBA) as server:
        yield server


def connect(server: TemporaryPostgres, user: str, password: str) -> psycopg.Connection[tuple[object, ...]]:
    return psycopg.connect(
        host="127.0.0.1", port=server.port, dbname=DATABASE, user=user, password=password, connect_timeout=10
    )


@pytest.mark.parametrize(
    ("role", "arguments"), [(ROLE, SCRAM), ("scram_10k", METHODS[-1][1]), ("md5_only", MD5)]
)
def test_postgresql_takes_the_secret_for_a_role(
    strict: TemporaryPostgres, role: str, arguments: tuple[str, ...]
) -> None:
    secret = secret_of(passwd(role, *arguments), role)
    with connect(strict, USER, "") as admin:
        admin.execute(
            sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(sql.Identifier(role), sql.Literal(secret))
        )
        ((stored,),) = admin.execute("SELECT rolpassword FROM pg_authid WHERE rolname = %s", [role])
    assert stored == secret
    connect(strict, role, PASSWORD).close()
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        connect(strict, role, PASSWORD + "x")


def test_one_secret_in_both_places_logs_in_all_the_way(start: Factory, strict: TemporaryPostgres) -> None:
    role = f"both_{os.urandom(4).hex()}"
    secret = secret_of(passwd(role), role)
    strict.sql(f"CREATE ROLE {role} LOGIN PASSWORD '{secret}'")
    process = start(
        {DATABASE: f"host=127.0.0.1 port={strict.port}"},
        settings={"auth_type": "scram-sha-256"},
        userlist={role: secret},
    )
    with process.connect(DATABASE, user=role, password=PASSWORD) as client:
        assert value(client, "SELECT current_user") == role
