"""Settings about the protocol itself, beside a real PgBouncer."""

from __future__ import annotations

import pytest

from tests.conftest import PgBouncerFactory, PoolerFactory
from tests.support.bouncer import USER, BouncerProcess
from tests.support.rawclient import RawClient, message

DATABASE = "postgres"
SYNC = message("S")


def _execute(sql: str) -> bytes:
    parse = message("P", b"\0" + sql.encode() + b"\0\0\0")
    return parse + message("B", b"\0\0\0\0\0\0\0\0") + message("E", b"\0\0\0\0\0") + SYNC


@pytest.fixture(params=["pooldeck", "pgbouncer"])
def start(
    pooler: PoolerFactory, pgbouncer: PgBouncerFactory, request: pytest.FixtureRequest
) -> PoolerFactory | PgBouncerFactory:
    return pooler if request.param == "pooldeck" else pgbouncer


def _client(process: BouncerProcess) -> RawClient:
    client = RawClient(process.host, process.port)
    client.startup(USER, DATABASE)
    return client


def test_disable_pqexec_leaves_the_extended_protocol(start: PoolerFactory) -> None:
    process = start(settings={"pool_mode": "transaction", "disable_pqexec": 1})
    with _client(process) as client:
        client.send(_execute("SELECT 1"))
        assert [kind for kind, _ in client.read_until("Z")] == ["1", "2", "D", "C", "Z"]
        client.send(message("Q", b"SELECT 1\0"))
        assert client.expect_error()["M"] == "PQexec disallowed"
        assert client.expect_close() == b""


def test_max_packet_size_holds_for_clients(start: PoolerFactory) -> None:
    process = start(settings={"max_packet_size": 1000})
    with _client(process) as client:
        assert client.query(f"SELECT length('{'x' * 900}')")[-1] == ("Z", b"I")
        client.send(message("Q", f"SELECT length('{'x' * 1000}')".encode() + b"\0"))
        assert "D" not in [kind for kind, _ in _all(client)]
    with _client(process) as other:
        assert other.query("SELECT 1")[-1] == ("Z", b"I")


def test_max_packet_size_holds_for_servers(start: PoolerFactory) -> None:
    process = start(settings={"max_packet_size": 1000})
    with _client(process) as client:
        assert client.query("SELECT repeat('x', 900)")[-1] == ("Z", b"I")
        client.send(message("Q", b"SELECT repeat('x', 1000)\0"))
        assert "D" not in [kind for kind, _ in _all(client)]
    with _client(process) as other:
        assert other.query("SELECT 1")[-1] == ("Z", b"I")


def _all(client: RawClient) -> list[tuple[str, bytes]]:
    """What comes until the other side closes."""
    seen = []
    try:
        while True:
            seen.append(client.read_message())
    except (EOFError, ConnectionResetError):
        return seen
