"""The console with a stop-watch: what each of its ticks takes.

`python -m tests.bench_console.console TARGET SECONDS RESULT FACTOR`
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple

from rich.segment import Segment
from textual.strip import Strip

from tui.admin import pacing
from tui.admin.target import parse_target
from tui.app import Console
from tui.screens.tables import TableScreen
from tui.settings import ConsoleSettings
from tui.tuning import spare_garbage_collection
from tui.watch.moment import Moment
from tui.widgets.table import SnapshotTable

WARM_UP = 6.0
"""Seconds in which nothing is measured: the first polls, the way to the screen."""


class Outcome(NamedTuple):
    """Seconds of each tick, a share of one CPU, megabytes."""

    asked: list[float]
    """All tables of a poll: question, answer, decoding."""
    arranged: list[float]
    """The table on the screen: taken apart, sorted, filtered, on a thread."""
    painted: list[float]
    """On the loop of the screen, until it is on the terminal's way."""
    refreshes: float
    """A second, of the table."""
    cpu: float
    memory: float


class Measured:
    """Notes what ticks take, from when it is started."""

    def __init__(self) -> None:
        self.running = False
        self.asked: list[float] = []
        self.arranged: list[float] = []
        self.painted: list[float] = []


def replace(of: type, **methods: Any) -> None:
    """Give a class other methods."""
    for name, method in methods.items():
        setattr(of, name, method)


def mark_cursor() -> None:
    """Write on the line of the cursor how often it was moved: the terminal sees which key was answered."""
    move, render = SnapshotTable.action_move, SnapshotTable.render_line

    def action_move(table: Any, rows: int) -> None:
        table.bench_moves = getattr(table, "bench_moves", 0) + 1
        move(table, rows)

    def render_line(table: Any, y: int) -> Strip:
        strip = render(table, y)
        if not strip.text.startswith("›"):
            return strip
        mark = f"moves {getattr(table, 'bench_moves', 0)} "
        return Strip([Segment(mark), *strip.crop(len(mark))], strip.cell_length)

    replace(SnapshotTable, action_move=action_move, render_line=render_line)


def time_tables(measured: Measured) -> None:
    """Take the times of what a table does with its rows."""
    arrange, show = TableScreen._arranged, SnapshotTable.show

    def arranged(screen: Any, *arguments: Any) -> Any:
        began = time.perf_counter()
        try:
            return arrange(screen, *arguments)
        finally:
            if measured.running:
                measured.arranged.append(time.perf_counter() - began)

    def shown(table: Any, view: Any) -> None:
        began = time.perf_counter()
        show(table, view)
        if measured.running:
            table.call_after_refresh(lambda: measured.painted.append(time.perf_counter() - began))

    replace(TableScreen, _arranged=arranged)
    replace(SnapshotTable, show=shown)


class BenchConsole(Console):
    """Ends by itself, and leaves its times behind."""

    def __init__(self, settings: ConsoleSettings, seconds: float, result: Path, measured: Measured) -> None:
        super().__init__(settings)
        self._seconds, self._result, self._measured = seconds, result, measured
        self._used = 0.0

    def on_ready(self) -> None:
        self.set_timer(WARM_UP, self._begin)

    def _begin(self) -> None:
        self._measured.running = True
        self._used = time.process_time()
        self.set_timer(self._seconds, self._finish)

    def _show(self, moment: Moment) -> None:
        if self._measured.running:
            self._measured.asked.append(moment.seconds)
        super()._show(moment)

    def _finish(self) -> None:
        measured = self._measured
        outcome = Outcome(
            measured.asked,
            measured.arranged,
            measured.painted,
            len(measured.arranged) / self._seconds,
            (time.process_time() - self._used) / self._seconds,
            resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
        )
        self._result.write_text(json.dumps(outcome))
        self.exit()


def main() -> None:
    target, seconds, result, factor = sys.argv[1:]
    pacing.COST_FACTOR = float(factor)  # type: ignore[misc]
    measured = Measured()
    mark_cursor()
    time_tables(measured)
    settings = ConsoleSettings(parse_target(target), interval=1.0)
    console = BenchConsole(settings, float(seconds), Path(result), measured)
    spare_garbage_collection()
    console.run()
    sys.exit(console.return_code)


if __name__ == "__main__":
    main()
