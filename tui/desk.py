"""From a key to its outcome: what is selected, the dialog, the command or job, what is said afterwards."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from textual.message import Message

from tui.admin.connection import AdminConnection
from tui.admin.errors import AdminError
from tui.operate.actions import ACTIONS, BY_VERB, Action, Risk
from tui.operate.availability import Rights, Standing, probe_rights, why_not
from tui.operate.jobs import Jobs, JobView, State
from tui.operate.journal import Journal
from tui.operate.leftovers import Leftover, find_leftovers
from tui.operate.operator import Operator
from tui.operate.outcome import Outcome, Result
from tui.operate.plan import Plan, carry_out, make_plan
from tui.operate.subject import Kind, Subject, row_key
from tui.screens.action_menu import ActionMenu, Choice, SetForm
from tui.screens.choose import ChooseOne
from tui.screens.confirm import ConfirmScreen
from tui.screens.job import JobsLeaveScreen, JobsScreen
from tui.screens.leftovers import LeftoversScreen
from tui.widgets.cells import safe

if TYPE_CHECKING:
    from tui.app import Console

Severity = Literal["information", "warning", "error"]

ERROR_SECONDS = 3600.0
"""Errors stay until somebody clicks them away."""

_PLAIN = "IMMEDIATE"
"""In place of an empty word, which no list takes."""


class JobChanged(Message):
    """A job stands differently. It comes from the thread of the admin connections."""

    def __init__(self, view: JobView) -> None:
        super().__init__()
        self.view = view


def subject_of(rows_are: str, rows: Sequence[Mapping[str, Any]]) -> Subject | None:
    """What the selected rows of a screen are to an action; where there are no rows, it is the pooler."""
    if not rows_are:
        return Subject.pooler()
    if not rows or rows_are == "user":
        return None
    if rows_are == "client":
        return Subject.clients(*map(row_key, rows))
    if rows_are == "server":
        return Subject.servers(*map(row_key, rows))
    column = "name" if rows_are == "database" and "name" in rows[0] else "database"
    return Subject.databases(*(str(row[column]) for row in rows))


class Desk:
    """Where things are done. It has a connection of its own, open for as long as the console: after SUSPEND
    there may be no other way in.
    """

    def __init__(self, console: Console) -> None:
        settings = console.settings
        path = None if settings.state_dir is None else settings.state_dir / "audit.jsonl"
        self.operator = Operator(
            settings.title, settings.target.user, Journal(path), read_only=settings.read_only
        )
        self.jobs = Jobs(self.operator, self._dial, self._changed)
        self.views: dict[int, JobView] = {}
        self.error_told = False
        """Whether something has gone wrong, and nobody has taken that off the screen by its key."""
        self.leftovers: tuple[Leftover, ...] = ()
        self.rights = Rights.ADMIN
        self.asking = False
        """Whether a dialog is open: what is shown below it does not change meanwhile."""
        self._console = console
        self._connection: AdminConnection | None = None

    # What is known ----------------------------------------------------------------------------------------

    def begin(self) -> None:
        """The connection is up: find out what this user may do, and what is left over."""
        self._console.run_worker(self._begin(), "begin", group="begin", exclusive=True)

    async def _begin(self) -> None:
        try:
            self.rights, self.leftovers = await self._console.on_admin(self._look_around)
        except AdminError as error:
            if not error.lost:
                self._tell(f"Whether this user may act is not known: {error.message}", "warning")
        self._console.show_frame()

    async def _look_around(self) -> tuple[Rights, tuple[Leftover, ...]]:
        connection = await self._connected()
        is_reader = self.operator.read_only
        rights = self.rights if is_reader else await probe_rights(connection)
        probe = not is_reader and rights is Rights.ADMIN
        return rights, await find_leftovers(connection, probe=probe)

    async def _connected(self) -> AdminConnection:
        if self._connection is None or self._connection.closed:
            self._connection = await self._dial()
        return self._connection

    async def _dial(self) -> AdminConnection:
        settings = self._console.settings
        return await settings.connect(settings.target)

    async def close(self) -> None:
        """On the thread of the admin connections."""
        if self._connection is not None:
            await self._connection.close()

    @property
    def standing(self) -> Standing | None:
        """What decides about actions; None before anything is known of the pooler."""
        moment = self._console.moment
        if moment is None:
            return None
        target = self._console.settings.target
        return Standing(
            moment.capabilities,
            self.rights,
            self.operator.read_only,
            target.user,
            several_hosts="," in target.host,
        )

    def why_not(self, action: Action, subject: Subject | None) -> str | None:
        """Why this cannot be done now; None if it can."""
        standing = self.standing
        if standing is None:
            return "nothing is known of the pooler yet"
        return why_not(action, subject, standing)

    def buttons(self, rows_are: str) -> list[tuple[Action, bool]]:
        """Actions for the rows of a screen, then those for the pooler alone; whether each is possible."""
        sample = subject_of(rows_are, [{"name": "-", "database": "-", "id": 0}])
        fit = [action for action in ACTIONS if sample is not None and sample.kind in action.scopes]
        fit += [action for action in ACTIONS if action.scopes.keys() == {Kind.POOLER} and action not in fit]
        return [(action, self.why_not(action, self._for(action, sample)) is None) for action in fit]

    @property
    def running(self) -> list[JobView]:
        """Jobs that are not over."""
        return [view for view in self.views.values() if not view.state.over]

    # Acting -----------------------------------------------------------------------------------------------

    def _for(self, action: Action, subject: Subject | None) -> Subject | None:
        """What is for nothing but the pooler is for it wherever one is."""
        return subject if self.is_about_rows(action.verb) else Subject.pooler()

    def is_about_rows(self, verb: str) -> bool:
        """Whether it matters what is selected."""
        return BY_VERB[verb].scopes.keys() != {Kind.POOLER}

    def act(self, verb: str, rows_are: str, rows: Sequence[Mapping[str, Any]], notes: Iterable[str]) -> None:
        """A key or a button: do it to what is selected, after asking."""
        action = BY_VERB[verb]
        subject = self._for(action, subject_of(rows_are, rows))
        # The setting that the cursor is on.
        given = {name: str(rows[0][name] or "") for name in action.parameters if rows and name in rows[0]}
        self._start(action, subject, notes, given)

    def menu(self, rows_are: str, rows: Sequence[Mapping[str, Any]], notes: Iterable[str]) -> None:
        """All actions for what is selected, and for the whole pooler."""
        subjects = [subject_of(rows_are, rows), Subject.pooler()]
        choices = [
            Choice(action, subject, self.why_not(action, subject))
            for subject in dict.fromkeys(subjects)
            if subject is not None
            for action in ACTIONS
            if subject.kind in action.scopes
        ]

        def chosen(choice: Choice | None) -> None:
            if choice is not None:
                self._start(choice.action, choice.subject, notes)

        self._console.push_screen(ActionMenu(choices), chosen)

    def review(self) -> None:
        """What is left over at this moment."""
        self._console.run_worker(self._review(), "review", group="review", exclusive=True)

    async def _review(self) -> None:
        await self._begin()
        if not self.leftovers:
            self._tell("This console has found nothing paused or disabled", "information")
            return

        leftover = await self._console.push_screen_wait(LeftoversScreen(self.leftovers))
        if leftover is not None:
            self._start(leftover.action, leftover.subject)

    def _start(
        self,
        action: Action,
        subject: Subject | None,
        notes: Iterable[str] = (),
        given: Mapping[str, str] | None = None,
    ) -> None:
        reason = self.why_not(action, subject)
        if reason is not None:
            more = "; x has what can be done to the whole pooler" if subject is None else ""
            self._tell(f"{action.verb}: {reason}{more}", "warning")
        elif subject is not None and not self.asking:
            self.asking = True
            work = self._act(action, subject, tuple(notes), given or {})
            self._console.run_worker(work, action.verb, group="act")

    async def _act(
        self, action: Action, subject: Subject, notes: tuple[str, ...], given: Mapping[str, str]
    ) -> None:
        try:
            plan = await self._agreed(action, subject, notes, given)
        except (AdminError, ValueError) as error:
            self._tell(f"{action.verb}: {error}", "error")
            return
        finally:
            self.asking = False
            self._console.show_frame()
        if plan is None:
            return
        try:
            await self._do(plan)
        except AdminError as error:
            self._tell(f"{plan.title}: {error}", "error")
        await self._look_again()

    async def _agreed(
        self, action: Action, subject: Subject, notes: tuple[str, ...], given: Mapping[str, str]
    ) -> Plan | None:
        """What is to be done, once somebody has agreed to it."""
        self._console.show_frame()
        arguments = await self._arguments(action, subject, given)
        if arguments is None:
            return None

        async def plan_there() -> Plan:
            connection = await self._connected()
            return await make_plan(connection, action, subject, self.operator.pooler, arguments)

        plan = await self._console.on_admin(plan_there)
        if plan.problem:
            self._tell(f"{action.verb}: {plan.problem}", "warning")
            return None
        if plan.risk is Risk.NONE:
            return plan
        return plan if await self._console.push_screen_wait(ConfirmScreen(plan, notes)) else None

    async def _arguments(
        self, action: Action, subject: Subject, given: Mapping[str, str]
    ) -> dict[str, str] | None:
        if action.parameters:
            moment = self._console.moment
            config = None if moment is None else moment.table("CONFIG")
            names = [str(row[0]) for row in config.rows] if config is not None else []
            return await self._console.push_screen_wait(SetForm(names, **given))
        if not action.variants:
            return {}
        standing = self.standing
        names_and_texts = [
            (variant.word or _PLAIN, f"{action.title} {variant.title}: {variant.help}")
            for variant in action.variants
            if standing is not None and why_not(action, subject, standing, variant.word) is None
        ]
        word = await self._console.push_screen_wait(ChooseOne(action.title, names_and_texts))
        return None if word is None else {"variant": "" if word == _PLAIN else word}

    async def _do(self, plan: Plan) -> None:
        if plan.is_job:
            for view in await self._console.on_admin(lambda: self.jobs.start(plan)):
                self.views.setdefault(view.number, view)
            self._console.show_frame()
            return

        async def there() -> tuple[Outcome, ...]:
            return await carry_out(await self._connected(), plan, self.operator)

        self._report(plan, await self._console.on_admin(there))

    async def send(self, action: Action, command: str, timeout: float) -> Outcome:
        """One command for the whole pooler, to which somebody has agreed elsewhere. Raises AdminError."""

        async def there() -> Outcome:
            connection = await self._connected()
            return await self.operator.send(connection, action.verb, command, str(Subject.pooler()), timeout)

        return await self._console.on_admin(there)

    async def _look_again(self) -> None:
        if self.leftovers:
            try:
                _, self.leftovers = await self._console.on_admin(self._look_around)
            except AdminError:
                self.leftovers = ()
        await self._console.refresh_now()

    # Saying what came of it -------------------------------------------------------------------------------

    def _report(self, plan: Plan, outcomes: Sequence[Outcome]) -> None:
        bad = [outcome for outcome in outcomes if outcome.result not in (Result.DONE, Result.GONE)]
        severity: Severity = "error" if bad else "information"
        if len(outcomes) == 1:
            outcome = outcomes[0]
            done = f"{outcome.command}: done" if outcome.result is Result.DONE else str(outcome)
            self._tell(done, severity)
        else:
            counts = Counter(outcome.result.value for outcome in outcomes)
            text = ", ".join(f"{number} {result}" for result, number in counts.items())
            self._tell(f"{plan.title}: {text}" + (f". {bad[0]}" if bad else ""), severity)
        if self.operator.journal.failure is not None:
            self._tell(f"Not in the journal: {self.operator.journal.failure}", "warning")

    def _changed(self, view: JobView) -> None:
        self._console.post_message(JobChanged(view))

    def took(self, view: JobView) -> None:
        """A job stands differently."""
        self.views[view.number] = view
        self._console.show_frame()
        for screen in self._console.screen_stack:
            if isinstance(screen, JobsScreen):
                screen.show_jobs(list(self.views.values()))
        if view.state.over:
            bad = view.state in (State.FAILED, State.LOST)
            self._tell(f"{view.title}: {view.text}", "error" if bad else "information")

    def _tell(self, text: str, severity: Severity) -> None:
        timeout = ERROR_SECONDS if severity == "error" else None
        self.error_told = self.error_told or severity == "error"
        self._console.notify(safe(text), severity=severity, timeout=timeout, markup=False)

    def show_jobs(self) -> None:
        """All jobs of this console."""
        self._console.push_screen(JobsScreen(list(self.views.values()), self.abort))

    async def abort(self, number: int) -> None:
        """Give a job up."""
        await self._console.on_admin(lambda: self.jobs.abort(number))

    # Leaving ----------------------------------------------------------------------------------------------

    async def may_leave(self) -> bool:
        """Ask, if jobs are under way."""
        if not self.running:
            return True
        choice = await self._console.push_screen_wait(JobsLeaveScreen(self.running, self._consequence()))
        if choice == "abort":
            for view in self.running:
                if view.can_abort:
                    await self.abort(view.number)
        return choice != "stay"

    def _consequence(self) -> str:
        moment = self._console.moment
        if moment is not None and moment.capabilities.sql:
            return "Leaving gives them up: the pooler takes back a PAUSE that is not complete, and SUSPEND."
        return "Leaving does not end them: this pooler keeps a PAUSE in force until RESUME."
