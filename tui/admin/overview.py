"""One look at a pooler: its state, what is connected, its pools by load, and rates from two looks."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from tui.admin.connection import AdminConnection
from tui.admin.counters import RATES, Growth, totals
from tui.admin.table import Table
from tui.admin.target import DATABASE

POOL_COLUMNS: Final = (
    *("database", "user", "cl_active", "cl_waiting", "sv_active", "sv_idle", "sv_used", "sv_login"),
    *("maxwait", "pool_mode"),
)


@dataclass(frozen=True, slots=True)
class Overview:
    """A moment of a pooler. The admin database is not among its databases."""

    version: str
    state: str
    """`active`, `paused`, `suspended`; `unknown` where the pooler cannot say."""
    paused: tuple[str, ...]
    """Databases that are paused for themselves."""
    disabled: tuple[str, ...]
    clients: int
    """Those of the admin database included: they have a connection too."""
    max_clients: int | None
    pools: tuple[dict[str, Any], ...]
    """The rows of SHOW POOLS, the most loaded on top. `maxwait` has the fraction of the second in it."""
    totals: Mapping[str, float]
    """Counters since the start, summed up over the databases."""
    pool_sizes: Mapping[str, int]


TABLES: Final = ("VERSION", "STATE", "DATABASES", "LISTS", "CONFIG", "POOLS", "STATS")
"""What an overview is made of. Early releases have no STATE."""


async def look(connection: AdminConnection) -> Overview:
    """Ask for everything that an overview needs. Raises AdminError."""
    has = connection.capabilities.has_table
    tables = {name: await connection.rows(f"SHOW {name}") for name in TABLES if has(name)}
    return overview_of(tables, str(tables["VERSION"].rows[0][0]))


def overview_of(tables: Mapping[str, Table], version: str) -> Overview:
    """The overview of tables that have been read, by name; all of TABLES but VERSION and STATE are needed."""
    databases = [row for row in tables["DATABASES"].dicts() if row["name"] != DATABASE]
    max_clients = tables["CONFIG"].pairs().get("max_client_conn")
    return Overview(
        version=version,
        state=state_of(tables.get("STATE")),
        paused=tuple(row["name"] for row in databases if row.get("paused")),
        disabled=tuple(row["name"] for row in databases if row.get("disabled")),
        clients=int(tables["LISTS"].pairs().get("used_clients", 0)),
        max_clients=int(max_clients) if max_clients else None,
        pools=by_load(tables["POOLS"].dicts()),
        totals=totals(tables["STATS"]),
        pool_sizes={row["name"]: int(row["pool_size"]) for row in databases if row.get("pool_size")},
    )


def rates(before: Overview, after: Overview, seconds: float) -> dict[str, float | None]:
    """What happened per second between two looks; None for what the pooler does not count, or was reset."""
    growth = Growth.between(before.totals, after.totals, seconds)
    return {name: growth.per_second(column) for name, column in RATES.items()}


def state_of(table: Table | None) -> str:
    """What SHOW STATE comes to; `unknown` for a pooler that has none."""
    if table is None:
        return "unknown"
    states = table.pairs()
    # Suspended implies paused with some releases.
    return next((name for name in ("suspended", "paused", "active") if states.get(name) == "yes"), "unknown")


def by_load(rows: Iterable[dict[str, Any]]) -> tuple[dict[str, Any], ...]:
    """Rows of SHOW POOLS, the most loaded on top; `maxwait` gets the fraction of the second."""
    pools = [row for row in rows if row["database"] != DATABASE]
    for pool in pools:
        pool["maxwait"] = longest_wait(pool)
    pools.sort(
        key=lambda pool: (pool["cl_waiting"], pool["maxwait"], pool["sv_active"], pool["cl_active"]),
        reverse=True,
    )
    return tuple(pools)


def longest_wait(pool: Mapping[str, Any]) -> float:
    """How long the first in line of a row of SHOW POOLS has waited, in seconds."""
    # Rounded, so that it is printed with the digits that it has.
    return round(float(pool.get("maxwait") or 0) + float(pool.get("maxwait_us") or 0) / 1_000_000, 6)
