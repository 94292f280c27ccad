"""RELOAD DRY RUN, SHOW CONFIG_DIFF and SAVE CONFIG, as the console answers them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pooler.config.atomic import EditRefused
from pooler.config.entries import parse_database, parse_user
from pooler.config.errors import ConfigError, ConfigErrors, Origin
from pooler.config.save import Saved
from pooler.config.settings import Settings
from pooler.config.snapshot import AutoDatabase, Snapshot
from pooler.wire.messages import INT4, TEXT
from tests.unit.admin.fakes import FakeConsole, FakePooler

SETTINGS = Settings().replace("stats_period", "5").replace("conffile", "a.ini")
RUNNING = Snapshot(
    settings=SETTINGS,
    databases={"p0": parse_database("p0", "host=h password=old connect_query='SELECT 1' pool_size=3")},
    users={"bob": parse_user("bob", "pool_mode=session")},
    explicit={"stats_period": Origin("a.ini", 2)},
)


@pytest.fixture
def pooler() -> FakePooler:
    return FakePooler(RUNNING)


@pytest.fixture
def console(pooler: FakePooler) -> FakeConsole:
    return pooler.console()


def preview(console: FakeConsole) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in console.table("reload dry run")]


def diff(console: FakeConsole) -> list[tuple[Any, ...]]:
    return [tuple(row.values()) for row in console.table("show config_diff")]


def test_show_config_shows_no_password(pooler: FakePooler, console: FakeConsole) -> None:
    def shown() -> Any:
        return {row["key"]: row["value"] for row in console.table("show config")}["auth_ldap_options"]

    assert shown() is None
    pooler.registry.settings = SETTINGS.replace("auth_ldap_options", "ldapbindpasswd=secret")
    assert shown() == "***"
    assert "secret" not in str(console.table("select current_setting('auth_ldap_options')"))


def settings(snapshot: Snapshot, **texts: str) -> Snapshot:
    """The same with these settings in the file."""
    changed = snapshot.settings
    for name, text in texts.items():
        changed = changed.replace(name, text)
    explicit = {**snapshot.explicit, **{name: Origin("a.ini", 9) for name in texts}}
    return replace(snapshot, settings=changed, explicit=explicit)


# RELOAD DRY RUN --------------------------------------------------------------------------------------


def test_nothing_to_change(pooler: FakePooler, console: FakeConsole) -> None:
    replies = console.ask("RELOAD DRY RUN;")
    names = ("section", "key", "change", "old", "new", "needs")
    assert replies == [("T", [(name, TEXT) for name in names]), ("C", "RELOAD"), ("Z", "I")]
    assert pooler.reloads == 0


def test_settings_and_what_they_need(pooler: FakePooler, console: FakeConsole) -> None:
    pooler.file = settings(
        RUNNING, stats_period="6", listen_port="7000", auth_type="trust", auth_ldap_options="secret"
    )
    assert preview(console) == [
        ("pgbouncer", "auth_ldap_options", "changed", "***", "***", "reconnect"),
        ("pgbouncer", "auth_type", "changed", "md5", "trust", "reconnect"),
        ("pgbouncer", "listen_port", "changed", "6432", "7000", "restart"),
        ("pgbouncer", "stats_period", "changed", "5", "6", "now"),
    ]


def test_what_was_set_would_be_taken_back(pooler: FakePooler, console: FakeConsole) -> None:
    pooler.registry.settings = SETTINGS.replace("stats_period", "9").replace("verbose", "2")
    assert preview(console) == [
        ("pgbouncer", "stats_period", "changed", "9", "5", "now"),
        ("pgbouncer", "verbose", "changed", "2", "0", "now"),
    ]


def test_the_verbosity_of_the_command_line_stays(pooler: FakePooler, console: FakeConsole) -> None:
    pooler.registry.settings = SETTINGS.replace("verbose", "2")
    pooler.registry.snapshot = replace(RUNNING, settings=pooler.registry.settings)
    assert preview(console) == []


def test_databases_and_users(pooler: FakePooler, console: FakeConsole) -> None:
    pooler.file = replace(
        RUNNING,
        databases={
            "p0": parse_database("p0", "host=g password=new connect_query='SELECT 2' pool_mode=statement"),
            "p1": parse_database("p1", "port=7 password=x"),
        },
        autodb=AutoDatabase("host=star"),
        users={},
    )
    assert preview(console) == [
        ("databases", "p0.host", "changed", "h", "g", "reconnect"),
        ("databases", "p0.password", "changed", "***", "***", "reconnect"),
        ("databases", "p0.connect_query", "changed", "***", "***", "reconnect"),
        ("databases", "p0.pool_size", "changed", "3", None, "now"),
        ("databases", "p0.pool_mode", "changed", None, "statement", "now"),
        (
            *("databases", "p1", "added", None),
            *("dbname=p1 port=7 password=*** load_balance_hosts=round-robin", "now"),
        ),
        (
            "databases",
            "*",
            "added",
            None,
            "dbname=* host=star port=5432 load_balance_hosts=round-robin",
            "now",
        ),
        ("users", "bob", "removed", "pool_mode=session", None, "now"),
    ]


def test_other_files_come_last(pooler: FakePooler, console: FakeConsole) -> None:
    pooler.file_changes = [("auth_file", "eve", "added", None, "***", "now")]
    assert preview(console) == pooler.file_changes


def test_a_dry_run_fails_as_reload_does(pooler: FakePooler, console: FakeConsole) -> None:
    pooler.failure = ConfigErrors((ConfigError("a.ini", 3, "unknown parameter: x"),))
    assert console.ask("reload dry run") == console.ask("reload")
    assert pooler.log.lines.count("ERROR a.ini:3: unknown parameter: x") == 2


# SHOW CONFIG_DIFF ------------------------------------------------------------------------------------

OF_FILE = ("pgbouncer", "stats_period", "5", "5", "60", "file", "yes")
CONFFILE = ("pgbouncer", "conffile", None, "a.ini", None, "command line", "yes")


def of_settings(console: FakeConsole) -> list[tuple[Any, ...]]:
    return [row for row in diff(console) if row[0] == "pgbouncer"]


def test_what_is_not_the_default(console: FakeConsole) -> None:
    assert diff(console) == [
        CONFFILE,
        OF_FILE,
        ("databases", "p0.host", "h", "h", None, "file", "yes"),
        ("databases", "p0.password", "***", "***", None, "file", "yes"),
        ("databases", "p0.connect_query", "***", "***", None, "file", "yes"),
        ("databases", "p0.pool_size", "3", "3", None, "file", "yes"),
        ("users", "bob.pool_mode", "session", "session", None, "file", "yes"),
    ]


def test_what_was_set(pooler: FakePooler, console: FakeConsole) -> None:
    pooler.registry.settings = SETTINGS.replace("stats_period", "60").replace("verbose", "3")
    pooler.settings_set = [("stats_period", "60"), ("verbose", "3")]
    assert of_settings(console) == [
        CONFFILE,
        ("pgbouncer", "stats_period", "5", "60", "60", "set", "yes"),
        ("pgbouncer", "verbose", None, "3", None, "set", "yes"),
    ]


def test_a_file_that_was_edited_and_not_loaded(pooler: FakePooler, console: FakeConsole) -> None:
    pooler.file = settings(RUNNING, listen_port="7000", auth_ldap_options="secret")
    pooler.file = replace(pooler.file, users={}, databases={})
    assert of_settings(console) == [
        ("pgbouncer", "auth_ldap_options", "***", None, None, "default", "yes"),
        CONFFILE,
        ("pgbouncer", "listen_port", "7000", "6432", "6432", "default", "no"),
        OF_FILE,
    ]
    assert ("users", "bob.pool_mode", None, "session", None, "file", "yes") in diff(console)
    assert ("databases", "p0.password", None, "***", None, "file", "yes") in diff(console)


def test_that_secrets_differ_is_said(pooler: FakePooler, console: FakeConsole) -> None:
    changed = {"p0": parse_database("p0", "host=h password=new")}
    pooler.file = replace(RUNNING, databases=changed)
    assert ("databases", "p0.password", "***", "*** (another)", None, "file", "yes") in diff(console)


def test_a_setting_that_was_taken_out_of_the_file(pooler: FakePooler, console: FakeConsole) -> None:
    pooler.file = replace(RUNNING, settings=Settings(conffile="a.ini"), explicit={})
    assert of_settings(console) == [CONFFILE, ("pgbouncer", "stats_period", None, "5", "60", "file", "yes")]


def test_a_file_that_cannot_be_read(pooler: FakePooler, console: FakeConsole) -> None:
    pooler.failure = ConfigErrors((ConfigError("a.ini", 3, "wrong"),))
    (kind, fields), _ = console.ask("show config_diff")
    assert (kind, fields["C"], fields["D"]) == ("E", "F0000", "a.ini:3: wrong")


# SAVE CONFIG -----------------------------------------------------------------------------------------


def test_save_answers_with_what_was_written(pooler: FakePooler, console: FakeConsole) -> None:
    pooler.saved = (
        [
            Saved("stats_period", "5", "6", Origin("/x/a.ini", 2)),
            Saved("auth_ldap_options", None, "secret", Origin("/x/a.ini", 3)),
        ],
        ["/x/a.ini.bak"],
    )
    columns = [("key", TEXT), ("old", TEXT), ("new", TEXT), ("file", TEXT), ("line", INT4), ("backup", TEXT)]
    assert console.ask("SAVE CONFIG") == [
        ("T", columns),
        ("D", ("stats_period", "5", "6", "/x/a.ini", "2", "/x/a.ini.bak")),
        ("D", ("auth_ldap_options", None, "***", "/x/a.ini", "3", "/x/a.ini.bak")),
        ("C", "SAVE"),
        ("Z", "I"),
    ]
    assert "secret" not in "".join(pooler.log.lines)


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (EditRefused("a.ini: has changed"), "a.ini: has changed (the pooler runs as "),
        (PermissionError(13, "Permission denied", "a.ini"), "a.ini: Permission denied (the pooler runs as "),
        (ConfigErrors((ConfigError("a.ini", None, "no key"),)), "a.ini: no key"),
    ],
)
def test_save_that_fails(failure: Exception, reason: str, pooler: FakePooler, console: FakeConsole) -> None:
    pooler.failure = failure
    (kind, fields), _ = console.ask("save config")
    assert (kind, fields["C"], fields["M"]) == ("E", "F0000", "SAVE CONFIG failed")
    assert str(fields["D"]).startswith(reason)
