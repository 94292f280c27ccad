"""LDAP: one login checked against a directory.

A login is checked with the library ldap3, in a worker thread (`pooler.auth.external`): all calls block, none
longer than `LOGIN_TIMEOUT` (the operating system's DNS timeouts come on top). What TLS asks of the server is
in ldap.conf(5), as for PgBouncer.
"""

from __future__ import annotations

import os
import ssl
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from importlib.util import find_spec
from socket import socket
from typing import Any, Final, TypeAlias

from pooler.auth.ldap_options import LdapOptions
from pooler.wire.messages import encode

CONNECT_TIMEOUT: Final = 3.0
"""Seconds for the connection to one address of a server, as in PgBouncer."""

LOGIN_TIMEOUT: Final = 30.0
"""Seconds for all that one login asks of a server."""

ANSWER_LIMIT: Final = 1 << 20
"""Bytes that a server may send for one login."""

FindServers: TypeAlias = Callable[[str], list[tuple[str, int]]]

_SUCCESS: Final = 0
_SIZE_LIMIT_EXCEEDED: Final = 4

_LDAP_CONF: Final = ("/etc/ldap/ldap.conf", "/etc/openldap/ldap.conf")
_TLS_NAMES: Final = ("TLS_CACERT", "TLS_CACERTDIR", "TLS_REQCERT", "TLS_CERT", "TLS_KEY")


class LdapRefused(Exception):
    """The login is not confirmed; the text is for the log and holds no password."""


def load() -> None:
    """Loads ldap3, 70 ms and 14 MB; raises ImportError if that or dnspython is missing or does not fit."""
    import ldap3.protocol.convert

    if find_spec("dns") is None:
        raise ImportError("no dnspython")
    if ldap3.protocol.convert.prepare_filter_for_sending("\\2a") != b"*":
        # 2.10.2rc4 sends what is escaped as it is: nobody with a special character would ever be found.
        raise ImportError("ldap3 does not know escaped filters")


