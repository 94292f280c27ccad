"""A log that is followed while it is written, renamed, made anew and cut off."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tui.files import tail as tail_module
from tui.files.tail import BLOCK, MAX_BEHIND, MAX_LINE, PER_READ, Batch, Tail


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "pooler.log"


def append(path: Path, data: bytes) -> None:
    with path.open("ab") as file:
        file.write(data)


def all_lines(tail: Tail) -> list[bytes]:
    found: list[bytes] = []
    while True:
        batch = tail.read()
        found += batch.lines
        if not batch.more:
            return found


@pytest.mark.parametrize(
    ("content", "last", "found"),
    [
        (b"", 3, []),
        (b"a\nb\n", 3, [b"a", b"b"]),
        (b"a\nb\nc\nd\n", 3, [b"b", b"c", b"d"]),
        (b"a\nb\nc\nd", 2, [b"c"]),
        (b"\n\n\n", 2, [b"", b""]),
        (b"a\r\nb\r\n", 1, [b"b"]),
        (b"a\nb\n", 0, []),
    ],
)
def test_it_begins_with_the_last_lines(log: Path, content: bytes, last: int, found: list[bytes]) -> None:
    log.write_bytes(content)
    assert Tail(str(log), last).read().lines == tuple(found)


def test_it_begins_at_the_right_line_of_a_file_of_many_blocks(log: Path) -> None:
    lines = [b"%06d" % number for number in range(3 * BLOCK // 7)]
    log.write_bytes(b"\n".join(lines) + b"\n")
    for last in (1, BLOCK // 7, BLOCK // 7 + 1, 2 * BLOCK // 7 + 3):
        assert all_lines(Tail(str(log), last)) == lines[-last:]


def test_the_beginning_of_a_huge_file_is_not_read(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with log.open("wb") as file:
        file.truncate(64 * MAX_BEHIND)
        file.seek(0, os.SEEK_END)
        file.write(b"\nlast\n")
    read = []
    real = os.pread

    def pread(descriptor: int, length: int, offset: int) -> bytes:
        read.append(length)
        return real(descriptor, length, offset)

    monkeypatch.setattr(os, "pread", pread)
    assert Tail(str(log), 1).read().lines == (b"last",)
    assert sum(read) <= 3 * BLOCK


def test_lines_come_when_they_are_whole(log: Path) -> None:
    log.write_bytes(b"one\ntw")
    tail = Tail(str(log), 10)
    assert tail.read().lines == (b"one",)
    assert tail.read() == Batch()
    append(log, b"o\nthree\n")
    assert tail.read().lines == (b"two", b"three")


def test_of_a_long_line_the_beginning_is_kept_and_the_next_line_is_whole(log: Path) -> None:
    log.write_bytes(b"x" * 5_000_000 + b"\nshort\n")
    found = all_lines(Tail(str(log), 10))
    assert found == [b"x" * MAX_LINE + b"... (%d more bytes)" % (5_000_000 - MAX_LINE), b"short"]


def test_one_read_takes_no_more_than_it_may(log: Path) -> None:
    lines = [b"%015d" % number for number in range(PER_READ // 8)]
    log.write_bytes(b"\n".join(lines) + b"\n")
    tail = Tail(str(log), len(lines))
    first = tail.read()
    assert first.more
    assert len(first.lines) == PER_READ // 16
    assert [*first.lines, *all_lines(tail)] == lines


def test_what_was_renamed_is_read_to_its_end_before_the_new_file(log: Path) -> None:
    log.write_bytes(b"one\n")
    tail = Tail(str(log), 10)
    assert tail.read().lines == (b"one",)
    append(log, b"two\n")
    log.rename(f"{log}.1")
    log.write_bytes(b"three\n")
    assert tail.read().lines == (b"two", b"three")


def test_a_writer_may_go_on_in_the_renamed_file_for_a_while(log: Path) -> None:
    clock = Clock()
    log.write_bytes(b"one\n")
    tail = Tail(str(log), 10, clock)
    tail.read()
    old = Path(f"{log}.1")
    log.rename(old)
    log.touch()
    assert tail.read() == Batch()
    append(old, b"two\n")
    clock.now += 20
    assert tail.read().lines == (b"two",)
    append(old, b"thr")
    append(log, b"four\n")
    assert tail.read().lines == (b"four",)
    clock.now += 31
    assert tail.read().lines == (b"thr",)
    append(old, b"too late\n")
    assert tail.read() == Batch()


def test_between_renaming_and_making_anew_nothing_is_lost(log: Path) -> None:
    log.write_bytes(b"one\n")
    tail = Tail(str(log), 10)
    tail.read()
    log.rename(f"{log}.1")
    append(Path(f"{log}.1"), b"two\n")
    assert tail.read() == Batch((b"two",), f"{log}: No such file or directory")
    log.write_bytes(b"three\n")
    assert tail.read() == Batch((b"three",))


def test_a_file_that_was_renamed_back_is_not_read_twice(log: Path) -> None:
    clock = Clock()
    log.write_bytes(b"one\n")
    tail = Tail(str(log), 10, clock)
    tail.read()
    log.rename(f"{log}.1")
    log.write_bytes(b"two\n")
    assert tail.read().lines == (b"two",)
    os.replace(f"{log}.1", log)
    append(log, b"three\n")
    assert tail.read().lines == (b"three",)
    clock.now += 31
    tail.read()
    append(log, b"four\n")
    assert tail.read().lines == (b"four",)


def test_a_file_that_was_cut_off_is_read_from_its_beginning(log: Path) -> None:
    log.write_bytes(b"one\ntwo\nth")
    tail = Tail(str(log), 10)
    assert tail.read().lines == (b"one", b"two")
    os.truncate(log, 0)
    append(log, b"new\n")
    assert tail.read().lines == (b"th", b"new")


def test_a_file_that_was_cut_off_and_has_grown_beyond_where_it_was_is_noticed(log: Path) -> None:
    log.write_bytes(b"one\ntwo\n")
    tail = Tail(str(log), 10)
    tail.read()
    os.truncate(log, 0)
    append(log, b"three\nfour\nfive\n")
    assert tail.read().lines == (b"three", b"four", b"five")


def test_who_is_far_behind_passes_over_the_oldest(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tail_module, "MAX_BEHIND", 100)
    log.write_bytes(b"one\n")
    tail = Tail(str(log), 10)
    tail.read()
    append(log, b"".join(b"%09d\n" % number for number in range(50)))
    batch = tail.read()
    assert batch.lines == tuple(b"%09d" % number for number in range(41, 50))
    assert batch.passed_over == 410


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("nothing", "nothing: No such file or directory"),
        (".", ". is a directory"),
        ("/dev/null", "/dev/null is not a regular file"),
        ("a\0b", "'a\\x00b' is not a file name"),
    ],
)
def test_what_cannot_be_followed_says_why(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    tail = Tail(path, 10)
    assert tail.read() == tail.read() == Batch(problem=said)
    tail.close()


def test_a_file_that_may_not_be_read_says_so_and_is_tried_again(
    log: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log.write_bytes(b"one\n")
    tail = Tail(str(log), 10)
    with monkeypatch.context() as patched:

        def refuse(*arguments: object) -> int:
            raise PermissionError(13, "Permission denied")

        patched.setattr(os, "open", refuse)
        assert tail.read() == Batch(problem=f"{log}: Permission denied")
    assert tail.read() == Batch((b"one",))


def test_a_disk_that_fails_is_said_and_tried_again(log: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = set(os.listdir("/proc/self/fd"))
    log.write_bytes(b"one\n")
    tail = Tail(str(log), 10)

    def fail(*arguments: object) -> bytes:
        raise OSError(5, "Input/output error")

    for line in (b"one", b"two"):
        with monkeypatch.context() as patched:
            patched.setattr(os, "pread", fail)
            assert tail.read() == Batch(problem=f"{log}: Input/output error")
        assert tail.read() == Batch((line,))
        append(log, b"two\n")
    tail.close()
    assert set(os.listdir("/proc/self/fd")) == before


def test_closing_lets_go_of_every_file(log: Path) -> None:
    before = set(os.listdir("/proc/self/fd"))
    log.write_bytes(b"one\n")
    tail = Tail(str(log), 10)
    tail.read()
    log.rename(f"{log}.1")
    log.write_bytes(b"two\n")
    tail.read()
    tail.close()
    assert set(os.listdir("/proc/self/fd")) == before
    append(log, b"three\n")
    assert tail.read() == Batch()


STEPS = st.lists(
    st.sampled_from(["write", "half", "read", "rename", "late", "truncate"]), min_size=1, max_size=40
)


@given(STEPS)
def test_whatever_becomes_of_the_file_no_line_is_lost_or_comes_twice(steps: list[str]) -> None:
    """A pooler writes numbered lines; once the file is cut off, only what was not read before is gone."""
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory, "log")
        log.touch()
        found: list[bytes] = []
        writing, written, half = log, 0, b""
        tail = Tail(str(log), 10, Clock())
        found += tail.read().lines
        for number, step in enumerate(steps):
            if step in ("rename", "late", "truncate") and half:
                append(writing, half)
                half = b""
            if step in ("write", "half"):
                data = half + b"line %d\n" % written
                cut = len(data) if step == "write" else len(data) - 4
                append(writing, data[:cut])
                half = data[cut:]
                written += 1
            elif step == "read":
                found += tail.read().lines
            elif step in ("rename", "late"):
                found += tail.read().lines
                if writing == log:
                    writing = Path(directory, f"log.{number}")
                    log.rename(writing)
                log.touch()
                if step == "rename":
                    writing = log
            else:
                found += tail.read().lines
                os.truncate(writing, 0)
        append(writing, half)
        found += tail.read().lines
        tail.close()
    assert found == [b"line %d" % number for number in range(written)]
