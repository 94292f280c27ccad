"""However a conversation is cut into pieces, and whatever overtakes what: each client gets the bytes that
PostgreSQL itself would have sent it, and a server is free exactly when it is at rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.relay.conversations import Conversation, Kind, conversations
from tests.unit.relay.rig import ALL, ClientEnd, Paces, Reader, Rig, everything, without_notifications

# A failure is made smaller for up to five minutes.
pytestmark = pytest.mark.timeout(400)

SIZES = st.sampled_from([1, 2, 3, 4, 5, 6, 7, 8, 13, 21, 34, 100, 1000, ALL])
"""Bytes of a piece that the pooler gets."""

TAKEN = st.sampled_from([5, 50, 1000, ALL])
"""Bytes of a piece that it sends: how they are cut makes no difference, how soon they are gone does."""

MOVES = st.lists(st.tuples(st.integers(0, 8), SIZES), max_size=60)
"""Which of the actors does something, and for how many bytes."""


@dataclass(frozen=True, slots=True)
class Way:
    """How conversations go: first these moves, then all the rest at these paces.

    With `ahead` clients do not wait for their login to be over.
    """

    moves: list[tuple[int, int]]
    paces: Paces
    high_water: int
    hesitant: bool
    reports_at_once: bool
    ahead: bool


WAYS = st.builds(
    Way,
    MOVES,
    st.builds(Paces, client_sends=SIZES, client_takes=TAKEN, server_sends=SIZES, server_takes=TAKEN),
    st.sampled_from([64 * 1024, 100, 0]),
    st.booleans(),
    st.booleans(),
    st.integers(0, 3).map(lambda number: number == 3),
)
PREPARED = st.sampled_from([0, 2, 200])


def rig_for(
    way: Way,
    clients: Sequence[Conversation],
    mode: str,
    pool_size: int,
    max_prepared: int,
    reads: Reader = everything,
    guard: str = "warn",
) -> Rig:
    """A pooler that these clients have connected to."""
    names: dict[str, object] = {
        "pool_mode": mode,
        "default_pool_size": pool_size,
        "max_prepared_statements": max_prepared,
        "transaction_mode_guard": guard,
    }
    rig = Rig(names, way.high_water, way.hesitant, way.reports_at_once)
    for conversation in clients:
        rig.connect(conversation, reads)
    if not way.ahead:
        rig.settle()
    for client in rig.clients:
        client.begun = True
    return rig


def move(rig: Rig, moves: list[tuple[int, int]]) -> None:
    for actor, size in moves:
        actors = rig.actors()
        actors[actor % len(actors)](size)


def go(rig: Rig, way: Way) -> None:
    """To where nothing can move without a client leaving."""
    move(rig, way.moves)
    rig.settle(way.paces)


def check_servers(rig: Rig) -> None:
    """What is at rest is free, and nothing else is."""
    for server in rig.servers:
        if server.wire.closed:
            continue
        assert (server.place is rig.pool.idle_servers) == server.model.at_rest
        assert not server.model.at_rest or len(server.connection.queue) == 0
        assert server.model.own_statements <= rig.context.max_prepared


def finish(rig: Rig, way: Way, clients: Sequence[ClientEnd]) -> None:
    """Those who have all their answers leave, until nobody is left; then no server may be in use."""
    staying = list(clients)
    while staying:
        satisfied = [client for client in staying if client.satisfied]
        assert satisfied, "nobody gets on"
        leaving = satisfied[0]
        assert leaving.received == leaving.expected
        staying.remove(leaving)
        leaving.say_goodbye()
        rig.settle(way.paces)
    assert all(client.wire.closed for client in rig.clients)
    assert rig.registry.client_count == 0
    assert rig.pool.active_servers.count == 0
    check_servers(rig)


@settings(deadline=None)
@given(conversations(Kind(), "ada"), WAYS, PREPARED)
def test_one_client_in_transaction_mode(conversation: Conversation, way: Way, max_prepared: int) -> None:
    rig = rig_for(way, [conversation], "transaction", 1, max_prepared)
    go(rig, way)
    assert rig.clients[0].received == rig.clients[0].expected
    check_servers(rig)
    finish(rig, way, rig.clients)


@settings(deadline=None)
@given(conversations(Kind(), "ada"), WAYS, PREPARED.filter(bool), st.sampled_from(["reset", "error"]))
def test_one_client_whose_statements_are_guarded(
    conversation: Conversation, way: Way, max_prepared: int, guard: str
) -> None:
    """None of them is refused, so nothing changes for it. Named statements that the pooler does not look
    after (0 of them) are on their server, and go when that is cleaned.
    """
    rig = rig_for(way, [conversation], "transaction", 1, max_prepared, guard=guard)
    go(rig, way)
    assert rig.clients[0].received == rig.clients[0].expected
    finish(rig, way, rig.clients)


@settings(deadline=None)
@given(conversations(Kind(late=True), "ada"), WAYS, PREPARED)
def test_one_client_in_session_mode(conversation: Conversation, way: Way, max_prepared: int) -> None:
    rig = rig_for(way, [conversation], "session", 1, max_prepared)
    go(rig, way)
    assert rig.clients[0].received == rig.clients[0].expected
    finish(rig, way, rig.clients)


PAIRS = st.tuples(conversations(Kind(), "ada"), conversations(Kind(), "bob"))
UNNAMED_PAIRS = st.tuples(conversations(Kind(named=False), "ada"), conversations(Kind(named=False), "bob"))
LATE_PAIRS = st.tuples(conversations(Kind(late=True), "ada"), conversations(Kind(late=True), "bob"))
POOL_SIZES = st.integers(1, 2)


@settings(deadline=None)
@given(PAIRS, WAYS, POOL_SIZES, st.sampled_from([2, 200]))
def test_two_clients_in_transaction_mode(
    pair: Sequence[Conversation], way: Way, pool_size: int, max_prepared: int
) -> None:
    rig = rig_for(way, pair, "transaction", pool_size, max_prepared)
    go(rig, way)
    check_servers(rig)
    finish(rig, way, rig.clients)


@settings(deadline=None)
@given(UNNAMED_PAIRS, WAYS, POOL_SIZES)
def test_two_clients_in_transaction_mode_without_prepared_statements(
    pair: Sequence[Conversation], way: Way, pool_size: int
) -> None:
    rig = rig_for(way, pair, "transaction", pool_size, 0)
    go(rig, way)
    check_servers(rig)
    finish(rig, way, rig.clients)


@settings(deadline=None)
@given(LATE_PAIRS, WAYS, POOL_SIZES, PREPARED)
def test_two_clients_in_session_mode(
    pair: Sequence[Conversation], way: Way, pool_size: int, max_prepared: int
) -> None:
    rig = rig_for(way, pair, "session", pool_size, max_prepared)
    go(rig, way)
    finish(rig, way, rig.clients)


@settings(deadline=None)
@given(LATE_PAIRS, WAYS, POOL_SIZES)
def test_what_a_server_says_unasked_goes_to_one_client_or_to_none(
    pair: Sequence[Conversation], way: Way, pool_size: int
) -> None:
    rig = rig_for(way, pair, "transaction", pool_size, 2, without_notifications)
    go(rig, way)
    finish(rig, way, rig.clients)


@settings(deadline=None, max_examples=200)
@given(
    PAIRS,
    WAYS,
    MOVES,
    SIZES,
    st.sampled_from(["transaction", "session"]),
    st.sampled_from([True, True, True, False]),
    st.booleans(),
)
def test_a_client_that_leaves_leaves_nothing_to_the_next(
    pair: Sequence[Conversation],
    way: Way,
    more: list[tuple[int, int]],
    size: int,
    mode: str,
    arrived: bool,
    politely: bool,
) -> None:
    rig = rig_for(way, pair, mode, 1, 2)
    leaving, staying = rig.clients
    move(rig, way.moves)
    leaving.deliver(ALL if politely else size)
    for server in rig.servers:
        server.take(ALL * arrived)
    if politely:
        leaving.say_goodbye()
        leaving.deliver(ALL)
    else:
        leaving.wire.vanish()
    move(rig, more)
    rig.settle(way.paces)
    assert leaving.expected.startswith(leaving.received)
    if mode == "transaction":
        check_servers(rig)
    finish(rig, way, [staying])
