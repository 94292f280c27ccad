"""PAUSE with a time limit, and a PAUSE that nobody waits for any more."""

import re
from typing import Any

import pytest

from pooler.pool.registry import Pause, Shutdown
from pooler.relay.client import ClientConnection
from pooler.relay.server import ServerConnection
from tests.unit.admin.fakes import FakeConsole, FakePooler, databases


@pytest.fixture
def pooler() -> FakePooler:
    return FakePooler(databases(p0="host=h pool_mode=transaction", p1="host=h pool_mode=transaction"))


@pytest.fixture
def console(pooler: FakePooler) -> FakeConsole:
    return pooler.console()


def done(tag: str) -> list[tuple[str, str]]:
    return [("C", tag), ("Z", "I")]


def finish(server: ServerConnection) -> None:
    """The transaction is over: its client gives the server back."""
    server.ready = True
    server.pool.release(server)


def time_passes(pooler: FakePooler) -> list[float]:
    """Every timer fires; how long each was to last."""
    due, pooler.later = pooler.later, []
    for _, callback in due:
        callback()
    pooler.run()
    return [seconds for seconds, _ in due]


def error_of(console: FakeConsole) -> dict[str, Any]:
    (kind, fields), ready = console.replies()
    assert (kind, ready) == ("E", ("Z", "I"))
    assert isinstance(fields, dict)
    return fields


# TIMEOUT ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sql", "seconds"),
    [("PAUSE TIMEOUT 30", 30.0), ("pause p0 timeout 0.5;", 0.5), ('pause "p0" TIMEOUT 007', 7.0)],
)
def test_a_pause_that_is_complete_in_time_stays(
    sql: str, seconds: float, pooler: FakePooler, console: FakeConsole
) -> None:
    server = pooler.busy_server("p0", "bob")
    assert console.ask(sql) == []
    finish(server)
    assert console.replies() == done("PAUSE")
    assert time_passes(pooler) == [seconds]
    assert console.replies() == []
    assert pooler.pause() is Pause.PAUSE or pooler.is_paused("p0")


@pytest.mark.parametrize("target", ["", " p0"])
def test_a_pause_that_is_late_is_taken_back_and_says_what_held_it(
    target: str, pooler: FakePooler, console: FakeConsole
) -> None:
    old, young = pooler.busy_server("p0", "bob"), pooler.busy_server("p0", "eve")
    assert isinstance(old.link, ClientConnection)
    assert isinstance(young.link, ClientConnection)
    old.link.xact_ns, young.link.xact_ns = 1000, 2000
    assert console.ask(f"pause{target} timeout 1.5") == []
    time_passes(pooler)
    error = error_of(console)
    assert error["C"] == "57014"
    assert error["M"] == "PAUSE was not complete after 1.5 s, and is taken back"
    who = f"client {old.link.id}, user bob, database p0, from 10.1.1.1:{4000 + int(old.link.id)}"
    pattern = rf"2 servers are busy; the oldest transaction is that of {re.escape(who)}, for [0-9.]+ s"
    assert re.fullmatch(pattern, error["D"])
    assert pooler.pause() is Pause.NONE
    assert not pooler.is_paused("p0")


def test_what_holds_a_pause_of_one_database_is_in_that_database(
    pooler: FakePooler, console: FakeConsole
) -> None:
    pooler.busy_server("p1", "eve")
    pooler.busy_server("p0", "bob")
    assert console.ask("pause p0 timeout 1") == []
    time_passes(pooler)
    detail = error_of(console)["D"]
    assert detail.startswith("1 server is busy; no transaction is open; the oldest session is that of client")
    assert "user bob, database p0" in detail


def test_a_timeout_of_nothing_that_is_busy(console: FakeConsole) -> None:
    assert console.ask("pause timeout 0") == done("PAUSE")


def test_the_time_is_over_after_somebody_resumed(pooler: FakePooler, console: FakeConsole) -> None:
    pooler.busy_server("p0", "bob")
    console.ask("pause p0 timeout 1")
    pooler.console().ask("resume p0")
    assert error_of(console)["M"] == "PAUSE was ended by RESUME"
    pooler.console().ask("pause p0")
    time_passes(pooler)
    assert pooler.is_paused("p0")


