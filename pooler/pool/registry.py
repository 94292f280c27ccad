"""All databases, users and pools of a process, the limits between them, and PAUSE."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from enum import Enum
from time import monotonic_ns
from typing import Protocol, cast

from pooler.auth.secrets import SecretKind, kind_of
from pooler.config.settings import PoolMode
from pooler.config.snapshot import DatabaseConfig, Snapshot
from pooler.pool.catalog import Credentials, Database, Policy, User, policy
from pooler.pool.failures import FailedLogins
from pooler.pool.lists import Member, MemberList
from pooler.pool.members import Client, Server
from pooler.pool.pool import Pool
from pooler.pool.stats import Totals, total
from pooler.wire.parameters import TrackedParameters

ADMIN_DATABASE = "pgbouncer"


class Pause(Enum):
    """What PAUSE and SUSPEND have been asked for, for the whole pooler."""

    NONE = "active"
    PAUSE = "paused"
    SUSPEND = "suspended"


class Shutdown(Enum):
    """How the pooler is going down, if it is."""

    NONE = 0
    WAIT_FOR_SERVERS = 1
    WAIT_FOR_CLIENTS = 2
    IMMEDIATE = 3


class Log(Protocol):
    """Where the pooler writes its log; `prefix` says which connection a line is about."""

    debugging: bool
    noisy: bool

    def error(self, message: str, prefix: str = "") -> None:
        """Something did not work."""

    def warning(self, message: str, prefix: str = "") -> None:
        """Something looks wrong."""

    def info(self, message: str, prefix: str = "") -> None:
        """Ordinary life."""

    def debug(self, message: str, prefix: str = "") -> None:
        """verbose >= 1; test `debugging` first."""

    def noise(self, message: str, prefix: str = "") -> None:
        """verbose >= 2; test `noisy` first."""


class Connector(ABC):
    """Opens server connections for pools that may have one more."""

    @abstractmethod
    def connect(self, pool: Pool) -> None:
        """Starts a connection; it appears among the pool's new servers at once."""


