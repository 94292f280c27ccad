"""A program on a pseudo-terminal, as a user has it in front of them."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

_CONTROL = re.compile(rb"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b[()=>]\S?")


class Terminal:
    """Runs a command on a terminal of 120 by 40; nobody sends it SIGHUP when the terminal goes away.

    What it writes is read by `expect` and `wait` alone: a program that writes more waits for them.
    """

    def __init__(self, command: Sequence[str], env: Mapping[str, str] | None = None) -> None:
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        self._modes = termios.tcgetattr(self._master)
        self.written = b""
        self._seen = 0
        self.process = subprocess.Popen(
            [*command],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            start_new_session=True,
            env={**os.environ, "TERM": "xterm-256color", **(env or {})},
        )
        os.close(slave)

    @property
    def text(self) -> str:
        """What was written so far, without what moves the cursor or paints."""
        return _plain(self.written)

    def expect(self, text: str, seconds: float = 30.0) -> None:
        """Return as soon as `text` has been written since the last call. Raises TimeoutError."""
        deadline = time.monotonic() + seconds
        while text not in _plain(self.written[self._seen :]):
            if not self._read(deadline):
                raise TimeoutError(f"{text!r} was not written:\n{_plain(self.written[self._seen :])[-3000:]}")
        self._seen = len(self.written)

    def send(self, keys: str) -> None:
        """Press keys."""
        os.write(self._master, keys.encode())

    def send_until(self, keys: str, text: str) -> None:
        """Press keys until `text` is written: what was there before may still take the first ones."""
        for _ in range(30):
            self.send(keys)
            with suppress(TimeoutError):
                return self.expect(text, 1.0)
        raise TimeoutError(f"{text!r} was not written:\n{self.text[-3000:]}")

    def hang_up(self) -> None:
        """The terminal is gone."""
        os.close(self._master)
        self._master = -1

    def wait(self, seconds: float = 30.0) -> int:
        """The exit status, once the program has ended by itself. Raises TimeoutError."""
        deadline = time.monotonic() + seconds
        while self.process.poll() is None:
            if self._master < 0:
                return self.process.wait(max(0.0, deadline - time.monotonic()))
            if not self._read(deadline):
                # The other side is closed, or it is late.
                return self.process.wait(max(0.1, deadline - time.monotonic()))
        while self._master >= 0 and self._read(time.monotonic() + 0.1):
            pass
        return self.process.returncode

    def wait_for_stop(self, seconds: float = 30.0) -> None:
        """Return when the program has been stopped. Raises TimeoutError."""
        deadline = time.monotonic() + seconds
        while True:
            found, status = os.waitpid(self.process.pid, os.WUNTRACED | os.WNOHANG)
            if found:
                assert os.WIFSTOPPED(status), status
                return
            if not self._read(time.monotonic() + 0.1) and time.monotonic() > deadline:
                raise TimeoutError(f"not stopped:\n{self.text[-3000:]}")

    @property
    def is_as_before(self) -> bool:
        """Whether the modes are what they were, the alternate screen is left and the cursor shown."""
        left = self.written.rfind(b"\x1b[?1049l") > self.written.rfind(b"\x1b[?1049h")
        shown = self.written.rfind(b"\x1b[?25h") > self.written.rfind(b"\x1b[?25l")
        return left and shown and termios.tcgetattr(self._master) == self._modes

    def _read(self, deadline: float) -> bool:
        """Take what there is; False if nothing came in time."""
        ready, _, _ = select.select([self._master], [], [], max(0.0, deadline - time.monotonic()))
        if not ready:
            return False
        try:
            data = os.read(self._master, 65536)
        except OSError:  # the program has closed its side
            return False
        self.written += data
        return bool(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.kill()
        self.process.wait()
        if self._master >= 0:
            os.close(self._master)


def _plain(written: bytes) -> str:
    return _CONTROL.sub(b"", written).decode("utf-8", "replace")


def plain_environment(**values: Any) -> dict[str, str]:
    """For a program that must not find what the one who runs the tests has set for libpq or the console."""
    ours = {
        name: value for name, value in os.environ.items() if not name.startswith(("PG", "POOLDECK_", "XDG_"))
    }
    return {**ours, **{name: str(value) for name, value in values.items()}}
