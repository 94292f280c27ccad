"""How a client proves who it is, by a line of auth_hba_file or by `auth_type`: with a password, with a
certificate, by the word of the kernel, or through PAM or a directory.
"""

from typing import TYPE_CHECKING, Final

from pooler.auth.client_login import LoginError, PasswordExchange, begin
from pooler.auth.hba import ClientCert, HbaRule, Method
from pooler.config.settings import AuthType, list_contains
from pooler.pool.catalog import Credentials, Database
from pooler.pool.replication import PARAMETER, ReplicationKind
from pooler.relay.external_login import Ask, ExternalLogin, by_ldap, by_pam
from pooler.relay.lookup import Lookup
from pooler.relay.tls import certificate_names, tls_text

if TYPE_CHECKING:
    from pooler.relay.login import ClientLogin

AUTH_TYPE_OF: Final = {
    Method.TRUST: AuthType.TRUST,
    Method.PASSWORD: AuthType.PLAIN,
    Method.MD5: AuthType.MD5,
    Method.SCRAM_SHA_256: AuthType.SCRAM_SHA_256,
    Method.CERT: AuthType.CERT,
    Method.LDAP: AuthType.LDAP,
}
"""What a method of auth_hba_file is called in `auth_type`."""


class Authentication:
    """The part of a login that ends with `ClientLogin.finish`, or with the client closed."""

    def __init__(self, login: "ClientLogin", database: Database) -> None:
        self._login = login
        self._client = login.client
        self._context = login.context
        self._registry = login.registry
        self._database = database
        self._rule = self._find_rule()
        self._exchange: PasswordExchange | None = None
        self._external: ExternalLogin | None = None

    def _find_rule(self) -> HbaRule | None:
        """The first line of auth_hba_file that fits."""
        login, hba = self._login, self._context.hba
        if hba is None:
            return None
        replication = login.replication
        physical = replication is not None and replication.kind is ReplicationKind.PHYSICAL
        address = self._client.remote.ip()
        return hba.find(address, login.encryption.is_on, physical, self._database.name, login.user_name)

    def begin(self) -> None:
        """The client's credentials are known; asks for proof of them, if any is needed."""
        client, database = self._client, self._database
        credentials = client.credentials
        assert credentials is not None
        if not credentials.mock and not database.fake:
            client.pool = self._registry.pool(database, database.forced or credentials)
        self._log_attempt(credentials)
        if database.admin and not credentials.mock and not self._may_use_console(credentials):
            client.disconnect("not allowed")
        elif self._login.own_user:
            self._login.finish()
        elif self._registry.settings.auth_type is AuthType.HBA:
            self._by_rule(credentials)
        else:
            self._by(self._registry.settings.auth_type, credentials)

    def answered(self, body: bytes) -> None:
        """The client has sent a password, or its part of a SASL exchange."""
        if self._external is not None:
            self._login.busy = True
            self._external.password(body)
        elif self._exchange is not None:
            self._password(self._exchange, body)
        else:
            self._client.disconnect("bad packet")

    def closed(self) -> None:
        """The client is gone; so is its check, if one is under way."""
        if self._external is not None:
            self._external.cancel()

    # Methods -----------------------------------------------------------------------------------------------

    def _by_rule(self, credentials: Credentials) -> None:
        client, rule = self._client, self._rule
        if rule is None:
            client.disconnect("no authentication method is found")
        elif rule.method is Method.REJECT:
            client.disconnect("login rejected")
        elif not self._certificate_suits(credentials.name):
            client.disconnect("certificate authentication failed")
        elif rule.method is Method.PEER:
            self._by_peer(rule, credentials)
        else:
            self._by(AUTH_TYPE_OF[rule.method], credentials)

    def _by(self, auth_type: AuthType, credentials: Credentials) -> None:
        if auth_type is AuthType.ANY:
            self._login.finish()
        elif auth_type is AuthType.TRUST:
            if credentials.mock:
                self._client.disconnect('"trust" authentication failed')
            else:
                self._login.finish()
        elif auth_type is AuthType.CERT:
            self._by_certificate(credentials)
        elif auth_type in (AuthType.PAM, AuthType.LDAP):
            # Not what `begin_externally` saw: SET without the options it needs, or while auth_query ran.
            self._registry.log.error(
                f"auth_type={auth_type.value} cannot be used now", self._client.describe()
            )
            self._client.disconnect("bouncer config error")
        else:
            self._ask_password(auth_type, credentials)

    def _certificate_suits(self, user: str) -> bool:
        """`clientcert=`: a certificate that is asked for besides the method."""
        rule = self._rule
        if rule is None or rule.clientcert is None:
            return True
        names = certificate_names(self._client.transport)
        if rule.clientcert is ClientCert.VERIFY_CA:
            return names is not None
        return names is not None and user in names

    def _by_certificate(self, credentials: Credentials) -> None:
        names = certificate_names(self._client.transport)
        map_name = None if self._rule is None else self._rule.map_name
        reason = ""
        if not self._login.encryption.is_on:
            reason = "TLS connection required"
        elif names is None:
            reason = "TLS client certificate required"
        elif map_name is not None:
            if not any(self._context.ident.allows(map_name, name, credentials.name) for name in names):
                reason = f"ident map: {map_name} does not have a match"
        elif credentials.name not in names:
            reason = "TLS certificate name mismatch"
        if reason:
            self._registry.log.error(reason, self._client.describe())
        if reason or credentials.mock:
            self._client.disconnect("certificate authentication failed")
        else:
            self._login.finish()

    def _by_peer(self, rule: HbaRule, credentials: Credentials) -> None:
        """The kernel says who is at the other end of a unix socket."""
        client, peer = self._client, self._login.peer_user
        if rule.map_name is None:
            allowed = peer == credentials.name
        else:
            allowed = self._context.ident.allows(rule.map_name, peer, credentials.name)
            if not allowed:
                self._registry.log.error(f"ident map {rule.map_name} cannot be matched", client.describe())
        if not allowed or not peer or credentials.mock:
            client.disconnect("unix socket login rejected")
        else:
            self._login.finish()

    # Passwords ---------------------------------------------------------------------------------------------

    def _ask_password(self, auth_type: AuthType, credentials: Credentials) -> None:
        registry, encryption = self._registry, self._login.encryption
        secret = None if credentials.mock else credentials.secret
        if auth_type is AuthType.MD5 and not secret and registry.expects_scram(self._database):
            # Asked with md5, a user without a password would stand out from those that have one.
            auth_type = AuthType.SCRAM_SHA_256
        self._exchange = begin(
            auth_type,
            credentials.name,
            secret,
            self._context.mock_seed,
            registry.settings.scram_iterations,
            self._context.scram_cache,
            binding=encryption.settings.binding if encryption.settings is not None else b"",
        )
        self._client.send(self._exchange.request())

    def _password(self, exchange: PasswordExchange, body: bytes) -> None:
        client = self._client
        try:
            step = exchange.respond(body)
        except LoginError as error:
            if error.detail:
                self._registry.log.error(error.detail, client.describe())
            client.disconnect(str(error))
            return
        if step.send:
            client.send(step.send)
        if step.done:
            self._keep_keys(exchange)
            self._login.finish()

    def _keep_keys(self, exchange: PasswordExchange) -> None:
        """A SCRAM secret alone logs in to servers too, with the keys that the client's proof gives away."""
        pool = self._client.pool
        keys = exchange.scram_keys
        if keys is not None and pool is not None and self._client.credentials is pool.credentials:
            pool.credentials.keys = keys

    # PAM and LDAP ------------------------------------------------------------------------------------------

    def begin_externally(self) -> bool:
        """Asks for a password if somebody else checks it; the user need not be known then."""
        found = self._external_method()
        if found is None:
            return False
        client = self._client
        method, ask = found
        if self._database.config.auth_user:
            self._registry.log.error(
                f"{method} can't be used together with database authentication", client.describe()
            )
            client.disconnect("bouncer config error")
        elif not self._certificate_suits(self._login.user_name):
            client.disconnect("certificate authentication failed")
        elif Lookup(self._login).unchecked_user():
            assert client.credentials is not None
            self._log_attempt(client.credentials)
            self._external = ExternalLogin(client, method, ask, self._login.user_name, self._confirmed)
            self._external.begin()
        return True

    def _external_method(self) -> tuple[str, Ask] | None:
        context, auth_type = self._context, self._registry.settings.auth_type
        if auth_type is AuthType.PAM:
            return "PAM", by_pam(context, self._client)
        options = context.ldap if auth_type is AuthType.LDAP else None
        if auth_type is AuthType.HBA and self._rule is not None:
            options = context.ldap_of_rules.get(self._rule.line)
        return None if options is None else ("LDAP", by_ldap(context, options))

    def _confirmed(self, password: str) -> None:
        """From now on the user is known in this database, and logs in to its servers with that password.

        Nowhere else: a secret of auth_file stays what it is, and `user=` without a password has no use of it.
        """
        client, registry, database = self._client, self._registry, self._database
        self._login.busy = False
        credentials = registry.dynamic_credentials(database, self._login.user_name, password)
        client.credentials = credentials
        if not Lookup(self._login).count_user_client():
            return
        if database.admin and not self._may_use_console(credentials):
            client.disconnect("not allowed")
            return
        if not database.fake:
            client.pool = registry.pool(database, database.forced or credentials)
            if database.forced is None:
                # A pool from before has a secret of auth_file.
                client.pool.credentials = credentials
        self._login.finish()
        self._login.go_on_reading()

    # For all of them ---------------------------------------------------------------------------------------

    def _may_use_console(self, credentials: Credentials) -> bool:
        settings, login = self._registry.settings, self._login
        if settings.auth_type is AuthType.ANY or login.is_admin:
            return True
        login.is_admin = list_contains(settings.admin_users, credentials.name)
        return login.is_admin or list_contains(settings.stats_users, credentials.name)

    def _log_attempt(self, credentials: Credentials) -> None:
        if not self._registry.settings.log_connections:
            return
        tls = tls_text(self._client.transport) or "no"
        replication = self._login.replication
        self._registry.log.info(
            f"login attempt: db={self._database.name} user={credentials.name} tls={tls}"
            f" replication={'no' if replication is None else PARAMETER[replication.kind]}",
            self._client.describe(),
        )