class Registry:
    """Finds and makes databases, users and pools, and knows what state the pooler as a whole is in."""

    def __init__(
        self,
        snapshot: Snapshot,
        parameters: TrackedParameters,
        log: Log,
        call_soon: Callable[[Callable[[], None]], object],
    ) -> None:
        self.snapshot = snapshot
        self.settings = snapshot.settings
        self.parameters = parameters
        self.log = log
        self.connector: Connector
        self.databases: dict[str, Database] = {}
        self.idle_autodatabases: dict[str, Database] = {}
        self.users: dict[str, User] = {}
        self.credentials: dict[str, Credentials] = {}
        self.pools: dict[tuple[str, str, bool], Pool] = {}
        self.login_clients = MemberList("login")
        self.client_count = 0
        self.unread_clients: dict[Client, None] = {}
        self.pause = Pause.NONE
        self.shutdown = Shutdown.NONE
        self.cancel_keys: dict[bytes, Client] = {}
        self.failed_logins = FailedLogins()
        self._scram_is_usual = False
        self._ids = 0
        self._call_soon = call_soon
        self._attend: dict[Pool, None] = {}
        self._waits: list[tuple[Callable[[], bool], Callable[[], None]]] = []
        now = monotonic_ns()
        self.stats_stamp = now
        self.older_stats_stamp = now - 1_000_000_000
        self.admin_pool = self._make_admin_pool()
        self._apply_databases(snapshot)
        self._apply_users(snapshot)

    # Small things ------------------------------------------------------------------------------------------

    def next_id(self) -> int:
        """Clients and servers share one sequence of ids (SHOW CLIENTS, SHOW SERVERS)."""
        self._ids += 1
        return self._ids

    @property
    def waits_for_servers(self) -> bool:
        """SHUTDOWN WAIT_FOR_SERVERS is under way: nobody gets a server any more."""
        return self.shutdown is Shutdown.WAIT_FOR_SERVERS

    @property
    def is_suspended(self) -> bool:
        """SUSPEND: everything stays as it is, but nobody reads."""
        return self.pause is Pause.SUSPEND

    def sorted_pools(self) -> list[Pool]:
        """By database and user, the order in which SHOW lists them."""
        return [self.pools[key] for key in sorted(self.pools)]

    def pools_of(self, database: Database) -> list[Pool]:
        """The pools of one database."""
        return [pool for pool in self.pools.values() if pool.database is database]

    def servers(self) -> Iterator[Server]:
        """Every server connection."""
        for pool in self.sorted_pools():
            for servers in pool.server_lists():
                for server in servers:
                    yield cast(Server, server)

    def clients(self) -> Iterator[Client]:
        """Every client connection, those that log in last."""
        for pool in self.sorted_pools():
            for clients in pool.client_lists():
                for client in clients:
                    yield cast(Client, client)
        for client in self.login_clients:
            yield cast(Client, client)

    # Databases, users, pools -------------------------------------------------------------------------------

    def find_database(self, name: str) -> Database | None:
        """A database that exists; an idle auto-database comes back to life."""
        found = self.databases.get(name)
        if found is not None:
            return found
        idle = self.idle_autodatabases.pop(name, None)
        if idle is not None:
            idle.idle_since_ns = 0
            self.databases[name] = idle
        return idle

    def find_or_register_database(self, name: str, asked_by: str = "") -> Database | None:
        """Like find_database; with a `*` entry, a name that is not configured becomes an auto-database."""
        found = self.find_database(name)
        if found is not None or self.snapshot.autodb is None:
            return found
        try:
            config = self.snapshot.autodb.for_name(name)
        except ValueError:
            return None
        database = Database(name, config, auto=True)
        self._force_user(database)
        self.databases[name] = database
        self.log.info(f"registered new auto-database: {name}", asked_by)
        return database

    def user(self, name: str) -> User:
        """The user of that name, known from now on."""
        found = self.users.get(name)
        if found is None:
            found = self.users[name] = User(name, self.snapshot.users.get(name))
        return found

    def global_credentials(self, name: str) -> Credentials:
        """The credentials of a user that hold everywhere: those of auth_file, or empty ones for a user
        without an entry.
        """
        found = self.credentials.get(name)
        if found is None:
            found = self.credentials[name] = Credentials(name, self.user(name))
        return found

    def dynamic_credentials(self, database: Database, name: str, secret: str | None) -> Credentials:
        """What auth_query found for a user of this database."""
        found = database.dynamic.get(name)
        if found is None:
            found = database.dynamic[name] = Credentials(name, self.user(name))
        if secret:
            database.found_scram = kind_of(secret) is SecretKind.SCRAM
        if found.secret != secret:
            found.secret = secret
            found.keys = None
        return found

    def pool(self, database: Database, credentials: Credentials, for_auth: bool = False) -> Pool:
        """The pool of a user in a database, made when it is first asked for.

        auth_query has pools of its own, `for_auth`: what a client leaves behind on a server of the same user
        (a search_path, a temporary table) must not decide who may log in (CVE-2025-12819).
        """
        found = self.pools.get((database.name, credentials.name, for_auth))
        if found is None:
            found = Pool(self, database, credentials, for_auth)
            self.pools[found.key] = found
            if credentials.user is not None:
                credentials.user.pools.add(found)
        return found

    def policy_of(self, database: Database, credentials: Credentials) -> Policy:
        """The settings that hold for a pool."""
        return policy(self.settings, database, credentials.user)

    def auth_credentials(self, database: Database) -> Credentials | None:
        """Who runs auth_query for this database, if anybody (`auth_user`, of the database or global)."""
        name = database.config.auth_user or self.settings.auth_user
        return self.global_credentials(name) if name else None

    def expects_scram(self, database: Database) -> bool:
        """Whether most users of a database have SCRAM secrets, as far as one can know: `auth_type = md5` asks
        for that kind of proof then.
        """
        return self._scram_is_usual if self.auth_credentials(database) is None else database.found_scram

    def server_secret(self, pool: Pool) -> Credentials:
        """The credentials to log in to a server with; a forced user without a password uses that of
        auth_file.
        """
        own = pool.credentials
        if not own.secret and pool.database.forced is not None:
            return self.credentials.get(own.name, own)
        return own

    def _make_admin_pool(self) -> Pool:
        config = DatabaseConfig(
            name=ADMIN_DATABASE,
            dbname=ADMIN_DATABASE,
            port=self.settings.listen_port,
            user=ADMIN_DATABASE,
            pool_size=2,
            pool_mode=PoolMode.STATEMENT,
        )
        database = Database(ADMIN_DATABASE, config, admin=True)
        self._force_user(database)
        self.databases[ADMIN_DATABASE] = database
        assert database.forced is not None
        return self.pool(database, database.forced)

    def _force_user(self, database: Database) -> None:
        config = database.config
        if config.user is None:
            database.forced = None
        elif database.forced is None or database.forced.name != config.user:
            database.forced = Credentials(config.user, self.user(config.user), config.password)
        elif database.forced.secret != config.password:
            database.forced.secret = config.password
            database.forced.keys = None

    # Configuration -----------------------------------------------------------------------------------------

    def apply(self, snapshot: Snapshot) -> None:
        """A new configuration takes effect at once, for all of it."""
        self.snapshot = snapshot
        self.settings = snapshot.settings
        self._apply_databases(snapshot)
        self._apply_users(snapshot)
        self.reconfigure()

    def apply_secrets(self, secrets: dict[str, str]) -> None:
        """The users of auth_file; those that are no longer in it lose their secret."""
        for credentials in self.credentials.values():
            if credentials.in_auth_file and credentials.name not in secrets:
                credentials.secret = None
                credentials.keys = None
                credentials.in_auth_file = False
        for name, secret in secrets.items():
            credentials = self.global_credentials(name)
            credentials.in_auth_file = True
            if credentials.secret != secret:
                credentials.secret = secret
                credentials.keys = None
        scram = sum(kind_of(secret) is SecretKind.SCRAM for secret in secrets.values())
        self._scram_is_usual = 2 * scram > len(secrets)

    def reconfigure(self) -> None:
        """Lets every pool work out its settings again."""
        for pool in self.pools.values():
            pool.configure(self.policy_of(pool.database, pool.credentials), self.is_paused(pool.database))
            self.attend_soon(pool)

    def _apply_databases(self, snapshot: Snapshot) -> None:
        for name, config in snapshot.databases.items():
            database = self.find_database(name)
            if database is None:
                database = self.databases[name] = Database(name, config)
            self._change_database(database, config, auto=False)
        for database in [*self.databases.values(), *self.idle_autodatabases.values()]:
            if database.admin or database.name in snapshot.databases:
                continue
            if database.auto and snapshot.autodb is not None:
                self._change_database(database, snapshot.autodb.for_name(database.name), auto=True)
            else:
                self.remove_database(database)

    def _change_database(self, database: Database, config: DatabaseConfig, auto: bool) -> None:
        if _reaches_elsewhere(database.config, config):
            for pool in self.pools_of(database):
                pool.tag_dirty()
        database.config = config
        database.auto = auto
        self._force_user(database)

    def _apply_users(self, snapshot: Snapshot) -> None:
        for name in snapshot.users:
            self.user(name)
        for user in self.users.values():
            user.config = snapshot.users.get(user.name)

    def remove_database(self, database: Database) -> None:
        """Closes all of a database that is not configured any more, or an auto-database that nobody used."""
        self.log.warning(
            f"dropping database '{database.name}' as it does not exist anymore or inactive auto-database"
        )
        for pool in self.pools_of(database):
            self.remove_pool(pool)
        self.databases.pop(database.name, None)
        self.idle_autodatabases.pop(database.name, None)

    def remove_pool(self, pool: Pool) -> None:
        """Closes every connection of a pool and forgets it."""
        reason = "database removed"
        for clients in pool.client_lists():
            for client in clients:
                cast(Client, client).disconnect(reason)
        for member in self.login_clients:
            login = cast(Client, member)
            if login.pool is pool:
                login.disconnect(reason)
        for servers in pool.server_lists():
            for server in servers:
                cast(Server, server).disconnect(reason)
        self.pools.pop(pool.key, None)
        self._attend.pop(pool, None)
        if pool.credentials.user is not None:
            pool.credentials.user.pools.discard(pool)

    # Limits ------------------------------------------------------------------------------------------------

    def make_room(self, pool: Pool, evict: bool) -> bool:
        """Whether limits of the database and of the user leave room for one more server, after eviction if
        that is allowed.
        """
        database = pool.database
        limit = database.max_connections(self.settings)
        if limit > 0:
            while evict and database.connections >= limit and self.evict(self.pools_of(database)):
                pass
            if database.connections >= limit:
                return False
        user = pool.credentials.user
        limit = user.max_connections(self.settings) if user is not None else 0
        if user is not None and limit > 0:
            while evict and user.connections >= limit and self.evict(list(user.pools)):
                pass
            return user.connections < limit
        return True

    def evict(self, pools: list[Pool]) -> bool:
        """Closes the server that has been unused for longest in these pools; those under test only where
        nobody waits.
        """
        candidates: list[Member | None] = []
        for pool in pools:
            candidates.append(pool.idle_servers.last)
            if pool.waiting_clients.count == 0:
                candidates += (pool.used_servers.last, pool.tested_servers.last)
        servers = [cast(Server, candidate) for candidate in candidates if candidate is not None]
        if not servers:
            return False
        min(servers, key=lambda server: int(server.request_ns)).disconnect("evicted")
        return True

    # PAUSE, and other things that take their time ----------------------------------------------------------

    def is_paused(self, database: Database) -> bool:
        """Whether clients of this database get no servers at the moment."""
        return not database.admin and (self.pause is not Pause.NONE or database.paused)

    def set_pause(self, pause: Pause) -> None:
        """PAUSE, SUSPEND or RESUME of everything."""
        self.pause = pause
        self._pause_changed()

    def set_database_pause(self, database: Database, paused: bool) -> None:
        """PAUSE or RESUME of one database."""
        database.paused = paused
        database.killed = False
        self._pause_changed()

    def _pause_changed(self) -> None:
        for pool in self.pools.values():
            paused = self.is_paused(pool.database)
            if paused != pool.paused:
                pool.paused = paused
                self.attend_soon(pool)

    def servers_in_use(self, database: Database | None = None) -> int:
        """Servers that PAUSE has to wait for, of one database or of all that are paused."""
        return sum(
            int(pool.active_servers.count + pool.tested_servers.count + pool.canceled_servers.count)
            for pool in self.pools.values()
            if pool.paused and (database is None or pool.database is database)
        )

    def servers_to_close(self, database: Database | None) -> int:
        """Servers that RECONNECT or RELOAD has marked and that WAIT_CLOSE waits for."""
        return sum(
            1
            for server in self.servers()
            if server.close_needed and (database is None or server.pool.database is database)
        )

    def when(self, condition: Callable[[], bool], done: Callable[[], None]) -> Callable[[], None]:
        """Calls `done` once `condition` holds; returns a function that gives up waiting."""
        wait = (condition, done)
        self._waits.append(wait)
        self._call_soon(self.check_waits)

        def forget() -> None:
            if wait in self._waits:
                self._waits.remove(wait)

        return forget

    def check_waits(self) -> None:
        """Something has changed that somebody may wait for."""
        for wait in list(self._waits):
            condition, done = wait
            if wait in self._waits and condition():
                self._waits.remove(wait)
                done()

    def attend_soon(self, pool: Pool) -> None:
        """Has `Pool.attend` called once the current callback is over."""
        if not self._attend:
            self._call_soon(self._attend_all)
        self._attend[pool] = None

    def _attend_all(self) -> None:
        pools = list(self._attend)
        self._attend.clear()
        for pool in pools:
            pool.attend()
        if self._waits:
            self.check_waits()

    # Statistics --------------------------------------------------------------------------------------------

    def rotate_stats(self) -> None:
        """A `stats_period` is over."""
        self.older_stats_stamp = self.stats_stamp
        self.stats_stamp = monotonic_ns()
        for pool in self.pools.values():
            pool.older = pool.newer
            pool.newer = pool.stats.reading()
            pool.stats.rotate()

    def stats_seconds(self) -> float:
        """Seconds that current averages cover."""
        return (monotonic_ns() - self.older_stats_stamp) / 1e9

    def totals(self) -> tuple[Totals, Totals]:
        """The sum over all pools: counters now, and at the start of the period that averages cover."""
        pools = self.pools.values()
        return total(pool.stats.reading() for pool in pools), total(pool.older for pool in pools)


def _reaches_elsewhere(old: DatabaseConfig, new: DatabaseConfig) -> bool:
    """Whether servers that were opened under `old` are wrong under `new`."""
    return (
        old.dbname != new.dbname
        or old.host != new.host
        or old.port != new.port
        or old.user != new.user
        or old.connect_query != new.connect_query
        or old.auth_dbname != new.auth_dbname
        or old.auth_query != new.auth_query
        or old.load_balance_hosts != new.load_balance_hosts
    )
