"""Login: the same requests, the same errors, the same welcome."""

from __future__ import annotations

import struct
from typing import Any

import psycopg
import pytest

from tests.conformance.conftest import Pair
from tests.support.bouncer import ADMIN, ADMIN_PASSWORD, USER, USER_PASSWORD, BouncerProcess
from tests.support.rawclient import (
    GSSENC_REQUEST,
    SSL_REQUEST,
    RawClient,
    error_fields,
    message,
    startup_message,
)

# What each is answered with is a FATAL error and the end of the connection.
STARTUPS = {
    "unknown user": startup_message("nobody_knows", "postgres"),
    "unknown database": startup_message(USER, "unknown"),
    "unknown database and user": startup_message("nobody_knows", "unknown"),
    "console for a stranger": startup_message("stranger", "pgbouncer"),
    "console for nobody": startup_message("nobody_knows", "pgbouncer"),
    "parameter that is not tracked": startup_message(USER, "postgres", work_mem="1MB"),
    "protocol 2": struct.pack("!II", 8, 2 << 16),
    "length of nothing": struct.pack("!II", 0, 3 << 16),
    "length beyond all limits": struct.pack("!II", 0x7FFFFFFF, 3 << 16),
    "password before the start": message("p", b"x\0"),
    "bytes behind the TLS request": SSL_REQUEST + b"x" * 20,
    "bytes behind the GSSAPI request": GSSENC_REQUEST + b"x" * 20,
}


def _outcome(process: BouncerProcess, sent: bytes) -> list[tuple[str, Any]]:
    """Error fields and kinds of what comes, up to the end of the connection."""
    with RawClient(process.host, process.port) as client:
        client.send(sent)
        found: list[tuple[str, Any]] = []
        try:
            while True:
                kind, body = client.read_message()
                found.append((kind, error_fields(body) if kind == "E" else None))
        except (EOFError, ConnectionError):
            return found


@pytest.mark.parametrize("mistake", STARTUPS)
def test_mistake_is_refused_alike(pair: Pair, mistake: str) -> None:
    theirs = _outcome(pair.theirs, STARTUPS[mistake])
    assert theirs != []
    assert _outcome(pair.ours, STARTUPS[mistake]) == theirs


def test_error_of_the_server_is_passed_on_alike(pair: Pair) -> None:
    # The SQLSTATE is passed on too by newer versions alone.
    texts = []
    for process in pair:
        with RawClient(process.host, process.port) as client:
            client.send(startup_message(USER, "nowhere"))
            fields = client.expect_error()
            texts.append((fields["S"], fields["M"]))
    assert texts == [("FATAL", 'database "nowhere" does not exist')] * 2


@pytest.mark.parametrize("request_", [SSL_REQUEST, GSSENC_REQUEST], ids=["TLS", "GSSAPI"])
def test_encryption_is_declined_alike(pair: Pair, request_: bytes) -> None:
    for process in pair:
        with RawClient(process.host, process.port) as client:
            client.send(request_)
            assert client.read_bytes(1) == b"N"
            client.startup(USER, "postgres")


@pytest.mark.parametrize("database", ["postgres", "parameters"])
def test_welcome_has_the_same_parameters(pair: Pair, database: str) -> None:
    ours, theirs = (_welcome(process, USER, database) for process in pair)
    # Extra parameters are tracked by newer versions: those of the other program have to be there.
    assert theirs.items() <= ours.items()
    assert set(ours) - set(theirs) <= {"IntervalStyle"}


def test_welcome_of_the_console_has_the_same_parameters(pair: Pair) -> None:
    ours, theirs = (_welcome(process, ADMIN, "pgbouncer") for process in pair)
    assert {**ours, "server_version": ""} == {**theirs, "server_version": ""}
    assert ours["server_version"].endswith("/bouncer")
    assert theirs["server_version"].endswith("/bouncer")


def _welcome(process: BouncerProcess, user: str, database: str) -> dict[str, str]:
    """ParameterStatus by name."""
    with RawClient(process.host, process.port) as client:
        client.send(startup_message(user, database))
        parts = client.read_until("Z")
    statuses = (body.decode().split("\0")[:2] for kind, body in parts if kind == "S")
    return dict(statuses)


@pytest.mark.parametrize(
    ("user", "database", "password"),
    [
        (USER, "postgres", USER_PASSWORD),
        (USER, "postgres", "wrong"),
        ("nobody_knows", "postgres", "wrong"),
        (USER, "unknown", USER_PASSWORD),
        (USER, "unknown", "wrong"),
        (ADMIN, "pgbouncer", ADMIN_PASSWORD),
        (ADMIN, "pgbouncer", "wrong"),
        ("watcher", "pgbouncer", "watcher-password"),
        ("stranger", "pgbouncer", "stranger-password"),
        ("stranger", "pgbouncer", "wrong"),
    ],
)
def test_password_is_judged_alike(asking_pair: Pair, user: str, database: str, password: str) -> None:
    ours, theirs = (_login(process, user, database, password) for process in asking_pair)
    assert ours == theirs


def _login(process: BouncerProcess, user: str, database: str, password: str) -> str:
    try:
        process.connect(database, user=user, password=password).close()
    except psycopg.OperationalError as error:
        # What libpq puts in front names the port.
        return str(error).rpartition("failed: ")[2]
    return "in"


def test_transaction_is_refused_alike_in_statement_mode(pair: Pair) -> None:
    outcomes = []
    for process in pair:
        with RawClient(process.host, process.port) as client:
            client.startup(USER, "statements")
            client.send(message("Q", b"BEGIN\0"))
            outcomes.append(client.expect_error())
    assert outcomes[0] == outcomes[1]
