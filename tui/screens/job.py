"""The jobs of this console: how each stands, and giving one up."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Static

from tui.operate.jobs import JobView
from tui.operate.situation import age_text
from tui.widgets.cells import safe
from tui.widgets.job_bar import MARKS

_BOX = """
    align: center middle;
    & > Vertical {
        width: 90; max-width: 100%; height: auto; max-height: 100%;
        border: round $warning; background: $surface; padding: 0 1;
    }
    & VerticalScroll { height: auto; max-height: 80vh; }
    & Horizontal { height: auto; align-horizontal: right; }
    & Button { margin-left: 2; }
    & Static { height: auto; }
"""


class JobPanel(Vertical):
    """One job."""

    DEFAULT_CSS = """
    JobPanel { height: auto; padding-bottom: 1; }
    JobPanel Horizontal { height: 1; }
    """

    def __init__(self, view: JobView) -> None:
        super().__init__()
        self.number = view.number
        self._view = view

    def compose(self) -> ComposeResult:
        yield Static(markup=False)
        with Horizontal():
            yield Button("Give up", variant="warning", compact=True)

    def on_mount(self) -> None:
        self.show(self._view)

    def show(self, view: JobView) -> None:
        """Repaint."""
        lines = [
            f"{MARKS[view.state]} {view.title}: {view.state.value}, {age_text(view.elapsed())}",
            f"  {view.command}",
            f"  {view.text}",
        ]
        if view.holder is not None:
            lines.append(f"  Held by {view.holder}")
        self.query_one(Static).update(Content("\n".join(safe(line) for line in lines)))
        button = self.query_one(Button)
        button.display = view.can_abort

    @on(Button.Pressed)
    def _give_up(self, event: Button.Pressed) -> None:
        event.stop()
        event.button.display = False
        screen = self.screen
        if isinstance(screen, JobsScreen):
            screen.abort(self.number)


class JobsScreen(ModalScreen[None]):
    """PAUSE, SUSPEND, WAIT_CLOSE and SHUTDOWN take their time. They go on when this is closed."""

    DEFAULT_CSS = f"JobsScreen {{ {_BOX} }}"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,q,J", "dismiss", "Close")]

    def __init__(self, views: Sequence[JobView], abort: Callable[[int], Awaitable[None]]) -> None:
        """`abort` gives the job with that number up."""
        super().__init__()
        self._views = views
        self._abort = abort

    def compose(self) -> ComposeResult:
        box = Vertical()
        box.border_title = "Jobs"
        box.border_subtitle = "esc closes; jobs go on"
        with box, VerticalScroll():
            if not self._views:
                yield Static("There are none.", markup=False)
            for view in reversed(self._views):
                yield JobPanel(view)

    def show_jobs(self, views: Sequence[JobView]) -> None:
        """Repaint those that are here."""
        by_number = {view.number: view for view in views}
        for panel in self.query(JobPanel):
            if panel.number in by_number and panel.is_mounted:
                panel.show(by_number[panel.number])

    def abort(self, number: int) -> None:
        """Give one up, beside everything else."""
        self.app.run_worker(self._abort(number), "abort", group=f"abort {number}")


class JobsLeaveScreen(ModalScreen[str]):
    """Jobs are under way, and somebody wants to leave: `stay`, `abort` or `leave`."""

    DEFAULT_CSS = f"JobsLeaveScreen {{ {_BOX} }}"
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss('stay')", "Stay")]

    def __init__(self, views: Sequence[JobView], consequence: str) -> None:
        """`consequence` is what becomes of them if nobody gives them up."""
        super().__init__()
        self._views = views
        self._consequence = consequence

    def compose(self) -> ComposeResult:
        box = Vertical()
        box.border_title = "Leave?"
        lines = [f"{MARKS[view.state]} {view.title}: {view.text}" for view in self._views]
        with box:
            with VerticalScroll(can_focus=False):
                yield Static(Content("\n".join(safe(line) for line in (*lines, self._consequence))))
            with Horizontal():
                yield Button("Stay", id="stay", compact=True)
                if any(view.can_abort for view in self._views):
                    yield Button("Give up and leave", id="abort", variant="warning", compact=True)
                yield Button("Leave", id="leave", variant="error", compact=True)

    def on_mount(self) -> None:
        self.query_one("#stay", Button).focus()

    @on(Button.Pressed)
    def _chosen(self, event: Button.Pressed) -> None:
        self.dismiss(event.button.id or "stay")
