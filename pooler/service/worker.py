"""A thread for work that would hold up the event loop: the SQL of the admin database."""

import contextlib
import sys
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Final

SWITCH_INTERVAL: Final = 0.0001
"""Seconds after which the thread lets the loop have the interpreter, instead of Python's 5 ms."""

Job = tuple[Callable[[], None], Callable[[], None]]


class Worker:
    """One thread, which starts with the first job and works them off in their order.

    It never keeps the process from ending.
    """

    def __init__(self, call_soon_threadsafe: Callable[..., object]) -> None:
        self._call_soon_threadsafe = call_soon_threadsafe
        self._jobs: SimpleQueue[Job | None] = SimpleQueue()
        self._started = False

    def submit(self, work: Callable[[], None], done: Callable[[], None]) -> None:
        """Runs `work`, which raises nothing, in the thread; then `done` on the loop."""
        if not self._started:
            self._started = True
            threading.Thread(target=self._work, name="admin", daemon=True).start()
        self._jobs.put((work, done))

    def close(self) -> None:
        """Lets the thread end; what it still works on is forgotten."""
        self._jobs.put(None)

    def _work(self) -> None:
        while (job := self._jobs.get()) is not None:
            work, done = job
            interval = sys.getswitchinterval()
            sys.setswitchinterval(SWITCH_INTERVAL)
            try:
                work()
            finally:
                sys.setswitchinterval(interval)
            with contextlib.suppress(RuntimeError):  # the loop is closed
                self._call_soon_threadsafe(done)
            del job, work, done
