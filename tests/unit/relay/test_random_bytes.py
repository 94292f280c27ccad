"""Connections that get what nobody should send: no exception comes out of them, every list is as it should
be, and others are served as before.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable

from hypothesis import example, given, settings
from hypothesis import strategies as st

from pooler.wire.messages import split
from tests.chaos.wire import (
    COPY_DONE,
    FLUSH,
    SYNC,
    TERMINATE,
    bind,
    close_statement,
    copy_data,
    copy_fail,
    describe_portal,
    describe_statement,
    execute,
    function_call,
    parse,
    query,
)
from tests.support.rawclient import GSSENC_REQUEST, SSL_REQUEST, message, startup_message
from tests.unit.relay.conversations import DATABASE, USER, WITH_PARAMETER, Conversation, Step
from tests.unit.relay.rig import ALL, SECRET, Paces, Rig

SIZES = st.sampled_from([1, 3, 10, ALL])
PACES = st.builds(Paces, client_sends=SIZES, server_sends=SIZES)
EDITS = st.lists(st.tuples(st.integers(0, 300), st.integers(0, 9), st.binary(max_size=9)), max_size=3)
MODES = st.sampled_from(["transaction", "session", "statement"])
PREPARED = st.sampled_from([0, 1, 200])
STARTUP = startup_message(USER, DATABASE)


def edited(data: bytes, edits: list[tuple[int, int, bytes]]) -> bytes:
    """Here and there some bytes are replaced by others."""
    for position, removed, inserted in edits:
        position %= len(data) + 1
        data = data[:position] + inserted + data[position + removed :]
    return data


def almost(messages: list[bytes]) -> st.SearchStrategy[bytes]:
    """Some of these messages in any order, with something wrong about them."""
    some = st.lists(st.sampled_from(messages), max_size=10).map(b"".join)
    return st.one_of(st.binary(max_size=60), st.builds(edited, some, EDITS))


def check_lists(rig: Rig) -> None:
    """Who is open is in one list, and nobody else is; links lead both ways."""
    registry, pool = rig.registry, rig.pool
    for members in (*pool.client_lists(), *pool.server_lists(), registry.login_clients):
        assert all(member.place is members for member in members)
        assert len(members.members()) == members.count
    clients = {end.connection for end in rig.clients if not end.wire.closed}
    assert set(registry.clients()) == clients
    assert registry.client_count == len(clients)
    servers = {end.connection for end in rig.servers if not end.wire.closed}
    assert set(registry.servers()) == servers
    assert pool.database.connections == len(servers)
    assert all(client.link is None or client.link.link is client for client in clients)
    for server in servers:
        assert server.link is None or server.link.link is server
        assert (server.link is None) == (server.place not in (pool.active_servers, pool.canceled_servers))


def check_others_are_served(rig: Rig) -> None:
    """Everybody else leaves, and a new client gets what it asks for."""
    for client in rig.clients:
        client.wire.vanish()
    rig.settle()
    for server in rig.servers:
        if server.place is rig.pool.canceled_servers:
            server.wire.vanish()  # as after cancel_wait_timeout
    rig.pool.launch()
    rig.settle()
    name = "s1" if rig.context.max_prepared > 0 else ""
    steps = [Step(query("SELECT 'bob'"), True), Step(parse(name, WITH_PARAMETER, 1) + SYNC, False)]
    steps.append(Step(bind("", name, "bob") + execute() + SYNC, True))
    client = rig.connect(Conversation(startup_message(USER, DATABASE, application_name="bob"), steps))
    client.begun = True
    rig.settle()
    assert client.received == client.expected
    check_lists(rig)


def rig_for(mode: str = "transaction", **settings: object) -> Rig:
    names = {"pool_mode": mode, "default_pool_size": 1, "server_login_retry": 0, **settings}
    return Rig(names, forgiving=True)


# From clients ----------------------------------------------------------------------------------------------

REQUESTS = [
    *(query(sql) for sql in ("SELECT 'ada'", "BEGIN", "COMMIT", "SELECT 1/0", "", "COPY t FROM STDIN")),
    query("DISCARD ALL"),
    query("SET application_name = 'ada'"),
    parse("", "SELECT 'ada'"),
    parse("s1", WITH_PARAMETER, 1),
    parse("s2", "COPY t FROM STDIN"),
    bind("", ""),
    bind("", "s1", "ada"),
    bind("", "s2"),
    *(describe_statement(name) for name in ("", "s1")),
    describe_portal(""),
    execute(),
    execute("", 1),
    *(close_statement(name) for name in ("", "s1", "s2")),
    function_call(1, "ada"),
    copy_data("row"),
    COPY_DONE,
    copy_fail("enough"),
    SYNC,
    SYNC,
    FLUSH,
    b"Q\0\0\0\3",
    b"Q\xff\xff\xff\xff",
]


@settings(deadline=None)
@given(almost(REQUESTS), PACES, MODES, PREPARED)
def test_a_client_may_say_anything(data: bytes, paces: Paces, mode: str, max_prepared: int) -> None:
    rig = rig_for(mode, max_prepared_statements=max_prepared)
    client = rig.connect(Conversation(STARTUP))
    rig.settle()
    client.wire.incoming += data
    rig.settle(paces)
    check_lists(rig)
    check_others_are_served(rig)


def scram(first: bytes) -> bytes:
    """SASLInitialResponse."""
    return message("p", b"SCRAM-SHA-256\0" + struct.pack("!i", len(first)) + first)


LOGIN_PACKETS = [
    STARTUP,
    startup_message(USER, DATABASE, options="-c TimeZone=UTC --DateStyle=ISO"),
    startup_message(USER, "nosuch", client_encoding="UTF8"),
    startup_message("nobody", DATABASE, application_name="x", _pq_test="1"),
    startup_message(USER, DATABASE, replication="database"),
    SSL_REQUEST,
    GSSENC_REQUEST,
    struct.pack("!IIII", 16, 80877102, 4711, 815),
    message("p", SECRET.encode() + b"\0"),
    message("p", b"md5" + hashlib.md5(b"salt").hexdigest().encode() + b"\0"),
    scram(b"n,,n=,r=fyko+d2lbbFgONRv9qkxdawL"),
    scram(b"y,,n=,r=rOprNGfwEbeRWgbNEkqO"),
    message("p", b"c=biws,r=rOprNGfwEbeRWgbNEkqO,p=" + b"A" * 43 + b"="),
    query("SELECT 'ada'"),
    TERMINATE,
]


@settings(deadline=None)
@given(
    almost(LOGIN_PACKETS) | almost(LOGIN_PACKETS).map(lambda data: STARTUP + data),
    PACES,
    st.sampled_from(["trust", "plain", "md5", "scram-sha-256"]),
)
def test_a_client_may_begin_with_anything(data: bytes, paces: Paces, auth_type: str) -> None:
    rig = rig_for(auth_type=auth_type, scram_iterations=1)
    client = rig.connect(Conversation(b""))
    client.wire.incoming += data
    rig.settle(paces)
    check_lists(rig)
    client.wire.vanish()
    rig.settle()
    check_lists(rig)
    assert rig.registry.client_count == 0


# From servers ----------------------------------------------------------------------------------------------

ANSWERS = [
    *(message("Z", status) for status in (b"I", b"I", b"T", b"E")),
    message("T", b"\0\1text\0" + bytes(18)),
    message("D", b"\0\1\0\0\0\3ada"),
    *(message("C", tag + b"\0") for tag in (b"SELECT 1", b"SET", b"DISCARD ALL", b"DEALLOCATE ALL")),
    message("E", b"SERROR\0C22012\0Mdivision by zero\0\0"),
    message("N", b"SNOTICE\0C00000\0Mhear\0\0"),
    message("A", bytes(4) + b"channel\0payload\0"),
    *(message("S", name + b"\0ada\0") for name in (b"TimeZone", b"application_name", b"other")),
    message("K", bytes(8)),
    *(message("R", struct.pack("!I", code) + bytes(4)) for code in (0, 3, 5)),
    message("R", struct.pack("!I", 10) + b"SCRAM-SHA-256\0\0"),
    message("R", struct.pack("!I", 11) + b"r=abc,s=QUJD,i=1"),
    message("R", struct.pack("!I", 12) + b"v=" + b"A" * 43 + b"="),
    *(message(kind) for kind in "123nsIcv"),
    message("t", bytes(2)),
    *(message(kind, b"\0\0\1\0\0") for kind in "GHW"),
    message("d", b"row"),
    message("V", b"\0\0\0\3ada"),
    b"D\0\0\0\0",
    b"C\xff\xff\xff\xff",
]
LOGGED_IN = message("R", bytes(4)) + message("K", bytes(8)) + message("Z", b"I")


def about_to_log_in(rig: Rig) -> None:
    rig.connect(Conversation(STARTUP)).deliver(ALL)
    while rig.run_soon():
        pass


def unlinked(rig: Rig) -> None:
    rig.connect(Conversation(STARTUP))
    rig.settle()


def linked(rig: Rig) -> None:
    unlinked(rig)
    rig.clients[0].wire.incoming += query("SELECT 'ada'")
    rig.clients[0].deliver(ALL)


def in_a_pipeline(rig: Rig) -> None:
    """With everything that can be in a queue."""
    unlinked(rig)
    rig.clients[0].wire.incoming += parse("s1", WITH_PARAMETER, 1) + parse("s2", "") + parse("s3", "") + SYNC
    rig.settle()
    data = bind("", "s1", "ada") + execute() + close_statement("s1") + parse("s3", "SELECT 1") + SYNC
    rig.clients[0].wire.incoming += query("BEGIN") + data + query("COPY t FROM STDIN") + COPY_DONE
    rig.clients[0].deliver(ALL)


def setting_parameters(rig: Rig) -> None:
    rig.connect(Conversation(startup_message(USER, DATABASE, application_name="ada")))
    rig.settle()
    rig.clients[0].wire.incoming += query("SELECT 'ada'")
    rig.clients[0].deliver(ALL)


def resetting(rig: Rig) -> None:
    linked(rig)
    rig.settle()
    rig.clients[0].wire.incoming += TERMINATE
    rig.clients[0].deliver(ALL)


def abandoned(rig: Rig) -> None:
    linked(rig)
    rig.servers[0].take(ALL)
    rig.servers[0].wire.incoming.clear()
    rig.clients[0].wire.vanish()


BROKEN_PARAMETER = message("S", b"TimeZone\0UTC")


@settings(deadline=None)
@example(linked, BROKEN_PARAMETER, Paces(), "transaction", 0)
@example(unlinked, BROKEN_PARAMETER, Paces(), "transaction", 0)
@example(resetting, BROKEN_PARAMETER, Paces(), "session", 0)
@given(
    st.sampled_from(
        [about_to_log_in, unlinked, linked, in_a_pipeline, setting_parameters, resetting, abandoned]
    ),
    almost(ANSWERS) | almost(ANSWERS).map(lambda data: LOGGED_IN + data),
    PACES,
    MODES,
    PREPARED,
)
def test_a_server_may_say_anything(
    scene: Callable[[Rig], None], data: bytes, paces: Paces, mode: str, max_prepared: int
) -> None:
    rig = rig_for(mode, max_prepared_statements=max_prepared)
    scene(rig)
    server = rig.servers[0]
    server.deaf = True
    server.wire.incoming += data
    rig.settle(paces)
    check_lists(rig)
    list(split(bytearray(rig.clients[0].received), 1 << 31))  # no client gets anything else than messages
    server.wire.vanish()
    rig.settle()
    check_lists(rig)
    check_others_are_served(rig)
