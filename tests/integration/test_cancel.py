"""Cancel requests: they reach the query that they are meant for, or nobody."""

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
    wait_for_client,
    wait_for_pool,
    wait_until,
)
from tests.support.bouncer import USER, PoolerProcess
from tests.support.rawclient import RawClient, message, startup_message

CANCEL_CODE = 80877102
ROUNDS = 150


@pytest.fixture
def process(pooler: PoolerFactory) -> PoolerProcess:
    """Transaction mode, two servers."""
    return pooler(settings={"pool_mode": "transaction", "default_pool_size": 2})


@pytest.fixture
def clients(process: PoolerProcess) -> Iterator[tuple[Connection, Connection]]:
    """Two clients that share the servers."""
    with process.connect(DATABASE) as one, process.connect(DATABASE) as two:
        yield one, two


def _sleep(client: Connection, tag: str, seconds: float = 30) -> Background[object]:
    return Background(lambda: value(client, f"SELECT count(pg_sleep({seconds})) /* {tag} */"))


def _wait_running(postgres: TemporaryPostgres, tag: str) -> None:
    running = (
        f"SELECT 1 FROM pg_stat_activity WHERE query LIKE '%/* {tag} */' AND state = 'active'"
        " AND pid <> pg_backend_pid()"
    )
    wait_until(lambda: postgres.sql(running), f"{tag} runs")


def _send_cancel(process: PoolerProcess, key: bytes) -> bytes:
    """A CancelRequest; what comes back, which has to be nothing."""
    with RawClient(process.host, process.port) as request:
        request.send(struct.pack("!II", 8 + len(key), CANCEL_CODE) + key)
        return request.expect_close()


def _keyed_client(process: PoolerProcess) -> tuple[RawClient, bytes]:
    """A client that has logged in, and its cancel key."""
    client = RawClient(process.host, process.port)
    client.send(startup_message(USER, DATABASE))
    welcome = dict(client.read_until("Z"))
    return client, welcome["K"]


def test_only_the_query_that_is_meant_is_cancelled(
    postgres: TemporaryPostgres, process: PoolerProcess, clients: tuple[Connection, Connection]
) -> None:
    one, two = clients
    victim, survivor = _sleep(one, "victim"), _sleep(two, "survivor", 1)
    _wait_running(postgres, "victim")
    _wait_running(postgres, "survivor")
    one.cancel()
    with pytest.raises(psycopg.errors.QueryCanceled):
        victim.result()
    assert survivor.result() == 1
    assert value(one, "SELECT 1") == 1


def test_other_client_of_the_same_servers_can_be_cancelled_too(
    postgres: TemporaryPostgres, process: PoolerProcess, clients: tuple[Connection, Connection]
) -> None:
    for turn, client in enumerate((*clients, *clients)):
        victim = _sleep(client, f"turn {turn}")
        _wait_running(postgres, f"turn {turn}")
        client.cancel()
        with pytest.raises(psycopg.errors.QueryCanceled):
            victim.result()


def test_cancel_works_while_all_servers_are_busy(
    postgres: TemporaryPostgres, process: PoolerProcess, clients: tuple[Connection, Connection]
) -> None:
    one, two = clients
    sleepers = [_sleep(one, "one"), _sleep(two, "two")]
    _wait_running(postgres, "one")
    _wait_running(postgres, "two")
    with process.connect(DATABASE) as third:
        waiting = Background(lambda: value(third, "SELECT 3"))
        wait_for_pool(process, cl_waiting=1)
        two.cancel()
        with pytest.raises(psycopg.errors.QueryCanceled):
            sleepers[1].result()
        assert waiting.result() == 3
        assert sleepers[0].is_alive()
        one.cancel()


def test_cancel_works_when_no_more_clients_are_let_in(
    postgres: TemporaryPostgres, pooler: PoolerFactory
) -> None:
    process = pooler(settings={"max_client_conn": 1})
    with process.connect(DATABASE) as client:
        victim = _sleep(client, "at the limit")
        _wait_running(postgres, "at the limit")
        client.cancel()
        with pytest.raises(psycopg.errors.QueryCanceled):
            victim.result()


def test_cancel_works_while_a_pause_waits_for_the_query(
    postgres: TemporaryPostgres, process: PoolerProcess, clients: tuple[Connection, Connection]
) -> None:
    client, _ = clients
    victim = _sleep(client, "during a pause")
    _wait_running(postgres, "during a pause")
    pausing = Background(lambda: process.admin("PAUSE"))
    process.wait_for_log("PAUSE command issued")
    client.cancel()
    with pytest.raises(psycopg.errors.QueryCanceled):
        victim.result()
    assert pausing.result() == []


def test_cancel_in_a_transaction_leaves_it_failed(
    postgres: TemporaryPostgres, process: PoolerProcess, clients: tuple[Connection, Connection]
) -> None:
    client, _ = clients
    client.execute("BEGIN")
    victim = _sleep(client, "in a transaction")
    _wait_running(postgres, "in a transaction")
    client.cancel()
    with pytest.raises(psycopg.errors.QueryCanceled):
        victim.result()
    with pytest.raises(psycopg.errors.InFailedSqlTransaction):
        client.execute("SELECT 1")
    client.execute("ROLLBACK")
    assert value(client, "SELECT 1") == 1


def test_cancel_of_an_idle_client_reaches_nobody(
    postgres: TemporaryPostgres, process: PoolerProcess, clients: tuple[Connection, Connection]
) -> None:
    idle, busy = clients
    idle.execute("SELECT 1")
    query = _sleep(busy, "busy", 0.7)
    _wait_running(postgres, "busy")
    idle.cancel()
    process.wait_for_log("closing because: cancel request for idle client")
    assert query.result() == 1


