"""Polling: what is asked, how often, and what happens when nobody answers."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from datetime import datetime

import pytest

from tests.support.fake_admin import EPOCH, TARGET, FakePooler
from tui.admin.errors import AdminError
from tui.admin.thread import AdminThread
from tui.watch.clock import Clock
from tui.watch.feed import ALWAYS, Feed
from tui.watch.link import Link, State, delay, is_refusal
from tui.watch.moment import Moment
from tui.watch.watcher import Watcher

NOBODY: frozenset[str] = frozenset()
CLIENTS = frozenset({"CLIENTS"})


class Ticks:
    """Seconds that pass when told, and by `each` whenever somebody looks."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.each = 0.0

    def seconds(self) -> float:
        self.now += self.each
        return self.now

    @property
    def clock(self) -> Clock:
        def now() -> datetime:
            return EPOCH

        return Clock(self.seconds, now)


async def test_a_poll_reads_what_is_always_read_and_what_is_wanted() -> None:
    pooler = FakePooler()
    moment = await Feed(TARGET, pooler.connect, Clock()).poll(CLIENTS)
    assert set(moment.tables) == (set(ALWAYS) | {"CONFIG", "CLIENTS"}) & set(pooler.tables)
    assert moment.version == "pooldeck 0.1.0"
    assert moment.errors == {}


async def test_what_changes_seldom_is_read_seldom() -> None:
    pooler, ticks = FakePooler(), Ticks()
    feed = Feed(TARGET, pooler.connect, ticks.clock)
    for _ in range(3):
        await feed.poll(NOBODY)
        ticks.now += 1
    assert pooler.asked.count("SHOW POOLS") == 3
    assert pooler.asked.count("SHOW CONFIG") == 1
    ticks.now += 30
    await feed.poll(NOBODY)
    assert pooler.asked.count("SHOW CONFIG") == 2


async def test_what_takes_long_is_read_less_often() -> None:
    """A table that takes 0.1 s is read each two seconds."""
    pooler, ticks = FakePooler(), Ticks()
    feed = Feed(TARGET, pooler.connect, ticks.clock)
    ticks.each = 0.1
    first = await feed.poll(CLIENTS)
    ticks.each = 0.0
    ticks.now += 1
    second = await feed.poll(CLIENTS)
    assert second.read_at["CLIENTS"] == first.read_at["CLIENTS"]
    assert second.tables["CLIENTS"] is first.tables["CLIENTS"]
    ticks.now += 1.1
    assert (await feed.poll(CLIENTS)).read_at["CLIENTS"] > first.read_at["CLIENTS"]
    assert pooler.asked.count("SHOW CLIENTS") == 2
    await feed.poll(CLIENTS, at_once=True)
    assert pooler.asked.count("SHOW CLIENTS") == 3


async def test_a_long_line_is_read_less_often_too() -> None:
    pooler, ticks = FakePooler(), Ticks()
    pooler.tables["WAITS"] = pooler.tables["CLIENTS"]
    feed = Feed(TARGET, pooler.connect, ticks.clock)
    ticks.each = 0.1
    await feed.poll(NOBODY)
    ticks.each = 0.0
    ticks.now += 1
    await feed.poll(NOBODY)
    assert (pooler.asked.count("SHOW WAITS"), pooler.asked.count("SHOW POOLS")) == (1, 2)
    ticks.now += 1.1
    await feed.poll(NOBODY)
    assert pooler.asked.count("SHOW WAITS") == 2


async def test_a_table_that_is_refused_costs_no_other() -> None:
    pooler = FakePooler()
    pooler.refuse("SHOW STATS", AdminError("no rights", sqlstate="42501"))
    moment = await Feed(TARGET, pooler.connect, Clock()).poll(NOBODY)
    assert moment.errors == {"STATS": "no rights"}
    assert "STATS" not in moment.tables
    assert "POOLS" in moment.tables


async def test_a_lost_connection_is_opened_again_by_the_next_poll() -> None:
    pooler = FakePooler()
    feed = Feed(TARGET, pooler.connect, Clock())
    await feed.poll(NOBODY)
    pooler.stop()
    with pytest.raises(AdminError):
        await feed.poll(NOBODY)
    pooler.start()
    await feed.poll(NOBODY)
    assert len(pooler.connections) == 2
    await feed.close()
    assert pooler.connections[1].closed


@pytest.fixture
async def thread() -> AsyncIterator[AdminThread]:
    found = AdminThread()
    found.start()
    yield found
    await found.stop()


async def test_work_is_done_on_the_other_thread(thread: AdminThread) -> None:
    async def where() -> str:
        return threading.current_thread().name

    assert await thread.run(where) == "admin"


