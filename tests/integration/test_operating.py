"""Plans and jobs on our own pooler and on a real PgBouncer."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, suppress
from typing import Any

import psycopg
import pytest

from cli.demo.postgres import TemporaryPostgres
from tests.conftest import PgBouncerFactory, PoolerFactory
from tests.integration.clients import DATABASE
from tests.support.bouncer import ADMIN, BouncerProcess
from tui.admin.connection import AdminConnection, connect
from tui.admin.errors import AdminError
from tui.admin.target import parse_target
from tui.operate.actions import BY_VERB
from tui.operate.availability import Rights, Standing, probe_rights, why_not
from tui.operate.jobs import Jobs, JobView, State
from tui.operate.journal import Journal
from tui.operate.leftovers import find_leftovers
from tui.operate.operator import Operator
from tui.operate.outcome import Result
from tui.operate.plan import Plan, carry_out, make_plan
from tui.operate.situation import held
from tui.operate.subject import Subject, row_key

ODD = 'Od"d db'


@pytest.fixture(params=["pooldeck", "pgbouncer"])
def process(request: pytest.FixtureRequest, postgres: TemporaryPostgres) -> BouncerProcess:
    """Transaction mode, one server for each database."""
    start: PoolerFactory | PgBouncerFactory
    start = request.getfixturevalue("pooler" if request.param == "pooldeck" else "pgbouncer")
    where = f"host=127.0.0.1 port={postgres.port} dbname={DATABASE}"
    return start(
        {DATABASE: where, "*": where},
        settings={"pool_mode": "transaction", "default_pool_size": 1, "stats_users": "stats"},
        userlist={"stats": "stats-password"},
    )


class Bench:
    """An operator at a pooler, with jobs."""

    def __init__(self, process: BouncerProcess, connection: AdminConnection) -> None:
        self.process = process
        self.connection = connection
        self.operator = Operator("pool", ADMIN, Journal())
        self.views: list[JobView] = []
        self._changed = asyncio.Event()
        self.jobs = Jobs(self.operator, lambda: dial(process), self._note)

    def _note(self, view: JobView) -> None:
        self.views.append(view)
        self._changed.set()

    async def plan(self, verb: str, subject: Subject, arguments: Mapping[str, str] | None = None) -> Plan:
        return await make_plan(self.connection, BY_VERB[verb], subject, "pool", arguments)

    async def do(self, verb: str, subject: Subject, arguments: Mapping[str, str] | None = None) -> Result:
        (outcome,) = await carry_out(
            self.connection, await self.plan(verb, subject, arguments), self.operator
        )
        return outcome.result

    async def begin(self, verb: str, subject: Subject, arguments: Mapping[str, str] | None = None) -> JobView:
        (view,) = await self.jobs.start(await self.plan(verb, subject, arguments), look_seconds=0.05)
        return view

    async def until(self, condition: Callable[[JobView], bool]) -> JobView:
        async with asyncio.timeout(10):
            while not self.views or not condition(self.views[-1]):
                self._changed.clear()
                await self._changed.wait()
        return self.views[-1]

    async def ended(self, number: int = 1) -> JobView:
        async with asyncio.timeout(10):
            await self.jobs.wait(number)
        return self.jobs.views[number - 1]

    @property
    def results(self) -> list[tuple[str, str]]:
        return [(entry.command, entry.result) for entry in self.operator.journal.entries]


async def dial(process: BouncerProcess, user: str = ADMIN) -> AdminConnection:
    return await connect(parse_target(process.dsn("pgbouncer", user=user), {}))


@pytest.fixture
async def bench(process: BouncerProcess) -> AsyncIterator[Bench]:
    connection = await dial(process)
    yield Bench(process, connection)
    await connection.close()


def busy(process: BouncerProcess, database: str = DATABASE) -> psycopg.Connection[dict[str, Any]]:
    """A client in a transaction: no PAUSE is complete."""
    client = process.connect(database, application_name="holder")
    client.execute("BEGIN")
    return client


async def test_rights_are_found_without_doing_anything(process: BouncerProcess) -> None:
    async with AsyncExitStack() as stack:
        for user, rights in ((ADMIN, Rights.ADMIN), ("stats", Rights.STATS)):
            connection = await dial(process, user)
            stack.push_async_callback(connection.close)
            assert await probe_rights(connection) is rights
    assert "command issued" not in process.log_text()
    assert "admin access needed" not in process.log_text() or "pooler.service.main" in process.program()


async def test_verbs_that_a_pooler_lacks(process: BouncerProcess, bench: Bench) -> None:
    standing = Standing(bench.connection.capabilities)
    for verb, action in BY_VERB.items():
        if not bench.connection.capabilities.has_command(verb):
            assert why_not(action, Subject.pooler(), standing) == f"this pooler has no {verb}"
    if "pooler.service.main" in process.program():
        lacking = [verb for verb in BY_VERB if not bench.connection.capabilities.has_command(verb)]
        assert lacking == []
        for word in ("WAIT_FOR_CLIENTS", "WAIT_FOR_SERVERS", ""):
            assert why_not(BY_VERB["SHUTDOWN"], Subject.pooler(), standing, word) is None


async def test_a_plan_counts_what_will_be_hit(process: BouncerProcess, bench: Bench) -> None:
    with busy(process), busy(process, ODD):
        plan = await bench.plan("KILL", Subject.databases(DATABASE))
        assert plan.effect == ("1 client (1 in a transaction), 1 server",)
        plan = await bench.plan("PAUSE", Subject.pooler())
        assert plan.effect == ("2 clients (2 in a transaction), 2 servers, in all databases",)


async def test_kill_and_resume_of_a_name_that_needs_quotes(process: BouncerProcess, bench: Bench) -> None:
    with busy(process, ODD) as client, process.connect(DATABASE) as other:
        assert await bench.do("KILL", Subject.databases(ODD)) is Result.DONE
        with pytest.raises(psycopg.OperationalError):
            client.execute("SELECT 1")
        # Nobody else was hit.
        other.execute("SELECT 1")
    (leftover,) = await find_leftovers(bench.connection)
    assert leftover.subject == Subject.databases(ODD)
    if bench.connection.capabilities.has_table("AUDIT"):
        assert str(leftover).startswith(f"database {ODD} is paused, ")
        assert f"by {ADMIN} from" in str(leftover)
    assert await bench.do("RESUME", leftover.subject) is Result.DONE
    assert await find_leftovers(bench.connection) == ()
    assert await bench.do("RESUME", Subject.databases(ODD)) is Result.FAILED


async def test_disable_and_enable(process: BouncerProcess, bench: Bench) -> None:
    assert await bench.do("DISABLE", Subject.databases(DATABASE)) is Result.DONE
    with pytest.raises(psycopg.OperationalError):
        process.connect(DATABASE)
    (leftover,) = await find_leftovers(bench.connection)
    assert leftover.state == "disabled"
    assert await bench.do("ENABLE", leftover.subject) is Result.DONE
    process.connect(DATABASE).close()


async def test_reconnect_reload_and_set(bench: Bench) -> None:
    for verb in ("RECONNECT", "RELOAD"):
        assert await bench.do(verb, Subject.pooler()) is Result.DONE
    arguments = {"key": "query_timeout", "value": "77"}
    assert await bench.do("SET", Subject.pooler(), arguments) is Result.DONE
    config = (await bench.connection.rows("SHOW CONFIG")).pairs()
    assert config["query_timeout"] in ("77", "77.0")


async def test_clients_are_killed_by_number(process: BouncerProcess, bench: Bench) -> None:
    if not bench.connection.capabilities.has_command("KILL_CLIENT"):
        standing = Standing(bench.connection.capabilities)
        assert why_not(BY_VERB["KILL_CLIENT"], Subject.clients(1), standing) is not None
        return
    with process.connect(DATABASE, application_name="one") as one, process.connect(DATABASE) as two:
        rows = (await bench.connection.rows("SHOW CLIENTS")).dicts()
        key = next(row_key(row) for row in rows if row["application_name"] == "one")
        plan = await bench.plan("KILL_CLIENT", Subject.clients(key))
        assert (await carry_out(bench.connection, plan, bench.operator))[0].result is Result.DONE
        with pytest.raises(psycopg.OperationalError):
            one.execute("SELECT 1")
        two.execute("SELECT 1")
        assert (await carry_out(bench.connection, plan, bench.operator))[0].result is Result.GONE
        plan = await bench.plan("KILL_CLIENT", Subject.databases(DATABASE))
        assert (await carry_out(bench.connection, plan, bench.operator))[0].result is Result.DONE
        with pytest.raises(psycopg.OperationalError):
            two.execute("SELECT 1")


async def test_all_clients_are_killed_and_the_pooler_lives(process: BouncerProcess, bench: Bench) -> None:
    """A PgBouncer that is told to kill the connection on which it is told so dies."""
    if not bench.connection.capabilities.has_command("KILL_CLIENT"):
        return
    with process.connect(DATABASE) as client:
        keys = [row_key(row) for row in (await bench.connection.rows("SHOW CLIENTS")).dicts()]
        plan = await bench.plan("KILL_CLIENT", Subject.clients(*keys))
        outcomes = await carry_out(bench.connection, plan, bench.operator)
        assert outcomes[0].result is Result.DONE
        with pytest.raises(psycopg.OperationalError):
            client.execute("SELECT 1")
    process.connect(DATABASE).close()
    assert not process.death()


@pytest.mark.parametrize("subject", [Subject.pooler(), Subject.databases(DATABASE)], ids=str)
async def test_a_pause_says_who_holds_it_and_completes(
    process: BouncerProcess, bench: Bench, subject: Subject
) -> None:
    with busy(process) as client:
        await bench.begin("PAUSE", subject)
        view = await bench.until(lambda view: view.holder is not None)
        assert view.text == "1 server still busy"
        assert f"database {DATABASE}" in str(view.holder)
        assert "(holder)" in str(view.holder)
        assert view.can_abort
        client.execute("COMMIT")
        view = await bench.ended()
    assert view.state is State.DONE, view.text
    found = await held(bench.connection)
    assert (found.state, found.paused) == (("active", (DATABASE,)) if subject.keys else ("paused", ()))
    assert [result for _, result in bench.results] == ["started", "done"]


@pytest.mark.parametrize("subject", [Subject.pooler(), Subject.databases(DATABASE)], ids=str)
async def test_a_pause_is_given_up(process: BouncerProcess, bench: Bench, subject: Subject) -> None:
    with busy(process) as client:
        await bench.begin("PAUSE", subject)
        await bench.until(lambda view: view.holder is not None)
        await bench.jobs.abort(1)
        (view,) = bench.jobs.views
        assert view.state is State.ABORTED, view.text
        assert "verified" in view.text
        assert (await find_leftovers(bench.connection)) == ()
        client.execute("COMMIT")
        client.execute("SELECT 1")


async def test_giving_up_one_pause_leaves_another_in_force(process: BouncerProcess, bench: Bench) -> None:
    """A cancel request would be RESUME of everything to a PgBouncer."""
    with busy(process):
        await bench.begin("PAUSE", Subject.databases(DATABASE))
        await bench.until(lambda view: view.holder is not None)
        await bench.begin("PAUSE", Subject.pooler())
        await bench.until(lambda view: view.number == 2 and view.holder is not None)
        await bench.jobs.abort(1)
        assert bench.jobs.views[0].state is State.ABORTED
        assert (await held(bench.connection)).state == "paused"
        await bench.jobs.abort(2)
        assert bench.jobs.views[1].state is State.ABORTED


@pytest.mark.parametrize("subject", [Subject.pooler(), Subject.databases(DATABASE)], ids=str)
async def test_a_pause_that_somebody_else_ends(
    process: BouncerProcess, bench: Bench, subject: Subject
) -> None:
    """PgBouncer never answers such a PAUSE."""
    with busy(process):
        await bench.begin("PAUSE", subject)
        await bench.until(lambda view: view.holder is not None)
        assert await bench.do("RESUME", subject) is Result.DONE
        view = await bench.ended()
    assert view.state is State.FAILED
    assert "ended by" in view.text


async def test_a_suspend_lasts_until_it_is_given_up(process: BouncerProcess, bench: Bench) -> None:
    await bench.begin("SUSPEND", Subject.pooler())
    await bench.until(lambda view: view.state is State.HOLDING)
    # Without STATE only the pause probe tells, which does not know how they differ.
    assert (await held(bench.connection)).state in ("suspended", "paused")
    await bench.jobs.abort(1)
    assert bench.jobs.views[0].state is State.ABORTED, bench.jobs.views[0].text
    assert (await held(bench.connection)).state == "active"


async def test_a_wait_for_servers_to_close(process: BouncerProcess, bench: Bench) -> None:
    with busy(process) as client:
        assert await bench.do("RECONNECT", Subject.databases(DATABASE)) is Result.DONE
        await bench.begin("WAIT_CLOSE", Subject.databases(DATABASE))
        await bench.until(lambda view: view.text == "1 server to be closed")
        client.execute("COMMIT")
        assert (await bench.ended()).state is State.DONE


async def test_a_wait_that_is_given_up(process: BouncerProcess, bench: Bench) -> None:
    with busy(process):
        assert await bench.do("RECONNECT", Subject.databases(DATABASE)) is Result.DONE
        await bench.begin("WAIT_CLOSE", Subject.databases(DATABASE))
        await bench.until(lambda view: view.text == "1 server to be closed")
        await bench.jobs.abort(1)
        assert bench.jobs.views[0].state is State.ABORTED


@pytest.mark.parametrize("subject", [Subject.pooler(), Subject.databases(DATABASE)], ids=str)
async def test_a_pause_after_a_wait(process: BouncerProcess, bench: Bench, subject: Subject) -> None:
    """Once there was a WAIT_CLOSE, PgBouncer soon answers `WAIT_CLOSE` to every PAUSE."""
    await bench.begin("WAIT_CLOSE", Subject.databases(DATABASE))
    assert (await bench.ended()).state is State.DONE
    with busy(process) as client:
        await bench.begin("PAUSE", subject)
        await bench.until(lambda view: len(bench.views) > 15 and view.text == "1 server still busy")
        client.execute("COMMIT")
        assert (await bench.ended(2)).state is State.DONE
        found = await held(bench.connection)
        assert (found.state, found.paused) in (("paused", ()), ("active", (DATABASE,)))
        assert await bench.do("RESUME", subject) is Result.DONE
        client.execute("BEGIN")
        await bench.begin("PAUSE", subject)
        await bench.until(lambda view: len(bench.views) > 40 and view.text == "1 server still busy")
        await bench.jobs.abort(3)
        assert bench.jobs.views[2].state is State.ABORTED, bench.jobs.views[2].text
    assert await find_leftovers(bench.connection) == ()


async def test_a_pooler_that_dies_during_a_pause(process: BouncerProcess, bench: Bench) -> None:
    with suppress(psycopg.OperationalError), busy(process):
        await bench.begin("PAUSE", Subject.pooler())
        await bench.until(lambda view: view.holder is not None)
        process.stop()
        view = await bench.ended()
    assert view.state is State.LOST
    assert "is not known" in view.text


@pytest.mark.parametrize("word", ["WAIT_FOR_CLIENTS", "WAIT_FOR_SERVERS"])
async def test_a_shutdown_that_waits(process: BouncerProcess, bench: Bench, word: str) -> None:
    if why_not(BY_VERB["SHUTDOWN"], Subject.pooler(), Standing(bench.connection.capabilities), word):
        return
    with busy(process) as client:
        await bench.begin("SHUTDOWN", Subject.pooler(), {"variant": word})
        view = await bench.until(lambda view: view.holder is not None)
        assert view.text.startswith("waits for 1 ")
        assert not view.can_abort
        client.execute("COMMIT")
    if word == "WAIT_FOR_CLIENTS":
        view = await bench.until(lambda view: "admin connections are left" in view.text)
        for connection in (bench.connection, bench.jobs._jobs[1][0]._watcher):
            assert connection is not None
            await connection.close()
    view = await bench.ended()
    assert view.state is State.DONE, view.text
    process.wait()


async def test_shutdown_at_once(process: BouncerProcess, bench: Bench) -> None:
    assert await bench.do("SHUTDOWN", Subject.pooler(), {"variant": ""}) is Result.DONE
    process.wait()


async def test_a_question_that_takes_too_long_resumes_nothing(process: BouncerProcess, bench: Bench) -> None:
    """A PgBouncer takes any cancel request of an administrator for RESUME."""
    await bench.begin("PAUSE", Subject.pooler())
    assert (await bench.ended()).state is State.DONE
    # Without TLS a request is on its way at once, and is read when the pooler wakes up.
    target = parse_target(process.dsn("pgbouncer", user=ADMIN) + "?sslmode=disable", {})
    impatient = await connect(target, query_timeout=0.2)
    process.signal(signal.SIGSTOP)
    try:
        with pytest.raises(AdminError, match="no answer within"):
            await impatient.rows("SHOW VERSION")
    finally:
        process.signal(signal.SIGCONT)
    assert (await held(bench.connection)).state == "paused"
