"""Columns, order and types of every SHOW, and the rows that do not depend on connections."""

import re
from dataclasses import replace

import pytest

from pooler.admin.tables import HELP, SHOW_TABLES
from pooler.config.entries import parse_user
from pooler.config.settings import SETTINGS, Settings
from pooler.pool.registry import Pause
from pooler.wire.messages import BYTEA, INT4, INT8, NUMERIC, TEXT
from tests.unit.admin.fakes import FakePooler, databases

TYPES = {"text": TEXT, "int4": INT4, "int8": INT8, "numeric": NUMERIC, "bytea": BYTEA}

CLIENTS = """type text, user text, database text, replication text, state text, addr text, port int4,
    local_addr text, local_port int4, connect_time text, request_time text, wait int4, wait_us int4,
    close_needed int4, ptr text, link text, remote_pid int4, tls text, application_name text,
    prepared_statements int4, id int4"""
SOCKETS = f"""{CLIENTS}, recv_pos int4, pkt_pos int4, pkt_remain int4, send_pos int4, send_remain int4,
    pkt_avail int4, send_avail int4"""
STATS_TOTALS = """server_assignment_count numeric, xact_count numeric, query_count numeric,
    bytes_received numeric, bytes_sent numeric, xact_time numeric, query_time numeric, wait_time numeric"""

OWN = {
    "logins",
    "certificates",
    *("config_diff", "audit", "log"),
    *("latency", "waits", "wait_stats", "client_stats", "errors", "server_stats", "unsafe"),
}

READ_FROM_PGBOUNCER = {
    "databases": """name text, host text, port int4, database text, force_user text, pool_size int4,
        min_pool_size int4, reserve_pool_size int4, server_lifetime int4, pool_mode text,
        load_balance_hosts text, max_connections int4, current_connections int4, max_client_connections int4,
        current_client_connections int4, paused int4, disabled int4""",
    "pools": """database text, user text, cl_active int4, cl_waiting int4, cl_active_cancel_req int4,
        cl_waiting_cancel_req int4, sv_active int4, sv_active_cancel int4, sv_being_canceled int4,
        sv_idle int4, sv_used int4, sv_tested int4, sv_login int4, maxwait int4, maxwait_us int4,
        pool_mode text, load_balance_hosts text""",
    "clients": CLIENTS,
    "servers": CLIENTS,
    "users": """name text, pool_size text, reserve_pool_size text, pool_mode text, max_user_connections int4,
        current_connections int4, max_user_client_connections int4, current_client_connections int4""",
    "peers": "peer_id int4, host text, port int4, pool_size int4",
    "peer_pools": """peer_id int4, cl_active_cancel_req int4, cl_waiting_cancel_req int4,
        sv_active_cancel int4, sv_login int4""",
    "fds": """fd int4, task text, user text, database text, addr text, port int4, cancel int8, link int4,
        client_encoding text, std_strings text, datestyle text, timezone text, password text,
        scram_client_key bytea, scram_server_key bytea""",
    "sockets": SOCKETS,
    "active_sockets": SOCKETS,
    "lists": "list text, items int4",
    "mem": "name text, size int4, used int4, free int4, memtotal int4",
    "state": "key text, value text",
    "dns_hosts": "hostname text, ttl int8, addrs text",
    "dns_zones": "zonename text, serial int8, count int4",
    "config": "key text, value text, default text, changeable text",
    "stats": """database text, total_server_assignment_count numeric, total_xact_count numeric,
        total_query_count numeric, total_received numeric, total_sent numeric, total_xact_time numeric,
        total_query_time numeric, total_wait_time numeric, total_client_parse_count numeric,
        total_server_parse_count numeric, total_bind_count numeric, total_client_login_count numeric,
        avg_server_assignment_count numeric, avg_xact_count numeric, avg_query_count numeric,
        avg_recv numeric, avg_sent numeric, avg_xact_time numeric, avg_query_time numeric,
        avg_wait_time numeric, avg_client_parse_count numeric, avg_server_parse_count numeric,
        avg_bind_count numeric, avg_client_login_count numeric""",
    "stats_totals": f"""database text, {STATS_TOTALS}, client_parse_count numeric,
        server_parse_count numeric, bind_count numeric, client_login_count numeric""",
    "stats_averages": f"""database text, {STATS_TOTALS}, avg_client_parse_count numeric,
        avg_server_parse_count numeric, avg_bind_count numeric, avg_client_login_count numeric""",
    "totals": "name text, value numeric",
    "version": "version text",
    "help": "",
}
"""What PgBouncer announces in its RowDescription."""


