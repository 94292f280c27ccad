"""Logins by LDAP through a pooler: a real slapd, psycopg and asyncpg, settings and lines of auth_hba_file."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import psycopg
import pytest

from cli.demo.postgres import TemporaryPostgres
from pooler.auth.external import LDAP_THREADS
from tests.conftest import PoolerFactory
from tests.integration.clients import DATABASE, Background, pool_row, value, wait_until
from tests.support.bouncer import ADMIN, USER, BouncerFailed, PoolerProcess
from tests.support.external import SEARCH, SIMPLE, PoolerWithout, filled, login_by
from tests.support.rawclient import RawClient, message, startup_message
from tests.support.slapd import HeldDirectory, Slapd

REFUSED = "LDAP authentication failed"

FORMS = [
    SIMPLE,
    SEARCH + ' ldapbinddn="{manager}" ldapbindpasswd={password}',
    'ldapurl="ldap://127.0.0.1:{port}/{base}?uid?sub"',
    'ldapurl="ldaps://127.0.0.1:{ldaps}/{base}?uid?sub"',
    SEARCH + " ldaptls=1",
]


pytestmark = pytest.mark.usefixtures("preloaded")


@pytest.fixture
def trusted(slapd: Slapd, monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs that are started trust the certificate of slapd."""
    monkeypatch.setenv("LDAPTLS_CACERT", str(slapd.ca_file))


def _start(pooler: PoolerFactory, slapd: Slapd, form: str = SIMPLE, **settings: object) -> PoolerProcess:
    return pooler(settings={"auth_type": "ldap", "auth_ldap_options": filled(form, slapd), **settings})


def _start_with_rules(
    pooler: PoolerFactory, slapd: Slapd | HeldDirectory, rules: str, **options: object
) -> PoolerProcess:
    """With these lines behind one that trusts the admin."""
    process = pooler(**options)
    path = process.directory / "hba.conf"
    path.write_text(f"host all {ADMIN} all trust\n" + filled(rules, slapd))
    process.configure(auth_type="hba", auth_hba_file=path)
    process.admin("RELOAD")
    return process


def _refusal(process: PoolerProcess, user: str, password: str, dbname: str = DATABASE) -> str:
    with pytest.raises(psycopg.OperationalError) as caught:
        process.connect(dbname, user=user, password=password)
    return str(caught.value).strip().rpartition("FATAL:  ")[2]


@pytest.mark.usefixtures("roles", "trusted")
def test_drivers_log_in_with_every_form_of_options(pooler: PoolerFactory, slapd: Slapd) -> None:
    process = _start(pooler, slapd)
    for form in FORMS:
        process.configure(auth_ldap_options=filled(form, slapd))
        process.admin("RELOAD")
        for driver in ("psycopg", "asyncpg"):
            assert login_by(driver, process, "alice", "wonder") == "alice"
            for user, password in (("alice", "Wonder"), ("nobody", "wonder"), ("*", "wonder")):
                assert login_by(driver, process, user, password) == REFUSED
    assert "onder" not in process.log_text()


def test_an_empty_password_is_refused_and_the_directory_not_asked(
    pooler: PoolerFactory, slapd: Slapd
) -> None:
    process = _start(pooler, slapd)
    for answer in (b"\0", b"", b"wonder", b"won\0der\0"):
        with RawClient(process.host, process.port) as client:
            client.send(startup_message("alice", DATABASE))
            assert client.read_message() == ("R", b"\0\0\0\3")
            client.send(message("p", answer))
            expected = (
                "empty password returned by client" if answer == b"\0" else "malformed password message"
            )
            assert client.expect_error()["M"] == expected
    assert "LDAP login failed" not in process.log_text()


@pytest.mark.usefixtures("roles")
def test_rules_ask_a_directory_each_in_its_own_way(pooler: PoolerFactory, slapd: Slapd) -> None:
    process = _start_with_rules(
        pooler,
        slapd,
        f"host {DATABASE} alice all ldap {SIMPLE}\n"
        f'host {DATABASE} all all ldap {SEARCH} ldapsearchfilter="mail=$username@example.net"\n'
        "host elsewhere all all scram-sha-256\n",
        userlist={"alice": "file"},
    )
    assert login_by("psycopg", process, "alice", "wonder") == "alice"
    assert login_by("asyncpg", process, "alice", "wonder") == "alice"
    # He is there, without a mail address; and file is what another rule would ask alice for.
    assert _refusal(process, "bob", "bob's") == _refusal(process, "alice", "file") == REFUSED
    log = process.log_text()
    assert 'LDAP user "bob" does not exist: no entry for filter "(mail=bob@example.net)"' in log


