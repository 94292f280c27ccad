"""Servers that fail at login: who waits is told or waits on, and the next connection that behaves serves."""

from __future__ import annotations

import base64
import struct

import pytest

from tests.integration.bad_input.packets import assert_in_sync, query, rows, with_length
from tests.integration.bad_input.target import Target, wait_until
from tests.support.bouncer import USER
from tests.support.fakeserver import (
    AUTHENTICATION_OK,
    KEY_DATA,
    READY,
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
from tests.support.rawclient import RawClient, message, startup_message

MEGABYTE = 1024 * 1024


def authentication(code: int, payload: bytes = b"") -> bytes:
    return message("R", struct.pack("!I", code) + payload)


SASL = authentication(10, b"SCRAM-SHA-256\0\0")


def says(answer: bytes) -> Behaviour:
    """Answers the StartupMessage with these bytes and waits for the pooler to go."""

    def behaviour(connection: FakeConnection) -> None:
        connection.read_startup()
        connection.send(answer)
        connection.until_closed()

    return behaviour


def says_and_closes(answer: bytes) -> Behaviour:
    def behaviour(connection: FakeConnection) -> None:
        connection.read_startup()
        connection.send(answer)

    return behaviour


def says_and_serves(answer: bytes) -> Behaviour:
    def behaviour(connection: FakeConnection) -> None:
        connection.read_startup()
        connection.send(answer)
        connection.serve()

    return behaviour


def scram(server_first: bytes, *more: bytes) -> Behaviour:
    """Asks for SCRAM; NONCE in server-first-message is what the pooler sent. Then come more messages."""

    def behaviour(connection: FakeConnection) -> None:
        connection.read_startup()
        connection.send(SASL)
        _, body = connection.read_message()
        nonce = body.split(b"r=")[-1]
        connection.send(authentication(11, server_first.replace(b"NONCE", nonce)))
        if more:
            connection.read_message()
            connection.send(b"".join(more))
        connection.until_closed()

    return behaviour


def close_at_once(connection: FakeConnection) -> None:
    """Not even the StartupMessage is read."""


SALT = base64.b64encode(bytes(16))

FAILURES: dict[str, dict[str, Behaviour]] = {
    "connection": {
        "closes at once": close_at_once,
        "resets at once": FakeConnection.reset,
        "closes after the startup packet": says_and_closes(b""),
        "closes in the middle of a message": says_and_closes(
            AUTHENTICATION_OK + parameter_status("a", "b")[:7],
        ),
        "closes before it is ready": says_and_closes(AUTHENTICATION_OK + KEY_DATA),
        "never answers": says(b""),
        "never gets ready": says(AUTHENTICATION_OK + KEY_DATA),
    },
    "framing": {
        "half a message": says(AUTHENTICATION_OK[:6]),
        "half a header": says(b"R\0\0"),
        "length 0": says(with_length(b"R", 0, bytes(4))),
        "length 3": says(with_length(b"R", 3, bytes(4))),
        "length 2^31": says(with_length(b"R", 2**31, bytes(4))),
        "length 2^31 - 1": says(with_length(b"R", 2**31 - 1, bytes(4))),
        "length 2^32 - 1": says(with_length(b"E", 2**32 - 1, bytes(4))),
        "garbage": says(b"\xff" * 1000),
        "zeros": says(bytes(1000)),
        "ssh": says(b"SSH-2.0-OpenSSH_9.2\r\n"),
        "http": says(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n"),
    },
    "errors": {
        "error": says_and_closes(error_response("28000", "no", "FATAL")),
        "error without sqlstate": says_and_closes(message("E", b"SFATAL\0Mno\0\0")),
        "error without text": says_and_closes(message("E", b"SFATAL\0C28000\0\0")),
        "error without fields": says_and_closes(message("E", b"\0")),
        "error without anything": says_and_closes(message("E")),
        "error without end": says_and_closes(message("E", b"SFATAL\0C28000")),
        "error with fields without end": says_and_closes(message("E", b"SFATAL\0C28000\0Mno")),
        "error that is not utf-8": says_and_closes(
            message("E", b"SFATAL\0C\xff\xfe\0M\xff\xfe\n\x1b[2J\0\0")
        ),
        "error with sqlstate of a megabyte": says_and_closes(
            message("E", b"SFATAL\0C" + b"9" * MEGABYTE + b"\0Mno\0\0")
        ),
        "error with text of a megabyte": says_and_closes(
            message("E", b"SFATAL\0C28000\0M" + b"x" * MEGABYTE + b"\0\0"),
        ),
        "error that goes on for ever": says(with_length(b"E", 2**30, b"SFATAL\0M" + b"x" * MEGABYTE)),
    },
    "authentication": {
        "authentication without a code": says(message("R", b"\0\0")),
        "authentication unknown": says(authentication(99)),
        "authentication by gssapi": says(authentication(7)),
        "authentication ok twice": says(AUTHENTICATION_OK * 2 + KEY_DATA + READY),
        "ready without authentication": says(READY),
        "ready in front of authentication": says(READY + AUTHENTICATION_OK + KEY_DATA),
        "md5 without a salt": says(authentication(5)),
        "md5 with half a salt": says(authentication(5, b"ab")),
        "md5 twice": says(authentication(5, b"salt") * 2),
        "password, then scram": says(authentication(3) + SASL),
        "sasl without mechanisms": says(authentication(10)),
        "sasl with an unknown mechanism": says(authentication(10, b"SCRAM-SHA-1\0\0")),
        "sasl with mechanisms without end": says(authentication(10, b"SCRAM-SHA-256")),
        "sasl twice": says(SASL * 2),
        "sasl continue first": says(authentication(11, b"r=a,s=b,i=1")),
        "sasl final first": says(authentication(12, b"v=abc")),
        "sasl skipped": says(SASL + AUTHENTICATION_OK + KEY_DATA + READY),
    },
    "scram": {
        "scram with 4 billion iterations": scram(b"r=NONCEx,s=" + SALT + b",i=4294967295"),
        "scram with 2 billion iterations": scram(b"r=NONCEx,s=" + SALT + b",i=2147483647"),
        "scram with 100 million iterations": scram(b"r=NONCEx,s=" + SALT + b",i=100000000"),
        "scram with 0 iterations": scram(b"r=NONCEx,s=" + SALT + b",i=0"),
        "scram with negative iterations": scram(b"r=NONCEx,s=" + SALT + b",i=-1"),
        "scram with iterations without end": scram(b"r=NONCEx,s=" + SALT + b",i=" + b"9" * 5000),
        "scram with somebody else's nonce": scram(b"r=abcdef,s=" + SALT + b",i=4096"),
        "scram with our nonce alone": scram(b"r=NONCE,s=" + SALT + b",i=4096"),
        "scram with a nonce of a megabyte": scram(b"r=NONCE" + b"x" * MEGABYTE + b",s=" + SALT + b",i=4096"),
        "scram with a salt of a megabyte": scram(b"r=NONCEx,s=" + b"A" * MEGABYTE + b",i=4096"),
        "scram with a bad salt": scram(b"r=NONCEx,s=%%%,i=4096"),
        "scram without a challenge": scram(b""),
        "scram with zeros": scram(bytes(100)),
        "scram without a signature": scram(
            b"r=NONCEx,s=" + SALT + b",i=4096", AUTHENTICATION_OK + KEY_DATA + READY
        ),
        "scram with a wrong signature": scram(
            b"r=NONCEx,s=" + SALT + b",i=4096",
            authentication(12, b"v=" + base64.b64encode(bytes(32))) + AUTHENTICATION_OK + KEY_DATA + READY,
        ),
        "scram with a short signature": scram(
            b"r=NONCEx,s=" + SALT + b",i=4096",
            authentication(12, b"v=") + AUTHENTICATION_OK + KEY_DATA + READY,
        ),
    },
    "messages": {
        "key data without a key": says(AUTHENTICATION_OK + message("K") + READY),
        "parameter without a name": says(AUTHENTICATION_OK + message("S") + KEY_DATA + READY),
        "parameter without a value": says(AUTHENTICATION_OK + message("S", b"TimeZone\0") + KEY_DATA + READY),
        "parameter without end": says(AUTHENTICATION_OK + message("S", b"TimeZone\0UTC") + KEY_DATA + READY),
        "unknown message": says(AUTHENTICATION_OK + message("!", b"what") + KEY_DATA + READY),
        "message of type 0": says(AUTHENTICATION_OK + message("\0", b"what") + KEY_DATA + READY),
        "row": says(AUTHENTICATION_OK + KEY_DATA + data_row("unasked") + READY),
        "command complete": says(AUTHENTICATION_OK + KEY_DATA + command_complete("SELECT 1") + READY),
        "copy": says(AUTHENTICATION_OK + KEY_DATA + message("G", bytes(3)) + READY),
        "a protocol that we did not ask for": says(
            message("v", struct.pack("!II", 0, 2**31)) + AUTHENTICATION_OK + KEY_DATA + READY
        ),
    },
}
"""No such login can succeed."""

LEFTOVERS: dict[str, bytes] = {
    "row": data_row("unasked"),
    "result": text_result("unasked") + READY,
    "half a row": data_row("unasked")[:9],
    "half a header": b"D\0\0",
    "error": error_response("57P01", "going down", "FATAL"),
    "ready": READY,
    "authentication ok": AUTHENTICATION_OK,
    "garbage": b"\xff" * 100,
}
"""Comes with the login's ReadyForQuery, behind it."""

ODDITIES: dict[str, bytes] = {
    "long key": AUTHENTICATION_OK + message("K", bytes(260)) + READY,
    "two keys": AUTHENTICATION_OK + KEY_DATA * 2 + READY,
    "no key": AUTHENTICATION_OK + READY,
    "notices": AUTHENTICATION_OK + message("N", b"SNOTICE\0C00000\0Mhello\0\0") * 100 + KEY_DATA + READY,
    "notice without end": AUTHENTICATION_OK + message("N", b"SNOTICE") + KEY_DATA + READY,
    "many parameters": AUTHENTICATION_OK
    + b"".join(parameter_status(f"parameter{number}", "x" * 100) for number in range(2000))
    + KEY_DATA
    + READY,
    "huge parameter": AUTHENTICATION_OK + parameter_status("extra", "x" * MEGABYTE) + KEY_DATA + READY,
    "parameter that is not utf-8": AUTHENTICATION_OK
    + message("S", b"TimeZone\0\xff\xfe\0")
    + KEY_DATA
    + READY,
    "no version negotiation needed": message("v", struct.pack("!II", 0, 0))
    + AUTHENTICATION_OK
    + KEY_DATA
    + READY,
    "ready without a status": AUTHENTICATION_OK + KEY_DATA + message("Z"),
    "ready with much status": AUTHENTICATION_OK + KEY_DATA + message("Z", b"I" * 100),
    "ready with an unknown status": AUTHENTICATION_OK + KEY_DATA + message("Z", b"?"),
}
"""May be taken or not, but has to lead somewhere."""


@pytest.mark.parametrize("group", FAILURES)
def test_failed_login_is_followed_by_one_that_succeeds(
    fake_target: Target, fake: FakeServer, group: str
) -> None:
    """Side by side, each in a pool of its own, since every one of them waits for server_login_retry."""
    failures = FAILURES[group]
    clients = {name: _ask_scripted(fake_target, fake, name, failures[name]) for name in failures}
    outcomes = {name: _outcome(client) for name, client in clients.items()}
    assert set(outcomes.values()) <= {"refused", "served"}, outcomes
    for name in failures:
        _assert_recovered(fake_target, fake, name)
    assert len(fake.connections) >= 2 * len(failures)
    for connection in fake.connections[: len(failures)]:
        connection.wait_closed()


def test_odd_login_succeeds_or_fails(fake_target: Target, fake: FakeServer) -> None:
    clients = {
        name: _ask_scripted(fake_target, fake, name, says_and_serves(oddity))
        for name, oddity in ODDITIES.items()
    }
    outcomes = {name: _outcome(client) for name, client in clients.items()}
    assert set(outcomes.values()) <= {"refused", "served"}, outcomes
    for name in ODDITIES:
        _assert_recovered(fake_target, fake, name)


@pytest.mark.parametrize("leftover", LEFTOVERS)
def test_what_comes_behind_a_login_reaches_no_client(
    fake_target: Target, fake: FakeServer, leftover: str
) -> None:
    """Nobody asked for it, so who knows what else such a server sends."""
    fake.script(says_and_serves(AUTHENTICATION_OK + KEY_DATA + READY + LEFTOVERS[leftover]))
    client = _ask(fake_target, f"behind: {leftover}")
    assert _outcome(client) in ("refused", "served")
    _assert_recovered(fake_target, fake, f"behind: {leftover}")
    fake.connection(0).wait_closed()


def test_server_that_fails_again_and_again_is_not_stormed(fake_target: Target, fake: FakeServer) -> None:
    """server_login_retry holds for a server that closes at once too."""
    fake.script(*[close_at_once] * 3)
    clients = [_ask(fake_target, "again and again") for _ in range(10)]
    for client in clients:
        assert _outcome(client) in ("refused", "served")
    assert len(fake.connections) <= 3 + 3
    _assert_recovered(fake_target, fake, "again and again")


@pytest.mark.parametrize(
    "failure", [close_at_once, says(b""), says(b"\xff" * 100), says(error_response("28000", "no", "FATAL"))]
)
def test_failed_login_costs_no_client_that_has_a_server(
    fake_target: Target, fake: FakeServer, failure: Behaviour, request: pytest.FixtureRequest
) -> None:
    fake.script(well_behaved, failure)
    dbname = f"beside {request.node.callspec.indices['failure']}"
    holder = fake_target.login(dbname)
    holder.query("BEGIN")
    other = _ask(fake_target, dbname)
    fake.connection(1).wait_closed()
    assert_in_sync_with_fake(holder, "T")
    holder.query("COMMIT")
    assert _outcome(other) in ("refused", "served")
    assert_in_sync_with_fake(holder, "I")


def assert_in_sync_with_fake(client: RawClient, status: str) -> None:
    answer = client.query("SELECT 'mine'")
    assert rows(answer) == ["mine"]
    assert answer[-1] == ("Z", status.encode())


def _ask(target: Target, dbname: str) -> RawClient:
    """A new client that has sent its StartupMessage and, ahead of the answer, a query."""
    client = target.connect()
    client.send(startup_message(USER, dbname) + query("SELECT 'token'"))
    return client


def _ask_scripted(target: Target, fake: FakeServer, dbname: str, behaviour: Behaviour) -> RawClient:
    """A new client whose first server behaves like that."""
    number = len(fake.connections)
    fake.script(behaviour)
    client = _ask(target, dbname)
    fake.connection(number)
    return client


def _outcome(client: RawClient) -> str:
    """What became of it: refused with an error, or served with the right rows."""
    answers: list[tuple[str, bytes]] = []
    while [kind for kind, _ in answers].count("Z") < 2:
        answers.append(client.read_message())
        if answers[-1][0] == "E":
            client.expect_close()
            return "refused"
    return "served" if rows(answers) == ["token"] else f"wrong: {answers}"


def _assert_recovered(target: Target, fake: FakeServer, dbname: str) -> None:
    """Soon new clients are served; until then they are told that logins fail."""
    wait_until(lambda: _outcome(_ask(target, dbname)) == "served", "a new client is served")
    for number in range(2):
        assert_in_sync(target.login(dbname), f"recovered {number}")
    assert fake.errors == []
