"""What is under way, and what was found left over: a line each, where there is such."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content
from textual.widgets import Static

from tui.operate.jobs import JobView, State
from tui.operate.leftovers import Leftover
from tui.operate.situation import age_text
from tui.widgets.cells import safe

MARKS = {
    State.RUNNING: "◔",
    State.HOLDING: "▲",
    State.DONE: "●",
    State.ABORTED: "○",
    State.FAILED: "✖",
    State.LOST: "✖",
}
"""Symbols of states, so that colours are not all that tells them apart."""


def job_text(view: JobView) -> str:
    """A job in one line."""
    holder = f"; {view.holder}" if view.holder is not None else ""
    return safe(f"{MARKS[view.state]} {view.title} {age_text(view.elapsed())}: {view.text}{holder}")


class JobBar(Static):
    """Jobs that are not over; a click, or J, shows them all."""

    DEFAULT_CSS = """
    JobBar { height: auto; max-height: 3; background: $warning-muted; color: $text-warning; padding: 0 1;
             text-wrap: nowrap; text-overflow: ellipsis; display: none; }
    """

    def show(self, views: Sequence[JobView]) -> None:
        """Those that are under way, the newest on top."""
        self.display = bool(views)
        if views:
            self.update(Content("\n".join(job_text(view) for view in reversed(views))))

    def on_click(self) -> None:
        self.app.run_worker(self.app.run_action("jobs"), exclusive=False)


class LeftoverBar(Static):
    """What somebody left paused or disabled; a click, or V, offers to take it back."""

    DEFAULT_CSS = """
    LeftoverBar { height: 1; background: $warning-muted; color: $text-warning; padding: 0 1;
                  text-wrap: nowrap; text-overflow: ellipsis; display: none; }
    """

    def show(self, leftovers: Sequence[Leftover]) -> None:
        """The first, and how many more."""
        self.display = bool(leftovers)
        if leftovers:
            more = f", and {len(leftovers) - 1} more" if len(leftovers) > 1 else ""
            self.update(Content(safe(f"▲ {leftovers[0]}{more}. V takes it back.")))

    def on_click(self) -> None:
        self.app.run_worker(self.app.run_action("leftovers"), exclusive=False)