@pytest.fixture
def pooler() -> FakePooler:
    return FakePooler(
        databases(
            p0="host=10.0.0.1 dbname=postgres",
            many="host=10.0.0.1,10.0.0.2 port=5433 pool_size=3 reserve_pool_size=1 pool_mode=transaction "
            "server_lifetime=100 max_db_connections=7 max_db_client_connections=8",
            forced="user=alice",
        )
    )


def test_there_are_the_tables_of_pgbouncer_and_our_own() -> None:
    assert SHOW_TABLES.keys() == READ_FROM_PGBOUNCER.keys() | OWN
    assert {name for name, table in SHOW_TABLES.items() if table.admin_only} == {"fds", "logins", "log"}


@pytest.mark.parametrize("name", READ_FROM_PGBOUNCER)
def test_columns(name: str) -> None:
    words = [column.split() for column in re.split(r",\s*", READ_FROM_PGBOUNCER[name]) if column]
    assert list(SHOW_TABLES[name].columns) == [(column, TYPES[type_]) for column, type_ in words]


@pytest.mark.parametrize(
    "name", sorted(READ_FROM_PGBOUNCER.keys() - {"help", "peers", "peer_pools", "dns_zones"})
)
def test_rows_have_a_value_for_every_column(name: str, pooler: FakePooler) -> None:
    pooler.busy_server("p0", "bob").head = b"Q"
    table = SHOW_TABLES[name]
    rows = list(table.rows(pooler))
    assert rows
    for row in rows:
        assert len(row) == len(table.columns)
        for value, (column, oid) in zip(row, table.columns, strict=True):
            if value is not None:
                assert isinstance(value, str if oid in (TEXT, BYTEA) else int), column
                assert not isinstance(value, bool), column


@pytest.mark.parametrize("name", ["help", "peers", "peer_pools", "dns_zones"])
def test_what_has_no_rows_here(name: str, pooler: FakePooler) -> None:
    assert list(SHOW_TABLES[name].rows(pooler)) == []


def test_help_is_one_of_the_tables() -> None:
    assert SHOW_TABLES["help"] is HELP


def test_databases(pooler: FakePooler) -> None:
    pooler.busy_server("p0", "bob")
    pooler.registry.databases["many"].paused = True
    pooler.registry.databases["many"].disabled = True
    assert list(SHOW_TABLES["databases"].rows(pooler)) == [
        ("forced", None, 5432, "forced", "alice", 20, 0, 0, 3600, None, None, 0, 0, 0, 0, 0, 0),
        (
            *("many", "10.0.0.1,10.0.0.2", 5433, "many", None, 3, 0, 1, 100),
            *("transaction", "round-robin", 7, 0, 8, 0, 1, 1),
        ),
        ("p0", "10.0.0.1", 5432, "postgres", None, 20, 0, 0, 3600, None, None, 0, 1, 0, 0, 0, 0),
        (
            *("pgbouncer", None, 6432, "pgbouncer", "pgbouncer", 2, 0, 0, 3600),
            *("statement", None, 0, 0, 0, 0, 0, 0),
        ),
    ]


def test_settings_show_in_databases_unless_they_have_their_own(pooler: FakePooler) -> None:
    pooler.registry.settings = Settings(
        default_pool_size=30, min_pool_size=2, reserve_pool_size=4, max_db_connections=9, server_lifetime=60
    )
    rows = {row[0]: row for row in list(SHOW_TABLES["databases"].rows(pooler))}
    assert rows["p0"][5:9] == (30, 2, 4, 60)
    assert rows["p0"][11] == 9
    assert rows["many"][5:9] == (3, 2, 1, 100)
    assert rows["many"][11] == 7
    assert rows["pgbouncer"][5:9] == (2, 2, 4, 60)


def test_users() -> None:
    snapshot = databases(p0="host=h")
    bob = parse_user("bob", "pool_size=5 reserve_pool_size=12 pool_mode=statement max_user_connections=9")
    pooler = FakePooler(replace(snapshot, users={"bob": bob}))
    pooler.busy_server("p0", "carol")
    assert list(SHOW_TABLES["users"].rows(pooler)) == [
        ("bob", "        5", "       12", "statement", 9, 0, 0, 0),
        ("carol", "", "", None, 0, 1, 0, 0),
        ("pgbouncer", "", "", None, 0, 0, 0, 0),
    ]


