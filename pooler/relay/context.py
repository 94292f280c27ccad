"""What every connection needs to know of the process that it is in."""

from typing import TYPE_CHECKING, Any, Final

from pooler.auth.ident import IdentMaps
from pooler.pool.registry import Registry
from pooler.wire.prepared import StatementCatalog

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, MutableMapping

    from pooler.auth.external import ExternalAuth
    from pooler.auth.hba import HbaRules
    from pooler.auth.ldap_options import LdapOptions
    from pooler.auth.scram import ScramSecret
    from pooler.pool.members import Client
    from pooler.relay.address import Target
    from pooler.relay.client import ClientConnection, ClientPhase
    from pooler.relay.server import ServerConnection
    from pooler.relay.tls import ClientTls, ServerTls

LINGER: Final = 3.0
"""Seconds."""


class Context:
    """Shared by all connections of one pooler: the registry, and how cold conversations are started."""

    def __init__(self, registry: Registry, mock_seed: bytes) -> None:
        self.registry = registry
        self.mock_seed = mock_seed
        self.scram_cache: MutableMapping[tuple[str, str, int], ScramSecret] = {}
        self.console: Callable[[ClientConnection, bool], ClientPhase]
        self.console_welcome: Callable[[bytes, list[tuple[str, str]]], bytes]
        self.call_later: Callable[[float, Callable[[], None]], object]
        self.reset: Callable[[ServerConnection], None]
        self.check: Callable[[ServerConnection], None]
        self.apply: Callable[[ServerConnection, ClientConnection], bool]
        self.judge: Callable[[ServerConnection, Client, bytes], bytes]
        self.judge_tag: Callable[[ServerConnection, Client, bytes], None]
        self.carry_cancel: Callable[[Target, bytes, Callable[[bool], None]], None]
        self.hba: HbaRules | None = None
        self.ident = IdentMaps({})
        self.ldap: LdapOptions | None = None
        self.ldap_of_rules: Mapping[int, LdapOptions] = {}
        self.external: ExternalAuth
        self.client_tls: ClientTls | None = None
        self.server_tls: ServerTls | None = None
        self.statements = StatementCatalog()
        self.configure()

    def configure(self) -> None:
        """Settings have changed."""
        settings = self.registry.settings
        self.max_packet: int = settings.max_packet_size
        self.max_prepared: int = settings.max_prepared_statements
        self.disable_pqexec: bool = bool(settings.disable_pqexec)
        self.high_water: int = max(64 * 1024, settings.pkt_buf * (settings.sbuf_loopcnt or 16))

    def linger(self, transport: Any) -> None:
        """After a connection was closed, its peer has so long to take what is left for it."""
        if transport.get_write_buffer_size() > 0:
            self.call_later(LINGER, transport.abort)
