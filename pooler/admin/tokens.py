"""SQL taken apart, as far as what drivers send by themselves needs it."""

import re
from typing import Final

BLANK: Final = " \t\n\r\f\v"

_TOKEN: Final = re.compile(
    r"""
    [ \t\n\r\f\v]+ | --[^\n]* | /\*(?:[^*]|\*(?!/))*\*/
    | (?P<token>
        [a-z_][a-z0-9_$]* | [0-9]+(?:\.[0-9]+)? | \$[0-9]+ | "(?:[^"]|"")+" | '(?:[^']|'')*' | [^\s\w"'$]
      )
    """,
    re.IGNORECASE | re.ASCII | re.VERBOSE,
)

Tokens = tuple[str, ...]
"""Words in lower case; names and strings with their quotes; numbers and signs."""


def split(text: str) -> list[Tokens] | None:
    """The tokens of each statement, without empty statements; None if there is anything that is no token."""
    parts: list[list[str]] = [[]]
    position = 0
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            return None
        position = match.end()
        token = match["token"]
        if token == ";":
            parts.append([])
        elif token is not None:
            parts[-1].append(token if token[0] in "\"'" else token.lower())
    return [tuple(part) for part in parts if part]


def name_of(token: str) -> str:
    """The name that a word, or a name in double quotes, stands for."""
    return token[1:-1].replace('""', '"') if token.startswith('"') else token


def is_name(token: str) -> bool:
    """Whether it is a word, or a name in double quotes."""
    return token[0] in '"_' or (token.isascii() and token[0].isalpha())
