"""How a pooler is set up for the suites, and what may then differ from a direct connection."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

_SESSIONS: Mapping[str, object] = {
    "pool_mode": "session",
    "server_reset_query": "DISCARD ALL",
    "default_pool_size": 40,
    "max_client_conn": 200,
    # psql sends IntervalStyle in it. Those who can read it do so all the same; PgBouncer before 1.20 cannot,
    # and shows intervals as the server would.
    "ignore_startup_parameters": "options",
    "log_connections": 0,
    "log_disconnections": 0,
}

# What pg_regress has psql ask for at login.
_PARAMETERS: Mapping[str, str] = {
    "timezone": "America/Los_Angeles",
    "datestyle": "Postgres, MDY",
    "intervalstyle": "postgres_verbose",
}

_RESET = (
    "RESET goes back to what the server has; directly, to what the client asked for at login. "
    "A pooler brings a server to those values by SET"
)


@dataclass(frozen=True)
class Pass:
    """One way to run all suites.

    `known` has the tests that cannot give the same result in it, and why; it is true of any pooler that lends
    the same servers to one client after the other.
    """

    name: str
    pooler: Mapping[str, object]
    server: Mapping[str, str] = field(default_factory=dict)
    known: Mapping[str, str] = field(default_factory=dict)


SHARED = Pass(
    "shared",
    _SESSIONS,
    known={
        **dict.fromkeys(("date", "horology", "timestamp", "timestamptz"), _RESET),
        "guc": f"{_RESET}. It also loads PL/pgSQL, and a server that has it loaded keeps it",
        "stats": "it counts sessions of the server, and \\c brings no new one",
        "temp": "what it expects to fail makes the temporary schema, which a server that had one keeps",
    },
)
"""Servers are lent to one client after the other, and have to be given the parameters of each."""

SINGLE = Pass("single", {**_SESSIONS, "server_lifetime": 0}, server=_PARAMETERS)
"""Each client gets a server that nobody had, and whose defaults are its parameters: nothing may differ."""

PASSES = {each.name: each for each in (SHARED, SINGLE)}
