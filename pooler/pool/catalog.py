"""Databases and users as they are at run time: their configuration, and how many connections they have."""

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pooler.config.settings import Guard, PoolMode, Settings
from pooler.config.snapshot import DatabaseConfig, UserConfig

if TYPE_CHECKING:
    from pooler.auth.scram import ScramKeys
    from pooler.pool.pool import Pool


@dataclass(slots=True, eq=False)
class User:
    """A user name that the pooler knows, from auth_file, [users], auth_query or a connect string."""

    name: str
    config: UserConfig | None = None
    connections: int = 0
    client_connections: int = 0
    pools: "set[Pool]" = field(default_factory=set)

    def max_connections(self, settings: Settings) -> int:
        """Server connections allowed (`max_user_connections`); 0 is no limit."""
        return (self.config and self.config.max_user_connections) or settings.max_user_connections

    def max_client_connections(self, settings: Settings) -> int:
        """Client connections allowed (`max_user_client_connections`); 0 is no limit."""
        return (
            self.config and self.config.max_user_client_connections
        ) or settings.max_user_client_connections


@dataclass(slots=True, eq=False)
class Credentials:
    """A user name with the secret that goes with it, in one database or everywhere.

    `secret` is a plain password, an md5 hash or a SCRAM secret; None when there is none. `mock` marks a user
    that does not exist, who goes through the same motions and fails. `keys` are the SCRAM keys that a client
    proved, for logging in to servers.
    """

    name: str
    user: User | None
    secret: str | None = field(default=None, repr=False)
    in_auth_file: bool = False
    mock: bool = False
    keys: "ScramKeys | None" = field(default=None, repr=False)


@dataclass(slots=True, eq=False)
class Database:
    """A database that clients may name. `fake` stands for one that does not exist, until the client has
    proved who it is.
    """

    name: str
    config: DatabaseConfig
    admin: bool = False
    fake: bool = False
    auto: bool = False
    paused: bool = False
    killed: bool = False
    """It was KILL that paused it."""
    disabled: bool = False
    connections: int = 0
    client_connections: int = 0
    idle_since_ns: int = 0
    forced: Credentials | None = None
    dynamic: dict[str, Credentials] = field(default_factory=dict)
    """Users that auth_query found, by name."""
    found_scram: bool = True
    """The last secret that auth_query found was for SCRAM, as PostgreSQL makes them unless told otherwise."""

    def pool_size(self, settings: Settings) -> int:
        """Server connections of each of its pools, before the user's own setting."""
        return settings.default_pool_size if self.config.pool_size is None else self.config.pool_size

    def min_pool_size(self, settings: Settings) -> int:
        """Server connections that each of its pools keeps open."""
        return settings.min_pool_size if self.config.min_pool_size is None else self.config.min_pool_size

    def reserve_pool_size(self, settings: Settings) -> int:
        """Server connections more that each of its pools may open in trouble."""
        own = self.config.reserve_pool_size
        return settings.reserve_pool_size if own is None else own

    def server_lifetime(self, settings: Settings) -> float:
        """Seconds after which an unused server connection is closed."""
        return self.config.server_lifetime or settings.server_lifetime

    def max_connections(self, settings: Settings) -> int:
        """Server connections allowed (`max_db_connections`); 0 is no limit."""
        return self.config.max_db_connections or settings.max_db_connections

    def max_client_connections(self, settings: Settings) -> int:
        """Client connections allowed (`max_db_client_connections`); 0 is no limit."""
        return self.config.max_db_client_connections or settings.max_db_client_connections


@dataclass(frozen=True, slots=True)
class Policy:
    """What the settings at all scopes come to for one pool. Times in nanoseconds, 0 is off."""

    mode: PoolMode
    pool_size: int
    min_pool_size: int
    reserve_pool_size: int
    reserve_pool_timeout_ns: int
    server_lifetime_ns: int
    server_idle_timeout_ns: int
    server_connect_timeout_ns: int
    server_login_retry_ns: int
    server_check_delay_ns: int
    server_round_robin: bool
    server_fast_close: bool
    guard: Guard
    guard_query: str
    """What cleans a server after unsafe use."""
    reset_query: str
    check_query: str | None
    query_timeout_ns: int
    query_wait_timeout_ns: int
    query_wait_notify_ns: int
    idle_transaction_timeout_ns: int
    transaction_timeout_ns: int
    client_idle_timeout_ns: int
    client_login_timeout_ns: int
    cancel_wait_timeout_ns: int


EMPTY_QUERY_MARK = "<empty>"
"""`server_check_query = <empty>` (the default) checks with an empty query, and an empty setting does not
check at all.
"""


DISCARD_ALL = "DISCARD ALL"


def nanoseconds(seconds: float) -> int:
    """Seconds as the pool counts them."""
    return int(seconds * 1_000_000_000)


def policy(settings: Settings, database: Database, user: User | None) -> Policy:
    """The settings for the pool of `user` in `database`: user before database before global, where a setting
    has these scopes.
    """
    own = user.config if user is not None and user.config is not None else UserConfig(name="")
    db = database.config

    def first(*values: float | None) -> float:
        return next(value for value in values if value is not None)

    mode = first(own.pool_mode, db.pool_mode, settings.pool_mode)
    resets = settings.server_reset_query_always or mode == PoolMode.SESSION
    check = settings.server_check_query
    return Policy(
        mode=PoolMode(int(mode)),
        pool_size=int(first(own.pool_size, database.pool_size(settings))),
        min_pool_size=database.min_pool_size(settings),
        reserve_pool_size=int(first(own.reserve_pool_size, database.reserve_pool_size(settings))),
        reserve_pool_timeout_ns=nanoseconds(settings.reserve_pool_timeout),
        server_lifetime_ns=nanoseconds(database.server_lifetime(settings)),
        server_idle_timeout_ns=nanoseconds(settings.server_idle_timeout),
        server_connect_timeout_ns=nanoseconds(settings.server_connect_timeout),
        server_login_retry_ns=nanoseconds(settings.server_login_retry),
        server_check_delay_ns=nanoseconds(settings.server_check_delay),
        server_round_robin=bool(settings.server_round_robin),
        server_fast_close=bool(settings.server_fast_close),
        guard=Guard.OFF if mode == PoolMode.SESSION else settings.transaction_mode_guard,
        guard_query=settings.server_reset_query or DISCARD_ALL,
        reset_query=settings.server_reset_query if resets else "",
        check_query=("" if check == EMPTY_QUERY_MARK else check) if check else None,
        query_timeout_ns=nanoseconds(first(own.query_timeout, settings.query_timeout)),
        query_wait_timeout_ns=nanoseconds(
            first(own.query_wait_timeout, db.query_wait_timeout, settings.query_wait_timeout)
        ),
        query_wait_notify_ns=nanoseconds(settings.query_wait_notify),
        idle_transaction_timeout_ns=nanoseconds(
            first(own.idle_transaction_timeout, settings.idle_transaction_timeout)
        ),
        transaction_timeout_ns=nanoseconds(first(own.transaction_timeout, settings.transaction_timeout)),
        client_idle_timeout_ns=nanoseconds(first(own.client_idle_timeout, settings.client_idle_timeout)),
        client_login_timeout_ns=nanoseconds(settings.client_login_timeout),
        cancel_wait_timeout_ns=nanoseconds(settings.cancel_wait_timeout),
    )