@pytest.mark.usefixtures("roles")
def test_what_ldap_has_confirmed_is_no_password_anywhere_else(
    pooler: PoolerFactory, slapd: Slapd, locked: TemporaryPostgres
) -> None:
    server = f"host=127.0.0.1 port={locked.port} dbname={DATABASE}"
    process = _start_with_rules(
        pooler,
        slapd,
        f"host {DATABASE} all all ldap {SIMPLE}\n"
        "host forced bob all trust\n"
        "host file all all scram-sha-256\n",
        databases={DATABASE: server, "file": server, "forced": f"{server} user=alice"},
        userlist={"alice": "file-password", "bob": "x"},
    )
    assert login_by("psycopg", process, "alice", "wonder") == "alice"
    # Neither has it taken the place of the secret of auth_file ...
    assert _refusal(process, "alice", "wonder", "file") == "SASL authentication failed"
    # ... nor do others get in to servers with it.
    assert "password authentication failed" in _refusal(process, "bob", "x", "forced")


def test_servers_get_the_password_that_the_directory_has_confirmed(
    pooler: PoolerFactory, slapd: Slapd, locked: TemporaryPostgres
) -> None:
    process = pooler(
        {"*": f"host=127.0.0.1 port={locked.port}"},
        settings={"auth_type": "ldap", "auth_ldap_options": filled(SIMPLE, slapd)},
    )
    for driver in ("psycopg", "asyncpg"):
        assert login_by(driver, process, "alice", "wonder") == "alice"
    # Known to the directory with another password than to PostgreSQL.
    assert "password authentication failed" in _refusal(process, "twin", "1")


@pytest.mark.usefixtures("roles")
def test_a_pool_from_before_takes_the_password_too(
    pooler: PoolerFactory, slapd: Slapd, locked: TemporaryPostgres
) -> None:
    process = pooler(
        {"*": f"host=127.0.0.1 port={locked.port}"},
        settings={"server_login_retry": 0},
        userlist={"alice": "old-password"},
    )
    assert "password authentication failed" in _refusal(process, "alice", "")
    process.configure(auth_type="ldap", auth_ldap_options=filled(SIMPLE, slapd))
    process.admin("RELOAD")
    assert login_by("psycopg", process, "alice", "wonder") == "alice"


def test_limits_and_forced_users_hold(
    pooler: PoolerFactory, slapd: Slapd, postgres: TemporaryPostgres
) -> None:
    process = pooler(
        {DATABASE: f"host=127.0.0.1 port={postgres.port} user={USER}"},
        settings={"auth_type": "ldap", "auth_ldap_options": filled(SIMPLE, slapd)},
        users={"alice": "max_user_client_connections=1"},
    )
    for _ in range(2):
        assert _refusal(process, "alice", "Wonder") == REFUSED
        with process.connect(DATABASE, user="alice", password="wonder") as client:
            assert value(client, "SELECT current_user") == USER
            assert "max_user_client_connections" in _refusal(process, "alice", "wonder")
        client.close()
        wait_until(lambda: not pool_row(process, user=USER)["cl_active"], "alice has left")


@pytest.mark.usefixtures("roles")
def test_a_server_that_is_down_refuses_and_the_next_one_is_asked(
    pooler: PoolerFactory, slapd: Slapd, unused_tcp_port: int
) -> None:
    process = _start(pooler, slapd, f'ldapserver="127.0.0.2 127.0.0.1" {SIMPLE.partition(" ")[2]}')
    assert login_by("psycopg", process, "alice", "wonder") == "alice"
    process.configure(auth_ldap_options=f'ldapserver=127.0.0.1 ldapport={unused_tcp_port} ldapprefix="uid="')
    process.admin("RELOAD")
    assert login_by("asyncpg", process, "alice", "wonder") == REFUSED
    process.wait_for_log(f"could not connect to LDAP server ldap://127.0.0.1:{unused_tcp_port}")


# While a check runs -----------------------------------------------------------------------------------------