def test_a_late_pause_that_another_admin_waits_for_too_stays(
    pooler: FakePooler, console: FakeConsole
) -> None:
    other = pooler.console()
    server = pooler.busy_server("p0", "bob")
    assert console.ask("pause p0") == []
    assert other.ask("pause p0 timeout 1") == []
    time_passes(pooler)
    message = "PAUSE was not complete after 1 s, and is left in force, as others want it"
    assert error_of(other)["M"] == message
    assert pooler.is_paused("p0")
    finish(server)
    assert console.replies() == done("PAUSE")


def test_a_database_named_timeout_can_be_paused() -> None:
    pooler = FakePooler(databases(timeout="host=h"))
    console = pooler.console()
    assert console.ask("pause timeout") == done("PAUSE")
    assert pooler.is_paused("timeout")
    assert console.ask("pause timeout timeout 3") == done("PAUSE")


@pytest.mark.parametrize(
    "sql",
    ["pause p0 timeout", "pause p0 timeout x", "pause p0 timeout -1", "pause timeout 1 2", "pause p0 p1"],
)
def test_what_is_no_time_limit(sql: str, pooler: FakePooler, console: FakeConsole) -> None:
    assert console.error(sql) == f"invalid command '{sql}', use SHOW HELP;"
    assert not pooler.is_paused("p0")


# Admins who leave ------------------------------------------------------------------------------------


@pytest.mark.parametrize("target", ["", " p0"])
def test_a_pause_is_taken_back_when_its_admin_leaves(
    target: str, pooler: FakePooler, console: FakeConsole
) -> None:
    pooler.busy_server("p0", "bob")
    assert console.ask(f"pause{target}") == []
    console.client.connection_lost(None)
    assert pooler.pause() is Pause.NONE
    assert not pooler.is_paused("p0")
    assert any("taking it back: its client disconnected" in line for line in pooler.log.lines)


@pytest.mark.parametrize("target", ["", " p0"])
def test_a_complete_pause_stays_when_its_admin_leaves(
    target: str, pooler: FakePooler, console: FakeConsole
) -> None:
    assert console.ask(f"pause{target}") == done("PAUSE")
    console.client.connection_lost(None)
    assert pooler.pause() is Pause.PAUSE or pooler.is_paused("p0")


def test_the_last_admin_who_waits_takes_it_back(pooler: FakePooler, console: FakeConsole) -> None:
    other = pooler.console()
    pooler.busy_server("p0", "bob")
    console.ask("pause p0")
    other.ask("pause p0")
    other.client.connection_lost(None)
    assert pooler.is_paused("p0")
    console.client.connection_lost(None)
    assert not pooler.is_paused("p0")


def test_what_was_paused_before_is_not_taken_back(pooler: FakePooler, console: FakeConsole) -> None:
    pooler.busy_server("p0", "bob")
    pooler.registry.set_database_pause(pooler.registry.databases["p0"], True)
    assert console.ask("pause p0") == []
    console.client.connection_lost(None)
    assert pooler.is_paused("p0")


@pytest.mark.parametrize(
    ("mode", "pause"),
    [
        (Shutdown.WAIT_FOR_SERVERS, Pause.PAUSE),
        (Shutdown.IMMEDIATE, Pause.PAUSE),
        (Shutdown.WAIT_FOR_CLIENTS, Pause.NONE),
    ],
)
def test_a_pause_is_taken_back_only_for_clients_that_go_on(
    mode: Shutdown, pause: Pause, pooler: FakePooler, console: FakeConsole
) -> None:
    pooler.busy_server("p0", "bob")
    assert console.ask("pause") == []
    pooler.registry.shutdown = mode
    console.client.connection_lost(None)
    assert pooler.pause() is pause


def test_a_suspension_is_taken_back_when_its_admin_leaves(pooler: FakePooler, console: FakeConsole) -> None:
    pooler.console()
    assert console.ask("suspend") == []
    console.client.connection_lost(None)
    assert pooler.pause() is Pause.NONE


# What can be seen ------------------------------------------------------------------------------------


def test_both_kinds_of_pause_are_shown(pooler: FakePooler, console: FakeConsole) -> None:
    other = pooler.console()
    console.ask("pause p0")
    console.ask("pause")
    assert other.rows("show state") == [("active", "no"), ("paused", "yes"), ("suspended", "no")]
    paused = {row["name"]: row["paused"] for row in other.table("show databases")}
    assert paused == {"p0": "1", "p1": "0", "pgbouncer": "0"}
