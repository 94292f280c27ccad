"""Ends the process when its terminal is gone or a signal says so: in time, and whatever hangs."""

from __future__ import annotations

import asyncio
import os
import select
import signal
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import Final

END_SECONDS: Final = 4.0
"""How long the application may take to end once it was told to."""

_STANDARD: Final = (0, 1, 2)


class TerminalWatch:
    """A thread that waits for the end of the terminal, from `start` to `stop`.

    A hang-up need not come with a signal: whoever has no controlling terminal, or runs under nohup, gets
    none, and a read from a terminal that is gone returns at once, for ever.

    `leave` tells the application to end; it is called on the thread. If the process is still there
    END_SECONDS later, it ends with the same exit code as otherwise, also where the application has ended and
    something that it has left behind has not.
    """

    def __init__(self, leave: Callable[[], None], *, seconds: float = END_SECONDS) -> None:
        self._leave = leave
        self._seconds = seconds
        self._reader, self._writer = os.pipe()
        self._thread = threading.Thread(target=self._watch, name="terminal", daemon=True)
        self.exit_code: int | None = None
        """128 and the number of the signal, or of SIGHUP; None as long as nothing has happened."""

    def start(self) -> None:
        """Watch standard input."""
        self._thread.start()

    def stop(self) -> None:
        """The application has ended; if it was told to, the process has to end in time as well."""
        os.write(self._writer, b"\0")
        if self.exit_code is None:
            self._thread.join()

    def on_signal(self, number: int, frame: FrameType | None = None) -> None:
        """End because of a signal; fit to be a signal handler."""
        os.write(self._writer, bytes([number]))

    def _watch(self) -> None:
        poll = select.poll()
        poll.register(self._reader, select.POLLIN)
        poll.register(0, 0)  # a hang-up or an error is told of all the same
        ready = dict(poll.poll())
        number = os.read(self._reader, 1)[0] if self._reader in ready else signal.SIGHUP
        if number == 0:
            return
        self.exit_code = 128 + number
        _let_go_of_terminal()
        self._leave()
        time.sleep(self._seconds)
        os._exit(self.exit_code)


def go_on_only_after_a_stop() -> None:
    """Let Textual take a SIGCONT for the end of a stop only where there was one.

    Whoever loses the terminal gets SIGHUP and SIGCONT, and anybody may send the latter. Textual would begin
    again without having ended, and of its two threads for keys one would never end. Both are done between two
    callbacks of the running loop: a signal handler would wait for locks that the code under it may hold.
    """
    stop, go_on = signal.getsignal(signal.SIGTSTP), signal.getsignal(signal.SIGCONT)
    if not callable(stop) or not callable(go_on):
        return
    stopped = False

    def on_stop() -> None:
        nonlocal stopped
        stopped = True
        stop(signal.SIGTSTP, None)

    def on_continue() -> None:
        nonlocal stopped
        if stopped:
            stopped = False
            go_on(signal.SIGCONT, None)

    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTSTP, on_stop)
    loop.add_signal_handler(signal.SIGCONT, on_continue)


def _let_go_of_terminal() -> None:
    """What is still written to a terminal that is gone must not fail, nor keep the writer waiting."""
    nowhere = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
    for descriptor in _STANDARD:
        if not _usable(descriptor):
            os.dup2(nowhere, descriptor)
    os.close(nowhere)


def _usable(descriptor: int) -> bool:
    """Whether nobody has hung up at the other end."""
    poll = select.poll()
    poll.register(descriptor, 0)
    return not poll.poll(0)
