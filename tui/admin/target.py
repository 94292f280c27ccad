"""Where a pooler is and who logs in to it: libpq's URLs, connection strings, variables and service files, or
the pooler's own ini file.

It is all resolved here, so that either driver is told the same and no driver is loaded for it. Two defaults
are not libpq's: the port is 6432 and the database `pgbouncer`, whatever PGDATABASE says.
"""

from __future__ import annotations

import configparser
import getpass
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Final
from urllib.parse import parse_qsl, unquote

from tui.admin.errors import TargetError
from tui.admin.ini_target import from_ini

DATABASE: Final = "pgbouncer"
PORT: Final = "6432"

APPLICATION: Final = "pooldeck"
"""What all connections of ours call themselves."""

_SOCKET_DIRECTORIES: Final = ("/run/postgresql", "/var/run/postgresql", "/tmp")

_VARIABLES: Final[Mapping[str, str]] = {
    "host": "PGHOST",
    "hostaddr": "PGHOSTADDR",
    "port": "PGPORT",
    "user": "PGUSER",
    "password": "PGPASSWORD",
    "passfile": "PGPASSFILE",
    "connect_timeout": "PGCONNECT_TIMEOUT",
    "sslmode": "PGSSLMODE",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcrl": "PGSSLCRL",
    "sslnegotiation": "PGSSLNEGOTIATION",
    "ssl_min_protocol_version": "PGSSLMINPROTOCOLVERSION",
    "ssl_max_protocol_version": "PGSSLMAXPROTOCOLVERSION",
}
"""The parameters that are understood, and the variables that they default to."""

_WITHOUT_VARIABLE: Final = frozenset({"dbname", "sslpassword"})

_OPTIONS: Final = frozenset(
    name for name in (*_VARIABLES, *_WITHOUT_VARIABLE) if name == "passfile" or name.startswith("ssl")
)

_IGNORED: Final = frozenset(
    {
        *("application_name", "fallback_application_name", "client_encoding", "options"),
        *("keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout"),
        *("gssencmode", "sslcompression", "sslsni", "load_balance_hosts", "target_session_attrs"),
    }
)
"""Parameters of libpq that change nothing about who is talked to and how safely."""

_SSLMODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")

_SECRET: Final = ("password", "sslpassword")

_PAIR: Final = re.compile(r"\s*(\w+)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|((?:[^\s'\\]|\\.)*))(?=\s|$)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Target:
    """What to tell a driver. `host` is a name, an address, or the directory of a unix socket; it may be a
    list with commas, and `port` one for each or one for all.
    """

    host: str
    port: str
    user: str
    database: str = DATABASE
    password: str | None = field(default=None, repr=False)
    options: Mapping[str, str] = field(default_factory=dict, repr=False)
    """Parameters of libpq about TLS and `passfile`."""
    connect_timeout: float | None = None
    """Seconds, if somebody has said so."""

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.user}@{host}:{self.port}/{self.database}"


def parse_target(text: str | None = None, environ: Mapping[str, str] = os.environ) -> Target:
    """Make out where to connect to.

    `text` is a URL, a connection string (`host=... user=...`), or the path of an ini file; without it the
    variables alone say it. What `text` says counts first, then a service file, then the variables.

    Raises TargetError.
    """
    explicit: dict[str, str] = {}
    fallback: dict[str, str] = {}
    if text and _is_url(text):
        explicit = dict(_url_pairs(text))
    elif text and os.path.isfile(text):
        explicit, fallback = from_ini(text, getpass.getuser())
        environ = {name: value for name, value in environ.items() if name not in ("PGHOSTADDR", "PGSERVICE")}
    elif text and "=" in text:
        explicit = dict(_connection_string_pairs(text))
    elif text:
        raise TargetError(f"{text}: neither a URL, nor a connection string, nor an ini file that there is")
    _check(explicit)
    return _target(fallback | _variables(environ) | _service(explicit, environ) | explicit)


def password_in(text: str) -> bool:
    """Whether a URL or a connection string has a password in it. Raises TargetError."""
    if _is_url(text):
        return any(name in _SECRET for name, _ in _url_pairs(text))
    if os.path.isfile(text) or "=" not in text:
        return False
    return any(name in _SECRET for name, _ in _connection_string_pairs(text))


def _target(found: Mapping[str, str]) -> Target:
    port = found.get("port") or PORT
    if found.get("sslmode", "prefer") not in _SSLMODES:
        raise TargetError(f"not a sslmode: {found['sslmode']}")
    return Target(
        host=found.get("hostaddr") or found.get("host") or _default_host(port),
        port=_checked_port(port),
        user=found.get("user") or getpass.getuser(),
        database=found.get("dbname") or DATABASE,
        password=found.get("password"),
        options={name: value for name, value in found.items() if name in _OPTIONS},
        connect_timeout=_timeout(found.get("connect_timeout")),
    )


