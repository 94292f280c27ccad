import os
import re
import syslog
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pooler.config.settings import Settings
from pooler.service.log import KEPT_LINES, MAX_MESSAGE, Log, LogError

NOON = 1795262400.0  # 2026-11-21 12:00:00 UTC
LEVELS = ["fatal", "error", "warning", "info", "debug", "noise"]


class Clock:
    def __init__(self, now: float = NOON) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class Sink:
    """A file that stands for stderr."""

    def __init__(self, path: Path) -> None:
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT)

    def lines(self) -> list[str]:
        return self.text().splitlines()

    def text(self) -> str:
        return os.pread(self.descriptor, 1 << 20, 0).decode()


@pytest.fixture(autouse=True)
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.fixture
def stderr(tmp_path: Path) -> Iterator[Sink]:
    sink = Sink(tmp_path / "stderr")
    yield sink
    os.close(sink.descriptor)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def log(stderr: Sink, clock: Clock) -> Iterator[Log]:
    log = Log(stderr=stderr.descriptor, clock=clock, environ={})
    yield log
    log.close()


def say_everything(log: Log) -> None:
    for level in LEVELS:
        getattr(log, level)(level)


def tags(lines: list[str]) -> list[str]:
    return [line.split()[4] for line in lines]


def test_line_has_pgbouncers_format(log: Log, stderr: Sink, clock: Clock) -> None:
    clock.now = NOON + 0.1609
    log.info("process up", "C-0x55: db/user@1.2.3.4:5678 ")
    assert stderr.text() == (
        f"2026-11-21 12:00:00.160 UTC [{os.getpid()}] LOG C-0x55: db/user@1.2.3.4:5678 process up\n"
    )


def test_every_level_has_pgbouncers_name(log: Log, stderr: Sink) -> None:
    log.configure(Settings(verbose=2), quiet=False)
    say_everything(log)
    assert tags(stderr.lines()) == ["FATAL", "ERROR", "WARNING", "LOG", "DEBUG", "NOISE"]


@pytest.mark.parametrize(("verbose", "shown"), [(0, 4), (1, 5), (2, 6), (7, 6)])
def test_verbose_lets_debug_and_noise_through(log: Log, stderr: Sink, verbose: int, shown: int) -> None:
    log.configure(Settings(verbose=verbose), quiet=False)
    say_everything(log)
    assert len(stderr.lines()) == shown
    assert (log.debugging, log.noisy) == (shown > 4, shown > 5)


def test_a_new_log_shows_no_debugging(log: Log, stderr: Sink) -> None:
    say_everything(log)
    assert tags(stderr.lines()) == ["FATAL", "ERROR", "WARNING", "LOG"]


def test_timestamp_follows_the_clock(log: Log, stderr: Sink, clock: Clock) -> None:
    for now in (NOON, NOON + 0.999, NOON + 1, NOON + 3600.5, NOON - 1):
        clock.now = now
        log.info("x")
    assert [line[:27] for line in stderr.lines()] == [
        "2026-11-21 12:00:00.000 UTC",
        "2026-11-21 12:00:00.999 UTC",
        "2026-11-21 12:00:01.000 UTC",
        "2026-11-21 13:00:00.500 UTC",
        "2026-11-21 11:59:59.000 UTC",
    ]


def test_date_is_formatted_once_a_second(log: Log, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    formatted: list[float] = []
    localtime = time.localtime

    def counting(now: float) -> time.struct_time:
        formatted.append(now)
        return localtime(now)

    monkeypatch.setattr(time, "localtime", counting)
    for tenth in range(20):
        clock.now = NOON + tenth / 10
        log.info("x")
    assert len(formatted) == 2


def test_zone_is_the_local_one(stderr: Sink, clock: Clock, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "EST5EDT")
    time.tzset()
    Log(stderr=stderr.descriptor, clock=clock, environ={}).info("x")
    assert stderr.text().startswith("2026-11-21 07:00:00.000 EST ")


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("two\nlines", "two\\nlines"),
        ("return\rof the carriage", "return\\rof the carriage"),
        ("red \x1b[31m", "red \\x1b[31m"),
        ("nul \x00 tab \t", "nul \\x00 tab"),
        ("separators \x85 \u2028 \u2029.", "separators \\x85 \\u2028 \\u2029."),
        ("reversed \u202e", "reversed \\u202e"),
        ("not utf-8 \udcff", "not utf-8 \\udcff"),
        ("Käse 木 🐘", "Käse 木 🐘"),
        ("trailing \n", "trailing"),
    ],
)
def test_control_characters_are_escaped(log: Log, stderr: Sink, message: str, shown: str) -> None:
    log.info(message)
    assert stderr.text().endswith(f"] LOG {shown}\n")


