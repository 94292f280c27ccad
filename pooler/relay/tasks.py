"""What the pooler itself asks of a server: to log in, to be reset or checked, to take over a client's
parameters, auth_query.
"""

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from pooler.auth.server_login import ServerLogin, ServerLoginError, ServerLoginRejected
from pooler.pool.replication import PARAMETER
from pooler.relay.client import ClientConnection
from pooler.relay.guard import judge, judge_tag
from pooler.relay.server import CANCEL_DELIVERED, SESSION, ServerConnection, ServerTask
from pooler.wire import messages
from pooler.wire.errors import ProtocolError
from pooler.wire.framing import (
    AUTHENTICATION,
    BACKEND_KEY_DATA,
    COMMAND_COMPLETE,
    DATA_ROW,
    ERROR,
    IDLE,
    NOTICE,
    PARAMETER_STATUS,
    READY_FOR_QUERY,
    ROW_DESCRIPTION,
)

if TYPE_CHECKING:
    from pooler.relay.context import Context

CANNOT_CONNECT_NOW = "57P03"
"""A server that starts up or shuts down: its clients may as well wait."""


def install(context: "Context") -> None:
    """Gives the connections of a context their ways to talk to servers."""
    context.reset = reset
    context.check = check
    context.apply = apply_parameters
    context.judge = judge
    context.judge_tag = judge_tag


# Login -----------------------------------------------------------------------------------------------------


class Login(ServerTask):
    """Start-up, authentication and `connect_query`."""

    def __init__(self, server: ServerConnection) -> None:
        pool = server.pool
        credentials = server.context.registry.server_secret(pool)
        self.server = server
        self.exchange = ServerLogin(pool.credentials.name, credentials.secret or "", credentials.keys)
        self.untracked = bytearray()
        self.connecting = False

    def begin(self) -> None:
        """Sends the StartupMessage."""
        config = self.server.pool.database.config
        options = {
            "database": config.dbname,
            "client_encoding": config.client_encoding,
            "datestyle": config.datestyle,
            "timezone": config.timezone,
            "application_name": config.application_name,
            **self._for_replication(),
            "user": self.server.pool.credentials.name,
        }
        given = [(name, value) for name, value in options.items() if value is not None]
        self.server.converse(self, messages.startup(given))

    def _for_replication(self) -> dict[str, str | None]:
        """If the first in line is a replication client, the server is for it, with its parameters."""
        server = self.server
        client = server.pool.replication_in_turn()
        if client is None or client.replication is None:
            return {}
        server.replication = client.replication
        server.link = client
        client.link = server
        names = server.context.registry.parameters.names
        own = {
            name.lower(): value for name, value in zip(names, client.params, strict=True) if value is not None
        }
        options = client.replication.options
        return {
            **own,
            "replication": PARAMETER[client.replication.kind],
            "options": options or None,
        }

    def message(self, kind: int, body: bytes) -> bool:
        """One message of the login, or of the answer to `connect_query`."""
        if self.connecting:
            return self._connect_query_answer(kind, body)
        if kind == AUTHENTICATION:
            self._authenticate(body)
        elif kind == PARAMETER_STATUS:
            self._parameter(body)
        elif kind == BACKEND_KEY_DATA:
            self._backend_key(body)
        elif kind == READY_FOR_QUERY:
            return self._ready()
        elif kind == ERROR:
            self._refused(body)
        elif kind != NOTICE:
            self.server.context.registry.log.error(
                f"unknown pkt from server: '{chr(kind)}'", self.server.describe()
            )
            self.server.disconnect("unknown pkt from server")
        return False

    def finished(self) -> None:
        """Logged in: the pool may use the server."""
        server = self.server
        client = server.link
        if client is None:
            server.pool.release(server)
            return
        client.params = server.params
        server.pool.dedicate(server)

    def _authenticate(self, body: bytes) -> None:
        server = self.server
        try:
            answer = self.exchange.respond(body)
        except ServerLoginError as error:
            server.context.registry.log.error(error.detail or str(error), server.describe())
            if isinstance(error, ServerLoginRejected):
                server.pool.fail_waiting(str(error), messages.PROTOCOL_VIOLATION)
            server.disconnect("failed to answer authreq", terminate=False)
            return
        if answer is not None:
            server.send(answer)

    def _parameter(self, body: bytes) -> None:
        name, value = messages.parse_parameter_status(body)
        if self.server.context.registry.parameters.position(name) is None:
            self.untracked += messages.parameter_status(name, value)

    def _backend_key(self, body: bytes) -> None:
        if len(body) < 8:
            self.server.disconnect("bad cancel key")
            return
        self.server.cancel_key = body

    def _ready(self) -> bool:
        if not self.exchange.done:
            self.server.disconnect("server skipped authentication")
            return False
        pool = self.server.pool
        connect_query = pool.database.config.connect_query
        if connect_query is None or self.connecting:
            self._learn_welcome()
            return True
        self.connecting = True
        self.server.send(messages.query(connect_query))
        return False

    def _connect_query_answer(self, kind: int, body: bytes) -> bool:
        """Errors of a connect_query are logged and ignored, as PgBouncer does."""
        server = self.server
        if kind == ERROR:
            found = messages.parse_error(body)
            server.context.registry.log.error(
                f"S: error while executing exec_on_query: {found.severity}: {found.message}",
                server.describe(),
            )
        if kind != READY_FOR_QUERY:
            return False
        self._learn_welcome()
        return True

    def _learn_welcome(self) -> None:
        server, pool = self.server, self.server.pool
        welcome = messages.AUTHENTICATION_OK + bytes(self.untracked)
        if server.replication is not None:
            # What its client asked for is no measure for others.
            server.welcome = welcome
        elif pool.welcome is None:
            pool.welcome = welcome
            pool.defaults = server.params

    def _refused(self, body: bytes) -> None:
        server = self.server
        found = messages.parse_error(body)
        text = found.message or "login failed"
        server.context.registry.log.warning(
            f"server login failed: {found.severity} {text}", server.describe()
        )
        if server.replication is not None:
            # Replication needs permissions that others can do without.
            server.close_needed = True
            server.disconnect("login failed")
            return
        if found.sqlstate != CANNOT_CONNECT_NOW:
            server.pool.fail_waiting(text, found.sqlstate or messages.PROTOCOL_VIOLATION)
        server.disconnect(text)


