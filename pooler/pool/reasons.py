"""Why the clients of a pool wait at this moment, and who has what they need."""

from time import monotonic_ns
from typing import TYPE_CHECKING, NamedTuple, cast

from pooler.pool.lists import MemberList
from pooler.pool.members import Client, Server
from pooler.pool.waits import (
    DATABASE_LIMIT,
    PAUSED,
    POOL_FULL,
    RESERVE_TIMEOUT,
    SERVER_CHECK,
    SERVER_DOWN,
    SERVER_LOGIN,
    USER_LIMIT,
)

if TYPE_CHECKING:
    from pooler.pool.pool import Pool


def why(pool: "Pool") -> int:
    """The reason of `pooler.pool.waits` that holds for whoever is in line."""
    if pool.paused:
        return PAUSED
    policy = pool.policy
    connected = pool.connected_servers()
    if policy.pool_size > 0 and connected >= policy.pool_size:
        return _why_full(pool, connected)
    if pool.connect_failed:
        return SERVER_DOWN
    if pool.new_servers.count > 0:
        return SERVER_LOGIN
    return _limit(pool) or (SERVER_CHECK if _under_test(pool) else SERVER_LOGIN)


def _why_full(pool: "Pool", connected: int) -> int:
    """All places are taken, by servers that are not free."""
    policy = pool.policy
    if pool.new_servers.count > 0:
        return SERVER_LOGIN
    if _under_test(pool):
        return SERVER_CHECK
    if policy.reserve_pool_timeout_ns == 0 or connected >= policy.pool_size + policy.reserve_pool_size:
        return POOL_FULL
    first = cast("Client | None", pool.waiting_clients.first)
    if first is None or monotonic_ns() - first.request_ns < policy.reserve_pool_timeout_ns:
        return RESERVE_TIMEOUT
    return SERVER_DOWN if pool.connect_failed else _limit(pool) or RESERVE_TIMEOUT


def _under_test(pool: "Pool") -> bool:
    return pool.tested_servers.count + pool.used_servers.count > 0


def _limit(pool: "Pool") -> int:
    """The limit beyond the pool that is reached, if none of the servers that count is unused; else 0."""
    registry = pool.registry
    limit = pool.database.max_connections(registry.settings)
    if 0 < limit <= pool.database.connections and not _unused(registry.pools_of(pool.database)):
        return DATABASE_LIMIT
    user = pool.credentials.user
    limit = 0 if user is None else user.max_connections(registry.settings)
    if user is not None and 0 < limit <= user.connections and not _unused(list(user.pools)):
        return USER_LIMIT
    return 0


def _unused(pools: "list[Pool]") -> bool:
    return any(pool.idle_servers.count > 0 for pool in pools)


class Holder(NamedTuple):
    """A server that somebody waits for, whom it works for, what it does, and since when (ns)."""

    server: Server
    client: Client | None
    state: str
    since_ns: int


def holder(pool: "Pool", reason: int) -> Holder | None:
    """Of what the clients in line need, that which has been taken for longest; None if nobody has it."""
    if reason == SERVER_LOGIN:
        return _first(pool.new_servers, "login")
    if reason == SERVER_CHECK:
        return _first(pool.tested_servers, "check") or _first(pool.used_servers, "check")
    if reason in (PAUSED, SERVER_DOWN):
        return None
    pools = [pool]
    if reason == DATABASE_LIMIT:
        pools = pool.registry.pools_of(pool.database)
    elif reason == USER_LIMIT and pool.credentials.user is not None:
        pools = list(pool.credentials.user.pools)
    found = [holding for each in pools for server in each.active_servers if (holding := _at_work(server))]
    return min(found, key=lambda holding: (holding.state == "idle", holding.since_ns), default=None)


def _at_work(member: object) -> Holder | None:
    server = cast(Server, member)
    client = server.link
    if client is None:
        return None
    if client.xact_ns:
        state = "idle in transaction" if server.idle_in_transaction else "running"
        return Holder(server, client, state, int(client.xact_ns))
    return Holder(server, client, "idle", int(server.request_ns))


def _first(servers: MemberList, state: str) -> Holder | None:
    server = cast("Server | None", servers.first)
    if server is None:
        return None
    since = server.connect_ns if state == "login" else server.request_ns
    return Holder(server, None, state, int(since))


def detail(pool: "Pool", reason: int) -> str | None:
    """What there is to say beside the name of the reason: which command paused, why the server is down."""
    if reason == SERVER_DOWN:
        return pool.failure
    if reason != PAUSED:
        return None
    if pool.database.killed:
        return "KILL"
    if pool.database.paused:
        return "PAUSE of the database"
    return pool.registry.pause.name
