"""Servers that misbehave after login: it costs the client that was on them, and nobody else sees it."""

from __future__ import annotations

import struct
import threading

import pytest

from tests.integration.bad_input.conftest import SESSION_USER
from tests.integration.bad_input.packets import query, rows, with_length
from tests.integration.bad_input.target import Target, wait_until
from tests.support.bouncer import USER
from tests.support.fakeserver import (
    AUTHENTICATION_OK,
    READY,
    READY_IN_TRANSACTION,
    Behaviour,
    FakeConnection,
    FakeServer,
    command_complete,
    data_row,
    error_response,
    parameter_status,
    text_result,
    well_behaved,
)
from tests.support.rawclient import RawClient, message

MEGABYTE = 1024 * 1024
NOTICE = message("N", b"SNOTICE\0C00000\0Mby the way\0\0")
NOTIFICATION = message("A", struct.pack("!I", 1) + b"channel\0payload\0")


def answers_once(*answer: bytes) -> Behaviour:
    """Sends these bytes for its first query and then serves."""

    def behaviour(connection: FakeConnection) -> None:
        connection.login()
        connection.read_message()
        for part in answer:
            connection.send(part)
        connection.serve()

    return behaviour


def answers_and_closes(answer: bytes) -> Behaviour:
    def behaviour(connection: FakeConnection) -> None:
        connection.login()
        connection.read_message()
        connection.send(answer)

    return behaviour


def resets(connection: FakeConnection) -> None:
    connection.login()
    connection.read_message()
    connection.reset()


ENDS: dict[str, Behaviour] = {
    "closes": answers_and_closes(b""),
    "resets": resets,
    "closes in the middle of a header": answers_and_closes(b"D\0\0"),
    "closes in the middle of a row": answers_and_closes(text_result("cut")[:-20]),
    "closes before it is ready": answers_and_closes(text_result("cut")),
    "says that it goes down": answers_and_closes(error_response("57P01", "going down", "FATAL")),
    "fatal error without sqlstate": answers_and_closes(message("E", b"SFATAL\0Mno\0\0")),
    "length 0": answers_once(with_length(b"D", 0, bytes(8))),
    "length 3": answers_once(with_length(b"D", 3, bytes(8))),
    "length 3 of a ready": answers_once(text_result("x") + with_length(b"Z", 3, b"I")),
    "length 2^31": answers_once(with_length(b"D", 2**31, bytes(8))),
    "length 2^32 - 1": answers_once(with_length(b"T", 2**32 - 1, bytes(8))),
    "length 0 behind a result": answers_once(text_result("x") + with_length(b"C", 0, b"x")),
    "garbage": answers_once(b"\xff" * 1000),
    "ready without a status": answers_once(text_result("x") + message("Z")),
    "ready with two": answers_once(text_result("x") + message("Z", b"II")),
    "ready of a megabyte": answers_once(text_result("x") + message("Z", b"I" * MEGABYTE)),
    "parameter of two megabytes": answers_once(parameter_status("TimeZone", "x" * 2 * MEGABYTE)),
    "parameter without an end": answers_once(message("S", b"TimeZone\0UTC") + text_result("x") + READY),
    "parameter without anything": answers_once(message("S") + text_result("x") + READY),
}
"""The connection cannot be used any more, and its client cannot go on."""

