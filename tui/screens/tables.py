"""The screens that are one table of SHOW each."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar

from textual import on, work
from textual.binding import Binding, BindingType
from textual.widget import Widget
from textual.widgets import Static

from tui.admin.table import Table
from tui.admin.words import duration
from tui.screens import specs
from tui.screens.backend import BackendScreen
from tui.screens.base import ConsoleScreen
from tui.screens.choose import ChooseColumns, ChooseOne
from tui.screens.detail import RowDetail
from tui.screens.specs import MICROSECONDS, Spec, prepared
from tui.watch.moment import Moment
from tui.watch.rules import is_forced
from tui.widgets.cells import safe
from tui.widgets.columns import plain
from tui.widgets.filter_bar import FilterBar
from tui.widgets.filters import condition
from tui.widgets.snapshot import Key, Snapshot
from tui.widgets.table import SnapshotTable
from tui.widgets.view import Arrangement, View, arrange, group

_UNGROUPED = ""


@dataclass(frozen=True, slots=True)
class Seek:
    """A row to put the cursor on, once the rows have been read again: those of the last visit may be old."""

    column: str
    value: Any
    old: Table | None


class TableScreen(ConsoleScreen):
    """A table: filter with /, sort with < > and o or a click on a heading, enter for the whole of a row."""

    DEFAULT_CSS = """
    TableScreen SnapshotTable { height: 1fr; }
    TableScreen #counts { height: 1; background: $panel; color: $text-muted; padding: 0 1; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("slash", "filter", "Filter", id="screen.filter"),
        Binding("c", "columns", "Columns", id="screen.columns"),
        Binding("g", "group", "Group", id="screen.group"),
        Binding("y", "copy", "Copy the row", show=False, id="screen.copy"),
        Binding("escape", "back", "Back", show=False, id="screen.back"),
    ]

    spec: ClassVar[Spec]

    def __init__(self) -> None:
        super().__init__()
        self._table: Table | None = None
        self._snapshot = Snapshot((), (), ())
        self._arrangement = Arrangement(self.spec.sort, self.spec.descending)
        self._grouped = _UNGROUPED
        self._seek: Seek | None = None

    def compose_body(self) -> Iterable[Widget]:
        yield FilterBar()
        yield SnapshotTable()
        yield Static(id="counts", markup=False)

    def on_mount(self) -> None:
        self.query_one(FilterBar).display = False
        self.query_one(SnapshotTable).focus()
        order = self.console.remembered.order(self.place)
        if order is not None:
            self._arrangement = replace(self._arrangement, sort=order[0], descending=order[1])

    @property
    def arrangement(self) -> Arrangement:
        return replace(self._arrangement, columns=self._columns())

    def _columns(self) -> tuple[str, ...]:
        chosen = self.console.remembered.columns(self.place)
        return chosen or (self.spec.narrow if self.app.size.width < 100 else self.spec.columns)

    # Showing

    def show_moment(self, moment: Moment) -> None:
        table = moment.table(self.spec.table)
        if table is None:
            self._show_why_not(moment)
        elif table is not self._table:
            self._table = table
            self._refresh()

    def _show_why_not(self, moment: Moment) -> None:
        error = moment.errors.get(self.spec.table)
        if error is not None:
            text = f"The pooler does not show {self.spec.table}: {error}"
        elif not moment.capabilities.has_table(self.spec.table):
            text = f"This pooler has no SHOW {self.spec.table}"
        else:
            text = f"Asking for {self.spec.table} …"
        self.query_one("#counts", Static).update(safe(text))

    def _refresh(self) -> None:
        """Take rows apart, sort and filter them: on a thread, since there may be 40,000 of them."""
        self._rearrange()

    @work(group="arrange", exclusive=True)
    async def _rearrange(self) -> None:
        table = self._table
        if table is None:
            return
        snapshot, view = await asyncio.to_thread(self._arranged, table, self.arrangement, self._grouped)
        self._snapshot = snapshot
        self.query_one(FilterBar).set_columns(snapshot.columns)
        shown = self.query_one(SnapshotTable)
        shown.show(view)
        self._find(shown, view)
        self._show_counts(view)
        for screen in self.app.screen_stack:
            if isinstance(screen, RowDetail):
                screen.show_again()

    def _arranged(self, table: Table, arrangement: Arrangement, grouped: str) -> tuple[Snapshot, View]:
        columns, rows = prepared(table, self.spec)
        snapshot = Snapshot(columns, rows, self._key(table))
        view = arrange(snapshot, arrangement)
        if grouped:
            view = arrange(group(view, [grouped]), Arrangement("count", True))
        return snapshot, view

    def _key(self, table: Table) -> tuple[str, ...]:
        """A pointer alone would do for two clients, one after the other."""
        return self.spec.key if set(self.spec.key) <= set(table.columns) else ("ptr", "connect_time")

    def _show_counts(self, view: View) -> None:
        self.query_one("#counts", Static).update(safe(self.counts(view)))

    def counts(self, view: View) -> str:
        """What the last line says: how many rows there are, and which of them are seen."""
        total, shown = len(self._snapshot), len(view)
        if self._grouped:
            text = f"{total} {self.spec.title.lower()} by {self._grouped}: {shown}; enter shows those of one"
        elif view.arrangement.filter:
            text = f"{shown} of {total} {self.spec.title.lower()}: {view.arrangement.filter}"
        else:
            text = f"{total} {self.spec.title.lower()}"
        selected = len(self.query_one(SnapshotTable).selected_keys)
        if selected:
            hidden = self.query_one(SnapshotTable).hidden_selected
            text += f" · {selected} selected" + (f", {hidden} of them hidden by the filter" if hidden else "")
        return text

    @on(SnapshotTable.SelectionChanged)
    def _selection_changed(self) -> None:
        self._show_counts(self.query_one(SnapshotTable).view)

    # What actions are about

    def selected_rows(self) -> list[Mapping[str, Any]]:
        if self._grouped:
            return []
        table = self.query_one(SnapshotTable)
        keys = [key for key in self._snapshot.keys if key in table.selected_keys] or [table.cursor_key]
        return [row for key in keys if key is not None and (row := self.row(key)) is not None]

    def cursor_row(self) -> Mapping[str, Any] | None:
        """The row that keys which only look are about, whatever is selected."""
        key = None if self._grouped else self.query_one(SnapshotTable).cursor_key
        return None if key is None else self.row(key)

    def lost_its_rows(self) -> bool:
        return not self._grouped and self.query_one(SnapshotTable).settle()

    def selection_notes(self) -> list[str]:
        hidden = 0 if self._grouped else self.query_one(SnapshotTable).hidden_selected
        return [f"{hidden} of the selected are hidden by the filter."] if hidden else []

    def row(self, key: Key) -> Mapping[str, Any] | None:
        """The row under `key` as it is now, by column name; None when it has gone."""
        values = self._snapshot.row(key)
        if values is None:
            return None
        return {column.name: value for column, value in zip(self._snapshot.columns, values, strict=True)}

    # Going to rows

    def filter_by(self, text: str) -> None:
        """Show what `text` selects, as if it had been typed."""
        bar = self.query_one(FilterBar)
        bar.display = bool(text)
        bar.set_text(text)
        self._grouped = _UNGROUPED
        self._arrangement = replace(self._arrangement, filter=text)
        self.query_one(SnapshotTable).focus()
        self._refresh()

    def seek(self, column: str, value: Any) -> None:
        """Put the cursor on the row that has `value`, without a filter that could hide it."""
        self._seek = Seek(column, value, self._table)
        self.filter_by("")

    def _find(self, shown: SnapshotTable, view: View) -> None:
        if self._seek is None or self._seek.old is self._table:
            return
        number = self._snapshot.column_number(self._seek.column)
        values = [] if number is None else self._snapshot.values(number)
        if self._seek.value in values:
            shown.go_to(self._snapshot.keys[values.index(self._seek.value)])
        else:
            self.notify(f"It is not among the {self.spec.title.lower()} any more", markup=False)
        self._seek = None

    # Keys

    def action_filter(self) -> None:
        bar = self.query_one(FilterBar)
        bar.display = True
        bar.focus_input()

    @on(FilterBar.Changed)
    def _filtered(self, event: FilterBar.Changed) -> None:
        if event.text != self._arrangement.filter:
            self._arrangement = replace(self._arrangement, filter=event.text)
            self._refresh()

    @on(FilterBar.Left)
    def _left_filter(self, event: FilterBar.Left) -> None:
        event.bar.display = bool(self._arrangement.filter)
        self.query_one(SnapshotTable).focus()

    @on(SnapshotTable.SortRequested)
    def _sort(self, event: SnapshotTable.SortRequested) -> None:
        self._arrangement = replace(self._arrangement, sort=event.column, descending=event.descending)
        if not self._grouped:
            self.console.remembered.keep_order(self.place, event.column, event.descending)
        self._refresh()

    def action_columns(self) -> None:
        names = [column.name for column in self._snapshot.columns]
        self.app.push_screen(ChooseColumns(names, self._columns()), self._take_columns)

    def _take_columns(self, chosen: tuple[str, ...] | None) -> None:
        if chosen is not None:
            self.console.remembered.keep_columns(self.place, chosen)
            self._refresh()

    def action_group(self) -> None:
        names = [(_UNGROUPED, "nothing: each row"), *((name, name) for name in self.spec.groups)]
        self.app.push_screen(ChooseOne("Group by", names), self._take_group)

    def _take_group(self, name: str | None) -> None:
        if name is not None:
            self._grouped = name
            self._refresh()

    @on(SnapshotTable.RowActivated)
    def _activated(self, event: SnapshotTable.RowActivated) -> None:
        if self._grouped:
            self._open_group(event.key)
        else:
            self.app.push_screen(RowDetail(self, event.key))

    def _open_group(self, key: Key) -> None:
        column = self._grouped
        added = condition(column, "" if key is None else str(key))
        self.filter_by(f"{self._arrangement.filter} {added}".strip())

    def action_copy(self) -> None:
        """The row of the cursor, and those that are selected, as lines with tabs."""
        rows = self.selected_rows()
        if rows:
            lines = ["\t".join(plain(value) for value in row.values()) for row in rows]
            self.app.copy_to_clipboard("\n".join(lines))
            self.notify(f"{len(rows)} row{'s'[: len(rows) > 1]} copied", markup=False)

    def action_back(self) -> None:
        """Groups and filter first."""
        if self._grouped:
            self._take_group(_UNGROUPED)
        elif self._arrangement.filter:
            self.filter_by("")

    async def action_follow(self) -> None:
        row = self.cursor_row()
        if row is not None:
            await self.follow(row)

    async def follow(self, row: Mapping[str, Any]) -> None:
        """Go to what belongs to a row."""

    def more(self, row: Mapping[str, Any], moment: Moment) -> Iterable[tuple[str, str]]:
        """What other tables say of a row, for its detail."""
        return ()


