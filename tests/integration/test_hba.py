"""`auth_hba_file`, beside a real PgBouncer where it has the feature too."""

from __future__ import annotations

import psycopg
import pytest

from tests.conftest import PgBouncerFactory, PoolerFactory
from tests.integration.clients import DATABASE
from tests.support.bouncer import BouncerProcess

HBA = """
host all admin 127.0.0.1/32 trust
local all all reject
hostssl all postgres all reject
host all bad all reject
host all clear,nobody_clear all password
host all hashed,nobody_hashed all md5
host all salted,nobody_salted all scram-sha-256
host sameuser same all trust
host replication walker all trust
hostnossl all postgres all trust
"""
SECRETS = dict.fromkeys(("bad", "clear", "hashed", "salted", "same", "walker", "other"), "secret")


@pytest.fixture(params=["pooldeck", "pgbouncer"])
def start(
    pooler: PoolerFactory, pgbouncer: PgBouncerFactory, request: pytest.FixtureRequest
) -> PoolerFactory | PgBouncerFactory:
    return pooler if request.param == "pooldeck" else pgbouncer


def _start(start: PoolerFactory, text: str, databases: dict[str, str] | None = None) -> BouncerProcess:
    # The text has to be there before the process: its directory is not.
    process = start(databases, userlist=SECRETS)
    path = process.directory / "hba.conf"
    path.write_text(text)
    process.configure(auth_type="hba", auth_hba_file=path)
    process.admin("RELOAD")
    return process


def _outcome(process: BouncerProcess, user: str, password: str = "", **options: str) -> str:
    try:
        process.connect(options.pop("dbname", DATABASE), user=user, password=password, **options).close()
    except psycopg.OperationalError as error:
        return str(error).strip().splitlines()[-1].rpartition("FATAL:")[2].strip()
    return "in"


def test_rules(start: PoolerFactory, postgres: object) -> None:
    forced = {"*": f"host=127.0.0.1 port={postgres.port} user=postgres dbname=postgres"}  # type: ignore[attr-defined]
    process = _start(start, HBA, forced)
    assert _outcome(process, "postgres") == "in"
    assert "reject" in _outcome(process, "postgres", host=str(process.directory))
    assert "reject" in _outcome(process, "bad", "secret")
    for user in ("clear", "hashed", "salted"):
        assert _outcome(process, user, "secret") == "in"
        wrong = _outcome(process, user, "wrong")
        assert "authentication failed" in wrong
        assert _outcome(process, f"nobody_{user}", "wrong") == wrong
    assert _outcome(process, "same", dbname="same") == "in"
    assert _outcome(process, "same") != "in"
    assert _outcome(process, "walker") != "in"
    assert _outcome(process, "other", "secret") == _outcome(process, "stranger", "secret") != "in"


def test_reload_takes_a_changed_file_and_refuses_a_broken_one(pooler: PoolerFactory) -> None:
    process = _start(pooler, HBA)
    path = process.directory / "hba.conf"
    path.write_text("host all admin all trust\nhost all postgres all reject\n")
    process.admin("RELOAD")
    assert _outcome(process, "postgres") == "login rejected"
    path.write_text("host all all all trust\n\nhost all all all nonsense\n")
    with pytest.raises(psycopg.Error, match=rf"{path}:3"):
        process.admin("RELOAD")
    assert _outcome(process, "postgres") == "login rejected"
