"""How a client becomes one: start-up packets, which database and user, authentication, and the welcome.

The order of the checks and the texts are PgBouncer's (docs/config.md of PgBouncer; reference messages in its
client.c), because scripts and drivers match them. A database or a user that does not exist is told apart only
after authentication.
"""

import secrets
from typing import Final

from pooler.auth.client_login import LoginError, PasswordExchange, begin
from pooler.auth.hba import ClientCert, HbaRule, Method
from pooler.config.settings import AuthType, list_contains
from pooler.config.snapshot import DatabaseConfig
from pooler.pool.catalog import Credentials, Database
from pooler.pool.members import SERVER, WELCOME
from pooler.pool.registry import ADMIN_DATABASE, Shutdown
from pooler.pool.replication import PARAMETER, Replication, ReplicationKind
from pooler.relay.cancelled import cancel_waiting
from pooler.relay.client import ClientConnection, ClientPhase
from pooler.relay.context import Context
from pooler.relay.external_login import Ask, ExternalLogin, by_ldap, by_pam
from pooler.relay.server import ServerConnection
from pooler.relay.startup import StartupRefused, read_startup
from pooler.relay.tasks import AuthQuery
from pooler.relay.tls import (
    ALPN_PROTOCOL,
    HANDSHAKE_RECORD,
    ClientTls,
    TlsTransport,
    certificate_names,
    tls_text,
)
from pooler.wire import messages
from pooler.wire.errors import ProtocolError
from pooler.wire.framing import PASSWORD, TERMINATE

USER_NAME_LIMIT: Final = 128
"""Bytes of a user name, the terminating zero included (PgBouncer's MAX_USERNAME)."""

PASSWORD_MESSAGE_LIMIT: Final = 70_000
"""Bytes of a password or SASL message: PgBouncer takes passwords of up to 65,530 bytes."""


AUTH_TYPE_OF: Final = {
    Method.TRUST: AuthType.TRUST,
    Method.PASSWORD: AuthType.PLAIN,
    Method.MD5: AuthType.MD5,
    Method.SCRAM_SHA_256: AuthType.SCRAM_SHA_256,
    Method.CERT: AuthType.CERT,
    Method.LDAP: AuthType.LDAP,
}
"""What a method of auth_hba_file is called in `auth_type`."""


