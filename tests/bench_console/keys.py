"""A terminal that presses keys, and takes the time until each has been answered."""

from __future__ import annotations

import fcntl
import itertools
import os
import pty
import random
import select
import struct
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence
from typing import Final

WARM_UP: Final = 3
DOWN: Final = b"\x1b[B"


def on_a_terminal(
    command: Sequence[str],
    *,
    ready: bytes,
    before: Sequence[bytes] = (),
    press: bool = True,
    environ: Mapping[str, str] | None = None,
) -> list[float]:
    """Run a command on a terminal of 200 by 60 until it ends; how long each key took, in seconds.

    Once it has written `ready`, the keys of `before` are sent, a moment apart. Then the cursor is moved down,
    if `press`: the program marks the line of the cursor with `moves` and how often it was moved.
    """
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 60, 200, 0, 0))
    child = subprocess.Popen(
        command,
        stdin=follower,
        stdout=follower,
        stderr=follower,
        env={**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", **(environ or {})},
        start_new_session=True,
    )
    os.close(follower)
    latencies = _press_keys(leader, ready, before, press)
    os.close(leader)
    if child.wait():
        raise SystemExit(f"{' '.join(command)} ended with {child.returncode}")
    return latencies


def _press_keys(leader: int, ready: bytes, before: Sequence[bytes], press: bool) -> list[float]:
    """Press until the child hangs up; each key when the one before was answered and a while has passed."""
    latencies: list[float] = []
    chance = random.Random(1)
    if not _read_until(leader, ready):
        return latencies
    for keys in before:
        _read_for(leader, 0.5)
        os.write(leader, keys)
    _read_for(leader, WARM_UP)
    for number in itertools.count(1):
        if not press:
            if not _read_for(leader, 1):
                break
            continue
        start = time.perf_counter()
        os.write(leader, DOWN)
        if not _read_until(leader, f"moves {number} ".encode()):
            break
        latencies.append(time.perf_counter() - start)
        _read_for(leader, chance.uniform(0.02, 0.06))
    return latencies


def _read(leader: int) -> bytes:
    try:
        return os.read(leader, 1 << 16)
    except OSError:
        return b""


def _read_until(leader: int, mark: bytes) -> bool:
    seen = b""
    while mark not in seen:
        data = _read(leader)
        if not data:
            return False
        seen = seen[-len(mark) :] + data
    return True


def _read_for(leader: int, seconds: float) -> bool:
    end = time.perf_counter() + seconds
    while (left := end - time.perf_counter()) > 0:
        ready, _, _ = select.select([leader], [], [], left)
        if ready and not _read(leader):
            return False
    return True


def percentile(times: Sequence[float], share: float = 0.95) -> float:
    """The time that so many of them stayed within; 0 if there are none."""
    return sorted(times)[min(len(times) - 1, int(share * len(times)))] if times else 0.0


def milliseconds(times: Sequence[float], share: float = 0.95) -> str:
    """A percentile, for a table."""
    return f"{1000 * percentile(times, share):.1f}" if times else "–"