def test_pools_are_counted_by_state(pooler: FakePooler) -> None:
    pool = pooler.busy_server("many", "bob").pool
    for place, count in (
        (pool.idle_servers, 2),
        (pool.used_servers, 3),
        (pool.tested_servers, 4),
        (pool.new_servers, 5),
        (pool.cancel_servers, 6),
        (pool.canceled_servers, 7),
    ):
        for _ in range(count):
            pooler.server(pool, place)
    for place, count in ((pool.waiting_clients, 2), (pool.active_cancels, 3), (pool.waiting_cancels, 4)):
        for _ in range(count):
            pooler.client("many", "bob").move_last(place)
    admin, many = sorted(SHOW_TABLES["pools"].rows(pooler), reverse=True)
    assert many == ("many", "bob", 1, 2, 3, 4, 1, 6, 7, 2, 3, 4, 5, 0, 0, "transaction", "round-robin")
    assert admin == ("pgbouncer", "pgbouncer", *(0,) * 13, "statement", None)


def test_pools_show_how_long_the_first_in_line_has_waited(pooler: FakePooler) -> None:
    first, second = pooler.client("p0", "bob"), pooler.client("p0", "bob")
    assert first.pool is not None
    for client, seconds in ((first, 7), (second, 3)):
        client.query_ns = client.connect_ns - seconds * 1_000_000_000
        client.move_last(first.pool.waiting_clients)
    row = next(iter(SHOW_TABLES["pools"].rows(pooler)))
    assert row[13] == 7
    assert isinstance(row[14], int)
    assert 0 <= row[14] < 1_000_000


def test_state(pooler: FakePooler) -> None:
    assert list(SHOW_TABLES["state"].rows(pooler)) == [
        ("active", "yes"),
        ("paused", "no"),
        ("suspended", "no"),
    ]
    pooler.registry.set_pause(Pause.SUSPEND)
    assert list(SHOW_TABLES["state"].rows(pooler)) == [
        ("active", "no"),
        ("paused", "no"),
        ("suspended", "yes"),
    ]


def test_lists(pooler: FakePooler) -> None:
    pooler.busy_server("p0", "bob")
    pooler.connecting_client()
    assert dict(list(SHOW_TABLES["lists"].rows(pooler))) == {  # type: ignore[arg-type]
        "databases": 4,
        "users": 3,
        "peers": 0,
        "pools": 2,
        "peer_pools": 0,
        "free_clients": 0,
        "used_clients": 2,
        "login_clients": 1,
        "free_servers": 0,
        "used_servers": 1,
        "dns_names": 1,
        "dns_zones": 2,
        "dns_queries": 3,
        "dns_pending": 4,
    }


def test_mem_counts_what_is_in_use(pooler: FakePooler) -> None:
    server = pooler.busy_server("p0", "bob")
    server.queue.push(ord("Q"))
    server.head = b"T\0\0"
    rows = {str(row[0]): row for row in list(SHOW_TABLES["mem"].rows(pooler))}
    assert {name: row[2] for name, row in rows.items()} == {
        "user_cache": 3,
        "credentials_cache": 3,
        "db_cache": 4,
        "peer_cache": 0,
        "peer_pool_cache": 0,
        "pool_cache": 2,
        "outstanding_request_cache": 1,
        "server_cache": 1,
        "client_cache": 1,
        "iobuf_cache": 1,
        "var_list_cache": 1,
        "server_prepared_statement_cache": 0,
    }
    for _, size, used, free, total in rows.values():
        assert isinstance(size, int)
        assert isinstance(used, int)
        assert (free, total) == (0, size * used)


def test_config_shows_every_setting(pooler: FakePooler) -> None:
    pooler.registry.settings = Settings(pool_mode=SETTINGS["pool_mode"].parse("statement"), stats_period=7)
    rows = {row[0]: row[1:] for row in list(SHOW_TABLES["config"].rows(pooler))}
    assert list(rows) == list(SETTINGS)
    assert rows["pool_mode"] == ("statement", "session", "yes")
    assert rows["stats_period"] == ("7", "60", "yes")
    assert rows["listen_port"] == ("6432", "6432", "no")
    assert rows["unix_socket_mode"] == ("511", "0777", "no")
    assert rows["auth_user"] == (None, None, "yes")


def test_version_and_dns_come_from_the_host(pooler: FakePooler) -> None:
    assert list(SHOW_TABLES["version"].rows(pooler)) == [("PgBouncer 1.25.2",)]
    assert list(SHOW_TABLES["dns_hosts"].rows(pooler)) == [("db.example", 12, "10.0.0.1:0,10.0.0.2:0")]