def test_cancel_of_a_waiting_client_reaches_nobody_else(
    postgres: TemporaryPostgres, pooler: PoolerFactory
) -> None:
    process = pooler(settings={"pool_mode": "transaction", "default_pool_size": 1})
    with process.connect(DATABASE) as busy, process.connect(DATABASE) as waiting:
        query = _sleep(busy, "busy", 0.7)
        _wait_running(postgres, "busy")
        answer = Background(lambda: value(waiting, "SELECT 2"))
        wait_for_client(process, waiting, "waiting")
        waiting.cancel()
        with pytest.raises(psycopg.errors.QueryCanceled):
            answer.result()
        assert query.result() == 1


def test_cancel_with_an_unknown_key_reaches_nobody(
    postgres: TemporaryPostgres, process: PoolerProcess
) -> None:
    client, key = _keyed_client(process)
    with client:
        client.send(message("Q", b"SELECT pg_sleep(2) -- x\0"))
        _wait_until_active(postgres, "SELECT pg_sleep(2) -- x")
        for wrong in (bytes(8), key[:4] + bytes(4), bytes(4) + key[4:], key[::-1]):
            assert _send_cancel(process, wrong) == b""
        assert [kind for kind, _ in client.read_until("Z")] == ["T", "D", "C", "Z"]


def test_cancel_request_is_answered_by_nothing_but_the_end(
    postgres: TemporaryPostgres, process: PoolerProcess
) -> None:
    client, key = _keyed_client(process)
    with client:
        client.send(message("Q", b"SELECT pg_sleep(40) -- y\0"))
        _wait_until_active(postgres, "SELECT pg_sleep(40) -- y")
        assert _send_cancel(process, key) == b""
        assert client.expect_error()["C"] == "57014"


def _wait_until_active(postgres: TemporaryPostgres, query: str) -> None:
    running = f"SELECT 1 FROM pg_stat_activity WHERE query = '{query}' AND state = 'active'"
    wait_until(lambda: postgres.sql(running), f"{query} runs")


def test_key_is_of_no_use_after_its_client_has_gone(
    postgres: TemporaryPostgres, process: PoolerProcess
) -> None:
    client, key = _keyed_client(process)
    client.query("SELECT 1")
    client.send(message("X"))
    client.expect_close()
    client.close()
    with process.connect(DATABASE) as other:
        query = _sleep(other, "other", 2)
        _wait_running(postgres, "other")
        assert _send_cancel(process, key) == b""
        assert query.result() == 1
    assert "closing because: failed cancel request" in process.log_text()


def test_keys_of_clients_differ_from_each_other_and_from_the_servers(process: PoolerProcess) -> None:
    keys = set()
    for _ in range(5):
        client, key = _keyed_client(process)
        client.close()
        keys.add(key)
    assert len(keys) == 5


class _Bystander(threading.Thread):
    """Asks one query after the other over the same server, none of which may be cancelled."""

    def __init__(self, client: Connection) -> None:
        super().__init__(daemon=True)
        self._client = client
        self.stopped = threading.Event()
        self.error: Exception | None = None
        self.answered = 0

    def run(self) -> None:
        try:
            while not self.stopped.is_set():
                assert value(self._client, f"SELECT {self.answered}") == self.answered
                self.answered += 1
        except Exception as error:
            self.error = error


def test_cancel_that_comes_when_its_query_is_over_hits_nobody(pooler: PoolerFactory) -> None:
    process = pooler(settings={"pool_mode": "transaction", "default_pool_size": 1, "log_connections": 0})
    with process.connect(DATABASE) as other:
        bystander = _Bystander(other)
        bystander.start()
        client, key = _keyed_client(process)
        outcomes = {"answered": 0, "cancelled": 0}
        with client:
            turn = 0
            # A cancel that finds its client in line ends a turn without the server.
            while turn < ROUNDS or (bystander.answered < ROUNDS and bystander.error is None):
                turn += 1
                # The query lasts about as long as the request is under way, now longer, now shorter.
                text = f"SELECT pg_sleep({turn % 8 / 2000})".encode()
                canceling = Background(lambda: _send_cancel(process, key))
                client.send(message("Q", text + b"\0"))
                kinds = [kind for kind, _ in client.read_until("Z")]
                outcomes["cancelled" if "E" in kinds else "answered"] += 1
                assert canceling.result() == b""
        bystander.stopped.set()
        bystander.join()
    assert bystander.error is None
    assert bystander.answered >= ROUNDS
    assert outcomes["answered"] > 0
    wait_until(lambda: pool_row(process)["sv_being_canceled"] == 0, "no cancel request is left")


def test_many_cancels_of_one_query_do_not_hit_the_next(
    postgres: TemporaryPostgres, pooler: PoolerFactory
) -> None:
    process = pooler(settings={"pool_mode": "transaction", "default_pool_size": 1})
    client, key = _keyed_client(process)
    with client, process.connect(DATABASE) as other:
        for turn in range(5):
            text = f"SELECT pg_sleep(30) -- many {turn}".encode()
            client.send(message("Q", text + b"\0"))
            _wait_until_active(postgres, text.decode())
            requests = [Background(lambda: _send_cancel(process, key)) for _ in range(10)]
            assert client.expect_error()["C"] == "57014"
            assert [value(other, f"SELECT {n}") for n in range(10)] == list(range(10))
            assert [request.result() for request in requests] == [b""] * 10
            client.read_until("Z")
