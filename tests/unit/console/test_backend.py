"""What PostgreSQL says of a server connection: whom to ask, and what the screen makes of the answers."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from typing import Any

import pytest

from tests.support.fake_admin import FakePooler, database, server, table
from tests.unit.console.driving import driven, polled, press, settle, text
from tui.admin.table import Table
from tui.admin.target import Target
from tui.profiles import ServerLogin
from tui.watch.backend import Address, Backend, BackendError, BackendWatch, address_of

REMOTE = Target("pooler.example", "6432", "ops")
LOCAL = Target("/run/postgresql", "6432", "ops")

BUSY = Backend(
    user="web",
    application="shop[1]",
    state="active",
    wait="Lock transactionid",
    query="UPDATE accounts SET token = 'secret'\nWHERE id = 42",
    connected=3600.0,
    in_transaction=41.0,
    since_query=40.0,
    in_state=40.0,
    blocked_by=(77, 78),
    other_port=False,
)


@pytest.mark.parametrize(
    ("pooler", "addr", "host", "asked"),
    [
        (REMOTE, "10.0.0.5", "10.0.0.5", "10.0.0.5"),
        (REMOTE, "10.0.0.5", "db.example", "db.example"),
        (REMOTE, "10.0.0.5", "one,two", "10.0.0.5"),
        (REMOTE, "127.0.0.1", "127.0.0.1", "pooler.example"),
        (REMOTE, "::1", "localhost", "pooler.example"),
        (REMOTE, "unix", "/run/pg", "pooler.example"),
        (LOCAL, "127.0.0.1", "127.0.0.1", "127.0.0.1"),
        (LOCAL, "unix", "/run/pg", "/run/pg"),
        (LOCAL, "unix", None, "/run/postgresql,/var/run/postgresql,/tmp"),
        (LOCAL, "10.0.0.5", None, "10.0.0.5"),
    ],
)
def test_whom_to_ask(pooler: Target, addr: str, host: str | None, asked: str) -> None:
    databases = table(database("other", database="x"), database("app", host=host, database="app_live"))
    found = address_of(server(1, addr=addr, port=5433), databases, pooler)
    port = None if addr == "unix" else 50001
    assert found == Address(asked, 5433, "app_live", "web", 9001, port)


def test_whom_to_ask_about_what_is_in_no_table() -> None:
    assert address_of(server(1, database="gone"), None, REMOTE).database == "gone"
    with pytest.raises(BackendError, match="still logging in"):
        address_of(server(1, remote_pid=0), None, REMOTE)


def test_who_asks() -> None:
    address = address_of(server(1), None, REMOTE)
    assert BackendWatch(address, ServerLogin(user="monitor"), {"PGUSER": "me"}).user == "monitor"
    assert BackendWatch(address, ServerLogin(), {"PGUSER": "me"}).user == "me"
    assert BackendWatch(address, ServerLogin(), {}).user == "web"


class FakeWatch:
    """Answers with what the test says."""

    answer: Backend | BackendError | None = BUSY
    looks = 0
    forgiven = 0
    closed = 0

    def __init__(self, address: Address, login: ServerLogin) -> None:
        self.address = address
        self.user = "web"

    async def look(self) -> Backend | None:
        type(self).looks += 1
        if isinstance(self.answer, BackendError):
            raise self.answer
        return self.answer

    def forgive(self) -> None:
        type(self).forgiven += 1

    async def close(self) -> None:
        type(self).closed += 1


@pytest.fixture
def watch(monkeypatch: pytest.MonkeyPatch) -> type[FakeWatch]:
    fake = type("Watch", (FakeWatch,), {})
    monkeypatch.setattr("tui.screens.backend.BackendWatch", fake)
    return fake


async def seen(watch: type[FakeWatch], *keys: str, pooler: FakePooler | None = None) -> str:
    """The screen after `b` on the first server and more keys."""
    async with driven(pooler or FakePooler()) as (console, pilot):
        await press(pilot, "4")
        await polled(pilot)
        await press(pilot, "down", "b")
        for key in keys:
            await press(pilot, key)
        return text(console)


async def test_what_it_does_is_shown(watch: type[FakeWatch]) -> None:
    shown = await seen(watch)
    for words in (
        "process      9017 of 10.0.0.5:5432/app",
        "application  shop[1]",
        "state        active for 40 s",
        "waits for    Lock transactionid",
        "blocked by   77, 78",
        "transaction  41 s",
    ):
        assert words in shown
    assert watch.closed == 1


async def test_an_old_release_has_no_numbers(watch: type[FakeWatch]) -> None:
    pooler = FakePooler()
    servers = pooler.tables["SERVERS"]
    number = servers.columns.index("id")
    pooler.tables["SERVERS"] = Table(
        servers.columns[:number] + servers.columns[number + 1 :],
        [row[:number] + row[number + 1 :] for row in servers.rows],
    )
    shown = await seen(watch, pooler=pooler)
    assert "Server in PostgreSQL" in shown
    assert "None" not in shown


async def test_texts_and_numbers_are_hidden_until_they_are_wanted(watch: type[FakeWatch]) -> None:
    shown = await seen(watch)
    assert "UPDATE accounts SET token = ?" in shown
    assert "WHERE id = ?" in shown
    assert "secret" not in shown
    assert "token = 'secret'" in await seen(watch, "h")
    assert "secret" not in await seen(watch, "h", "h")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (None, "It has gone."),
        (BackendError("10.0.0.5:5432/app does not answer", final=False), "does not answer"),
        (replace(BUSY, query=None), "web may not see what others do"),
        (replace(BUSY, other_port=True), "or this is another server"),
        (replace(BUSY, state=None, wait=None, in_transaction=None, blocked_by=()), "transaction  none"),
    ],
)
async def test_what_cannot_be_said_is_said(watch: type[FakeWatch], answer: Any, words: str) -> None:
    watch.answer = answer
    assert words in await seen(watch)


async def test_it_asks_again_when_told(watch: type[FakeWatch]) -> None:
    watch.answer = BackendError("refused", final=True)
    await seen(watch, "r")
    assert (watch.looks, watch.forgiven) == (2, 1)


async def test_an_answer_that_comes_too_late(watch: type[FakeWatch], monkeypatch: pytest.MonkeyPatch) -> None:
    asked, answered, shown = threading.Event(), threading.Event(), threading.Event()

    async def look(self: FakeWatch) -> Backend | None:
        asked.set()
        await asyncio.to_thread(answered.wait, 10)
        raise BackendError("the connection is closed", final=False)

    async def close(self: FakeWatch) -> None:
        answered.set()
        await asyncio.to_thread(shown.wait, 10)

    monkeypatch.setattr(watch, "look", look)
    monkeypatch.setattr(watch, "close", close)
    async with driven(FakePooler()) as (console, pilot):
        await press(pilot, "4")
        await polled(pilot)
        await pilot.press("down", "b")
        await asyncio.to_thread(asked.wait, 10)
        leaving = asyncio.create_task(pilot.press("escape"))
        await asyncio.to_thread(answered.wait, 10)
        await console.workers.wait_for_complete()
        shown.set()
        await leaving
        await settle(pilot)
        assert "2 servers" in text(console)


async def test_without_a_server_there_is_nothing_to_ask(watch: type[FakeWatch]) -> None:
    async with driven(FakePooler()) as (console, pilot):
        await press(pilot, "4")
        await press(pilot, "b")
        assert "Put the cursor on a server first" in text(console)
    assert watch.looks == 0


async def test_a_server_that_is_logging_in(watch: type[FakeWatch]) -> None:
    pooler = FakePooler()
    pooler.tables["SERVERS"] = table(server(17, remote_pid=0))
    assert "still logging in" in await seen(watch, "r", "h", pooler=pooler)
    assert watch.looks == 0
