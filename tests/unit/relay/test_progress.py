"""Nobody is left waiting, no server is left with a client that is through with it, and the pooler's own
answers wait for their turn.
"""

from __future__ import annotations

import pytest

from pooler.pool.registry import Pause
from pooler.wire.messages import error
from tests.chaos.wire import (
    COPY_DONE,
    FLUSH,
    SYNC,
    bind,
    close_statement,
    copy_data,
    describe_statement,
    execute,
    parse,
    query,
)
from tests.support.rawclient import startup_message
from tests.unit.relay.conversations import DATABASE, USER, Conversation, Step
from tests.unit.relay.postgres import Postgres
from tests.unit.relay.rig import ALL, ClientEnd, Paces, Rig

STARTUP = startup_message(USER, DATABASE)
ASKED = query("SELECT 'ada'")


def rig_for(high_water: int = 64 * 1024) -> Rig:
    return Rig({"pool_mode": "transaction", "default_pool_size": 1}, high_water)


def logged_in(rig: Rig, *steps: Step) -> ClientEnd:
    client = rig.connect(Conversation(STARTUP, list(steps)))
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
    client.wire.incoming += ASKED
    rig.settle()
    return client.received


def direct_answers(*steps: Step) -> list[bytes]:
    """What a server says to each of these without a pooler."""
    return Conversation(STARTUP, list(steps)).answers(Postgres())


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
    rig = rig_for(high_water=1 << 20)
    first = logged_in(rig, Step(query("BEGIN"), True))
    rig.settle()
    said = ["BEGIN", *[f"SELECT '{'x' * 30000}'"] * 5, "COMMIT"]
    second = logged_in(rig, *[Step(query(sql), False) for sql in said])
    rig.settle(Paces(client_sends=10_000))
    assert second.wire.incoming
    first.wire.incoming += query("COMMIT")
    rig.settle()
    assert second.received == second.expected


SELECT = parse("", "SELECT 'ada'") + bind("", "") + execute()


@pytest.mark.parametrize("answered", [False, True])
@pytest.mark.parametrize(
    "said",
    [
        query("SELECT 'ada'"),
        query("SELECT 'ada'")[:-5],
        query("BEGIN") + query("SELECT 'ada'"),
        query("BEGIN") + SELECT + SYNC,
        query("BEGIN") + query("SELECT 1/0"),
        SELECT + FLUSH,
        SELECT + SYNC + SELECT,
        query("COPY t FROM STDIN"),
        query("COPY t FROM STDIN") + copy_data("row"),
        query("COPY t FROM STDIN") + copy_data("row")[:-1],
        parse("s1", "SELECT 'ada'") + SYNC + bind("", "s1"),
    ],
)
def test_the_next_client_is_served_whatever_the_last_one_left(said: bytes, answered: bool) -> None:
    rig = rig_for()
    first, second = logged_in(rig), logged_in(rig)
    first.wire.incoming += said
    first.deliver(ALL)
    rig.servers[0].take(ALL)
    if answered:
        rig.settle()
    first.wire.vanish()
    assert [ask(rig, second)] == direct_answers(Step(ASKED, True))


def test_an_answer_of_the_poolers_own_waits_for_the_end_of_a_message() -> None:
    prepare = Step(parse("s1", "SELECT 'ada'") + SYNC, True)
    describe = Step(describe_statement("s1") + FLUSH, True)
    close = Step(close_statement("s1") + SYNC, True)
    answers = direct_answers(prepare, describe, close)
    for cut in range(1, len(answers[1])):
        rig = rig_for()
        client = logged_in(rig, prepare)
        rig.settle()
        client.wire.incoming += describe.data
        client.deliver(ALL)
        rig.servers[0].take(ALL)
        rig.servers[0].deliver(cut)
        client.wire.incoming += close.data
        client.deliver(ALL)
        rig.settle()
        assert client.received == b"".join(answers)


def test_suspend_holds_the_server_of_a_slow_client_that_catches_up() -> None:
    rig = rig_for(high_water=40)
    client = logged_in(rig)
    rig.settle()
    server = rig.servers[0]
    client.wire.incoming += query("SELECT 'ada'") * 10
    client.deliver(ALL)
    server.take(ALL)
    server.deliver(200)
    assert server.wire.incoming
    assert not server.deliver(ALL), "it is held for its client, which takes nothing"
    rig.registry.set_pause(Pause.SUSPEND)
    server.connection.hold_reading()
    client.connection.hold_reading()
    client.take(ALL)
    assert not server.deliver(ALL)
    rig.registry.set_pause(Pause.NONE)
    server.connection.resume_reading()
    client.connection.release_reading()
    rig.settle()
    assert client.received == b"".join(direct_answers(*[Step(ASKED, True)] * 10))


def test_a_server_that_gives_up_unasked_says_why_and_is_closed() -> None:
    rig = rig_for()
    client = logged_in(rig, Step(query("BEGIN"), True))
    rig.settle()
    client.received = b""
    farewell = error("FATAL", "25P03", "terminating connection due to idle-in-transaction timeout")
    rig.servers[0].wire.incoming += farewell
    rig.settle()
    assert client.received.startswith(farewell)
    assert rig.servers[0].wire.closed
    assert client.wire.closed
