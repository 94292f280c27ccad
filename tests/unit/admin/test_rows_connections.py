"""SHOW CLIENTS, SERVERS, SOCKETS, ACTIVE_SOCKETS and FDS."""

import re
import time

import pytest

from pooler.admin.tables import SHOW_TABLES
from pooler.relay import address
from pooler.relay.client import ClientConnection
from tests.unit.admin.fakes import FakePooler, databases


@pytest.fixture
def pooler() -> FakePooler:
    return FakePooler(databases(p0="host=h", forced="host=h user=alice"))


def rows(pooler: FakePooler, name: str) -> list[dict[str, object]]:
    table = SHOW_TABLES[name]
    return [
        {column: value for (column, _), value in zip(table.columns, row, strict=True)}
        for row in list(table.rows(pooler))
    ]


def named(pooler: FakePooler, connection: ClientConnection, application: str) -> None:
    parameters = pooler.registry.parameters
    position = parameters.position("application_name")
    assert position is not None
    connection.params = parameters.with_value(connection.params, position, application)


def test_a_client_and_its_server(pooler: FakePooler) -> None:
    server = pooler.busy_server("forced", "bob")
    client = server.link
    assert isinstance(client, ClientConnection)
    named(pooler, client, "app")
    client.query_ns = client.connect_ns - 2_000_000_000
    (row,) = rows(pooler, "clients")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [A-Z]+", str(row.pop("connect_time")))
    assert row.pop("request_time")
    assert 0 <= int(str(row.pop("wait_us"))) < 1_000_000
    assert row == {
        "type": "C",
        "user": "bob",
        "database": "forced",
        "replication": "none",
        "state": "active",
        "addr": "10.1.1.1",
        "port": 4001,
        "local_addr": "10.1.1.2",
        "local_port": 6432,
        "wait": 2,
        "close_needed": 0,
        "ptr": "0x1",
        "link": "0x2",
        "remote_pid": 0,
        "tls": "",
        "application_name": "app",
        "prepared_statements": 0,
        "id": 1,
    }
    server.close_needed = True
    (row,) = rows(pooler, "servers")
    assert row.pop("connect_time")
    assert row.pop("request_time")
    assert row == {
        "type": "S",
        "user": "alice",
        "database": "forced",
        "replication": "none",
        "state": "active",
        "addr": "10.2.2.2",
        "port": 5432,
        "local_addr": "10.1.1.2",
        "local_port": 3000,
        "wait": 0,
        "wait_us": 0,
        "close_needed": 1,
        "ptr": "0x2",
        "link": "0x1",
        "remote_pid": 4711,
        "tls": "",
        "application_name": "",
        "prepared_statements": 0,
        "id": 2,
    }


def test_pointers_are_those_of_the_log(pooler: FakePooler) -> None:
    client = pooler.client("p0", "bob")
    (row,) = rows(pooler, "clients")
    assert client.describe().startswith(f"C-{row['ptr']}: ")


