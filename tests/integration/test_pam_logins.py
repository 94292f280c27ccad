"""Logins by PAM: a real service, its worker threads, and poolers that ask it."""

from __future__ import annotations

import re
from collections.abc import Iterator

import psycopg
import pytest

from cli.demo.postgres import TemporaryPostgres
from tests.conftest import PgBouncerFactory, PoolerFactory
from tests.integration.clients import DATABASE, Background, value, wait_until
from tests.support.bouncer import ADMIN, ADMIN_PASSWORD, BouncerFailed, PoolerProcess
from tests.support.external import PoolerWithout, login_by
from tests.support.pamservice import PamService
from tests.support.rawclient import RawClient, message, startup_message

REFUSED = "PAM authentication failed"
USERS = {"alice": "wonder", "bob": "b", "jörg": "jörg's", "old": "x", ADMIN: ADMIN_PASSWORD}
LOGINS = [("alice", "wonder"), ("alice", "x"), ("jörg", "jörg's"), ("old", "x"), ("nobody", "x")]


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


# Through a pooler -------------------------------------------------------------------------------------------


@pytest.fixture
def service(pam_tools: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[PamService]:
    """Programs that are started from now on are subject to it."""
    with PamService(USERS, expired=["old"]) as service:
        for name, value in service.environment.items():
            monkeypatch.setenv(name, value)
        yield service


def _start(pooler: PoolerFactory, **settings: object) -> PoolerProcess:
    return pooler(settings={"auth_type": "pam", **settings})


@pytest.mark.usefixtures("roles", "service", "preloaded")
def test_drivers_log_in(pooler: PoolerFactory) -> None:
    process = _start(pooler)
    for driver in ("psycopg", "asyncpg"):
        assert login_by(driver, process, "alice", "wonder") == "alice"
        for user, password in (("alice", "Wonder"), ("nobody", "wonder"), ("old", "x")):
            assert login_by(driver, process, user, password) == REFUSED
    log = process.log_text()
    assert "PAM login failed: pam_acct_mgmt() failed: " in log
    assert "onder" not in log


@pytest.mark.usefixtures("preloaded")
def test_modules_are_told_what_pgbouncer_tells_them(
    pooler: PoolerFactory, pgbouncer: PgBouncerFactory, service: PamService
) -> None:
    told = []
    for start in (pooler, pgbouncer):
        process = start(settings={"auth_type": "pam"})
        begin = len(service.calls())
        # The server behind it does not know all of them, and that comes after the login.
        answers = [login_by("psycopg", process, *login) == REFUSED for login in LOGINS]
        told.append((answers, service.calls()[begin:]))
        process.stop()
    assert told[0] == told[1]
    assert told[0][0] == [False, True, False, True, True]


@pytest.mark.usefixtures("preloaded")
def test_an_empty_password_is_refused_and_pam_not_asked(pooler: PoolerFactory, service: PamService) -> None:
    process = _start(pooler)
    calls = service.calls()
    with RawClient(process.host, process.port) as client:
        client.send(startup_message("alice", DATABASE))
        assert client.read_message() == ("R", b"\0\0\0\3")
        client.send(message("p", b"\0"))
        assert client.expect_error()["M"] == "empty password returned by client"
    assert service.calls() == calls


@pytest.mark.usefixtures("roles", "preloaded")
def test_pam_that_hangs_keeps_nobody_waiting_but_those_who_log_in(
    pooler: PoolerFactory, service: PamService
) -> None:
    process = _start(pooler)
    with (
        process.connect(DATABASE, user="alice", password="wonder") as other,
        process.connect("pgbouncer", user=ADMIN, password=ADMIN_PASSWORD) as console,
    ):
        calls = len(service.calls())
        service.hold()
        logins = [Background(lambda: login_by("psycopg", process, "alice", "wonder")) for _ in range(5)]
        gone = RawClient(process.host, process.port)
        gone.send(startup_message("nobody", DATABASE))
        gone.read_message()
        gone.send(message("p", b"gone\0"))
        wait_until(lambda: len(service.calls()) > calls, "a module is asked")
        assert value(other, "SELECT 7") == 7
        gone.close()
        wait_until(
            lambda: "nobody" not in {row["user"] for row in console.execute("SHOW CLIENTS").fetchall()},
            "who has gone is forgotten",
        )
        service.release()
        assert [login.result() for login in logins] == ["alice"] * 5


@pytest.mark.usefixtures("preloaded")
def test_pam_that_hangs_is_ended_by_the_login_timeout(pooler: PoolerFactory, service: PamService) -> None:
    process = _start(pooler, client_login_timeout=1)
    service.hold()
    assert login_by("asyncpg", process, "alice", "wonder") == "client_login_timeout"
    service.release()


@pytest.mark.usefixtures("pam_tools", "roles", "preloaded")
def test_a_refusal_that_modules_want_delayed_holds_up_nobody_else(
    pooler: PoolerFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    rules = ["auth optional pam_faildelay.so delay=300000000"]
    with PamService(USERS, auth_rules=rules) as service:
        for name, text in service.environment.items():
            monkeypatch.setenv(name, text)
        process = _start(pooler)
        with RawClient(process.host, process.port) as client:
            client.send(startup_message("alice", DATABASE))
            client.read_message()
            client.send(message("p", b"x\0"))
            wait_until(lambda: ("auth", "pgbouncer", "alice", "127.0.0.1", "x") in service.calls(), "asked")
            assert login_by("psycopg", process, "alice", "wonder") == "alice"
            client.socket.setblocking(False)
            with pytest.raises(BlockingIOError):
                client.read_message()


@pytest.mark.usefixtures("preloaded")
def test_servers_get_the_password_that_pam_has_confirmed(
    pooler: PoolerFactory, service: PamService, locked: TemporaryPostgres
) -> None:
    process = pooler({"*": f"host=127.0.0.1 port={locked.port}"}, settings={"auth_type": "pam"})
    for driver in ("psycopg", "asyncpg"):
        assert login_by(driver, process, "alice", "wonder") == "alice"


@pytest.mark.usefixtures("service", "preloaded")
def test_the_console_is_for_those_whom_the_settings_name(pooler: PoolerFactory) -> None:
    process = _start(pooler, admin_users=f"{ADMIN},alice", stats_users="jörg")
    with process.connect("pgbouncer", user="alice", password="wonder") as console:
        console.execute("RELOAD")
    with (
        process.connect("pgbouncer", user="jörg", password="jörg's") as console,
        pytest.raises(psycopg.Error, match="admin access needed"),
    ):
        console.execute("RELOAD")
    assert login_by("psycopg", process, "bob", "b", "pgbouncer") == "not allowed"
    assert login_by("psycopg", process, "alice", "x", "pgbouncer") == REFUSED


@pytest.mark.usefixtures("preloaded", "roles")
def test_on_a_unix_socket_the_remote_host_is_unix(pooler: PoolerFactory, service: PamService) -> None:
    process = _start(pooler)
    with process.connect(DATABASE, user="alice", password="wonder", host=str(process.directory)) as client:
        assert value(client, "SELECT 1") == 1
    assert service.calls()[-2:] == [
        ("auth", "pgbouncer", "alice", "unix", "wonder"),
        ("account", "pgbouncer", "alice", "unix", ""),
    ]


def test_without_the_extra_the_start_ends_and_says_so() -> None:
    needed = 'pgbouncer.ini: auth_type: PAM needs the extra "pam": pip install "pooldeck\\[pam\\]"'
    with (
        pytest.raises(BouncerFailed, match=needed),
        PoolerWithout("pamela", {}, settings={"auth_type": "pam"}),
    ):
        pass


def test_pam_is_no_method_of_rules(pooler: PoolerFactory) -> None:
    process = pooler()
    path = process.directory / "hba.conf"
    path.write_text("host all all all pam\n")
    process.configure(auth_type="hba", auth_hba_file=path)
    with pytest.raises(psycopg.Error, match=f"{path}:1: unsupported authentication method"):
        process.admin("RELOAD")
