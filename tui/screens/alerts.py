"""What is wrong now and what was, and who has been told to be quiet about it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any, ClassVar, Final

from textual import on
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from tui.admin.words import duration
from tui.screens.base import ConsoleScreen
from tui.screens.goto import show_pool
from tui.watch.alerts import Alert
from tui.watch.lookout import Lookout
from tui.watch.rules import AlertKey, Severity
from tui.widgets.alert_strip import headline
from tui.widgets.cells import safe
from tui.widgets.columns import Column, Kind, Level
from tui.widgets.snapshot import Snapshot
from tui.widgets.table import SnapshotTable
from tui.widgets.view import Arrangement, arrange

MUTE_SECONDS: Final = 900.0

_LEVELS: Final = {
    "critical": Level.CRITICAL,
    "warning": Level.WARNING,
    "info": Level.GOOD,
    "over": Level.MUTED,
}


def _level(value: Any) -> Level:
    return _LEVELS.get(str(value), Level.PLAIN)


_ACTIVE: Final = (
    Column("severity", level=_level),
    Column("about", max_width=48),
    Column("alert", max_width=90),
    Column("for", Kind.NUMBER, format=duration),
    Column("since"),
    Column("hushed"),
    Column("database"),
    Column("user"),
    Column("kind"),
)
_EVENTS: Final = (
    Column("number", Kind.NUMBER),
    Column("time"),
    Column("severity", level=_level),
    Column("before"),
    Column("about", max_width=48),
    Column("alert", max_width=90),
)
_ACTIVE_SHOWN: Final = ("severity", "about", "alert", "for", "since", "hushed")
_EVENTS_SHOWN: Final = ("time", "severity", "about", "alert", "before")


class AlertsScreen(ConsoleScreen):
    """Alerts that are on, and below them what happened before; enter goes to the pool of one."""

    DEFAULT_CSS = """
    AlertsScreen .heading { height: 1; padding: 0 1; background: $panel; color: $text-muted; }
    AlertsScreen #active { height: 2fr; }
    AlertsScreen #events { height: 3fr; }
    AlertsScreen #reason { height: auto; max-height: 4; padding: 0 1; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("k", "acknowledge", "Acknowledge", id="alerts.acknowledge"),
        Binding("m", "mute", "Mute 15 min", id="alerts.mute"),
        Binding("n", "mute_all", "Mute all", id="alerts.mute_all"),
        Binding("escape", "back", "Back", id="alerts.back"),
    ]

    place = "alerts"

    def __init__(self) -> None:
        super().__init__()
        self._orders = {"active": Arrangement(), "events": Arrangement()}

    def compose_body(self) -> Iterable[Widget]:
        yield Static(id="summary", classes="heading", markup=False)
        yield SnapshotTable(id="active")
        yield Static(id="reason", markup=False)
        yield Static("Before, the newest on top", classes="heading", markup=False)
        yield SnapshotTable(id="events")

    def on_mount(self) -> None:
        self._table("active").focus()

    def _table(self, name: str) -> SnapshotTable:
        return self.query_one(f"#{name}", SnapshotTable)

    @property
    def _alert(self) -> Alert | None:
        """The one under the cursor; the worst while the cursor is nowhere."""
        active = self.console.lookout.alarms.active
        key = self._table("active").cursor_key
        return next((alert for alert in active if alert.key == key), active[0] if active else None)

    # Showing

    def show_alerts(self, lookout: Lookout) -> None:
        alarms = lookout.alarms
        now = 0.0 if lookout.moment is None else lookout.moment.at
        rows = [
            (
                *(alert.severity.word, alert.key.subject, alert.text, now - alert.since_at),
                *(f"{alert.since:%H:%M:%S}", _hushed(alert, alarms.muted_for(alert.key)), *alert.key[1:]),
                alert.key.kind,
            )
            for alert in alarms.active
        ]
        self._show("active", Snapshot(_ACTIVE, rows, ("kind", "database", "user")), _ACTIVE_SHOWN)
        events = alarms.events
        past = [
            (
                *(
                    len(events) - number,
                    f"{event.clock:%H:%M:%S}",
                    _word(event.after, "over"),
                    _word(event.before, ""),
                ),
                *(event.alert.key.subject, event.alert.text),
            )
            for number, event in enumerate(events)
        ]
        self._show("events", Snapshot(_EVENTS, past, ("number",)), _EVENTS_SHOWN)
        self._show_summary()
        self._show_reason()

    def _show(self, name: str, snapshot: Snapshot, shown: tuple[str, ...]) -> None:
        self._table(name).show(arrange(snapshot, replace(self._orders[name], columns=shown)))

    def _show_summary(self) -> None:
        alarms = self.console.lookout.alarms
        number, muted = len(alarms.active), alarms.muted_for()
        text = f"{number or 'No'} alert{'s' if number != 1 else ''}"
        if muted:
            text += f"; all are muted for {duration(muted)}"
        self.query_one("#summary", Static).update(text)

    def _show_reason(self) -> None:
        alert = self._alert
        shown = self.query_one("#reason", Static)
        if alert is None:
            shown.update("")
            return
        reason = safe(self.console.lookout.explain(alert))
        shown.update(Content.assemble(headline(alert), f"\n  {reason}" if reason else ""))

    def _show_again(self) -> None:
        self.show_alerts(self.console.lookout)

    # Keys

    @on(SnapshotTable.CursorMoved, "#active")
    def _moved(self) -> None:
        self._show_reason()

    @on(SnapshotTable.SortRequested)
    def _sort(self, event: SnapshotTable.SortRequested) -> None:
        self._orders[event.table.id or ""] = Arrangement(event.column, event.descending)
        self._show_again()

    @on(SnapshotTable.RowActivated, "#active")
    async def _open(self) -> None:
        alert = self._alert
        if alert is not None and alert.key.database:
            await show_pool(self, alert.key.database, alert.key.user)

    def action_acknowledge(self) -> None:
        """It stays, and makes no noise until it is worse."""
        alert = self._alert
        if alert is not None:
            self.console.lookout.alarms.acknowledge(alert.key)
            self._show_again()

    def action_mute(self) -> None:
        """For a quarter of an hour; again to take it back."""
        alert = self._alert
        if alert is not None:
            self._mute(alert.key)

    def action_mute_all(self) -> None:
        """For a quarter of an hour, what comes new too; again to take it back."""
        self._mute(None)

    def _mute(self, key: AlertKey | None) -> None:
        alarms = self.console.lookout.alarms
        alarms.mute(key, 0 if alarms.muted_for(key) else MUTE_SECONDS)
        self._show_again()

    def action_back(self) -> None:
        self.app.switch_mode(self.console.before_alerts)


def _hushed(alert: Alert, muted: float) -> str:
    words = [
        *(["acknowledged"] if alert.acknowledged else []),
        *([f"muted {duration(muted)}"] if muted else []),
    ]
    return ", ".join(words)


def _word(severity: Severity | None, otherwise: str) -> str:
    return otherwise if severity is None else severity.word
