"""LDAP: the options of `auth_ldap_options` and of HBA lines, and one login checked against a directory.

A login is checked with the library ldap3, in a worker thread (`pooler.auth.external`): all calls block, none
longer than `LOGIN_TIMEOUT` (the operating system's DNS timeouts come on top). What TLS asks of the server is
in ldap.conf(5), as for PgBouncer.
"""

from __future__ import annotations

import os
import re
import ssl
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from importlib.util import find_spec
from socket import AF_INET6, inet_pton, socket
from typing import Any, Final, TypeAlias
from urllib.parse import unquote

from pooler.config.kinds import WHITESPACE
from pooler.wire.messages import encode

CONNECT_TIMEOUT: Final = 3.0
"""Seconds for the connection to one address of a server, as in PgBouncer."""

LOGIN_TIMEOUT: Final = 30.0
"""Seconds for all that one login asks of a server."""

ANSWER_LIMIT: Final = 1 << 20
"""Bytes that a server may send for one login."""

FindServers: TypeAlias = Callable[[str], list[tuple[str, int]]]

_SEARCH_NAMES: Final = frozenset(
    ("ldapbasedn", "ldapbinddn", "ldapbindpasswd", "ldapsearchattribute", "ldapsearchfilter")
)
_NAMES: Final = _SEARCH_NAMES | {
    "ldapserver",
    "ldapport",
    "ldapscheme",
    "ldaptls",
    "ldapprefix",
    "ldapsuffix",
}
_DEFAULT_PORTS: Final = {"ldap": 389, "ldaps": 636}
_URL_SCOPES: Final = {
    "": "BASE",
    "base": "BASE",
    "one": "LEVEL",
    "onelevel": "LEVEL",
    "sub": "SUBTREE",
    "subtree": "SUBTREE",
}

_URL: Final = re.compile(
    r"(?P<scheme>ldaps?)://(?P<host>\[[0-9A-Fa-f:.]+\]|[^/?:\[\]@]*)(?::(?P<port>[0-9]+))?"
    r"(?:/(?P<dn>[^?]*)(?:\?(?P<attributes>[^?]*)(?:\?(?P<scope>[^?]*)(?:\?(?P<filter>[^?]*))?)?)?)?",
    re.IGNORECASE,
)
_HOST: Final = re.compile(r"[^\s/?#@\[\]]+")
_SUCCESS: Final = 0
_SIZE_LIMIT_EXCEEDED: Final = 4

_LDAP_CONF: Final = ("/etc/ldap/ldap.conf", "/etc/openldap/ldap.conf")
_TLS_NAMES: Final = ("TLS_CACERT", "TLS_CACERTDIR", "TLS_REQCERT", "TLS_CERT", "TLS_KEY")

_SEPARATOR: Final = re.compile(rf"[{WHITESPACE}]*,?[{WHITESPACE}]*")
_NAME: Final = re.compile(rf'(?:"((?:[^"]|"")*+)"|([^=,"{WHITESPACE}]+))=')
_VALUE: Final = re.compile(rf'"((?:[^"]|"")*+)"|([^,"{WHITESPACE}][^,{WHITESPACE}]*)')
_ATTRIBUTE: Final = r"[A-Za-z0-9][A-Za-z0-9.-]*(?:;[A-Za-z0-9-]+)*"
_FILTER_ITEM: Final = rf"{_ATTRIBUTE}(?::dn)?(?::[A-Za-z0-9.-]+)?[~<>:]?=(?:[^()\\\0]|\\[0-9A-Fa-f]{{2}})*"
_FILTER_STEP: Final = re.compile(rf"\( *(?:{_FILTER_ITEM}|[&|](?: *\0)+ *|! *\0 *)\)")
_DOMAIN_PART: Final = re.compile(r" *dc *= *([A-Za-z0-9-]+) *", re.IGNORECASE)
_NOT_PLAIN: Final = re.compile(rb"[^A-Za-z0-9_.@$-]")


class LdapOptionsError(ValueError):
    """LDAP options that cannot be used; the text names options and positions, never a value."""


class LdapRefused(Exception):
    """The login is not confirmed; the text is for the log and holds no password."""


