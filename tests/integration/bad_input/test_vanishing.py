"""Clients that vanish: whatever they were in the middle of ends with them, on the server too."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from typing import Any

import psycopg
import pytest

from tests.integration.bad_input.packets import (
    BIND,
    COPY_DONE,
    EXECUTE,
    EXECUTE_ONE_ROW,
    FLUSH,
    SYNC,
    TERMINATE,
    assert_in_sync,
    copy_data,
    parse,
    query,
    rows,
)
from tests.integration.bad_input.target import DATABASE, Target, wait_until
from tests.support.bouncer import USER
from tests.support.fakeserver import FakeConnection, FakeServer
from tests.support.rawclient import SSL_REQUEST, RawClient, startup_message

LOCK = 20261120
BLOCKED = f"SELECT pg_advisory_xact_lock({LOCK})"

Situation = Callable[[RawClient], None]


# What it was in the middle of -----------------------------------------------------------------------------


def running_query(client: RawClient) -> None:
    client.send(query(BLOCKED))


def running_extended_query(client: RawClient) -> None:
    client.send(parse(BLOCKED) + BIND + EXECUTE + SYNC)


def many_queries(client: RawClient) -> None:
    client.send(query("SELECT 'one of many'") * 200 + query(BLOCKED))


def open_transaction(client: RawClient) -> None:
    client.query(f"BEGIN; {BLOCKED.replace('lock', 'lock_shared')}")


def failed_transaction(client: RawClient) -> None:
    client.query("BEGIN")
    client.query("SELECT 1/0")


def copy_in(client: RawClient) -> None:
    client.send(query("BEGIN; CREATE TEMP TABLE copied (a text) ON COMMIT DROP; COPY copied FROM STDIN"))
    client.read_until("G")
    client.send(copy_data(b"a row\n") * 1000)


def half_copy_data(client: RawClient) -> None:
    copy_in(client)
    client.send(copy_data(b"half a row" * 1000)[:5000])


def copy_out(client: RawClient) -> None:
    client.send(query("COPY (SELECT repeat('x', 1000) FROM generate_series(1, 50000)) TO STDOUT"))
    client.read_until("d")


def big_result(client: RawClient) -> None:
    client.send(query("SELECT repeat('x', 1000) FROM generate_series(1, 50000)"))
    client.read_until("D")


def half_header(client: RawClient) -> None:
    client.send(query("SELECT 1")[:3])


def header_alone(client: RawClient) -> None:
    client.send(query("SELECT 1")[:5])


def half_query(client: RawClient) -> None:
    client.send(query("SELECT 1, 2, 3")[:-7])


def half_query_behind_a_whole_one(client: RawClient) -> None:
    client.send(query("SELECT 'whole'") + query("SELECT 'half'")[:-7])
    client.read_until("Z")


def half_query_in_a_transaction(client: RawClient) -> None:
    client.query("BEGIN")
    client.send(query("SELECT 1, 2, 3")[:-7])


def half_bind(client: RawClient) -> None:
    client.send(parse("SELECT 1") + FLUSH + BIND[:8])
    client.read_until("1")


def between_parse_and_sync(client: RawClient) -> None:
    client.send(parse("SELECT 1") + FLUSH)
    client.read_until("1")


def parse_alone(client: RawClient) -> None:
    client.send(parse("SELECT 1"))


def between_execute_and_sync(client: RawClient) -> None:
    client.send(parse("CREATE TABLE never_committed ()") + BIND + EXECUTE + FLUSH)
    client.read_until("C")


def suspended_portal(client: RawClient) -> None:
    client.send(parse("SELECT generate_series(1, 1000)") + BIND + EXECUTE_ONE_ROW + FLUSH)
    client.read_until("s")


def error_before_sync(client: RawClient) -> None:
    client.send(parse("SELECT nonsense") + FLUSH)
    client.read_until("E")


SITUATIONS: list[Situation] = [
    running_query,
    running_extended_query,
    many_queries,
    open_transaction,
    failed_transaction,
    copy_in,
    half_copy_data,
    copy_out,
    big_result,
    half_header,
    header_alone,
    half_query,
    half_query_behind_a_whole_one,
    half_query_in_a_transaction,
    half_bind,
    between_parse_and_sync,
    parse_alone,
    between_execute_and_sync,
    suspended_portal,
    error_before_sync,
]


# How it goes ----------------------------------------------------------------------------------------------


def reset(client: RawClient) -> None:
    """A TCP reset."""
    client.abort()


def end(client: RawClient) -> None:
    """A FIN, or a reset if something was left unread."""
    client.close()


def half_close(client: RawClient) -> None:
    """A FIN, from a client that would still read."""
    client.socket.shutdown(socket.SHUT_WR)
    client.expect_close()


def terminate(client: RawClient) -> None:
    """A Terminate message, out of place in the middle of another one."""
    client.send(TERMINATE)
    client.abort()


@pytest.mark.parametrize("situation", SITUATIONS)
@pytest.mark.parametrize("leave", [reset, end, half_close, terminate])
def test_vanished_client_leaves_nothing(
    target: Target, lock: None, situation: Situation, leave: Situation
) -> None:
    client = target.login()
    situation(client)
    leave(client)


@pytest.fixture
def lock(database: psycopg.Connection[Any]) -> Iterator[None]:
    """What BLOCKED waits for, until the test is over."""
    database.execute("SELECT pg_advisory_lock_shared(%s)", [LOCK])
    yield
    database.execute("SELECT pg_advisory_unlock_shared(%s)", [LOCK])


# What the server makes of it ------------------------------------------------------------------------------


@pytest.mark.parametrize("missing", range(1, 7))
@pytest.mark.parametrize("leave", [reset, end])
def test_query_that_was_cut_short_is_not_run(
    target: Target, database: psycopg.Connection[Any], missing: int, leave: Situation
) -> None:
    """What the pooler says to the server next must not be taken for the rest of it."""
    database.execute("DROP TABLE IF EXISTS cut; CREATE TABLE cut (a int)")
    client = target.login()
    client.query("BEGIN")
    pid = rows(client.query("SELECT pg_backend_pid()"))[0]
    client.send(query("INSERT INTO cut VALUES (1); COMMIT; -- the end")[:-missing])
    leave(client)
    wait_until(
        lambda: not database.execute("SELECT FROM pg_stat_activity WHERE pid = %s", [pid]).fetchall(),
        "the server process is gone",
    )
    assert database.execute("SELECT * FROM cut").fetchall() == []


@pytest.mark.parametrize("leave", [reset, end])
def test_copy_that_was_cut_short_is_rolled_back(
    target: Target, database: psycopg.Connection[Any], leave: Situation
) -> None:
    database.execute("DROP TABLE IF EXISTS cut_copy; CREATE TABLE cut_copy (a text)")
    client = target.login()
    client.send(query("COPY cut_copy FROM STDIN"))
    client.read_until("G")
    client.send(copy_data(b"a row\n") * 10 + COPY_DONE[:-1])
    leave(client)
    wait_until(
        lambda: (
            not database.execute(
                "SELECT FROM pg_locks WHERE relation = 'cut_copy'::regclass AND mode = 'RowExclusiveLock'"
            ).fetchall()
        ),
        "the COPY is over",
    )
    assert database.execute("SELECT * FROM cut_copy").fetchall() == []


@pytest.mark.parametrize("leave", [reset, end])
def test_transaction_of_a_vanished_client_is_rolled_back(
    target: Target, database: psycopg.Connection[Any], leave: Situation
) -> None:
    database.execute("DROP TABLE IF EXISTS undone; CREATE TABLE undone (a int)")
    client = target.login()
    client.query("BEGIN; INSERT INTO undone VALUES (1)")
    leave(client)
    wait_until(
        lambda: (
            not database.execute(
                "SELECT FROM pg_locks WHERE relation = 'undone'::regclass AND mode = 'RowExclusiveLock'"
            ).fetchall()
        ),
        "the transaction is over",
    )
    assert database.execute("SELECT * FROM undone").fetchall() == []


# In the queue ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("leave", [reset, end, half_close, terminate])
@pytest.mark.parametrize(
    "sent",
    [
        query("SELECT 'mine'"),
        query("SELECT 'mine'")[:-4],
        parse("SELECT 'mine'"),
        query("BEGIN") + query("SELECT 'mine'"),
    ],
    ids=["query", "half a query", "parse", "transaction"],
)
def test_client_that_vanishes_in_the_queue_does_not_hold_it_up(
    target: Target, sent: bytes, leave: Situation
) -> None:
    holder, waiting, behind = (target.login("narrow") for _ in range(3))
    holder.query("BEGIN")
    waiting.send(sent)
    _wait_for_queue(target, 1)
    behind.send(query("SELECT 'behind'"))
    _wait_for_queue(target, 2)
    leave(waiting)
    _wait_for_queue(target, 1)
    holder.query("COMMIT")
    assert [kind for kind, _ in behind.read_until("Z")] == ["T", "D", "C", "Z"]
    assert_in_sync(holder)


def test_client_that_has_sent_much_vanishes_in_the_queue(target: Target) -> None:
    """Its socket is not read any more, so it is found to be gone when its turn comes."""
    holder, waiting = target.login("narrow"), target.login("narrow")
    holder.query("BEGIN")
    waiting.send(query("SELECT 'mine'") * 20_000)
    _wait_for_queue(target, 1)
    waiting.abort()
    holder.query("COMMIT")
    assert_in_sync(target.login("narrow"))


def test_server_of_the_queue_goes_on_when_its_holder_vanishes(target: Target) -> None:
    holder, waiting = target.login("narrow"), target.login("narrow")
    holder.query("BEGIN")
    waiting.send(query("SELECT 'mine'"))
    _wait_for_queue(target, 1)
    holder.abort()
    assert [kind for kind, _ in waiting.read_until("Z")] == ["T", "D", "C", "Z"]


# During login ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("leave", [reset, end, half_close, terminate])
def test_client_that_vanishes_while_the_first_server_logs_in(
    fake_target: Target, fake: FakeServer, leave: Situation
) -> None:
    """It was let in, but what the server would say to it is not known yet."""
    fake.script(FakeConnection.until_closed)
    client = fake_target.connect()
    client.send(startup_message(USER, "first") + query("SELECT 'ahead'"))
    fake.connection(0)
    leave(client)


@pytest.mark.parametrize("leave", [reset, end, half_close])
@pytest.mark.parametrize("sent", [b"", b"\0", SSL_REQUEST, startup_message(USER, DATABASE)[:12]])
def test_client_that_vanishes_before_it_has_said_who_it_is(
    target: Target, sent: bytes, leave: Situation
) -> None:
    client = target.connect()
    client.send(sent)
    leave(client)


def _wait_for_queue(target: Target, length: int) -> None:
    wait_until(
        lambda: (
            [row["cl_waiting"] for row in target.show("POOLS") if row["database"] == "narrow"]
            == [str(length)]
        ),
        f"{length} clients wait",
    )
