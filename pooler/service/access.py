"""What decides who comes in besides the settings: the files that they name, as they were read last.

TLS certificates and keys, `auth_hba_file`, `auth_ident_file`. Like a snapshot of the settings it is read as a
whole, or not at all, before any of it takes effect.
"""

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from pooler.auth.external import MissingExtra, require_ldap, require_pam
from pooler.auth.hba import HbaRules, Method, parse_hba
from pooler.auth.ident import IdentMaps, parse_ident
from pooler.auth.ldap_options import LdapOptions, LdapOptionsError
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
    ldap: LdapOptions | None
    ldap_of_rules: Mapping[int, LdapOptions]

    def take_effect(self, context: Context) -> None:
        """Connections that begin from now on see this."""
        clients, servers = self.tls.clients, self.tls.servers
        context.client_tls = (
            None
            if clients.context is None
            else ClientTls(clients.context, clients.required, clients.binding or b"")
        )
        context.server_tls = (
            None if servers.context is None else ServerTls(servers.context, servers.required, servers.direct)
        )
        context.hba = self.hba
        context.ident = self.ident
        context.ldap = self.ldap
        context.ldap_of_rules = self.ldap_of_rules


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
    ldap_of_rules: dict[int, LdapOptions] = {}
    ldap = _ldap_options(settings, config_path, errors)
    if settings.auth_type is AuthType.PAM:
        _require(require_pam, config_path, errors)
    try:
        if settings.auth_ident_file:
            ident = parse_ident(settings.auth_ident_file)
        if settings.auth_type is AuthType.HBA and not settings.auth_hba_file:
            errors.append(ConfigError(config_path, None, "auth_type = hba needs auth_hba_file"))
        elif settings.auth_type is AuthType.HBA:
            hba = parse_hba(settings.auth_hba_file, ident)
            ldap_of_rules = _ldap_of_rules(settings.auth_hba_file, hba, errors)
    except ConfigErrors as found:
        errors += found.errors
    if errors or encryption is None:
        raise ConfigErrors(tuple(errors))
    return Access(encryption, hba, ident, ldap, ldap_of_rules)


def load_extras(settings: Settings) -> None:
    """Imports what PAM or LDAP need, for as long as there is a user who can read it. What is missing, and is
    needed, is for `load_access` to say.
    """
    with suppress(MissingExtra, OSError):
        if settings.auth_type is AuthType.PAM:
            require_pam()
        elif settings.auth_type is AuthType.LDAP or (
            settings.auth_type is AuthType.HBA and b"ldap" in Path(settings.auth_hba_file).read_bytes()
        ):
            require_ldap()


def _ldap_options(settings: Settings, config_path: str, errors: list[ConfigError]) -> LdapOptions | None:
    if settings.auth_type is not AuthType.LDAP:
        return None
    _require(require_ldap, config_path, errors)
    if not settings.auth_ldap_options:
        errors.append(ConfigError(config_path, None, "auth_type = ldap needs auth_ldap_options"))
        return None
    try:
        return LdapOptions.parse(settings.auth_ldap_options)
    except LdapOptionsError as error:
        errors.append(ConfigError(config_path, None, f"auth_ldap_options: {error}"))
        return None


def _ldap_of_rules(path: str, hba: HbaRules, errors: list[ConfigError]) -> dict[int, LdapOptions]:
    """The options of each line with the method ldap."""
    found: dict[int, LdapOptions] = {}
    for rule in hba.rules:
        if rule.method is not Method.LDAP:
            continue
        _require(require_ldap, path, errors, rule.line)
        try:
            found[rule.line] = LdapOptions.parse(rule.ldap_options or "")
        except LdapOptionsError as error:
            errors.append(ConfigError(path, rule.line, str(error)))
    return found


def _require(load: Callable[[], None], path: str, errors: list[ConfigError], line: int | None = None) -> None:
    """Loads what a method needs, which a line asks for or else `auth_type`."""
    try:
        load()
    except MissingExtra as error:
        errors.append(ConfigError(path, line, f"auth_type: {error}" if line is None else str(error)))
