"""Every screen at three sizes, on a pooler that has something to show."""

from __future__ import annotations

import pytest

from tests.support.fake_admin import FakePooler, client, database, pool, server, stats, table
from tests.unit.console.driving import driven, polled, press, seen
from tests.unit.console.snapshots import SIZES, check
from tui.screens.base import PLACES

TABLES = ("pools", "clients", "servers", "databases", "users", "stats")


def busy_pooler() -> FakePooler:
    """Pools of all sorts, one of them with a queue."""
    pooler = FakePooler()
    pooler.tables["POOLS"] = table(
        pool("shop", "web", cl_active=18, cl_waiting=7, sv_active=20, maxwait=6, maxwait_us=250_000),
        pool("shop", "batch", cl_active=1, cl_waiting=1, sv_active=1, maxwait=1, maxwait_us=100_000),
        pool("reports", "ana", cl_active=3, sv_active=1, sv_idle=2, pool_mode="session"),
        pool("pgbouncer", "pgbouncer", cl_active=1, pool_mode="statement"),
    )
    pooler.tables["CLIENTS"] = table(
        *(
            client(number, state="waiting", wait=number % 7, database="shop", link="")
            for number in range(1, 9)
        ),
        *(client(number, database="shop", link=f"0x5{number:07x}") for number in range(9, 30)),
        client(40, user="ana", database="reports", state="idle", application_name="psql", tls="TLSv1.3"),
    )
    pooler.tables["SERVERS"] = table(
        *(server(number, state="active", database="shop", link="0xc") for number in range(9, 29)),
        *(server(number, user="ana", database="reports") for number in (30, 31)),
        server(32, state="login", database="shop", remote_pid=0),
    )
    pooler.tables["DATABASES"] = table(
        database("shop", current_connections=21, current_client_connections=29),
        database("reports", pool_size=5, pool_mode="session", paused=1, current_connections=3),
        database("old", host=None, disabled=1),
        database("pgbouncer", host=None, port=6432, pool_size=2, pool_mode="statement"),
    )
    pooler.tables["STATS"] = table(
        stats("shop", total_query_count=1_234_567, total_received=5_000_000_000, avg_query_time=1234),
        stats("reports", total_query_count=42, avg_query_time=2_500_000),
    )
    return pooler


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
@pytest.mark.parametrize("name", TABLES)
async def test_tables(name: str, size: tuple[int, int]) -> None:
    key = next(place.key for place in PLACES if place.name == name)
    async with driven(busy_pooler(), size=size, name="shop-1") as (console, pilot):
        await press(pilot, key)
        await polled(pilot)
        await seen(console, pilot)
        check(console, name)
