"""A run of the token test: PostgreSQL, a pooler, clients and a director; at the end all has to be at rest."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass, field

import uvloop

from tests.bench.procfs import resident_bytes
from tests.chaos.actor import DATABASES, Actor, Plan, Report
from tests.chaos.client import Connection
from tests.chaos.copies import SCHEMA
from tests.chaos.director import Director
from tests.chaos.scene import SESSION, STATEMENT, TRANSACTION, Failure, ForeignToken
from tests.chaos.weather import Limits, Weather
from tests.support.bouncer import USER, BouncerProcess, PoolerProcess
from tests.support.postgres import TemporaryPostgres

_LIMITS = Limits(query_wait=5.0, idle_transaction=1.5, query=8.0)
_REST_SECONDS = 15.0
_MEGABYTE = 1024 * 1024
_MEMORY_LIMIT = 400 * _MEGABYTE
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
        log = pooler.log_text()
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

    async def run(self) -> Outcome:
        options = self.options
        defaults = await self._server_defaults()
        plan = Plan(
            options.seed,
            self.pooler.host,
            self.pooler.port,
            USER,
            defaults,
            options.deadline,
            options.disturbed,
        )
        actors = [
            Actor(number, _mode(number), plan, self.weather, self.report) for number in range(options.clients)
        ]
        director = Director(plan, actors, self.weather, self.pooler, self.postgres, options.crashes)
        jobs = [self._watched(actor.run(self.stop)) for actor in actors]
        if options.disturbed:
            jobs.append(self._watched(director.run(self.stop)))
        timer = asyncio.get_running_loop().call_later(options.seconds, self.stop.set)
        await asyncio.gather(*jobs)
        timer.cancel()
        if not self.report.failures:
            await self._watched(self._come_to_rest(director))
        if not self.report.failures:
            await self._watched(self._works_still(plan))
        return Outcome(self._summary(), self.report.failures)

    async def _watched(self, job: object) -> None:
        """A failure anywhere ends the run."""
        try:
            await job  # type: ignore[misc]
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

    async def _come_to_rest(self, director: Director) -> None:
        """Everybody has gone: nothing may be left of them. Raises Failure."""
        deadline = time.monotonic() + _REST_SECONDS
        while True:
            left = await leftovers(director)
            if not left:
                break
            if time.monotonic() > deadline:
                raise Failure(f"not at rest {_REST_SECONDS} s after the last client: {'; '.join(left)}")
            await asyncio.sleep(0.2)
        memory = resident_bytes(self.pooler.pid)
        if memory > _MEMORY_LIMIT:
            raise Failure(f"the pooler has grown to {memory // _MEGABYTE} MB")

    async def _works_still(self, plan: Plan) -> None:
        """Each form once in each mode, now that nothing disturbs. Raises Failure."""
        for mode in DATABASES:
            number = self.options.clients + list(DATABASES).index(mode)
            await Actor(number, mode, plan, Weather(_LIMITS), self.report).try_everything()

    def _summary(self) -> str:
        report, counts = self.report, self.weather.counts
        seconds = time.monotonic() - self.begin
        forms = ", ".join(f"{name} {number}" for name, number in sorted(report.steps.items()))
        ends = ", ".join(f"{why} {number}" for why, number in sorted(report.ends.items()))
        disturbances = ", ".join(f"{what} {number}" for what, number in sorted(counts.items()))
        aborts = sum(number for why, number in report.ends.items() if why.startswith("left by"))
        return (
            f"seed {self.options.seed}: {report.queries} queries of {self.options.clients} clients in "
            f"{seconds:.0f} s over {report.sessions} sessions ({forms}); aborts {aborts}; "
            f"queries canceled {report.canceled}; {disturbances}; sessions ended: {ends}; "
            f"pooler {resident_bytes(self.pooler.pid) // _MEGABYTE} MB; foreign tokens {report.foreign}"
        )


_BUSY_COLUMNS = (
    "cl_active",
    "cl_waiting",
    "cl_active_cancel_req",
    "cl_waiting_cancel_req",
    "sv_active",
    "sv_active_cancel",
    "sv_being_canceled",
    "sv_tested",
    "sv_login",
)


async def leftovers(director: Director) -> list[str]:
    """What the pooler and PostgreSQL still have of clients that are gone, in words."""
    left: list[str] = []
    for pool in await director.admin("SHOW POOLS"):
        if pool["database"] != "pgbouncer":
            left += [
                f"{pool['database']}: {name} {pool[name]}" for name in _BUSY_COLUMNS if pool[name] != "0"
            ]
    lists = {row["list"]: int(row["items"]) for row in await director.admin("SHOW LISTS")}
    if lists["used_clients"] != 1 or lists["login_clients"] != 0:
        left.append(
            f"clients {lists['used_clients']}, of them the asking one, {lists['login_clients']} in login"
        )
    servers = await director.admin("SHOW SERVERS")
    if lists["used_servers"] != len(servers):
        left.append(f"{lists['used_servers']} servers are counted and {len(servers)} shown")
    for database in await director.admin("SHOW DATABASES"):
        if database["name"] == "pgbouncer":
            continue
        shown = sum(row["database"] == database["name"] for row in servers)
        if int(database["current_connections"]) != shown:
            left.append(f"{database['name']}: {database['current_connections']} connections, {shown} servers")
        if database["current_client_connections"] != "0":
            left.append(f"{database['name']}: {database['current_client_connections']} client connections")
    backends = await director.server(
        "SELECT state FROM pg_stat_activity WHERE backend_type = 'client backend'"
        " AND pid <> pg_backend_pid() AND application_name <> 'director'"
    )
    if len(backends) != len(servers):
        left.append(f"{len(backends)} backends for {len(servers)} servers")
    left += [f"a backend is {row['state']}" for row in backends if row["state"] != "idle"]
    return left


def _around_traceback(log: str) -> str:
    start = log.index("Traceback (most recent call last)")
    return log[max(0, start - 500) : start + 3000]
