"""A cancel request for a client that is still in line: its wait ends, and it stays."""

from __future__ import annotations

import struct
import threading
from collections.abc import Iterator

import psycopg
import pytest

from cli.demo.postgres import TemporaryPostgres
from tests.conftest import PoolerFactory
from tests.integration.clients import (
    DATABASE,
    Background,
    Connection,
    pool_row,
    value,
    wait_for_pool,
    wait_until,
)
from tests.support.bouncer import USER, PoolerProcess
from tests.support.fakeserver import FakeConnection, FakeServer, text_result
from tests.support.rawclient import RawClient, error_fields, message, startup_message

CANCEL_CODE = 80877102
SYNC = message("S")
FLUSH = message("H")


def _query(sql: str) -> bytes:
    return message("Q", sql.encode() + b"\0")


def _execute(sql: str) -> bytes:
    parse = message("P", b"\0" + sql.encode() + b"\0\0\0")
    return parse + message("B", b"\0\0\0\0\0\0\0\0") + message("E", b"\0\0\0\0\0")


@pytest.fixture
def process(pooler: PoolerFactory) -> PoolerProcess:
    """One server."""
    return pooler(settings={"pool_mode": "transaction", "default_pool_size": 1})


@pytest.fixture
def holder(process: PoolerProcess) -> Iterator[Connection]:
    """Has the server, in a transaction."""
    with process.connect(DATABASE) as connection:
        connection.execute("BEGIN")
        yield connection


class Waiting:
    """A client that is logged in, with its key."""

    def __init__(self, process: PoolerProcess, **parameters: str) -> None:
        self._process = process
        self.client = RawClient(process.host, process.port)
        self.client.send(startup_message(USER, DATABASE, **parameters))
        self._key = dict(self.client.read_until("Z"))["K"]

    def ask(self, data: bytes) -> None:
        """Send, and return when it is in line."""
        self.client.send(data)
        wait_for_pool(self._process, cl_waiting=1)

    def cancel(self) -> None:
        """A CancelRequest, which brings nothing back."""
        with RawClient(self._process.host, self._process.port) as request:
            request.send(struct.pack("!II", 8 + len(self._key), CANCEL_CODE) + self._key)
            assert request.expect_close() == b""

    def expect_cancelled(self) -> None:
        kind, body = self.client.read_message()
        assert kind == "E"
        fields = error_fields(body)
        assert (fields["S"], fields["C"]) == ("ERROR", "57014")
        assert fields["M"] == "canceling statement due to user request"

    def expect_ready(self) -> None:
        assert self.client.read_message() == ("Z", b"I")


@pytest.fixture
def waiting(process: PoolerProcess, holder: Connection) -> Iterator[Waiting]:
    waiting = Waiting(process)
    with waiting.client:
        yield waiting


def test_simple_query(process: PoolerProcess, holder: Connection, waiting: Waiting) -> None:
    waiting.ask(_query("SELECT 1"))
    waiting.cancel()
    waiting.expect_cancelled()
    waiting.expect_ready()
    assert pool_row(process)["cl_waiting"] == 0
    holder.execute("COMMIT")
    assert [kind for kind, _ in waiting.client.query("SELECT 2")] == ["T", "D", "C", "Z"]


def test_it_is_an_error_of_the_pooler_in_show_errors(
    process: PoolerProcess, holder: Connection, waiting: Waiting
) -> None:
    for count in (1, 2):
        waiting.ask(_query("SELECT 1"))
        waiting.cancel()
        waiting.expect_cancelled()
        waiting.expect_ready()
        (row,) = process.admin("SHOW ERRORS")
        assert (row["source"], row["code"], row["count"]) == ("pooler", "57014", count)
        assert row["last_message"] == "canceling statement due to user request"


def test_only_the_first_of_several_queries(
    process: PoolerProcess, holder: Connection, waiting: Waiting
) -> None:
    waiting.ask(_query("SELECT 'first'") + _execute("SELECT 'second'") + SYNC)
    waiting.cancel()
    waiting.expect_cancelled()
    waiting.expect_ready()
    wait_for_pool(process, cl_waiting=1)
    holder.execute("COMMIT")
    answer = waiting.client.read_until("Z")
    assert [kind for kind, _ in answer] == ["1", "2", "D", "C", "Z"]
    assert b"second" in answer[2][1]


def test_extended_query_up_to_its_sync(process: PoolerProcess, holder: Connection, waiting: Waiting) -> None:
    waiting.ask(_execute("SELECT 'first'") + _execute("SELECT 'second'") + SYNC + _query("SELECT 'third'"))
    waiting.cancel()
    waiting.expect_cancelled()
    waiting.expect_ready()
    holder.execute("COMMIT")
    assert b"third" in dict(waiting.client.read_until("Z"))["D"]


