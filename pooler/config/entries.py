"""The entries of `[databases]`, `[users]` and `[peers]`, and how they are read from their connect strings.

None as a value means: not set here, the next scope decides (for a pool the user, then the database, then
`[pgbouncer]`). Where a 0 does not override in PgBouncer it is None too. Its numbers go through atoi(), so
`pool_size=abc` is 0 there; here what is not a number in its range is an error.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from pooler.config.connstr import parse_connstr
from pooler.config.errors import Origin
from pooler.config.kinds import INT32_MAX, INT32_MIN, Choice, LoadBalance, PoolMode
from pooler.config.names import MAX_DATABASE_NAME, MAX_USERNAME, RESERVED_DATABASE, byte_size

AUTODB: Final = "*"
"""The name of the entry that stands for every database without one of its own."""

_INTEGER: Final = re.compile(r"[ \t\n\v\f\r]*[+-]?[0-9]{1,20}")
_MAX_PORT: Final = 0xFFFF
_MAX_PEER: Final = 0xFFFF


@dataclass(frozen=True, slots=True)
class DatabaseConfig:
    """An entry of `[databases]`: where the connections of a database go; times are in seconds."""

    name: str
    dbname: str
    host: str | None = None
    """A name, an address, `/directory` or `@abstract` of a Unix socket, or a comma list; None: not set."""
    port: int = 5432
    user: str | None = None
    """The one user for all server connections; None: that of the client."""
    password: str = field(default="", repr=False)
    auth_user: str | None = None
    auth_dbname: str | None = None
    auth_query: str | None = None
    client_encoding: str | None = None
    datestyle: str | None = None
    timezone: str | None = None
    application_name: str | None = None
    connect_query: str | None = None
    pool_size: int | None = None
    min_pool_size: int | None = None
    reserve_pool_size: int | None = None
    query_wait_timeout: float | None = None
    """0 overrides: no limit."""
    max_db_connections: int | None = None
    max_db_client_connections: int | None = None
    server_lifetime: float | None = None
    load_balance_hosts: LoadBalance = LoadBalance.ROUND_ROBIN
    pool_mode: PoolMode | None = None


@dataclass(frozen=True, slots=True)
class AutoDatabase:
    """The `*` entry of `[databases]`: a connect string for any name."""

    connstr: str = field(repr=False)

    def for_name(self, name: str) -> DatabaseConfig:
        """The entry for a database that clients ask for; ValueError if no database can have that name."""
        if name == AUTODB:
            raise ValueError(f'database name "{AUTODB}" is reserved')
        return parse_database(name, self.connstr)


@dataclass(frozen=True, slots=True)
class UserConfig:
    """An entry of `[users]`; times are in seconds."""

    name: str
    pool_mode: PoolMode | None = None
    pool_size: int | None = None
    reserve_pool_size: int | None = None
    max_user_connections: int | None = None
    max_user_client_connections: int | None = None
    query_timeout: float | None = None
    query_wait_timeout: float | None = None
    """0 overrides: no limit."""
    idle_transaction_timeout: float | None = None
    transaction_timeout: float | None = None
    client_idle_timeout: float | None = None


@dataclass(frozen=True, slots=True)
class PeerConfig:
    """An entry of `[peers]`: another pooler to which cancel requests are passed on."""

    peer_id: int
    host: str
    port: int = 6432
    pool_size: int | None = None
    origin: Origin | None = field(default=None, compare=False, repr=False)


def parse_database(name: str, connstr: str) -> DatabaseConfig:
    """Read an entry of `[databases]`; raises ValueError."""
    if name == RESERVED_DATABASE:
        raise ValueError(f'database name "{name}" is reserved')
    if byte_size(name) > MAX_DATABASE_NAME:
        raise ValueError(f"too long db name: {name}")
    found = _read(connstr, _DATABASE_KEYS, "unrecognized connection parameter")
    return DatabaseConfig(**{"name": name, "dbname": name, **found})


def parse_user(name: str, connstr: str) -> UserConfig:
    """Read an entry of `[users]`; raises ValueError."""
    if byte_size(name) > MAX_USERNAME:
        raise ValueError(f"too long user name: {name}")
    return UserConfig(name=name, **_read(connstr, _USER_KEYS, "unrecognized user parameter"))


def parse_peer(name: str, connstr: str, origin: Origin) -> PeerConfig:
    """Read an entry of `[peers]`; raises ValueError."""
    try:
        peer_id = _number(name, 1, _MAX_PEER)
    except ValueError:
        raise ValueError(f"ids of peers must be a number larger than 0 and at most {_MAX_PEER}") from None
    found = _read(connstr, _PEER_KEYS, "unrecognized connection parameter")
    if "host" not in found:
        raise ValueError(f"host was not provided for peer {peer_id}")
    return PeerConfig(peer_id=peer_id, origin=origin, **found)


def _number(text: str, low: int = INT32_MIN, high: int = INT32_MAX) -> int:
    """A decimal integer, which is all that atoi() reads."""
    if not _INTEGER.fullmatch(text) or not low <= (value := int(text)) <= high:
        raise ValueError(f"expected a whole number from {low} to {high}")
    return value


def _pool_size(text: str) -> int | None:
    """The size of a pool: a negative one leaves it to the next scope."""
    value = _number(text)
    return None if value < 0 else value


def _limit(text: str) -> int | None:
    """A number of connections: 0 and less leave it to the next scope."""
    value = _number(text)
    return None if value <= 0 else value


def _seconds(text: str) -> float | None:
    """A time limit in whole seconds: 0 leaves it to the next scope."""
    return float(_number(text, low=0)) or None


def _wait(text: str) -> float:
    """A time limit that 0 lifts. So does -1, in PgBouncer too, whose documentation says that it is unset."""
    return float(max(0, _number(text, low=-1)))


def _port(text: str) -> int:
    return _number(text, 1, _MAX_PORT)


_Reader = Callable[[str], Any]

_RENAMED: Final = {"reserve_pool": "reserve_pool_size"}
"""Keys that PgBouncer goes on reading under their old name."""

_DATABASE_KEYS: Final[Mapping[str, _Reader]] = {
    "dbname": str,
    "host": str,
    "port": _port,
    "user": str,
    "password": str,
    "auth_user": str,
    "auth_dbname": str,
    "auth_query": str,
    "client_encoding": str,
    "datestyle": str,
    "timezone": str,
    "application_name": str,
    "connect_query": str,
    "pool_size": _pool_size,
    "min_pool_size": _pool_size,
    "reserve_pool": _pool_size,
    "reserve_pool_size": _pool_size,
    "query_wait_timeout": _wait,
    "max_db_connections": _limit,
    "max_db_client_connections": _limit,
    "server_lifetime": _seconds,
    "load_balance_hosts": Choice(LoadBalance).parse,
    "pool_mode": Choice(PoolMode).parse,
}

_USER_KEYS: Final[Mapping[str, _Reader]] = {
    "pool_mode": Choice(PoolMode).parse,
    "pool_size": _pool_size,
    "reserve_pool_size": _pool_size,
    "max_user_connections": _limit,
    "max_user_client_connections": _limit,
    "query_timeout": _seconds,
    "query_wait_timeout": _wait,
    "idle_transaction_timeout": _seconds,
    "transaction_timeout": _seconds,
    "client_idle_timeout": _seconds,
}

_PEER_KEYS: Final[Mapping[str, _Reader]] = {"host": str, "port": _port, "pool_size": _pool_size}


def _read(connstr: str, readers: Mapping[str, _Reader], unknown: str) -> dict[str, Any]:
    """The values of a connect string by field; ValueError names the key that is wrong."""
    values: dict[str, Any] = {}
    for key, text in parse_connstr(connstr):
        reader = readers.get(key)
        if reader is None:
            raise ValueError(f"{unknown}: {key}")
        try:
            values[_RENAMED.get(key, key)] = reader(text)
        except ValueError as error:
            raise ValueError(f"invalid {key}: {text} ({error})") from None
    return values
