"""The numbers of the overview, as lines: rates, times, and how full the pooler is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from textual.content import Content

from tui.admin.overview import state_of
from tui.admin.target import DATABASE
from tui.admin.words import amount, short_duration, size
from tui.watch import latency
from tui.watch.history import METRICS, History, Unit
from tui.watch.moment import Moment
from tui.watch.rules import Severity, pool_sizes, setting
from tui.watch.thresholds import AlertThresholds
from tui.widgets.bar import bar
from tui.widgets.cells import fit, safe, width_of

_WRITERS: Final[Mapping[Unit, Callable[[float], str]]] = {
    Unit.RATE: lambda value: f"{amount(value)}/s",
    Unit.BYTES: lambda value: f"{size(value)}/s",
    Unit.SECONDS: lambda value: "0" if value == 0 else short_duration(value * 1_000_000),
    Unit.COUNT: lambda value: f"{value:.1f}" if value < 10 and value != int(value) else amount(value),
    Unit.SHARE: lambda value: f"{value:.0%}",
}

_SHORT: Final = {
    "queries": "queries",
    "transactions": "xacts",
    "bytes_in": "in",
    "bytes_out": "out",
    "logins": "logins",
}
"""Of one line, the last ones first to go where there is no room."""

NORMAL: Final = 100
"""Columns of a terminal from which on figures stand side by side."""

WIDER: Final = 120
"""From here on the longest times have a column too."""

WIDE: Final = 150
"""From here on there is room for more."""

RATES_WIDTH: Final = 26
EXTRAS_WIDTH: Final = 38

_MUTED: Final = "$foreground-muted"


def writer(metric: str) -> Callable[[float], str]:
    """What makes a text of a value of a metric."""
    return _WRITERS[METRICS[metric].unit]


def written(metric: str, value: float | None) -> str:
    """A value with its unit, `–` where it is not known."""
    return "–" if value is None else writer(metric)(value)


def lines(*parts: Content) -> Content:
    """One below the other."""
    return Content("\n").join(parts)


def state_line(moment: Moment, shutdown: str) -> Content:
    """The state of the pooler, and the databases that are in another."""
    state = state_of(moment.table("STATE"))
    mark, style = {
        "active": ("● active", "$text-success"),
        "unknown": ("● up", "$text-success"),
    }.get(state, (f"▲ {state.upper()}", "$text-warning bold"))
    parts: list[tuple[str, str]] = [(mark, style)]
    if shutdown:
        parts.append((f"   ✖ SHUTTING DOWN: {safe(shutdown)}", "$text-error bold"))
    for word, style in (("paused", "$text-warning bold"), ("disabled", "$text-warning")):
        names = [row["name"] for row in _rows(moment, "DATABASES") if row.get(word)]
        if names:
            more = f" and {len(names) - 5} more" if len(names) > 5 else ""
            parts += [("   ", ""), (f"▲ {word}: {safe(', '.join(names[:5]))}{more}", style)]
    if state == "unknown":
        parts.append(("   this release does not say whether it is paused", _MUTED))
    return Content.assemble(*parts)


def rates(history: History, width: int) -> Content:
    """What happens per second; in one line below 100 columns."""
    latest = history.latest
    if width + 2 >= NORMAL:
        return lines(*(_labelled(name, latest.get(name), 14) for name in _SHORT))
    parts = [(f"{short} ", written(name, latest.get(name))) for name, short in _SHORT.items()]
    while sum(len(label) + len(value) + 2 for label, value in parts) > width:
        parts.pop()
    return Content("  ").join(Content.assemble((label, _MUTED), (value, "bold")) for label, value in parts)


def _labelled(metric: str, value: float | None, width: int) -> Content:
    return Content.assemble(
        (fit(METRICS[metric].title, width), _MUTED), (fit(written(metric, value), 10, right=True), "bold")
    )


def times_width(width: int) -> int:
    """Of their panel, on a terminal so wide."""
    return 14 + 9 * _columns(width)


def load_width(width: int) -> int:
    """What the other panels leave."""
    if width < NORMAL:
        return width - 2
    rest = width - 2 - RATES_WIDTH - times_width(width)
    return rest - EXTRAS_WIDTH if width >= WIDE else rest


def times(moment: Moment, history: History, width: int) -> Content:
    """How long things take: percentiles where the pooler has them, else averages of the last seconds."""
    table = moment.table("LATENCY")
    if table is None:
        return _averages(history, width)
    found = latency.times(table)
    rows = [_percentiles(kind, found.get(kind), width) for kind in latency.KINDS]
    if width < NORMAL:
        return lines(*rows)
    heading = "".join(fit(name, 9, right=True) for name in ("p50", "p95", "p99", "max")[: _columns(width)])
    return lines(Content.assemble((fit("", 12) + heading, _MUTED)), *rows)


def _percentiles(kind: str, found: latency.Times | None, width: int) -> Content:
    """A line of the table; where there is no heading each value has its name."""
    values = ["–"] * 4
    if found is not None:
        about = "" if found.exact else "~"
        values = [f"{about}{_time(value)}" for value in (found.p50, found.p95, found.p99)] + [
            _time(found.max)
        ]
    label = (fit(kind, 12), _MUTED)
    if width >= NORMAL:
        cells = "".join(fit(value, 9, right=True) for value in values[: _columns(width)])
        return Content.assemble(label, (cells, "bold"))
    parts = [
        Content.assemble((f"{name} ", _MUTED), (fit(value, 8), "bold"))
        for name, value in zip(("p50", "p95", "p99"), values, strict=False)
    ]
    return Content.assemble(label, Content("  ").join(parts))


def _columns(width: int) -> int:
    return 4 if width >= WIDER else 3


def _time(microseconds: float) -> str:
    """As short as it goes: 850 µs, 440 ms, 20 s, 12 min."""
    if microseconds < 10_000_000:
        return short_duration(microseconds)
    seconds = microseconds / 1_000_000
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _averages(history: History, width: int) -> Content:
    names = {"query_time": "query", "xact_time": "transaction", "wait_time": "wait"}
    texts = [(label, written(name, history.recent(name))) for name, label in names.items()]
    if width < NORMAL:
        parts = [Content.assemble((f"{label} ", _MUTED), (value, "bold")) for label, value in texts]
        return Content("  ").join([Content.assemble(("average:", _MUTED)), *parts])
    rows = [
        Content.assemble((fit(label, 12), _MUTED), (fit(value, 9, right=True), "bold"))
        for label, value in texts
    ]
    return lines(Content.assemble((fit("", 12) + fit("average", 9, right=True), _MUTED)), *rows)


@dataclass(frozen=True, slots=True)
class _Load:
    """How much of something there is."""

    label: str
    used: float | None
    most: float | None
    warning: float
    critical: float

    @property
    def numbers(self) -> str:
        if self.used is None or not self.most:
            return "–" if self.used is None else f"{self.used:.0f}"
        return f"{self.used:.0f} of {self.most:.0f}"

    def bar(self, label: int, numbers: int, room: int) -> Content:
        """`label ████░░░ ✖ 12 of 20  60%`: the symbol tells where it is too much."""
        parts: list[tuple[str, str]] = [(fit(safe(self.label), label), _MUTED), (" ", "")]
        if self.used is None or not self.most:
            return Content.assemble(*parts, (self.numbers, "bold"))
        percent = 100 * self.used / self.most
        mark, style = " ", "$primary"
        if 0 < self.critical <= percent:
            mark, style = Severity.CRITICAL.symbol, "$text-error"
        elif 0 < self.warning <= percent:
            mark, style = Severity.WARNING.symbol, "$text-warning"
        parts += [(bar(percent / 100, room), style), (f" {mark} ", style)]
        return Content.assemble(*parts, (f"{fit(self.numbers, numbers, right=True)} {percent:3.0f}%", "bold"))


def load(moment: Moment, history: History, limits: AlertThresholds, width: int, short: bool) -> Content:
    """Bars: clients of those allowed, servers of all pools unless it is `short`, the fullest pool."""
    clients = _Load(
        *("clients", history.latest.get("clients"), setting(moment, "max_client_conn")),
        *(limits.clients_warning, limits.clients_critical),
    )
    loads = [clients, *_servers(moment, limits)[short:]]
    label = min(max(8, width // 4), max(width_of(safe(each.label)) for each in loads))
    numbers = max(len(each.numbers) for each in loads)
    room = max(4, min(40, width - label - numbers - 9))
    return lines(*(each.bar(label, numbers, room) for each in loads))


def _servers(moment: Moment, limits: AlertThresholds) -> list[_Load]:
    sizes = pool_sizes(moment)
    pools = [
        (pool["sv_active"], sizes[pool["database"]], f"{pool['database']}/{pool['user']}")
        for pool in _rows(moment, "POOLS")
        if pool["database"] != DATABASE and sizes.get(pool["database"])
    ]
    if not pools:
        return []
    bounds = limits.pool_warning, limits.pool_critical
    fullest = max(pools, key=lambda pool: (pool[0] / pool[1], pool[1]))
    return [
        _Load("servers", sum(pool[0] for pool in pools), sum(pool[1] for pool in pools), *bounds),
        _Load(fullest[2], fullest[0], fullest[1], *bounds),
    ]


def extras(history: History) -> Content:
    """What is behind the numbers: how the time of servers is spent, and whether waiting is going on."""
    names = ("waiting", "maxwait", "busy_servers", "idle_share", "prepared_hits")
    latest = history.latest
    return lines(*(_labelled(name, latest.get(name), 26) for name in names))


def _rows(moment: Moment, name: str) -> list[dict[str, Any]]:
    table = moment.table(name)
    return [] if table is None else list(table.dicts())
