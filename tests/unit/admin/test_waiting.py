"""PAUSE, SUSPEND and WAIT_CLOSE answer when they are done, and what can happen before."""

import pytest

from pooler.pool.registry import Pause, Shutdown
from pooler.relay.client import ClientConnection
from pooler.relay.server import ServerConnection
from pooler.wire.messages import query
from tests.unit.admin.fakes import FakeConsole, FakePooler, databases


@pytest.fixture
def pooler() -> FakePooler:
    return FakePooler(databases(p0="host=h pool_mode=transaction", p1="host=h pool_mode=transaction"))


@pytest.fixture
def console(pooler: FakePooler) -> FakeConsole:
    return pooler.console()


def done(tag: str) -> list[tuple[str, str]]:
    return [("C", tag), ("Z", "I")]


def canceled(text: str) -> list[tuple[str, object]]:
    return [("E", {"S": "ERROR", "C": "57014", "M": text}), ("Z", "I")]


def finish(server: ServerConnection) -> None:
    """The transaction is over: its client gives the server back."""
    server.ready = True
    server.pool.release(server)


# PAUSE and RESUME ------------------------------------------------------------------------------------


def test_pause_of_an_idle_pooler_is_done_at_once(pooler: FakePooler, console: FakeConsole) -> None:
    assert console.ask("pause") == done("PAUSE")
    assert pooler.pause() is Pause.PAUSE
    assert console.ask("resume") == done("RESUME")
    assert pooler.pause() is Pause.NONE
    assert pooler.log.lines == ["LOG PAUSE command issued", "LOG RESUME command issued"]


def test_pause_waits_for_servers_in_use_and_closes_them(pooler: FakePooler, console: FakeConsole) -> None:
    busy = pooler.busy_server("p0", "bob")
    resting = pooler.server(busy.pool, busy.pool.idle_servers)
    assert console.ask("pause") == []
    assert resting.closed
    assert not busy.closed
    finish(busy)
    assert console.replies() == done("PAUSE")
    assert busy.closed


def test_pause_of_one_database_does_not_wait_for_others(pooler: FakePooler, console: FakeConsole) -> None:
    pooler.busy_server("p1", "bob")
    busy = pooler.busy_server("p0", "bob")
    assert console.ask("pause p0") == []
    finish(busy)
    assert console.replies() == done("PAUSE")
    assert pooler.pause() is Pause.NONE
    assert pooler.is_paused("p0")
    assert console.ask("pause p0") == done("PAUSE")
    assert console.ask("resume p0") == done("RESUME")
    assert not pooler.is_paused("p0")


@pytest.mark.parametrize("sql", ["pause", "pause p0", "kill", "suspend"])
def test_a_paused_pooler_is_not_paused_again(sql: str, console: FakeConsole) -> None:
    console.ask("pause")
    assert console.error(sql) == "already suspended/paused"


def test_several_admins_may_wait(pooler: FakePooler, console: FakeConsole) -> None:
    other = pooler.console()
    first, second = pooler.busy_server("p0", "bob"), pooler.busy_server("p1", "bob")
    assert console.ask("pause p0") == []
    assert other.ask("pause p1") == []
    finish(second)
    assert console.replies() == []
    assert other.replies() == done("PAUSE")
    finish(first)
    assert console.replies() == done("PAUSE")


@pytest.mark.parametrize("target", ["", " p0"])
def test_a_pause_that_somebody_ends_has_failed(target: str, pooler: FakePooler, console: FakeConsole) -> None:
    pooler.busy_server("p0", "bob")
    assert console.ask(f"pause{target}") == []
    assert pooler.console().ask(f"resume{target}") == done("RESUME")
    assert console.replies() == canceled("PAUSE was ended by RESUME")


def test_resume_is_refused_while_shutting_down(pooler: FakePooler, console: FakeConsole) -> None:
    console.ask("pause")
    pooler.registry.shutdown = Shutdown.WAIT_FOR_SERVERS
    assert console.error("resume") == "pooler is shutting down"
    assert pooler.pause() is Pause.PAUSE


