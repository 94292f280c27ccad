"""Cancel requests that are wrong, late, too many, or out of place: they reach the right query or nobody."""

from __future__ import annotations

import threading
from typing import Any, NamedTuple

import psycopg
import pytest

from tests.integration.bad_input.packets import assert_in_sync, cancel_request, query, rows
from tests.integration.bad_input.target import DATABASE, Target, wait_until
from tests.support.bouncer import USER
from tests.support.fakeserver import READY, FakeConnection, FakeServer, text_result
from tests.support.rawclient import GSSENC_REQUEST, SSL_REQUEST, RawClient, error_fields, startup_message

LOCK = 20261121
CANCELED = "57014"


class Victim(NamedTuple):
    """A client, and the key that cancels its queries."""

    client: RawClient
    key: bytes


def log_in(target: Target, dbname: str = DATABASE) -> Victim:
    client = target.connect()
    client.send(startup_message(USER, dbname))
    return Victim(client, dict(client.read_until("Z"))["K"])


@pytest.fixture
def victim(target: Target) -> Victim:
    return log_in(target)


@pytest.fixture
def busy(target: Target, victim: Victim, database: psycopg.Connection[Any]) -> Any:
    """A victim whose query waits for a lock, until the test is over."""
    database.execute("SELECT pg_advisory_lock(%s)", [LOCK])
    victim.client.send(query(f"SELECT pg_advisory_xact_lock({LOCK})"))
    wait_until(
        lambda: database.execute(
            "SELECT FROM pg_locks WHERE locktype = 'advisory' AND objid = %s AND NOT granted", [LOCK]
        ).fetchall(),
        "the query is running",
    )
    yield victim
    database.execute("SELECT pg_advisory_unlock(%s)", [LOCK])


def assert_canceled(client: RawClient) -> None:
    """Its query was canceled, and nothing that comes after it."""
    assert client.expect_error()["C"] == CANCELED
    client.read_until("Z")
    for number in range(5):
        assert_in_sync(client, f"not canceled {number}")


def test_wrong_keys_cancel_nothing(target: Target, busy: Victim, database: psycopg.Connection[Any]) -> None:
    wrong = [bytes(8), b"\xff" * 8, busy.key[:4] + bytes(4), bytes(4) + busy.key[4:], busy.key[::-1]]
    lengths = [busy.key[:7], busy.key + b"\0", busy.key[:4], b"", busy.key * 20, busy.key + bytes(60_000)]
    for key in wrong + lengths:
        request = target.connect()
        request.send(cancel_request(key))
        assert request.expect_close() == b""
    database.execute("SELECT pg_advisory_unlock(%s)", [LOCK])
    assert "D" in dict(busy.client.read_until("Z"))
    assert_in_sync(busy.client)


def test_cancel_request_that_stops_short_cancels_nothing(
    target: Target, busy: Victim, database: psycopg.Connection[Any]
) -> None:
    for sent in (1, 4, 8, 12, 15):
        request = target.connect()
        request.send(cancel_request(busy.key)[:sent])
        request.abort()
    database.execute("SELECT pg_advisory_unlock(%s)", [LOCK])
    assert "D" in dict(busy.client.read_until("Z"))


@pytest.mark.parametrize("request_", [SSL_REQUEST, GSSENC_REQUEST], ids=["ssl", "gss"])
def test_cancel_request_after_an_encryption_request_works(
    target: Target, busy: Victim, request_: bytes
) -> None:
    request = target.connect()
    request.send(request_)
    assert request.read_bytes(1) == b"N"
    request.send(cancel_request(busy.key))
    request.expect_close()
    assert_canceled(busy.client)


def test_many_cancel_requests_for_one_query_cancel_it_once(target: Target, busy: Victim) -> None:
    requests = [target.connect() for _ in range(30)]
    for request in requests:
        request.send(cancel_request(busy.key))
    assert_canceled(busy.client)
    for request in requests:
        request.expect_close()
    assert_in_sync(busy.client)


def test_sender_of_a_cancel_request_need_not_wait(target: Target, busy: Victim) -> None:
    request = target.connect()
    request.send(cancel_request(busy.key))
    request.close()
    assert_canceled(busy.client)


@pytest.mark.parametrize(
    "behind",
    [
        startup_message(USER, DATABASE) + query("SELECT 'never'"),
        SSL_REQUEST,
        b"\xff" * 1000,
        query("SELECT 1"),
    ],
    ids=["startup", "ssl", "garbage", "query"],
)
def test_what_comes_behind_a_cancel_request_is_ignored(target: Target, busy: Victim, behind: bytes) -> None:
    request = target.connect()
    request.send(cancel_request(busy.key) + behind)
    assert request.expect_close() == b""
    assert_canceled(busy.client)


def test_two_cancel_requests_in_one_write_are_one(target: Target, busy: Victim) -> None:
    other = log_in(target)
    other.client.query("BEGIN")
    request = target.connect()
    request.send(cancel_request(busy.key) + cancel_request(other.key))
    request.expect_close()
    assert_canceled(busy.client)
    assert rows(other.client.query("SELECT 'undisturbed'")) == ["undisturbed"]


def test_cancel_request_for_an_idle_client_cancels_nothing(target: Target, victim: Victim) -> None:
    for number in range(20):
        request = target.connect()
        request.send(cancel_request(victim.key))
        assert request.expect_close() == b""
        assert_in_sync(victim.client, f"token {number}")


