"""What was done is put down, and secrets are not."""

from __future__ import annotations

import json
import stat
from datetime import UTC, datetime
from pathlib import Path

import pytest

from tui.operate.journal import Journal, journal_path, masked

NOON = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)


def note(journal: Journal, command: str = "PAUSE app") -> None:
    journal.note(
        who="eve as ops",
        pooler="pool:6432",
        verb=command.split()[0],
        target="app",
        command=command,
        result="done",
        text="PAUSE",
    )


def test_lines_of_json_that_only_their_owner_may_read(tmp_path: Path) -> None:
    path = tmp_path / "state" / "pooldeck" / "audit.jsonl"
    journal = Journal(path, lambda: NOON)
    note(journal)
    note(Journal(path, lambda: NOON), "SET auth_ldap_options = 'password=x'")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700
    first, second = map(json.loads, path.read_text().splitlines())
    assert first == {
        "time": "2026-03-01T12:00:00.000+00:00",
        "who": "eve as ops",
        "pooler": "pool:6432",
        "verb": "PAUSE",
        "target": "app",
        "command": "PAUSE app",
        "result": "done",
        "text": "PAUSE",
    }
    assert second["command"] == "SET auth_ldap_options = ***"
    assert [entry.verb for entry in journal.entries] == ["PAUSE"]
    assert [entry.verb for entry in journal.earlier()] == ["PAUSE", "SET"]


def test_what_is_no_entry_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    path.write_bytes(b'nonsense\n[1]\n\xff\n{"verb": "KILL"}\n{"half')
    (entry,) = Journal(path).earlier()
    assert (entry.verb, entry.who) == ("KILL", "")


def test_only_the_end_of_a_long_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    journal = Journal(path)
    for number in range(3000):
        note(journal, f"KILL_CLIENT {number}")
    assert len(journal.entries) == 1000
    assert [entry.command for entry in journal.earlier(2)] == ["KILL_CLIENT 2998", "KILL_CLIENT 2999"]


def test_a_file_that_cannot_be_written_stops_nobody(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    journal = Journal(tmp_path / "file" / "audit.jsonl")
    note(journal)
    assert journal.failure is not None
    assert "audit.jsonl" in journal.failure
    assert len(journal.earlier()) == 1
    assert Journal().earlier() == []


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("SET max_client_conn = '100'", "SET max_client_conn = '100'"),
        ("SET auth_ldap_options = 'x'", "SET auth_ldap_options = ***"),
        ("SET nothing = 'x'", "SET nothing = ***"),
        ("set auth_ldap_options='a = b'", "set auth_ldap_options = ***"),
        ("KILL_CLIENTS WHERE database = 'x'", "KILL_CLIENTS WHERE database = 'x'"),
        ("SET nothing=x", "SET nothing = ***"),
    ],
)
def test_secrets_are_masked(command: str, shown: str) -> None:
    assert masked(command) == shown


def test_where_the_file_is(monkeypatch: pytest.MonkeyPatch) -> None:
    assert journal_path({"XDG_STATE_HOME": "/var/state"}) == Path("/var/state/pooldeck/audit.jsonl")
    monkeypatch.setenv("HOME", "/home/eve")
    for environ in ({}, {"XDG_STATE_HOME": "relative"}):
        assert journal_path(environ) == Path("/home/eve/.local/state/pooldeck/audit.jsonl")
