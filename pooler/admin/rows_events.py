"""What went wrong, what came and went, what should not be done: SHOW ERRORS, SERVER_STATS and UNSAFE."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime

from pooler.admin.console import Row
from pooler.admin.host import AdminHost
from pooler.admin.rows_times import pairs
from pooler.pool.pool import Pool
from pooler.pool.tallies import Tallies, Tally


def errors(host: AdminHost) -> list[Row]:
    """What clients were told by servers and by the pooler; the most frequent of each pair on top."""
    return [
        (*key, source, code, tally.count, tally.text, moment(tally.time))
        for key, (source, code), tally in _tallies(host, lambda pool: pool.errors)
    ]


def server_stats(host: AdminHost) -> list[Row]:
    """Connections to servers that were opened, that could not be opened, and that were closed."""
    return [
        (*key, event, reason, tally.count, moment(tally.time))
        for key, (event, reason), tally in _tallies(host, lambda pool: pool.turnover)
    ]


def unsafe(host: AdminHost) -> list[Row]:
    """Statements that transaction pooling makes unsafe, by application."""
    return [
        (*key, application, kind, tally.count, moment(tally.time), tally.client_id)
        for key, (kind, application), tally in _tallies(host, lambda pool: pool.unsafe)
    ]


def _tallies(
    host: AdminHost, of: Callable[[Pool], Tallies]
) -> list[tuple[tuple[str, str], tuple[str, str], Tally]]:
    return [
        (key, name, tally)
        for key, pools in pairs(host.registry)
        for name, tally in sorted(_added(map(of, pools)).items(), key=lambda item: (-item[1].count, item[0]))
    ]


def _added(several: Iterable[Tallies]) -> dict[tuple[str, str], Tally]:
    """Counts of the same name are added up, and the rest is that of the last time."""
    found: dict[tuple[str, str], Tally] = {}
    for tallies in several:
        for name, tally in tallies.by_name.items():
            other = found.get(name, Tally())
            last = max(tally, other, key=lambda each: each.time)
            found[name] = Tally(tally.count + other.count, last.time, last.text, last.client_id)
    return found


def moment(seconds: float) -> str:
    """A time since the epoch, as SHOW CLIENTS has times."""
    return datetime.fromtimestamp(seconds, UTC).astimezone().strftime("%Y-%m-%d %H:%M:%S %Z")
