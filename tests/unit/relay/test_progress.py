"""Nobody is left waiting, and no server is left with a client that is through with it."""

from __future__ import annotations

from tests.chaos.wire import COPY_DONE, copy_data, query
from tests.support.rawclient import startup_message
from tests.unit.relay.conversations import DATABASE, USER, Conversation, Step
from tests.unit.relay.rig import ALL, ClientEnd, Paces, Rig


def rig_for(high_water: int = 64 * 1024) -> Rig:
    return Rig({"pool_mode": "transaction", "default_pool_size": 1}, high_water)


def logged_in(rig: Rig, *steps: Step) -> ClientEnd:
    client = rig.connect(Conversation(startup_message(USER, DATABASE), list(steps)))
    rig.settle()
    client.begun = True
    return client


def copying(rig: Rig) -> ClientEnd:
    """A client that may send rows."""
    client = logged_in(rig)
    client.wire.incoming += query("COPY t FROM STDIN")
    rig.settle()
    client.received = b""
    return client


def ask(rig: Rig, client: ClientEnd) -> bytes:
    """What the client gets for a query."""
    client.received = b""
    client.wire.incoming += query("SELECT 'ada'")
    rig.settle()
    return client.received


def test_a_client_whose_copy_has_failed_is_read_again_although_the_server_was_slow() -> None:
    rig = rig_for(high_water=40)
    client = copying(rig)
    server = rig.servers[0]
    client.wire.incoming += copy_data("bad") + copy_data("x" * 60)
    client.deliver(ALL)
    server.take(len(copy_data("bad")))
    server.deliver(ALL)
    assert server.place is rig.pool.idle_servers
    client.wire.incoming += copy_data("x" * 60) + COPY_DONE
    rig.settle()
    assert client.received.startswith(b"E")
    assert ask(rig, client).endswith(b"Z\0\0\0\5I")


def test_a_server_is_free_when_the_last_long_message_ends_together_with_others() -> None:
    rig = rig_for()
    client = copying(rig)
    rest = copy_data("x" * 1000)
    client.wire.incoming += copy_data("bad") + rest[:500]
    rig.settle()
    assert client.received.endswith(b"Z\0\0\0\5I")
    assert rig.servers[0].place is rig.pool.active_servers
    client.wire.incoming += rest[500:] + COPY_DONE
    rig.settle()
    assert rig.servers[0].place is rig.pool.idle_servers


def test_a_server_is_free_when_the_last_long_message_ends() -> None:
    rig = rig_for()
    client = copying(rig)
    rest = copy_data("x" * 1000)
    client.wire.incoming += copy_data("bad") + rest[:500]
    rig.settle()
    client.wire.incoming += rest[500:]
    rig.settle()
    assert rig.servers[0].place is rig.pool.idle_servers


def test_a_client_that_sends_a_lot_ahead_while_it_is_in_line_is_read_again() -> None:
    rig = rig_for()
    first = logged_in(rig, Step(query("BEGIN"), True))
    rig.settle()
    said = ["BEGIN", *[f"SELECT '{'x' * 30000}'"] * 5, "COMMIT"]
    second = logged_in(rig, *[Step(query(sql), False) for sql in said])
    rig.settle(Paces(client_sends=10_000))
    assert second.wire.incoming
    first.wire.incoming += query("COMMIT")
    rig.settle()
    assert second.received == second.expected