async def test_what_is_raised_there_is_raised_here(thread: AdminThread) -> None:
    async def fail() -> None:
        raise AdminError("no")

    with pytest.raises(AdminError, match="no"):
        await thread.run(fail)


async def test_who_gives_up_here_ends_it_there(thread: AdminThread) -> None:
    began, ended = threading.Event(), threading.Event()

    async def wait() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    task = asyncio.create_task(thread.run(wait))
    await asyncio.to_thread(began.wait)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await asyncio.to_thread(ended.wait, 5)


async def test_the_end_of_the_thread_ends_what_runs_there() -> None:
    thread = AdminThread()
    thread.start()
    ended = threading.Event()
    began = threading.Event()

    async def wait() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    task = asyncio.create_task(thread.run(wait))
    await asyncio.to_thread(began.wait)
    await thread.stop()
    assert ended.is_set()
    with pytest.raises(asyncio.CancelledError):
        await task


class Seen:
    """A watcher, and what it told."""

    def __init__(self, thread: AdminThread, pooler: FakePooler, interval: float | None, ticks: Ticks) -> None:
        self.links: list[Link] = []
        self.moments: asyncio.Queue[Moment] = asyncio.Queue()
        feed = Feed(TARGET, pooler.connect, ticks.clock)
        self.watcher = Watcher(
            thread,
            feed,
            ticks.clock,
            interval,
            lambda: NOBODY,
            self.moments.put_nowait,
            self.links.append,
        )


async def test_polls_follow_each_other_by_themselves(thread: AdminThread) -> None:
    seen = Seen(thread, FakePooler(), 0.001, Ticks())
    running = asyncio.create_task(seen.watcher.run())
    for _ in range(3):
        await seen.moments.get()
    running.cancel()
    assert [link.state for link in seen.links] == [State.LIVE]


async def test_a_pooler_that_does_not_answer_is_silent(thread: AdminThread) -> None:
    pooler, ticks = FakePooler(), Ticks()
    began = pooler.hold("SHOW POOLS")
    seen = Seen(thread, pooler, None, ticks)
    asking = asyncio.create_task(seen.watcher.refresh())
    await asyncio.to_thread(began.wait)
    ticks.now += 4
    assert seen.watcher.silence == 4
    pooler.release("SHOW POOLS")
    await asking
    assert seen.watcher.silence == 0


async def test_who_looks_elsewhere_does_not_wait_for_the_next_poll(thread: AdminThread) -> None:
    seen = Seen(thread, FakePooler(), 3600, Ticks())
    running = asyncio.create_task(seen.watcher.run())
    await seen.moments.get()
    seen.watcher.look()
    await seen.moments.get()
    running.cancel()


async def test_tries_become_rarer_and_never_end(thread: AdminThread) -> None:
    pooler, ticks = FakePooler(), Ticks()
    pooler.stop()
    seen = Seen(thread, pooler, None, ticks)
    for _ in range(9):
        await seen.watcher.refresh()
    waits = [link.retry_at - ticks.now for link in seen.links if link.retry_at is not None]
    assert waits == [1, 2, 4, 8, 16, 30, 30, 30, 30]
    assert len({link.since for link in seen.links}) == 1
    pooler.start()
    await seen.watcher.refresh()
    assert seen.links[-1].state is State.LIVE
    pooler.stop()
    await seen.watcher.refresh()
    assert seen.links[-1].attempts == 1


async def test_a_refusal_waits_for_somebody_to_say_so(thread: AdminThread) -> None:
    pooler = FakePooler()
    pooler.stop(AdminError("FATAL: not allowed", sqlstate="08P01", lost=True))
    seen = Seen(thread, pooler, 0.001, Ticks())
    refused = asyncio.Event()
    seen.watcher._tell = lambda link: refused.set()
    running = asyncio.create_task(seen.watcher.run())
    await refused.wait()
    seen.watcher.look()
    assert seen.watcher.link.state is State.REFUSED
    assert seen.watcher.link.retry_at is None
    pooler.start()
    await seen.watcher.refresh()
    await seen.moments.get()
    running.cancel()


def test_delays_are_doubled_up_to_half_a_minute() -> None:
    assert [delay(attempts) for attempts in (1, 2, 3, 6, 1000)] == [1, 2, 4, 30, 30]


@pytest.mark.parametrize(
    ("message", "sqlstate", "refused"),
    [
        ("password authentication failed", "28P01", True),
        ("no such user: x", "08P01", True),
        ("not allowed", "08P01", True),
        ("no more connections allowed (max_client_conn)", "08P01", False),
        ("connection refused", None, False),
        ("the pooler is shutting down", "57P01", False),
    ],
)
def test_what_is_a_refusal(message: str, sqlstate: str | None, refused: bool) -> None:
    assert is_refusal(AdminError(message, sqlstate=sqlstate, lost=True)) is refused