def test_extended_query_whose_sync_is_still_to_come(
    process: PoolerProcess, holder: Connection, waiting: Waiting
) -> None:
    waiting.ask(_execute("SELECT 'first'") + FLUSH)
    waiting.cancel()
    waiting.expect_cancelled()
    waiting.client.send(_execute("SELECT 'second'") + SYNC[:3])
    waiting.client.send(SYNC[3:])
    waiting.expect_ready()
    holder.execute("COMMIT")
    assert [kind for kind, _ in waiting.client.query("SELECT 2")] == ["T", "D", "C", "Z"]


def test_query_that_has_not_come_as_a_whole(
    process: PoolerProcess, holder: Connection, waiting: Waiting
) -> None:
    long = _query(f"SELECT length('{'x' * 1_000_000}')")
    waiting.ask(long[:1000])
    waiting.cancel()
    waiting.expect_cancelled()
    waiting.client.send(long[1000:])
    waiting.expect_ready()
    holder.execute("COMMIT")
    assert [kind for kind, _ in waiting.client.query("SELECT 2")] == ["T", "D", "C", "Z"]


def test_client_that_leaves_meanwhile(process: PoolerProcess, holder: Connection, waiting: Waiting) -> None:
    waiting.ask(_execute("SELECT 'first'"))
    waiting.cancel()
    waiting.expect_cancelled()
    waiting.client.send(message("X"))
    waiting.client.expect_close()
    wait_for_pool(process, cl_waiting=0, cl_active=1)


def test_broken_message_behind_it_costs_the_client(
    process: PoolerProcess, holder: Connection, waiting: Waiting
) -> None:
    waiting.ask(_execute("SELECT 'first'") + b"P\0\0\0\0")
    waiting.cancel()
    waiting.expect_cancelled()
    assert waiting.client.expect_error()["M"].startswith("bad packet header")


def test_driver_gets_its_own_exception_and_goes_on(process: PoolerProcess, holder: Connection) -> None:
    with process.connect(DATABASE) as other:
        query = Background(lambda: value(other, "SELECT 1"))
        wait_for_pool(process, cl_waiting=1)
        other.cancel()
        with pytest.raises(psycopg.errors.QueryCanceled):
            query.result()
        holder.execute("COMMIT")
        assert value(other, "SELECT 2") == 2


def test_paused_client_can_be_cancelled(postgres: TemporaryPostgres, process: PoolerProcess) -> None:
    waiting = Waiting(process)
    with waiting.client:
        process.admin("PAUSE")
        waiting.ask(_query("SELECT 1"))
        waiting.cancel()
        waiting.expect_cancelled()
        waiting.expect_ready()
        process.admin("RESUME")
        assert [kind for kind, _ in waiting.client.query("SELECT 2")] == ["T", "D", "C", "Z"]


@pytest.mark.parametrize("mode", ["transaction", "session"])
def test_query_behind_parameters_that_are_being_set(pooler: PoolerFactory, mode: str) -> None:
    """The server has the pooler's SET, not the query; the query is never sent."""
    seen: list[str] = []
    setting = threading.Event()

    def slow_to_set(connection: FakeConnection) -> None:
        connection.login()
        while True:
            kind, body = connection.read_message()
            if kind == "X":
                return
            text = body.rstrip(b"\0").decode()
            seen.append(text)
            if text.startswith("SET"):
                setting.wait(5)
                connection.send(message("C", b"SET\0") + message("Z", b"I"))
            else:
                connection.send(text_result(text) + message("Z", b"I"))

    with FakeServer() as server:
        process = pooler(
            {DATABASE: f"host=127.0.0.1 port={server.port}"},
            settings={"pool_mode": mode, "default_pool_size": 1, "server_reset_query": ""},
        )
        server.script(slow_to_set)
        waiting = Waiting(process, application_name="something else")
        with waiting.client:
            waiting.client.send(_query("SELECT 'never'"))
            wait_until(lambda: seen, "the pooler sets parameters")
            waiting.cancel()
            waiting.expect_cancelled()
            waiting.expect_ready()
            waiting.client.send(_query("SELECT 'later'"))
            setting.set()
            assert b"later" in dict(waiting.client.read_until("Z"))["D"]
        assert [text for text in seen if not text.startswith("SET")] == ["SELECT 'later'"]
        wait_for_pool(process, sv_idle=1, sv_active=0)
