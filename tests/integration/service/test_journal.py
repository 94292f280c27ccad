"""Logging to the systemd journal, with a datagram socket that stands for journald's."""

import os
import socket
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pooler.service import log as log_module
from pooler.service.log import Log

Connect = Callable[[], Log]


@pytest.fixture
def journald(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    path = str(tmp_path / "journal")
    monkeypatch.setattr(log_module, "JOURNAL_SOCKET", path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as listener:
        listener.bind(path)
        listener.settimeout(5)
        yield listener


@pytest.fixture
def stderr(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path / "stderr", os.O_RDWR | os.O_CREAT)
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def connect(stderr: int) -> Iterator[Connect]:
    """Makes a log whose stderr is the journal's stream, as far as it can tell."""
    logs: list[Log] = []

    def make() -> Log:
        status = os.fstat(stderr)
        log = Log(stderr=stderr, environ={"JOURNAL_STREAM": f"{status.st_dev}:{status.st_ino}"})
        logs.append(log)
        return log

    yield make
    for log in logs:
        log.close()


def test_the_journal_gets_priority_and_bare_message(
    journald: socket.socket, stderr: int, connect: Connect
) -> None:
    log = connect()
    log.warning("low\nMESSAGE=forged", "C: ")
    name = os.path.basename(sys.argv[0])
    assert journald.recv(1000).decode() == (
        f"PRIORITY=4\nSYSLOG_IDENTIFIER={name}\nMESSAGE=C: low\\nMESSAGE=forged\n"
    )
    assert os.fstat(stderr).st_size == 0


def test_a_journal_that_goes_away_leaves_stderr(
    journald: socket.socket, stderr: int, connect: Connect
) -> None:
    log = connect()
    journald.close()
    log.info("still heard")
    assert os.pread(stderr, 1000, 0).endswith(b" LOG still heard\n")
    assert log.write_errors == 0


def test_without_a_journal_socket_stderr_is_used(
    stderr: int, connect: Connect, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(log_module, "JOURNAL_SOCKET", "/nonexistent/journal")
    connect().info("x")
    assert os.pread(stderr, 1000, 0).endswith(b" LOG x\n")
