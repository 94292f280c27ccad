"""Logins by PAM: a real service, its worker threads, and poolers that ask it."""

from __future__ import annotations

import re
from typing import Any

import psycopg
import pytest

from tests.conftest import PgBouncerFactory
from tests.support.bouncer import ADMIN, ADMIN_PASSWORD
from tests.support.pamservice import PamService

USERS = {"alice": "wonder", "jörg": "jörg's", "old": "x", ADMIN: ADMIN_PASSWORD}


@pytest.mark.usefixtures("pam_tools")
def test_pam_checks_password_and_account() -> None:
    with PamService(USERS, expired=["old"]) as service:
        answers, delays = service.logins(
            [
                ("alice", "wonder", "192.0.2.1"),
                ("alice", "Wonder", "192.0.2.1"),
                ("jörg", "jörg's", "2001:db8::1"),
                ("nobody", "x", "unix"),
                ("old", "x", "unix"),
                ("alice", "", "unix"),
                ("alice\0", "wonder", "unix"),
            ],
        )
        calls = service.calls()
    malformed = "empty user name or password, or a zero byte in it"
    assert [confirmed for confirmed, _ in answers] == [True, False, True, False, False, False, False]
    assert answers[0] == (True, "")
    assert re.fullmatch(r"pam_authenticate\(\) failed: .+; .+/check failed: exit code 1", answers[1][1])
    assert re.fullmatch(r"pam_acct_mgmt\(\) failed: .+; .+/check failed: exit code 1", answers[4][1])
    assert [reason for _, reason in answers[5:]] == [malformed, malformed]
    assert not any("onder" in reason for _, reason in answers)
    assert calls == [
        ("auth", "pgbouncer", "alice", "192.0.2.1", "wonder"),
        ("account", "pgbouncer", "alice", "192.0.2.1", ""),
        ("auth", "pgbouncer", "alice", "192.0.2.1", "Wonder"),
        ("auth", "pgbouncer", "jörg", "2001:db8::1", "jörg's"),
        ("account", "pgbouncer", "jörg", "2001:db8::1", ""),
        ("auth", "pgbouncer", "nobody", "unix", "x"),
        ("auth", "pgbouncer", "old", "unix", "x"),
        ("account", "pgbouncer", "old", "unix", ""),
    ]
    assert delays == []


@pytest.mark.usefixtures("pam_tools")
def test_the_delay_after_a_failure_is_not_slept_in_the_worker() -> None:
    # Minutes: the test would not live to see the end of it. libpam varies it by half.
    rules = ["auth optional pam_faildelay.so delay=300000000"]
    with PamService(USERS, auth_rules=rules) as service:
        answers, delays = service.logins([("alice", "x", "unix"), ("alice", "wonder", "unix")])
    assert [confirmed for confirmed, _ in answers] == [False, True]
    assert len(delays) == 1
    assert delays[0] > 100


@pytest.mark.usefixtures("pam_tools")
def test_modules_are_told_what_pgbouncer_tells_them(
    pgbouncer: PgBouncerFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    logins = [("alice", "wonder"), ("alice", "x"), ("jörg", "jörg's"), ("old", "x"), ("nobody", "x")]
    with PamService(USERS, expired=["old"]) as service:
        for name, value in service.environment.items():
            monkeypatch.setenv(name, value)
        real = pgbouncer(settings={"auth_type": "pam"})
        start = len(service.calls())
        theirs = [_login_by_pgbouncer(real, *login) for login in logins]
        middle = len(service.calls())
        answers, _ = service.logins([(*login, "127.0.0.1") for login in logins])
        calls = service.calls()
    assert theirs == [None if confirmed else "PAM authentication failed" for confirmed, _ in answers]
    assert calls[start:middle] == calls[middle:]


def _login_by_pgbouncer(pgbouncer: Any, user: str, password: str) -> str | None:
    """What the login is refused with; None if it is not."""
    try:
        # The server behind it does not know them, and that comes after the login.
        pgbouncer.connect("postgres", user=user, password=password).close()
    except psycopg.OperationalError as error:
        text = str(error).strip()
        return None if "does not exist" in text else text.rpartition("FATAL:  ")[2]
    return None
