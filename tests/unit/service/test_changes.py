"""What RELOAD DRY RUN says of the files besides the configuration."""

from __future__ import annotations

from pathlib import Path

import pytest

from pooler.config.settings import Settings
from pooler.service.access import Access, load_access
from pooler.service.changes import other_files
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
