"""The first screen: is the pooler well, what does it do, and which pools are in trouble."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any, Final

from textual import on
from textual.containers import Container, Grid
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from tui.admin.overview import by_load
from tui.admin.table import Table
from tui.admin.words import counted
from tui.screens import figures
from tui.screens.base import ConsoleScreen
from tui.screens.goto import show_pool
from tui.screens.specs import Spec, prepared
from tui.watch.history import METRICS, SECONDS, History
from tui.watch.lookout import Lookout
from tui.watch.moment import Moment
from tui.watch.rules import pool_sizes
from tui.widgets.alert_strip import headline
from tui.widgets.cells import safe
from tui.widgets.graph import Graph
from tui.widgets.snapshot import Snapshot
from tui.widgets.table import SnapshotTable
from tui.widgets.view import Arrangement, arrange

POOLS: Final = 5
"""How many of the most loaded are shown."""

GRAPHS: Final = (
    *("queries", "waiting", "maxwait", "query_time", "active_servers", "clients"),
    *("transactions", "wait_time", "bytes_out", "bytes_in", "idle_share", "logins"),
)
"""As many of them as there is room for."""

LOW: Final = 22
TALL: Final = 30
"""Lines of a terminal: below, there is less to see; from here on, there are headings."""

_GRAPH_WIDTH: Final = 36
_GRAPH_HEIGHT: Final = 6
_GRAPH_LEAST: Final = 3

_NAME_WIDTH: Final = 20
_NARROW_NAME_WIDTH: Final = 12
"""Of databases and users: whoever is called so has to leave room for the numbers."""

_TOP: Final = Spec(
    "POOLS",
    "Pools",
    ("database", "user"),
    (
        *("database", "user", "cl_waiting", "maxwait", "cl_active", "sv_active", "sv_idle", "sv_login"),
        *("pool_size", "used", "pool_mode"),
    ),
    ("database", "user", "cl_waiting", "maxwait", "sv_active", "used"),
)


class AlertList(Static):
    """The worst alerts, each with its reason; or that there are none."""

    DEFAULT_CSS = """
    AlertList { height: auto; padding: 0 1; }
    AlertList.-short { text-wrap: nowrap; text-overflow: ellipsis; }
    """

    def show(self, lookout: Lookout, most: int) -> None:
        """Tell `most` of them; a single one is kept to two lines."""
        active = lookout.alarms.active
        self.set_class(most == 1, "-short")
        if not active:
            self.update(Content.assemble(("no alerts", "$foreground-muted")))
            return
        lines: list[Content] = []
        told: set[str] = set()
        rest = len(active) - most
        for alert in active[:most]:
            lines.append(headline(alert, rest if most == 1 else 0))
            reason = lookout.explain(alert)
            if reason and reason not in told:
                lines.append(Content(f"  {safe(reason)}"))
            told.add(reason)
        if rest > 0 and most > 1:
            lines.append(
                Content.assemble((f"{counted(rest, 'more alert')}: a shows all", "$foreground-muted"))
            )
        self.update(figures.lines(*lines))


class Graphs(Grid):
    """As many graphs as there is room for, the most telling first."""

    DEFAULT_CSS = """
    Graphs { height: 1fr; min-height: 0; grid-gutter: 0 1; }
    Graphs #waiting, Graphs #maxwait { color: $warning; }
    """

    def compose(self) -> Iterable[Widget]:
        for name in GRAPHS:
            metric = METRICS[name]
            yield Graph(metric.title, figures.writer(name), peaks=metric.peaks, id=name)

    def on_resize(self) -> None:
        columns = max(1, min(4, self.size.width // _GRAPH_WIDTH))
        rows = max(1, min(len(GRAPHS) // columns, self.size.height // _GRAPH_HEIGHT))
        self.styles.grid_size_columns = columns
        self.styles.grid_size_rows = rows
        heading = self.screen.query_one("#past")
        has_heading = self.app.size.height >= TALL
        # The heading that comes with them takes a line.
        is_room = self.size.height >= _GRAPH_LEAST + (has_heading and not heading.display)
        heading.display = has_heading and is_room
        for number, graph in enumerate(self.query(Graph)):
            graph.display = is_room and number < columns * rows

    def show(self, history: History, until: float) -> None:
        """Draw the past."""
        for graph in self.query(Graph):
            if graph.display:
                graph.show(history.series(str(graph.id)), until, SECONDS)


class OverviewScreen(ConsoleScreen):
    """How the pooler is: state, alerts, rates, times, load, and the pools that have most to do."""

    DEFAULT_CSS = """
    OverviewScreen #state { height: 1; padding: 0 1; text-wrap: nowrap; text-overflow: ellipsis; }
    OverviewScreen #figures { height: auto; layout: vertical; }
    OverviewScreen #figures Static { height: auto; padding: 0 1; }
    OverviewScreen #extras { display: none; }
    OverviewScreen .heading {
        height: 1; padding: 0 1; background: $panel; color: $text-muted; display: none;
    }
    OverviewScreen SnapshotTable { height: 6; }

    OverviewScreen.-normal #figures, OverviewScreen.-wide #figures { layout: horizontal; }
    OverviewScreen.-normal #rates, OverviewScreen.-wide #rates { width: 26; }
    OverviewScreen.-normal #load, OverviewScreen.-wide #load { width: 1fr; }
    OverviewScreen.-wide #extras { display: block; width: 38; }

    OverviewScreen.-tall .heading { display: block; }
    OverviewScreen.-tall #figures { margin-top: 1; }
    """

    place = "overview"
    rows_are = "pool"

    def compose_body(self) -> Iterable[Widget]:
        yield Static(id="state", markup=False)
        yield AlertList()
        with Container(id="figures"):
            for name in ("rates", "times", "load", "extras"):
                yield Static(id=name, markup=False)
        yield Static("Last 15 minutes", id="past", classes="heading")
        yield Graphs()
        yield Static("Most loaded pools: enter shows one among all", classes="heading")
        yield SnapshotTable()

    def on_mount(self) -> None:
        self.query_one(SnapshotTable).focus()

    def on_resize(self) -> None:
        """What is written depends on the room there is."""
        if self.console.moment is not None:
            self.call_after_refresh(self._show_again)

    def _show_again(self) -> None:
        if self.console.moment is not None:
            self.show_moment(self.console.moment)

    def show_alerts(self, lookout: Lookout) -> None:
        height = self.app.size.height
        self.query_one(AlertList).show(lookout, 1 if height < TALL else 2 if height < 45 else 6)

    def show_moment(self, moment: Moment) -> None:
        lookout = self.console.lookout
        history = lookout.history
        width = self.app.size.width
        self.query_one("#state", Static).update(figures.state_line(moment, lookout.shutdown))
        self._write("rates", figures.rates(history, width - 2))
        self._write("times", figures.times(moment, history, width))
        self._write(
            "load",
            figures.load(
                moment,
                history,
                lookout.alarms.thresholds,
                figures.load_width(width),
                self.app.size.height < LOW,
            ),
        )
        self.query_one("#times").styles.width = (
            figures.times_width(width) if width >= figures.NORMAL else "1fr"
        )
        self._write("extras", figures.extras(history))
        self.query_one(Graphs).show(history, moment.at)
        self._show_pools(moment)

    def _write(self, name: str, content: Content) -> None:
        self.query_one(f"#{name}", Static).update(content)

    # The most loaded pools

    def _show_pools(self, moment: Moment) -> None:
        pools = moment.table("POOLS")
        if pools is None:
            return
        sizes = pool_sizes(moment)
        names = [name for name in _TOP.columns if name not in ("pool_size", "used")]
        rows = [
            (*(pool.get(name) for name in names), *_usage(pool, sizes))
            for pool in by_load(pools.dicts())[:POOLS]
        ]
        is_narrow = self.app.size.width < figures.NORMAL
        shown, name_width = _TOP.narrow if is_narrow else _TOP.columns, _NAME_WIDTH
        if self.app.size.width < 80:
            shown, name_width = tuple(name for name in shown if name != "sv_active"), _NARROW_NAME_WIDTH
        columns, prepared_rows = prepared(Table((*names, "pool_size", "used"), rows), _TOP)
        columns = tuple(
            replace(column, format=_percent)
            if column.name == "used"
            else replace(column, max_width=name_width)
            if column.name in _TOP.key
            else column
            for column in columns
        )
        snapshot = Snapshot(columns, prepared_rows, _TOP.key)
        self.query_one(SnapshotTable).show(arrange(snapshot, Arrangement(columns=shown)))

    @property
    def acts_on(self) -> str:
        """Without a pool under the cursor it is the whole pooler that is looked at."""
        return self.rows_are if self.selected_rows() else ""

    def selected_rows(self) -> list[Mapping[str, Any]]:
        table = self.query_one(SnapshotTable)
        keys = table.selected_keys or {table.cursor_key}
        moment = self.console.moment
        pools = None if moment is None else moment.table("POOLS")
        return [row for row in (pools.dicts() if pools else ()) if (row["database"], row["user"]) in keys]

    def lost_its_rows(self) -> bool:
        return self.query_one(SnapshotTable).settle()

    @on(SnapshotTable.RowActivated)
    async def _open(self, event: SnapshotTable.RowActivated) -> None:
        if isinstance(event.key, tuple):
            await show_pool(self, *event.key)


def _percent(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f}%"


def _usage(pool: Mapping[str, Any], sizes: Mapping[str, int]) -> tuple[int | None, float | None]:
    size = sizes.get(pool["database"])
    return size, None if not size else 100 * pool["sv_active"] / size