def _default_host(port: str) -> str:
    """The first usual directory that has such a socket, or else this machine by TCP."""
    for directory in _SOCKET_DIRECTORIES:
        if os.path.exists(f"{directory}/.s.PGSQL.{port}"):
            return directory
    return "localhost"


def _checked_port(text: str) -> str:
    for port in text.split(","):
        if not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
            raise TargetError(f"not a port: {port}")
    return text


def _timeout(text: str | None) -> float | None:
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        raise TargetError(f"connect_timeout is not a number: {text}") from None
    # As libpq has it: none at all.
    return seconds if seconds > 0 else None


def _check(pairs: Mapping[str, str]) -> None:
    for name in pairs:
        if name not in _VARIABLES and name not in _WITHOUT_VARIABLE | _IGNORED | {"service", "servicefile"}:
            raise TargetError(f"unknown parameter: {name}")


# Sources ---------------------------------------------------------------------------------------------------


def _variables(environ: Mapping[str, str]) -> dict[str, str]:
    return {name: environ[variable] for name, variable in _VARIABLES.items() if environ.get(variable)}


def _is_url(text: str) -> bool:
    return text.startswith(("postgresql://", "postgres://"))


def _url_pairs(url: str) -> Iterator[tuple[str, str]]:
    """The parts of `postgresql://user:password@host:port,host:port/database?name=value`.

    Not by urllib's own parts: it knows no list of hosts.
    """
    rest, _, query = url.partition("://")[2].partition("?")
    authority, _, database = rest.partition("/")
    login, _, hosts = authority.rpartition("@")
    user, colon, password = login.partition(":")
    if user:
        yield "user", unquote(user)
    if colon:
        yield "password", unquote(password)
    yield from _url_hosts(hosts)
    if database:
        yield "dbname", unquote(database)
    for name, value in parse_qsl(query, keep_blank_values=True):
        yield ("dbname" if name == "database" else name), value


def _url_hosts(text: str) -> Iterator[tuple[str, str]]:
    if not text:
        return
    hosts: list[str] = []
    ports: list[str] = []
    for part in text.split(","):
        match = re.fullmatch(r"(\[[^]]*\]|[^:]*)(?::(\d*))?", part)
        if match is None:
            # Without the text: a password with a slash in it would be taken for this.
            raise TargetError(
                "the URL has no host:port where it should; is / in the password written as %2F?"
            )
        hosts.append(unquote(match[1].strip("[]")))
        ports.append(match[2] or "")
    if any(hosts):
        yield "host", ",".join(hosts)
    if any(ports):
        yield "port", ",".join(port or PORT for port in ports)


def _connection_string_pairs(text: str) -> Iterator[tuple[str, str]]:
    """The pairs of `name = value 'name'='it\\'s'`."""
    position = 0
    rest = text.rstrip()
    while position < len(rest):
        match = _PAIR.match(rest, position)
        if match is None:
            # Without the rest of it: a password may be in there.
            raise TargetError(f"not a connection string, from character {position + 1} on")
        value = match[3] if match[2] is None else match[2]
        yield match[1], re.sub(r"\\(.)", r"\1", value, flags=re.DOTALL)
        position = match.end()


def _service(explicit: Mapping[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    """What the section of the service file says that `service`, or PGSERVICE, names."""
    name = explicit.get("service") or environ.get("PGSERVICE")
    if not name:
        return {}
    own = (
        explicit.get("servicefile")
        or environ.get("PGSERVICEFILE")
        or os.path.expanduser("~/.pg_service.conf")
    )
    files = [own]
    if directory := environ.get("PGSYSCONFDIR"):
        files.append(os.path.join(directory, "pg_service.conf"))
    for file in files:
        pairs = _service_section(file, name)
        if pairs is not None:
            _check(pairs)
            return pairs
    raise TargetError(f"there is no service {name} in {' or '.join(files)}")


def _service_section(file: str, name: str) -> dict[str, str] | None:
    parser = configparser.ConfigParser(
        interpolation=None, delimiters=("=",), comment_prefixes=("#",), strict=False, default_section=""
    )
    try:
        parser.read(file)
    except (configparser.Error, UnicodeDecodeError, OSError):
        raise TargetError(f"{file} cannot be read as a service file") from None
    return dict(parser[name]) if parser.has_section(name) else None