@given(prefix=st.text(st.characters()), message=st.text(st.characters()))
def test_nobody_forges_a_line(prefix: str, message: str) -> None:
    read, write = os.pipe()
    try:
        Log(stderr=write, environ={}).info(message, prefix)
        line = os.read(read, 1 << 16).decode()
    finally:
        os.close(read)
        os.close(write)
    assert line.endswith("\n")
    assert line[:-1].isprintable()
    assert len(line.splitlines()) == 1


def test_a_long_message_is_cut(log: Log, stderr: Sink) -> None:
    log.info("x" * 5000, "C: ")
    assert stderr.text().endswith("] LOG C: " + "x" * (MAX_MESSAGE - 3) + "\n")


def test_quiet_silences_stderr_but_not_the_file(log: Log, stderr: Sink, tmp_path: Path) -> None:
    log.configure(Settings(logfile=str(tmp_path / "log")), quiet=True)
    say_everything(log)
    assert stderr.text() == ""
    assert tags((tmp_path / "log").read_text().splitlines()) == ["FATAL", "ERROR", "WARNING", "LOG"]


def test_quiet_can_start_before_the_settings_are_known(stderr: Sink) -> None:
    Log(quiet=True, stderr=stderr.descriptor, environ={}).fatal("cannot load config file")
    assert stderr.text() == ""


def test_stderr_and_file_get_the_same_lines(log: Log, stderr: Sink, tmp_path: Path) -> None:
    log.configure(Settings(logfile=str(tmp_path / "log"), verbose=2), quiet=False)
    say_everything(log)
    assert len(stderr.lines()) == 6
    assert (tmp_path / "log").read_text() == stderr.text()


def test_file_is_appended_to_at_once(log: Log, tmp_path: Path) -> None:
    file = tmp_path / "log"
    file.write_text("old\n")
    log.configure(Settings(logfile=str(file)), quiet=True)
    log.info("new")
    assert re.fullmatch(r"old\n.* LOG new\n", file.read_text())


def test_reopen_follows_a_rotated_file(log: Log, tmp_path: Path) -> None:
    file = tmp_path / "log"
    log.configure(Settings(logfile=str(file)), quiet=True)
    log.info("one")
    file.rename(tmp_path / "log.1")
    log.info("two")
    log.reopen()
    log.info("three")
    assert [line.split()[-1] for line in (tmp_path / "log.1").read_text().splitlines()] == ["one", "two"]
    assert file.read_text().endswith(" three\n")


def test_a_file_that_cannot_be_opened_is_an_error_and_changes_nothing(
    log: Log, stderr: Sink, tmp_path: Path
) -> None:
    first = tmp_path / "log"
    log.configure(Settings(logfile=str(first)), quiet=True)
    missing = tmp_path / "none" / "log"
    with pytest.raises(LogError, match=f"^Cannot open logfile: '{missing}': No such file or directory$"):
        log.configure(Settings(logfile=str(missing), verbose=2), quiet=False)
    assert not log.debugging
    log.info("still here")
    assert first.read_text().endswith(" still here\n")
    assert stderr.text() == ""


def test_reopen_keeps_the_old_file_when_it_fails(log: Log, tmp_path: Path) -> None:
    directory = tmp_path / "logs"
    directory.mkdir()
    log.configure(Settings(logfile=str(directory / "log")), quiet=True)
    directory.rename(tmp_path / "moved")
    with pytest.raises(LogError):
        log.reopen()
    log.info("still here")
    assert (tmp_path / "moved" / "log").read_text().endswith(" still here\n")


