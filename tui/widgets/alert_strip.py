"""The worst that is wrong, on every screen; and what rouses somebody when it begins."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

from textual.app import App
from textual.content import Content
from textual.widgets import Static

from tui.admin.words import counted, duration
from tui.watch.alerts import Alert, Edge
from tui.watch.lookout import Lookout
from tui.watch.rules import Severity
from tui.widgets.cells import safe

AT_ONCE: Final = 3
"""Edges of one moment that are told each for itself; of more, the rest in one."""

_OVER_SECONDS: Final = 3.0
"""Good news may go sooner."""

_NOTICES: Final[dict[Severity, Literal["information", "warning", "error"]]] = {
    Severity.INFO: "information",
    Severity.WARNING: "warning",
    Severity.CRITICAL: "error",
}

STYLES: Final = {
    Severity.INFO: "$text-primary",
    Severity.WARNING: "$text-warning bold",
    Severity.CRITICAL: "$text-error bold",
}


def headline(alert: Alert, more: int = 0) -> Content:
    """`✖ critical +2 app/web: 12 clients wait, the first for 6.2 s`: how many others there are."""
    marks = [word for word, on in (("acknowledged", alert.acknowledged), ("muted", alert.muted)) if on]
    style = "$foreground-muted" if marks else STYLES[alert.severity]
    return Content.assemble(
        (f"{alert.severity.symbol} {alert.severity.word}", style),
        (f" +{more}" if more else "", "$foreground-muted"),
        (f" {safe(alert.key.subject)}: {safe(alert.text)}", "$foreground-muted" if marks else "bold"),
        (f" ({', '.join(marks)})" if marks else "", "$foreground-muted"),
    )


class AlertStrip(Static):
    """One line, or two with the reason; nothing while all is well. A click shows all alerts."""

    DEFAULT_CSS = """
    AlertStrip {
        height: auto; padding: 0 1; display: none;
        text-wrap: nowrap; text-overflow: ellipsis; color: $foreground; background: $primary-muted;
    }
    AlertStrip.-warning { background: $warning-muted; }
    AlertStrip.-critical { background: $error-muted; }
    """

    def show(self, lookout: Lookout) -> None:
        """Tell the worst, and how many more there are."""
        active = lookout.alarms.active
        self.display = bool(active)
        if not active:
            return
        worst = active[0]
        for severity in (Severity.WARNING, Severity.CRITICAL):
            self.set_class(worst.severity is severity and not worst.hushed, f"-{severity.word}")
        reason = lookout.explain(worst)
        lines = [
            Content.assemble(headline(worst, len(active) - 1), ("   a: all alerts", "$foreground-muted"))
        ]
        if reason:
            lines.append(Content(f"  {safe(reason)}"))
        self.update(Content("\n").join(lines))

    def on_click(self) -> None:
        self.app.run_worker(self.app.run_action("app.alerts"))


def announce(app: App[None], edges: Sequence[Edge]) -> None:
    """One notification for each edge, and a bell for what is new or worse; nothing of what is hushed."""
    told = [edge for edge in edges if not edge.alert.hushed]
    told.sort(key=lambda edge: -(edge.after or 0))
    for edge in told[:AT_ONCE]:
        _notify(app, edge)
    rest = told[AT_ONCE:]
    if rest:
        app.notify(
            f"{counted(len(rest), 'more change')} of alerts: press a",
            severity=_NOTICES[max(edge.after or Severity.INFO for edge in rest)],
            markup=False,
        )
    if any(edge.is_worse for edge in told):
        app.bell()


def _notify(app: App[None], edge: Edge) -> None:
    """Without the reason, which the strip has: the rows behind it are what one looks at now."""
    alert = edge.alert
    if edge.after is None:
        lasted = duration((edge.clock - alert.since).total_seconds())
        app.notify(safe(edge.text), title=f"Over after {lasted}", timeout=_OVER_SECONDS, markup=False)
        return
    app.notify(
        safe(edge.text),
        title=f"{edge.after.symbol} {edge.after.word}",
        severity=_NOTICES[edge.after],
        markup=False,
    )
