"""Regular expressions of `auth_ident_file`, whose work is bounded whatever they are tried on."""

import re
from enum import Enum, auto
from typing import Final, TypeAlias

from pooler.auth.fields import shown

MAX_SYSTEM_USER: Final = 255
"""Characters of a name that regular expressions are tried on: a Unix user and a DNS name have fewer, the
common name of a certificate up to 64 (X.520). A longer one matches nothing.
"""

MAX_PROGRAM: Final = 512
"""Steps that a regular expression may have; `[a-z]{1,255}` has 510."""

MAX_NESTING: Final = 20
"""Levels of groups in a regular expression."""

MAX_REPEAT: Final = 255
"""Highest number in `{m,n}`, PostgreSQL's."""


class Regex:
    """A regular expression, of PostgreSQL's kind but without back references, constraints other than `^` and
    `$`, options and collating elements. Letters and digits are those of ASCII.

    `re` needs longer than anybody can wait for some expressions and names, so it only ever matches single
    characters here. The rest takes at most one step for each place in the name and step of the program.

    Where a name can be matched in several ways, the one that Perl and Python would find counts. Raises
    ValueError for what is not understood.
    """

    __slots__ = ("_program", "groups")

    def __init__(self, text: str) -> None:
        compiler = _Compiler(text)
        self._program = tuple(compiler.compile())
        self.groups = compiler.groups

    def expand(self, name: str, template: str) -> str | None:
        """The template, with the first group in place of its first `\\1`; None if the name does not match."""
        if len(name) > MAX_SYSTEM_USER:
            return None
        span = self._search(name)
        if span is None or "\\1" not in template:
            return None if span is None else template
        start, end = span
        return None if start < 0 or end < 0 else template.replace("\\1", name[start:end], 1)

    def _search(self, name: str) -> tuple[int, int] | None:
        """Where the first group matched (-1, -1 if it did not), or None without a match.

        All ways are tried in the order of preference, but none of them twice from the same step and place.
        """
        program, size = self._program, len(name) + 1
        seen = bytearray(len(program) * size)
        ways = [(0, at, -1, -1) for at in reversed(range(size))]
        while ways:
            here, at, start, end = ways.pop()
            if here == len(program):
                return start, end
            if seen[here * size + at]:
                continue
            seen[here * size + at] = 1
            step = program[here]
            if isinstance(step, tuple):
                ways.extend((here + jump, at, start, end) for jump in reversed(step))
            elif step is _Mark.OPEN:
                ways.append((here + 1, at, at, end))
            elif step is _Mark.CLOSE:
                ways.append((here + 1, at, start, at))
            elif isinstance(step, re.Pattern):
                if step.match(name, at):
                    ways.append((here + 1, at + 1, start, end))
            elif at == (0 if step is _Mark.BEGIN else len(name)):
                ways.append((here + 1, at, start, end))
        return None


class _Mark(Enum):
    """A step that takes no character: the ends of the name, and of the first group."""

    BEGIN = auto()
    END = auto()
    OPEN = auto()
    CLOSE = auto()


_Step: TypeAlias = re.Pattern[str] | _Mark | tuple[int, ...]
"""A character, a mark, or jumps to other steps: how many steps forward, the preferred one first."""

_QUANTIFIER: Final = re.compile(r"(?:([*+?])|\{([0-9]{1,9})(?:(,)([0-9]{1,9})?)?\})(\??)")
_RANGES: Final = {"*": (0, None), "+": (1, None), "?": (0, 1)}
_BRACKETS: Final = re.compile(r"\[(\^?+)(\]?+(?:\[:[a-z]+:\]|\\.|[^]\\[])*+)\]", re.DOTALL)
_BRACKET_ITEM: Final = re.compile(r"\[:([a-z]+):\]|\\([dsw])|(\\?.)(?:-(\\?.))?", re.DOTALL)
_CLASSES: Final = {
    "alnum": "0-9A-Za-z",
    "alpha": "A-Za-z",
    "blank": " \t",
    "digit": "0-9",
    "lower": "a-z",
    "space": " \t\n\v\f\r",
    "upper": "A-Z",
    "xdigit": "0-9A-Fa-f",
}