def test_reconfiguring_leaks_no_descriptor(log: Log, tmp_path: Path) -> None:
    log.configure(Settings(logfile=str(tmp_path / "log")), quiet=True)
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(5):
        log.configure(Settings(logfile=str(tmp_path / "log")), quiet=True)
        log.reopen()
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_full_disk_is_counted_and_survived(log: Log, stderr: Sink) -> None:
    log.configure(Settings(logfile="/dev/full"), quiet=False)
    log.info("one")
    log.info("two")
    assert log.write_errors == 2
    assert len(stderr.lines()) == 2


def test_reopening_ends_the_errors(log: Log, tmp_path: Path) -> None:
    link = tmp_path / "log"
    link.symlink_to("/dev/full")
    log.configure(Settings(logfile=str(link)), quiet=True)
    log.info("lost")
    link.unlink()
    log.reopen()
    log.info("kept")
    assert log.write_errors == 1
    assert link.read_text().endswith(" kept\n")


def test_a_closed_stderr_is_survived(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    log = Log(stderr=write, environ={})
    log.info("nobody listens")
    os.close(write)
    log.info("nobody is there")
    assert log.write_errors == 2


class FakeSyslog:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.calls: list[tuple[object, ...]] = []
        for name in ("openlog", "syslog", "closelog"):
            monkeypatch.setattr(syslog, name, self._recorder(name))

    def _recorder(self, name: str) -> object:
        return lambda *arguments: self.calls.append((name, *arguments))


def test_syslog_gets_bare_messages_up_to_info(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeSyslog(monkeypatch)
    log.configure(Settings(syslog=1, syslog_ident="pool", syslog_facility="local3", verbose=2), quiet=True)
    say_everything(log)
    log.info("up\nand away", "S: ")
    assert fake.calls == [
        ("openlog", "pool", syslog.LOG_PID, syslog.LOG_LOCAL3),
        ("syslog", syslog.LOG_CRIT, "fatal"),
        ("syslog", syslog.LOG_ERR, "error"),
        ("syslog", syslog.LOG_WARNING, "warning"),
        ("syslog", syslog.LOG_INFO, "info"),
        ("syslog", syslog.LOG_INFO, "S: up\\nand away"),
    ]


def test_syslog_is_left_when_the_setting_says_so(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeSyslog(monkeypatch)
    log.configure(Settings(syslog=1), quiet=True)
    log.configure(Settings(syslog=0), quiet=True)
    log.info("x")
    assert [call[0] for call in fake.calls] == ["openlog", "closelog"]


def test_an_unknown_facility_is_an_error(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    fake = FakeSyslog(monkeypatch)
    with pytest.raises(
        LogError, match="unknown syslog_facility 'kernel', use one of: auth, authpriv, daemon,"
    ):
        log.configure(Settings(syslog=1, syslog_facility="kernel"), quiet=True)
    assert fake.calls == []


def test_the_facility_does_not_matter_without_syslog(log: Log) -> None:
    log.configure(Settings(syslog=0, syslog_facility="kernel"), quiet=True)


@pytest.mark.parametrize("stream", ["", "1:2:3", "x:y", "1:2"])
def test_stderr_stays_plain_when_it_is_not_the_journal(stderr: Sink, stream: str) -> None:
    Log(stderr=stderr.descriptor, environ={"JOURNAL_STREAM": stream}).info("x")
    assert stderr.text().endswith(" LOG x\n")


# SHOW LOG --------------------------------------------------------------------------------------------------


def test_the_last_lines_stay_in_memory_whether_they_are_written_or_not(clock: Clock) -> None:
    log = Log(quiet=True, clock=clock)
    log.info("up")
    log.debug("not shown, not kept")
    log.error("two\nlines", "C-0x1: ")
    assert list(log.recent) == [
        (1, "2026-11-21 12:00:00.000 UTC", "LOG", "up"),
        (2, "2026-11-21 12:00:00.000 UTC", "ERROR", "C-0x1: two\\nlines"),
    ]
    for _ in range(KEPT_LINES):
        log.info("more")
    assert len(log.recent) == KEPT_LINES
    assert log.recent[-1][0] == KEPT_LINES + 2
