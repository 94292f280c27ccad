import os
import resource
import time
from pathlib import Path

import pytest

from pooler.service import process
from pooler.service.log import Log
from pooler.service.process import Pidfile, ProcessError

NO_PROCESS = 2**22 + 1
"""Above the largest pid that a kernel can be told to use."""


class Lines(Log):
    """A log that remembers."""

    def __init__(self) -> None:
        super().__init__(quiet=True)
        self.seen: list[str] = []

    def info(self, message: str, prefix: str = "") -> None:
        self.seen.append(message)


@pytest.fixture
def log() -> Lines:
    return Lines()


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "pid"


def test_pidfile_holds_the_pid_until_it_is_removed(path: Path, log: Lines) -> None:
    pidfile = Pidfile(str(path), log)
    pidfile.check()
    pidfile.write()
    assert path.read_text() == f"{os.getpid()}\n"
    assert path.stat().st_mode & 0o777 == 0o644 & ~_umask()
    pidfile.remove()
    assert not path.exists()
    assert log.seen == []


def test_no_pidfile_is_no_work(log: Lines, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    pidfile = Pidfile("", log)
    pidfile.check()
    pidfile.write()
    pidfile.remove()
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "content",
    [f"{os.getppid()}\n", "", "\n", "0\n", "-1\n", "garbage\n", f"{10**30}\n"],
    ids=["running", "empty", "blank", "zero", "negative", "text", "huge"],
)
def test_a_pidfile_that_may_be_in_use_stops_the_start(path: Path, log: Lines, content: str) -> None:
    path.write_text(content)
    with pytest.raises(ProcessError, match=f"^pidfile '{path}' exists, another instance running\\?$"):
        Pidfile(str(path), log).check()
    assert path.read_text() == content


def test_the_process_of_another_user_counts_as_running(
    path: Path, log: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    def forbidden(pid: int, signal: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "kill", forbidden)
    path.write_text(f"{os.getppid()}\n")
    with pytest.raises(ProcessError, match="another instance running"):
        Pidfile(str(path), log).check()


@pytest.mark.parametrize("pid", [NO_PROCESS, os.getpid()], ids=["gone", "own"])
def test_a_stale_pidfile_is_removed(path: Path, log: Lines, pid: int) -> None:
    path.write_text(f"{pid}\n")
    Pidfile(str(path), log).check()
    assert not path.exists()
    assert log.seen == ["stale pidfile, removing"]


def test_a_pidfile_that_is_a_directory_is_an_error(path: Path, log: Lines) -> None:
    path.mkdir()
    with pytest.raises(ProcessError, match=f"^could not read pidfile '{path}': Is a directory$"):
        Pidfile(str(path), log).check()


def test_a_pidfile_behind_a_file_is_an_error(path: Path, log: Lines) -> None:
    path.write_text("")
    below = path / "pid"
    with pytest.raises(ProcessError, match=f"^could not open pidfile '{below}': Not a directory$"):
        Pidfile(str(below), log).check()


def test_an_existing_pidfile_is_not_overwritten(path: Path, log: Lines) -> None:
    path.write_text("somebody else")
    pidfile = Pidfile(str(path), log)
    with pytest.raises(ProcessError, match=f"^could not open pidfile '{path}': File exists$"):
        pidfile.write()
    pidfile.remove()
    assert path.read_text() == "somebody else"


def test_a_pidfile_that_is_gone_already_is_no_problem(path: Path, log: Lines) -> None:
    pidfile = Pidfile(str(path), log)
    pidfile.write()
    path.unlink()
    pidfile.remove()
    assert log.write_errors == 0


def test_an_unknown_user_is_an_error() -> None:
    with pytest.raises(ProcessError, match=r"^could not find user 'no such user' to switch to$"):
        process.change_user("no such user")


@pytest.mark.parametrize(
    ("real", "effective", "refused"), [(0, 0, True), (1000, 0, True), (1000, 1000, False)]
)
def test_root_is_refused(monkeypatch: pytest.MonkeyPatch, real: int, effective: int, refused: bool) -> None:
    monkeypatch.setattr(os, "getuid", lambda: real)
    monkeypatch.setattr(os, "geteuid", lambda: effective)
    if not refused:
        process.refuse_root()
        return
    with pytest.raises(ProcessError, match=r"^PgBouncer should not run as root$"):
        process.refuse_root()


def test_expected_descriptors_count_a_pool_for_each_user() -> None:
    assert process.expected_descriptors(100, [], users=3) == 110
    assert process.expected_descriptors(100, [(20, True), (5, False)], users=3) == 110 + 20 + 15


def test_descriptor_limit_line_is_pgbouncers(log: Lines, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda what: (1024, resource.RLIM_INFINITY))
    process.log_descriptor_limit(log, max_client_conn=100, expected=172)
    assert log.seen == [
        "kernel file descriptor limit: 1024 (hard: -1); max_client_conn: 100, max expected fd use: 172"
    ]


def test_the_descriptor_limit_is_left_alone(log: Lines) -> None:
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    process.log_descriptor_limit(log, 100, 172)
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == before


@pytest.mark.parametrize("address", ["", "relative", "vsock:2:1234"])
def test_without_a_usable_notify_socket_nobody_is_told(address: str) -> None:
    assert not process.sd_notify("READY=1", {"NOTIFY_SOCKET": address})


def test_notifications_are_systemds(monkeypatch: pytest.MonkeyPatch) -> None:
    sent: list[str] = []
    monkeypatch.setattr(process, "sd_notify", sent.append)
    process.notify_ready()
    process.notify_status("3 clients")
    process.notify_stopping()
    before = time.monotonic_ns() // 1000
    process.notify_reloading()
    after = time.monotonic_ns() // 1000
    *plain, reloading = sent
    assert plain == ["READY=1", "STATUS=3 clients", "STOPPING=1"]
    first, second = reloading.split("\n")
    assert first == "RELOADING=1"
    name, _, stamp = second.partition("=")
    assert name == "MONOTONIC_USEC"
    assert before <= int(stamp) <= after


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