# SUSPEND ---------------------------------------------------------------------------------------------


def test_suspend_waits_until_the_buffers_are_empty(pooler: FakePooler, console: FakeConsole) -> None:
    assert console.ask("suspend") == []
    assert pooler.pause() is Pause.SUSPEND
    pooler.drained = True
    pooler.registry.check_waits()
    assert console.replies() == done("SUSPEND")
    assert console.error("suspend") == "already suspended/paused"
    assert console.ask("resume") == done("RESUME")
    assert pooler.pause() is Pause.NONE


def test_suspend_is_refused_with_paused_databases(console: FakeConsole) -> None:
    console.ask("pause p0")
    assert console.error("suspend") == "cannot suspend with paused databases"


# WAIT_CLOSE ------------------------------------------------------------------------------------------


def test_wait_close_waits_for_what_reconnect_has_marked(pooler: FakePooler, console: FakeConsole) -> None:
    first, second = pooler.busy_server("p0", "bob"), pooler.busy_server("p1", "bob")
    assert console.ask("wait_close") == done("WAIT_CLOSE")
    console.ask("reconnect")
    assert console.ask("wait_close p0") == []
    finish(first)
    assert console.replies() == done("WAIT_CLOSE")
    assert console.ask("wait_close") == []
    finish(second)
    assert console.replies() == done("WAIT_CLOSE")


def test_a_pause_after_wait_close_answers_as_a_pause(pooler: FakePooler, console: FakeConsole) -> None:
    server = pooler.busy_server("p0", "bob")
    console.ask("wait_close p0")
    assert console.ask("pause p0") == []
    finish(server)
    assert console.replies() == done("PAUSE")


# What else happens while a command waits -------------------------------------------------------------


def test_queries_sent_ahead_run_when_the_command_is_done(pooler: FakePooler, console: FakeConsole) -> None:
    server = pooler.busy_server("p0", "bob")
    console.send(query("pause p0") + query("resume p0") + query("show version")[:9])
    assert console.replies() == []
    console.send(query("show version")[9:])
    assert console.replies() == []
    finish(server)
    replies = console.replies()
    assert replies[:4] == [*done("PAUSE"), *done("RESUME")]
    assert replies[-3:] == [("D", ("PgBouncer 1.25.2",)), *done("SHOW")]


def test_what_is_sent_ahead_is_limited(pooler: FakePooler, console: FakeConsole) -> None:
    server = pooler.busy_server("p0", "bob")
    assert console.ask("pause p0") == []
    chunk = query("show version") * 10_000
    sent = 0
    while console.transport.reading and sent < 2_000_000:
        console.send(chunk)
        sent += len(chunk)
    assert 1_000_000 < sent < 2_000_000
    finish(server)
    answers = [kind for kind, _ in console.replies() if kind == "Z"]
    assert len(answers) == 1 + sent // len(query("show version"))
    assert console.transport.reading


def test_a_cancel_request_ends_the_pause_and_the_wait(pooler: FakePooler, console: FakeConsole) -> None:
    server = pooler.busy_server("p0", "bob")
    console.send(query("pause") + query("show state"))
    assert console.replies() == []
    console.session.cancelled()
    assert pooler.pause() is Pause.NONE
    replies = console.replies()
    assert replies[:2] == canceled("canceling statement due to user request")
    assert ("D", ("active", "yes")) in replies
    finish(server)
    assert console.replies() == []


def test_a_cancel_request_ends_a_suspension(pooler: FakePooler, console: FakeConsole) -> None:
    assert console.ask("suspend") == []
    console.session.cancelled()
    assert pooler.pause() is Pause.NONE
    assert console.replies() == canceled("canceling statement due to user request")