@dataclass(frozen=True, slots=True)
class LdapOptions:
    """Where and how to check a login; from text with `parse`.

    Without `base_dn` the user's name, between `prefix` and `suffix`, is what is bound to (simple bind). With
    it the user's entry is searched for first (search+bind).
    """

    scheme: str
    servers: tuple[str, ...]
    """Host names or addresses, tried in turn; none: DNS knows them, under `domain`."""
    port: int
    start_tls: bool
    prefix: str
    suffix: str
    base_dn: str | None
    scope: str
    """BASE, LEVEL or SUBTREE, as ldap3 has them."""
    search_filter: str
    """With `$username` in it."""
    bind_dn: str
    """Who searches; empty: nobody (anonymous)."""
    bind_password: str = field(repr=False)

    @classmethod
    def parse(cls, text: str) -> LdapOptions:
        """Reads `name=value` pairs with space or comma between; a name or a value may be in double quotes.

        In quotes, `""` is a quote. A later option wins over an earlier one, or its part of an `ldapurl`.
        A `#` where a name could start begins a comment. Raises LdapOptionsError, also for what PgBouncer
        passes over in silence: options behind one that it cannot read, an ldaptls other than 0 and 1, and a
        bind DN without its password.
        """
        given = _read(text)
        simple = "ldapprefix" in given or "ldapsuffix" in given
        if simple and not _SEARCH_NAMES.isdisjoint(given):
            raise LdapOptionsError("cannot mix options for simple bind and search+bind modes")
        if not simple and "ldapbasedn" not in given:
            raise LdapOptionsError('"ldapbasedn", "ldapprefix", or "ldapsuffix" has to be set')
        scheme = given.get("ldapscheme", "ldap")
        if scheme not in _DEFAULT_PORTS:
            raise LdapOptionsError("invalid ldapscheme: expected ldap or ldaps")
        if given.get("ldaptls", "0") not in ("0", "1"):
            raise LdapOptionsError("invalid ldaptls: expected 0 or 1")
        if bool(given.get("ldapbinddn")) != bool(given.get("ldapbindpasswd")):
            raise LdapOptionsError("ldapbinddn and ldapbindpasswd need each other")
        options = cls(
            scheme=scheme,
            servers=tuple(map(_server, given.get("ldapserver", "").split())),
            port=_port(given.get("ldapport", str(_DEFAULT_PORTS[scheme]))),
            start_tls=given.get("ldaptls") == "1",
            prefix=given.get("ldapprefix", ""),
            suffix=given.get("ldapsuffix", ""),
            base_dn=given.get("ldapbasedn"),
            scope=given.get("ldapscope", "SUBTREE"),
            search_filter=_search_filter(given),
            bind_dn=given.get("ldapbinddn", ""),
            bind_password=given.get("ldapbindpasswd", ""),
        )
        if not options.servers and not options.domain:
            raise LdapOptionsError("ldapserver is not set, and ldapbasedn has no dc= to look servers up with")
        return options

    @property
    def domain(self) -> str:
        """The DNS domain that `base_dn` ends in: dc=example,dc=net is example.net."""
        parts: list[str] = []
        for relative_dn in reversed((self.base_dn or "").split(",")):
            part = _DOMAIN_PART.fullmatch(relative_dn)
            if part is None:
                break
            parts.insert(0, part[1])
        return ".".join(parts)

    def bind_name(self, user: str) -> str:
        """What a simple bind names. Within a DN the user's name is escaped, so that it stays one value; it is
        no DN when `prefix` has no `=`, as for Active Directory: `DOMAIN\\user`, `user@domain`.
        """
        return self.prefix + (_escape(user) if "=" in self.prefix else user) + self.suffix

    def filter_for(self, user: str) -> str:
        """The search filter for this user, whose name is escaped."""
        return self.search_filter.replace("$username", _escape(user))


def _escape(name: str) -> str:
    """A name as a value in a DN (RFC 4514) or a filter (RFC 4515): all that might mean something as hex."""
    return _NOT_PLAIN.sub(lambda found: b"\\%02x" % ord(found[0]), encode(name)).decode("ascii")


