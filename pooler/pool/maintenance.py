"""What has to be looked at three times a second: timeouts, idle servers, pool sizes (PgBouncer's janitor)."""

from time import monotonic_ns
from typing import cast

from pooler.pool.catalog import nanoseconds
from pooler.pool.members import WELCOME, Client, Server
from pooler.pool.pool import Pool
from pooler.pool.registry import Pause, Registry

PERIOD = 1 / 3
"""Seconds between two rounds."""


def maintain(registry: Registry) -> None:
    """One round over everything."""
    if registry.pause is Pause.SUSPEND:
        return
    _make_forced_pools(registry)
    for pool in list(registry.pools.values()):
        if not pool.database.admin:
            _maintain_servers(pool)
            _maintain_clients(pool)
            pool.attend()
    _retire_autodatabases(registry)
    _retire_pools(registry)
    _close_slow_logins(registry)
    for client in list(registry.unread_clients):
        client.check_peer()
    registry.check_waits()


def _make_forced_pools(registry: Registry) -> None:
    """`min_pool_size` holds from the start where the user is forced, before any client comes."""
    for database in list(registry.databases.values()):
        if (
            not database.admin
            and database.forced is not None
            and database.min_pool_size(registry.settings) > 0
        ):
            registry.pool(database, database.forced)


# Servers ---------------------------------------------------------------------------------------------------


def _maintain_servers(pool: Pool) -> None:
    for servers in (pool.used_servers, pool.tested_servers, pool.idle_servers):
        for server in servers:
            _check_unused(pool, cast(Server, server))
    for server in pool.active_servers:
        _check_active(pool, cast(Server, server))
    for server in pool.canceled_servers:
        _check_abandoned(pool, cast(Server, server))
    timeout = pool.policy.server_connect_timeout_ns
    if timeout > 0:
        now = monotonic_ns()
        for server in pool.new_servers:
            connecting = cast(Server, server)
            if now - connecting.connect_ns > timeout:
                connecting.disconnect("connect timeout")
    _check_pool_size(pool)


def _check_unused(pool: Pool, server: Server) -> None:
    policy = pool.policy
    now = monotonic_ns()
    idle = now - server.request_ns
    place = server.place
    if server.close_needed:
        server.disconnect("database configuration changed")
    elif not server.ready and place is pool.idle_servers:
        server.disconnect("SV_IDLE server got dirty")
    elif not server.ready and place is pool.used_servers:
        server.disconnect("SV_USED server got dirty")
    elif 0 < policy.server_idle_timeout_ns < idle and _above_minimum(pool):
        server.disconnect("server idle timeout")
    elif now - server.connect_ns >= policy.server_lifetime_ns:
        if pool.life_is_over(server):
            server.disconnect("server lifetime over")
            pool.last_lifetime_ns = now
    elif pool.paused:
        server.disconnect("pause mode")
    elif (
        place is pool.idle_servers and policy.check_query is not None and idle > policy.server_check_delay_ns
    ):
        server.move_first(pool.used_servers)


def _above_minimum(pool: Pool) -> bool:
    minimum = pool.policy.min_pool_size
    return minimum == 0 or pool.connected_servers() > minimum


def _check_active(pool: Pool, server: Server) -> None:
    policy = pool.policy
    if server.close_needed and (
        server.replication is not None or (policy.server_fast_close and server.ready)
    ):
        # Replication goes on for ever, so nobody can wait for its end.
        server.disconnect("database configuration changed")
        return
    client = server.link
    if server.ready or client is None:
        return
    now = monotonic_ns()
    if client.query_ns and 0 < policy.query_timeout_ns < now - client.query_ns:
        server.close_in_query("query timeout")
    elif server.idle_in_transaction and 0 < policy.idle_transaction_timeout_ns < now - server.request_ns:
        server.disconnect("idle transaction timeout")
    elif client.xact_ns and 0 < policy.transaction_timeout_ns < now - client.xact_ns:
        server.close_in_query("transaction timeout")


def _check_abandoned(pool: Pool, server: Server) -> None:
    """The client has left in the middle of a query.

    Cancelled once more, because the first request may have come before PostgreSQL had begun, and because
    others may stand behind it.
    """
    absentee = server.link
    if absentee is None:
        return
    waited = monotonic_ns() - absentee.connect_ns
    if waited > pool.policy.cancel_wait_timeout_ns:
        server.close_in_query("cancel_wait_timeout")
    elif not server.cancels:
        server.cancel_query()


