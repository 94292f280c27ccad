"""Words and lines of `auth_hba_file` and `auth_ident_file`.

A line holds words, quoted texts and commas, and `#` begins a comment. As in PostgreSQL, a line that ends in a
backslash goes on in the next one.
"""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from pooler.config.kinds import WHITESPACE

_TOKEN: Final = re.compile(
    rf'[{WHITESPACE}]*+(?:(?P<end>\Z|#)|(?P<comma>,)|"(?P<quoted>(?:[^"]|"")*+)"|(?P<plain>[^{WHITESPACE},#"]++))'
)
_COMMENTED: Final = re.compile(r'[^"#]*+(?:"[^"]*+"[^"#]*+)*+#')


def read_text(path: str) -> str:
    """The text of a file; bytes that are not UTF-8 become surrogates (PEP 383). ValueError says why not."""
    try:
        with open(path, "rb") as file:
            return file.read().decode("utf-8", "surrogateescape")
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a file name"
        raise ValueError(f'could not load file "{path}": {reason}') from None


def logical_lines(text: str) -> Iterator[tuple[int, str]]:
    """The lines with their numbers from 1; continued lines are one, with the number of the first.

    The backslash at the end of a comment continues nothing, or it would hide the next rule.
    """
    start = 1
    parts: list[str] = []
    for number, line in enumerate(text.split("\n"), start=1):
        line = line.removesuffix("\r")
        if line.endswith("\\") and not _COMMENTED.match(line):
            parts.append(line[:-1])
            continue
        yield start, "".join((*parts, line))
        start = number + 1
        parts.clear()
    if parts:
        yield start, "".join(parts)


def shown(text: str) -> str:
    """A text of the file as an error message has it: quoted, cut, and without invisible characters."""
    cut = text if len(text) <= 64 else text[:61] + "..."
    visible = (char if char.isprintable() else ascii(char)[1:-1] for char in cut)
    return '"' + "".join(visible) + '"'


class Token(NamedTuple):
    """A word, a quoted text (without its quotes) or a comma."""

    text: str
    quoted: bool


_COMMA: Final = Token(",", False)


def plain_name(token: Token) -> str:
    """The name that a token is; raises ValueError for what means something else to PostgreSQL."""
    if token.quoted or not token.text.startswith(("+", "/")):
        return token.text
    what = "groups" if token.text[0] == "+" else "regular expressions"
    raise ValueError(f"{what} are not supported here: quote {shown(token.text)} if it is a name")


class Fields:
    """The tokens of one line, from left to right; None is the end. Raises ValueError for an open quote."""

    __slots__ = ("_line", "_rest", "token")

    def __init__(self, line: str) -> None:
        if "\0" in line:
            raise ValueError("there is a zero byte in this line")
        self._line = line
        self._rest = 0
        self.token: Token | None = None
        self.advance()

    def advance(self) -> None:
        """Goes on to the next token."""
        match = _TOKEN.match(self._line, self._rest)
        if match is None:
            raise ValueError("a quote is not closed")
        self._rest = match.end()
        if match["end"] is not None:
            self.token, self._rest = None, len(self._line)
        elif match["comma"]:
            self.token = _COMMA
        elif match["quoted"] is not None:
            self.token = Token(match["quoted"].replace('""', '"'), True)
        else:
            self.token = Token(match["plain"], False)

    def comma(self) -> bool:
        """Takes a comma if one is next."""
        if self.token != _COMMA:
            return False
        self.advance()
        return True

    def is_word(self, word: str) -> bool:
        """Whether this word is next, without quotes."""
        return self.token == Token(word, False)

    def name(self, what: str) -> Token:
        """Takes a word or a quoted text; raises ValueError that `what` is missing."""
        token = self.token
        if token is None or token == _COMMA:
            raise ValueError(f"{what} is missing" if token is None else f"{what} is missing before a comma")
        self.advance()
        return token

    def word(self, what: str) -> str:
        """Takes a word; raises ValueError that `what` is missing or quoted."""
        token = self.name(what)
        if token.quoted:
            raise ValueError(f"{what} cannot be quoted")
        return token.text

    def rest(self) -> str:
        """The text behind the token that is next, without the white space around it."""
        return self._line[self._rest :].strip(WHITESPACE)
