"""Where to connect to, out of whatever was said."""

from __future__ import annotations

import getpass
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import asyncpg
import psycopg.conninfo
import pytest

from tui.admin import ini_target, own, stock, target
from tui.admin.errors import TargetError
from tui.admin.target import Target, parse_target


@pytest.fixture(autouse=True)
def nothing_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    """No socket of this machine is the default, and no variable of it."""
    monkeypatch.setattr(target, "_SOCKET_DIRECTORIES", ())
    for variable in (*target._VARIABLES.values(), "PGSERVICE", "PGSERVICEFILE", "PGDATABASE"):
        monkeypatch.delenv(variable, raising=False)


def parsed(text: str | None = None, **environ: str) -> Target:
    return parse_target(text, environ)


def test_without_a_word_it_is_the_admin_database_of_this_machine() -> None:
    assert parsed() == Target("localhost", "6432", getpass.getuser(), "pgbouncer")


def test_a_socket_in_a_usual_directory_is_the_default(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(target, "_SOCKET_DIRECTORIES", ("/no/such/directory", str(tmp_path)))
    (tmp_path / ".s.PGSQL.6433").touch()
    assert parsed("port=6433").host == str(tmp_path)
    assert parsed("port=6434").host == "localhost"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("postgresql://ops@pool:6433/admin", Target("pool", "6433", "ops", "admin")),
        ("postgres://ops:se%2Fcret@pool", Target("pool", "6432", "ops", password="se/cret")),
        ("postgresql://a%40b@[::1]:7000", Target("::1", "7000", "a@b")),
        ("postgresql://ops@%2Frun%2Fpooler:6433", Target("/run/pooler", "6433", "ops")),
        ("postgresql://ops@/?host=/run/pooler", Target("/run/pooler", "6432", "ops")),
        ("postgresql://ops@one:1,two/pgbouncer", Target("one,two", "1,6432", "ops")),
        (
            "postgresql://ops:@pool?dbname=x&application_name=y",
            Target("pool", "6432", "ops", "x", password=""),
        ),
        ("host=pool user=ops", Target("pool", "6432", "ops")),
        (r"host = pool  user='it\'s' password = a\ b", Target("pool", "6432", "it's", password="a b")),
        ("hostaddr=10.0.0.7 host=pool user=ops dbname=''", Target("10.0.0.7", "6432", "ops")),
        ("host=pool user=ops connect_timeout=3", Target("pool", "6432", "ops", connect_timeout=3.0)),
        ("host=pool user=ops connect_timeout=0", Target("pool", "6432", "ops")),
    ],
)
def test_urls_and_connection_strings(text: str, expected: Target) -> None:
    assert parsed(text) == expected


def test_tls_options_are_kept_and_what_does_not_matter_is_not() -> None:
    found = parsed("postgresql://ops@pool?sslmode=verify-full&sslrootcert=/ca.pem&sslsni=1&keepalives=1")
    assert found.options == {"sslmode": "verify-full", "sslrootcert": "/ca.pem"}


def test_variables_say_what_the_text_does_not() -> None:
    environ = {"PGHOST": "pool", "PGPORT": "6433", "PGUSER": "ops", "PGPASSWORD": "x", "PGSSLMODE": "require"}
    found = parsed("user=eve", **environ)
    assert found == Target("pool", "6433", "eve", password="x", options={"sslmode": "require"})


def test_pgdatabase_is_about_another_database() -> None:
    assert parsed(None, PGDATABASE="shop").database == "pgbouncer"


@pytest.mark.parametrize(
    "text",
    [
        "pool",
        "/no/such/file.ini",
        "host=pool colour=red",
        "postgresql://pool?colour=red",
        "host=pool port=0",
        "port=65536",
        "postgresql://pool:http",
        "host='pool",
        "user=ops host",
        "connect_timeout=soon",
        "channel_binding=require",
        "host=pool sslmode=on",
    ],
)
def test_what_makes_no_sense_is_refused(text: str) -> None:
    with pytest.raises(TargetError):
        parsed(text)


@pytest.mark.parametrize(
    "text", ["postgresql://ops:top/secret@pool", "user=ops password=top secret", "password='top secret"]
)
def test_no_password_is_in_the_error(text: str) -> None:
    with pytest.raises(TargetError, match=r"^(?!.*secret)(?!.*top)"):
        parsed(text)


def test_no_password_is_shown() -> None:
    found = parsed("postgresql://ops:secret@[::1]?sslpassword=secret")
    assert str(found) == "ops@[::1]:6432/pgbouncer"
    assert "secret" not in repr(found)


# Service files -------------------------------------------------------------------------------------------


@pytest.fixture
def service_file(tmp_path: Path) -> str:
    path = tmp_path / "services"
    path.write_text("# ours\n[pool]\nhost=pool\nport=6433\npassword=100%sure\n[odd]\ncolour=red\n")
    return str(path)


def test_a_service_comes_before_the_variables_and_behind_the_text(service_file: str) -> None:
    found = parsed("service=pool port=1", PGSERVICEFILE=service_file, PGHOST="elsewhere", PGUSER="ops")
    assert found == Target("pool", "1", "ops", password="100%sure")
    assert parsed(None, PGSERVICEFILE=service_file, PGSERVICE="pool").port == "6433"
    assert parsed(f"postgresql://?service=pool&servicefile={service_file}").host == "pool"


