"""Where the files are, and the settings that are in force beside what the file says."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pooler.config.snapshot import Snapshot, load
from tui.admin.table import Table
from tui.files.running import not_in_force, settings_table
from tui.files.whereabouts import Whereabouts, configuration_file, is_local, log_file

DIFF = ("section", "key", "file", "running", "default", "source", "changeable")


@pytest.mark.parametrize(
    "host", ["", "/run/postgresql", "@pooler", "localhost", "127.0.0.1", "::1", "/a,::1"]
)
def test_on_this_machine(host: str) -> None:
    assert is_local(host)


@pytest.mark.parametrize("host", ["10.0.0.7", "db.example", "/run,10.0.0.7"])
def test_on_another_machine(host: str) -> None:
    assert not is_local(host)


def test_a_path_that_was_given_goes_before_everything(tmp_path: Path) -> None:
    assert configuration_file("/etc/a.ini", "far", None) == Whereabouts("/etc/a.ini")
    assert log_file("/var/log/a", "far", {"logfile": "/b"}) == Whereabouts("/var/log/a")


def test_a_file_that_the_pooler_names_is_taken_if_it_is_here(tmp_path: Path) -> None:
    path = tmp_path / "a.ini"
    path.touch()
    assert configuration_file(None, "/run", {"conffile": str(path)}) == Whereabouts(str(path))


@pytest.mark.parametrize(
    ("host", "running", "said"),
    [
        ("/run", None, "the pooler has not said yet where its configuration file is"),
        ("/run", {"conffile": None}, "the pooler has no configuration file: its setting conffile is empty"),
        (
            "db.example",
            {"conffile": "/etc/a.ini"},
            "the configuration file, /etc/a.ini, is on another machine: that of db.example",
        ),
        (
            "127.0.0.1",
            {"conffile": "/none/a.ini"},
            "there is no /none/a.ini on this machine: the pooler may run in a container",
        ),
        (
            "127.0.0.1",
            {"conffile": "no-such.ini"},
            "the configuration file is no-such.ini, relative to the directory that the pooler runs in",
        ),
    ],
)
def test_why_there_is_none_is_said(host: str, running: dict[str, Any] | None, said: str) -> None:
    assert configuration_file(None, host, running) == Whereabouts(reason=said)


CONFIG = Table(
    ("key", "value", "default", "changeable"),
    [
        ("auth_ldap_options", "ldapbindpasswd=x", None, "yes"),
        ("default_pool_size", "30", "20", "yes"),
        ("pkt_buf", "4096", "4096", "no"),
        ("query_timeout", "5", "0", "yes"),
        ("unheard_of", "1", "2", "yes"),
    ],
)


def rows(table: Table) -> dict[str, dict[str, Any]]:
    return {row["key"]: row for row in table.dicts()}


def test_beside_what_show_config_diff_says() -> None:
    table = settings_table(
        CONFIG,
        Table(
            DIFF,
            [
                ("pgbouncer", "default_pool_size", "25", "30", "20", "set", "yes"),
                ("pgbouncer", "query_timeout", "5", "5", "0", "file", "yes"),
                ("pgbouncer", "auth_ldap_options", "***", "*** (another)", None, "set", "yes"),
                ("databases", "shop.pool_size", "7", "8", None, "file", "yes"),
                ("databases", "shop.host", "h", "h", None, "file", "yes"),
            ],
        ),
        None,
    )
    found = rows(table)
    assert (found["default_pool_size"]["differs"], found["default_pool_size"]["file"]) == ("≠ file", "25")
    assert found["default_pool_size"]["source"] == "set"
    assert found["default_pool_size"]["overridden"] == "[databases] pool_size [users] pool_size"
    assert found["default_pool_size"]["help"].startswith("Most server connections of one pool")
    assert found["query_timeout"]["differs"] == "≠ default"
    assert found["pkt_buf"]["differs"] == ""
    assert found["unheard_of"]["help"] == ""
    assert found["auth_ldap_options"]["value"] == found["auth_ldap_options"]["file"] == "***"
    assert (found["databases: shop.pool_size"]["value"], found["databases: shop.pool_size"]["file"]) == (
        "8",
        "7",
    )
    assert "databases: shop.host" not in found
    assert not_in_force(table) == 3


def test_what_the_file_does_not_set_any_more_differs_too() -> None:
    diff = Table(DIFF, [("pgbouncer", "query_timeout", None, "5", "0", "file", "yes")])
    assert rows(settings_table(CONFIG, diff, None))["query_timeout"]["differs"] == "≠ file"


@pytest.fixture
def filed(tmp_path: Path) -> Snapshot:
    path = tmp_path / "a.ini"
    path.write_text("[pgbouncer]\ndefault_pool_size=0x1e\nquery_timeout=7\nauth_ldap_options=y\n")
    return load(str(path))


def test_beside_the_file_as_it_is_here(filed: Snapshot) -> None:
    found = rows(settings_table(CONFIG, None, filed))
    assert (found["default_pool_size"]["differs"], found["default_pool_size"]["file"]) == ("≠ default", "30")
    assert (found["query_timeout"]["differs"], found["query_timeout"]["file"]) == ("≠ file", "7")
    assert found["auth_ldap_options"]["file"] == "***"
    assert found["pkt_buf"]["file"] is None


def test_without_either_only_defaults_can_differ() -> None:
    found = rows(settings_table(CONFIG, None, None))
    assert found["default_pool_size"]["differs"] == "≠ default"
    assert not_in_force(settings_table(CONFIG, None, None)) == 0


def test_values_of_other_releases_are_compared_as_they_are(filed: Snapshot) -> None:
    config = Table(CONFIG.columns, [("query_timeout", "7 s", "0", "yes"), ("pkt_buf", None, None, "no")])
    assert rows(settings_table(config, None, filed))["query_timeout"]["differs"] == "≠ file"
