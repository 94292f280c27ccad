"""How the values of settings are read and shown.

The rules are those of PgBouncer: C's number syntax, no words for booleans, no units on times, names of
enumerations in any case. Where PgBouncer lets a number wrap around, the number is refused.
"""

import re
from abc import ABC, abstractmethod
from enum import Enum, IntEnum, StrEnum
from typing import Any, Final, Generic, TypeVar

from pooler.config.names import RESERVED_DATABASE


class PoolMode(IntEnum):
    """When a server goes back to its pool (`pool_mode`)."""

    SESSION = 0
    TRANSACTION = 1
    STATEMENT = 2


class AuthType(StrEnum):
    """How clients prove who they are (`auth_type`)."""

    ANY = "any"
    TRUST = "trust"
    PLAIN = "plain"
    MD5 = "md5"
    CERT = "cert"
    HBA = "hba"
    LDAP = "ldap"
    PAM = "pam"
    SCRAM_SHA_256 = "scram-sha-256"


class SslMode(IntEnum):
    """Whether TLS is used and what it verifies (`client_tls_sslmode`, `server_tls_sslmode`)."""

    DISABLE = 0
    ALLOW = 1
    PREFER = 2
    REQUIRE = 3
    VERIFY_CA = 4
    VERIFY_FULL = 5


class SslNegotiation(StrEnum):
    """How TLS with a server begins (`server_tls_sslnegotiation`), in libpq's words."""

    POSTGRES = "postgres"
    DIRECT = "direct"


class Guard(IntEnum):
    """What is done about statements that transaction pooling makes unsafe (`transaction_mode_guard`)."""

    OFF = 0
    WARN = 1
    RESET = 2
    ERROR = 3


class LoadBalance(StrEnum):
    """Which host of a list the next server connection goes to (`load_balance_hosts`)."""

    ROUND_ROBIN = "round-robin"
    DISABLE = "disable"


WHITESPACE: Final = " \t\n\v\f\r"
"""What C's isspace() takes for white space; str.strip() without it would also take Unicode's."""

INT32_MIN: Final = -(2**31)
INT32_MAX: Final = 2**31 - 1

_C_INTEGER: Final = re.compile(r"[ \t\n\v\f\r]*([+-]?)(?:0[xX]([0-9a-fA-F]+)|(0[0-7]*)|([1-9][0-9]*))")
_C_FLOAT: Final = re.compile(
    r"""[ \t\n\v\f\r]*[+-]?(?:
        (?P<hex>0[xX](?:[0-9a-fA-F]+\.?[0-9a-fA-F]*|\.[0-9a-fA-F]+)(?:[pP][+-]?[0-9]+)?)
        |(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?)""",
    re.VERBOSE,
)
_MICROSECONDS: Final = 1_000_000


def parse_c_integer(text: str) -> int:
    """Read an integer as strtol() with base 0 does: 0x1f, 0777, leading blanks, a sign, no rest."""
    match = _C_INTEGER.fullmatch(text)
    if match is None:
        raise ValueError("not an integer")
    sign, hexadecimal, octal, decimal = match.groups()
    magnitude = int(hexadecimal, 16) if hexadecimal else int(octal, 8) if octal else int(decimal)
    return -magnitude if sign == "-" else magnitude


def parse_c_seconds(text: str) -> float:
    """Read a time in seconds as strtod() does; like PgBouncer, cut off what is finer than a microsecond."""
    match = _C_FLOAT.fullmatch(text)
    if match is None:
        raise ValueError("not a number")
    try:
        microseconds = (float.fromhex(text) if match["hex"] else float(text)) * _MICROSECONDS
    except OverflowError as error:
        raise ValueError("out of range") from error
    if not 0 <= microseconds < 2**63:
        raise ValueError("out of range")
    return int(microseconds) / _MICROSECONDS


class Kind(ABC):
    """The type of a setting: `parse` reads a text or raises ValueError, `show` is for SHOW CONFIG."""

    expected: str
    """What `parse` accepts, to finish the sentence "expected ..."."""
    null: Any = 0
    """The value of a setting that has no default (NULL in SHOW CONFIG)."""

    @abstractmethod
    def parse(self, text: str) -> Any: ...

    @abstractmethod
    def show(self, value: Any) -> str | None: ...


class Text(Kind):
    """Any text, kept as it is; quotes are ordinary characters."""

    expected = "text"
    null = None

    def parse(self, text: str) -> str:
        return text

    def show(self, value: str | None) -> str | None:
        return value


class DatabaseName(Text):
    """The name of an entry of `[databases]`, so not the admin console's."""

    expected = f'a database other than the reserved "{RESERVED_DATABASE}"'

    def parse(self, text: str) -> str:
        if text == RESERVED_DATABASE:
            raise ValueError("reserved")
        return text


class Int(Kind):
    """An integer; booleans are integers too, 0 is off."""

    def __init__(self, low: int = INT32_MIN, high: int = INT32_MAX) -> None:
        self._low = low
        self._high = high
        self.expected = f"an integer from {low} to {high}"

    def parse(self, text: str) -> int:
        value = parse_c_integer(text)
        if not self._low <= value <= self._high:
            raise ValueError("out of range")
        return value

    def show(self, value: int) -> str:
        return str(value)


class Seconds(Kind):
    """A time in seconds, kept to the microsecond."""

    expected = "a number of seconds, 0 or more, without a unit"

    def parse(self, text: str) -> float:
        return parse_c_seconds(text)

    def show(self, value: float) -> str:
        return f"{value:g}"


E = TypeVar("E", bound=Enum)


class Choice(Kind, Generic[E]):
    """One of the names of an enumeration, in any case; `names` are all of them as they are shown."""

    def __init__(self, enumeration: type[E]) -> None:
        self._members = {_shown(member): member for member in enumeration}
        self.names = tuple(self._members)
        self.expected = "one of " + ", ".join(self.names)

    def parse(self, text: str) -> E:
        member = self._members.get(text.lower())
        if member is None:
            raise ValueError(f"expected {self.expected}")
        return member

    def show(self, value: E) -> str:
        return _shown(value)


def _shown(member: Enum) -> str:
    return member.name.lower().replace("_", "-")
