"""`auth_hba_file`: how a client has to log in, by its address, TLS, database and user.

The language is that of PgBouncer's reader, a part of pg_hba.conf: one rule in a line, the first that fits
decides, and a keyword is one only without quotes. As in PostgreSQL, a line that ends in a backslash goes on
in the next one, and `clientcert=` asks for a certificate on top of the method.

PgBouncer skips a line that it cannot read, and so lets a later rule decide; here each of them is an error. So
is a `/regex` of PostgreSQL's, which PgBouncer takes for a name.
"""

import os
import re
from collections.abc import Callable, Container
from dataclasses import dataclass, field
from enum import Enum
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Final, TypeAlias

from pooler.auth.fields import Fields, Token, logical_lines, plain_name, read_text, shown
from pooler.config.errors import ConfigError, ConfigErrors
from pooler.config.kinds import WHITESPACE

IPAddress: TypeAlias = IPv4Address | IPv6Address

MAX_INCLUDE_DEPTH: Final = 10
"""Levels of `@file` below the HBA file."""

_LDAP_OPTION: Final = re.compile(rf'(?:"[^"]*+"|[^{WHITESPACE},"])++')
_PREFIX_LENGTH: Final = re.compile(r"0*([0-9]{1,3})")


class ConnectionType(Enum):
    """The first column of a rule."""

    LOCAL = "local"
    HOST = "host"
    HOSTSSL = "hostssl"
    HOSTNOSSL = "hostnossl"


class Method(Enum):
    """How a client logs in, or `reject`; `password` is what `auth_type` calls plain."""

    TRUST = "trust"
    REJECT = "reject"
    MD5 = "md5"
    PASSWORD = "password"
    PEER = "peer"
    CERT = "cert"
    SCRAM_SHA_256 = "scram-sha-256"
    LDAP = "ldap"


class ClientCert(Enum):
    """What `clientcert=` asks for: a certificate that the CA vouches for, or also one of that user."""

    VERIFY_CA = "verify-ca"
    VERIFY_FULL = "verify-full"


@dataclass(frozen=True, slots=True)
class Names:
    """One column of names. Keywords are `all`, `sameuser` and, for databases, `replication`."""

    names: frozenset[str]
    keywords: frozenset[str] = frozenset()

    def matches(self, name: str, other: str) -> bool:
        """Whether `name` is meant; `other` is the user's name for a database and the other way round."""
        if "all" in self.keywords or name in self.names:
            return True
        return "sameuser" in self.keywords and name == other


@dataclass(frozen=True, slots=True)
class Network:
    """The addresses of one IP version whose bits under `mask` are `base`.

    The mask may have gaps. If `base` has bits that the mask has not, no address fits, as in PgBouncer.
    """

    version: int
    base: int
    mask: int

    def __contains__(self, address: IPAddress) -> bool:
        return address.version == self.version and int(address) & self.mask == self.base


@dataclass(frozen=True, slots=True)
class HbaRule:
    """One line of the file. `network` is None for any address; `local` rules have none."""

    line: int
    connection_type: ConnectionType
    databases: Names
    users: Names
    network: Network | None
    method: Method
    map_name: str | None = None
    clientcert: ClientCert | None = None
    ldap_options: str | None = field(default=None, repr=False)
    """What follows the method `ldap`, but for `clientcert=`; may have a password in it."""

    def matches(
        self, address: IPAddress | None, tls: bool, physical_replication: bool, database: str, user: str
    ) -> bool:
        """See `HbaRules.find`."""
        if not self._matches_connection(address, tls):
            return False
        if physical_replication:
            fits = "replication" in self.databases.keywords
        else:
            fits = self.databases.matches(database, user)
        return fits and self.users.matches(user, database)

    def _matches_connection(self, address: IPAddress | None, tls: bool) -> bool:
        local = self.connection_type is ConnectionType.LOCAL
        if address is None or local:
            return address is None and local
        if self.connection_type is ConnectionType.HOSTSSL and not tls:
            return False
        if self.connection_type is ConnectionType.HOSTNOSSL and tls:
            return False
        return self.network is None or address in self.network


@dataclass(frozen=True, slots=True)
class HbaRules:
    """The rules that can be read, in their order, and what is wrong with the file.

    `errors` are the lines that are no rule; `warnings` are rules that can never apply.
    """

    rules: tuple[HbaRule, ...]
    errors: tuple[ConfigError, ...] = ()
    warnings: tuple[ConfigError, ...] = ()

    def find(
        self, address: IPAddress | None, tls: bool, physical_replication: bool, database: str, user: str
    ) -> HbaRule | None:
        """The first rule for this client, or None; who has no rule is refused.

        `address` is None for a unix socket. An IPv4 address that is mapped into IPv6 is one of IPv6, as it is
        for PgBouncer. A client that asked for physical replication needs the keyword `replication` in the
        column of databases, whatever its database is; the keyword says nothing about anybody else.
        """
        for rule in self.rules:
            if rule.matches(address, tls, physical_replication, database, user):
                return rule
        return None