@pytest.fixture
def held(slapd: Slapd) -> Iterator[HeldDirectory]:
    with HeldDirectory(slapd.port) as directory:
        yield directory


def _start_held(pooler: PoolerFactory, held: HeldDirectory, **settings: object) -> PoolerProcess:
    """Everybody but the admin and `postgres` is asked for at the directory."""
    rules = f"host all {USER} all trust\nhost all all all ldap {SIMPLE}\n"
    process = _start_with_rules(pooler, held, rules)
    process.configure(**settings)
    process.admin("RELOAD")
    return process


@pytest.mark.usefixtures("roles")
def test_many_logins_at_once_keep_nobody_waiting_but_themselves(
    pooler: PoolerFactory, held: HeldDirectory
) -> None:
    process = _start_held(pooler, held)
    logins = [Background(lambda: login_by("psycopg", process, "alice", "wonder")) for _ in range(20)]
    held.wait_for(LDAP_THREADS)
    with process.connect(DATABASE) as other:
        assert value(other, "SELECT 7") == 7
    assert all(login.is_alive() for login in logins)
    held.release()
    assert [login.result() for login in logins] == ["alice"] * 20


@pytest.mark.usefixtures("roles")
def test_what_is_sent_ahead_waits_for_the_answer(pooler: PoolerFactory, held: HeldDirectory) -> None:
    process = _start_held(pooler, held)
    with RawClient(process.host, process.port) as client:
        client.send(startup_message("alice", DATABASE))
        client.read_message()
        client.send(message("p", b"wonder\0") + message("Q", b"SELECT 'ahead'\0"))
        held.wait_for(1)
        held.release()
        assert client.read_until("Z")[0] == ("R", b"\0\0\0\0")
        assert [kind for kind, _ in client.read_until("Z")] == ["T", "D", "C", "Z"]


def test_a_directory_that_stalls_is_ended_by_the_login_timeout(
    pooler: PoolerFactory, held: HeldDirectory
) -> None:
    process = _start_held(pooler, held, client_login_timeout=1)
    assert _refusal(process, "alice", "wonder") == "client_login_timeout"
    held.release()
    assert pool_row(process, user="alice") == {}


@pytest.mark.usefixtures("roles")
def test_who_leaves_is_forgotten_and_not_asked_for(pooler: PoolerFactory, held: HeldDirectory) -> None:
    process = _start_held(pooler, held)
    clients = [_waiting(process) for _ in range(LDAP_THREADS)]
    held.wait_for(LDAP_THREADS)
    clients += [_waiting(process), _waiting(process)]
    for client in clients[::2]:
        client.close()
    for client in clients[1::2]:
        client.abort()
    wait_until(
        lambda: [row["user"] for row in process.admin("SHOW CLIENTS")] == [ADMIN], "everybody has left"
    )
    held.release()
    assert login_by("psycopg", process, "alice", "wonder") == "alice"
    assert held.connections == LDAP_THREADS + 1


def _waiting(process: PoolerProcess) -> RawClient:
    """Somebody who has sent the password."""
    client = RawClient(process.host, process.port)
    client.send(startup_message("alice", DATABASE))
    client.read_message()
    client.send(message("p", b"wonder\0"))
    return client


def test_a_directory_that_stalls_does_not_keep_the_pooler(pooler: PoolerFactory, held: HeldDirectory) -> None:
    process = _start_held(pooler, held)
    with _waiting(process) as client:
        held.wait_for(1)
        process.signal(signal.SIGQUIT)
        assert process.wait() == 0
        client.expect_close()


# The console ------------------------------------------------------------------------------------------------


def test_who_is_in_the_directory_may_use_the_console_as_the_settings_say(
    pooler: PoolerFactory, slapd: Slapd
) -> None:
    process = _start(pooler, slapd, admin_users=f"{ADMIN},alice", stats_users="twin", default_pool_size=7)
    with process.connect("pgbouncer", user="alice", password="wonder") as console:
        console.execute("RELOAD")
        assert console.execute("SHOW USERS").fetchall()
    with process.connect("pgbouncer", user="twin", password="1") as console:
        assert console.execute("SHOW POOLS").description
        with pytest.raises(psycopg.Error, match="admin access needed"):
            console.execute("RELOAD")
    assert _refusal(process, "alice", "Wonder", "pgbouncer") == REFUSED
    assert _refusal(process, "sta*(r)", "star", "pgbouncer") == "not allowed"
    assert _refusal(process, ADMIN, "wonder", "pgbouncer") == REFUSED