def test_times_are_those_of_the_wall_clock(pooler: FakePooler, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    client = pooler.client("p0", "bob")
    monkeypatch.setattr(time, "monotonic_ns", lambda: client.connect_ns + 90 * 1_000_000_000)
    monkeypatch.setattr(time, "time_ns", lambda: 1_795_199_170 * 1_000_000_000)
    client.request_ns = client.connect_ns + 60 * 1_000_000_000
    (row,) = rows(pooler, "clients")
    assert row["connect_time"] == "2026-11-20 18:24:40 UTC"
    assert row["request_time"] == "2026-11-20 18:25:40 UTC"


def test_the_process_at_the_other_end_of_a_unix_socket(pooler: FakePooler) -> None:
    client = pooler.client("p0", "bob")
    client.remote = address.Address("unix", 6432, 77)
    (row,) = rows(pooler, "clients")
    assert (row["addr"], row["port"], row["remote_pid"]) == ("unix", 6432, 77)


def test_states_of_clients_come_in_order(pooler: FakePooler) -> None:
    idle = pooler.client("p0", "bob")
    pool = idle.pool
    assert pool is not None
    for place in (pool.waiting_cancels, pool.active_cancels, pool.waiting_clients):
        pooler.client("p0", "bob").move_last(place)
    pooler.connecting_client()
    states = [row["state"] for row in rows(pooler, "clients")]
    assert states == ["idle", "waiting", "active_cancel_req", "waiting_cancel_req"]


def test_states_of_servers_come_in_order(pooler: FakePooler) -> None:
    pool = pooler.busy_server("p0", "bob").pool
    for place in (
        pool.canceled_servers,
        pool.cancel_servers,
        pool.new_servers,
        pool.tested_servers,
        pool.used_servers,
        pool.idle_servers,
    ):
        pooler.server(pool, place)
    states = [row["state"] for row in rows(pooler, "servers")]
    assert states == ["active", "idle", "used", "tested", "new", "active_cancel", "being_canceled"]


def test_sockets_are_all_that_is_open(pooler: FakePooler) -> None:
    pool = pooler.busy_server("p0", "bob").pool
    for place in (pool.new_servers, pool.tested_servers, pool.used_servers, pool.idle_servers):
        pooler.server(pool, place)
    pooler.client("p0", "bob").move_last(pool.waiting_clients)
    pooler.connecting_client()
    found = rows(pooler, "sockets")
    assert [row["state"] for row in found] == [
        *("cl_active", "cl_waiting"),
        *("sv_active", "sv_idle", "sv_used", "sv_tested", "sv_login", "cl_login"),
    ]
    assert (found[-1]["user"], found[-1]["database"]) == ("(nouser)", "(nodb)")


def test_sockets_show_what_is_in_their_buffers(pooler: FakePooler) -> None:
    server = pooler.busy_server("p0", "bob")
    client = server.link
    assert isinstance(client, ClientConnection)
    client.pending = b"12345"
    client.head = b"Q"
    server.remaining = 300
    server.transport.unsent = 70
    columns = ("recv_pos", "pkt_pos", "pkt_remain", "send_pos", "send_remain", "pkt_avail", "send_avail")
    cl_row, sv_row = ([row[column] for column in columns] for row in rows(pooler, "sockets"))
    assert cl_row == [6, 0, 0, 0, 0, 6, 0]
    assert sv_row == [0, 0, 300, 0, 0, 0, 70]


def test_active_sockets_have_something_in_their_buffers(pooler: FakePooler) -> None:
    quiet, holding, slow = (pooler.client("p0", "bob") for _ in range(3))
    assert rows(pooler, "active_sockets") == []
    holding.head = b"Q\0"
    slow.transport.unsent = 1
    assert [row["id"] for row in rows(pooler, "active_sockets")] == [holding.id, slow.id]
    assert quiet.id not in (holding.id, slow.id)


def test_fds_are_numbers_without_secrets(pooler: FakePooler) -> None:
    pooler.registry.apply_secrets({"bob": "SCRAM-SHA-256$very secret"})
    server = pooler.busy_server("p0", "bob")
    client = server.link
    assert isinstance(client, ClientConnection)
    client.cancel_key = b"\x01secret\x02"
    position = pooler.registry.parameters.position("client_encoding")
    assert position is not None
    client.params = pooler.registry.parameters.with_value(client.params, position, "UTF8")
    pooler.connecting_client(fd=33)
    pooler.console()
    nothing = (None,) * 7
    assert list(SHOW_TABLES["fds"].rows(pooler)) == [
        (5, "pooler", None, None, "127.0.0.1", 6432, 0, 0, *nothing),
        (6, "pooler", None, None, "unix", 6432, 0, 0, *nothing),
        (33, "client", None, None, "10.1.1.1", 4003, 0, 0, *nothing),
        (9, "client", "bob", "p0", "10.1.1.1", 4001, 0, 19, "UTF8", *nothing[1:]),
        (19, "server", "bob", "p0", "10.2.2.2", 5432, 0, 9, *nothing),
    ]


def test_fds_leave_out_what_is_not_connected_yet(pooler: FakePooler) -> None:
    server = pooler.busy_server("p0", "bob")
    pooler.server(server.pool, server.pool.new_servers).transport = None
    assert [row["fd"] for row in rows(pooler, "fds")] == [5, 6, 9, 19]
