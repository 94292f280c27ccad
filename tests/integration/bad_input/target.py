"""A pooler under attack, a client beside it that must not notice, and proof that nothing is left behind."""

from __future__ import annotations

import os
import re
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any, NamedTuple

import psycopg

from tests.support.bouncer import ADMIN, ADMIN_PASSWORD, USER, BouncerProcess
from tests.support.rawclient import RawClient

DATABASE = "postgres"

SETTLE_SECONDS = 8.0
"""For whatever has to happen soon: a pooler looks at some things only three times a second."""

LONGEST_QUERY_SECONDS = 5.0
"""What a machine full of tests may add to a query; a pooler that is busy elsewhere adds more."""

_POOL_COUNTERS = (
    "cl_active",
    "cl_waiting",
    "cl_active_cancel_req",
    "cl_waiting_cancel_req",
    "sv_active",
    "sv_active_cancel",
    "sv_being_canceled",
    "sv_tested",
    "sv_login",
)
_LIST_COUNTERS = ("used_clients", "login_clients")


def wait_until(condition: Callable[[], object], what: str, seconds: float = SETTLE_SECONDS) -> None:
    """Return as soon as `condition` holds. Raises AssertionError, saying what did not happen."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {what}"
        time.sleep(0.01)


class Companion(threading.Thread):
    """A client that minds its own business: two connections, and every query returns a token of its own."""

    def __init__(self, pooler: BouncerProcess, dbname: str, password: str) -> None:
        super().__init__(daemon=True)
        self.failure: BaseException | None = None
        self.slowest = 0.0
        self._simple = pooler.connect(dbname, password=password)
        self._extended = pooler.connect(dbname, password=password)
        self._extended.cursor_factory = psycopg.Cursor
        self._rounds = 0
        self._changed = threading.Condition()
        self._resting = False
        self._wanted_to_rest = False
        self._stopped = threading.Event()

    def run(self) -> None:
        try:
            for number in count():
                # An application has other things to do too, and the tests need the processor.
                if self._stopped.wait(0.003):
                    return
                self._pause()
                started = time.monotonic()
                self._ask(number)
                self.slowest = max(self.slowest, time.monotonic() - started)
                self._next_round()
        except BaseException as error:
            self.failure = error
            self._next_round()

    def stop(self) -> None:
        self._stopped.set()
        self.join()
        self._simple.close()
        self._extended.close()

    def answer_some(self) -> None:
        """Return when a few more queries have been answered. Raises AssertionError if one was not."""
        with self._changed:
            enough = self._rounds + 3
            done = self._changed.wait_for(lambda: self._rounds >= enough or self.failure, SETTLE_SECONDS)
        assert self.failure is None, f"another client noticed: {self.failure!r}"
        assert done, "another client gets no answers"
        assert self.slowest < LONGEST_QUERY_SECONDS, f"another client had to wait for {self.slowest:.1f} s"

    @contextmanager
    def resting(self) -> Iterator[None]:
        """While it lasts, no query is under way."""
        with self._changed:
            self._wanted_to_rest = True
            self._changed.wait_for(lambda: self._resting or self.failure, SETTLE_SECONDS)
        try:
            yield
        finally:
            with self._changed:
                self._wanted_to_rest = False
                self._changed.notify_all()

    def _next_round(self) -> None:
        with self._changed:
            self._rounds += 1
            self._changed.notify_all()

    def _pause(self) -> None:
        with self._changed:
            self._resting = self._wanted_to_rest
            self._changed.notify_all()
            self._changed.wait_for(lambda: not self._wanted_to_rest)
            self._resting = False

    def _ask(self, number: int) -> None:
        kind = number % 3
        connection = self._extended if kind == 1 else self._simple
        tokens = [f"companion-{number}-{part}" for part in range(3 if kind == 2 else 1)]
        if kind == 2:
            connection.execute("BEGIN")
        for token in tokens:
            rows = rows_for(connection, token)
            if rows != [{"token": token}]:
                raise AssertionError(f"{rows} instead of {token}")
        if kind == 2:
            connection.execute("COMMIT")


def rows_for(connection: psycopg.Connection[dict[str, Any]], token: str) -> list[dict[str, Any]]:
    """What comes back for a query that returns this token."""
    return connection.execute("SELECT %s::text AS token", [token]).fetchall()


class State(NamedTuple):
    """What has to be as before: sums over SHOW POOLS, SHOW LISTS, and open files without those of servers."""

    pools: dict[str, int]
    lists: dict[str, int]
    files: int


class Target:
    """A running pooler with a companion; what a test does to it must have no trace afterwards."""

    def __init__(self, pooler: BouncerProcess, password: str = "") -> None:
        self.pooler = pooler
        self._password = password
        self._clients: list[RawClient] = []
        self._log_read = 0
        self._console = pooler.connect("pgbouncer", user=ADMIN, password=ADMIN_PASSWORD)
        self._start_companion()
        self._before = self.state()

    def close(self) -> None:
        self._companion.stop()
        self._console.close()

    def connect(self, host: str | None = None) -> RawClient:
        """A client that has said nothing yet. It is closed after the test if it was not before."""
        client = RawClient(host or self.pooler.host, self.pooler.port, timeout=5.0)
        self._clients.append(client)
        return client

    def login(self, dbname: str = DATABASE) -> RawClient:
        """A client that is logged in (under trust)."""
        client = self.connect()
        client.startup(USER, dbname)
        return client

    def show(self, what: str) -> list[dict[str, str]]:
        """The rows of SHOW `what`. Names need not be UTF-8 and are read as Latin-1."""
        with self._console.cursor() as cursor:
            cursor.execute(f"SHOW {what}".encode())
            result = cursor.pgresult
            assert result is not None
            names = [(result.fname(column) or b"").decode() for column in range(result.nfields)]
            return [
                {
                    name: (result.get_value(row, column) or b"").decode("latin-1")
                    for column, name in enumerate(names)
                }
                for row in range(result.ntuples)
            ]

    def state(self) -> State:
        """The counters now, while the companion rests."""
        with self.pooler.autopsy(), self._companion.resting():
            pools = self.show("POOLS")
            lists = {row["list"]: int(row["items"]) for row in self.show("LISTS")}
            servers = len(self.show("SERVERS"))
            files = len(os.listdir(f"/proc/{self.pooler.pid}/fd"))
        return State(
            {name: sum(int(row[name]) for row in pools) for name in _POOL_COUNTERS},
            {name: lists[name] for name in _LIST_COUNTERS},
            files - servers,
        )

    def resident_bytes(self) -> int:
        """Memory that the pooler has in use."""
        with open(f"/proc/{self.pooler.pid}/status") as status:
            found = re.search(r"VmRSS:\s+(\d+) kB", status.read())
        assert found is not None
        return int(found[1]) * 1024

    def assert_unharmed(self) -> None:
        """All that the test opened is gone, the companion has not noticed, and a new client is served."""
        try:
            for client in self._clients:
                client.close()
            assert not self.pooler.death(), self.pooler.death()
            self._companion.answer_some()
            self.assert_settles()
            self._assert_new_client_is_served()
            self._assert_log_is_clean()
        except BaseException:
            self._start_over()
            raise
        finally:
            self._clients.clear()

    def assert_settles(self) -> None:
        """Soon all is as it was before the test."""
        deadline = time.monotonic() + SETTLE_SECONDS
        while (now := self.state()) != self._before:
            assert time.monotonic() < deadline, f"left behind: {now}, before it was {self._before}"
            time.sleep(0.02)

    def _assert_new_client_is_served(self) -> None:
        factories: list[type[psycopg.Cursor[dict[str, Any]]]] = [psycopg.ClientCursor, psycopg.Cursor]
        for factory in factories:
            with self.pooler.connect(DATABASE, password=self._password) as connection:
                connection.cursor_factory = factory
                assert rows_for(connection, "new client") == [{"token": "new client"}]

    def _assert_log_is_clean(self) -> None:
        log = self.pooler.log_text()
        new, self._log_read = log[self._log_read :], len(log)
        assert "Traceback (most recent call last)" not in new, new

    def _start_over(self) -> None:
        """The harm that one test has done is not that of the next."""
        if self.pooler.death():
            return
        self._log_read = len(self.pooler.log_text())
        if self._companion.failure is not None:
            self._companion.stop()
            self._start_companion()
        deadline = time.monotonic() + 1.0
        while (now := self.state()) != self._before and time.monotonic() < deadline:
            time.sleep(0.02)
        self._before = now

    def _start_companion(self) -> None:
        self._companion = Companion(self.pooler, DATABASE, self._password)
        self._companion.start()
        self._companion.answer_some()
