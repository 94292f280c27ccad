"""Connect strings: the `key=value` lists of `[databases]`, `[users]` and `[peers]`."""

import re
from typing import Final

_KEY: Final = re.compile(r"([^= ]+) *= *")
_QUOTED: Final = re.compile(r"'((?:[^']|'')++)'(?: |\Z)")
_BARE: Final = re.compile(r"([^' ][^ ]*)")


def parse_connstr(text: str) -> tuple[tuple[str, str], ...]:
    """Split a connect string into its pairs, in order; when a key comes twice the last one is meant to count.

    Only the space separates. A value in single quotes may hold anything, `''` is a quote in it; an empty
    value is refused. After a closing quote only a space may stand (PgBouncer swallows any character there).
    Raises ValueError, whose text names keys and positions but never a value, which may be a password.
    """
    pairs = []
    at = _skip_spaces(text, 0)
    while at < len(text):
        key = _KEY.match(text, at)
        if key is None:
            raise ValueError(f"syntax error in connection string: expected key=value at character {at + 1}")
        value = _QUOTED.match(text, key.end()) or _BARE.match(text, key.end())
        if value is None:
            raise ValueError(f"syntax error in connection string: value of {key[1]} is empty or badly quoted")
        pairs.append((key[1], value[1].replace("''", "'") if value.re is _QUOTED else value[1]))
        at = _skip_spaces(text, value.end())
    return tuple(pairs)


def _skip_spaces(text: str, at: int) -> int:
    while text.startswith(" ", at):
        at += 1
    return at
