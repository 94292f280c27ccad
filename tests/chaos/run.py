"""A run of the token test: PostgreSQL, a pooler, clients, disturbances; at the end all has to be at rest."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass, field

import uvloop

from tests.bench.procfs import resident_bytes
from tests.chaos.actor import DATABASES, Actor, Plan, Report
from tests.chaos.cancels import Canceler
from tests.chaos.client import Connection
from tests.chaos.console import Console
from tests.chaos.copies import SCHEMA
from tests.chaos.director import Director
from tests.chaos.processes import open_files, peak_bytes
from tests.chaos.rest import leftovers
from tests.chaos.scene import SESSION, STATEMENT, TRANSACTION, Failure, ForeignToken
from tests.chaos.storms import Storms
from tests.chaos.summary import missing_kinds, summary
from tests.chaos.weather import Limits, Weather
from tests.support.bouncer import USER, BouncerProcess, PoolerProcess
from tests.support.postgres import TemporaryPostgres

_LIMITS = Limits(query_wait=5.0, idle_transaction=1.5, query=8.0)
_REST_SECONDS = 15.0
_MEGABYTE = 1024 * 1024
_MOST_GROWTH = 32 * _MEGABYTE
"""Whatever clients do not read, or send while nobody takes it, has to wait outside of the pooler."""
_MOST_FAILURES = 5

MakePooler = Callable[..., BouncerProcess]


@dataclass
class Options:
    """What is asked for on the command line."""

    seed: int
    seconds: float
    clients: int
    deadline: float = 30.0
    crashes: bool = False
    """kill -9 of backends and restarts of PostgreSQL as well."""
    disturbed: bool = True

    @property
    def complete(self) -> bool:
        """Long enough for every kind of disturbance to happen."""
        return self.disturbed and self.crashes and self.seconds >= 60 and self.clients >= 50


@dataclass
class Outcome:
    """How a run went; `failures` is empty if nothing was wrong."""

    summary: str
    failures: list[str] = field(default_factory=list)


def run(options: Options, make_pooler: MakePooler = PoolerProcess) -> Outcome:
    """One run from beginning to end."""
    with ExitStack() as stack:
        postgres = stack.enter_context(TemporaryPostgres())
        postgres.sql(SCHEMA)
        pooler = make_pooler(_databases(postgres.port, options.clients), settings=_settings())
        stack.enter_context(pooler)
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            outcome = runner.run(_Run(options, postgres, pooler).run())
        log, death = pooler.log_text(), pooler.death()
    if death:
        outcome.failures.insert(0, death)
    if "Traceback (most recent call last)" in log:
        outcome.failures.append("a traceback in the pooler's log:\n" + _around_traceback(log))
    return outcome


def _databases(port: int, clients: int) -> dict[str, str]:
    server = f"host=127.0.0.1 port={port} dbname=postgres"
    sizes = {
        TRANSACTION: max(3, clients // 8),
        SESSION: max(2, clients // 10),
        STATEMENT: max(2, clients // 20),
    }
    return {DATABASES[mode]: f"{server} pool_mode={mode} pool_size={size}" for mode, size in sizes.items()}


def _settings() -> dict[str, object]:
    return {
        "max_client_conn": 2000,
        "query_wait_timeout": _LIMITS.query_wait,
        "idle_transaction_timeout": _LIMITS.idle_transaction,
        "query_timeout": _LIMITS.query,
        "cancel_wait_timeout": 5,
        "server_login_retry": 0.2,
        "server_lifetime": 3,
        "server_check_delay": 1,
        "max_prepared_statements": 5,
        "log_connections": 0,
    }


def _mode(number: int) -> str:
    """Most clients are in transaction mode."""
    return (*[TRANSACTION] * 7, SESSION, SESSION, STATEMENT)[number % 10]


class _Run:
    def __init__(self, options: Options, postgres: TemporaryPostgres, pooler: BouncerProcess) -> None:
        self.options = options
        self.postgres = postgres
        self.pooler = pooler
        self.weather = Weather(_LIMITS)
        self.report = Report()
        self.stop = asyncio.Event()
        self.begin = time.monotonic()
        self.idle_bytes = resident_bytes(pooler.pid)

    async def run(self) -> Outcome:
        options = self.options
        plan = Plan(
            options.seed,
            self.pooler.host,
            self.pooler.port,
            USER,
            await self._server_defaults(),
            options.deadline,
            options.disturbed,
        )
        actors = [
            Actor(number, _mode(number), plan, self.weather, self.report) for number in range(options.clients)
        ]
        console = Console(plan.host, plan.port, plan.deadline)
        director = Director(plan.seed, self.weather, self.pooler, console)
        canceler = Canceler(plan, actors, self.weather, console)
        storms = Storms(plan.seed, self.weather, self.postgres)
        files = open_files(self.pooler.pid)
        jobs = [self.weather.watch_clock(self.stop), *(actor.run(self.stop) for actor in actors)]
        if options.disturbed:
            jobs += [director.run(self.stop), canceler.run(self.stop), storms.end_backends(self.stop)]
        if options.crashes:
            jobs.append(storms.crash(self.stop, options.seconds))
        timer = asyncio.get_running_loop().call_later(options.seconds, self.stop.set)
        await asyncio.gather(*map(self._watched, jobs))
        timer.cancel()
        if not self.report.failures:
            await self._watched(self._come_to_rest(console, storms, files))
        if not self.report.failures:
            await self._watched(self._works_still(plan))
        return self._outcome()

    async def _watched(self, job: Awaitable[None]) -> None:
        """A failure anywhere ends the run."""
        try:
            await job
        except Failure as failure:
            self.report.foreign += isinstance(failure, ForeignToken)
            if len(self.report.failures) < _MOST_FAILURES:
                self.report.failures.append(str(failure))
            self.stop.set()

    async def _server_defaults(self) -> dict[str, str]:
        connection = await Connection.open("127.0.0.1", self.postgres.port)
        await connection.login(USER, "postgres")
        connection.terminate()
        return {name: connection.parameters[name] for name in ("application_name", "TimeZone", "DateStyle")}

    # The end -----------------------------------------------------------------------------------------------

    async def _come_to_rest(self, console: Console, storms: Storms, files: int) -> None:
        """Everybody has gone: nothing may be left of them. Raises Failure."""
        deadline = time.monotonic() + _REST_SECONDS
        while left := await leftovers(console, storms, self.pooler.pid, files):
            if time.monotonic() > deadline:
                raise Failure(f"not at rest {_REST_SECONDS} s after the last client: {'; '.join(left)}")
            await asyncio.sleep(0.2)
        growth = peak_bytes(self.pooler.pid) - self.idle_bytes
        if growth > _MOST_GROWTH:
            raise Failure(f"the pooler has grown by {growth // _MEGABYTE} MB")

    async def _works_still(self, plan: Plan) -> None:
        """Each form once in each mode, now that nothing disturbs. Raises Failure."""
        for mode in DATABASES:
            number = self.options.clients + list(DATABASES).index(mode)
            await Actor(number, mode, plan, Weather(_LIMITS), self.report).try_everything()

    def _outcome(self) -> Outcome:
        failures, counts = self.report.failures, self.weather.counts
        if not failures and self.options.complete and (missing := missing_kinds(counts)):
            failures.append(f"what the run is for has not happened: {', '.join(missing)}")
        begin = (
            f"seed {self.options.seed}, {self.options.clients} clients, "
            f"{time.monotonic() - self.begin:.0f} s (late by {self.weather.latest:.1f} s), {self._memory()}"
        )
        return Outcome(f"{begin}\n{summary(self.report, counts)}", failures)

    def _memory(self) -> str:
        if self.pooler.death():
            return "pooler dead"
        now, peak = resident_bytes(self.pooler.pid), peak_bytes(self.pooler.pid)
        return f"pooler {now // _MEGABYTE} MB, at most {peak // _MEGABYTE} MB"


def _around_traceback(log: str) -> str:
    start = log.index("Traceback (most recent call last)")
    return log[max(0, start - 500) : start + 3000]
