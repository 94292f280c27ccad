"""Peers that do not read: the other side is paused, memory stays flat, and what was held comes back."""

from __future__ import annotations

import socket
import threading
import time
from typing import Any
from uuid import uuid4

import psycopg
import pytest

from tests.integration.bad_input.packets import assert_in_sync, copy_data, query, rows, with_length
from tests.integration.bad_input.target import DATABASE, Target, wait_until
from tests.support.bouncer import USER
from tests.support.fakeserver import FakeConnection, FakeServer
from tests.support.rawclient import RawClient, startup_message

MEGABYTE = 1024 * 1024
SOME_MEMORY = 16 * MEGABYTE
"""What buffers and the allocator may take; what the tests send is many times more."""

FLOOD = 100 * MEGABYTE


class HugeQuery:
    """A query with 300 MB of rows, and what the servers do that run it."""

    def __init__(self, database: psycopg.Connection[Any]) -> None:
        self._database = database
        # Servers remember the last query that they ran, so each test needs its own.
        self._mark = uuid4().hex
        self.sql = f"SELECT /* {self._mark} */ repeat('x', 1000) FROM generate_series(1, 300000)"

    def states(self) -> list[str]:
        """What each server does: what it waits for, `busy`, or `idle` when it is through."""
        found = self._database.execute(
            "SELECT CASE state WHEN 'active' THEN coalesce(wait_event, 'busy') ELSE 'idle' END"
            " FROM pg_stat_activity WHERE position(%s in query) > 0 AND pid <> pg_backend_pid()",
            [self._mark],
        )
        return [state for (state,) in found.fetchall()]

    def wait_until_stuck(self, number: int | None = None) -> None:
        """So many servers wait for somebody to read, and go on waiting; or else nothing moves any more."""
        in_a_row = 0
        deadline = time.monotonic() + 10.0
        while in_a_row < 25:
            states = self.states()
            assert "idle" not in states, "a server got rid of its result although nobody reads it"
            assert time.monotonic() < deadline, f"servers are {states}"
            stuck = set(states) <= {"ClientWrite"} and number in (None, len(states))
            in_a_row = in_a_row + 1 if stuck else 0
            time.sleep(0.02)


@pytest.fixture
def huge(database: psycopg.Connection[Any]) -> HugeQuery:
    return HugeQuery(database)


@pytest.fixture(autouse=True)
def warm(target: Target) -> None:
    """Lets the pooler fetch once what it keeps anyway."""
    with target.login() as client:
        client.query("SELECT repeat('x', 1000) FROM generate_series(1, 10000)")


def test_server_waits_for_a_client_that_never_reads(target: Target, huge: HugeQuery) -> None:
    before = target.resident_bytes()
    clients = [target.login() for _ in range(3)]
    for client in clients:
        client.send(query(huge.sql))
    huge.wait_until_stuck(3)
    assert target.resident_bytes() - before < SOME_MEMORY
    assert_in_sync(target.login())
    for client in clients:
        client.abort()
    wait_until(lambda: set(huge.states()) <= {"idle"}, "the queries are cancelled")
    assert target.resident_bytes() - before < SOME_MEMORY


def test_client_that_reads_late_gets_it_all(target: Target, huge: HugeQuery) -> None:
    client = target.login()
    client.send(query(huge.sql.replace("300000", "50000")))
    huge.wait_until_stuck(1)
    received = 0
    while (kind := client.read_message()[0]) != "Z":
        received += kind == "D"
    assert received == 50_000
    assert_in_sync(client)


def test_second_server_waits_too_for_a_client_that_never_reads(target: Target, huge: HugeQuery) -> None:
    """Small answers fill what it does not read, and let each server go; the next server sends a lot."""
    before = target.resident_bytes()
    client = target.login("narrow")
    client.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    asked = int(_narrow(target, "STATS_TOTALS")["query_count"])
    for number in range(1, 1500):
        # So small that it comes in one piece with the ReadyForQuery behind it.
        client.send(query("SELECT repeat('x', 7000)"))
        if not _is_answered(target, asked + number):
            break
    client.send(query(huge.sql))
    huge.wait_until_stuck()
    assert target.resident_bytes() - before < SOME_MEMORY