class LdapClient:
    """Asks directories; one object is enough for all threads.

    `find_servers` looks up the servers of a domain. Timeouts are in seconds. `environ` is where ldap.conf(5)
    looks for its own options.
    """

    def __init__(
        self,
        find_servers: FindServers | None = None,
        connect_timeout: float = CONNECT_TIMEOUT,
        login_timeout: float = LOGIN_TIMEOUT,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        self._find_servers = find_servers or find_ldap_servers
        self._connect_timeout = connect_timeout
        self._login_timeout = login_timeout
        self._tls = _Tls(environ)

    def authenticate(self, options: LdapOptions, user: str, password: str) -> None:
        """Returns if the directory confirms the login; raises LdapRefused."""
        from ldap3.core.exceptions import LDAPExceptionError

        if not user or not password:
            # A bind without a password succeeds on many servers, as nobody.
            raise LdapRefused("empty user name or password")
        if not _is_utf8(user):
            raise LdapRefused("the user name is not UTF-8")
        deadline = time.monotonic() + self._login_timeout
        connection = self._connect(options, deadline)
        try:
            name = options.bind_name(user) if options.base_dn is None else _find(connection, options, user)
            if not _bind(connection, name, password):
                raise LdapRefused(f'LDAP login failed for "{name}": {_outcome(connection)}')
        except (LDAPExceptionError, OSError) as error:
            raise LdapRefused(f"LDAP server {connection.server.name}: {error}") from None
        except (ArithmeticError, LookupError, TypeError, ValueError) as error:
            problem = f"unreadable answer ({type(error).__name__})"
            raise LdapRefused(f"LDAP server {connection.server.name}: {problem}") from None
        finally:
            _hang_up(connection)

    def _connect(self, options: LdapOptions, deadline: float) -> Any:
        """An ldap3 connection, with TLS if that is asked for, to the first server that gives one."""
        import ldap3

        self._tls.prepare(options)
        failures = []
        for host, port in self._servers(options):
            tls = ldap3.Tls()
            tls.wrap_socket = partial(self._tls.wrap, host, deadline)
            timeout = min(self._connect_timeout, max(deadline - time.monotonic(), 0.001))
            server = ldap3.Server(
                host, port, options.scheme == "ldaps", get_info=ldap3.NONE, tls=tls, connect_timeout=timeout
            )
            connection = ldap3.Connection(
                server, auto_referrals=False, auto_range=False, auto_escape=False, check_names=False
            )
            try:
                _open(connection, options, deadline)
            except Exception as error:  # some of them are of types that ldap3 makes up
                failures.append(f"{server.name}: {connection.last_error or error}")
                _hang_up(connection)
            else:
                return connection
        raise LdapRefused(f"could not connect to LDAP server {', '.join(failures)}")

    def _servers(self, options: LdapOptions) -> list[tuple[str, int]]:
        if options.servers:
            return [(host, options.port) for host in options.servers]
        return self._find_servers(options.domain)


def _open(connection: Any, options: LdapOptions, deadline: float) -> None:
    connection.open(read_server_info=False)
    if not connection.server.ssl:
        connection.socket = _BoundedSocket(connection.socket, deadline)
    if options.start_tls and not connection.start_tls(read_server_info=False):
        raise LdapRefused("ldaptls=1 asks for StartTLS, which cannot be had within ldaps")


def _find(connection: Any, options: LdapOptions, user: str) -> str:
    """The DN of the user's entry."""
    if not _bind(connection, options.bind_dn, options.bind_password):
        raise LdapRefused(f'could not bind as "{options.bind_dn}" to search: {_outcome(connection)}')
    wanted = options.filter_for(user)
    # Two entries are enough to know that there is more than one.
    connection.search(
        options.base_dn, wanted, options.scope, dereference_aliases="NEVER", attributes=["1.1"], size_limit=2
    )
    code = connection.result["result"]
    entries = [answer for answer in connection.response or () if answer["type"] == "searchResEntry"]
    if code not in (_SUCCESS, _SIZE_LIMIT_EXCEEDED):
        raise LdapRefused(f'could not search LDAP for filter "{wanted}": {_outcome(connection)}')
    if len(entries) > 1 or code == _SIZE_LIMIT_EXCEEDED:
        raise LdapRefused(f'LDAP user "{user}" is not unique: filter "{wanted}"')
    if not entries or not entries[0]["dn"]:
        raise LdapRefused(f'LDAP user "{user}" does not exist: no entry for filter "{wanted}"')
    dn: str = entries[0]["dn"]
    return dn


def _bind(connection: Any, name: str, password: str) -> bool:
    """A simple bind, anonymous without a name; the password goes as it is, without SASLprep."""
    connection.user = name or None
    connection.password = encode(password)
    connection.authentication = "SIMPLE" if name else "ANONYMOUS"
    return bool(connection.bind(read_server_info=False)) and connection.result["type"] == "bindResponse"


def _outcome(connection: Any) -> str:
    result = connection.result
    return (
        f"{result['description']} ({result['message']})" if result["message"] else str(result["description"])
    )


def _hang_up(connection: Any) -> None:
    with suppress(Exception):  # whatever it is, nobody waits for it
        connection.unbind()
    if connection.socket is not None:
        connection.socket.close()


def _left(deadline: float) -> float:
    """Seconds until then; raises TimeoutError."""
    seconds = deadline - time.monotonic()
    if seconds <= 0:
        raise TimeoutError("timed out")
    return seconds


def _is_utf8(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


class _BoundedSocket:
    """What ldap3 needs of a socket; it neither waits beyond `deadline` nor takes in more than ANSWER_LIMIT.

    A timeout of ldap3's would be one for each read, and a read may bring a single byte.
    """

    def __init__(self, raw: socket, deadline: float) -> None:
        self.raw = raw
        self._deadline = deadline
        self._room = ANSWER_LIMIT

    def recv(self, size: int) -> bytes:
        self.raw.settimeout(_left(self._deadline))
        data = self.raw.recv(size)
        self._room -= len(data)
        if self._room < 0:
            raise OSError(f"more than {ANSWER_LIMIT} bytes received")
        return data

    def sendall(self, data: bytes) -> None:
        self.raw.settimeout(_left(self._deadline))
        self.raw.sendall(data)

    def shutdown(self, how: int) -> None:
        self.raw.shutdown(how)

    def close(self) -> None:
        self.raw.close()


class _Tls:
    """TLS as ldap.conf(5) and the LDAPTLS_... variables ask for it; files are read again when they change.

    TLS_CACERT, TLS_CACERTDIR, TLS_REQCERT, TLS_CERT and TLS_KEY count, the others do not. Without an
    authority of its own it trusts those of the system.
    """

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._environ = environ
        self._made: tuple[object, ssl.SSLContext] | None = None

    def prepare(self, options: LdapOptions) -> None:
        """Reads what is needed for this connection; raises LdapRefused."""
        if options.scheme == "ldaps" or options.start_tls:
            self._context()

    def wrap(self, host: str, deadline: float, connection: Any, do_handshake: bool = True) -> None:
        """Does what ldap3's `Tls.wrap_socket` does; the handshake as a whole is bounded by the deadline."""
        plain = connection.socket
        raw: socket = plain.raw if isinstance(plain, _BoundedSocket) else plain
        context = self._context()
        raw.settimeout(_left(deadline))
        connection.socket = _BoundedSocket(context.wrap_socket(raw, server_hostname=host), deadline)

    def _context(self) -> ssl.SSLContext:
        conf = _read_ldap_conf(self._environ)
        made = self._made
        try:
            state = conf, [os.stat(path).st_mtime_ns for name, path in conf.items() if name != "TLS_REQCERT"]
            if made is None or made[0] != state:
                made = self._made = state, _new_context(conf)
        except (OSError, ValueError) as error:
            raise LdapRefused(f"ldap.conf asks for {conf}, and TLS cannot be set up so: {error}") from None
        return made[1]


def _read_ldap_conf(environ: Mapping[str, str]) -> dict[str, str]:
    if "LDAPNOINIT" in environ:
        return {}
    found: dict[str, str] = {}
    for path in (*_LDAP_CONF, environ.get("LDAPCONF", "")):
        with suppress(OSError), open(path, encoding="utf-8", errors="replace") as file:
            found.update(map(_conf_option, file))
    found.update((name, environ[f"LDAP{name}"]) for name in _TLS_NAMES if f"LDAP{name}" in environ)
    if not _verifies(found):
        found.pop("TLS_CACERT", None)
        found.pop("TLS_CACERTDIR", None)
    return {name: found[name] for name in _TLS_NAMES if found.get(name)}


def _conf_option(line: str) -> tuple[str, str]:
    name, *value = line.split(None, 1) or [""]
    return name.upper(), "".join(value).strip()


def _verifies(conf: Mapping[str, str]) -> bool:
    return conf.get("TLS_REQCERT", "").lower() not in ("never", "allow")


def _new_context(conf: Mapping[str, str]) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=conf.get("TLS_CACERT"), capath=conf.get("TLS_CACERTDIR"))
    if not _verifies(conf):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    # Python 3.13 on its own refuses certificates that libldap takes.
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT
    if "TLS_CERT" in conf:
        context.load_cert_chain(conf["TLS_CERT"], conf.get("TLS_KEY"))
    return context


def find_ldap_servers(domain: str) -> list[tuple[str, int]]:
    """Host and port of a domain's LDAP servers, from its SRV records (RFC 2782); raises LdapRefused."""
    import dns.exception
    import dns.name
    import dns.resolver

    try:
        answer = dns.resolver.Resolver().resolve(f"_ldap._tcp.{domain}.", "SRV", lifetime=CONNECT_TIMEOUT)
    except dns.exception.DNSException as error:
        raise LdapRefused(f'found no LDAP servers of "{domain}" in DNS: {error}') from None
    records: Any = answer.rrset.processing_order() if answer.rrset is not None else ()
    return [
        (record.target.to_text(omit_final_dot=True), record.port)
        for record in records
        if record.target != dns.name.root
    ]