def test_a_database_that_does_not_exist_is_told_to_those_who_are_in(
    pooler: PoolerFactory, slapd: Slapd
) -> None:
    process = pooler(
        {"one": "host=127.0.0.1"},
        settings={"auth_type": "ldap", "auth_ldap_options": filled(SIMPLE, slapd)},
    )
    assert _refusal(process, "alice", "wonder", "two") == "no such database: two"
    assert _refusal(process, "alice", "Wonder", "two") == REFUSED


def test_auth_user_of_a_database_does_not_go_with_ldap(pooler: PoolerFactory, slapd: Slapd) -> None:
    process = pooler(
        {DATABASE: "host=127.0.0.1 auth_user=postgres"},
        settings={"auth_type": "ldap", "auth_ldap_options": filled(SIMPLE, slapd)},
    )
    assert _refusal(process, "alice", "wonder") == "bouncer config error"
    process.wait_for_log("LDAP can't be used together with database authentication")


# Settings that cannot be ------------------------------------------------------------------------------------


NO_SERVER = "ldapserver is not set, and ldapbasedn has no dc= to look servers up with"


def test_options_that_cannot_be_used_end_the_start(pooler: PoolerFactory) -> None:
    mixed = "ldapserver=h ldapprefix=x ldapbindpasswd=hunter2"
    reason = r"pgbouncer.ini: auth_ldap_options: cannot mix options for simple bind and search\+bind modes"
    with pytest.raises(BouncerFailed, match=reason) as caught:
        pooler(settings={"auth_type": "ldap", "auth_ldap_options": mixed})
    assert "hunter2" not in str(caught.value)


def test_reload_refuses_what_start_would(pooler: PoolerFactory, slapd: Slapd) -> None:
    process = _start(pooler, slapd)
    for text, reason in (
        ("", "pgbouncer.ini: auth_type = ldap needs auth_ldap_options"),
        ("ldapbasedn=x", f"pgbouncer.ini: auth_ldap_options: {NO_SERVER}"),
    ):
        process.configure(auth_ldap_options=text)
        with pytest.raises(psycopg.Error, match=reason):
            process.admin("RELOAD")
    path = process.directory / "hba.conf"
    path.write_text(
        f"host all {ADMIN} all trust\n\nhost all all all ldap {filled(SIMPLE, slapd)} ldaptls=yes\n"
    )
    process.configure(auth_type="hba", auth_hba_file=path)
    with pytest.raises(psycopg.Error, match=f"{path}:3: invalid ldaptls: expected 0 or 1"):
        process.admin("RELOAD")


def test_without_the_extra_the_start_ends_and_says_so() -> None:
    needed = 'LDAP needs the extra "ldap": pip install "pooldeck\\[ldap\\]"'
    settings = {"auth_type": "ldap", "auth_ldap_options": 'ldapserver=h ldapprefix="uid="'}
    with (
        pytest.raises(BouncerFailed, match=f"pgbouncer.ini: auth_type: {needed}"),
        PoolerWithout("ldap3", {}, settings=settings),
    ):
        pass
    with PoolerWithout("ldap3", {}) as process:
        path = process.directory / "hba.conf"
        path.write_text('host all all all trust\nhost all all all ldap ldapserver=h ldapprefix="uid="\n')
        process.configure(auth_type="hba", auth_hba_file=path)
        with pytest.raises(psycopg.Error, match=f"{path}:2: {needed}"):
            process.admin("RELOAD")


@pytest.mark.parametrize(
    ("method", "missing"),
    [
        ("ldap", "auth_type = ldap needs auth_ldap_options"),
        ("hba", "auth_type = hba needs auth_hba_file"),
    ],
)
def test_set_of_a_method_that_cannot_work_locks_nobody_out(
    pooler: PoolerFactory, method: str, missing: str
) -> None:
    process = pooler()
    with pytest.raises(psycopg.Error, match="SET failed") as failure:
        process.admin(f"SET auth_type = '{method}'")
    assert str(failure.value.diag.message_detail).endswith(missing)
    with process.connect(DATABASE) as client:
        assert value(client, "SELECT 1") == 1