def test_client_that_only_sends_is_read_no_further_than_its_answers(target: Target) -> None:
    """And when it starts to read, everything moves on: nobody waits for the other for ever."""
    before = target.resident_bytes()
    client = target.login()
    count, padding = 10_000, "x" * 6000
    queries = b"".join(query(f"SELECT '{number}', '{padding}'") for number in range(count))
    writer = threading.Thread(target=client.send, args=(queries,), daemon=True)
    client.socket.settimeout(20.0)
    writer.start()
    writer.join(1.0)
    assert writer.is_alive(), "all was sent although no answer was read"
    assert target.resident_bytes() - before < SOME_MEMORY
    for number in range(count):
        assert rows(client.read_until("Z")) == [str(number)]
    writer.join()
    assert_in_sync(client)


def test_client_in_the_queue_is_not_read_any_further(target: Target) -> None:
    before = target.resident_bytes()
    holder, waiting = target.login("narrow"), target.login("narrow")
    holder.query("BEGIN")
    assert _flood(waiting, query("SELECT 1") * 10_000) < FLOOD
    assert target.resident_bytes() - before < SOME_MEMORY
    waiting.abort()
    holder.query("COMMIT")


def test_client_that_waits_for_its_welcome_is_not_read_any_further(
    fake_target: Target, fake: FakeServer
) -> None:
    before = fake_target.resident_bytes()
    fake.script(*[FakeConnection.until_closed] * 20)
    client = fake_target.connect()
    client.send(startup_message(USER, "no_welcome"))
    assert _flood(client, query("SELECT 1") * 10_000) < FLOOD
    assert fake_target.resident_bytes() - before < SOME_MEMORY
    client.abort()


def test_client_that_sends_its_password_for_ever_is_refused(password_target: Target) -> None:
    before = password_target.resident_bytes()
    client = password_target.connect()
    client.send(startup_message(USER, DATABASE))
    client.read_message()
    try:
        sent = _flood(client, with_length(b"p", 60_000) + b"x" * 50_000 + b"\0" * 100_000)
    except ConnectionError:
        sent = 0
    assert sent < FLOOD
    assert password_target.resident_bytes() - before < SOME_MEMORY


def test_client_waits_for_a_server_that_never_reads(fake_target: Target, fake: FakeServer) -> None:
    before = fake_target.resident_bytes()
    fake.script(takes_nothing)
    client = fake_target.login("slow_server")
    client.send(query("COPY t FROM STDIN"))
    assert _flood(client, copy_data(b"x" * 1000) * 100) < FLOOD
    assert fake_target.resident_bytes() - before < SOME_MEMORY
    fake.connection(0).shut_down()
    client.expect_close()


def test_killed_connections_that_nobody_reads_are_closed(fake_target: Target, fake: FakeServer) -> None:
    """What they have not taken must not keep descriptors that nobody counts any more."""
    fake.script(takes_nothing)
    client = fake_target.login("killed")
    client.send(query("COPY t FROM STDIN"))
    _flood(client, copy_data(b"x" * 1000) * 100)
    fake_target.pooler.admin("KILL killed")
    fake_target.pooler.admin("RESUME killed")
    fake_target.assert_settles()
    fake.connection(0).shut_down()


def test_killed_client_that_never_reads_is_closed(target: Target, huge: HugeQuery) -> None:
    client = target.login("template1")
    client.send(query(huge.sql))
    huge.wait_until_stuck(1)
    target.pooler.admin("KILL template1")
    target.pooler.admin("RESUME template1")
    target.assert_settles()


def takes_nothing(connection: FakeConnection) -> None:
    """Logs in, reads one message, and then no more."""
    connection.login()
    connection.read_message()
    connection.stopped.wait()


def _is_answered(target: Target, queries: int) -> bool:
    """Whether soon so many queries have been asked in `narrow` and its server is unused again."""
    deadline = time.monotonic() + 0.5
    while (
        int(_narrow(target, "STATS_TOTALS")["query_count"]) < queries
        or _narrow(target, "POOLS")["sv_active"] != "0"
    ):
        if time.monotonic() > deadline:
            return False
    return True


def _narrow(target: Target, what: str) -> dict[str, str]:
    (row,) = [row for row in target.show(what) if row["database"] == "narrow"]
    return row


def _flood(client: RawClient, data: bytes) -> int:
    """Send until nothing is taken for a while; the bytes that were."""
    client.socket.settimeout(0.7)
    sent = 0
    view = memoryview(data)
    while sent < FLOOD:
        try:
            sent += client.socket.send(view[sent % len(data) :])
        except TimeoutError:
            return sent
    return sent
