"""Rows about what is configured and who shares it: SHOW POOLS, DATABASES, USERS, PEERS and PEER_POOLS."""

from collections.abc import Sequence
from itertools import groupby
from time import monotonic_ns
from typing import cast

from pooler.admin.console import Row
from pooler.admin.host import AdminHost
from pooler.config.settings import PoolMode, Settings
from pooler.pool.catalog import Database, User
from pooler.pool.members import Client
from pooler.pool.pool import Pool


def pools(host: AdminHost) -> list[Row]:
    """One row for each pair of database and user that was ever used, and one for the console.

    Exporters take the pair for a key, so the pool that runs auth_query shares the row of its user's own.
    """
    now = monotonic_ns()
    pairs = groupby(host.registry.sorted_pools(), key=lambda pool: pool.key[:2])
    return [_pool_row(list(same), now) for _, same in pairs]


def databases(host: AdminHost) -> list[Row]:
    """Those that are configured, auto-databases in use, and the console's."""
    registry = host.registry
    return [_database(registry.databases[name], registry.settings) for name in sorted(registry.databases)]


def users(host: AdminHost) -> list[Row]:
    """Every user that the pooler has heard of."""
    registry = host.registry
    return [_user(registry.users[name], registry.settings) for name in sorted(registry.users)]


def peers(host: AdminHost) -> list[Row]:
    """The other poolers of `[peers]`."""
    snapshot = host.registry.snapshot
    default_size = host.registry.settings.default_pool_size
    return [
        (peer.peer_id, peer.host, peer.port, default_size if peer.pool_size is None else peer.pool_size)
        for _, peer in sorted(snapshot.peers.items())
    ]


def peer_pools(host: AdminHost) -> list[Row]:
    """Cancel requests on their way to peers: none, since none are passed on yet."""
    return []


def _pool_row(same: Sequence[Pool], now: int) -> Row:
    pool = same[0]
    waited_us = max(_waited_us(pool, now) for pool in same)
    return (
        pool.database.name,
        pool.credentials.name,
        *map(sum, zip(*map(_connections, same), strict=True)),
        waited_us // 1_000_000,
        waited_us % 1_000_000,
        _mode(pool.policy.mode),
        _load_balance(pool.database),
    )


def _waited_us(pool: Pool, now: int) -> int:
    first = cast("Client | None", pool.waiting_clients.first)
    return int(now - first.query_ns) // 1000 if first is not None and first.query_ns else 0


def _connections(pool: Pool) -> tuple[int, ...]:
    return (
        pool.active_clients.count,
        pool.waiting_clients.count,
        pool.active_cancels.count,
        pool.waiting_cancels.count,
        pool.active_servers.count,
        pool.cancel_servers.count,
        pool.canceled_servers.count,
        pool.idle_servers.count,
        pool.used_servers.count,
        pool.tested_servers.count,
        pool.new_servers.count,
    )


def _database(database: Database, settings: Settings) -> Row:
    config = database.config
    return (
        database.name,
        config.host,
        config.port,
        config.dbname,
        None if database.forced is None else database.forced.name,
        database.pool_size(settings),
        database.min_pool_size(settings),
        database.reserve_pool_size(settings),
        int(database.server_lifetime(settings)),
        _mode(config.pool_mode),
        _load_balance(database),
        database.max_connections(settings),
        database.connections,
        database.max_client_connections(settings),
        database.client_connections,
        int(database.paused),
        int(database.disabled),
    )


def _user(user: User, settings: Settings) -> Row:
    config = user.config
    return (
        user.name,
        _padded(None if config is None else config.pool_size),
        _padded(None if config is None else config.reserve_pool_size),
        _mode(None if config is None else config.pool_mode),
        user.max_connections(settings),
        user.connections,
        user.max_client_connections(settings),
        user.client_connections,
    )


def _padded(size: int | None) -> str:
    """A column that is text, so that it can be empty."""
    return "" if size is None else f"{size:9d}"


def _mode(mode: PoolMode | None) -> str | None:
    return None if mode is None else mode.name.lower()


def _load_balance(database: Database) -> str | None:
    """Only where there is something to balance."""
    several = "," in (database.config.host or "")
    return database.config.load_balance_hosts.value if several else None
