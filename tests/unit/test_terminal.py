"""The end of the terminal ends the process, with and without a signal, and whatever hangs."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

PROGRAM = """\
import signal, sys, threading
from tui.terminal import TerminalWatch

leave = threading.Event()
watch = TerminalWatch({leave}, seconds={seconds})
signal.signal(signal.SIGTERM, watch.on_signal)
signal.signal(signal.SIGHUP, {on_hangup})
watch.start()
print("started", flush=True)
while not leave.wait(0.01):
    pass
watch.stop()
threading.Thread(target=threading.Event().wait, daemon={ends}).start()
print("x" * 100_000, file=sys.__stderr__, flush=True)
sys.exit(watch.exit_code)
"""


@contextmanager
def on_a_terminal(
    *, leave: str = "leave.set", seconds: float = 60, on_hangup: str = "watch.on_signal", ends: bool = True
) -> Iterator[tuple[subprocess.Popen[bytes], int]]:
    """The program, once it watches, and the other side of its terminal."""
    master, slave = pty.openpty()
    program = PROGRAM.format(leave=leave, seconds=seconds, on_hangup=on_hangup, ends=ends)
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdin=slave, stdout=slave, stderr=slave, start_new_session=True
    )
    os.close(slave)
    try:
        # The terminal passes the text and the end of its line on one after the other: whoever hangs up
        # in between fails the write.
        written = b""
        while not written.endswith(b"\n"):
            written += os.read(master, 100)
        assert written.strip() == b"started"
        yield process, master
    finally:
        process.kill()
        process.wait()


def test_a_terminal_that_goes_away_without_a_signal() -> None:
    with on_a_terminal(on_hangup="signal.SIG_IGN") as (process, master):
        os.close(master)
        assert process.wait(20) == 129


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_signal_ends_it_and_leaves_the_terminal_usable(number: signal.Signals) -> None:
    with on_a_terminal() as (process, master):
        process.send_signal(number)
        written = b""
        while len(written) < 100_000:
            written += os.read(master, 10_000)
        assert process.wait(20) == 128 + number
        os.close(master)


def test_an_application_that_hangs_is_not_waited_for() -> None:
    with on_a_terminal(leave="lambda: None", seconds=0.1) as (process, master):
        os.close(master)
        assert process.wait(20) == 129


def test_what_an_application_leaves_behind_is_not_waited_for() -> None:
    with on_a_terminal(seconds=0.1, ends=False) as (process, master):
        os.close(master)
        assert process.wait(20) == 129


def test_a_pipe_that_is_closed_counts_too() -> None:
    program = PROGRAM.format(leave="leave.set", seconds=60, on_hangup="signal.SIG_DFL", ends=True)
    with subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline() == b"started\n"
        process.stdout.close()
        process.stderr.close()
        process.stdin.close()
        assert process.wait(20) == 129
