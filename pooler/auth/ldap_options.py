"""LDAP: the options of `auth_ldap_options` and of HBA lines."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from socket import AF_INET6, inet_pton
from typing import Final
from urllib.parse import unquote

from pooler.config.kinds import WHITESPACE
from pooler.wire.messages import encode

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
