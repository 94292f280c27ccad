"""Actions that take their time: each on a connection of its own, watched over another, given up by RESUME.

A cancel request is never sent: a PgBouncer takes one as RESUME of everything, also for one database.
"""

from __future__ import annotations

import asyncio
import enum
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from tui.admin.connection import AdminConnection
from tui.admin.errors import AdminError
from tui.admin.pacing import pause_after
from tui.admin.sqltext import identifier
from tui.operate.operator import Operator
from tui.operate.outcome import Outcome, Result
from tui.operate.plan import Command, Plan, gone_text, present_targets
from tui.operate.situation import Holder, age_text, count, held, oldest_holder, plural

Connect: TypeAlias = Callable[[], Awaitable[AdminConnection]]

LOOK_SECONDS: Final = 1.0
_ANSWER_SECONDS: Final = 2.0
"""How long a command that was ended by RESUME has time to answer."""

_PROBE_EVERY: Final = 10
"""Looks between two of those that leave a line in the log of a PgBouncer that has no SHOW STATE."""

_SURELY_SENT: Final = 3
"""Looks after which a pause that was never seen in force was over before the first."""

_ENDED: Final = "was ended by RESUME"


class State(enum.Enum):
    """How far a job is."""

    RUNNING = "running"
    HOLDING = "holding"
    """SUSPEND is complete, and lasts as long as the connection."""
    DONE = "done"
    ABORTED = "aborted"
    FAILED = "failed"
    LOST = "lost"

    @property
    def over(self) -> bool:
        """Whether nothing more happens."""
        return self not in (State.RUNNING, State.HOLDING)


@dataclass(frozen=True, slots=True)
class JobView:
    """A job at one moment: for a screen, on whatever thread."""

    number: int
    title: str
    command: str
    state: State
    started: float
    """By the monotonic clock, as is `ended`."""
    ended: float | None
    text: str
    """How it stands, in a sentence."""
    holder: Holder | None
    can_abort: bool

    def elapsed(self, now: float | None = None) -> float:
        """Seconds since it was begun, or that it took."""
        return (self.ended or now or time.monotonic()) - self.started


