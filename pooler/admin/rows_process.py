"""Rows about the pooler as a whole: SHOW LISTS, MEM, STATE, CONFIG, VERSION, DNS_HOSTS and DNS_ZONES."""

from typing import cast

from pooler.admin.console import Row
from pooler.admin.host import AdminHost
from pooler.admin.rows_connections import Connection, held_bytes
from pooler.config.effects import HIDDEN
from pooler.config.settings import SETTINGS
from pooler.pool.registry import Pause, Registry

_USER_BYTES = 224
_CREDENTIALS_BYTES = 144
_DATABASE_BYTES = 536
_PEER_BYTES = 120
_POOL_BYTES = 5656
_REQUEST_BYTES = 8
_SERVER_BYTES = 1466
_CLIENT_BYTES = 1776
_PARAMETERS_BYTES = 184
"""Measured with tracemalloc on CPython 3.11, interpreted; without sockets, and without bytes that pass."""


def lists(host: AdminHost) -> list[Row]:
    """How many there are of everything. Nothing is kept for reuse, so the `free_` rows are 0."""
    registry = host.registry
    names, zones, queries, pending = host.dns_counts()
    return [
        ("databases", len(registry.databases)),
        ("users", len(registry.users)),
        ("peers", len(registry.snapshot.peers)),
        ("pools", len(registry.pools)),
        ("peer_pools", 0),
        ("free_clients", 0),
        ("used_clients", registry.client_count),
        ("login_clients", registry.login_clients.count),
        ("free_servers", 0),
        ("used_servers", _server_count(registry)),
        ("dns_names", names),
        ("dns_zones", zones),
        ("dns_queries", queries),
        ("dns_pending", pending),
    ]


def mem(host: AdminHost) -> list[Row]:
    """PgBouncer's rows: bytes that one object takes, about; objects in use; 0 in reserve; bytes in all."""
    registry = host.registry
    connections = _connections(registry)
    databases = [*registry.databases.values(), *registry.idle_autodatabases.values()]
    credentials = len(registry.credentials) + sum(len(database.dynamic) for database in databases)
    credentials += sum(database.forced is not None for database in databases)
    parameters = {id(connection.params) for connection in connections}
    parameters |= {id(pool.defaults) for pool in registry.pools.values()}
    buffers = sum(held_bytes(connection) > 0 for connection in connections)
    used = (
        ("user_cache", _USER_BYTES, len(registry.users)),
        ("credentials_cache", _CREDENTIALS_BYTES, credentials),
        ("db_cache", _DATABASE_BYTES, len(databases)),
        ("peer_cache", _PEER_BYTES, len(registry.snapshot.peers)),
        ("peer_pool_cache", _POOL_BYTES, 0),
        ("pool_cache", _POOL_BYTES, len(registry.pools)),
        (
            "outstanding_request_cache",
            _REQUEST_BYTES,
            sum(len(server.queue) for server in registry.servers()),
        ),
        ("server_cache", _SERVER_BYTES, _server_count(registry)),
        ("client_cache", _CLIENT_BYTES, registry.client_count),
        ("iobuf_cache", registry.settings.pkt_buf, buffers),
        ("var_list_cache", _PARAMETERS_BYTES, len(parameters)),
        ("server_prepared_statement_cache", 0, 0),
    )
    return [(name, size, count, 0, size * count) for name, size, count in used]


def state(host: AdminHost) -> list[Row]:
    """Whether PAUSE or SUSPEND is in force, for the pooler as a whole."""
    return [(pause.value, "yes" if host.registry.pause is pause else "no") for pause in Pause]


def config(host: AdminHost) -> list[Row]:
    """Every setting of `[pgbouncer]`. What may hold a password is not for everybody who may look here."""
    settings = host.registry.settings
    return [
        (
            name,
            HIDDEN if setting.secret and getattr(settings, name) else setting.show(getattr(settings, name)),
            setting.default_text,
            "yes" if setting.reloadable else "no",
        )
        for name, setting in SETTINGS.items()
    ]


def version(host: AdminHost) -> list[Row]:
    """The PgBouncer that this is compatible with, for programs that look."""
    return [(host.version_line(),)]


def dns_hosts(host: AdminHost) -> list[Row]:
    """Host names of servers that were looked up."""
    return list(host.dns_rows())


def dns_zones(host: AdminHost) -> list[Row]:
    """Zones whose serial number is watched: none, since zones are not checked yet."""
    return []


def _connections(registry: Registry) -> list[Connection]:
    return [
        cast(Connection, member) for found in (registry.clients(), registry.servers()) for member in found
    ]


def _server_count(registry: Registry) -> int:
    return sum(pool.all_servers() for pool in registry.pools.values())
