"""Files that are edited by replacing them."""

from __future__ import annotations

import os
import stat
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

import pytest

from pooler.config.atomic import Edited, EditRefused, dated_suffix, edit_file, why_not_editable

OWNER = 54321
GROUP = 54322


@pytest.fixture
def path(tmp_path: Path) -> Iterator[Path]:
    """A file of mode 0640; nothing but it may be left, except what a test puts there."""
    path = tmp_path / "dir" / "file"
    path.parent.mkdir()
    path.write_bytes(b"old")
    path.chmod(0o640)
    yield path
    assert [name for name in os.listdir(path.parent) if name.startswith(".")] == []


def to(new: bytes) -> Callable[[bytes], bytes]:
    return lambda old: new


def mode_of(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_the_content_is_what_the_change_makes_of_it(path: Path) -> None:
    edited = edit_file(str(path), lambda old: old + b" and new\r\n\xff")
    assert path.read_bytes() == b"old and new\r\n\xff"
    assert edited == Edited(str(path), 0o640, 0o640)
    assert mode_of(path) == 0o640


def test_whoever_has_the_old_file_open_reads_the_old_content(path: Path) -> None:
    with path.open("rb") as reader:
        edit_file(str(path), to(b"new"))
        assert reader.read() == b"old"


def test_a_mode_that_is_too_open_is_tightened(path: Path) -> None:
    path.chmod(0o664)
    assert edit_file(str(path), to(b"new"), mode_limit=0o600) == Edited(str(path), 0o664, 0o600)
    assert mode_of(path) == 0o600


def test_a_mode_that_is_narrower_is_kept(path: Path) -> None:
    path.chmod(0o400)
    edit_file(str(path), to(b"new"), mode_limit=0o600)
    assert mode_of(path) == 0o400


def test_nobody_else_can_open_the_new_file_before_it_is_in_its_place(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever opened it while it still was as open as the old one could read it ever after."""
    places: list[tuple[int, str]] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        real(descriptor)
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            place = Path(os.readlink(f"/proc/self/fd/{descriptor}")).parent
            places.append((mode_of(place), str(place.parent)))

    monkeypatch.setattr(os, "fsync", fsync)
    edit_file(str(path), to(b"new"), mode_limit=0o600, backup=True)
    assert places == [(0o700, str(path.parent))] * 2


def test_extended_attributes_are_kept(path: Path) -> None:
    try:
        os.setxattr(path, "user.note", b"kept")
    except OSError:
        names: list[str] = []  # A file system without them.
    else:
        names = ["user.note"]
    edit_file(str(path), to(b"new"))
    assert [name for name in os.listxattr(path) if name.startswith("user.")] == names


def test_the_file_is_on_the_disk_before_it_takes_the_place_of_the_old_one(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps: list[str] = []
    fsync, replace = os.fsync, os.replace

    def seen_fsync(descriptor: int) -> None:
        steps.append("directory" if stat.S_ISDIR(os.fstat(descriptor).st_mode) else "file")
        fsync(descriptor)

    def seen_replace(source: str, target: str) -> None:
        steps.append("replace")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", seen_fsync)
    monkeypatch.setattr(os, "replace", seen_replace)
    edit_file(str(path), to(b"new"))
    assert steps == ["file", "replace", "directory"]


def test_a_backup_is_made_when_asked_for(path: Path) -> None:
    path.chmod(0o644)
    kept = path.with_name("file.bak")
    kept.write_bytes(b"older")
    edit_file(str(path), to(b"new"), mode_limit=0o600, backup=True)
    assert (path.read_bytes(), kept.read_bytes()) == (b"new", b"old")
    assert mode_of(kept) == 0o600


# Links and other things that are no plain files -----------------------------------------------------------


def test_a_link_stays_and_its_target_is_edited(path: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(os.path.relpath(path, tmp_path))
    edited = edit_file(str(link), to(b"new"), backup=True)
    assert edited.path == str(path)
    assert link.is_symlink()
    assert link.read_bytes() == path.read_bytes() == b"new"
    assert path.with_name("file.bak").exists()


@pytest.mark.parametrize("kind", ["directory", "pipe"])
def test_what_is_no_regular_file_is_refused(path: Path, kind: str) -> None:
    other = path.with_name("other")
    if kind == "pipe":
        os.mkfifo(other)
    else:
        other.mkdir()
    with pytest.raises(EditRefused, match="other: not a regular file"):
        edit_file(str(other), to(b"new"))
    assert other.exists()


def test_a_missing_file_is_made_only_when_asked_for(path: Path) -> None:
    missing = path.with_name("missing")
    with pytest.raises(FileNotFoundError):
        edit_file(str(missing), to(b"new"))
    edited = edit_file(str(missing), lambda old: old + b"new", create=True)
    assert edited == Edited(str(missing), 0o600, 0o600)
    assert missing.read_bytes() == b"new"


# Failures --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("step", ["fchmod", "fsync", "replace"])
def test_a_failure_leaves_the_file_as_it_was(path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    before = path.stat()
    monkeypatch.setattr(os, step, fail)
    with pytest.raises(OSError, match="No space left"):
        edit_file(str(path), to(b"new"))
    assert path.read_bytes() == b"old"
    assert os.path.samestat(path.stat(), before)


def test_a_change_that_fails_leaves_the_file_as_it_was(path: Path) -> None:
    def fail(old: bytes) -> bytes:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        edit_file(str(path), fail, backup=True)
    assert path.read_bytes() == b"old"
    assert os.listdir(path.parent) == ["file"]


def owned_by(monkeypatch: pytest.MonkeyPatch, path: Path, *, uid: int | None, gid: int) -> None:
    """The file seems to belong to others, whoever runs the tests."""
    real, inode = os.fstat, path.stat().st_ino

    def fstat(descriptor: int) -> os.stat_result:
        fields = list(real(descriptor))
        if fields[stat.ST_INO] == inode:
            fields[stat.ST_UID] = fields[stat.ST_UID] if uid is None else uid
            fields[stat.ST_GID] = gid
        return os.stat_result(fields)

    monkeypatch.setattr(os, "fstat", fstat)


def forbidden(*_: object) -> None:
    raise PermissionError(1, "Operation not permitted")


def test_who_may_gives_the_new_file_to_the_owner_of_the_old_one(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[tuple[int, int]] = []
    owned_by(monkeypatch, path, uid=OWNER, gid=GROUP)
    monkeypatch.setattr(os, "fchown", lambda _, uid, gid: given.append((uid, gid)))
    edit_file(str(path), to(b"new"), backup=True)
    assert given == [(OWNER, GROUP)] * 2


def test_who_may_not_is_told_who_may(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    owned_by(monkeypatch, path, uid=OWNER, gid=GROUP)
    monkeypatch.setattr(os, "fchown", forbidden)
    with pytest.raises(EditRefused, match=f"file: belongs to {OWNER}:{GROUP}, so run this as that user"):
        edit_file(str(path), to(b"new"), mode_limit=0o600)
    assert path.read_bytes() == b"old"


def test_a_group_that_may_do_nothing_need_not_be_kept(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    owned_by(monkeypatch, path, uid=None, gid=GROUP)
    monkeypatch.setattr(os, "fchown", forbidden)
    with pytest.raises(EditRefused, match=rf"belongs to \w+:{GROUP}"):
        edit_file(str(path), to(b"new"))
    edit_file(str(path), to(b"new"), mode_limit=0o600)
    assert path.read_bytes() == b"new"


# At the same time -----------------------------------------------------------------------------------------


def test_edits_at_the_same_time_wait_for_each_other(path: Path) -> None:
    started = threading.Barrier(8)

    def add(word: bytes) -> None:
        started.wait()
        for _ in range(5):
            edit_file(str(path), lambda old: old + word)

    threads = [threading.Thread(target=add, args=(b" %d" % number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    words = Counter(path.read_bytes().split())
    assert words == {b"old": 1, **{b"%d" % number: 5 for number in range(8)}}


@pytest.mark.parametrize("way", ["in place", "by another file"])
def test_somebody_without_the_lock_wins(path: Path, way: str) -> None:
    def change(old: bytes) -> bytes:
        if way == "in place":
            path.write_bytes(b"OLD")
        else:
            other = path.with_name("other")
            other.write_bytes(b"OLD")
            other.rename(path)
        return b"new"

    with pytest.raises(EditRefused, match="somebody else has changed it meanwhile"):
        edit_file(str(path), change)
    assert path.read_bytes() == b"OLD"


def test_a_dated_backup_never_takes_the_place_of_another(path: Path) -> None:
    now = datetime(2026, 11, 21, 19, 30, 0)
    suffixes = []
    for number in range(3):
        suffixes.append(dated_suffix(str(path), now))
        edit_file(str(path), to(b"%d" % number), backup=True, suffix=suffixes[-1])
    assert suffixes == [".20261121T193000.bak", ".20261121T193000.2.bak", ".20261121T193000.3.bak"]
    assert [Path(f"{path}{suffix}").read_bytes() for suffix in suffixes] == [b"old", b"0", b"1"]


def test_a_file_that_can_be_edited_has_nothing_in_the_way(path: Path) -> None:
    assert why_not_editable(str(path)) is None


def test_what_is_in_the_way_is_said(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert why_not_editable(f"{path}x") == f"{path}x: No such file or directory"
    assert why_not_editable(str(path.parent)) == f"{path.parent}: not a regular file"
    monkeypatch.setattr(os, "access", lambda name, mode: name != str(path.parent))
    assert why_not_editable(str(path)) == (f"{path}: nothing can be made in {path.parent}: Permission denied")
    monkeypatch.setattr(os, "access", lambda name, mode: False)
    said = why_not_editable(str(path))
    assert said is not None
    assert said.startswith(f"{path}: belongs to ")
    assert said.endswith(" and has mode 0640")


def test_a_file_of_somebody_else_could_not_be_given_back(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: OWNER)
    monkeypatch.setattr(os, "access", lambda name, mode: True)
    said = why_not_editable(str(path))
    assert said is not None
    assert "belongs to" in said