def parse_hba(path: str, maps: Container[str] = ()) -> HbaRules:
    """Read a file; `maps` are the names that `map=` may have. Raises ConfigErrors with all its mistakes."""
    try:
        text = read_text(path)
    except ValueError as error:
        raise ConfigErrors((ConfigError(path, None, str(error)),)) from None
    rules = parse_hba_text(text, path, maps)
    if rules.errors:
        raise ConfigErrors(rules.errors)
    return rules


def parse_hba_text(
    text: str, name: str, maps: Container[str] = (), read: Callable[[str], str] | None = None
) -> HbaRules:
    """Read the text of a file called `name`; its errors are in the result.

    `read` gives the text of an `@file`, whose name is relative to the file that mentions it, and raises
    ValueError if there is none.
    """
    parser = _Parser(name, maps, read or read_text)
    for number, line in logical_lines(text):
        parser.parse_line(number, line)
    # Several rules may read the same broken file.
    return HbaRules(tuple(parser.rules), tuple(dict.fromkeys(parser.errors)), tuple(parser.warnings))


@dataclass(frozen=True, slots=True)
class _Column:
    """A column of names while it is read."""

    title: str
    keywords: frozenset[str]
    found: set[str] = field(default_factory=set)
    found_keywords: set[str] = field(default_factory=set)

    def add(self, token: Token) -> None:
        if not token.quoted and token.text in self.keywords:
            self.found_keywords.add(token.text)
        elif not token.quoted and token.text in ("samerole", "samegroup"):
            raise ValueError(f"{token.text} is not supported")
        else:
            self.found.add(plain_name(token))

    def names(self) -> Names:
        return Names(frozenset(self.found), frozenset(self.found_keywords))


class _Parser:
    """Collects the rules of a file."""

    def __init__(self, name: str, maps: Container[str], read: Callable[[str], str]) -> None:
        self._name = name
        self._maps = maps
        self._read = read
        self.rules: list[HbaRule] = []
        self.errors: list[ConfigError] = []
        self.warnings: list[ConfigError] = []

    def parse_line(self, number: int, line: str) -> None:
        errors = len(self.errors)
        try:
            rule = self._rule(number, Fields(line))
        except ValueError as error:
            self.errors.append(ConfigError(self._name, number, str(error)))
            return
        # An @file may have had errors of its own.
        if rule is not None and len(self.errors) == errors:
            self.rules.append(rule)

    def _rule(self, number: int, fields: Fields) -> HbaRule | None:
        if fields.token is None:
            return None
        connection = _connection_type(fields)
        databases = self._names(fields, _Column("database", frozenset(("all", "sameuser", "replication"))))
        users = self._names(fields, _Column("user", frozenset(("all", "sameuser"))))
        network = None if connection is ConnectionType.LOCAL else self._network(number, fields)
        if fields.is_word("ldap"):
            options, given = _without_clientcert(fields.rest())
            clientcert = _clientcert(given, connection, Method.LDAP)
            return HbaRule(
                number, connection, databases, users, network, Method.LDAP, None, clientcert, options
            )
        method = _method(fields)
        given = _options(fields)
        map_name = self._map_name(given)
        clientcert = _clientcert(given, connection, method)
        return HbaRule(number, connection, databases, users, network, method, map_name, clientcert)

    def _names(self, fields: Fields, column: _Column) -> Names:
        self._collect(fields, column, (self._name,))
        return column.names()

    def _collect(self, fields: Fields, column: _Column, reading: tuple[str, ...]) -> None:
        """A list of names; `reading` are the file that it is in and those that include it."""
        while True:
            token = fields.name(f"the name of a {column.title}")
            if token.text.startswith("@") and not token.quoted:
                self._collect_file(token.text[1:], column, reading)
            else:
                column.add(token)
            if not fields.comma():
                return

    def _collect_file(self, name: str, column: _Column, reading: tuple[str, ...]) -> None:
        if not name:
            raise ValueError("there is no file name after @")
        path = os.path.join(os.path.dirname(reading[-1]), name)
        if path in reading or len(reading) > MAX_INCLUDE_DEPTH:
            raise ValueError(f"{shown('@' + name)} includes itself or is nested too deeply")
        for number, line in logical_lines(self._read(path)):
            try:
                fields = Fields(line)
                if fields.token is None:
                    continue
                self._collect(fields, column, (*reading, path))
                if fields.token is not None:
                    raise ValueError("a comma or the end of the line was expected")
            except ValueError as error:
                self.errors.append(ConfigError(path, number, str(error)))

    def _network(self, number: int, fields: Fields) -> Network | None:
        if fields.is_word("all"):
            fields.advance()
            return None
        text, slash, length = fields.word("an address").partition("/")
        address = _address(text, "an IP address, nor all")
        if slash:
            mask = _prefix_mask(length, address.max_prefixlen)
        else:
            mask = _netmask(fields.word("a netmask (or /BITS after the address)"), address.version)
        network = Network(address.version, int(address), int(mask))
        if network.base & ~network.mask:
            message = f"address does not match mask, this rule never applies: {address} / {mask}"
            self.warnings.append(ConfigError(self._name, number, message))
        return network

    def _map_name(self, given: dict[str, str]) -> str | None:
        name = given.get("map")
        if name is not None and name not in self._maps:
            raise ValueError(f"map {shown(name)} is not in auth_ident_file")
        return name


