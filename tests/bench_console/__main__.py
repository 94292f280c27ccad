"""Measures the console: `make bench-console`, e.g. with ARGS='--clients 1000 --seconds 10'.

For each number of clients the console runs on a terminal of its own, on the screen of clients, all of whom
are read again each second. Then the same as it is: it reads what is expensive more seldom, so that the pooler
is asked for no more than a twentieth of its time.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import NamedTuple

from cli.demo.throwaway import ReservedPort
from tests.bench.procfs import cpu_model
from tests.bench_console.console import WARM_UP, Outcome
from tests.bench_console.crowd import config
from tests.bench_console.keys import milliseconds, on_a_terminal

EACH_SECOND = 0.0
AS_IT_IS = 20.0

CONSOLE = (sys.executable, "-m", "tests.bench_console.console")


class Load(NamedTuple):
    """What a pooler had to do, a second."""

    loop: float
    """Seconds of its event loop's thread."""
    process: float
    """Seconds of all its threads."""
    sent: float
    """Bytes."""
    received: float
    delay: float
    """Seconds: the longest that anybody had to wait for the loop, beyond what a timer takes."""


class CrowdProcess:
    """A pooler with that many clients."""

    def __init__(self, process: subprocess.Popen[str], port: int) -> None:
        self._process = process
        self.target = f"postgresql://admin@127.0.0.1:{port}"

    def read(self) -> dict[str, float]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        found: dict[str, float] = json.loads(self._process.stdout.readline())
        return found


@contextmanager
def crowd(clients: int) -> Iterator[CrowdProcess]:
    with tempfile.TemporaryDirectory() as directory, closing(ReservedPort()) as reserved:
        ini = config(Path(directory), reserved.number)
        with subprocess.Popen(
            [sys.executable, "-m", "tests.bench_console.crowd", str(ini), str(clients)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            if process.stdout.readline() != "ready\n":
                raise SystemExit("the pooler did not start")
            yield CrowdProcess(process, reserved.number)


def run_console(
    pooler: CrowdProcess, screen: str, seconds: float, *, press: bool, factor: float
) -> tuple[list[float], Outcome]:
    """How long each key took, in seconds, and what the console says of itself."""
    with tempfile.TemporaryDirectory() as directory:
        result = Path(directory) / "times.json"
        keys = on_a_terminal(
            [*CONSOLE, pooler.target, str(seconds), str(result), str(factor)],
            ready=b"live",
            before=(screen.encode(),),
            press=press,
        )
        return keys, Outcome(*json.loads(result.read_text()))


def load_of(before: dict[str, float], after: dict[str, float]) -> Load:
    wall = after["wall"] - before["wall"]
    loop, process, sent, received = (
        (after[name] - before[name]) / wall for name in ("loop", "process", "sent", "received")
    )
    return Load(loop, process, sent, received, after["delay"])


class _Alongside(threading.Thread):
    """Reads the meter when the console has warmed up, and again when it is about to end."""

    def __init__(self, pooler: CrowdProcess, seconds: float) -> None:
        super().__init__(daemon=True)
        self.marks: list[dict[str, float]] = []
        self._pooler, self._seconds = pooler, seconds

    def run(self) -> None:
        time.sleep(WARM_UP)
        self.marks.append(self._pooler.read())
        time.sleep(self._seconds - 1)
        self.marks.append(self._pooler.read())


def measured_load(pooler: CrowdProcess, screen: str, seconds: float) -> Load:
    """What one console that nobody touches costs the pooler, without what it does anyway."""
    first = pooler.read()
    time.sleep(seconds)
    idle = load_of(first, pooler.read())
    run = _Alongside(pooler, seconds)
    run.start()
    run_console(pooler, screen, seconds, press=False, factor=AS_IT_IS)
    run.join()
    busy = load_of(*run.marks)
    return Load(busy.loop - idle.loop, busy.process - idle.process, busy.sent, busy.received, busy.delay)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clients", type=int, nargs="+", default=[1000, 10_000, 40_000])
    parser.add_argument("--seconds", type=float, default=30)
    options = parser.parse_args()
    print(f"{cpu_model()}; Python {sys.version.split()[0]}; {options.seconds:g} s each\n")
    console_table(options.clients, options.seconds)
    load_table([0, *options.clients], options.seconds)


def console_table(counts: list[int], seconds: float) -> None:
    print("The console on the screen of clients; ms, p95 unless told.\n")
    print("| clients | read | refreshes/s | asking | arranging | painting | key p50 | key p95 | key max |"
          " CPU, keys | CPU, none | MB |")  # fmt: skip
    print("|--:|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|")
    for count in counts:
        with crowd(count) as pooler:
            for name, factor in (("each second", EACH_SECOND), ("as it is", AS_IT_IS)):
                keys, busy = run_console(pooler, "3", seconds, press=True, factor=factor)
                _, idle = run_console(pooler, "3", seconds, press=False, factor=factor)
                print(
                    f"| {count:,} | {name} | {busy.refreshes:.2f} | {milliseconds(busy.asked)}"
                    f" | {milliseconds(busy.arranged)} | {milliseconds(busy.painted)}"
                    f" | {milliseconds(keys, 0.5)} | {milliseconds(keys)} | {milliseconds(keys, 1)}"
                    f" | {busy.cpu:.0%} | {idle.cpu:.0%} | {busy.memory:.0f} |",
                    flush=True,
                )


def load_table(counts: list[int], seconds: float) -> None:
    print("\nWhat a console costs the pooler, a second.\n")
    print("| clients | screen | ms, loop | ms, all threads | KB sent | KB received | longest delay, ms |")
    print("|--:|---|--:|--:|--:|--:|--:|")
    for count in counts:
        with crowd(count) as pooler:
            for name, key in (("overview", "1"), ("clients", "3")):
                load = measured_load(pooler, key, seconds)
                print(
                    f"| {count:,} | {name} | {1000 * load.loop:.1f} | {1000 * load.process:.1f}"
                    f" | {load.sent / 1000:.1f} | {load.received / 1000:.2f} | {1000 * load.delay:.1f} |",
                    flush=True,
                )


if __name__ == "__main__":
    main()
