"""Cancel requests to servers with TLS, and TLS that begins without an SSLRequest.

PostgreSQL takes a cancel request in clear from everybody, so a server that looks at the bytes has to tell.
PgBouncer has nothing to compare with: it sends all of them in clear, and knows no direct TLS to servers.
"""

from __future__ import annotations

import ssl
import struct
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psycopg
import pytest

from cli.demo.throwaway import ThrowawayDirectory
from tests.conftest import PoolerFactory
from tests.integration.clients import DATABASE, Background, wait_until
from tests.support.bouncer import USER, BouncerProcess, PoolerProcess
from tests.support.certificates import Authority, Issued
from tests.support.fakeserver import (
    AUTHENTICATION_OK,
    KEY_DATA,
    READY,
    FakeConnection,
    FakeServer,
    error_response,
    parameter_status,
)
from tests.support.rawclient import SSL_REQUEST, RawClient, message, startup_message

CANCEL = struct.pack("!II", 16, 80877102) + KEY_DATA[5:]
SLOW = "SELECT pg_sleep(60)"
PARAMETERS = b"".join(
    parameter_status(name, text)
    for name, text in {"server_version": "17.0", "client_encoding": "UTF8", "TimeZone": "UTC"}.items()
)
CANCELED = error_response("57014", "canceling statement due to user request") + READY


@dataclass
class Watched:
    """A server that says how it was asked to cancel, `TLS` or `clear`, or what came in place of that."""

    own: Issued
    direct: bool = False
    protocols: tuple[str, ...] = ("postgresql",)
    accepts: Callable[[int], bool] = lambda _: True
    """Whether the connection of that number, from 0 on, gets TLS."""
    cancels: list[tuple[str, bytes]] = field(default_factory=list)
    count: int = 0
    running: threading.Event = field(default_factory=threading.Event)
    cancelled: threading.Event = field(default_factory=threading.Event)

    def __call__(self, connection: FakeConnection) -> None:
        number, self.count = self.count, self.count + 1
        if self.direct:
            self._encrypted(connection)
            return
        first = connection.read_bytes(8)
        if first != SSL_REQUEST:
            self._speak(connection, first, "clear")
        elif self.accepts(number):
            connection.send(b"S")
            self._encrypted(connection)
        else:
            connection.send(b"N")
            self._speak(connection, connection.read_bytes(8), "clear")

    def _encrypted(self, connection: FakeConnection) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.own.load_into(context)
        context.set_alpn_protocols(self.protocols)
        try:
            encrypted = context.wrap_socket(connection.socket, server_side=True)
        except (ssl.SSLError, OSError):
            return
        with encrypted:
            inside = FakeConnection(encrypted)
            self._speak(inside, inside.read_bytes(8), "TLS")

    def _speak(self, connection: FakeConnection, first: bytes, how: str) -> None:
        rest = connection.read_bytes(int.from_bytes(first[:4], "big") - 8)
        if first == CANCEL[:8]:
            self.cancels.append((how, first + rest))
            self.cancelled.set()
            return
        connection.send(AUTHENTICATION_OK + PARAMETERS + KEY_DATA + READY)
        while True:
            kind, body = connection.read_message()
            if kind == "X":
                return
            if body != SLOW.encode() + b"\0":
                connection.send(message("C", b"SELECT 0\0") + READY)
                continue
            self.running.set()
            assert self.cancelled.wait(10)
            connection.send(CANCELED)


@dataclass(frozen=True)
class Files:
    """What a pooler verifies servers with."""

    own: Issued
    ca_file: Path

    def settings(self, mode: str, **more: object) -> dict[str, object]:
        return {
            "server_tls_sslmode": mode,
            "server_tls_ca_file": self.ca_file,
            "server_login_retry": 1,
            "server_reset_query": "",
            **more,
        }


@pytest.fixture(scope="module")
def files() -> Iterator[Files]:
    with ThrowawayDirectory("pooldeck-tls-", None) as throwaway:
        ca = Authority()
        yield Files(ca.issue("db", names=["127.0.0.1"]), ca.write(throwaway.path))


@contextmanager
def _serving(watched: Watched) -> Iterator[dict[str, str]]:
    """Databases that lead to it."""
    with FakeServer() as fake:
        fake.script(*[watched] * 50)
        yield {"*": f"host=127.0.0.1 port={fake.port}"}
    assert fake.errors == []


def _cancel_slow_query(process: BouncerProcess, watched: Watched, between: Callable[[], object]) -> None:
    with process.connect(DATABASE) as connection:
        sleeping = Background(lambda: connection.execute(SLOW.encode()))
        assert watched.running.wait(10)
        between()
        connection.cancel_safe(timeout=10)
        with pytest.raises(psycopg.errors.QueryCanceled):
            sleeping.result()


def _nothing() -> None:
    pass


