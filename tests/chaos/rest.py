"""Whether a pooler is at rest: nothing is left of clients that are gone."""

from __future__ import annotations

from tests.chaos.console import Console
from tests.chaos.processes import open_files
from tests.chaos.storms import Storms

_BUSY_COLUMNS = (
    "cl_active",
    "cl_waiting",
    "cl_active_cancel_req",
    "cl_waiting_cancel_req",
    "sv_active",
    "sv_active_cancel",
    "sv_being_canceled",
    "sv_tested",
    "sv_login",
)


async def leftovers(console: Console, storms: Storms, pid: int, files: int) -> list[str]:
    """What the pooler and PostgreSQL still have of clients that are gone, in words.

    `files` is how many files the pooler had open before the first client came.
    """
    left = [
        f"{pool['database']}: {name} {pool[name]}"
        for pool in await console.admin("SHOW POOLS")
        for name in _BUSY_COLUMNS
        if pool["database"] != "pgbouncer" and pool[name] != "0"
    ]
    lists = {row["list"]: int(row["items"]) for row in await console.admin("SHOW LISTS")}
    if lists["used_clients"] != 1 or lists["login_clients"] != 0:
        left.append(
            f"clients {lists['used_clients']}, of them the asking one, {lists['login_clients']} in login"
        )
    servers = await console.admin("SHOW SERVERS")
    if lists["used_servers"] != len(servers):
        left.append(f"{lists['used_servers']} servers are counted and {len(servers)} shown")
    for database in await console.admin("SHOW DATABASES"):
        if database["name"] == "pgbouncer":
            continue
        shown = sum(row["database"] == database["name"] for row in servers)
        if int(database["current_connections"]) != shown:
            left.append(f"{database['name']}: {database['current_connections']} connections, {shown} servers")
        if database["current_client_connections"] != "0":
            left.append(f"{database['name']}: {database['current_client_connections']} client connections")
    backends = await storms.backends()
    if len(backends) != len(servers):
        left.append(f"{len(backends)} backends for {len(servers)} servers")
    left += [f"a backend is {row['state']}" for row in backends if row["state"] != "idle"]
    unaccounted = open_files(pid) - len(servers) - files
    if unaccounted > 0:
        left.append(f"{unaccounted} files more than at first")
    return left