def _connection_type(fields: Fields) -> ConnectionType:
    word = fields.word("a connection type")
    try:
        return ConnectionType(word)
    except ValueError:
        raise ValueError(f"unknown connection type {_shown_word(word)}") from None


def _method(fields: Fields) -> Method:
    word = fields.word("an authentication method")
    try:
        return Method(word)
    except ValueError:
        hint = ": it is a value of auth_type only" if word == "pam" else ""
        raise ValueError(f"unsupported authentication method {_shown_word(word)}{hint}") from None


def _shown_word(word: str) -> str:
    """A word that is none of those expected: if it is an option at the wrong place, without its value."""
    name, equals, _ = word.partition("=")
    return shown(name + equals)


def _address(text: str, wanted: str) -> IPAddress:
    try:
        # A zone ("%eth0") belongs to one machine.
        return ip_address("" if "%" in text else text)
    except ValueError:
        raise ValueError(f"{_shown_word(text)} is not {wanted}") from None


def _prefix_mask(length: str, bits: int) -> IPAddress:
    match = _PREFIX_LENGTH.fullmatch(length)
    if match is None or int(match[1]) > bits:
        raise ValueError(f"invalid mask {shown('/' + length)}: it has 0 to {bits} bits")
    mask = (1 << bits) - (1 << (bits - int(match[1])))
    return IPv4Address(mask) if bits == 32 else IPv6Address(mask)


def _netmask(text: str, version: int) -> IPAddress:
    wanted = f"a netmask of IPv{version}"
    mask = _address(text, wanted)
    if mask.version != version:
        raise ValueError(f"{shown(text)} is not {wanted}")
    return mask


def _options(fields: Fields) -> dict[str, str]:
    """The options behind a method; their values stay out of messages, as one may be a misplaced password."""
    given: dict[str, str] = {}
    while fields.token is not None:
        name, equals, value = fields.word("an option").partition("=")
        if not equals:
            raise ValueError("an option is not of the form NAME=VALUE")
        if name not in ("map", "clientcert"):
            raise ValueError(f"unsupported option {shown(name)}")
        if name in given:
            raise ValueError(f"option {name} is given twice")
        given[name] = value
    return given


def _without_clientcert(ldap_options: str) -> tuple[str, dict[str, str]]:
    """What follows the method `ldap`, and what was taken out of it because it is no matter of LDAP."""
    given: dict[str, str] = {}
    kept, start = "", 0
    for match in _LDAP_OPTION.finditer(ldap_options):
        if match[0].startswith("#"):
            break
        name, equals, value = match[0].partition("=")
        if name != "clientcert" or not equals:
            continue
        if given:
            raise ValueError("option clientcert is given twice")
        given[name] = value
        kept += ldap_options[start : match.start()]
        start = match.end()
    return (kept + ldap_options[start:]).strip(WHITESPACE), given


def _clientcert(given: dict[str, str], connection: ConnectionType, method: Method) -> ClientCert | None:
    """The rules for this option are PostgreSQL's."""
    if "clientcert" not in given:
        return None
    if connection is not ConnectionType.HOSTSSL:
        raise ValueError("clientcert is an option of hostssl only")
    try:
        value = ClientCert(given["clientcert"])
    except ValueError:
        raise ValueError("clientcert is verify-ca or verify-full") from None
    if method is Method.CERT and value is not ClientCert.VERIFY_FULL:
        raise ValueError("clientcert can only be verify-full with the method cert")
    return value
