"""The one table of the settings of `[pgbouncer]`, in the order of SHOW CONFIG.

A setting is declared once, as a field of `Settings`: SHOW CONFIG, SET, the check of the file, completion and
documentation all read `SETTINGS`. Names, defaults and what a RELOAD may change are PgBouncer's, but for
`server_tls_sslnegotiation`, which it has not. Times are in seconds; integers whose help says "0 or 1" are
booleans.
"""
# ruff: noqa: RUF009 - setting() declares a field, as dataclasses.field() does

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any, Final

from pooler.config.kinds import (
    WHITESPACE,
    AuthType,
    Choice,
    DatabaseName,
    Guard,
    Int,
    Kind,
    LoadBalance,
    PoolMode,
    Seconds,
    SslMode,
    SslNegotiation,
    Text,
)

__all__ = [
    "DEFAULTS",
    "SETTINGS",
    "AuthType",
    "Guard",
    "LoadBalance",
    "PoolMode",
    "Setting",
    "Settings",
    "SslMode",
    "SslNegotiation",
    "list_contains",
    "word_list",
]

_UINT32_MAX: Final = 2**32 - 1
_SEPARATORS: Final = "," + WHITESPACE

_AUTH_QUERY: Final = (
    "SELECT rolname, CASE WHEN rolvaliduntil < now() THEN NULL ELSE rolpassword END "
    "FROM pg_authid WHERE rolname=$1 AND rolcanlogin"
)


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting: what it is called, what it may be, and where else it can be set."""

    name: str
    kind: Kind
    default_text: str | None
    """The default as SHOW CONFIG prints it; None is NULL."""
    reloadable: bool
    """Whether RELOAD and SET may change it; otherwise only a restart does."""
    database_key: str | None
    """The key of a connect string of `[databases]` that overrides it, if there is one."""
    user_key: str | None
    """The key of an entry of `[users]` that overrides it, if there is one."""
    help: str
    secret: bool = False
    """Whether its value may hold a password: only SHOW CONFIG shows it, as in PgBouncer."""

    def parse(self, text: str) -> Any:
        """Read a value; ValueError names the setting, the value and what is expected."""
        try:
            return self.kind.parse(text)
        except ValueError:
            message = f'invalid value "{text}" for parameter {self.name}: expected {self.kind.expected}'
            raise ValueError(message) from None

    def show(self, value: Any) -> str | None:
        """The value as SHOW CONFIG prints it; None is NULL."""
        return self.kind.show(value)


def setting(
    default: str | None,
    kind: Kind,
    *,
    help: str,
    reloadable: bool = True,
    database: str | None = None,
    user: str | None = None,
    secret: bool = False,
) -> Any:
    """Declare a field of `Settings`: what `Setting` says, and whether its value is kept out of repr()."""
    return field(
        default=kind.null if default is None else kind.parse(default),
        repr=not secret,
        metadata={
            "kind": kind,
            "default_text": default,
            "reloadable": reloadable,
            "database_key": database,
            "user_key": user,
            "help": help,
            "secret": secret,
        },
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """A value for every setting of `[pgbouncer]`."""

    admin_users: str = setting(
        "", Text(), help="Users who may run every command of the admin console, separated by commas"
    )
    application_name_add_host: int = setting(
        "0", Int(), help="Add the client's address and port to application_name when it connects (0 or 1)"
    )
    auth_dbname: str | None = setting(
        None,
        DatabaseName(),
        database="auth_dbname",
        help="Entry of [databases] in which auth_query is run; unset: the database of the client",
    )
    auth_file: str | None = setting(None, Text(), help="File of user names and secrets (userlist.txt)")
    auth_hba_file: str = setting(
        "", Text(), help="Access rules for auth_type = hba, in the form of pg_hba.conf"
    )
    auth_ident_file: str | None = setting(
        None, Text(), help="User name maps for auth_type = hba, in the form of pg_ident.conf"
    )
    auth_ldap_options: str | None = setting(
        None, Text(), secret=True, help="LDAP server and search options for auth_type = ldap"
    )
    auth_query: str = setting(
        _AUTH_QUERY,
        Text(),
        database="auth_query",
        help="Query that fetches the secret of a user who is not in auth_file",
    )
    auth_type: AuthType = setting("md5", Choice(AuthType), help="How clients log in")
    auth_user: str | None = setting(
        None, Text(), database="auth_user", help="User that runs auth_query; unset: auth_query is not used"
    )
    autodb_idle_timeout: float = setting(
        "3600", Seconds(), help="Drop a database made from the * entry after this long without use"
    )
    cancel_wait_timeout: float = setting(
        "10",
        Seconds(),
        help="Give up a cancel request, or a server that goes on for a client that left, after this long",
    )
    client_idle_timeout: float = setting(
        "0",
        Seconds(),
        user="client_idle_timeout",
        help="Disconnect a client that has been idle for this long; 0 never",
    )
    client_login_timeout: float = setting(
        "60", Seconds(), help="Disconnect a client that has not logged in after this long; 0 never"
    )
    client_tls13_ciphers: str | None = setting(
        None, Text(), help="TLS 1.3 cipher suites for clients; unset: those of client_tls_ciphers"
    )
    client_tls_ca_file: str = setting(
        "", Text(), help="Root certificates that client certificates are verified against"
    )
    client_tls_cert_file: str = setting("", Text(), help="Certificate shown to clients")
    client_tls_ciphers: str = setting(
        "default", Text(), help="Ciphers for clients up to TLS 1.2, in OpenSSL's syntax"
    )
    client_tls_dheparams: str = setting(
        "auto", Text(), help="Diffie-Hellman parameters for clients: none or auto"
    )
    client_tls_ecdhcurve: str = setting(
        "auto", Text(), help="Elliptic curve for clients: none, auto or its name"
    )
    client_tls_key_file: str = setting("", Text(), help="Private key of client_tls_cert_file")
    client_tls_protocols: str = setting(
        "secure", Text(), help="TLS versions for clients: all, secure or a list such as tlsv1.2,tlsv1.3"
    )
    client_tls_sslmode: SslMode = setting(
        "disable",
        Choice(SslMode),
        help="Whether clients may or must use TLS, and whether their certificate is verified",
    )
    conffile: str | None = setting(None, Text(), help="Configuration file that the next RELOAD reads")
    default_pool_size: int = setting(
        "20",
        Int(),
        database="pool_size",
        user="pool_size",
        help="Most server connections of one pool (one user in one database)",
    )
    disable_pqexec: int = setting(
        "0",
        Int(),
        reloadable=False,
        help="Refuse the simple query protocol, against stacked SQL injection (0 or 1)",
    )
    dns_max_ttl: float = setting("15", Seconds(), help="Keep the answer of a DNS look-up for this long")
    dns_nxdomain_ttl: float = setting("15", Seconds(), help="Keep the failure of a DNS look-up for this long")
    dns_zone_check_period: float = setting(
        "0", Seconds(), help="Look for changed serial numbers of DNS zones this often; 0 never"
    )
    idle_transaction_timeout: float = setting(
        "0",
        Seconds(),
        user="idle_transaction_timeout",
        help="Disconnect a client that has been idle in a transaction for this long; 0 never",
    )
    ignore_startup_parameters: str = setting(
        "", Text(), help="Startup parameters to accept and ignore, separated by commas"
    )
    job_name: str = setting("pgbouncer", Text(), reloadable=False, help="Name of the service")
    listen_addr: str = setting(
        "",
        Text(),
        reloadable=False,
        help="Addresses to listen on, separated by commas; * is all, empty is none",
    )
    listen_backlog: int = setting(
        "128", Int(), reloadable=False, help="Unaccepted connections that the kernel keeps waiting"
    )
    listen_port: int = setting(
        "6432", Int(), reloadable=False, help="Port for TCP, and in the name of the Unix socket"
    )
    log_connections: int = setting("1", Int(), help="Log every login (0 or 1)")
    log_disconnections: int = setting("1", Int(), help="Log every disconnection and its reason (0 or 1)")
    log_pooler_errors: int = setting(
        "1", Int(), help="Log the errors that the pooler sends to clients (0 or 1)"
    )
    log_stats: int = setting("1", Int(), help="Log a line of statistics every stats_period (0 or 1)")
    logfile: str = setting("", Text(), help="File that the log is written to; empty: none")
    login_notify_message: str = setting("", Text(), help="Notice that a client gets after login; empty: none")
    max_client_conn: int = setting("100", Int(), help="Most client connections in all")
    max_db_client_connections: int = setting(
        "0",
        Int(),
        database="max_db_client_connections",
        help="Most client connections of one database; 0 unlimited",
    )
    max_db_connections: int = setting(
        "0",
        Int(),
        database="max_db_connections",
        help="Most server connections of one database, all users together; 0 unlimited",
    )
    max_packet_size: int = setting(
        "2147483647", Int(0, _UINT32_MAX), help="Largest protocol message let through, in bytes"
    )
    max_prepared_statements: int = setting(
        "200", Int(), help="Prepared statements kept on one server connection; 0 leaves them alone"
    )
    max_user_client_connections: int = setting(
        "0",
        Int(),
        user="max_user_client_connections",
        help="Most client connections of one user; 0 unlimited",
    )
    max_user_connections: int = setting(
        "0",
        Int(),
        user="max_user_connections",
        help="Most server connections of one user, all databases together; 0 unlimited",
    )
    min_pool_size: int = setting(
        "0", Int(), database="min_pool_size", help="Server connections that a pool in use is kept filled to"
    )
    peer_id: int = setting("0", Int(), help="Number of this pooler among its [peers]; 0 is no peering")
    pidfile: str = setting(
        "", Text(), reloadable=False, help="File that the process id is written to; empty: none"
    )
    pkt_buf: int = setting("4096", Int(), reloadable=False, help="Size of a read buffer, in bytes")
    pool_mode: PoolMode = setting(
        "session",
        Choice(PoolMode),
        database="pool_mode",
        user="pool_mode",
        help="When a server goes back to its pool",
    )
    pool_idle_timeout: float = setting(
        "0", Seconds(), help="Drop a pool that had neither clients nor servers for this long; 0 never"
    )
    query_timeout: float = setting(
        "0",
        Seconds(),
        user="query_timeout",
        help="Disconnect a client whose query runs longer than this; 0 never",
    )
    query_wait_notify: int = setting(
        "5", Int(), help="Tell a client that it is queued after this many seconds; 0 never"
    )
    query_wait_timeout: float = setting(
        "120",
        Seconds(),
        database="query_wait_timeout",
        user="query_wait_timeout",
        help="Disconnect a client that waited this long for a server; 0 never",
    )
    reserve_pool_size: int = setting(
        "0",
        Int(),
        database="reserve_pool_size",
        user="reserve_pool_size",
        help="Further server connections of a pool whose clients wait too long; 0 none",
    )
    reserve_pool_timeout: float = setting(
        "5", Seconds(), help="Use the reserve when a client has waited this long; 0 never"
    )
    resolv_conf: str = setting(
        "", Text(), reloadable=False, help="File to use in place of the system's resolv.conf"
    )
    sbuf_loopcnt: int = setting(
        "5", Int(), help="Buffers moved for one connection before the others have their turn; 0 unlimited"
    )
    scram_iterations: int = setting(
        "4096", Int(), help="Iterations of a SCRAM secret made from a plain password"
    )
    server_check_delay: float = setting(
        "30", Seconds(), help="Check a server that was released longer ago than this before it is used again"
    )
    server_check_query: str = setting(
        "<empty>", Text(), help="Query for that check; <empty> is the empty query, empty is no check"
    )
    server_connect_timeout: float = setting(
        "15", Seconds(), help="Give up connecting and logging in to a server after this long"
    )
    server_fast_close: int = setting(
        "0", Int(), help="Close outdated servers of session pools between transactions (0 or 1)"
    )
    server_idle_timeout: float = setting(
        "600", Seconds(), help="Close a server that has been idle for this long; 0 never"
    )
    server_lifetime: float = setting(
        "3600",
        Seconds(),
        database="server_lifetime",
        help="Close a server that was connected this long ago, once it is idle; 0 after one use",
    )
    server_login_retry: float = setting(
        "15", Seconds(), help="Wait this long after a failed connection to a server before the next one"
    )
    server_reset_query: str = setting(
        "DISCARD ALL", Text(), help="Query that cleans a server when its client of session mode leaves"
    )
    server_reset_query_always: int = setting(
        "0", Int(), help="Run server_reset_query in every pool mode (0 or 1)"
    )
    server_round_robin: int = setting(
        "0", Int(), help="Use the longest idle server next, not the last one released (0 or 1)"
    )
    server_tls13_ciphers: str | None = setting(
        None, Text(), help="TLS 1.3 cipher suites for servers; unset: those of server_tls_ciphers"
    )
    server_tls_ca_file: str = setting(
        "", Text(), help="Root certificates that server certificates are verified against"
    )
    server_tls_cert_file: str = setting("", Text(), help="Certificate shown to servers")
    server_tls_ciphers: str = setting(
        "default", Text(), help="Ciphers for servers up to TLS 1.2, in OpenSSL's syntax"
    )
    server_tls_key_file: str = setting("", Text(), help="Private key of server_tls_cert_file")
    server_tls_protocols: str = setting(
        "secure", Text(), help="TLS versions for servers: all, secure or a list such as tlsv1.2,tlsv1.3"
    )
    server_tls_sslmode: SslMode = setting(
        "prefer",
        Choice(SslMode),
        help="Whether TLS is used to servers, and whether their certificate is verified",
    )
    server_tls_sslnegotiation: SslNegotiation = setting(
        "postgres",
        Choice(SslNegotiation),
        help="Ask servers for TLS first (postgres), or begin with it at once (direct)",
    )
    so_reuseport: int = setting(
        "0", Int(), reloadable=False, help="Let several processes listen on the same port (0 or 1)"
    )
    stats_period: int = setting("60", Int(), help="Seconds between two averages of the statistics")
    stats_users: str = setting(
        "", Text(), help="Users who may run SHOW commands of the admin console, separated by commas"
    )
    suspend_timeout: float = setting(
        "10", Seconds(), help="Drop connections whose buffers are not flushed after this long of SUSPEND"
    )
    syslog: int = setting("0", Int(), help="Write the log to syslog (0 or 1)")
    syslog_facility: str = setting("daemon", Text(), help="Facility of the log in syslog")
    syslog_ident: str = setting("pgbouncer", Text(), help="Name of the program in syslog")
    tcp_defer_accept: int = setting(
        "1", Int(), help="Accept a connection only once it has data, TCP_DEFER_ACCEPT (0 or 1)"
    )
    tcp_keepalive: int = setting("1", Int(), help="TCP keepalive (0 or 1)")
    tcp_keepcnt: int = setting(
        "0", Int(), help="Unanswered keepalive probes that end a connection; 0 is the system's default"
    )
    tcp_keepidle: int = setting(
        "0", Int(), help="Seconds of silence before the first keepalive probe; 0 is the system's default"
    )
    tcp_keepintvl: int = setting(
        "0", Int(), help="Seconds between keepalive probes; 0 is the system's default"
    )
    tcp_socket_buffer: int = setting(
        "0", Int(), help="Size of the kernel's socket buffers, in bytes; 0 is the system's default"
    )
    tcp_user_timeout: int = setting(
        "0", Int(), help="Milliseconds that sent data may stay unacknowledged; 0 is the system's default"
    )
    track_extra_parameters: str = setting(
        "IntervalStyle",
        Text(),
        reloadable=False,
        help="Further reported parameters kept per client, separated by commas",
    )
    transaction_mode_guard: Guard = setting(
        "warn",
        Choice(Guard),
        help="What happens about statements that leave something on a server in transaction mode",
    )
    transaction_timeout: float = setting(
        "0",
        Seconds(),
        user="transaction_timeout",
        help="Disconnect a client whose transaction lasts longer than this; 0 never",
    )
    unix_socket_dir: str = setting(
        "/tmp",
        Text(),
        reloadable=False,
        help="Directory of the Unix socket, @name for an abstract one; empty: none",
    )
    unix_socket_group: str = setting(
        "", Text(), reloadable=False, help="Group of the Unix socket's file; empty: that of the process"
    )
    unix_socket_mode: int = setting(
        "0777", Int(), reloadable=False, help="Permissions of the Unix socket's file"
    )
    user: str | None = setting(
        None, Text(), reloadable=False, help="Operating system user to change to after the start as root"
    )
    verbose: int = setting(None, Int(), help="Verbosity of the log, 0 to 3")

    def replace(self, name: str, text: str) -> "Settings":
        """Change one setting, also one that only a restart may change: that is for the caller to refuse.

        Raises KeyError if there is no such setting, ValueError if the text is no value for it.
        """
        return replace(self, **{name: SETTINGS[name].parse(text)})


SETTINGS: Final[Mapping[str, Setting]] = MappingProxyType(
    {declared.name: Setting(name=declared.name, **declared.metadata) for declared in fields(Settings)}
)
"""Every setting by name, in the order of SHOW CONFIG."""

DEFAULTS: Final = Settings()


def word_list(text: str) -> tuple[str, ...]:
    """The words of a comma list such as `listen_addr`; blanks around them and empty ones are dropped."""
    words = (word.strip(WHITESPACE) for word in text.split(","))
    return tuple(word for word in words if word)


def list_contains(text: str, word: str) -> bool:
    """Whether a list such as `admin_users` names a word.

    PgBouncer reads `admin_users`, `stats_users` and `ignore_startup_parameters` more loosely than `word_list`
    splits: the word has to stand between commas, white space or the ends, so `a b` names `a`, `b` and `a b`.
    """
    if not word:
        return False
    fenced = f",{text},"
    last = len(fenced) - 1
    at = fenced.find(word, 1, last)
    while at != -1:
        if fenced[at - 1] in _SEPARATORS and fenced[at + len(word)] in _SEPARATORS:
            return True
        at = fenced.find(word, at + 1, last)
    return False
