"""A client of the test: sessions one after the other, each of many steps, by a plan that the seed decides."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Final

from tests.chaos import copies, extended, prepared, sessions, simple, sizes, slow, transactions
from tests.chaos.client import Connection, ConnectionLost, Refused
from tests.chaos.scene import SESSION, STATEMENT, TRANSACTION, Canceled, Failure, Over, Scene, Session
from tests.chaos.weather import Weather

DATABASES: Final = {TRANSACTION: "tx", SESSION: "se", STATEMENT: "st"}

_ANY = (TRANSACTION, SESSION, STATEMENT)
_BLOCKS = (TRANSACTION, SESSION)

# What clients do, how often, and in which modes. The seldom ones cost a session, or seconds.
_FORMS: tuple[tuple[Callable[[Scene], Awaitable[None]], float, tuple[str, ...]], ...] = (
    (simple.simple, 10, _ANY),
    (simple.several_statements, 5, _ANY),
    (simple.transaction_in_one_query, 3, _ANY),
    (simple.simple_pipeline, 6, _ANY),
    (simple.many_rows, 3, _ANY),
    (simple.function_calls, 3, _ANY),
    (extended.extended, 10, _ANY),
    (extended.pipeline, 10, _ANY),
    (extended.flush_then_sync, 5, _ANY),
    (extended.mixed, 5, _ANY),
    (extended.portals, 5, _ANY),
    (sizes.big_result, 2, _ANY),
    (sizes.big_query, 2, _ANY),
    (sizes.oversized_result, 0.1, _ANY),
    (slow.slow_query, 3, _ANY),
    (slow.slow_pipeline, 2, _ANY),
    (slow.slow_transaction, 1, _BLOCKS),
    (slow.slow_rows, 1, _ANY),
    (slow.walk_out, 1, _ANY),
    (transactions.transaction, 8, _BLOCKS),
    (transactions.portal_over_syncs, 4, _BLOCKS),
    (transactions.dawdle, 0.2, _BLOCKS),
    (transactions.refused_transaction, 0.5, (STATEMENT,)),
    (sessions.settings_follow, 6, _ANY),
    (sessions.session_state, 3, (SESSION,)),
    (sessions.notification, 3, (SESSION,)),
    (copies.copy_out, 5, _ANY),
    (copies.copy_out_fails, 2, _ANY),
    (copies.copy_in, 10, _ANY),
    (prepared.prepared, 20, _ANY),
    (prepared.prepared_transaction, 6, _BLOCKS),
    (prepared.forget_all, 1, _ANY),
    (prepared.discard_all, 0.7, _ANY),
)
_ENDS_THE_SESSION = (slow.walk_out, transactions.dawdle, transactions.refused_transaction)
_TAKES_LONG = (
    slow.slow_query,
    slow.slow_pipeline,
    slow.slow_transaction,
    slow.slow_rows,
    sizes.oversized_result,
)


@dataclass
class Plan:
    """What a run is to be."""

    seed: int
    host: str
    port: int
    user: str
    defaults: dict[str, str]
    """The tracked parameters of a server that nobody has changed."""
    deadline: float = 30.0
    """Seconds within which every answer has to come."""
    disturbed: bool = True


@dataclass
class Report:
    """What has come of a run."""

    steps: dict[str, int] = field(default_factory=dict)
    queries: int = 0
    sessions: int = 0
    ends: dict[str, int] = field(default_factory=dict)
    """Why sessions ended, other than by themselves."""
    foreign: int = 0
    failures: list[str] = field(default_factory=list)

    def done(self, form: str, queries: int) -> None:
        self.steps[form] = self.steps.get(form, 0) + 1
        self.queries += queries

    def ended(self, why: str) -> None:
        self.ends[why] = self.ends.get(why, 0) + 1


class Actor:
    """One client. `number` and the plan's seed decide all that it does."""

    def __init__(self, number: int, mode: str, plan: Plan, weather: Weather, report: Report) -> None:
        self.number = number
        self.mode = mode
        self.session: Session | None = None
        self._plan = plan
        self._weather = weather
        self._report = report
        self._step = 0
        self._form = "login"
        choices = [
            (form, weight)
            for form, weight, modes in _FORMS
            if mode in modes and (plan.disturbed or form is not slow.walk_out)
        ]
        self._forms = [form for form, _ in choices]
        self._weights = [weight for _, weight in choices]

    async def run(self, stop: asyncio.Event) -> None:
        """Sessions until `stop` is set. Raises Failure, told in full."""
        while not stop.is_set():
            try:
                await self._run_session(stop)
            except Over as end:
                self._report.ended(str(end))
            except Failure as failure:
                raise type(failure)(self._told(failure)) from None
            finally:
                self._leave()

    async def try_everything(self) -> None:
        """Each form that is soon done once, undisturbed, in one session. Raises Failure, told in full."""
        for form in self._forms:
            if form in _ENDS_THE_SESSION or form in _TAKES_LONG:
                continue
            try:
                if self.session is None:
                    self.session = await self._log_in()
                await self._act(form, self.session, disturbed=False)
            except (Over, Failure) as failure:
                raise Failure(self._told(failure)) from None
        self._leave()

    async def _run_session(self, stop: asyncio.Event) -> None:
        self._step += 1
        self._form = "login"
        rng = random.Random(f"{self._plan.seed}/{self.number}/{self._step}")
        session = self.session = await self._log_in(rng)
        self._report.sessions += 1
        longest = 12 if self.mode == SESSION else 60
        if self.mode == SESSION:
            await self._act(_clean_session, session, disturbed=False)
        for _ in range(rng.randint(1, longest)):
            if stop.is_set():
                return
            (form,) = rng.choices(self._forms, self._weights)
            await self._act(form, session, disturbed=self._plan.disturbed)
            if rng.random() < 0.3:
                await asyncio.sleep(rng.uniform(0, 0.05))

    async def _act(self, form: Callable[[Scene], Awaitable[None]], session: Session, disturbed: bool) -> None:
        self._step += 1
        self._form = form.__name__
        session.connection.note(f"step {self._step}: {self._form}")
        scene = Scene(session, self._plan.seed, self._step, self._weather, self._plan.deadline, disturbed)
        try:
            await form(scene)
        except Canceled:
            if not scene.recoverable or scene.rng.random() < 0.3:
                raise Over("canceled") from None
            session.connection.note("recovers")
            await self._recover(scene)
        self._report.done(self._form, scene.tokens)
        session.cancels = [cancel for cancel in session.cancels if cancel.done is None]

    async def _recover(self, scene: Scene) -> None:
        scene.drop = None
        try:
            await scene.recover()
        except Canceled:
            raise Over("canceled") from None

    async def _log_in(self, rng: random.Random | None = None) -> Session:
        """A new connection, logged in. Raises Over where the weather explains that it cannot be."""
        plan, since = self._plan, time.monotonic()
        settings = self._own_settings()
        small = rng is not None and rng.random() < 0.1
        port = 0
        try:
            async with asyncio.timeout(plan.deadline):
                connection = await Connection.open(plan.host, plan.port, 4096 if small else 0)
                port = connection.local_port
                await connection.login(plan.user, DATABASES[self.mode], **settings)
        except TimeoutError:
            raise Failure(f"not logged in within {plan.deadline} s") from None
        except ConnectionLost as error:
            if self._weather.loss_explained(since, port):
                raise await self._later("lost while logging in") from None
            raise Failure(f"connection lost: {error}") from None
        except Refused as error:
            if self._weather.explains(error.fields, since, 0.0, port):
                raise await self._later(str(error)) from None
            raise Failure(f"login refused: {error.fields}") from None
        for name, value in settings.items():
            if connection.parameters.get(name) != value:
                raise Failure(f"welcomed with {connection.parameters} instead of {settings}")
        return Session(connection, self.mode, self.number, settings, plan.defaults, port=port)

    async def _later(self, why: str) -> Over:
        await asyncio.sleep(0.1)
        return Over(why)

    def _own_settings(self) -> dict[str, str]:
        """Some clients have the same ones, so that not every change of clients is a change of settings."""
        return {
            "application_name": f"client {self.number % 5}'s \"\\ name",
            "TimeZone": ("UTC", "Asia/Tokyo", "Europe/Rome")[self.number % 3],
            "DateStyle": ("ISO, MDY", "SQL, DMY")[self.number % 2],
        }

    def _leave(self) -> None:
        if self.session is not None:
            if self._step % 2:
                self.session.connection.terminate()
            else:
                self.session.connection.close()
            self.session = None

    def _told(self, failure: Exception) -> str:
        lines = [
            f"seed {self._plan.seed}, client {self.number} ({self.mode}), step {self._step} ({self._form}): "
            f"{type(failure).__name__}: {failure}"
        ]
        if self.session is not None:
            lines += self.session.connection.history
        return "\n    ".join(lines)


async def _clean_session(scene: Scene) -> None:
    """An earlier session on this server has left nothing behind."""
    sql, replies = sessions.nothing_left_behind()
    await scene.ask_simple(sql, *replies)
