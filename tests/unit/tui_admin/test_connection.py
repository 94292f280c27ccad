"""What every connection does by itself: turns, time limits, cancelling."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import asyncpg
import pytest

from tui.admin import own
from tui.admin.connection import AdminConnection
from tui.admin.errors import AdminError
from tui.admin.table import Reply, Table
from tui.admin.target import Target


class FakeConnection(AdminConnection):
    """`SHOW x` answers at once; `PAUSE` waits for `resumed`."""

    def __init__(self) -> None:
        super().__init__(Target("pool", "6432", "ops"))
        self.sent: list[str] = []
        self.started = asyncio.Event()
        self.resumed = asyncio.Event()
        self.aborted = False

    @property
    def closed(self) -> bool:
        return self.aborted

    async def close(self) -> None:
        self.aborted = True

    async def abort(self) -> None:
        self.aborted = True

    async def _send(self, sql: str) -> Reply:
        self.sent.append(sql)
        if sql != "PAUSE":
            return Reply("SHOW", Table(("n",), [(1,)]))
        self.started.set()
        await self.resumed.wait()
        return Reply("PAUSE")


async def test_a_command_answers_with_its_tag() -> None:
    connection = FakeConnection()
    connection.resumed.set()
    assert await connection.command("PAUSE") == "PAUSE"
    assert list((await connection.rows("SHOW x")).dicts()) == [{"n": 1}]


async def test_rows_of_a_command_without_rows() -> None:
    connection = FakeConnection()
    connection.resumed.set()
    with pytest.raises(AdminError, match="no rows"):
        await connection.rows("PAUSE")


async def test_one_at_a_time() -> None:
    connection = FakeConnection()
    pause = asyncio.create_task(connection.command("PAUSE"))
    await connection.started.wait()
    show = asyncio.create_task(connection.rows("SHOW x"))
    for _ in range(10):  # turns of the loop: more than it takes to send
        await asyncio.sleep(0)
    assert connection.sent == ["PAUSE"]
    connection.resumed.set()
    await asyncio.gather(pause, show)
    assert connection.sent == ["PAUSE", "SHOW x"]


async def test_what_is_cancelled_leaves_the_connection() -> None:
    connection = FakeConnection()
    pause = asyncio.create_task(connection.command("PAUSE"))
    await connection.started.wait()
    connection.cancel()
    with pytest.raises(AdminError, match="was cancelled") as caught:
        await pause
    assert (caught.value.sqlstate, caught.value.lost) == ("57014", False)
    assert len(await connection.rows("SHOW x")) == 1


async def test_nothing_to_cancel() -> None:
    connection = FakeConnection()
    connection.cancel()
    assert len(await connection.rows("SHOW x")) == 1


async def test_a_task_that_is_cancelled_takes_its_command_along() -> None:
    connection = FakeConnection()
    pause = asyncio.create_task(connection.command("PAUSE"))
    await connection.started.wait()
    pause.cancel()
    with pytest.raises(asyncio.CancelledError):
        await pause
    assert len(await connection.rows("SHOW x")) == 1


def test_a_code_that_the_driver_makes_up_is_not_the_poolers() -> None:
    broken = own.admin_error(asyncpg.ConnectionDoesNotExistError("connection was closed"), lost=True)
    assert (broken.message, broken.sqlstate, broken.lost) == ("connection was closed", None, True)


async def reason(target: Target) -> str:
    with pytest.raises(AdminError) as caught:
        await own.open_connection(target, 1)
    assert caught.value.lost
    return caught.value.message


async def test_why_there_is_no_connection(tmp_path: Path) -> None:
    """With the pooler, and the file that is missing: a cron mail has nothing else."""

    async def close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(8)
        writer.close()

    async with await asyncio.start_server(close, "127.0.0.1", 0) as server:
        port = str(server.sockets[0].getsockname()[1])
        target = Target("127.0.0.1", port, "ops")
        assert await reason(target) == f"{target}: the connection was closed before the login"
        tls = {"sslmode": "verify-full", "sslrootcert": "/no/such/ca.pem"}
        assert await reason(replace(target, options=tls)) == f"{target}: /no/such/ca.pem: no such file"
    assert await reason(target) == f"{target}: Connection refused"
    target = Target(str(tmp_path), "6432", "ops")
    assert await reason(target) == f"{target}: there is no such socket"
    target = Target("no-such-host.invalid", "6432", "ops")
    assert (await reason(target)).startswith(f"{target}: ")


async def test_no_answer_in_time_ends_the_connection() -> None:
    connection = FakeConnection()
    with pytest.raises(AdminError, match=r"no answer within 0\.01 s") as caught:
        await connection.command("PAUSE", 0.01)
    assert caught.value.lost
    assert connection.aborted