class CancelDelivery(ServerTask):
    """Carries one cancel request to a server, and waits until the server has closed the connection: then it
    has taken effect.
    """

    def __init__(self, server: ServerConnection, request: ClientConnection) -> None:
        self.server = server
        self.request = request
        self.target = request.canceled

    def begin(self) -> None:
        """Sends the request, unless the query that it was meant for is over."""
        server, request, target = self.server, self.request, self.target
        server.ready = True
        if request.closed or target is None or target.closed or request not in target.cancels:
            request.disconnect("not sending cancel request for client that is now idle", notify=False)
            server.disconnect("cancel request is not needed any more", terminate=False)
            return
        request.move_last(server.pool.active_cancels)
        server.move_last(server.pool.cancel_servers)
        server.task = self
        server.link = request
        request.link = server
        server.send(messages.cancel_request(target.cancel_key))

    def message(self, kind: int, body: bytes) -> bool:
        """A server says nothing to a cancel request."""
        return False

    def finished(self) -> None:
        """Never: the server closes the connection."""

    def lost(self, reason: str) -> None:
        """The request has arrived; or nobody knows whether it will, and then its server may not be used for
        anything else.
        """
        target = self.target
        if target is None or target.closed:
            return
        if reason != CANCEL_DELIVERED:
            target.close_needed = True
        target.pool.cancel_arrived(target, self.request)


# Between clients -------------------------------------------------------------------------------------------


class OwnQuery(ServerTask):
    """A query of the pooler's own, whose rows do not matter. An error, or a transaction left open, is a
    failure.
    """

    def __init__(self, server: ServerConnection, failure: str, then: Callable[[], None]) -> None:
        self.server = server
        self.failure = failure
        self.then = then

    def message(self, kind: int, body: bytes) -> bool:
        """Waits for the end, or for an error."""
        if kind == ERROR:
            found = messages.parse_error(body)
            self.server.context.registry.log.error(
                f"{self.failure}: {found.severity}: {found.message}", self.server.describe()
            )
            self.server.disconnect(self.failure)
            return False
        if kind != READY_FOR_QUERY:
            return False
        if body[:1] != bytes((IDLE,)):
            self.server.disconnect(self.failure)
            return False
        return True

    def finished(self) -> None:
        """All well."""
        self.then()


def reset(server: ServerConnection) -> None:
    """`server_reset_query`: takes away what a session left. A server that cannot be cleaned is closed."""
    sql = server.pool.policy.reset_query or server.pool.policy.guard_query
    server.tainted = False
    log = server.context.registry.log
    if log.debugging:
        log.debug(f"resetting: {sql}", server.describe())
    task = OwnQuery(server, "reset query failed", lambda: server.pool.release(server))
    server.converse(task, messages.query(sql))


def check(server: ServerConnection) -> None:
    """`server_check_query`: is the server still there?"""
    sql = server.pool.policy.check_query or ""
    log = server.context.registry.log
    if log.debugging:
        log.debug(f"P: checking: {sql}", server.describe())
    task = OwnQuery(server, "test query failed", lambda: server.pool.release(server))
    server.converse(task, messages.query(sql))


