"""The words and texts of a line."""

from __future__ import annotations

import re
from collections.abc import Iterator

from tests.wire.script import Token

SEPARATOR = Token(";", False)

_TOKEN = re.compile(
    r"""\s*(?:
      (?P<key>[\w.]+=)?"(?P<text>(?:[^"\\]|\\.)*)"(?:\*(?P<times>\d+))?
    | (?P<bare>;|[^\s;"]+)
    )""",
    re.VERBOSE | re.ASCII,
)
_ESCAPE = re.compile(r"\\(x[0-9a-fA-F]{2}|.)")
_NAMED_ESCAPES = {"n": "\n", "t": "\t", "0": "\0", "\\": "\\", '"': '"'}


def tokenize(line: str) -> list[Token]:
    """Words, texts in quotes and semicolons. `"x"*3` is "xxx", and `+` glues two texts together.

    Raises ValueError.
    """
    tokens: list[Token] = []
    glue = False
    for token in _tokens(line):
        if token == Token("+", False):
            if glue or not tokens or not tokens[-1].quoted:
                raise ValueError("there is no text in front of +")
            glue = True
        elif glue:
            if not token.quoted:
                raise ValueError("there is no text behind +")
            tokens[-1] = Token(tokens[-1].text + token.text, True)
            glue = False
        else:
            tokens.append(token)
    if glue:
        raise ValueError("there is no text behind +")
    return tokens


def _tokens(line: str) -> Iterator[Token]:
    position = 0
    line = line.rstrip()
    while position < len(line):
        found = _TOKEN.match(line, position)
        if found is None:
            raise ValueError(f"cannot be read from here on: {line[position:].strip()}")
        position = found.end()
        if found["bare"] is not None:
            yield Token(found["bare"], False)
            continue
        text = _ESCAPE.sub(_unescaped, found["text"]) * int(found["times"] or 1)
        # key="a text" is one word, since only a bare word can be a key.
        yield Token(found["key"] + text, False) if found["key"] else Token(text, True)


def _unescaped(found: re.Match[str]) -> str:
    code = found[1]
    if code[0] == "x" and len(code) == 3:
        return chr(int(code[1:], 16))
    if code not in _NAMED_ESCAPES:
        raise ValueError(f"unknown escape \\{code}")
    return _NAMED_ESCAPES[code]