def test_a_service_of_the_system(service_file: str, tmp_path: Path) -> None:
    (tmp_path / "pg_service.conf").write_text(Path(service_file).read_text())
    found = parsed("service=pool", PGSERVICEFILE="/no/such/file", PGSYSCONFDIR=str(tmp_path))
    assert found.host == "pool"


@pytest.mark.parametrize("name", ["nobody", "odd"])
def test_a_service_that_there_is_not_or_that_is_wrong(service_file: str, name: str) -> None:
    with pytest.raises(TargetError):
        parsed(f"service={name}", PGSERVICEFILE=service_file)


# Ini files -----------------------------------------------------------------------------------------------


@pytest.fixture
def ini(tmp_path: Path) -> Callable[..., str]:
    """Writes an ini file with these settings; its path."""

    def write(**settings: object) -> str:
        path = tmp_path / "pgbouncer.ini"
        lines = "".join(f"{name} = {value}\n" for name, value in settings.items())
        path.write_text(f"[databases]\nx = port=1\n[pgbouncer]\nof_a_later_release = 1\n{lines}")
        return str(path)

    return write


@pytest.mark.parametrize(
    ("settings", "host"),
    [
        ({"listen_addr": "10.0.0.7, 10.0.0.8"}, "10.0.0.7"),
        ({"listen_addr": "*"}, "127.0.0.1"),
        ({"listen_addr": "::"}, "::1"),
        ({"unix_socket_dir": "/no/such/directory"}, "/no/such/directory"),
        ({"unix_socket_dir": "/no/such/directory", "listen_addr": "pool"}, "pool"),
        ({"unix_socket_dir": "@abstract", "listen_addr": "pool"}, "pool"),
    ],
)
def test_the_address_of_an_ini_file(ini: Callable[..., str], settings: dict[str, str], host: str) -> None:
    found = parsed(
        ini(listen_port=6440, **settings), PGHOST="elsewhere", PGHOSTADDR="10.9.9.9", PGSERVICE="no"
    )
    assert (found.host, found.port) == (host, "6440")


def test_a_socket_that_is_there_comes_first(ini: Callable[..., str], tmp_path: Path) -> None:
    (tmp_path / ".s.PGSQL.6432").touch()
    assert parsed(ini(listen_addr="pool", unix_socket_dir=tmp_path)).host == str(tmp_path)


def test_who_runs_the_pooler_needs_no_password(
    ini: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With SCRAM and no password file, an admin of the file would be refused."""
    (tmp_path / ".s.PGSQL.6432").touch()
    path = ini(admin_users="ops", unix_socket_dir=tmp_path)
    assert parsed(path).user == "pgbouncer"
    assert parsed(path, PGUSER="ops").user == "ops"
    monkeypatch.setattr(os, "geteuid", lambda: os.getuid() + 1)
    assert parsed(path).user == "ops"


@pytest.mark.parametrize(
    ("settings", "user"),
    [
        ({"admin_users": "ops, me"}, "me"),
        ({"admin_users": "ops, dba", "stats_users": "me"}, "ops"),
        ({"stats_users": "stats"}, "stats"),
        ({}, "pgbouncer"),
    ],
)
def test_the_user_of_an_ini_file(ini: Callable[..., str], settings: dict[str, str], user: str) -> None:
    _, fallback = ini_target.from_ini(ini(listen_addr="pool", **settings), "me")
    assert fallback == {"user": user}


def test_a_variable_names_another_user(ini: Callable[..., str]) -> None:
    path = ini(listen_addr="pool", admin_users="ops")
    assert parsed(path, PGUSER="eve").user == "eve"


def test_an_ini_file_that_leads_nowhere(ini: Callable[..., str], tmp_path: Path) -> None:
    with pytest.raises(TargetError, match="neither listen_addr"):
        parsed(ini(unix_socket_dir=""))
    (tmp_path / "other.ini").write_text("[server]\nport = 1\n")
    with pytest.raises(TargetError, match=re.escape("nothing is set under [pgbouncer]")):
        parsed(str(tmp_path / "other.ini"))


# Drivers -------------------------------------------------------------------------------------------------


async def test_asyncpg_is_told_what_the_target_says(monkeypatch: pytest.MonkeyPatch) -> None:
    found = parsed(
        "postgresql://ops:x@one:1,two:2?sslmode=verify-full&sslrootcert=/no/such/ca.pem&passfile=/p"
    )
    told = own.arguments(found)
    assert (told["host"], told["port"], told["passfile"]) == (["one", "two"], [1, 2], "/p")
    # It is asyncpg that looks for the file.
    with pytest.raises((asyncpg.exceptions.ClientConfigurationError, OSError), match=r"ca\.pem|No such file"):
        await asyncpg.connect(**told)


def test_libpq_is_told_what_the_target_says() -> None:
    found = parsed("postgresql://ops:x@one:1,two:2?sslmode=verify-full&sslrootcert=/ca.pem&passfile=/p")
    told: dict[str, Any] = psycopg.conninfo.conninfo_to_dict(
        psycopg.conninfo.make_conninfo(**stock.arguments(found))
    )
    assert told == {
        "host": "one,two",
        "port": "1,2",
        "client_encoding": "UTF8",
        "user": "ops",
        "password": "x",
        "dbname": "pgbouncer",
        "passfile": "/p",
        "sslmode": "verify-full",
        "sslrootcert": "/ca.pem",
        "application_name": "pooldeck",
    }
