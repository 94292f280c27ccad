"""PAUSE: how it waits, how it lets go, and what held it.

A PAUSE is in force from the moment that it is given, and complete when the last server in use is free. One
that is given up before that, because its time is over or its admin has gone or has cancelled it, is taken
back, unless somebody else wants it too. One that is complete stays until RESUME.
"""

from time import monotonic_ns
from typing import Final, cast

from pooler.admin.console import Console, Reply, Result, Wait
from pooler.admin.errors import QUERY_CANCELED, AdminError
from pooler.admin.host import AdminHost
from pooler.pool.catalog import Database
from pooler.pool.members import Client, Server
from pooler.pool.registry import Pause, Registry, Shutdown
from pooler.relay.client import ClientConnection

EVERYTHING: Final = ""
"""In place of a database: PAUSE of the pooler."""


class PauseClaims:
    """Which pauses are not complete, and how many commands wait for each.

    A pause without claims is complete, or was never waited for (KILL, SIGUSR1), and is nobody's to take back.
    """

    def __init__(self) -> None:
        self._waiting: dict[str, set[object]] = {}

    def claim(self, name: str, in_force: bool) -> object:
        """Another command wants this pause; `in_force` is whether it was on before."""
        token = object()
        if not in_force:
            self._waiting[name] = set()
        if name in self._waiting:
            self._waiting[name].add(token)
        return token

    def settle(self, name: str) -> None:
        """The pause is complete, or over: nobody takes it back any more."""
        self._waiting.pop(name, None)

    def give_up(self, name: str, token: object) -> bool:
        """This command wants it no more. Whether it was the last, and the pause is to be taken back."""
        claims = self._waiting.get(name)
        if claims is None or token not in claims:
            return False
        claims.discard(token)
        if not claims:
            del self._waiting[name]
        return not claims


class PendingPause:
    """A PAUSE that was given, of everything or of one database, until it is complete or given up."""

    def __init__(self, console: Console, database: Database | None, seconds: float | None) -> None:
        self._registry: Registry = console.host.registry
        self._claims = console.host.pauses
        self._database = database
        self._seconds = seconds
        self._name = EVERYTHING if database is None else database.name
        self._who = console.client.describe()
        self._late = False
        self._token = self._claims.claim(self._name, self._in_force())
        if database is None:
            self._registry.set_pause(Pause.PAUSE)
        else:
            self._registry.set_database_pause(database, True)
        if seconds is not None:
            console.client.context.call_later(seconds, self._time_is_over)

    def wait(self) -> Reply:
        """What the command answers when it is over."""
        return Wait(self._over, self._outcome, self._abandoned)

    def _in_force(self) -> bool:
        if self._database is None:
            return self._registry.pause is Pause.PAUSE
        return self._database.paused

    def _complete(self) -> bool:
        return self._registry.servers_in_use(self._database) == 0

    def _over(self) -> bool:
        return not self._in_force() or self._complete() or self._late

    def _time_is_over(self) -> None:
        self._late = True
        self._registry.check_waits()

    def _outcome(self) -> Result:
        if not self._in_force():
            self._claims.settle(self._name)
            raise AdminError("PAUSE was ended by RESUME", QUERY_CANCELED)
        if not self._complete():
            held = what_holds(self._registry, self._database)
            taken_back = "taken back" if self._take_back() else "left in force, as others want it"
            message = f"PAUSE was not complete after {self._seconds:g} s, and is {taken_back}"
            raise AdminError(message, QUERY_CANCELED, held)
        self._claims.settle(self._name)
        return Result("PAUSE")

    def _abandoned(self, reason: str) -> None:
        if self._take_back():
            target = f" of database {self._name}" if self._name else ""
            self._registry.log.warning(f"PAUSE{target} was not complete, taking it back: {reason}", self._who)

    def _take_back(self) -> bool:
        """Unless others wait for the same pause, it is over, or the pooler is going down with it."""
        last = self._claims.give_up(self._name, self._token)
        if not last or not self._in_force() or not _goes_on(self._registry):
            return False
        if self._database is None:
            self._registry.set_pause(Pause.NONE)
        else:
            self._registry.set_database_pause(self._database, False)
        return True


def _goes_on(registry: Registry) -> bool:
    """Clients are served: also those whose end SHUTDOWN WAIT_FOR_CLIENTS waits for."""
    return registry.shutdown in (Shutdown.NONE, Shutdown.WAIT_FOR_CLIENTS)


def what_holds(registry: Registry, database: Database | None) -> str:
    """Which servers a pause waits for, and the client whose transaction has lasted longest."""
    pools = [pool for pool in registry.pools.values() if pool.paused and database in (None, pool.database)]
    count = registry.servers_in_use(database)
    text = f"{count} server{'s are' if count != 1 else ' is'} busy"
    clients = [
        server.link
        for pool in pools
        for server in (cast(Server, member) for member in pool.active_servers)
        if server.link is not None
    ]
    if not clients:
        return text
    # One that only holds a server, in session mode, comes after all transactions.
    oldest = min(clients, key=lambda client: (client.xact_ns == 0, client.xact_ns or client.request_ns))
    return f"{text}; {_holder(oldest)}"


def _holder(client: Client) -> str:
    who = f"client {client.id}"
    if isinstance(client, ClientConnection):
        user = client.credentials.name if client.credentials is not None else "(nouser)"
        database = client.database.name if client.database is not None else "(nodb)"
        who = f"client {client.id}, user {user}, database {database}, from {client.remote.text()}"
    if client.xact_ns:
        return f"the oldest transaction is that of {who}, for {_age(int(client.xact_ns))}"
    idle = _age(int(client.request_ns))
    return f"no transaction is open; the oldest session is that of {who}, idle for {idle}"


def _age(since_ns: int) -> str:
    return f"{(monotonic_ns() - since_ns) / 1e9:.1f} s"


def wait_for_suspension(host: AdminHost) -> Wait:
    """Waits until no buffer holds anything; fails if somebody resumes before, is undone if it is given up."""
    registry = host.registry

    def in_force() -> bool:
        return registry.pause is Pause.SUSPEND

    def outcome() -> Result:
        if not in_force():
            raise AdminError("SUSPEND was ended by RESUME", QUERY_CANCELED)
        return Result("SUSPEND")

    def abandoned(reason: str) -> None:
        if in_force() and _goes_on(registry):
            registry.log.warning(f"SUSPEND was not complete, taking it back: {reason}")
            host.resume_from_suspend()

    return Wait(lambda: not in_force() or host.is_drained(), outcome, abandoned)