class Job:
    """One command that waits. Everything happens on the loop that `run` runs on."""

    def __init__(
        self,
        number: int,
        plan: Plan,
        command: Command,
        operator: Operator,
        connect: Connect,
        *,
        changed: Callable[[JobView], None],
        look_seconds: float = LOOK_SECONDS,
    ) -> None:
        self._number = number
        self._plan = plan
        self._command = command
        self._operator = operator
        self._connect = connect
        self._changed = changed
        self._look_seconds = look_seconds
        self._pause = look_seconds
        self._verb = plan.action.verb
        self._name = None if command.key is None else str(command.key)
        self._title = plan.title if self._name is None else f"{plan.action.title}: database {self._name}"
        self._connection: AdminConnection | None = None
        self._watcher: AdminConnection | None = None
        self._aborting = False
        self._gave_up = asyncio.Event()
        self._looks = 0
        self._left = 0
        self._seen_in_force = False
        self._started = time.monotonic()
        self._holder: Holder | None = None
        self.view = self._viewed(State.RUNNING, "connecting")

    async def run(self) -> State:
        """Do it, to its end. Raises nothing of AdminError."""
        try:
            state, text = await self._life()
        finally:
            await self._close()
        self._holder = None
        self._show(state, text)
        return state

    async def abort(self) -> None:
        """Give it up: RESUME, and see whether that helped. `run` ends soon after."""
        if self._aborting or not self.view.can_abort:
            return
        self._aborting = True
        self._show(self.view.state, "giving up")
        self._gave_up.set()

    # Its life ---------------------------------------------------------------------------------------------

    async def _life(self) -> tuple[State, str]:
        try:
            self._connection = await self._connect()
            self._watcher = await self._connect()
            gone = gone_text(self._command, await present_targets(self._watcher, self._plan))
        except AdminError as error:
            return self._end(State.FAILED, f"not begun: {error.message}")
        if gone is not None:
            return self._end(State.FAILED, f"not begun: {gone}")
        if self._gave_up.is_set():
            return self._end(State.ABORTED, "not begun")
        if not self._operator.read_only:
            self._operator.note_start(self._verb, self._command.text, self._command.target)
        answer = asyncio.ensure_future(
            self._operator.ask(self._connection, self._command.text, self._command.target)
        )
        try:
            return await self._until_answered(answer)
        finally:
            if not answer.done():
                await self._connection.abort()
            await asyncio.gather(answer, return_exceptions=True)

    async def _until_answered(self, answer: asyncio.Future[Outcome]) -> tuple[State, str]:
        while not await self._paused_for_a_look(answer):
            if self._gave_up.is_set():
                return await self._take_back(answer)
            try:
                is_over = await self._look()
            except AdminError as error:
                self._show(State.RUNNING, f"cannot be watched: {error.message}")
                continue
            if is_over and not answer.done():
                return self._end(State.FAILED, f"{self._verb} {_ENDED}")
        if self._gave_up.is_set():
            return await self._take_back(answer)
        return await self._answered(answer.result())

    async def _paused_for_a_look(self, answer: asyncio.Future[Outcome]) -> bool:
        """Wait until it is time to look again; whether the command has been answered."""
        gave_up = asyncio.create_task(self._gave_up.wait())
        waiting: list[asyncio.Future[Any]] = [answer, gave_up]
        await asyncio.wait(waiting, timeout=self._pause, return_when=asyncio.FIRST_COMPLETED)
        gave_up.cancel()
        return answer.done()

    async def _answered(self, outcome: Outcome) -> tuple[State, str]:
        if outcome.result is Result.LOST:
            return self._end(State.LOST, f"{outcome.text}; {await self._after_loss()}")
        if outcome.result is not Result.DONE:
            return self._end(State.FAILED, outcome.reason)
        if self._verb == "SUSPEND":
            return await self._hold()
        if self._verb == "SHUTDOWN":
            return await self._wait_for_the_end()
        if outcome.text != self._verb:
            return await self._until_complete()
        return self._complete()

    def _complete(self) -> tuple[State, str]:
        return self._end(State.DONE, f"complete after {age_text(time.monotonic() - self._started)}")

    async def _until_complete(self) -> tuple[State, str]:
        """PgBouncer answers all that wait with the tag of whatever is complete. Once there was a WAIT_CLOSE,
        it answers every PAUSE at once. So what is seen counts, as long as the pooler can be seen.
        """
        while not self._gave_up.is_set():
            try:
                if await self._look():
                    return self._end(State.FAILED, f"{self._verb} {_ENDED}")
                if self._left == 0 and (self._verb == "WAIT_CLOSE" or await self._in_force()):
                    return self._complete()
            except AdminError as error:
                return self._end(State.LOST, f"{error.message}; {await self._after_loss()}")
            await self._next_look()
        return await self._take_back(None)

    async def _hold(self) -> tuple[State, str]:
        """SUSPEND is complete. Who goes away resumes, so this stays until somebody does."""
        self._note(Result.DONE, "SUSPEND")
        self._show(State.HOLDING, "suspended; it lasts until RESUME, or until this console goes")
        while not self._gave_up.is_set():
            self._looks += 1
            try:
                if not await self._is_too_early() and not await self._in_force():
                    return State.DONE, "resumed"
            except AdminError as error:
                return self._end(State.LOST, f"{error.message}; {await self._after_loss()}")
            await self._next_look()
        return await self._take_back(None)

    async def _wait_for_the_end(self) -> tuple[State, str]:
        """SHUTDOWN is under way: over when the pooler does not talk to us any more."""
        self._note(Result.DONE, "SHUTDOWN")
        if self._connection is not None:
            await self._connection.close()
        while not await self._is_gone():
            await self._next_look()
        return self._end(State.DONE, "the pooler has ended")

    async def _is_gone(self) -> bool:
        assert self._watcher is not None
        try:
            found = await count(self._watcher)
            if self._plan.arguments.get("variant") == "WAIT_FOR_CLIENTS":
                text = f"waits for {plural(found.clients, 'client')}"
                if not found.clients:
                    text = "only admin connections are left, this console's among them: leave, and it ends"
            else:
                text = f"waits for {plural(found.busy, 'server')}"
            self._holder = await oldest_holder(self._watcher)
        except AdminError as error:
            return error.lost
        self._show(State.RUNNING, text)
        return False

    # Looking ----------------------------------------------------------------------------------------------

    async def _next_look(self) -> None:
        gave_up = asyncio.ensure_future(self._gave_up.wait())
        await asyncio.wait([gave_up], timeout=self._pause)
        gave_up.cancel()

    async def _look(self) -> bool:
        """See how it stands. Whether somebody else has ended the pause. Raises AdminError."""
        self._looks += 1
        began = time.monotonic()
        watcher = await self._watching()
        names = None if self._name is None else (self._name,)
        if self._verb == "WAIT_CLOSE":
            self._left = await self._marked(watcher)
            text = f"{plural(self._left, 'server')} to be closed"
        else:
            self._left = (await count(watcher, names)).busy
            text = f"{plural(self._left, 'server')} still busy"
        self._holder = await oldest_holder(watcher, names)
        over = self._verb != "WAIT_CLOSE" and await self._was_resumed()
        self._pause = max(self._look_seconds, pause_after(time.monotonic() - began))
        self._show(State.RUNNING, text)
        return over

    async def _marked(self, watcher: AdminConnection) -> int:
        rows = (await watcher.rows("SHOW SERVERS")).dicts()
        return sum(bool(row["close_needed"]) and self._name in (None, row["database"]) for row in rows)

    async def _watching(self) -> AdminConnection:
        if self._watcher is None or self._watcher.closed:
            self._watcher = await self._connect()
        return self._watcher

    async def _was_resumed(self) -> bool:
        """PgBouncer never answers a PAUSE that somebody else has ended."""
        if await self._is_too_early():
            return False
        if await self._in_force():
            self._seen_in_force = True
            return False
        return self._seen_in_force or self._looks >= _SURELY_SENT

    async def _is_too_early(self) -> bool:
        """Where the look leaves a line in the log, most are left out."""
        watcher = await self._watching()
        is_probed = self._name is None and not watcher.capabilities.has_table("STATE")
        return is_probed and self._looks % _PROBE_EVERY != 0

    async def _in_force(self) -> bool:
        found = await held(await self._watching(), probe=self._name is None)
        return found.state != "active" if self._name is None else self._name in found.paused

    # Ends -------------------------------------------------------------------------------------------------

    async def _take_back(self, answer: asyncio.Future[Outcome] | None) -> tuple[State, str]:
        if self._verb == "WAIT_CLOSE":
            return self._end(State.ABORTED, "not waited for any more")
        command = "RESUME" if self._name is None else f"RESUME {identifier(self._name)}"
        try:
            watcher = await self._watching()
            outcome = await self._operator.send(watcher, "RESUME", command, self._command.target)
            in_force = await self._in_force()
        except AdminError as error:
            return self._end(State.LOST, f"{command} could not be verified: {error.message}")
        if in_force:
            return self._end(State.FAILED, f"still in force after {command}: {outcome.text}")
        if answer is not None:
            await asyncio.wait([answer], timeout=_ANSWER_SECONDS if watcher.capabilities.sql else 0)
        return self._end(State.ABORTED, f"taken back by {command}, and verified")

    async def _after_loss(self) -> str:
        """What has become of it: a PgBouncer goes on without whoever asked."""
        if self._verb not in ("PAUSE", "SUSPEND"):
            return "how it went is not known"
        try:
            in_force = await self._in_force()
        except AdminError as error:
            return f"whether it is in force is not known: {error.message}"
        return "it is still in force: RESUME when you like" if in_force else "it is not in force"

    def _end(self, state: State, text: str) -> tuple[State, str]:
        results = {State.DONE: Result.DONE, State.LOST: Result.LOST, State.ABORTED: Result.ABORTED}
        self._note(results.get(state, Result.FAILED), text)
        return state, text

    def _note(self, result: Result, text: str) -> None:
        self._operator.note(self._verb, Outcome(self._command.shown, self._command.target, result, text))

    async def _close(self) -> None:
        for connection in (self._connection, self._watcher):
            if connection is not None and not connection.closed:
                await connection.close()

    def _show(self, state: State, text: str) -> None:
        self.view = self._viewed(state, text)
        self._changed(self.view)

    def _viewed(self, state: State, text: str) -> JobView:
        return JobView(
            number=self._number,
            title=self._title,
            command=self._command.shown,
            state=state,
            started=self._started,
            ended=time.monotonic() if state.over else None,
            text=text,
            holder=self._holder,
            can_abort=self._verb != "SHUTDOWN" and not state.over and not self._aborting,
        )