class _WithConnections(TableScreen):
    """Rows that clients and servers belong to."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("l", "follow", "Clients", id="screen.clients"),
        Binding("s", "servers", "Servers", id="screen.servers"),
    ]

    connections: ClassVar[Mapping[str, str]]
    """What clients and servers have in common with a row: their column, and the row's."""

    def in_common(self, place: str, row: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
        """Of `connections`, what counts for clients, or for servers."""
        return self.connections.items()

    async def follow(self, row: Mapping[str, Any]) -> None:
        await self._go("clients", row)

    async def action_servers(self) -> None:
        row = self.cursor_row()
        if row is not None:
            await self._go("servers", row)

    async def _go(self, place: str, row: Mapping[str, Any]) -> None:
        await self.app.switch_mode(place)
        screen = self.app.screen
        if isinstance(screen, TableScreen):
            common = self.in_common(place, row)
            screen.filter_by(" ".join(condition(theirs, plain(row.get(ours))) for theirs, ours in common))


class _Linked(TableScreen):
    """A client and its server: each has the pointer of the other as its `link`."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("l", "follow", "Other end", id="screen.link"),
    ]

    other: ClassVar[str]

    async def follow(self, row: Mapping[str, Any]) -> None:
        link = row.get("link")
        if not link:
            self.notify(f"It has no {self.other.removesuffix('s')} at the moment", markup=False)
            return
        await self.app.switch_mode(self.other)
        screen = self.app.screen
        if isinstance(screen, TableScreen):
            screen.seek("ptr", link)


class PoolsScreen(_WithConnections):
    """Pools: a database and a user each, the longest queue on top."""

    place = "pools"
    rows_are = "pool"
    spec = specs.POOLS
    connections: ClassVar[Mapping[str, str]] = {"database": "database", "user": "user"}

    def in_common(self, place: str, row: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
        """Where the user is forced, clients have logged in as anybody."""
        moment = self.console.moment
        if place == "clients" and moment is not None and is_forced(moment, row["database"], row["user"]):
            return [("database", "database")]
        return super().in_common(place, row)


class ClientsScreen(_Linked):
    """Clients of the pooler, who waits longest on top; `l` goes to the server that one has."""

    place = "clients"
    rows_are = "client"
    spec = specs.CLIENTS
    wants = frozenset({"CLIENTS"})
    other = "servers"

    def more(self, row: Mapping[str, Any], moment: Moment) -> Iterable[tuple[str, str]]:
        """What it waits for, where the pooler says that."""
        waits = moment.table("WAITS")
        found = [] if waits is None else [wait for wait in waits.dicts() if wait["id"] == row.get("id")]
        for wait in found:
            yield "waits for", " ".join(filter(None, (wait["reason"], wait["detail"])))
            if wait["holder_id"] is not None:
                yield (
                    "held by",
                    f"client {wait['holder_id']} ({wait['holder_user']} from {wait['holder_addr']},"
                    f" {wait['holder_application_name'] or 'no application_name'}), {wait['holder_state']}"
                    f" for {duration((wait['held_us'] or 0) / MICROSECONDS)}",
                )


class ServersScreen(_Linked):
    """Connections to PostgreSQL; `l` goes to the client that one works for, `b` asks PostgreSQL about it."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("b", "backend", "In PostgreSQL", id="screen.backend"),
    ]

    place = "servers"
    rows_are = "server"
    spec = specs.SERVERS
    wants = frozenset({"SERVERS"})
    other = "clients"

    def action_backend(self) -> None:
        rows = self.selected_rows()
        if rows:
            self.app.push_screen(BackendScreen(rows[0]))
        else:
            self.notify("Put the cursor on a server first", markup=False)


class DatabasesScreen(_WithConnections):
    """Databases as clients know them, and where they lead."""

    place = "databases"
    rows_are = "database"
    spec = specs.DATABASES
    connections: ClassVar[Mapping[str, str]] = {"database": "name"}


class UsersScreen(_WithConnections):
    """Users that the pooler has heard of, with their limits."""

    place = "users"
    rows_are = "user"
    spec = specs.USERS
    wants = frozenset({"USERS"})
    connections: ClassVar[Mapping[str, str]] = {"user": "name"}


class StatsScreen(_WithConnections):
    """Counters of each database; averages are of the last stats_period."""

    place = "stats"
    rows_are = "database"
    spec = specs.STATS
    connections: ClassVar[Mapping[str, str]] = {"database": "database"}
