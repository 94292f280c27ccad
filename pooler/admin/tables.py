"""The one table of SHOW results: name, columns and where the rows come from.

Collecting rows, merging them (one process collects today, several may later) and encoding them are separate
steps: a table gives plain Python values. Columns, their order and their types are PgBouncer's (its usage.md).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final

from pooler.admin import (
    audit,
    config_rows,
    rows_access,
    rows_connections,
    rows_events,
    rows_pools,
    rows_process,
    rows_stats,
    rows_times,
)
from pooler.admin.console import Column, Row
from pooler.admin.host import AdminHost
from pooler.pool.stats import COUNTERS
from pooler.wire.messages import BYTEA, INT4, INT8, NUMERIC, TEXT


@dataclass(frozen=True, slots=True)
class ShowTable:
    """What SHOW `name` gives."""

    name: str
    columns: tuple[Column, ...]
    rows: Callable[[AdminHost], Iterable[Row]]
    """All of one moment: what changes is read at once, the rows themselves may be made later."""
    admin_only: bool = False
    """Whether stats_users may not see it."""


def _columns(oid: int, names: str) -> tuple[Column, ...]:
    return tuple((name, oid) for name in names.split())


_SOCKET: Final = (
    *_columns(TEXT, "type user database replication state addr"),
    ("port", INT4),
    ("local_addr", TEXT),
    ("local_port", INT4),
    *_columns(TEXT, "connect_time request_time"),
    *_columns(INT4, "wait wait_us close_needed"),
    *_columns(TEXT, "ptr link"),
    ("remote_pid", INT4),
    *_columns(TEXT, "tls application_name"),
    *_columns(INT4, "prepared_statements id"),
)

_SOCKET_WITH_BUFFERS: Final = (
    *_SOCKET,
    *_columns(INT4, "recv_pos pkt_pos pkt_remain send_pos send_remain pkt_avail send_avail"),
)

_DATABASES: Final = (
    *_columns(TEXT, "name host"),
    ("port", INT4),
    *_columns(TEXT, "database force_user"),
    *_columns(INT4, "pool_size min_pool_size reserve_pool_size server_lifetime"),
    *_columns(TEXT, "pool_mode load_balance_hosts"),
    *_columns(INT4, "max_connections current_connections max_client_connections current_client_connections"),
    *_columns(INT4, "paused disabled"),
)

_POOLS: Final = (
    *_columns(TEXT, "database user"),
    *_columns(INT4, "cl_active cl_waiting cl_active_cancel_req cl_waiting_cancel_req"),
    *_columns(INT4, "sv_active sv_active_cancel sv_being_canceled sv_idle sv_used sv_tested sv_login"),
    *_columns(INT4, "maxwait maxwait_us"),
    *_columns(TEXT, "pool_mode load_balance_hosts"),
)

_USERS: Final = (
    *_columns(TEXT, "name pool_size reserve_pool_size pool_mode"),
    *_columns(INT4, "max_user_connections current_connections"),
    *_columns(INT4, "max_user_client_connections current_client_connections"),
)

_PEERS: Final = (("peer_id", INT4), ("host", TEXT), *_columns(INT4, "port pool_size"))

_PEER_POOLS: Final = _columns(
    INT4, "peer_id cl_active_cancel_req cl_waiting_cancel_req sv_active_cancel sv_login"
)

_FDS: Final = (
    ("fd", INT4),
    *_columns(TEXT, "task user database addr"),
    ("port", INT4),
    ("cancel", INT8),
    ("link", INT4),
    *_columns(TEXT, "client_encoding std_strings datestyle timezone password"),
    *_columns(BYTEA, "scram_client_key scram_server_key"),
)


def _stats(prefix: str, received: str, sent: str) -> tuple[Column, ...]:
    """The counters; bytes of clients and servers go by other names here."""
    names = {"client_bytes": received, "server_bytes": sent}
    return tuple((prefix + names.get(counter, counter), NUMERIC) for counter in COUNTERS)


_BYTES: Final = ("bytes_received", "bytes_sent")

_STATS: Final = (("database", TEXT), *_stats("total_", "received", "sent"), *_stats("avg_", "recv", "sent"))
_STATS_TOTALS: Final = (("database", TEXT), *_stats("", *_BYTES))
_STATS_AVERAGES: Final = (("database", TEXT), *_stats("", *_BYTES)[:8], *_stats("avg_", *_BYTES)[8:])
"""The last four were added later and got the prefix."""

_CONFIG: Final = _columns(TEXT, "key value default changeable")
_LISTS: Final = (("list", TEXT), ("items", INT4))
_MEM: Final = (("name", TEXT), *_columns(INT4, "size used free memtotal"))
_STATE: Final = _columns(TEXT, "key value")
_DNS_HOSTS: Final = (("hostname", TEXT), ("ttl", INT8), ("addrs", TEXT))
_DNS_ZONES: Final = (("zonename", TEXT), ("serial", INT8), ("count", INT4))
_TOTALS: Final = (("name", TEXT), ("value", NUMERIC))
_VERSION: Final = (("version", TEXT),)

_LOGINS: Final = (
    ("failure", TEXT),
    ("count", INT8),
    *_columns(TEXT, "last_time last_database last_user last_addr"),
)
_LOG: Final = (("line", INT8), *_columns(TEXT, "time level message"))
_CERTIFICATES: Final = (
    *_columns(TEXT, "setting file subject not_after"),
    ("days_left", INT4),
    ("state", TEXT),
)

_LATENCY: Final = (
    *_columns(TEXT, "database user kind span"),
    *_columns(INT8, "count p50 p90 p95 p99 max"),
)
_WAIT_STATS: Final = (*_columns(TEXT, "database user reason"), *_columns(INT8, "count total_us longest_us"))
_CLIENT: Final = (
    ("id", INT8),
    *_columns(TEXT, "user database addr"),
    ("port", INT4),
    ("application_name", TEXT),
)
_WAITS: Final = (
    *_CLIENT,
    *_columns(TEXT, "reason detail"),
    *_columns(INT8, "wait_us server_id held_us"),
    ("holder_state", TEXT),
    ("holder_id", INT8),
    *_columns(TEXT, "holder_user holder_addr holder_application_name"),
)
_CLIENT_STATS: Final = (
    *_CLIENT,
    *_columns(INT8, "queries transactions bytes_received bytes_sent wait_us xact_us"),
)
_ERRORS: Final = (
    *_columns(TEXT, "database user source code"),
    ("count", INT8),
    *_columns(TEXT, "last_message last_time"),
)
_SERVER_STATS: Final = (
    *_columns(TEXT, "database user event reason"),
    ("count", INT8),
    ("last_time", TEXT),
)
_UNSAFE: Final = (
    *_columns(TEXT, "database user application_name kind"),
    ("count", INT8),
    ("last_time", TEXT),
    ("last_client_id", INT8),
)

HELP: Final = ShowTable("help", (), lambda host: [])
"""No rows: the commands come as a notice."""

SHOW_GROUPS: Final = (
    (
        HELP,
        ShowTable("config", _CONFIG, rows_process.config),
        ShowTable("databases", _DATABASES, rows_pools.databases),
        ShowTable("pools", _POOLS, rows_pools.pools),
        ShowTable("clients", _SOCKET, rows_connections.clients),
        ShowTable("servers", _SOCKET, rows_connections.servers),
        ShowTable("users", _USERS, rows_pools.users),
        ShowTable("version", _VERSION, rows_process.version),
    ),
    (
        ShowTable("peers", _PEERS, rows_pools.peers),
        ShowTable("peer_pools", _PEER_POOLS, rows_pools.peer_pools),
    ),
    (
        ShowTable("fds", _FDS, rows_connections.fds, admin_only=True),
        ShowTable("sockets", _SOCKET_WITH_BUFFERS, rows_connections.sockets),
        ShowTable("active_sockets", _SOCKET_WITH_BUFFERS, rows_connections.active_sockets),
        ShowTable("lists", _LISTS, rows_process.lists),
        ShowTable("mem", _MEM, rows_process.mem),
        ShowTable("state", _STATE, rows_process.state),
    ),
    (
        ShowTable("dns_hosts", _DNS_HOSTS, rows_process.dns_hosts),
        ShowTable("dns_zones", _DNS_ZONES, rows_process.dns_zones),
    ),
    (
        ShowTable("stats", _STATS, rows_stats.stats),
        ShowTable("stats_totals", _STATS_TOTALS, rows_stats.stats_totals),
        ShowTable("stats_averages", _STATS_AVERAGES, rows_stats.stats_averages),
        ShowTable("totals", _TOTALS, rows_stats.totals),
    ),
    (
        ShowTable("logins", _LOGINS, rows_access.logins, admin_only=True),
        ShowTable("certificates", _CERTIFICATES, rows_access.certificates),
    ),
    (
        ShowTable("config_diff", config_rows.COLUMNS, config_rows.differences),
        ShowTable("audit", audit.COLUMNS, audit.rows),
        ShowTable("log", _LOG, lambda host: host.log_lines(), admin_only=True),
    ),
    (
        ShowTable("latency", _LATENCY, rows_times.latency),
        ShowTable("waits", _WAITS, rows_times.waits),
        ShowTable("wait_stats", _WAIT_STATS, rows_times.wait_stats),
        ShowTable("client_stats", _CLIENT_STATS, rows_times.client_stats),
        ShowTable("errors", _ERRORS, rows_events.errors),
        ShowTable("server_stats", _SERVER_STATS, rows_events.server_stats),
        ShowTable("unsafe", _UNSAFE, rows_events.unsafe),
    ),
)
"""In the order, and in the lines, of SHOW HELP."""

SHOW_TABLES: Final[Mapping[str, ShowTable]] = MappingProxyType(
    {table.name: table for group in SHOW_GROUPS for table in group}
)
"""By name."""
