"""Who did what: as the pooler remembers it, and as this machine has put it down."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import Any, ClassVar, Final

from textual.binding import Binding, BindingType

from tui.admin.table import Table
from tui.operate.journal import Entry
from tui.screens.specs import Spec
from tui.screens.tables import TableScreen
from tui.watch.moment import Moment

_COLUMNS: Final = ("time", "who", "where", "command", "result", "ms")

AUDIT: Final = Spec(
    "AUDIT",
    "Commands",
    ("time", "who", "command", "nth"),
    _COLUMNS,
    ("time", "who", "command", "result"),
    "time",
    True,
    ("who", "where", "result"),
)


class AuditScreen(TableScreen):
    """Commands that acted, the newest on top: those of everybody that the pooler remembers, or, with j, what
    this and other consoles on this machine have written into the local journal.
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("j", "other_list", "Pooler or journal", id="audit.source"),
    ]

    place = "audit"
    spec = AUDIT
    wants = frozenset({"AUDIT"})

    def __init__(self) -> None:
        super().__init__()
        self._local = False
        self._read: Any = None
        """What the rows were made of: not to do it again each second."""

    def show_moment(self, moment: Moment) -> None:
        # A stock PgBouncer remembers nothing.
        if self._local or not moment.capabilities.has_table("AUDIT"):
            self._show_journal()
            return
        table = moment.table("AUDIT")
        if table is None:
            self._show_why_not(moment)
        elif table is not self._read:
            self._read = table
            self._take(_of_pooler(row) for row in table.dicts())

    def _show_journal(self) -> None:
        journal = self.console.desk.operator.journal
        newest = journal.entries[-1] if journal.entries else "none"
        if newest is not self._read:
            self._read = newest
            self._take(map(_of_journal, journal.earlier()))

    def _take(self, rows: Iterable[tuple[Any, ...]]) -> None:
        seen: Counter[tuple[Any, ...]] = Counter()
        numbered = []
        for row in rows:
            key = row[0], row[1], row[3]
            seen[key] += 1
            numbered.append((*row, seen[key]))
        self._table = Table((*_COLUMNS, "nth"), numbered)
        self._refresh()

    def action_other_list(self) -> None:
        """The journal instead of what the pooler remembers, or the other way round."""
        self._local = not self._local
        self._read = None
        path = self.console.desk.operator.journal.path
        place = f"the journal, {path}" if path is not None else "the journal of this console"
        self.notify(f"This is {place if self._local else 'what the pooler remembers'}", markup=False)
        if self.console.moment is not None:
            self.show_moment(self.console.moment)


def _of_pooler(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["time"], row["user"], row["addr"], row["command"], row["result"], row["ms"]


def _of_journal(entry: Entry) -> tuple[Any, ...]:
    result = f"{entry.result}: {entry.text}" if entry.text else entry.result
    return entry.time, entry.who, entry.pooler, entry.command, result, None