def test_a_cancel_request_takes_back_the_pause_of_a_database(
    pooler: FakePooler, console: FakeConsole
) -> None:
    pooler.busy_server("p0", "bob")
    assert console.ask("pause p0") == []
    console.session.cancelled()
    assert console.replies() == canceled("canceling statement due to user request")
    assert not pooler.is_paused("p0")


def test_a_cancel_request_of_an_idle_admin_ends_the_pause_too(
    pooler: FakePooler, console: FakeConsole
) -> None:
    console.ask("pause")
    console.session.cancelled()
    assert pooler.pause() is Pause.NONE
    assert console.replies() == []
    warning = f"WARNING {console.client.describe()}admin cancel request for non-waiting client?"
    assert pooler.log.lines[-1] == warning


def test_a_cancel_request_does_not_stop_a_shutdown(pooler: FakePooler, console: FakeConsole) -> None:
    pooler.busy_server("p0", "bob")
    assert console.ask("pause") == []
    pooler.registry.shutdown = Shutdown.WAIT_FOR_SERVERS
    console.session.cancelled()
    assert pooler.pause() is Pause.PAUSE
    assert console.replies() == canceled("canceling statement due to user request")


def test_an_admin_that_vanishes_is_not_waited_for(pooler: FakePooler, console: FakeConsole) -> None:
    server = pooler.busy_server("p0", "bob")
    console.send(query("pause") + query("resume"))
    console.replies()
    console.client.connection_lost(None)
    assert pooler.registry._waits == []
    assert pooler.pause() is Pause.NONE
    finish(server)
    pooler.run()
    assert not console.transport.sent
    assert any("PAUSE was not complete, taking it back" in line for line in pooler.log.lines)


def test_an_admin_killed_while_it_waits(pooler: FakePooler, console: FakeConsole) -> None:
    server = pooler.busy_server("p0", "bob")
    console.ask("pause p0")
    other = pooler.console()
    assert other.ask(f"kill_client {console.client.id}") == done("KILL_CLIENT")
    finish(server)
    pooler.run()
    assert [kind for kind, _ in console.replies()] == ["E"]


def test_nothing_runs_after_the_end_of_the_connection(pooler: FakePooler, console: FakeConsole) -> None:
    server = pooler.busy_server("p0", "bob")
    console.send(query("pause p0") + query(f"kill_client {console.client.id}") + query("resume p0"))
    pooler.run()
    finish(server)
    console.send(query("resume p0"))
    assert console.client.closed
    assert pooler.is_paused("p0")


def test_kill_ends_the_wait_of_others(pooler: FakePooler, console: FakeConsole) -> None:
    client = pooler.busy_server("p0", "bob").link
    assert isinstance(client, ClientConnection)
    assert console.ask("pause p0") == []
    assert pooler.console().ask("kill p0") == done("KILL")
    assert client.closed
    assert console.replies() == done("PAUSE")


# Clients that do not read ----------------------------------------------------------------------------


def test_a_client_that_does_not_read_gets_no_more_replies(pooler: FakePooler, console: FakeConsole) -> None:
    console.transport.unsent = 2_000_000
    console.send(query("show version") * 3)
    assert len([kind for kind, _ in console.replies() if kind == "Z"]) == 1
    console.send(query("show version"))
    assert console.replies() == []
    console.transport.unsent = 0
    pooler.registry.check_waits()
    assert len([kind for kind, _ in console.replies() if kind == "Z"]) == 3


def test_a_client_that_has_read_goes_on_with_its_next_query(console: FakeConsole) -> None:
    console.transport.unsent = 2_000_000
    console.ask("show version")
    console.transport.unsent = 0
    console.send(query("show version"))
    assert console.transport.sent, "answered without waiting for the next round of maintenance"


def test_a_cancel_request_for_a_client_that_does_not_read_says_nothing(console: FakeConsole) -> None:
    console.transport.unsent = 2_000_000
    console.ask("show version")
    console.session.cancelled()
    assert console.replies() == []