ODDITIES: dict[str, bytes] = {
    "error without sqlstate": message("E", b"SERROR\0Mno\0\0") + READY,
    "error without fields": message("E", b"\0") + READY,
    "error without anything": message("E") + READY,
    "error with fields without end": message("E", b"SERROR\0C42601") + READY,
    "error of a megabyte": error_response("42601", "x" * MEGABYTE) + READY,
    "row without a count": message("T", b"\0\1x\0") + message("D") + command_complete("SELECT 1") + READY,
    "row with a false count": message("D", b"\xff\xff" + bytes(20)) + command_complete("SELECT 1") + READY,
    "row in front of its description": data_row("x") + text_result("y") + READY,
    "nothing but ready": READY,
    "unknown messages": message("!", b"what") + message("\0") + text_result("x") + READY,
    "authentication": AUTHENTICATION_OK + text_result("x") + READY,
    "notices and parameters": (NOTICE + parameter_status("TimeZone", "UTC") + NOTIFICATION) * 50 + READY,
    "parameter of half a megabyte": parameter_status("other", "x" * (MEGABYTE // 2)) + READY,
    "parameter that is not utf-8": message("S", b"other\0\xff\xfe\0") + text_result("x") + READY,
}
"""Goes to the client as it came; what it makes of it is its own affair."""

LEFTOVERS: dict[str, bytes] = {
    "row": data_row("unasked"),
    "result": text_result("unasked") + READY,
    "half a row": data_row("unasked")[:9],
    "half a header": b"D\0\0",
    "half a notice": NOTICE[:9],
    "error": error_response("57P01", "going down", "FATAL"),
    "error without sqlstate": message("E", b"SFATAL\0Mno\0\0"),
    "error without fields": message("E", b"\0"),
    "ready": READY,
    "ready in a transaction": READY_IN_TRANSACTION,
    "ready without a status": message("Z"),
    "length 0": with_length(b"D", 0),
    "length 2^31": with_length(b"D", 2**31),
    "garbage": b"\xff" * 1000,
    "parameter without an end": message("S", b"TimeZone\0UTC"),
    "copy": message("G", bytes(3)),
}
"""What a server that was not asked anything must not say."""

REPORTS: dict[str, bytes] = {
    "notification": NOTIFICATION,
    "parameter": parameter_status("other", "value"),
    "notification and parameter": NOTIFICATION + parameter_status("other", "value"),
}
"""What any server may say at any time."""

BAD_RESETS: dict[str, Behaviour | bytes] = {
    "fails": error_response("XX000", "cannot reset") + READY,
    "fails without sqlstate": message("E", b"SERROR\0Mno\0\0") + READY,
    "leaves a transaction open": command_complete("DISCARD ALL") + READY_IN_TRANSACTION,
    "leaves a failed transaction": command_complete("DISCARD ALL") + message("Z", b"E"),
    "ready without a status": command_complete("DISCARD ALL") + message("Z"),
    "length 0": with_length(b"C", 0),
    "length 2^31": with_length(b"C", 2**31),
    "garbage": b"\xff" * 1000,
    "more behind it": command_complete("DISCARD ALL") + READY + text_result("unasked") + READY,
    "half a row behind it": command_complete("DISCARD ALL") + READY + data_row("unasked")[:9],
}


@pytest.mark.parametrize("end", ENDS)
def test_broken_server_costs_its_client_alone(fake_target: Target, fake: FakeServer, end: str) -> None:
    fake.script(well_behaved, ENDS[end])
    dbname = f"end: {end}"
    bystander, client = _two_clients(fake_target, dbname)
    client.send(query("SELECT 'mine'"))
    client.expect_close()
    fake.connection(1).wait_closed()
    _assert_answers(bystander, "bystander", "T")
    bystander.query("COMMIT")
    _assert_pool_serves(fake_target, fake, dbname)


@pytest.mark.parametrize("oddity", ODDITIES)
def test_odd_answer_goes_to_its_client_alone(fake_target: Target, fake: FakeServer, oddity: str) -> None:
    fake.script(well_behaved, answers_once(ODDITIES[oddity]))
    dbname = f"odd: {oddity}"
    bystander, client = _two_clients(fake_target, dbname)
    client.send(query("SELECT 'mine'"))
    assert client.read_bytes(len(ODDITIES[oddity])) == ODDITIES[oddity]
    _assert_answers(client, "in sync")
    _assert_answers(bystander, "bystander", "T")
    bystander.query("COMMIT")
    _assert_pool_serves(fake_target, fake, dbname)


@pytest.mark.parametrize("leftover", LEFTOVERS)
def test_what_an_idle_server_says_reaches_no_client(
    fake_target: Target, fake: FakeServer, leftover: str
) -> None:
    dbname = f"idle: {leftover}"
    client = fake_target.login(dbname)
    _assert_answers(client, "first")
    fake.connection(0).send(LEFTOVERS[leftover])
    fake.connection(0).wait_closed()
    _assert_answers(client, "second")
    _assert_pool_serves(fake_target, fake, dbname)


@pytest.mark.parametrize("leftover", LEFTOVERS)
@pytest.mark.parametrize("stays", [True, False], ids=["client stays", "client leaves"])
def test_what_comes_behind_an_answer_reaches_no_other_client(
    fake_target: Target, fake: FakeServer, leftover: str, stays: bool
) -> None:
    """It comes in one piece with the ReadyForQuery. Its own client may see it, and keep the server."""
    fake.script(answers_once(text_result("mine") + READY + LEFTOVERS[leftover]))
    dbname = f"behind: {leftover} {stays:d}"
    client = fake_target.login(dbname)
    client.send(query("SELECT 'mine'"))
    assert client.read_message()[0] in ("T", "E")
    if stays:
        _assert_pool_serves(fake_target, fake, dbname)
    client.abort()
    _assert_pool_serves(fake_target, fake, dbname)
    fake.connection(0).wait_closed()


@pytest.mark.parametrize("report", REPORTS)
def test_idle_server_that_reports_something_is_kept(
    fake_target: Target, fake: FakeServer, report: str
) -> None:
    dbname = f"report: {report}"
    client = fake_target.login(dbname)
    _assert_answers(client, "first")
    fake.connection(0).send(REPORTS[report])
    for number in range(20):
        _assert_answers(client, f"token {number}")
    assert len(fake.connections) == 1


@pytest.mark.parametrize("how", ["closes", "resets"])
def test_idle_server_that_goes_away_costs_nobody_anything(
    fake_target: Target, fake: FakeServer, how: str
) -> None:
    leave_now = threading.Event()

    def leaves(connection: FakeConnection) -> None:
        connection.login()
        connection.read_message()
        connection.send(text_result("first") + READY)
        leave_now.wait(10.0)
        if how == "resets":
            connection.reset()

    fake.script(leaves)
    client = fake_target.login(f"idle {how}")
    _assert_answers(client, "first")
    leave_now.set()
    wait_until(
        lambda: not [row for row in fake_target.show("SERVERS") if row["database"] == f"idle {how}"],
        "the pooler has seen it go",
    )
    _assert_answers(client, "second")
    _assert_pool_serves(fake_target, fake, f"idle {how}")


def test_half_a_notification_is_not_finished_for_another_client(
    fake_target: Target, fake: FakeServer
) -> None:
    """Its second half comes when somebody else may have the server."""
    fake.script(answers_once(text_result("mine") + READY + NOTIFICATION[:9]))
    client = fake_target.login("half")
    client.send(query("SELECT 'mine'"))
    client.read_until("Z")
    client.abort()
    other = fake_target.login("half")
    _assert_answers(other, "other")
    fake.connection(0).shut_down()
    _assert_answers(other, "other again")


@pytest.mark.parametrize("reset", BAD_RESETS)
def test_server_that_is_not_reset_is_not_used_again(
    fake_target: Target, fake: FakeServer, reset: str
) -> None:
    def behaviour(connection: FakeConnection) -> None:
        answer = BAD_RESETS[reset]
        assert isinstance(answer, bytes)
        connection.login()
        connection.serve({"DISCARD ALL": answer})

    fake.script(behaviour)
    dbname = f"reset: {reset}"
    with fake_target.connect() as client:
        client.startup(SESSION_USER, dbname)
        _assert_answers(client, "first")
    fake.connection(0).wait_closed()
    other = fake_target.connect()
    other.startup(SESSION_USER, dbname)
    _assert_answers(other, "second")


@pytest.mark.parametrize("status", [b"T", b"E", b"?", b"\0"])
def test_server_whose_client_leaves_it_in_a_transaction_is_not_used_again(
    fake_target: Target, fake: FakeServer, status: bytes
) -> None:
    fake.script(answers_once(text_result("mine") + message("Z", status)))
    dbname = f"transaction {status[0]}"
    client = fake_target.login(dbname)
    client.send(query("SELECT 'mine'"))
    client.read_until("Z")
    client.close()
    fake.connection(0).wait_closed()
    _assert_pool_serves(fake_target, fake, dbname)


def test_server_that_never_answers_is_closed_when_its_client_gives_up(
    fake_target: Target, fake: FakeServer
) -> None:
    def silent(connection: FakeConnection) -> None:
        connection.login()
        connection.until_closed()

    fake.script(silent)
    client = fake_target.login("silent")
    client.send(query("SELECT 'never'"))
    client.close()
    fake.connection(0).wait_closed()
    _assert_pool_serves(fake_target, fake, "silent")


def test_server_in_single_bytes_is_understood(fake_target: Target, fake: FakeServer) -> None:
    answer = NOTICE + parameter_status("TimeZone", "UTC") + text_result("slow") + READY
    fake.script(answers_once(*(bytes((byte,)) for byte in answer)))
    client = fake_target.login("single_bytes")
    assert rows(client.query("SELECT 'slow'")) == ["slow"]
    _assert_answers(client, "next")
    assert len(fake.connections) == 1


def _two_clients(target: Target, dbname: str) -> tuple[RawClient, RawClient]:
    """One that holds the first connection in a transaction, and one whose query opens the second."""
    holder = target.login(dbname)
    holder.query("BEGIN")
    return holder, target.login(dbname)


def _assert_answers(client: RawClient, token: str, status: str = "I") -> None:
    answer = client.query(f"SELECT '{token}'")
    assert rows(answer) == [token]
    assert answer[-1] == ("Z", status.encode())
    assert "".join(kind for kind, _ in answer) == "TDCZ"


def _assert_pool_serves(target: Target, fake: FakeServer, dbname: str) -> None:
    for number in range(3):
        client = target.connect()
        client.startup(USER, dbname)
        _assert_answers(client, f"fresh {number}")
    assert fake.errors == []