def test_cancel_requests_for_a_client_that_is_gone_cancel_nothing(target: Target, victim: Victim) -> None:
    victim.client.query("BEGIN")
    victim.client.abort()
    for _ in range(30):
        request = target.connect()
        request.send(cancel_request(victim.key))
        assert request.expect_close() == b""
    assert_in_sync(target.login())


def test_victim_that_vanishes_while_it_is_canceled(target: Target, busy: Victim) -> None:
    request = target.connect()
    request.send(cancel_request(busy.key))
    busy.client.abort()
    request.expect_close()
    assert_in_sync(target.login())


def test_cancel_request_for_a_client_in_the_queue_hits_nobody_else(target: Target) -> None:
    holder, waiting = log_in(target, "narrow"), log_in(target, "narrow")
    holder.client.query("BEGIN")
    waiting.client.send(query("SELECT 'waiting'"))
    request = target.connect()
    request.send(cancel_request(waiting.key))
    request.expect_close()
    assert rows(holder.client.query("SELECT 'holder'")) == ["holder"]
    holder.client.query("COMMIT")
    assert waiting.client.read_message()[0] in ("T", "E")


def test_storm_of_cancel_requests_never_hits_the_next_query(target: Target) -> None:
    """Each query that was not canceled returns its own token, whenever the requests arrive."""
    victim = log_in(target)
    stop = threading.Event()

    def storm() -> None:
        while not stop.is_set():
            with RawClient(target.pooler.host, target.pooler.port) as request:
                request.send(cancel_request(victim.key))
                request.expect_close()

    bystander = target.login()
    threads = [threading.Thread(target=storm) for _ in range(3)]
    for thread in threads:
        thread.start()
    try:
        for number in range(150):
            answer = victim.client.query(f"SELECT '{number}', pg_sleep(0.002)")
            assert rows(answer) == [str(number)] or error_fields(answer[-2][1])["C"] == CANCELED
            assert_in_sync(bystander, f"bystander {number}")
    finally:
        stop.set()
        for thread in threads:
            thread.join()


# A server that takes its time -----------------------------------------------------------------------------


class SlowQuery:
    """A victim of `fake_target` whose cancel request has been sent and hangs, on connections 0 and 1."""

    def __init__(self, target: Target, fake: FakeServer, dbname: str) -> None:
        self._target = target
        self._dbname = dbname
        self._answer_now = threading.Event()
        fake.script(self._slow, FakeConnection.until_closed)
        self._victim = log_in(target, dbname)
        self._victim.client.send(query("SELECT 'slow'"))
        self.wait_for("sv_active", 1)
        target.connect().send(cancel_request(self._victim.key))
        self.wait_for("sv_active_cancel", 1)

    def finish(self) -> None:
        """The query is over, before it could be canceled."""
        self._answer_now.set()
        assert rows(self._victim.client.read_until("Z")) == ["slow"]
        self.wait_for("sv_being_canceled", 1)

    def wait_for(self, counter: str, value: int) -> None:
        wait_until(lambda: _pool(self._target, self._dbname)[counter] == str(value), f"{counter} is {value}")

    def _slow(self, connection: FakeConnection) -> None:
        connection.login()
        connection.read_message()
        self._answer_now.wait(10.0)
        connection.send(text_result("slow") + READY)
        connection.serve()


def test_server_is_not_used_again_before_a_cancel_request_has_arrived(
    fake_target: Target, fake: FakeServer
) -> None:
    slow = SlowQuery(fake_target, fake, "slow_cancel")
    slow.finish()
    assert_in_sync(fake_target.login("slow_cancel"), "on a third connection")
    assert len(fake.connections) == 3
    fake.connection(1).shut_down()
    slow.wait_for("sv_being_canceled", 0)


def test_server_whose_cancel_request_was_given_up_is_not_used_again(
    fake_target: Target, fake: FakeServer
) -> None:
    """The request may still arrive, in the middle of the next client's query."""
    slow = SlowQuery(fake_target, fake, "late_cancel")
    holder, waiting = fake_target.login("late_cancel"), fake_target.login("late_cancel")
    holder.query("BEGIN")
    waiting.send(query("SELECT 'waiting'"))
    slow.wait_for("cl_waiting", 1)
    slow.finish()
    fake.connection(1).wait_closed()
    assert rows(waiting.read_until("Z")) == ["waiting"]
    assert len(fake.connections) == 4, "it was served by the connection that the request was meant for"


def test_cancel_request_that_never_arrives_is_given_up(fake_target: Target, fake: FakeServer) -> None:
    def never_answers(connection: FakeConnection) -> None:
        connection.login()
        connection.until_closed()

    fake.script(never_answers, FakeConnection.until_closed)
    victim = log_in(fake_target, "lost_cancel")
    victim.client.send(query("SELECT 'never answered'"))
    wait_until(lambda: _pool(fake_target, "lost_cancel")["sv_active"] == "1", "the query is running")
    request = fake_target.connect()
    request.send(cancel_request(victim.key))
    request.expect_close()
    fake.connection(1).wait_closed()


def _pool(target: Target, dbname: str) -> dict[str, str]:
    (row,) = [row for row in target.show("POOLS") if row["database"] == dbname]
    return row
