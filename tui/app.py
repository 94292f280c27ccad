"""The console: a Textual application on the admin database of a pooler."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import suppress
from typing import Any, ClassVar, TypeVar

from textual.app import App, SystemCommand
from textual.binding import Binding, BindingType
from textual.events import Key
from textual.screen import Screen
from textual.widgets import Input

from tui.admin.errors import AdminError
from tui.admin.overview import state_of
from tui.admin.table import Table
from tui.admin.thread import AdminThread
from tui.desk import Desk, JobChanged
from tui.leaving import leave
from tui.operate.actions import ACTIONS
from tui.remembered import Remembered
from tui.screens.alerts import AlertsScreen
from tui.screens.base import PLACES, ConsoleScreen
from tui.screens.config import ConfigScreen
from tui.screens.editor import EditorScreen
from tui.screens.help import HelpScreen
from tui.screens.registry import SCREENS
from tui.settings import ConsoleSettings
from tui.terminal import go_on_only_after_a_stop
from tui.themes import DARK, THEMES
from tui.watch.diagnosis import Pool
from tui.watch.feed import Feed
from tui.watch.link import Link, State
from tui.watch.lookout import Lookout
from tui.watch.moment import Moment
from tui.watch.thresholds import AlertThresholds
from tui.watch.watcher import Watcher
from tui.widgets.alert_strip import announce
from tui.widgets.frame import Heading

Result = TypeVar("Result")

_OF_PLACES = frozenset({"act", "actions", "jobs", "leftovers", "clear_errors"})
"""What there is on the screens that have a key of their own, and nowhere else."""


class Console(App[None]):
    """Shows one pooler. What it knows is in `moment`; who wants more asks with `ask` or `on_admin`."""

    TITLE = "pooldeck"
    MODES = SCREENS  # type: ignore[assignment]
    DEFAULT_MODE = "overview"
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-normal"), (150, "-wide")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-low"), (30, "-tall")]  # noqa: RUF012

    BINDINGS: ClassVar[list[BindingType]] = [
        *(
            Binding(place.key, f"go('{place.name}')", place.title, show=False, id=f"go.{place.name}")
            for place in PLACES
        ),
        *(
            Binding(
                action.key,
                f"act('{action.verb}')",
                action.title,
                show=False,
                tooltip=f"{action.title}: {action.help}",
                id=f"act.{action.name}",
            )
            for action in ACTIONS
        ),
        Binding("x", "actions", "Actions", id="console.actions"),
        Binding("J", "jobs", "Jobs", show=False, id="console.jobs"),
        Binding("V", "leftovers", "What is left paused or disabled", show=False, id="console.leftovers"),
        Binding("question_mark", "help", "Help", id="console.help"),
        Binding("a", "alerts", "Alerts", id="console.alerts"),
        Binding("f5", "refresh_now", "Refresh", show=False, id="console.refresh"),
        Binding("z", "freeze", "Freeze", id="console.freeze"),
        Binding("t", "next_theme", "Theme", show=False, id="console.theme"),
        Binding("q", "quit", "Quit", id="console.quit"),
        Binding(
            "escape", "clear_errors", "Clear errors", show=False, priority=True, id="console.clear_errors"
        ),
    ]

    def __init__(self, settings: ConsoleSettings) -> None:
        super().__init__()
        self.settings = settings
        self.remembered = Remembered(settings.state_dir)
        self.moment: Moment | None = None
        self.lookout = Lookout(AlertThresholds.from_mapping(settings.thresholds), settings.clock.seconds)
        self.before_alerts = self.DEFAULT_MODE
        """The place to go back to from the alerts."""
        self.frozen = False
        self.desk = Desk(self)
        self.editors: set[EditorScreen] = set()
        """Those that are open, on whatever screen."""
        self._thread = AdminThread()
        self._feed = Feed(settings.target, settings.connect, settings.clock)
        self._watcher = Watcher(
            self._thread,
            self._feed,
            settings.clock,
            settings.interval,
            self._wanted,
            self._show,
            self._link_changed,
        )
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = self._first_theme()

    def _first_theme(self) -> str:
        for name in (self.settings.theme, self.remembered.theme):
            if name in self.available_themes:
                return name
        return DARK

    @property
    def link(self) -> Link:
        return self._watcher.link

    @property
    def read_only(self) -> bool:
        return self.settings.read_only

    @property
    def is_stale(self) -> bool:
        """Whether what is shown is not how it is now."""
        return self.is_held or (self.moment is not None and self.link.state is not State.LIVE)

    @property
    def is_held(self) -> bool:
        """Whether what is shown is kept as it is: by a key, or because a dialog speaks of it."""
        return self.frozen or self.desk.asking

    @property
    def heading(self) -> Heading:
        return Heading(
            title=self.settings.title,
            read_only=self.read_only,
            frozen=self.is_held,
            link=self.link,
            moment=self.moment,
            state=self._pooler_state(),
            silence=self._watcher.silence,
        )

    def _pooler_state(self) -> str:
        table = None if self.moment is None else self.moment.table("STATE")
        return "" if table is None else state_of(table)

    # Polling

    def on_mount(self) -> None:
        go_on_only_after_a_stop()
        self._thread.start()
        self.run_worker(self._watcher.run(), "watcher", exit_on_error=True)
        if self.settings.interval is not None:
            self.set_interval(1.0, self.show_frame)

    async def on_unmount(self) -> None:
        with suppress(TimeoutError):
            await self._thread.run(self._feed.close)
            await self._thread.run(self.desk.close)
        await self._thread.stop()

    def _wanted(self) -> frozenset[str]:
        screen = self._screen_below()
        return (screen.wants if screen is not None else frozenset()) | self.lookout.wanted

    def _screen_below(self) -> ConsoleScreen | None:
        """The screen that is seen, or that dialogs are on top of."""
        shown = (screen for screen in reversed(self.screen_stack) if isinstance(screen, ConsoleScreen))
        return next(shown, None)

    def _show(self, moment: Moment) -> None:
        announce(self, self.lookout.add(moment))
        self._look_into_alerts()
        if self.is_held:
            return
        self.moment = moment
        for screen in self.screen_stack:
            if isinstance(screen, ConsoleScreen):
                screen.show_moment(moment)
        self.show_frame()

    def _look_into_alerts(self) -> None:
        questions = self.lookout.questions()
        if questions:
            self.run_worker(self._explain(questions), "explain", group="explain", exclusive=True)

    async def _explain(self, questions: Mapping[Pool, str]) -> None:
        for pool, sql in questions.items():
            with suppress(AdminError):  # an alert without a reason is one still
                self.lookout.learn(pool, await self.ask(sql))
        self.show_frame()

    def _link_changed(self, link: Link) -> None:
        if link.state is State.LIVE:
            self.desk.begin()
        else:
            self.lookout.lost(self.settings.clock.seconds())
        self.show_frame()

    def show_frame(self) -> None:
        """Repaint what is around the bodies of screens."""
        for screen in self.screen_stack:
            if isinstance(screen, ConsoleScreen) and screen.is_mounted:
                screen.show_frame()

    def came_to(self, screen: ConsoleScreen) -> None:
        """A screen has come up: it gets what is known, and what else it wants is asked for."""
        screen.show_frame()
        if self.moment is not None:
            screen.show_moment(self.moment)
        self._watcher.look()

    # What screens ask for

    async def on_admin(self, work: Callable[[], Awaitable[Result]]) -> Result:
        """Await `work()` on the thread of the admin connections: each belongs to that loop."""
        return await self._thread.run(work)

    async def ask(self, sql: str) -> Table:
        """Rows over the connection that is polled, before the next poll. Raises AdminError."""
        return await self._thread.run(lambda: self._feed.ask(sql))

    async def refresh_now(self) -> None:
        """Poll at once, whatever it costs; back when screens have been given the answer."""
        await self._watcher.refresh()

    # Keys

    def on_key(self, event: Key) -> None:
        """What comes in one piece with the key that opened a field is text for it: `/Reports` is no RESUME.

        A field keeps to itself what it is given; this was on its way to what had the keys before.
        """
        field = self.focused
        if isinstance(field, Input) and event.is_printable and event.character is not None:
            event.prevent_default()
            field.insert_text_at_cursor(event.character)

    async def action_quit(self) -> None:
        self.run_worker(leave(self), "leave", group="leave")

    def action_go(self, place: str) -> None:
        self.switch_mode(place)

    def action_alerts(self) -> None:
        if self.current_mode != AlertsScreen.place:
            self.before_alerts = self.current_mode
            self.switch_mode(AlertsScreen.place)

    def action_help(self) -> None:
        self.push_screen(HelpScreen(self.screen))

    async def action_refresh_now(self) -> None:
        self.frozen = False
        self.run_worker(self.refresh_now(), "refresh", group="refresh", exclusive=True)

    def action_freeze(self) -> None:
        """Hold what is shown, however long it is looked at."""
        self.frozen = not self.frozen
        self.show_frame()
        if not self.frozen:
            self._watcher.look()

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """Nothing is done to the pooler from a screen on which one types."""
        if action in _OF_PLACES and not isinstance(self.screen, ConsoleScreen):
            return False
        if action == "clear_errors" and not (self.desk.error_told and self.screen.query("Toast.-error")):
            return False
        return super().check_action(action, parameters)

    def action_clear_errors(self) -> None:
        """Take away what has gone wrong, which stays until somebody has read it."""
        self.desk.error_told = False
        self.clear_notifications()

    def action_act(self, verb: str) -> None:
        """Do something to what is selected, once somebody has agreed to it."""
        screen = self._screen_below()
        if screen is not None and self.desk.is_about_rows(verb) and screen.lost_its_rows():
            self.notify(
                "What was chosen is gone. See where the cursor is now; the same key again acts there.",
                severity="warning",
                markup=False,
            )
            return
        rows_are, rows, notes = self._selected()
        self.desk.act(verb, rows_are, rows, notes)

    def action_actions(self) -> None:
        self.desk.menu(*self._selected())

    def action_jobs(self) -> None:
        self.desk.show_jobs()

    def action_leftovers(self) -> None:
        self.desk.review()

    def on_job_changed(self, message: JobChanged) -> None:
        self.desk.took(message.view)

    def _selected(self) -> tuple[str, list[Mapping[str, Any]], list[str]]:
        screen = self._screen_below()
        if screen is None:
            return "", [], []
        return screen.acts_on, screen.selected_rows(), screen.selection_notes()

    def action_next_theme(self) -> None:
        names = [theme.name for theme in THEMES]
        number = names.index(self.theme) + 1 if self.theme in names else 0
        self.theme = names[number % len(names)]
        self.remembered.keep_theme(self.theme)

    def get_system_commands(self, screen: Screen[object]) -> Iterable[SystemCommand]:
        yield from super().get_system_commands(screen)
        for place in PLACES:
            yield SystemCommand(place.title, f"Go to {place.title} ({place.key})", self._going(place.name))
        for action in ACTIONS:
            yield SystemCommand(f"{action.title} ({action.key})", action.help, self._doing(action.verb))
        yield SystemCommand("Actions (x)", "All actions for what is selected", self.action_actions)
        yield SystemCommand("Jobs (J)", "PAUSE, SUSPEND and what else takes its time", self.action_jobs)
        yield SystemCommand("Edit pgbouncer.ini", "Open the configuration file in the editor", self._edit)

    def _doing(self, verb: str) -> Callable[[], None]:
        return lambda: self.action_act(verb)

    def _going(self, place: str) -> Callable[[], None]:
        return lambda: self.action_go(place)

    async def _edit(self) -> None:
        await self.switch_mode("config")
        if isinstance(self.screen, ConfigScreen):
            self.screen.action_edit()
