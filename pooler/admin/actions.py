"""The commands that change something. Texts, tags and the order of the checks are PgBouncer's (its usage.md).

Where PgBouncer leaves a waiting PAUSE or WAIT_CLOSE without an answer (RESUME by somebody else, a cancel
request), the command fails here. What waits for a pause is in `pauses`.
"""

import re
from collections.abc import Mapping
from typing import Final

from pooler.admin.console import Console, Reply, Result, Wait
from pooler.admin.errors import AdminError
from pooler.admin.host import AdminHost
from pooler.admin.parser import Statement, fold
from pooler.admin.pauses import EVERYTHING, PendingPause, wait_for_suspension
from pooler.config.errors import ConfigErrors
from pooler.pool.catalog import Database
from pooler.pool.members import Client
from pooler.pool.registry import Pause, Registry, Shutdown
from pooler.relay.cancelled import cancel_running
from pooler.relay.client import ClientConnection
from pooler.wire import messages
from pooler.wire.messages import CONFIG_FILE_ERROR

_NUMBER: Final = re.compile(r"[ \t\n\v\f\r]*([+-]?[0-9]+)")

_SHUTDOWN_MODES: Final[Mapping[str, Shutdown]] = {
    "": Shutdown.IMMEDIATE,
    "wait_for_servers": Shutdown.WAIT_FOR_SERVERS,
    "wait_for_clients": Shutdown.WAIT_FOR_CLIENTS,
    "immediate": Shutdown.IMMEDIATE,
}


def full_resume(host: AdminHost) -> None:
    """Ends PAUSE or SUSPEND of the pooler; single databases stay paused."""
    if host.registry.pause is Pause.SUSPEND:
        host.resume_from_suspend()
    else:
        host.registry.set_pause(Pause.NONE)


# Everything, or one database -------------------------------------------------------------------------


def pause(console: Console, statement: Statement) -> Reply:
    """PAUSE: nobody gets a server any more; done when the servers in use are through and all are closed."""
    registry = console.host.registry
    _refuse_while_paused(registry)
    _log_command(registry, "PAUSE", statement)
    database = _database(console, statement.argument, "pause") if statement.argument else None
    return PendingPause(console, database, statement.seconds).wait()


def resume(console: Console, statement: Statement) -> Reply:
    """RESUME: takes back PAUSE, KILL or SUSPEND."""
    registry = console.host.registry
    name = statement.argument
    _log_command(registry, "RESUME", statement)
    if not name:
        if registry.shutdown is not Shutdown.NONE:
            raise AdminError("pooler is shutting down")
        if registry.pause is Pause.NONE:
            raise AdminError("pooler is not paused/suspended")
        full_resume(console.host)
        console.host.pauses.settle(EVERYTHING)
        return Result("RESUME")
    database = registry.find_database(name)
    if database is None:
        raise _no_such_database(name)
    if not database.paused:
        raise AdminError(f"database {name} is not paused")
    registry.set_database_pause(database, False)
    console.host.pauses.settle(name)
    return Result("RESUME")


def suspend(console: Console, statement: Statement) -> Reply:
    """SUSPEND: nothing is read any more; done when all that was read has been passed on."""
    host, registry = console.host, console.host.registry
    _refuse_while_paused(registry)
    if any(database.paused for database in registry.databases.values()):
        raise AdminError("cannot suspend with paused databases")
    _log_command(registry, "SUSPEND", statement)
    host.suspend()
    return wait_for_suspension(host)


def reconnect(console: Console, statement: Statement) -> Reply:
    """RECONNECT: every server connection is closed as soon as it is free."""
    registry = console.host.registry
    _log_command(registry, "RECONNECT", statement)
    if statement.argument:
        pools = registry.pools_of(_database(console, statement.argument, "reconnect"))
    else:
        pools = list(registry.pools.values())
    for pool in pools:
        pool.tag_dirty()
    return Result("RECONNECT")


def wait_close(console: Console, statement: Statement) -> Reply:
    """WAIT_CLOSE: done when all servers that RECONNECT or RELOAD has marked are closed."""
    registry = console.host.registry
    _log_command(registry, "WAIT_CLOSE", statement)
    database = None
    if statement.argument:
        database = _database(console, statement.argument, "wait in")
    return Wait(lambda: registry.servers_to_close(database) == 0, lambda: Result("WAIT_CLOSE"))


def kill(console: Console, statement: Statement) -> Reply:
    """KILL: pauses the databases one by one and closes all their connections, whatever they are doing."""
    registry = console.host.registry
    _refuse_while_paused(registry)
    _log_command(registry, "KILL", statement)
    if statement.argument:
        databases = [_database(console, statement.argument, "kill")]
    else:
        used = dict.fromkeys(pool.database for pool in registry.sorted_pools())
        databases = [database for database in used if not database.admin]
    for database in databases:
        registry.set_database_pause(database, True)
        database.killed = True
        console.host.pauses.settle(database.name)
        for pool in registry.pools_of(database):
            registry.remove_pool(pool)
    return Result("KILL")


