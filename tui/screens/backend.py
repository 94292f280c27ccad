"""A server connection as PostgreSQL sees it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, cast

from rich.table import Table as RichTable
from rich.text import Text
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.widgets import Static

from tui.admin.words import duration
from tui.watch.backend import Backend, BackendError, BackendWatch, address_of, masked
from tui.widgets.cells import safe

if TYPE_CHECKING:
    from tui.app import Console


class BackendScreen(ModalScreen[None]):
    """What the process behind a server connection does, read again as often as the rest of the console.

    Texts and numbers in its query are hidden until somebody wants to see them.
    """

    DEFAULT_CSS = """
    BackendScreen { align: center middle; }
    BackendScreen > Vertical {
        width: 90; max-width: 100%; height: auto; max-height: 95%;
        border: round $primary; background: $surface; padding: 0 1;
    }
    BackendScreen VerticalScroll { height: auto; max-height: 80vh; }
    BackendScreen #problem { color: $text-warning; display: none; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,enter,q,b", "dismiss", "Close"),
        Binding("h", "literals", "Show or hide texts and numbers"),
        Binding("r,f5", "again", "Ask again"),
    ]

    def __init__(self, server: Mapping[str, Any]) -> None:
        super().__init__()
        self._server = server
        self._watch: BackendWatch | None = None
        self._backend: Backend | None = None
        self._hidden = True

    @property
    def console(self) -> Console:
        return cast("Console", self.app)

    def compose(self) -> ComposeResult:
        box = Vertical()
        number = self._server.get("id")  # 1.18 has none
        box.border_title = safe(
            "Server in PostgreSQL" if number is None else f"Server {number} in PostgreSQL"
        )
        box.border_subtitle = "esc closes, h shows or hides texts and numbers, r asks again"
        with box, VerticalScroll():
            yield Static("Asking …", id="problem", markup=False)
            yield Static(id="values")

    def on_mount(self) -> None:
        settings = self.console.settings
        databases = None if self.console.moment is None else self.console.moment.table("DATABASES")
        try:
            address = address_of(self._server, databases, settings.target)
        except BackendError as error:
            self._show_problem(str(error))
            return
        self._watch = BackendWatch(address, settings.server)
        self._look()
        if settings.interval is not None:
            self.set_interval(settings.interval, self._look)

    async def on_unmount(self) -> None:
        if self._watch is not None:
            await self.console.on_admin(self._watch.close)

    def _look(self) -> None:
        """Unless an answer is still awaited."""
        if not any(worker.group == "backend" for worker in self.workers if worker.node is self):
            self.run_worker(self._ask(), "backend", group="backend")

    async def _ask(self) -> None:
        if self._watch is None:
            return
        try:
            backend = await self.console.on_admin(self._watch.look)
        except BackendError as error:
            self._show_problem(str(error))
            return
        if backend is None:
            self._show_problem("It has gone." + (" This is how it was last seen." if self._backend else ""))
            return
        self._backend = backend
        self._show_problem(_reservation(backend, self._watch))
        self._paint()

    def _show_problem(self, text: str) -> None:
        problem = self.query_one_optional("#problem", Static)
        if problem is None:  # closed before there was an answer
            return
        problem.update(safe(f"▲ {text}"))
        problem.display = bool(text)

    def _paint(self) -> None:
        values = self.query_one_optional("#values", Static)
        if self._backend is None or self._watch is None or values is None:
            return
        table = RichTable.grid(padding=(0, 2))
        table.add_column(style="bold", no_wrap=True)
        table.add_column(overflow="fold")
        for name, value in _lines(self._backend, self._watch):
            table.add_row(Text(name), Text(safe(value)))
        query = self._backend.query or "–"
        table.add_row(Text("query"), Text(_lines_of(masked(query) if self._hidden else query)))
        values.update(table)

    def action_literals(self) -> None:
        self._hidden = not self._hidden
        self._paint()

    def action_again(self) -> None:
        """Also where PostgreSQL has refused us."""
        if self._watch is not None:
            self._watch.forgive()
            self._look()


def _lines(backend: Backend, watch: BackendWatch) -> Iterator[tuple[str, str]]:
    yield "process", f"{watch.address.pid} of {watch.address}"
    yield "user", backend.user or "–"
    yield "application", backend.application or "–"
    yield "state", _since(backend.state, backend.in_state)
    yield "waits for", backend.wait or "nothing"
    if backend.blocked_by:
        yield "blocked by", ", ".join(map(str, backend.blocked_by))
    yield "transaction", "none" if backend.in_transaction is None else duration(backend.in_transaction)
    yield "query began", "–" if backend.since_query is None else f"{duration(backend.since_query)} ago"
    yield "connected", "–" if backend.connected is None else f"{duration(backend.connected)} ago"


def _since(state: str | None, seconds: float | None) -> str:
    if state is None:
        return "–"
    return state if seconds is None else f"{state} for {duration(seconds)}"


def _lines_of(query: str) -> str:
    """Each line made safe by itself: a query has more than one."""
    return "\n".join(safe(line) for line in query.splitlines())


def _reservation(backend: Backend, watch: BackendWatch) -> str:
    """What keeps this from being the whole truth."""
    if backend.other_port:
        return (
            "PostgreSQL has this process connected to another port than the pooler says: there is NAT between"
            " them, or this is another server."
        )
    if backend.query is None:
        return f"{watch.user} may not see what others do: that takes the role pg_read_all_stats."
    return ""
