"""What PgBouncer has and this release has not: refused when it is set, never ignored.

One row for a setting. When a feature is delivered its rows go, and nothing else changes.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pooler.config.settings import DEFAULTS, SETTINGS, AuthType, SslMode


@dataclass(frozen=True, slots=True)
class Refusal:
    """Which values of a setting are fine all the same, and why the others are not."""

    allows: Callable[[Any], bool]
    reason: str


def _only(*values: object) -> Callable[[Any], bool]:
    return lambda value: value in values


def _unset(name: str) -> Callable[[Any], bool]:
    return _only(getattr(DEFAULTS, name), "")


_TLS: Final = "there is no TLS yet"
_HBA: Final = "there is no host-based authentication yet"
_PEERING: Final = "poolers do not pass on cancel requests to each other yet"

REFUSED_SETTINGS: Final[Mapping[str, Refusal]] = {
    "auth_type": Refusal(
        _only(AuthType.ANY, AuthType.TRUST, AuthType.PLAIN, AuthType.MD5, AuthType.SCRAM_SHA_256),
        "clients log in by any, trust, plain, md5 or scram-sha-256",
    ),
    "auth_hba_file": Refusal(_unset("auth_hba_file"), _HBA),
    "auth_ident_file": Refusal(_unset("auth_ident_file"), _HBA),
    "auth_ldap_options": Refusal(_unset("auth_ldap_options"), "there is no LDAP authentication yet"),
    "client_tls13_ciphers": Refusal(_unset("client_tls13_ciphers"), _TLS),
    "client_tls_ca_file": Refusal(_unset("client_tls_ca_file"), _TLS),
    "client_tls_cert_file": Refusal(_unset("client_tls_cert_file"), _TLS),
    "client_tls_ciphers": Refusal(_unset("client_tls_ciphers"), _TLS),
    "client_tls_dheparams": Refusal(_unset("client_tls_dheparams"), _TLS),
    "client_tls_ecdhcurve": Refusal(_unset("client_tls_ecdhcurve"), _TLS),
    "client_tls_key_file": Refusal(_unset("client_tls_key_file"), _TLS),
    "client_tls_protocols": Refusal(_unset("client_tls_protocols"), _TLS),
    "client_tls_sslmode": Refusal(_only(SslMode.DISABLE), _TLS),
    "dns_zone_check_period": Refusal(_only(0.0), "DNS zones are not checked yet"),
    "peer_id": Refusal(lambda value: value <= 0, _PEERING),
    "resolv_conf": Refusal(_unset("resolv_conf"), "the operating system looks up names"),
    "server_tls13_ciphers": Refusal(_unset("server_tls13_ciphers"), _TLS),
    "server_tls_ca_file": Refusal(_unset("server_tls_ca_file"), _TLS),
    "server_tls_cert_file": Refusal(_unset("server_tls_cert_file"), _TLS),
    "server_tls_ciphers": Refusal(_unset("server_tls_ciphers"), _TLS),
    "server_tls_key_file": Refusal(_unset("server_tls_key_file"), _TLS),
    "server_tls_protocols": Refusal(_unset("server_tls_protocols"), _TLS),
    # The default, prefer, settles for a plain connection; whoever writes it down expects TLS.
    "server_tls_sslmode": Refusal(_only(SslMode.DISABLE), _TLS),
}

PEERS_REFUSAL: Final = f"section [peers] is not available in this release: {_PEERING}"


def refused_setting(name: str, value: object) -> str | None:
    """Why a setting may not be set to this value, or None if it may."""
    refusal = REFUSED_SETTINGS.get(name)
    if refusal is None or refusal.allows(value):
        return None
    return f"setting {name} is not available in this release: {refusal.reason}"


def unsupported_value(name: str, text: str) -> str | None:
    """Why SET may not give a setting this value, or None; unreadable ones are for `Settings.replace`."""
    if name not in SETTINGS:
        return None
    try:
        value = SETTINGS[name].parse(text)
    except ValueError:
        return None
    return refused_setting(name, value)