# One database ----------------------------------------------------------------------------------------


def disable(console: Console, statement: Statement) -> Reply:
    """DISABLE: new clients of the database are refused."""
    name = _required(statement)
    _log_command(console.host.registry, "DISABLE", statement)
    _database(console, name, "disable").disabled = True
    return Result("DISABLE")


def enable(console: Console, statement: Statement) -> Reply:
    """ENABLE: takes back DISABLE."""
    name = _required(statement)
    registry = console.host.registry
    _log_command(registry, "ENABLE", statement)
    database = registry.find_database(name)
    if database is None:
        raise _no_such_database(name)
    if database.admin:
        raise AdminError(f"cannot enable admin db: {name}")
    database.disabled = False
    return Result("ENABLE")


# The rest --------------------------------------------------------------------------------------------


def kill_client(console: Console, statement: Statement) -> Reply:
    """KILL_CLIENT: closes the connection of a client that has logged in, by its `id` of SHOW CLIENTS."""
    number = _NUMBER.match(statement.argument)
    if number is None:
        raise AdminError("invalid client pointer supplied")
    client = _find_client(console.host.registry, int(number[1]))
    if client is None:
        raise AdminError("client not found")
    client.disconnect("admin forced disconnect")
    return Result("KILL_CLIENT")


def cancel_client(console: Console, statement: Statement) -> Reply:
    """CANCEL_CLIENT: what the client's own cancel request would do to the query that it runs."""
    number = _NUMBER.match(statement.argument)
    if number is None:
        raise AdminError("invalid client pointer supplied")
    client = _find_client(console.host.registry, int(number[1]))
    if client is None:
        raise AdminError("client not found")
    if not isinstance(client, ClientConnection) or not cancel_running(client):
        raise AdminError(f"client {client.id} runs no query that could be cancelled")
    return Result("CANCEL_CLIENT")


def reload(console: Console, statement: Statement) -> Reply:
    """RELOAD: takes over the configuration file, or nothing of it."""
    registry = console.host.registry
    _log_command(registry, "RELOAD", statement)
    try:
        console.host.reload()
    except ConfigErrors as errors:
        raise reload_failed(registry, errors) from None
    return Result("RELOAD")


def reload_failed(registry: Registry, errors: ConfigErrors) -> AdminError:
    """Logs what is wrong with the configuration, and says it to the admin."""
    for error in errors.errors:
        registry.log.error(str(error))
    message = "RELOAD failed, see logs for additional details"
    return AdminError(message, CONFIG_FILE_ERROR, detail=str(errors))


def set_setting(console: Console, statement: Statement) -> Reply:
    """SET: changes a setting until the next RELOAD."""
    name, text = statement.argument, statement.value or ""
    try:
        notice = console.host.set_setting(name, text)
    except KeyError:
        reason = f"unknown parameter: pgbouncer/{name}"
    except ValueError as error:
        reason = str(error)
    else:
        return Result(f"SET {name}={text}", notices=messages.notice(notice) if notice else b"")
    console.host.registry.log.error(reason)
    raise AdminError("SET failed", detail=reason)


def shutdown(console: Console, statement: Statement) -> Reply:
    """SHUTDOWN: at once, without an answer; or when servers, or clients, are through."""
    mode = _SHUTDOWN_MODES[fold(statement.argument)]
    if mode is Shutdown.IMMEDIATE:
        console.host.registry.log.info("SHUTDOWN command issued")
        console.host.shutdown(mode)
        return Wait(lambda: False)
    console.host.registry.log.info(f"SHUTDOWN {mode.name} command issued")
    console.host.shutdown(mode)
    return Result("SHUTDOWN")


# What they share -------------------------------------------------------------------------------------


def _log_command(registry: Registry, verb: str, statement: Statement) -> None:
    target = f" '{statement.argument}'" if statement.argument else ""
    registry.log.info(f"{verb}{target} command issued")


def _refuse_while_paused(registry: Registry) -> None:
    if registry.pause is not Pause.NONE:
        raise AdminError("already suspended/paused")


def _database(console: Console, name: str, doing: str) -> Database:
    """A database that clients may use; one that fits `*` is known from now on, as after its first client."""
    try:
        database = console.host.registry.find_or_register_database(name, console.client.describe())
    except ValueError:
        raise _no_such_database(name) from None
    if database is None:
        raise _no_such_database(name)
    if database.admin:
        raise AdminError(f"cannot {doing} admin db: {name}")
    return database


def _no_such_database(name: str) -> AdminError:
    return AdminError(f"no such database: {name}")


def _required(statement: Statement) -> str:
    if not statement.argument:
        raise AdminError("a database is required")
    return statement.argument


def _find_client(registry: Registry, number: int) -> Client | None:
    logged_in = (client for client in registry.clients() if client.place is not registry.login_clients)
    return next((client for client in logged_in if client.id == number), None)
