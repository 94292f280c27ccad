"""What the kernel knows of a process, and killing one for certain (proc_pid_stat(5), pidfd_open(2))."""

from __future__ import annotations

import os
import re
import signal
from pathlib import Path


def kill_child(pid: int, parent: int) -> bool:
    """kill -9 of a process if it is a child of `parent`; whether it was done.

    A process id that was read somewhere may belong to anybody by now; a pidfd cannot change hands.
    """
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return False
    try:
        if _parent(pid) != parent:
            return False
        signal.pidfd_send_signal(handle, signal.SIGKILL)
    except (FileNotFoundError, ProcessLookupError):
        return False
    finally:
        os.close(handle)
    return True


def peak_bytes(pid: int) -> int:
    """The most memory that the process has ever had in RAM."""
    found = re.search(r"^VmHWM:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    if found is None:
        raise ProcessLookupError(f"process {pid} has no memory any more")
    return int(found[1]) * 1024


def open_files(pid: int) -> int:
    """How many file descriptors the process has."""
    return len(os.listdir(f"/proc/{pid}/fd"))


def _parent(pid: int) -> int:
    # The name of the program, which comes before, may hold anything, closing parentheses too.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[1])