class ClientLogin(ClientPhase):
    """The life of a client before it may send queries."""

    def __init__(self, client: ClientConnection, is_owner: bool, peer_user: str = "") -> None:
        """`peer_user` is the account at the other end of a unix socket, and `is_owner` if it is our own."""
        self.client = client
        self.peer_user = peer_user
        self.context: Context = client.context
        self.registry = client.context.registry
        self.is_owner = is_owner
        self.buffer = bytearray()
        self.started = False
        self.refused_encryption: set[int] = set()
        self.encrypted = False
        self.tls: ClientTls | None = None
        """As it was in the handshake; a RELOAD may change the certificate before the password comes."""
        self.direct = False
        self.exchange: PasswordExchange | None = None
        self.external: ExternalLogin | None = None
        self.user_name = ""
        self.own_user = False
        self.is_admin = False
        self.busy = False
        self.replication: Replication | None = None

    # ClientPhase -------------------------------------------------------------------------------------------

    def received(self, data: bytes) -> None:
        """Bytes of a start-up packet, a password, or things sent ahead."""
        self.buffer += data
        if self.busy:
            if len(self.buffer) > PASSWORD_MESSAGE_LIMIT:
                self.client.hold_reading()
            return
        self._go_on()

    def proceed(self) -> None:
        """A server for auth_query is linked, or the pool knows its welcome."""
        if self.client.greeted:
            self._welcome()
        elif self.client.link is not None:
            self._ask_auth_query()

    def closed(self) -> None:
        """Nothing to let go of but a check under way: the connection keeps the counts."""
        self.buffer.clear()
        if self.external is not None:
            self.external.cancel()

    def cancelled(self) -> None:
        """There is no query yet."""

    # Packets -----------------------------------------------------------------------------------------------

    def _go_on(self) -> None:
        """Handles complete packets for as long as the login lasts and waits for nothing."""
        client = self.client
        try:
            while not self.busy and not client.closed and client.phase is self:
                if self.started:
                    if not self._next_message():
                        return
                elif not self._next_packet():
                    return
        except ProtocolError as error:
            client.disconnect(str(error))

    def _next_packet(self) -> bool:
        """One packet without a type byte: StartupMessage, SSLRequest, GSSENCRequest or CancelRequest."""
        buffer = self.buffer
        if not buffer:
            return False
        if buffer[0] == HANDSHAKE_RECORD and self._speaks_tls():
            self._direct_tls()
            return False
        if buffer[0] != 0:
            self._message_too_early(buffer[0])
            return False
        if len(buffer) < 8:
            return False
        length = int.from_bytes(buffer[:4], "big")
        if length < 8 or length > messages.STARTUP_LIMIT:
            raise ProtocolError(f"bad packet header: '{buffer[:8].hex()}'")
        if len(buffer) < length:
            return False
        packet = bytes(buffer[4:length])
        del buffer[:length]
        self._packet(int.from_bytes(packet[:4], "big"), packet)
        return True

    def _message_too_early(self, kind: int) -> None:
        if kind == PASSWORD:
            self.client.disconnect("client password pkt before startup packet")
        else:
            self.client.disconnect(f"bad packet header: '{self.buffer[:8].hex()}'")

    def _packet(self, code: int, packet: bytes) -> None:
        client = self.client
        if code == messages.SSL_REQUEST and self.encrypted:
            client.disconnect("SSL req inside SSL", notify=False)
        elif code == messages.SSL_REQUEST and self._speaks_tls():
            self._accept_encryption()
        elif code == messages.SSL_REQUEST:
            self._refuse_encryption(code, "SSL")
        elif code == messages.GSSENC_REQUEST:
            self._refuse_encryption(code, "GSSAPI encryption")
        elif code == messages.CANCEL_REQUEST:
            self._cancel_request(packet[4:])
        elif code >> 16 == 3:
            self._startup(messages.parse_startup(packet))
        elif code >> 16 == 2:
            client.disconnect("old V2 protocol not supported")
        else:
            raise ProtocolError(
                f"bad packet header: '{(len(packet) + 4).to_bytes(4, 'big').hex()}{packet[:4].hex()}'"
            )

    def _speaks_tls(self) -> bool:
        return self.context.client_tls is not None and not self.client.remote.is_unix and not self.encrypted

    def _accept_encryption(self) -> None:
        """Answers S. What came behind the request was sent in the belief that it would be encrypted
        (CVE-2021-3935).
        """
        if self.buffer:
            self.client.disconnect("received unencrypted data after SSL request")
            return
        self.client.send(b"S")
        self._start_tls(b"")

    def _direct_tls(self) -> None:
        """A handshake without an SSLRequest; it has to name the protocol (ALPN) that is meant."""
        if self.refused_encryption:
            self.client.disconnect("client started TLS after it was refused", notify=False)
            return
        self.direct = True
        first = bytes(self.buffer)
        self.buffer.clear()
        self._start_tls(first)

    def _start_tls(self, first: bytes) -> None:
        client, settings = self.client, self.context.client_tls
        assert settings is not None
        self.encrypted = True
        self.tls = settings
        raw = client.transport
        client.transport = TlsTransport(raw, client, settings.context, None, True, self._tls_started)
        client.transport.start(first)

    def _tls_started(self, failure: str | None) -> None:
        client = self.client
        if client.closed:
            return
        if failure is not None:
            client.disconnect(f"TLS handshake failed: {failure}", notify=False)
            return
        chosen = client.transport.get_extra_info("ssl_object").selected_alpn_protocol()
        if self.direct and chosen != ALPN_PROTOCOL:
            client.disconnect(
                "received direct TLS connection request without ALPN protocol negotiation extension"
            )

    def _refuse_encryption(self, code: int, name: str) -> None:
        """Answers N. What came behind the request was sent in the belief that it would be encrypted
        (CVE-2021-3935).
        """
        if self.buffer:
            self.client.disconnect(f"received unencrypted data after {name} request")
        elif code in self.refused_encryption:
            self.client.disconnect(f"client sent a second {name} request")
        else:
            self.refused_encryption.add(code)
            self.client.send(b"N")

    def _next_message(self) -> bool:
        if self.buffer[:1] == b"\x00":
            self.client.disconnect("client re-sent startup pkt")
            return False
        for kind, body in messages.split(self.buffer, PASSWORD_MESSAGE_LIMIT):
            self._message(kind, body)
            return True
        return False

    def _message(self, kind: int, body: bytes) -> None:
        client = self.client
        if kind == TERMINATE:
            client.disconnect("client close request", notify=False)
        elif kind == PASSWORD and self.external is not None:
            self.busy = True
            self.external.password(body)
        elif kind != PASSWORD or self.exchange is None:
            client.disconnect("bad packet")
        else:
            self._password(self.exchange, body)

    # Start-up ----------------------------------------------------------------------------------------------

    def _startup(self, startup: messages.Startup) -> None:
        client = self.client
        self.started = True
        try:
            wanted = read_startup(client, startup)
        except StartupRefused as refused:
            client.disconnect(str(refused))
            return
        self.replication = wanted.replication
        tls = self.context.client_tls
        if tls is not None and tls.required and not self.encrypted and not client.remote.is_unix:
            client.disconnect("SSL required")
            return
        settings = self.registry.settings
        if self.registry.client_count > settings.max_client_conn and wanted.database != ADMIN_DATABASE:
            client.disconnect("no more connections allowed (max_client_conn)")
            return
        if startup.minor_is_newer or wanted.extensions:
            client.send(messages.negotiate_protocol_version(wanted.extensions))
        self._find_pool(wanted.database, wanted.user)

    # Who, and where ----------------------------------------------------------------------------------------

    def _find_pool(self, database_name: str, user: str) -> None:
        client = self.client
        self.user_name = user
        database = self.registry.find_or_register_database(database_name, client.describe())
        if database is None:
            database = Database(
                database_name, DatabaseConfig(name=database_name, dbname=database_name), fake=True
            )
        client.database = database
        if database.admin and self._admin_without_password():
            self._authenticate()
            return
        if client.closed:
            return
        if len(messages.encode(user)) >= USER_NAME_LIMIT:
            client.disconnect("username too long")
            return
        external = self._external(database)
        if external is not None:
            self._external_user(database, *external)
        elif self.registry.settings.auth_type is AuthType.ANY:
            self._any_user(database)
        else:
            self._named_user(database)

    def _admin_without_password(self) -> bool:
        """The console lets in `pgbouncer` over the unix socket with the pooler's own uid, and admins with
        auth_type=any.
        """
        client = self.client
        forced = self.registry.admin_pool.credentials
        settings = self.registry.settings
        if self.is_owner and self.user_name == ADMIN_DATABASE:
            client.credentials = forced
            self.own_user = self.is_admin = True
            if not self._count_database_client():
                return False
            if settings.log_connections:
                self.registry.log.info("pgbouncer access from unix socket", client.describe())
            return True
        if settings.auth_type is not AuthType.ANY:
            return False
        if list_contains(settings.admin_users, self.user_name):
            client.credentials = forced
            self.is_admin = True
            return self._count_database_client()
        if list_contains(settings.stats_users, self.user_name):
            client.credentials = forced
            return self._count_database_client() and self._count_user_client()
        return False

    def _any_user(self, database: Database) -> None:
        if database.forced is None or database.admin:
            self.registry.log.error("auth_type=any requires forced user", self.client.describe())
            self.client.disconnect("not allowed" if database.admin else "bouncer config error")
            return
        self.client.credentials = database.forced
        if self._count_database_client() and self._count_user_client():
            self._authenticate()

    def _named_user(self, database: Database) -> None:
        client = self.client
        known = self.registry.credentials.get(self.user_name)
        client.credentials = known
        if not self._count_database_client() or not self._count_user_client():
            return
        if known is not None and known.in_auth_file:
            self._authenticate()
            return
        if not database.fake and self.registry.auth_credentials(database) is not None:
            self._start_auth_query(database)
            return
        self.registry.log.info(f"no such user: {self.user_name}", client.describe())
        counted = client.user_counted
        client.credentials = Credentials(self.user_name, self.registry.users.get(self.user_name), mock=True)
        if counted or self._count_user_client():
            self._authenticate()

    # PAM and LDAP ------------------------------------------------------------------------------------------

    def _external(self, database: Database) -> tuple[str, Ask] | None:
        """Who checks the password, if not we ourselves; the user need not be known then."""
        context, auth_type = self.context, self.registry.settings.auth_type
        if auth_type is AuthType.PAM:
            return "PAM", by_pam(context, self.client)
        options = context.ldap if auth_type is AuthType.LDAP else None
        if auth_type is AuthType.HBA:
            rule = self._rule(database, self.user_name)
            options = None if rule is None else context.ldap_of_rules.get(rule.line)
        return None if options is None else ("LDAP", by_ldap(context, options))

    def _external_user(self, database: Database, method: str, ask: Ask) -> None:
        client = self.client
        if database.config.auth_user:
            self.registry.log.error(
                f"{method} can't be used together with database authentication", client.describe()
            )
            client.disconnect("bouncer config error")
            return
        rule = self._rule(database, self.user_name)
        if rule is not None and not self._certificate_suits(rule, self.user_name):
            client.disconnect("certificate authentication failed")
            return
        client.credentials = Credentials(self.user_name, self.registry.users.get(self.user_name), mock=True)
        if not self._count_database_client() or not self._count_user_client():
            return
        self._log_attempt(database, client.credentials)
        self.external = ExternalLogin(client, method, ask, self.user_name, self._externally_confirmed)
        self.external.begin()

    def _externally_confirmed(self, password: str) -> None:
        """From now on the user is known, and logs in to servers with that password."""
        client, registry = self.client, self.registry
        database = client.database
        assert database is not None
        self.busy = False
        credentials = registry.global_credentials(self.user_name)
        if credentials.secret != password:
            credentials.secret = password
            credentials.keys = None
        client.credentials = credentials
        if not self._count_user_client():
            return
        if database.admin and not self._may_use_console(credentials):
            client.disconnect("not allowed")
            return
        if not database.fake:
            client.pool = registry.pool(database, database.forced or credentials)
        self._finish()
        self._after_wait()

    # Limits ------------------------------------------------------------------------------------------------

    def _is_named_admin(self) -> bool:
        client = self.client
        database = client.database
        return (
            database is not None
            and database.admin
            and client.credentials is not None
            and (self.is_admin or list_contains(self.registry.settings.admin_users, client.credentials.name))
        )

    def _count_database_client(self) -> bool:
        client = self.client
        database = client.database
        assert database is not None
        if not client.counted:
            client.counted = True
            database.client_connections += 1
        limit = database.max_client_connections(self.registry.settings)
        if limit <= 0 or database.client_connections <= limit or self._is_named_admin():
            return True
        client.disconnect("client connections exceeded (max_db_client_connections)")
        return False

    def _count_user_client(self) -> bool:
        client = self.client
        user = client.credentials.user if client.credentials is not None else None
        if user is None:
            return True
        if not client.user_counted:
            client.user_counted = True
            user.client_connections += 1
        limit = user.max_client_connections(self.registry.settings)
        if limit <= 0 or user.client_connections <= limit or self._is_named_admin():
            return True
        client.disconnect("client connections exceeded (max_user_client_connections)")
        return False

    # auth_query --------------------------------------------------------------------------------------------

    def _start_auth_query(self, database: Database) -> None:
        client = self.client
        source = self._auth_database(database)
        credentials = self.registry.auth_credentials(database)
        if source is None or credentials is None:
            return
        self.busy = True
        client.pool = self.registry.pool(source, credentials)
        if client.pool.acquire(client) is not None:
            self._ask_auth_query()

    def _auth_database(self, database: Database) -> Database | None:
        """The database to run auth_query in; without a usable one the client is refused."""
        name = database.config.auth_dbname or self.registry.settings.auth_dbname
        client = self.client
        source = database if not name else self.registry.find_or_register_database(name, client.describe())
        if source is None:
            self.registry.log.error(f'authentication database "{name}" is not configured.', client.describe())
            client.disconnect("bouncer config error")
        elif source.disabled:
            client.disconnect(f'authentication database "{name}" is disabled')
            return None
        elif source.admin:
            self.registry.log.error(
                f'cannot use the reserved "{source.name}" database as an auth_dbname', client.describe()
            )
            client.disconnect("bouncer config error")
            return None
        return source

    def _ask_auth_query(self) -> None:
        client = self.client
        server = client.link
        assert isinstance(server, ServerConnection)
        assert client.database is not None
        sql = client.database.config.auth_query or self.registry.settings.auth_query
        AuthQuery(server, self._auth_query_answered).begin(sql, self.user_name)

    def _auth_query_answered(self, found: tuple[str, str | None] | None) -> None:
        client = self.client
        if client.closed or client.database is None:
            return
        self.busy = False
        client.pool = None
        if found is None:
            if self.registry.settings.log_connections:
                self.registry.log.info(f"login failed: db={client.database.name}", client.describe())
            client.disconnect("no such user")
            return
        name, secret = found
        if client.user_counted and client.credentials is not None and client.credentials.user is not None:
            client.credentials.user.client_connections -= 1
            client.user_counted = False
        client.credentials = self.registry.dynamic_credentials(client.database, name, secret)
        if self._count_user_client():
            self._authenticate()
            self._after_wait()

    def _after_wait(self) -> None:
        """Reads on, first of all what was sent ahead."""
        if self.client.closed:
            return
        self.client.release_reading()
        if self.client.phase is self:
            self._go_on()

    # Authentication ----------------------------------------------------------------------------------------

    def _authenticate(self) -> None:
        client = self.client
        database, credentials = client.database, client.credentials
        assert database is not None
        assert credentials is not None
        settings = self.registry.settings
        if not credentials.mock and not database.fake:
            client.pool = self.registry.pool(database, database.forced or credentials)
        self._log_attempt(database, credentials)
        if database.admin and not credentials.mock and not self._may_use_console(credentials):
            client.disconnect("not allowed")
            return
        if self.own_user:
            self._finish()
        elif settings.auth_type is AuthType.HBA:
            self._authenticate_by_rule(database, credentials)
        else:
            self._authenticate_by(settings.auth_type, credentials, None)

    def _authenticate_by_rule(self, database: Database, credentials: Credentials) -> None:
        """The first line of auth_hba_file that fits says how."""
        client = self.client
        rule = self._rule(database, credentials.name)
        if rule is None:
            client.disconnect("no authentication method is found")
        elif rule.method is Method.REJECT:
            client.disconnect("login rejected")
        elif not self._certificate_suits(rule, credentials.name):
            client.disconnect("certificate authentication failed")
        elif rule.method is Method.PEER:
            self._authenticate_by_peer(credentials, rule)
        else:
            self._authenticate_by(AUTH_TYPE_OF[rule.method], credentials, rule)

    def _rule(self, database: Database, user: str) -> HbaRule | None:
        hba = self.context.hba
        physical = self.replication is not None and self.replication.kind is ReplicationKind.PHYSICAL
        if hba is None:
            return None
        return hba.find(self.client.remote.ip(), self.encrypted, physical, database.name, user)

    def _authenticate_by(self, auth_type: AuthType, credentials: Credentials, rule: HbaRule | None) -> None:
        if auth_type is AuthType.ANY:
            self._finish()
        elif auth_type is AuthType.TRUST:
            if credentials.mock:
                self.client.disconnect('"trust" authentication failed')
            else:
                self._finish()
        elif auth_type is AuthType.CERT:
            self._authenticate_by_certificate(credentials, rule)
        else:
            self._ask_password(auth_type, credentials)

    def _certificate_suits(self, rule: HbaRule, user: str) -> bool:
        """`clientcert=`: a certificate that is asked for besides the method."""
        if rule.clientcert is None:
            return True
        names = certificate_names(self.client.transport)
        if rule.clientcert is ClientCert.VERIFY_CA:
            return names is not None
        return names is not None and user in names

    def _authenticate_by_certificate(self, credentials: Credentials, rule: HbaRule | None) -> None:
        names = certificate_names(self.client.transport)
        reason = ""
        if not self.encrypted:
            reason = "TLS connection required"
        elif names is None:
            reason = "TLS client certificate required"
        elif rule is not None and rule.map_name is not None:
            if not any(self.context.ident.allows(rule.map_name, name, credentials.name) for name in names):
                reason = f"ident map: {rule.map_name} does not have a match"
        elif credentials.name not in names:
            reason = "TLS certificate name mismatch"
        if reason:
            self.registry.log.error(reason, self.client.describe())
        if reason or credentials.mock:
            self.client.disconnect("certificate authentication failed")
        else:
            self._finish()

    def _authenticate_by_peer(self, credentials: Credentials, rule: HbaRule) -> None:
        """The kernel says who is at the other end of a unix socket."""
        if rule.map_name is None:
            allowed = self.peer_user == credentials.name
        else:
            allowed = self.context.ident.allows(rule.map_name, self.peer_user, credentials.name)
            if not allowed:
                self.registry.log.error(
                    f"ident map {rule.map_name} cannot be matched", self.client.describe()
                )
        if not allowed or not self.peer_user or credentials.mock:
            self.client.disconnect("unix socket login rejected")
        else:
            self._finish()

    def _log_attempt(self, database: Database, credentials: Credentials) -> None:
        if self.registry.settings.log_connections:
            self.registry.log.info(
                f"login attempt: db={database.name} user={credentials.name} tls={self._tls_text()}"
                f" replication={self._replication_text()}",
                self.client.describe(),
            )

    def _tls_text(self) -> str:
        return tls_text(self.client.transport) or "no"

    def _replication_text(self) -> str:
        return "no" if self.replication is None else PARAMETER[self.replication.kind]

    def _may_use_console(self, credentials: Credentials) -> bool:
        settings = self.registry.settings
        if settings.auth_type is AuthType.ANY or self.is_admin:
            return True
        self.is_admin = list_contains(settings.admin_users, credentials.name)
        return self.is_admin or list_contains(settings.stats_users, credentials.name)

    def _ask_password(self, auth_type: AuthType, credentials: Credentials) -> None:
        self.exchange = begin(
            auth_type,
            credentials.name,
            None if credentials.mock else credentials.secret,
            self.context.mock_seed,
            self.registry.settings.scram_iterations,
            self.context.scram_cache,
            binding=self.tls.binding if self.tls is not None else b"",
        )
        self.client.send(self.exchange.request())

    def _password(self, exchange: PasswordExchange, body: bytes) -> None:
        client = self.client
        try:
            step = exchange.respond(body)
        except LoginError as error:
            if error.detail:
                self.registry.log.error(error.detail, client.describe())
            client.disconnect(str(error))
            return
        if step.send:
            client.send(step.send)
        if step.done:
            self._keep_keys(exchange)
            self._finish()

    def _keep_keys(self, exchange: PasswordExchange) -> None:
        """A SCRAM secret alone logs in to servers too, with the keys that the client's proof gives away."""
        pool = self.client.pool
        keys = exchange.scram_keys
        if keys is not None and pool is not None and self.client.credentials is pool.credentials:
            pool.credentials.keys = keys

    # In ----------------------------------------------------------------------------------------------------

    def _finish(self) -> None:
        client = self.client
        database = client.database
        assert database is not None
        if database.fake:
            if self.registry.settings.log_connections:
                self.registry.log.info(
                    f"login failed: db={database.name} user={self.user_name}", client.describe()
                )
            client.disconnect(f"no such database: {database.name}")
            return
        if database.disabled:
            client.disconnect(f'database "{database.name}" is disabled')
            return
        if self.registry.shutdown is not Shutdown.NONE and not database.admin:
            client.disconnect("pooler is shutting down")
            return
        pool = client.pool
        assert pool is not None
        if not database.admin:
            # Not before: auth_query runs on an ordinary server.
            client.replication = self.replication
        client.greeted = True
        client.move_last(pool.active_clients)
        pool.stats.client_login_count += 1
        if pool.welcome is not None or database.admin:
            self._welcome()
            return
        self.busy = True
        pool.enqueue(client, WELCOME)
        if not pool.paused and not client.closed:
            pool.launch()

    def _welcome(self) -> None:
        client = self.client
        pool = client.pool
        assert pool is not None
        pool.last_active_ns = client.request_ns
        client.cancel_key = self._new_cancel_key()
        if pool.database.admin:
            client.send(self.context.console_welcome(client.cancel_key, self._own_parameters()))
        else:
            parameters = self.registry.parameters
            client.params = parameters.filled(client.params, pool.defaults)
            client.send(
                self._welcome_messages(
                    self._own_server_welcome() or pool.welcome or messages.AUTHENTICATION_OK
                )
            )
        rest = bytes(self.buffer)
        self.buffer.clear()
        client.phase = self.context.console(client, self.is_admin) if pool.database.admin else None
        client.release_reading()
        if rest:
            client.data_received(rest)

    def _own_server_welcome(self) -> bytes:
        """What the server has reported that logged in for this client alone."""
        server = self.client.link
        return server.welcome if isinstance(server, ServerConnection) else b""

    def _welcome_messages(self, start: bytes) -> bytes:
        client = self.client
        parts = [start]
        parts += (messages.parameter_status(name, value) for name, value in self._own_parameters())
        parts.append(messages.backend_key_data(client.cancel_key))
        if self.registry.settings.login_notify_message:
            parts.append(messages.notice(self.registry.settings.login_notify_message))
        parts.append(messages.READY_IDLE)
        return b"".join(parts)

    def _own_parameters(self) -> list[tuple[str, str]]:
        names = self.registry.parameters.names
        return [(n, value) for n, value in zip(names, self.client.params, strict=True) if value is not None]

    def _new_cancel_key(self) -> bytes:
        """Eight random bytes; the first four are taken for a process id by clients, so the sign bit stays
        clear.
        """
        while True:
            raw = secrets.token_bytes(8)
            key = bytes((raw[0] & 0x7F,)) + raw[1:]
            if key not in self.registry.cancel_keys:
                self.registry.cancel_keys[key] = self.client
                return key

    # Cancel requests ---------------------------------------------------------------------------------------

    def _cancel_request(self, key: bytes) -> None:
        """Binds the request to the server that runs the query now: it reaches that query or nobody."""
        request = self.client
        if len(key) != 8:
            request.disconnect("bad cancel request", notify=False)
            return
        victim = self.registry.cancel_keys.get(key)
        if not isinstance(victim, ClientConnection):
            request.disconnect("failed cancel request", notify=False)
            return
        if victim.phase is not None:
            request.disconnect("cancel request for console client", notify=False)
            victim.phase.cancelled()
            return
        server = victim.link
        if victim.awaits == SERVER or (isinstance(server, ServerConnection) and server.setting_parameters):
            request.disconnect("cancel request for waiting client", notify=False)
            cancel_waiting(victim)
        elif not isinstance(server, ServerConnection):
            request.disconnect("cancel request for idle client", notify=False)
        else:
            self.busy = True
            request.pool = server.pool
            request.canceled = server
            server.cancels.append(request)
            request.hold_reading()
            request.move_last(server.pool.waiting_cancels)
            server.pool.launch()
