"""Who did what: SHOW AUDIT, and the lines of the log."""

import re
from typing import Any

import pytest

from pooler.admin.audit import KEPT, Audit, Entry, described, masked
from pooler.admin.parser import parse
from pooler.config.errors import ConfigError, ConfigErrors
from pooler.wire.messages import query
from tests.unit.admin.fakes import FakeConsole, FakeLog, FakePooler, databases


@pytest.fixture
def pooler() -> FakePooler:
    return FakePooler(databases(p0="host=h pool_mode=transaction"))


@pytest.fixture
def console(pooler: FakePooler) -> FakeConsole:
    return pooler.console()


def commands(console: FakeConsole) -> list[tuple[Any, ...]]:
    """User, command and result of each row."""
    return [(row["user"], row["command"], row["result"]) for row in console.table("show audit")]


def test_a_row_says_who_and_when_and_what_and_how_long(pooler: FakePooler, console: FakeConsole) -> None:
    console.ask(" RECONNECT  p0 ;")
    (row,) = console.table("show audit")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \S+", row.pop("time") or "")
    assert int(row.pop("ms") or -1) >= 0
    addr = console.client.remote.text()
    assert row == {"user": "admin", "addr": addr, "command": "RECONNECT p0", "result": "ok"}
    (line,) = pooler.log.audit
    assert re.fullmatch(rf"LOG audit: RECONNECT p0 by admin from {addr}: ok \(\d+ ms\)", line)


def test_what_only_looks_is_not_in_it(pooler: FakePooler, console: FakeConsole) -> None:
    for sql in (
        "show pools",
        "select stats",
        "show help",
        "reload dry run",
        "set client_encoding = 'x'",
        "x",
    ):
        console.ask(sql)
    assert commands(console) == []
    assert pooler.log.audit == []


def test_failures_are_in_it_with_their_reason(pooler: FakePooler, console: FakeConsole) -> None:
    stats = pooler.console(is_admin=False)
    stats.ask("kill p0")
    console.ask("resume p0")
    pooler.failure = ConfigErrors((ConfigError("a.ini", 3, "password"),))
    console.ask("reload")
    pooler.failure = ValueError("takes a restart")
    console.ask("set listen_port = 1")
    expected = [
        ("stats", "kill p0", "admin access needed"),
        ("admin", "resume p0", "database p0 is not paused"),
        ("admin", "reload", "RELOAD failed, see logs for additional details"),
        ("admin", "SET listen_port = 1", "SET failed: takes a restart"),
    ]
    assert commands(console) == expected
    assert commands(stats) == expected


def test_what_waits_is_there_from_the_start(pooler: FakePooler, console: FakeConsole) -> None:
    other = pooler.console()
    server = pooler.busy_server("p0", "bob")
    assert console.ask("pause p0") == []
    assert commands(other) == [("admin", "pause p0", "waiting")]
    server.ready = True
    server.pool.release(server)
    console.replies()
    assert commands(other) == [("admin", "pause p0", "ok")]
    assert [line.partition(": ")[2].rpartition(": ")[2].split(" ")[0] for line in pooler.log.audit] == [
        "waiting",
        "ok",
    ]


def test_what_was_given_up_is_said(pooler: FakePooler, console: FakeConsole) -> None:
    other = pooler.console()
    pooler.busy_server("p0", "bob")
    console.ask("pause p0")
    console.session.cancelled()
    console.replies()
    console.send(query("pause p0"))
    console.client.connection_lost(None)
    assert [row[2] for row in commands(other)] == ["cancelled", "its client disconnected"]


def test_a_shutdown_is_in_the_log_before_it_happens(pooler: FakePooler, console: FakeConsole) -> None:
    console.ask("shutdown immediate")
    (line,) = pooler.log.audit
    assert "shutdown immediate by admin" in line


@pytest.mark.parametrize(
    ("sql", "text"),
    [
        ("set auth_ldap_options = 'ldapbindpasswd=x'", "SET auth_ldap_options = ***"),
        ("set nosuch_password = 'x'", "SET nosuch_password = ***"),
        ("set stats_period to 5", "SET stats_period = 5"),
        ("set server_reset_query = 'a\n\tb'", "SET server_reset_query = a b"),
        ('pause "a\x1b[2J\x85b" timeout 3;', 'pause "a?[2J b" timeout 3'),
        ("pause " + '"' + "ä" * 30 + '"', 'pause "' + "ä" * 30 + '"'),
    ],
)
def test_how_a_command_is_shown(sql: str, text: str) -> None:
    assert described(parse(sql)) == text


@pytest.mark.parametrize(
    ("sql", "text"),
    [
        ("SET auth_ldap_options = 'ldapbindpasswd=x'", "SET auth_ldap_options = ***"),
        ("SET password = x", "SET password = ***"),
        ("SHOW POOLS;", "SHOW POOLS;"),
        ("SELECT 1, 'x'", "SELECT 1, 'x'"),
    ],
)
def test_how_a_query_comes_into_a_verbose_log(sql: str, text: str) -> None:
    assert masked(sql) == text


def test_long_texts_are_cut() -> None:
    audit = Audit(FakeLog())
    audit.end(audit.begin("a", "b", "c"), "x" * 1000)
    (entry,) = audit
    assert entry.result == "x" * 300 + "..."


def test_the_last_thousand_are_kept() -> None:
    audit = Audit(FakeLog())
    for number in range(KEPT + 5):
        audit.begin("a", "b", str(number))
    entries: list[Entry] = list(audit)
    assert (len(entries), entries[0].command, entries[-1].command) == (1000, "5", "1004")


def test_signals_are_in_it() -> None:
    log = FakeLog()
    audit = Audit(log)
    audit.signal("SIGHUP", lambda: None)
    audit.signal("SIGUSR2", lambda: "not paused/suspended")
    assert [(entry.user, entry.command, entry.result) for entry in audit] == [
        ("signal", "SIGHUP", "ok"),
        ("signal", "SIGUSR2", "not paused/suspended"),
    ]
    assert log.audit[0].startswith("LOG audit: SIGHUP by signal from local: ok")