class _Compiler:
    """Makes a program of an expression, from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._depth = 0
        self.groups = 0

    def compile(self) -> list[_Step]:
        if not self._text:
            raise ValueError("the regular expression is empty")
        program = self._alternatives()
        if self._at < len(self._text):
            raise self._error("a ) has no (")
        return program

    def _alternatives(self) -> list[_Step]:
        branches = [self._branch()]
        while self._take("|"):
            branches.append(self._branch())
        program = branches.pop()
        for branch in reversed(branches):
            # Try the branch; behind it, jump over the others.
            program = _limited([(1, len(branch) + 2), *branch, (len(program) + 1,), *program])
        return program

    def _branch(self) -> list[_Step]:
        program: list[_Step] = []
        while self._at < len(self._text) and self._text[self._at] not in "|)":
            program = _limited(program + self._piece())
        return program

    def _piece(self) -> list[_Step]:
        anchor = self._text[self._at] in "^$"
        body = self._atom()
        quantifier = _QUANTIFIER.match(self._text, self._at)
        if quantifier is None:
            return body
        if anchor:
            raise self._error("^ and $ cannot be repeated")
        self._at = quantifier.end()
        if _QUANTIFIER.match(self._text, self._at):
            raise self._error("two quantifiers follow each other")
        low, high = self._range(quantifier)
        return _repeated(body, low, high, lazy=bool(quantifier[5]))

    def _range(self, quantifier: re.Match[str]) -> tuple[int, int | None]:
        if quantifier[1]:
            return _RANGES[quantifier[1]]
        low = int(quantifier[2])
        high = int(quantifier[4]) if quantifier[4] else None if quantifier[3] else low
        if max(low, high or 0) > MAX_REPEAT or (high is not None and high < low):
            raise self._error("numbers of repetitions are not valid")
        return low, high

    def _atom(self) -> list[_Step]:
        if self._text.startswith("[", self._at):
            return [self._brackets()]
        char = self._next()
        if char == "(":
            return self._group()
        if char == "\\":
            return [self._escape()]
        if char in "*+?" or (char == "{" and self._text[self._at : self._at + 1].isdigit()):
            raise self._error("a quantifier has nothing to repeat")
        if char in "^$":
            return [_Mark.BEGIN if char == "^" else _Mark.END]
        return [re.compile("." if char == "." else re.escape(char), re.DOTALL)]

    def _group(self) -> list[_Step]:
        captures = not self._take("?:")
        if captures and self._take("?"):
            raise self._error("only (?: is supported of what begins with (?")
        self.groups += captures
        first = captures and self.groups == 1
        self._depth += 1
        if self._depth > MAX_NESTING:
            raise self._error("groups are nested too deeply")
        body = self._alternatives()
        self._depth -= 1
        if not self._take(")"):
            raise self._error("a ( has no )")
        return [_Mark.OPEN, *body, _Mark.CLOSE] if first else body

    def _escape(self) -> re.Pattern[str]:
        char = self._next()
        if char in "dswDSW":
            return re.compile("\\" + char, re.ASCII)
        return re.compile(self._literal("\\" + char), re.DOTALL)

    def _brackets(self) -> re.Pattern[str]:
        match = _BRACKETS.match(self._text, self._at)
        if match is None:
            raise self._error("a [ has no ], or there is something in between that is not supported")
        self._at = match.end()
        items = "".join(map(self._bracket_item, _BRACKET_ITEM.finditer(match[2])))
        try:
            return re.compile(f"[{match[1]}{items}]", re.ASCII)
        except re.error:
            raise self._error("a range is not valid") from None

    def _bracket_item(self, item: re.Match[str]) -> str:
        if item[1]:
            if item[1] not in _CLASSES:
                raise self._error(f"there is no character class {shown(item[1])}")
            return _CLASSES[item[1]]
        if item[2]:
            return "\\" + item[2]
        return "-".join(self._literal(char) for char in item.group(3, 4) if char)

    def _literal(self, char: str) -> str:
        """A character, maybe behind a backslash, for `re`."""
        if char[0] == "\\" and (len(char) == 1 or (char[1].isascii() and char[1].isalnum())):
            raise self._error(f"escape {shown(char)} is not supported")
        return re.escape(char[-1])

    def _take(self, text: str) -> bool:
        if not self._text.startswith(text, self._at):
            return False
        self._at += len(text)
        return True

    def _next(self) -> str:
        if self._at == len(self._text):
            raise self._error("it ends in a backslash")
        self._at += 1
        return self._text[self._at - 1]

    def _error(self, message: str) -> ValueError:
        return ValueError(f"regular expression {shown(self._text)}: {message}")


def _limited(program: list[_Step]) -> list[_Step]:
    if len(program) > MAX_PROGRAM:
        raise ValueError("the regular expression is too long")
    return program


def _repeated(body: list[_Step], low: int, high: int | None, lazy: bool) -> list[_Step]:
    """A body `low` to `high` times, as often as possible or, if `lazy`, as seldom."""
    size = len(body)
    program = body * low
    if high is None:
        return _limited([*program, _choice(size + 2, lazy), *body, (-size - 1,)])
    return _limited(program + [_choice(size + 1, lazy), *body] * (high - low))


def _choice(past: int, lazy: bool) -> tuple[int, int]:
    """Whether to go on with the next step or `past` it."""
    return (past, 1) if lazy else (1, past)