def _check_pool_size(pool: Pool) -> None:
    """Closes servers that the pool should not have any more, and opens what `min_pool_size` asks for."""
    policy = pool.policy
    connected = pool.connected_servers()
    if policy.pool_size > 0:
        for _ in range(connected - policy.pool_size - policy.reserve_pool_size):
            unused = pool.used_servers.first or pool.idle_servers.first
            if unused is None:
                break
            cast(Server, unused).disconnect("too many servers in the pool")
            connected -= 1
    wanted = min(policy.min_pool_size, policy.pool_size)
    if (
        connected < wanted
        and not pool.paused
        and (pool.all_clients() > 0 or pool.database.forced is not None)
    ):
        pool.launch(evict=False)


# Clients ---------------------------------------------------------------------------------------------------


def _maintain_clients(pool: Pool) -> None:
    policy = pool.policy
    now = monotonic_ns()
    if policy.client_idle_timeout_ns > 0:
        for member in pool.active_clients:
            client = cast(Client, member)
            if client.link is None and now - client.request_ns > policy.client_idle_timeout_ns:
                client.disconnect("client_idle_timeout")
    pool.note_reasons()
    for member in pool.waiting_clients:
        _check_waiting(pool, cast(Client, member), now)
    if policy.cancel_wait_timeout_ns > 0:
        for member in pool.waiting_cancels:
            cancel = cast(Client, member)
            if now - cancel.request_ns > policy.cancel_wait_timeout_ns:
                cancel.disconnect("cancel_wait_timeout", notify=False)
        for member in pool.cancel_servers:
            delivery = cast(Server, member)
            if now - delivery.request_ns > policy.cancel_wait_timeout_ns:
                delivery.disconnect("cancel_wait_timeout", terminate=False)


def _check_waiting(pool: Pool, client: Client, now: int) -> None:
    policy = pool.policy
    waited = now - (client.query_ns or client.request_ns)
    if pool.registry.waits_for_servers:
        client.disconnect("server shutting down")
    elif 0 < policy.query_timeout_ns < waited:
        client.disconnect("query_timeout")
    elif 0 < policy.query_wait_timeout_ns < waited:
        client.disconnect("query_wait_timeout")
    elif client.awaits == WELCOME and 0 < policy.client_login_timeout_ns < now - client.connect_ns:
        client.disconnect("client_login_timeout (server down)")
    elif not client.notified and 0 < policy.query_wait_notify_ns < now - client.wait_ns:
        client.notified = True
        client.notify_waiting()


def _close_slow_logins(registry: Registry) -> None:
    timeout = nanoseconds(registry.settings.client_login_timeout)
    if timeout > 0:
        now = monotonic_ns()
        for member in registry.login_clients:
            client = cast(Client, member)
            if now - client.connect_ns > timeout:
                client.disconnect("client_login_timeout")


# What nobody uses ------------------------------------------------------------------------------------------


def _retire_autodatabases(registry: Registry) -> None:
    """Auto-databases without connections go to rest, and after `autodb_idle_timeout` they are forgotten."""
    now = monotonic_ns()
    for database in list(registry.databases.values()):
        if database.auto and not any(
            pool.all_clients() or pool.all_servers() for pool in registry.pools_of(database)
        ):
            database.idle_since_ns = now
            del registry.databases[database.name]
            registry.idle_autodatabases[database.name] = database
    timeout = nanoseconds(registry.settings.autodb_idle_timeout)
    if timeout > 0:
        for database in list(registry.idle_autodatabases.values()):
            if not database.paused and now - database.idle_since_ns > timeout:
                registry.remove_database(database)


def _retire_pools(registry: Registry) -> None:
    """`pool_idle_timeout`: pools without clients and servers are forgotten, except those kept for
    `min_pool_size`.
    """
    timeout = nanoseconds(registry.settings.pool_idle_timeout)
    if timeout <= 0:
        return
    now = monotonic_ns()
    for pool in list(registry.pools.values()):
        kept = pool.policy.min_pool_size > 0 and pool.database.forced is not None
        if pool.database.admin or kept:
            continue
        if pool.all_clients() or pool.connected_servers():
            pool.last_active_ns = now
        elif now - pool.last_active_ns > timeout:
            age = (now - pool.last_active_ns) // 1_000_000_000
            registry.log.info(
                f"cleaning up idle pool for user {pool.credentials.name} on db {pool.database.name} "
                f"because: pool idle timeout (age= {age}s)"
            )
            registry.remove_pool(pool)
