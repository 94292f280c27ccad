"""How jobs end when something goes wrong; the rest is tested on real poolers."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping

from tests.support.fake_admin import TARGET, FakeConnection, FakePooler, database, server, table
from tests.unit.console_operate.conftest import POOLER
from tui.admin.connection import AdminConnection
from tui.admin.errors import AdminError
from tui.admin.table import Reply
from tui.operate.actions import BY_VERB
from tui.operate.jobs import Jobs, JobView, State
from tui.operate.journal import Journal
from tui.operate.operator import Operator
from tui.operate.plan import make_plan
from tui.operate.situation import Count, Holder
from tui.operate.subject import Subject


class Bench:
    """Jobs at a pooler that is made up."""

    def __init__(self, pooler: FakePooler, *, read_only: bool = False) -> None:
        self.pooler = pooler
        self.operator = Operator(POOLER, "ops", Journal(), read_only=read_only)
        self.texts: list[str] = []
        self.jobs = Jobs(self.operator, self.connect, lambda view: self.texts.append(view.text))

    async def connect(self) -> AdminConnection:
        return await self.pooler.connect(TARGET)

    async def begin(
        self, verb: str, subject: Subject, arguments: Mapping[str, str] | None = None
    ) -> tuple[JobView, ...]:
        plan = await make_plan(await self.connect(), BY_VERB[verb], subject, POOLER, arguments)
        return await self.jobs.start(plan, look_seconds=0.001)

    async def ended(self) -> JobView:
        async with asyncio.timeout(10):
            await self.jobs.wait(1)
        return self.jobs.views[0]

    async def seen(self, text: str) -> None:
        async with asyncio.timeout(10):
            while text not in self.texts:
                await asyncio.sleep(0)

    @property
    def results(self) -> list[str]:
        return [entry.result for entry in self.operator.journal.entries]


def paused(pooler: FakePooler, *names: str) -> None:
    pooler.tables["DATABASES"] = table(*(database(name, paused=int(name in names)) for name in ("app", "b")))


async def test_it_is_not_begun_without_a_connection(pooler: FakePooler) -> None:
    bench = Bench(pooler)
    plan = await make_plan(await bench.connect(), BY_VERB["PAUSE"], Subject.pooler(), POOLER)
    pooler.stop()
    await bench.jobs.start(plan)
    view = await bench.ended()
    assert (view.state, view.text) == (State.FAILED, "not begun: connection refused")
    assert bench.results == ["failed"]


async def test_it_is_not_begun_for_a_database_that_has_gone(pooler: FakePooler) -> None:
    bench = Bench(pooler)
    plan = await make_plan(await bench.connect(), BY_VERB["PAUSE"], Subject.databases("app"), POOLER)
    pooler.tables["DATABASES"] = table(database("b"))
    await bench.jobs.start(plan)
    assert (await bench.ended()).text == "not begun: gone already"
    assert pooler.commands == []


async def test_it_is_given_up_before_it_has_begun(pooler: FakePooler) -> None:
    bench = Bench(pooler)
    await bench.begin("PAUSE", Subject.databases("app"))
    await bench.jobs.abort(1)
    assert (bench.jobs.views[0].state, bench.jobs.views[0].text) == (State.ABORTED, "not begun")
    assert pooler.commands == []
    await bench.jobs.abort(1)  # it is over: nothing happens


async def test_read_only_sends_nothing(pooler: FakePooler) -> None:
    bench = Bench(pooler, read_only=True)
    await bench.begin("PAUSE", Subject.databases("app"))
    assert (await bench.ended()).text == "this console is read-only"
    assert pooler.commands == []


async def test_each_database_is_a_job(pooler: FakePooler) -> None:
    bench = Bench(pooler)
    paused(pooler)
    views = await bench.begin("PAUSE", Subject.databases("app", "b"))
    assert [view.title for view in views] == ["Pause: database app", "Pause: database b"]
    assert [await bench.jobs.wait(view.number) for view in views] == [State.DONE, State.DONE]
    assert bench.jobs.running == ()


async def test_a_pooler_that_refuses(pooler: FakePooler) -> None:
    bench = Bench(pooler)
    pooler.refuse("PAUSE", AdminError("already suspended/paused"))
    await bench.begin("PAUSE", Subject.pooler())
    view = await bench.ended()
    assert view.state is State.FAILED
    assert view.text == "already suspended/paused (the whole pooler is paused: RESUME it first)"


class Mixed(FakePooler):
    """A PgBouncer, where all who wait are answered with the tag of what is complete."""

    async def answer(self, sql: str, connection: FakeConnection) -> Reply:
        reply = await super().answer(sql, connection)
        other = {"WAIT_CLOSE": "PAUSE", "PAUSE": "WAIT_CLOSE"}
        return Reply(other.get(reply.tag, reply.tag), reply.table)


async def test_an_answer_that_was_meant_for_another() -> None:
    bench = Bench(Mixed())
    bench.pooler.tables["SERVERS"] = table(server(1, close_needed=1))
    await bench.begin("WAIT_CLOSE", Subject.pooler())
    await bench.seen("1 server to be closed")
    bench.pooler.tables["SERVERS"] = table(server(1))
    assert (await bench.ended()).state is State.DONE


async def test_a_pause_that_is_answered_too_early_and_ended_by_another() -> None:
    bench = Bench(Mixed())
    paused(bench.pooler, "app")
    await bench.begin("PAUSE", Subject.databases("app"))
    await bench.seen("1 server still busy")
    paused(bench.pooler)
    view = await bench.ended()
    assert (view.state, view.text) == (State.FAILED, "PAUSE was ended by RESUME")


async def test_a_pooler_that_is_lost_after_an_answer_that_came_too_early() -> None:
    bench = Bench(Mixed())
    paused(bench.pooler, "app")
    await bench.begin("PAUSE", Subject.databases("app"))
    await bench.seen("1 server still busy")
    bench.pooler.stop()
    view = await bench.ended()
    assert view.state is State.LOST
    assert view.text.endswith("whether it is in force is not known: connection refused")


async def test_it_goes_on_while_it_cannot_be_watched(pooler: FakePooler) -> None:
    bench = Bench(pooler)
    pooler.hold("PAUSE app")
    paused(pooler, "app")
    await bench.begin("PAUSE", Subject.databases("app"))
    pooler.refuse("SHOW POOLS", AdminError("too busy"))
    await bench.seen("cannot be watched: too busy")
    pooler.release("PAUSE app")
    assert (await bench.ended()).state is State.DONE


async def test_a_wait_that_is_lost(pooler: FakePooler) -> None:
    bench = Bench(pooler)
    pooler.hold("WAIT_CLOSE")
    await bench.begin("WAIT_CLOSE", Subject.pooler())
    await bench.seen("0 servers to be closed")
    pooler.drop()
    view = await bench.ended()
    assert (view.state, view.text) == (
        State.LOST,
        "server closed the connection; how it went is not known",
    )


async def test_a_resume_that_cannot_be_verified(pooler: FakePooler) -> None:
    bench = Bench(pooler)
    pooler.hold("PAUSE app")
    paused(pooler, "app")
    await bench.begin("PAUSE", Subject.databases("app"))
    await bench.seen("1 server still busy")
    pooler.refuse("SHOW DATABASES", AdminError("not now"))
    await bench.jobs.abort(1)
    (view,) = bench.jobs.views
    assert (view.state, view.text) == (State.LOST, "RESUME app could not be verified: not now")


async def test_a_shutdown_that_waits_for_clients_of_the_admin_database(pooler: FakePooler) -> None:
    bench = Bench(pooler)
    await bench.begin("SHUTDOWN", Subject.pooler(), {"variant": "WAIT_FOR_CLIENTS"})
    await bench.seen("waits for 3 clients")
    pooler.tables["POOLS"] = table(
        *(row for row in pooler.tables["POOLS"].dicts() if row["user"] == "pgbouncer")
    )
    await bench.seen("only admin connections are left, this console's among them: leave, and it ends")
    assert not bench.jobs.views[0].can_abort
    pooler.stop()
    assert (await bench.ended()).text == "the pooler has ended"
    assert bench.results == ["started", "done", "done"]


def test_words() -> None:
    assert str(Count(1, 0, 1, 1, sessions=True)) == "1 client (1 with a server), 1 server"
    assert str(Holder("client 1", None)) == "client 1"
    view = JobView(1, "Pause", "PAUSE", State.DONE, 10.0, 12.5, "", None, False)
    assert view.elapsed() == view.elapsed(99.0) == 2.5
