"""Moments for tests, of the rows that matter to them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Any

from tests.support.fake_admin import EPOCH, database, pairs, pool, stats, table
from tui.admin.capabilities import Capabilities
from tui.admin.table import Table
from tui.watch.moment import Moment

OURS = Capabilities(frozenset(), {"KILL_CLIENTS": ("",)})
STOCK = Capabilities(frozenset(), {})


def moment(at: float, capabilities: Capabilities = OURS, **tables: Table | None) -> Moment:
    """A moment `at` seconds; a quiet pooler but for `tables`, by their names; None takes one away."""
    quiet: Mapping[str, Table] = {
        "STATE": state("active"),
        "POOLS": table(pool()),
        "DATABASES": table(database()),
        "STATS": table(stats()),
        "LISTS": pairs(("list", "items"), {"used_clients": 10}),
        "CONFIG": config(max_client_conn="100", query_wait_timeout="120"),
    }
    found = {name: each for name, each in {**quiet, **tables}.items() if each is not None}
    return Moment(
        at=at,
        clock=EPOCH + timedelta(seconds=at),
        version="PgBouncer 1.25.2",
        capabilities=capabilities,
        tables=found,
        read_at=dict.fromkeys(found, at),
        errors={},
        seconds=0.001,
    )


def state(name: str) -> Table:
    return pairs(
        ("key", "value"),
        {each: "yes" if each == name else "no" for each in ("active", "paused", "suspended")},
    )


def config(**values: str) -> Table:
    return Table(
        ("key", "value", "default", "changeable"), [(key, value, "", "yes") for key, value in values.items()]
    )


def counted(name: str = "app", **totals: float) -> dict[str, Any]:
    """A row of SHOW STATS; `queries=5` is total_query_count."""
    names = {
        "queries": "total_query_count",
        "xacts": "total_xact_count",
        "assignments": "total_server_assignment_count",
        "query_us": "total_query_time",
        "xact_us": "total_xact_time",
        "wait_us": "total_wait_time",
        "received": "total_received",
        "binds": "total_bind_count",
        "client_parses": "total_client_parse_count",
        "server_parses": "total_server_parse_count",
        "logins": "total_client_login_count",
    }
    return stats(name, **{names[key]: value for key, value in totals.items()})