def apply_parameters(server: ServerConnection, client: ClientConnection) -> bool:
    """Gives a server the client's parameters. False: nothing had to be sent, and the client can go on at
    once.
    """
    registry = server.context.registry
    sql = registry.parameters.set_statements(client.params, server.params)
    if not sql:
        _take_canonical(server, client)
        return False
    if registry.log.debugging:
        registry.log.debug(f"varcache_apply: {sql}", server.describe())
    server.setting_parameters = True
    task = OwnQuery(server, "invalid server parameter", lambda: _parameters_set(server, client))
    server.converse(task, messages.query(sql))
    return True


def _parameters_set(server: ServerConnection, client: ClientConnection) -> None:
    server.setting_parameters = False
    _take_canonical(server, client)
    if server.link is not client:
        return
    client.unstall()
    if server.pool.mode != SESSION:
        # What the client had sent may have been cancelled meanwhile.
        server.release_if_free()


def _take_canonical(server: ServerConnection, client: ClientConnection) -> None:
    """The server's spelling of the same values becomes the client's, so that next time they compare equal."""
    registry = server.context.registry
    parameters = registry.parameters
    if registry.log.debugging:
        for name, mine, theirs in zip(parameters.names, client.params, server.params, strict=True):
            if mine is not None and theirs is not None and mine != theirs:
                registry.log.debug(
                    f"varcache_set_canonical: setting {name} to its canonical version {mine} -> {theirs}",
                    client.describe(),
                )
    client.params = parameters.filled(server.params, client.params)


# auth_query ------------------------------------------------------------------------------------------------


SAFE_SEARCH_PATH: Final = (
    "SELECT pg_catalog.set_config('search_path', 'pg_catalog, '"
    " OPERATOR(pg_catalog.||) coalesce(nullif(pg_catalog.current_setting('search_path'), '')"
    " OPERATOR(pg_catalog.||) ', ', '') OPERATOR(pg_catalog.||) 'pg_temp', true)"
)
"""Behind this nothing takes the place of what PostgreSQL itself provides. The rest of the path is the one
that the database and the role have: functions of an auth_query without a schema are found as ever.
"""


class AuthQuery(ServerTask):
    """Looks a user up with `auth_query`, on a server that belongs to `auth_user` and does nothing else.

    `found` gets the name and the secret, or None for a user that the query does not return. The server
    carries none of the client's parameters (CVE-2025-12819), and the search_path is set in the same implicit
    transaction: it holds up to the Sync.
    """

    def __init__(
        self, server: ServerConnection, found: Callable[[tuple[str, str | None] | None], None]
    ) -> None:
        self.server = server
        self.found = found
        self.asked = False
        """The search_path is set, what comes is about the user."""
        self.result: tuple[str, str | None] | None = None

    def begin(self, sql: str, user: str) -> None:
        """Sends the query."""
        self.server.converse(
            self,
            messages.extended_query(SAFE_SEARCH_PATH)
            + messages.extended_query(sql, [user])
            + messages.SYNC_MESSAGE,
        )

    def message(self, kind: int, body: bytes) -> bool:
        """Takes the row; anything that is not a two-column answer costs the connection."""
        server = self.server
        if kind == COMMAND_COMPLETE:
            self.asked = True
        elif kind in (ROW_DESCRIPTION, DATA_ROW) and not self.asked:
            pass
        elif kind == ROW_DESCRIPTION and int.from_bytes(body[:2], "big") != 2:
            count = int.from_bytes(body[:2], "big")
            server.disconnect(f"expected 2 columns from auth_query, not {count}", terminate=False)
        elif kind == DATA_ROW:
            self._row(body)
        elif kind == ERROR:
            found = messages.parse_error(body)
            server.context.registry.log.error(
                f"S: error in auth_query: {found.severity}: {found.message}", server.describe()
            )
            server.disconnect("error response from auth_query", terminate=False)
        elif kind == READY_FOR_QUERY:
            if body[:1] == bytes((IDLE,)):
                return True
            server.disconnect("auth_query left a transaction open")
        return False

    def finished(self) -> None:
        """Gives the server back, then says what was found."""
        self.server.pool.release(self.server)
        self.found(self.result)

    def _row(self, body: bytes) -> None:
        cells = messages.parse_data_row(body)
        if len(cells) != 2:
            raise ProtocolError("expected 2 columns from auth_query")
        name, secret = cells
        if name is None:
            self.server.disconnect("auth_query response contained null user name", terminate=False)
            return
        self.result = (messages.decode(name), None if secret is None else messages.decode(secret))
