"""What every screen of the console is: a frame around a body, and the moment that it shows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, cast

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.screen import Screen
from textual.widget import Widget
from textual.widgets import Footer

from tui.watch.lookout import Lookout
from tui.watch.moment import Moment
from tui.widgets.action_bar import ActionBar
from tui.widgets.alert_strip import AlertStrip
from tui.widgets.frame import Banner, NavBar, Place, TitleBar
from tui.widgets.job_bar import JobBar, LeftoverBar

if TYPE_CHECKING:
    from tui.app import Console

PLACES = (
    Place("overview", "1", "Overview", "Ovw"),
    Place("pools", "2", "Pools", "Poo"),
    Place("clients", "3", "Clients", "Cli"),
    Place("servers", "4", "Servers", "Srv"),
    Place("databases", "5", "Databases", "DBs"),
    Place("users", "6", "Users", "Usr"),
    Place("stats", "7", "Stats", "Sta"),
    Place("config", "8", "Config", "Cfg"),
    Place("logs", "9", "Logs", "Log"),
    Place("audit", "0", "Audit", "Aud"),
)


class ConsoleScreen(Screen[None]):
    """A place of the console. What it wants to know is read only while it is the one that is seen."""

    DEFAULT_CSS = """
    ConsoleScreen { background: $background; }
    ConsoleScreen > #body { height: 1fr; }
    ConsoleScreen.-stale > #body { opacity: 60%; }
    """

    # Textual would give it to the field of the filter first, which would take keys that come in that moment.
    AUTO_FOCUS = ""

    place: ClassVar[str] = ""
    """Its name in PLACES."""
    wants: ClassVar[frozenset[str]] = frozenset()
    """Tables of SHOW beyond those that every poll reads."""
    rows_are: ClassVar[str] = ""
    """What a row is: `client`, `server`, `database`, `pool`, `user`; nothing where there are no such rows."""

    @property
    def acts_on(self) -> str:
        """What keys that act are about at this moment: rows of that kind; empty for the whole pooler."""
        return self.rows_are

    @property
    def console(self) -> Console:
        return cast("Console", self.app)

    def compose(self) -> ComposeResult:
        yield TitleBar(self.console.settings.colour)
        yield NavBar(PLACES, self.place)
        yield Banner()
        yield AlertStrip()
        yield LeftoverBar()
        with Vertical(id="body"):
            yield from self.compose_body()
        yield JobBar()
        yield ActionBar()
        yield Footer(compact=True, show_command_palette=False)

    def compose_body(self) -> Iterable[Widget]:
        """What is between the frame."""
        return ()

    def on_screen_resume(self) -> None:
        self.console.came_to(self)

    def show_frame(self) -> None:
        """Repaint what is around the body."""
        console = self.console
        self.query_one(TitleBar).show(console.heading)
        self.query_one(Banner).show(console.link, console.moment, console.settings.clock.seconds())
        self.show_alerts(console.lookout)
        self.query_one(LeftoverBar).show(console.desk.leftovers)
        self.query_one(JobBar).show(console.desk.running)
        self.query_one(ActionBar).show(console.desk.buttons(self.acts_on))
        self.set_class(console.is_stale, "-stale")

    def show_alerts(self, lookout: Lookout) -> None:
        """Show what is wrong, frozen or not: in the frame, unless the body has a place for it."""
        self.query_one(AlertStrip).show(lookout)

    def show_moment(self, moment: Moment) -> None:
        """Show what the pooler has said: called after each poll while it is seen, and when it comes up."""

    def selected_rows(self) -> list[Mapping[str, Any]]:
        """The rows that an action would be about: those that are selected, or else the one of the cursor."""
        return []

    def lost_its_rows(self) -> bool:
        """Whether what was chosen has gone since, so that the next key may only show where it would act.

        Said once.
        """
        return False

    def selection_notes(self) -> list[str]:
        """What somebody who acts on them should know, a sentence each."""
        return []