class Jobs:
    """All jobs of a console, the oldest first. To be used on the loop of the admin connections."""

    def __init__(self, operator: Operator, connect: Connect, changed: Callable[[JobView], None]) -> None:
        self._operator = operator
        self._connect = connect
        self._changed = changed
        self._jobs: dict[int, tuple[Job, asyncio.Task[State]]] = {}

    @property
    def views(self) -> tuple[JobView, ...]:
        """How they all stand."""
        return tuple(job.view for job, _ in self._jobs.values())

    @property
    def running(self) -> tuple[JobView, ...]:
        """Those that are not over."""
        return tuple(view for view in self.views if not view.state.over)

    async def start(self, plan: Plan, *, look_seconds: float = LOOK_SECONDS) -> tuple[JobView, ...]:
        """Begin a job for each command of a plan."""
        started = []
        for command in plan.commands:
            number = len(self._jobs) + 1
            job = Job(
                number,
                plan,
                command,
                self._operator,
                self._connect,
                changed=self._changed,
                look_seconds=look_seconds,
            )
            self._jobs[number] = job, asyncio.ensure_future(job.run())
            started.append(job.view)
        return tuple(started)

    async def abort(self, number: int) -> None:
        """Give one up, and wait until it is over."""
        job, task = self._jobs[number]
        await job.abort()
        await asyncio.wait([task])

    async def wait(self, number: int) -> State:
        """Wait until one is over."""
        return await self._jobs[number][1]
