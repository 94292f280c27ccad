"""Who a client is: the database and the user that it names, found in the configuration, in auth_file, or with
auth_query, within their limits.
"""

from typing import TYPE_CHECKING

from pooler.config.settings import AuthType, list_contains
from pooler.config.snapshot import DatabaseConfig
from pooler.pool.catalog import Credentials, Database
from pooler.pool.registry import ADMIN_DATABASE
from pooler.relay.server import ServerConnection
from pooler.relay.tasks import AuthQuery

if TYPE_CHECKING:
    from pooler.relay.login import ClientLogin


class Lookup:
    """The part of a login that ends with the client's `database` and `credentials`. It keeps nothing itself.

    Nothing here tells a client that a user or a database does not exist: stand-ins go through the same
    motions, and fail.
    """

    def __init__(self, login: "ClientLogin") -> None:
        self._login = login
        self._client = login.client
        self._registry = login.registry

    # Database ----------------------------------------------------------------------------------------------

    def find_database(self, name: str) -> Database:
        """The database of that name, or a fake one."""
        found = self._registry.find_or_register_database(name, self._client.describe())
        if found is None:
            found = Database(name, DatabaseConfig(name=name, dbname=name), fake=True)
        self._client.database = found
        return found

    # User --------------------------------------------------------------------------------------------------

    def admin_without_password(self) -> bool:
        """The console lets in `pgbouncer` over the unix socket with the pooler's own uid, and admins with
        auth_type=any.
        """
        client, login, registry = self._client, self._login, self._registry
        settings = registry.settings
        forced = registry.admin_pool.credentials
        if login.is_owner and login.user_name == ADMIN_DATABASE:
            client.credentials = forced
            login.own_user = login.is_admin = True
            if not self.count_database_client():
                return False
            if settings.log_connections:
                registry.log.info("pgbouncer access from unix socket", client.describe())
            return True
        if settings.auth_type is not AuthType.ANY:
            return False
        if list_contains(settings.admin_users, login.user_name):
            client.credentials = forced
            login.is_admin = True
            return self.count_database_client()
        if list_contains(settings.stats_users, login.user_name):
            client.credentials = forced
            return self.count_database_client() and self.count_user_client()
        return False

    def find_user(self, database: Database) -> None:
        """Goes on with the login, at once or when auth_query has answered."""
        if self._registry.settings.auth_type is AuthType.ANY:
            self._any_user(database)
        else:
            self._named_user(database)

    def unchecked_user(self) -> bool:
        """Somebody else will say whether this user exists; until then it does not. False if a limit has ended
        the login.
        """
        self._client.credentials = self._mock()
        return self.count_database_client() and self.count_user_client()

    def _any_user(self, database: Database) -> None:
        if database.forced is None or database.admin:
            self._registry.log.error("auth_type=any requires forced user", self._client.describe())
            self._client.disconnect("not allowed" if database.admin else "bouncer config error")
            return
        self._client.credentials = database.forced
        if self.count_database_client() and self.count_user_client():
            self._login.authenticate()

    def _named_user(self, database: Database) -> None:
        client, registry = self._client, self._registry
        known = registry.credentials.get(self._login.user_name)
        client.credentials = known
        if not self.count_database_client() or not self.count_user_client():
            return
        if known is not None and known.in_auth_file:
            self._login.authenticate()
        elif not database.fake and registry.auth_credentials(database) is not None:
            self._start_auth_query(database)
        else:
            self._no_such_user()

    def _no_such_user(self) -> None:
        client = self._client
        self._registry.log.info(f"no such user: {self._login.user_name}", client.describe())
        client.credentials = self._mock()
        if client.user_counted or self.count_user_client():
            self._login.authenticate()

    def _mock(self) -> Credentials:
        name = self._login.user_name
        return Credentials(name, self._registry.users.get(name), mock=True)

    # Limits ------------------------------------------------------------------------------------------------

    def count_database_client(self) -> bool:
        """Whether `max_db_client_connections` leaves room; the client is closed if not."""
        client = self._client
        database = client.database
        assert database is not None
        if not client.counted:
            client.counted = True
            database.client_connections += 1
        limit = database.max_client_connections(self._registry.settings)
        if limit <= 0 or database.client_connections <= limit or self._is_named_admin():
            return True
        client.disconnect("client connections exceeded (max_db_client_connections)")
        return False

    def count_user_client(self) -> bool:
        """Whether `max_user_client_connections` leaves room; the client is closed if not."""
        client = self._client
        user = client.credentials.user if client.credentials is not None else None
        if user is None:
            return True
        if not client.user_counted:
            client.user_counted = True
            user.client_connections += 1
        limit = user.max_client_connections(self._registry.settings)
        if limit <= 0 or user.client_connections <= limit or self._is_named_admin():
            return True
        client.disconnect("client connections exceeded (max_user_client_connections)")
        return False

    def _is_named_admin(self) -> bool:
        client = self._client
        return (
            client.database is not None
            and client.database.admin
            and client.credentials is not None
            and (
                self._login.is_admin
                or list_contains(self._registry.settings.admin_users, client.credentials.name)
            )
        )

    # auth_query --------------------------------------------------------------------------------------------

    def _start_auth_query(self, database: Database) -> None:
        client = self._client
        source = self._auth_database(database)
        credentials = self._registry.auth_credentials(database)
        if source is None or credentials is None:
            return
        self._login.busy = True
        client.pool = self._registry.pool(source, credentials, for_auth=True)
        if client.pool.acquire(client) is not None:
            self.ask_auth_query()

    def _auth_database(self, database: Database) -> Database | None:
        """The database to run auth_query in; without a usable one the client is refused."""
        registry, client = self._registry, self._client
        name = database.config.auth_dbname or registry.settings.auth_dbname
        source = database if not name else registry.find_or_register_database(name, client.describe())
        if source is None:
            registry.log.error(f'authentication database "{name}" is not configured.', client.describe())
            client.disconnect("bouncer config error")
            return None
        if source.disabled:
            client.disconnect(f'authentication database "{name}" is disabled')
            return None
        if source.admin:
            registry.log.error(
                f'cannot use the reserved "{source.name}" database as an auth_dbname', client.describe()
            )
            client.disconnect("bouncer config error")
            return None
        return source

    def ask_auth_query(self) -> None:
        """The client is linked to a server for that."""
        client = self._client
        server = client.link
        assert isinstance(server, ServerConnection)
        assert client.database is not None
        sql = client.database.config.auth_query or self._registry.settings.auth_query
        AuthQuery(server, self._auth_query_answered).begin(sql, self._login.user_name)

    def _auth_query_answered(self, found: tuple[str, str | None] | None) -> None:
        client, registry = self._client, self._registry
        database = client.database
        if client.closed or database is None:
            return
        self._login.busy = False
        client.pool = None
        if found is None:
            self._unknown_to_auth_query(database)
        else:
            self._forget_user()
            client.credentials = registry.dynamic_credentials(database, *found)
            if self.count_user_client():
                self._login.authenticate()
        self._login.go_on_reading()

    def _unknown_to_auth_query(self, database: Database) -> None:
        """Not told apart from a wrong password, where there are passwords."""
        settings = self._registry.settings
        if settings.log_connections:
            self._registry.log.info(f"login failed: db={database.name}", self._client.describe())
        if settings.auth_type is AuthType.TRUST:
            self._client.disconnect("no such user")
        else:
            self._no_such_user()

    def _forget_user(self) -> None:
        """What auth_query returns may be another user than the one who was asked for."""
        client = self._client
        if client.user_counted and client.credentials is not None and client.credentials.user is not None:
            client.credentials.user.client_connections -= 1
            client.user_counted = False
