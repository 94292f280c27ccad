"""SHOW LOGINS: refused clients, as an admin sees them."""

from __future__ import annotations

import psycopg
import pytest

from tests.conftest import PoolerFactory
from tests.integration.clients import DATABASE
from tests.support.bouncer import PoolerProcess


def failures(process: PoolerProcess) -> dict[str, tuple[int, str, str]]:
    """Count, last database and last user, by what the clients were told."""
    return {
        row["failure"]: (row["count"], row["last_database"], row["last_user"])
        for row in process.admin("SHOW LOGINS")
    }


def refused(process: PoolerProcess, dbname: str, user: str, password: str) -> None:
    with pytest.raises(psycopg.OperationalError, match="FATAL"):
        process.connect(dbname, user=user, password=password)


def test_failed_logins_are_counted_and_logged_without_the_password(pooler: PoolerFactory) -> None:
    process = pooler(
        {DATABASE: "host=127.0.0.1"}, settings={"auth_type": "scram-sha-256"}, userlist={"ada": "correct"}
    )
    assert failures(process) == {}
    for user in ("ada", "eve"):
        refused(process, DATABASE, user, "hunter2")
    refused(process, "nowhere", "ada", "correct")
    assert failures(process) == {
        "SASL authentication failed": (2, DATABASE, "eve"),
        "no such database": (1, "nowhere", "ada"),
    }
    log = process.log_text()
    assert f"{DATABASE}/eve@" in log
    assert "hunter2" not in log


def test_a_client_that_only_looks_is_no_failure(pooler: PoolerFactory) -> None:
    """psql leaves when it is asked for a password that it does not have."""
    process = pooler(
        {DATABASE: "host=127.0.0.1"}, settings={"auth_type": "scram-sha-256"}, userlist={"ada": "correct"}
    )
    with pytest.raises(psycopg.OperationalError, match="no password supplied"):
        process.connect(DATABASE, user="ada", password="")
    assert failures(process) == {}
