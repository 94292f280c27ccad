"""Measures the console's table: `python -m tests.widgets_bench [--rows 1000 10000 40000] [--seconds 20]`.

A table of as many columns as SHOW CLIENTS has runs on a terminal of its own (a pseudo-terminal of 200 by 60).
Each second all its rows are replaced, sorted by a column that changes at random; meanwhile the cursor key is
pressed, and the time until the terminal gets the answer is taken. First, what the models alone need.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from rich.segment import Segment
from textual.app import App, ComposeResult
from textual.strip import Strip

from tests.bench_console.keys import milliseconds, on_a_terminal
from tui.widgets.columns import Column, Kind, Level
from tui.widgets.snapshot import Row, Snapshot
from tui.widgets.table import SnapshotTable
from tui.widgets.view import Arrangement, View, arrange, group

COLUMNS = (
    Column("id", Kind.NUMBER),
    *(Column(name) for name in ("type", "user", "database", "replication")),
    Column("state", level=lambda value: Level.GOOD if value == "active" else Level.MUTED),
    *(Column(name) for name in ("addr", "local_addr", "connect_time", "request_time", "ptr", "link", "tls")),
    *(Column(name, Kind.NUMBER) for name in ("port", "local_port", "wait_us", "close_needed", "remote_pid")),
    Column("wait", Kind.NUMBER, level=lambda value: Level.WARNING if value > 8 else Level.PLAIN),
    Column("application_name"),
    Column("prepared_statements", Kind.NUMBER),
)
BY_WAIT = Arrangement("wait", descending=True)
REFRESH = 1.0


def client(number: int, chance: random.Random) -> Row:
    state = "active" if chance.random() < 0.2 else "idle"
    user, database = f"user{number % 50}", f"db{number % 20}"
    addresses = (f"10.{number // 65536}.{number // 256 % 256}.{number % 256}", "10.0.0.1")
    times = ("2026-11-21 18:00:00 UTC", f"2026-11-21 18:{number % 60:02}:{number % 59:02} UTC")
    pointers = (f"0x{number * 16:012x}", f"0x{number * 32:012x}" if state == "active" else "")
    numbers = (1024 + number % 60000, 6432, chance.randrange(10**6), 0, number)
    wait = round(chance.uniform(0, 9), 3)
    return (
        number,
        "C",
        user,
        database,
        "none",
        state,
        *addresses,
        *times,
        *pointers,
        "",
        *numbers,
        wait,
        "web",
        3,
    )


def clients(count: int, seed: int) -> list[Row]:
    chance = random.Random(seed)
    return [client(number, chance) for number in range(count)]


class Outcome(NamedTuple):
    """What a run of the application took: seconds, a share of one CPU, megabytes."""

    times: dict[str, list[float]]
    cpu: float
    memory: float


class MarkedTable(SnapshotTable):
    """Writes on the line of the cursor how often it was moved: the terminal sees which key was answered."""

    moves = 0

    def action_move(self, rows: int) -> None:
        self.moves += 1
        super().action_move(rows)

    def render_line(self, y: int) -> Strip:
        strip = super().render_line(y)
        if not strip.text.startswith("›"):
            return strip
        mark = f"moves {self.moves} "
        return Strip([Segment(mark), *strip.crop(len(mark))], strip.cell_length)


class BenchApp(App[None]):
    """Replaces all rows each second."""

    def __init__(self, count: int, seconds: float, result: Path) -> None:
        super().__init__()
        self.variants = itertools.cycle([clients(count, seed) for seed in range(3)])
        self.seconds, self.result = seconds, result
        self.used_before = 0.0
        self.times: dict[str, list[float]] = {"thread": [], "show": [], "painted": []}

    def compose(self) -> ComposeResult:
        yield MarkedTable()

    async def on_mount(self) -> None:
        table = self.query_one(MarkedTable)
        table.focus()
        table.show(await asyncio.to_thread(self.next_view))
        self.used_before = time.process_time()
        self.set_interval(REFRESH, self.tick)
        self.set_timer(self.seconds, self.finish)

    def next_view(self) -> View:
        return arrange(Snapshot(COLUMNS, next(self.variants), ["id"]), BY_WAIT)

    async def tick(self) -> None:
        table = self.query_one(MarkedTable)
        start = time.perf_counter()
        view = await asyncio.to_thread(self.next_view)
        arranged = time.perf_counter()
        table.show(view)
        shown = time.perf_counter()
        self.times["thread"].append(arranged - start)
        self.times["show"].append(shown - arranged)
        table.call_after_refresh(lambda: self.times["painted"].append(time.perf_counter() - shown))

    def finish(self) -> None:
        cpu = (time.process_time() - self.used_before) / self.seconds
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        self.result.write_text(json.dumps(Outcome(self.times, cpu, memory)))
        self.exit()


def on_terminal(count: int, seconds: float, press: bool) -> tuple[list[float], Outcome]:
    """How long each key took, in seconds, and what the application says of itself."""
    with tempfile.TemporaryDirectory() as directory:
        result = Path(directory) / "times.json"
        command = [sys.executable, "-m", "tests.widgets_bench", "--child", str(result), "--rows", str(count)]
        latencies = on_a_terminal([*command, "--seconds", str(seconds)], ready=b"database", press=press)
        return latencies, Outcome(*json.loads(result.read_text()))


def models(count: int) -> None:
    """Print the best of five for each thing that the models do with `count` rows."""
    rows = clients(count, 0)
    first = Snapshot(COLUMNS, rows, ["id"])
    before = arrange(first, BY_WAIT)
    work: dict[str, Callable[[], object]] = {
        "snapshot": lambda: Snapshot(COLUMNS, rows, ["id"]),
        "sort, random numbers": lambda: arrange(first, BY_WAIT),
        "sort by text": lambda: arrange(first, Arrangement("user")),
        "filter, comparison": lambda: arrange(first, Arrangement(filter="wait > 8")),
        "filter, word, new rows": lambda: arrange(
            Snapshot(COLUMNS, rows, ["id"]), Arrangement(filter="user7")
        ),
        "filter, word, as typed": lambda: arrange(first, Arrangement(filter="user7")),
        "group by two": lambda: group(before, ["user", "database"]),
    }
    for name, job in work.items():
        best = min(_timed(job) for _ in range(5))
        print(f"{count:>6} rows  {name:<26} {1000 * best:6.1f} ms")


def _timed(job: Callable[[], object]) -> float:
    start = time.perf_counter()
    job()
    return time.perf_counter() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=[1000, 10_000, 40_000])
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--child", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        BenchApp(options.rows[0], options.seconds, options.child).run()
        return
    for count in options.rows:
        models(count)
    print("\nms; p95 unless told; CPU while keys are pressed, and without\n")
    print("| rows | key p50 | key | key max | thread | on the loop | painted | CPU | CPU | MB |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for count in options.rows:
        keys, pressed = on_terminal(count, options.seconds, press=True)
        _, watched = on_terminal(count, options.seconds, press=False)
        middle = sorted(keys)[len(keys) // 2]
        ticks = " | ".join(milliseconds(times) for times in pressed.times.values())
        print(
            f"| {count} | {1000 * middle:.1f} | {milliseconds(keys)} | {1000 * max(keys):.1f} | {ticks} "
            f"| {pressed.cpu:.0%} | {watched.cpu:.0%} | {pressed.memory:.0f} |  ({len(keys)} keys)"
        )


if __name__ == "__main__":
    main()
