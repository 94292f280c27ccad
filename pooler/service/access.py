"""What decides who comes in besides the settings: the files that they name, as they were read last.

TLS certificates and keys, `auth_hba_file`, `auth_ident_file`. Like a snapshot of the settings it is read as a
whole, or not at all, before any of it takes effect.
"""

from dataclasses import dataclass

from pooler.auth.hba import HbaRules, Method, parse_hba
from pooler.auth.ident import IdentMaps, parse_ident
from pooler.config.errors import ConfigError, ConfigErrors
from pooler.config.settings import AuthType, Settings
from pooler.relay.context import Context
from pooler.relay.tls import ClientTls, ServerTls
from pooler.service import tls


@dataclass(frozen=True, slots=True)
class Access:
    """`hba` is None unless `auth_type` is hba."""

    tls: tls.Tls
    hba: HbaRules | None
    ident: IdentMaps

    def take_effect(self, context: Context) -> None:
        """Connections that begin from now on see this."""
        clients, servers = self.tls.clients, self.tls.servers
        context.client_tls = (
            None
            if clients.context is None
            else ClientTls(clients.context, clients.required, clients.binding or b"")
        )
        context.server_tls = (
            None if servers.context is None else ServerTls(servers.context, servers.required, False)
        )
        context.hba = self.hba
        context.ident = self.ident


def load_access(settings: Settings, config_path: str, old: Access | None = None) -> Access:
    """Reads all files that the settings name. Raises ConfigErrors with every mistake in them."""
    errors: list[ConfigError] = []
    encryption = None if old is None else old.tls
    try:
        encryption = tls.load(settings, encryption)
    except tls.TlsError as error:
        errors.append(ConfigError(config_path, None, str(error)))
    ident = IdentMaps({})
    hba = None
    try:
        if settings.auth_ident_file:
            ident = parse_ident(settings.auth_ident_file)
        if settings.auth_type is AuthType.HBA:
            hba = parse_hba(settings.auth_hba_file, ident)
            errors += (
                ConfigError(settings.auth_hba_file, rule.line, "clients cannot log in by ldap yet")
                for rule in hba.rules
                if rule.method is Method.LDAP
            )
    except ConfigErrors as found:
        errors += found.errors
    if errors or encryption is None:
        raise ConfigErrors(tuple(errors))
    return Access(encryption, hba, ident)
