"""The pooler's log: its file, if that is on this machine, or what it keeps for SHOW LOG."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from enum import Enum
from typing import ClassVar, Final

from textual import on
from textual.binding import Binding, BindingType
from textual.widget import Widget
from textual.widgets import Static

from tui.admin.errors import AdminError
from tui.admin.pacing import pause_after
from tui.admin.words import size
from tui.files.logbook import KEPT, LogBook, LogFilter, pattern_of
from tui.files.logline import CLIENT, LogLine, line_of_row, parse_lines
from tui.files.showlog import ShowLog
from tui.files.tail import Tail
from tui.files.whereabouts import Whereabouts, log_file
from tui.screens.base import ConsoleScreen
from tui.screens.line_detail import LineDetail
from tui.screens.tables import TableScreen
from tui.watch.moment import Moment
from tui.widgets.cells import safe
from tui.widgets.filter_bar import FilterBar, PatternBar
from tui.widgets.log_lines import LogLines

_LEVELS: Final = ("", "LOG", "WARNING", "ERROR")
"""What the level key goes through; the empty one lets all lines pass."""


class Source(Enum):
    """Where lines come from."""

    NONE = "none"
    FILE = "file"
    TABLE = "SHOW LOG"


class LogsScreen(ConsoleScreen):
    """The log as it grows: / filters, v is for levels, enter goes to the client or server of a line."""

    DEFAULT_CSS = """
    LogsScreen LogLines { height: 1fr; }
    LogsScreen #source { height: 1; background: $panel; color: $text-muted; padding: 0 1; text-wrap: nowrap; }
    LogsScreen #source.-wrong { color: $text-warning; text-style: bold; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "Filter", id="screen.filter"),
        Binding("v", "level", "Level", id="log.level"),
        Binding("space", "pause", "Pause", id="log.pause"),
        Binding("d", "detail", "Whole line", id="log.detail"),
        Binding("s", "source", "Source", show=False, id="log.source"),
        Binding("y", "copy", "Copy the line", show=False, id="screen.copy"),
        Binding("escape", "back", "Back", show=False, id="screen.back"),
    ]

    place = "logs"

    def __init__(self) -> None:
        super().__init__()
        self._book = LogBook()
        self._source = Source.NONE
        self._tail: Tail | None = None
        self._show_log = ShowLog()
        self._file = Whereabouts()
        self._problem = ""
        self._new = 0
        self._passed_over = 0
        self._reading = False
        self._ask_at = 0.0

    def compose_body(self) -> Iterable[Widget]:
        yield PatternBar()
        yield LogLines(self._book)
        yield Static(id="source", markup=False)

    def on_mount(self) -> None:
        self.query_one(PatternBar).display = False
        self.query_one(LogLines).focus()
        interval = self.console.settings.interval
        if interval is not None:
            # Not at each poll: when the pooler is gone, its log is what one wants to see.
            self.set_interval(interval, self._look)

    def on_unmount(self) -> None:
        if self._tail is not None:
            self._tail.close()

    def on_screen_resume(self) -> None:
        self._look()

    def show_moment(self, moment: Moment) -> None:
        self._look()

    def _look(self) -> None:
        if self._reading or not self.is_current or self.console.frozen:
            return
        self._reading = True
        self.run_worker(self._read(), "log", group="log")

    # Reading

    async def _read(self) -> None:
        try:
            if self._source is Source.NONE:
                self._choose()
            if self._source is Source.FILE:
                await self._read_file()
            if self._source is Source.TABLE:
                await self._read_table()
        finally:
            self._reading = False
        if self.is_mounted:
            self._show_source()

    def _choose(self) -> None:
        """The file if there is one, else the table."""
        moment, settings = self.console.moment, self.console.settings
        config = None if moment is None else moment.table("CONFIG")
        given = None if settings.log is None else str(settings.log)
        self._file = log_file(given, settings.target.host, None if config is None else config.pairs())
        if self._file.path:
            self._use(Source.FILE)
        elif self._has_table:
            self._use(Source.TABLE)
        else:
            reason = self._file.reason
            self._problem = reason if moment is None else f"{reason}; and this pooler has no SHOW LOG"

    @property
    def _has_table(self) -> bool:
        moment = self.console.moment
        return moment is not None and moment.capabilities.has_table("LOG")

    def _use(self, source: Source) -> None:
        self._source = source
        self._problem = ""
        if self._tail is not None:
            self._tail.close()
        self._tail = Tail(self._file.path, KEPT) if source is Source.FILE else None
        self._show_log = ShowLog()
        self._ask_at = 0.0
        self._new = self._passed_over = 0
        self._book.clear()
        self.query_one(LogLines).show_all()
        self.query_one(LogLines).set_follows(True)

    async def _read_file(self) -> None:
        tail, more = self._tail, True
        while more and tail is not None and tail is self._tail:
            batch = await asyncio.to_thread(tail.read)
            number, level = self._book.next_number, self._book.last_level
            lines = await asyncio.to_thread(parse_lines, batch.lines, number, level)
            if tail is not self._tail:
                return
            self._problem = batch.problem or ""
            self._passed_over += batch.passed_over
            self._add(lines)
            more = batch.more
        if self._problem and not self._book.total and self._has_table:
            reason = self._problem
            self._use(Source.TABLE)
            self._file = Whereabouts(self._file.path, reason)

    async def _read_table(self) -> None:
        clock = self.console.settings.clock
        if clock.seconds() < self._ask_at:
            return
        began = clock.seconds()
        show_log = self._show_log
        try:
            rows = show_log.take((await self.console.ask(show_log.query)).rows)
            if rows is None:
                rows = show_log.take((await self.console.ask(show_log.query)).rows) or []
        except AdminError as error:
            self._problem = f"SHOW LOG: {error.message}"
            return
        if show_log is not self._show_log:
            return
        now = clock.seconds()
        self._ask_at = now + pause_after(now - began)
        self._problem = ""
        first = self._book.next_number
        self._add([line_of_row(*row[1:], number) for number, row in enumerate(rows, start=first)])

    def _add(self, lines: list[LogLine]) -> None:
        if not lines or not self.is_mounted:
            return
        shown = self.query_one(LogLines)
        came, left = self._book.add(lines)
        if not shown.follows:
            self._new += came
        shown.grow(came, left)

    # Showing

    def _show_source(self) -> None:
        shown = self.query_one(LogLines)
        shown.why_empty = safe(self._why_empty())
        bar = self.query_one("#source", Static)
        bar.set_class(bool(self._problem), "-wrong")
        bar.update(safe(" · ".join(self._parts(shown.follows))))
        if not len(self._book):
            shown.refresh()

    def _parts(self, follows: bool) -> Iterable[str]:
        if follows:
            yield "▶ following"
        else:
            yield f"❚❚ paused, {self._new} new" if self._new else "❚❚ paused"
        if self._problem:
            yield f"▲ {self._problem}"
        passing, total = len(self._book), self._book.total
        lines = f"{total} line{'s'[: total != 1]}"
        yield lines if passing == total else f"{passing} of {lines}"
        if self._book.filter.level:
            yield f"{self._book.filter.level} and worse"
        if self._book.filter.pattern.text:
            yield self._book.filter.pattern.text
        if self._passed_over:
            yield f"{size(self._passed_over)} passed over"
        if self._source is Source.FILE:
            yield self._file.path
        elif self._source is Source.TABLE:
            yield f"SHOW LOG ({self._file.reason})" if self._file.reason else "SHOW LOG"

    def _why_empty(self) -> str:
        if self._book.total:
            return "no line matches the filter"
        if self._problem:
            return f"No log to show: {self._problem}."
        return "Nothing has been logged yet." if self._source is not Source.NONE else "Looking for the log …"

    @on(LogLines.FollowChanged)
    def _follow_changed(self) -> None:
        self._new = 0
        self._show_source()

    # Keys

    def action_filter(self) -> None:
        bar = self.query_one(PatternBar)
        bar.display = True
        bar.focus_input()

    @on(FilterBar.Changed)
    def _filtered(self, event: FilterBar.Changed) -> None:
        self._filter(LogFilter(self._book.filter.level, pattern_of(event.text)))

    @on(FilterBar.Left)
    def _left_filter(self, event: FilterBar.Left) -> None:
        event.bar.display = bool(self._book.filter.pattern.text)
        self.query_one(LogLines).focus()

    def _filter(self, wanted: LogFilter) -> None:
        self._book.set_filter(wanted)
        self.query_one(LogLines).show_all()
        self._show_source()

    def action_level(self) -> None:
        """Only what is worse, and worse; then all again."""
        level = _LEVELS[(_LEVELS.index(self._book.filter.level) + 1) % len(_LEVELS)]
        self._filter(LogFilter(level, self._book.filter.pattern))

    def action_pause(self) -> None:
        lines = self.query_one(LogLines)
        lines.set_follows(not lines.follows)

    def action_source(self) -> None:
        """The file instead of the table, or the table instead of the file."""
        wanted = Source.FILE if self._source is Source.TABLE else Source.TABLE
        if wanted is Source.FILE and not self._file.path:
            self.notify(f"There is no other: {self._file.reason}", severity="warning", markup=False)
        elif wanted is Source.TABLE and not self._has_table:
            self.notify("There is no other: this pooler has no SHOW LOG", severity="warning", markup=False)
        else:
            self._use(wanted)
            self._look()

    def action_back(self) -> None:
        if self._book.filter.pattern.text:
            self.query_one(PatternBar).set_text("")
            self.query_one(PatternBar).display = False
            self.query_one(LogLines).focus()

    def action_detail(self) -> None:
        line = self.query_one(LogLines).line
        if line is not None:
            self.app.push_screen(LineDetail(line))

    def action_copy(self) -> None:
        line = self.query_one(LogLines).line
        if line is not None:
            self.app.copy_to_clipboard(line.text)
            self.notify("1 line copied", markup=False)

    @on(LogLines.Activated)
    async def _activated(self, event: LogLines.Activated) -> None:
        connection = event.line.connection
        if connection is None:
            self.app.push_screen(LineDetail(event.line))
            return
        await self.app.switch_mode("clients" if connection.kind == CLIENT else "servers")
        screen = self.app.screen
        if isinstance(screen, TableScreen):
            screen.filter_by(f'ptr = "{connection.pointer}"')
