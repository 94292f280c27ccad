"""What the kernel has counted for a process (proc_pid_status(5); the kernel's sched-stats.rst)."""

import os
import re
from pathlib import Path


def cpu_seconds(pid: int) -> float:
    """User and system time of all threads of the process so far, without those that have ended.

    From schedstat, which counts nanoseconds: the ticks of /proc/PID/stat are too coarse for a short COPY.
    """
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def resident_bytes(pid: int) -> int:
    """Memory of the process that is in RAM."""
    found = re.search(r"^VmRSS:\s+(\d+) kB", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    if found is None:
        raise ProcessLookupError(f"process {pid} has no memory any more")
    return int(found[1]) * 1024


def cpu_model() -> str:
    """The processor's name and how many of them we may use."""
    found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return f"{found[1] if found else 'unknown processor'}, {len(os.sched_getaffinity(0))} cores"