# Cancel requests -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "has_tls", "how"),
    [
        ("disable", True, "clear"),
        ("prefer", False, "clear"),
        ("prefer", True, "TLS"),
        ("verify-full", True, "TLS"),
    ],
)
def test_a_cancel_request_goes_like_its_connection(
    pooler: PoolerFactory, files: Files, mode: str, has_tls: bool, how: str
) -> None:
    watched = Watched(files.own, accepts=lambda _: has_tls)
    with _serving(watched) as databases:
        process = pooler(databases, settings=files.settings(mode))
        _cancel_slow_query(process, watched, _nothing)
    assert watched.cancels == [(how, CANCEL)]


def test_a_cancel_request_goes_like_its_connection_after_a_reload(
    pooler: PoolerFactory, files: Files
) -> None:
    watched = Watched(files.own)
    with _serving(watched) as databases:
        process = pooler(databases, settings=files.settings("require"))

        def switch_off() -> None:
            process.configure(server_tls_sslmode="disable")
            process.admin("RELOAD")

        _cancel_slow_query(process, watched, switch_off)
    assert watched.cancels == [("TLS", CANCEL)]


def test_a_cancel_request_is_never_in_clear_where_its_connection_is_not(
    pooler: PoolerFactory, files: Files
) -> None:
    watched = Watched(files.own, accepts=lambda number: number == 0)
    with _serving(watched) as databases:
        process = pooler(databases, settings=files.settings("prefer", cancel_wait_timeout=2))
        with process.connect(DATABASE) as connection:
            sleeping = Background(lambda: connection.execute(SLOW.encode()))
            assert watched.running.wait(10)
            cancelling = Background(lambda: connection.cancel_safe(timeout=30))
            process.wait_for_log("closing because: server refused SSL")
            assert watched.cancels == []
            watched.cancelled.set()
            with pytest.raises(psycopg.errors.QueryCanceled):
                sleeping.result()
            cancelling.result()


def _leave_in_the_query(process: PoolerProcess, watched: Watched) -> None:
    with RawClient(process.host, process.port) as client:
        client.send(startup_message(USER, DATABASE))
        client.read_until("Z")
        client.send(message("Q", SLOW.encode() + b"\0"))
        assert watched.running.wait(10)


def test_the_poolers_own_cancel_request_is_encrypted(pooler: PoolerFactory, files: Files) -> None:
    watched = Watched(files.own)
    with _serving(watched) as databases:
        process = pooler(databases, settings=files.settings("verify-full"))
        _leave_in_the_query(process, watched)
        wait_until(lambda: watched.cancels, "the query is cancelled")
    assert watched.cancels == [("TLS", CANCEL)]


def test_the_poolers_own_cancel_request_is_never_in_clear(pooler: PoolerFactory, files: Files) -> None:
    watched = Watched(files.own, accepts=lambda number: number == 0)
    with _serving(watched) as databases:
        process = pooler(databases, settings=files.settings("prefer"))
        _leave_in_the_query(process, watched)
        process.wait_for_log("cannot carry a cancel request to 127.0.0.1:")
        process.wait_for_log("server refused SSL")
        assert watched.cancels == []
        watched.cancelled.set()


# Direct TLS ------------------------------------------------------------------------------------------------


def test_direct_tls(pooler: PoolerFactory, files: Files) -> None:
    watched = Watched(files.own, direct=True)
    with _serving(watched) as databases:
        process = pooler(
            databases, settings=files.settings("verify-full", server_tls_sslnegotiation="direct")
        )
        _cancel_slow_query(process, watched, _nothing)
    assert watched.cancels == [("TLS", CANCEL)]


@pytest.mark.parametrize("protocols", [(), ("h2",)], ids=["none", "another"])
def test_direct_tls_without_the_protocol(
    pooler: PoolerFactory, files: Files, protocols: tuple[str, ...]
) -> None:
    with _serving(Watched(files.own, direct=True, protocols=protocols)) as databases:
        process = pooler(databases, settings=files.settings("require", server_tls_sslnegotiation="direct"))
        with RawClient(process.host, process.port) as client:
            client.send(startup_message(USER, DATABASE))
            process.wait_for_log("TLS handshake failed: ")
            process.wait_for_log("closing because: server TLS handshake failed")


def test_direct_tls_is_a_change_of_tls(pooler: PoolerFactory, files: Files) -> None:
    watched = Watched(files.own)
    with _serving(watched) as databases:
        process = pooler(databases, settings=files.settings("require", pool_mode="transaction"))
        with process.connect(DATABASE) as connection:
            connection.execute("SELECT 1")
            watched.direct = True
            process.configure(server_tls_sslnegotiation="direct")
            process.admin("RELOAD")
            connection.execute("SELECT 2")
    assert watched.count == 2


@pytest.mark.parametrize("mode", ["disable", "allow", "prefer"])
def test_direct_tls_needs_a_mode_that_demands_it(pooler: PoolerFactory, files: Files, mode: str) -> None:
    process = pooler(settings=files.settings("require"))
    process.configure(server_tls_sslmode=mode, server_tls_sslnegotiation="direct")
    words = f"server_tls_sslnegotiation = direct cannot be with server_tls_sslmode = {mode}"
    with pytest.raises(psycopg.Error, match=words):
        process.admin("RELOAD")
