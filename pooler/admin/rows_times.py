"""Rows about where the time goes: SHOW LATENCY, WAITS, WAIT_STATS and CLIENT_STATS.

PgBouncer has none of them. Times are in µs.
"""

from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from time import monotonic_ns
from typing import Final, cast

from pooler.admin.console import Row
from pooler.admin.host import AdminHost
from pooler.pool.histogram import Distribution, Histogram, merge
from pooler.pool.members import Client
from pooler.pool.pool import Pool
from pooler.pool.reasons import Holder, detail, holder, why
from pooler.pool.registry import Registry
from pooler.pool.stats import PoolStats
from pooler.pool.waits import REASONS
from pooler.relay.client import ClientConnection
from pooler.wire.parameters import Values

KINDS: Final[tuple[tuple[str, Callable[[PoolStats], Histogram]], ...]] = (
    ("query", lambda stats: stats.query_times),
    ("transaction", lambda stats: stats.xact_times),
    ("wait", lambda stats: stats.wait_times),
)

PERCENTS: Final = (50, 90, 95, 99)


def pairs(registry: Registry) -> Iterator[tuple[tuple[str, str], list[Pool]]]:
    """Database, user, and their pools: that of auth_query goes with the user's own, as in SHOW POOLS."""
    for key, same in groupby(registry.sorted_pools(), key=lambda pool: pool.key[:2]):
        yield key, list(same)


def latency(host: AdminHost) -> Iterable[Row]:
    """How long queries, transactions and waits took, lately and since the start."""
    noted = [
        ((*key, kind, span), merge(reading(of(pool.stats)) for pool in pools))
        for key, pools in pairs(host.registry)
        for kind, of in KINDS
        for span, reading in (("recent", Histogram.recent), ("total", Histogram.reading))
    ]
    return ((*key, *_numbers(times)) for key, times in noted)


def _numbers(times: Distribution) -> Row:
    return (times.samples, *(times.percentile(percent) for percent in PERCENTS), times.highest)


def wait_stats(host: AdminHost) -> list[Row]:
    """How many clients have waited, for how long, and for what."""
    return [
        (
            *key,
            name,
            count,
            sum(int(pool.waits.by_reason[reason].total_ns) for pool in pools) // 1000,
            max(int(pool.waits.by_reason[reason].longest_ns) for pool in pools) // 1000,
        )
        for key, pools in pairs(host.registry)
        for reason, name in enumerate(REASONS)
        if (count := sum(int(pool.waits.by_reason[reason].count) for pool in pools))
    ]


def waits(host: AdminHost) -> Iterable[Row]:
    """Every client in line, why it is there, and who has what it needs; the one that waits longest on top."""
    now = monotonic_ns()
    view = _View(host.registry, now)
    noted: list[tuple[int, ClientConnection, Values, Row]] = []
    for pool in host.registry.sorted_pools():
        if pool.waiting_clients.count == 0:
            continue
        reason = why(pool)
        row = (REASONS[reason], detail(pool, reason), *view.holder(holder(pool, reason)))
        for member in pool.waiting_clients:
            client = cast(ClientConnection, member)
            noted.append((int(client.wait_ns), client, client.params, row))
    noted.sort(key=lambda note: note[0])
    return (
        (*view.client(client, params), *row[:2], (now - since) // 1000, *row[2:])
        for since, client, params, row in noted
    )


def client_stats(host: AdminHost) -> Iterable[Row]:
    """What every client has used so far."""
    now = monotonic_ns()
    view = _View(host.registry, now)
    noted = [
        (client, client.params, _used(client, now))
        for pool in host.registry.sorted_pools()
        if not pool.database.admin
        for clients in (pool.active_clients, pool.waiting_clients)
        for client in cast("Iterable[ClientConnection]", clients)
    ]
    return ((*view.client(client, params), *used) for client, params, used in noted)


def _used(client: Client, now: int) -> tuple[int, ...]:
    """What is still going on counts as far as it has come."""
    waits = now - client.wait_ns if client.awaits else 0
    works = now - client.xact_ns if client.xact_ns else 0
    return (
        int(client.queries),
        int(client.xacts),
        int(client.bytes_received),
        int(client.bytes_sent),
        int(client.waited_ns + waits) // 1000,
        int(client.worked_ns + works) // 1000,
    )


class _View:
    """What all rows of one answer have in common."""

    def __init__(self, registry: Registry, now: int) -> None:
        self._parameters = registry.parameters
        self._now = now

    def client(self, client: ClientConnection, params: Values) -> Row:
        """id, user, database, addr, port, application_name."""
        return (
            int(client.id),
            None if client.credentials is None else client.credentials.name,
            None if client.pool is None else client.pool.database.name,
            client.remote.host,
            client.remote.port,
            self._application(params),
        )

    def holder(self, found: Holder | None) -> Row:
        """server_id, held_us, holder_state, and the client: id, user, addr, application_name."""
        if found is None:
            return (None,) * 7
        held = (int(found.server.id), int(self._now - found.since_ns) // 1000, found.state)
        client = found.client
        if not isinstance(client, ClientConnection):
            return (*held, None, None, None, None)
        user = None if client.credentials is None else client.credentials.name
        return (*held, int(client.id), user, client.remote.host, self._application(client.params))

    def _application(self, params: Values) -> str:
        return self._parameters.value(params, "application_name") or ""
