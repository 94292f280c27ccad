"""What RELOAD DRY RUN says of the files besides the configuration, and what SAVE CONFIG writes."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from pooler.config.atomic import EditRefused
from pooler.config.errors import ConfigError, ConfigErrors
from pooler.config.settings import Settings
from pooler.config.snapshot import load
from pooler.service.access import Access, load_access
from pooler.service.changes import other_files, saved_snapshot
from tests.unit.admin.fakes import FakePooler


@pytest.fixture
def pooler() -> FakePooler:
    pooler = FakePooler()
    pooler.registry.apply_secrets({"alice": "a", "bob": "b"})
    return pooler


def _access(directory: Path, rules: str, maps: str, old: Access | None = None) -> Access:
    (directory / "hba").write_text(rules)
    (directory / "ident").write_text(maps)
    settings = Settings().replace("auth_type", "hba").replace("auth_hba_file", str(directory / "hba"))
    return load_access(settings.replace("auth_ident_file", str(directory / "ident")), "a.ini", old)


def test_rules_and_maps(pooler: FakePooler, tmp_path: Path) -> None:
    old = _access(tmp_path, "local all all trust\n", "m x y\n")
    same = _access(tmp_path, "local all all trust\n", "m x y\n", old)
    assert other_files(pooler.registry, old, same, None) == []
    new = _access(tmp_path, "local all all trust\nlocal all all peer\n", "m x y\nn x y\n", old)
    assert other_files(pooler.registry, old, new, None) == [
        ("files", "auth_hba_file", "changed", "1 rules", "2 rules", "reconnect"),
        ("files", "auth_ident_file", "changed", "1", "2", "reconnect"),
    ]


def test_users(pooler: FakePooler, tmp_path: Path) -> None:
    path = tmp_path / "users"
    access = load_access(Settings(), "a.ini")
    path.write_text('"alice" "a"\n"bob" "b"\n')
    assert other_files(pooler.registry, access, access, str(path)) == []
    path.write_text('"alice" "changed"\n"eve" "e"\nbroken')
    assert other_files(pooler.registry, access, access, str(path)) == [
        ("auth_file", f"{path}:3", "error", None, "broken auth file", "now"),
        ("auth_file", "alice", "changed", "***", "***", "now"),
        ("auth_file", "bob", "removed", "***", None, "now"),
        ("auth_file", "eve", "added", None, "***", "now"),
    ]


def test_a_user_list_that_cannot_be_read(pooler: FakePooler, tmp_path: Path) -> None:
    access = load_access(Settings(), "a.ini")
    path = str(tmp_path / "nowhere")
    reason = "could not open: No such file or directory"
    expected = [("auth_file", path, "error", None, reason, "now")]
    assert other_files(pooler.registry, access, access, path) == expected


# SAVE CONFIG -----------------------------------------------------------------------------------------


def _loaded(text: str) -> FakePooler:
    Path("a.ini").write_text(text)
    return FakePooler(load("a.ini"))


def _set(pooler: FakePooler, **values: str) -> dict[str, str]:
    for name, text in values.items():
        pooler.registry.settings = pooler.registry.settings.replace(name, text)
    return values


def test_what_is_saved_counts_as_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pooler = _loaded("[pgbouncer]\nstats_period = 5\nlisten_port = 1\n")
    # As RELOAD does with what takes a restart: the running value is not that of the file.
    changed = pooler.registry.snapshot.settings.replace("listen_port", "2")
    pooler.registry.snapshot = replace(pooler.registry.snapshot, settings=changed)
    checked: list[Settings] = []
    values = _set(pooler, stats_period="0x7", pkt_buf="4096")
    saved, backups, snapshot = saved_snapshot(pooler.registry, values, checked.append)
    assert [(one.key, one.old, one.new) for one in saved] == [("stats_period", "5", "0x7")]
    assert backups == [str(tmp_path / "a.ini.bak")]
    assert Path("a.ini").read_text() == "[pgbouncer]\nstats_period = 0x7\nlisten_port = 1\n"
    assert [(one.stats_period, one.listen_port) for one in checked] == [(7, 1)]
    assert (snapshot.settings.stats_period, snapshot.settings.listen_port) == (7, 2)
    pooler.registry.snapshot = snapshot
    again = saved_snapshot(pooler.registry, _set(pooler, stats_period="9"), checked.append)
    assert again[2].settings.stats_period == 9


def test_what_does_not_fit_is_not_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(settings: Settings) -> None:
        raise ConfigErrors((ConfigError("a.ini", None, "no"),))

    monkeypatch.chdir(tmp_path)
    pooler = _loaded("[pgbouncer]\n")
    with pytest.raises(ConfigErrors):
        saved_snapshot(pooler.registry, _set(pooler, stats_period="7"), refuse)
    with pytest.raises(EditRefused, match="conffile was SET"):
        saved_snapshot(pooler.registry, _set(pooler, conffile="b.ini"), lambda settings: None)
    assert os.listdir() == ["a.ini"]
    assert Path("a.ini").read_text() == "[pgbouncer]\n"


def test_nothing_set_is_nothing_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pooler = _loaded("[pgbouncer]\nstats_period = 5\n")
    values = _set(pooler, stats_period="5")
    saved, backups, snapshot = saved_snapshot(pooler.registry, values, lambda settings: None)
    assert (saved, backups, snapshot) == ([], [], pooler.registry.snapshot)
    assert os.listdir() == ["a.ini"]