def _read(text: str) -> dict[str, str]:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise LdapOptionsError("LDAP options are not UTF-8") from None
    given: dict[str, str] = {}
    for at, name, value in _pairs(text):
        if name == "ldapurl":
            given.update(_read_url(value))
        elif name in _NAMES:
            given[name] = value
        else:
            # What is no option may be a piece of a password that should have been quoted.
            shown = f'"{name}"' if re.fullmatch("ldap[a-z]+", name) else f"at character {at + 1}"
            raise LdapOptionsError(f"invalid LDAP option: {shown}")
    return given


def _pairs(text: str) -> Iterator[tuple[int, str, str]]:
    """Position, name and value of each option."""
    at = _skip_separator(text, 0)
    while at < len(text) and text[at] != "#":
        name = _NAME.match(text, at)
        if name is None:
            raise LdapOptionsError(f"invalid LDAP options: expected name=value at character {at + 1}")
        value = _VALUE.match(text, name.end())
        if value is None:
            raise LdapOptionsError(
                f"invalid LDAP options: no value, or one without closing quote, at character {name.end() + 1}"
            )
        yield at, _unquoted(name), _unquoted(value)
        at = _skip_separator(text, value.end())


def _skip_separator(text: str, at: int) -> int:
    separator = _SEPARATOR.match(text, at)
    return separator.end() if separator else at


def _unquoted(found: re.Match[str]) -> str:
    quoted: str | None = found[1]
    return found[2] if quoted is None else quoted.replace('""', '"')


def _read_url(text: str) -> dict[str, str]:
    """The options that an RFC 4516 URL stands for; of what it leaves out only the scope has a default."""
    url = _URL.fullmatch(text)
    if url is None:
        raise LdapOptionsError("ldapurl is not of the form ldap[s]://host[:port]/dn?attribute?scope?filter")
    scheme = url["scheme"].lower()
    scope = (url["scope"] or "").lower()
    if scope not in _URL_SCOPES:
        raise LdapOptionsError("invalid scope in ldapurl: expected base, one or sub")
    parts = {
        "ldapscheme": scheme,
        "ldapserver": url["host"],
        "ldapport": url["port"] or str(_DEFAULT_PORTS[scheme]),
        "ldapscope": _URL_SCOPES[scope],
        "ldapsearchattribute": (url["attributes"] or "").split(",")[0],
        "ldapsearchfilter": url["filter"],
    }
    given = {name: _percent_decoded(part) for name, part in parts.items() if part}
    if url["dn"] is not None:
        given["ldapbasedn"] = _percent_decoded(url["dn"])
    return given


def _percent_decoded(text: str) -> str:
    try:
        return unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise LdapOptionsError("ldapurl is not UTF-8") from None


def _server(name: str) -> str:
    host = name[1:-1] if name.startswith("[") and name.endswith("]") else name
    if _HOST.fullmatch(host) and (":" not in host or _is_ipv6(host)):
        return host
    raise LdapOptionsError(
        "invalid ldapserver: expected names or addresses with spaces between, and no ports"
    )


def _is_ipv6(host: str) -> bool:
    try:
        inet_pton(AF_INET6, host)
    except OSError:
        return False
    return True


def _port(text: str) -> int:
    if text.isascii() and text.isdecimal() and len(text) < 6 and 0 < int(text) < 65536:
        return int(text)
    raise LdapOptionsError("invalid LDAP port number")


def _search_filter(given: Mapping[str, str]) -> str:
    attribute, written = given.get("ldapsearchattribute"), given.get("ldapsearchfilter")
    if attribute and written:
        raise LdapOptionsError("cannot use ldapsearchattribute together with ldapsearchfilter")
    if attribute and not re.fullmatch(_ATTRIBUTE, attribute):
        raise LdapOptionsError("invalid ldapsearchattribute")
    if not written:
        return f"({attribute or 'uid'}=$username)"
    whole = written if written.startswith("(") else f"({written})"
    if "\0" in whole or not _is_filter(whole):
        raise LdapOptionsError("invalid LDAP search filter")
    return whole


def _is_filter(text: str) -> bool:
    """Whether this is one RFC 4515 filter: its parts, from the inside out, each become a zero byte."""
    found = 1
    while found:
        text, found = _FILTER_STEP.subn("\0", text)
    return text.rstrip() == "\0"


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
