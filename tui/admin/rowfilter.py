"""Conditions and orders that are worked out here, for a pooler that cannot: a stock PgBouncer.

A condition is `column operator value`, several of them joined by AND; an order is a list of columns, each
with ASC or DESC. That is less than SQL, and means the same where it is understood.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, Final

from tui.admin.table import Table

_WORD: Final = re.compile(
    r"""\s*(?:
        (?P<string>'(?:[^']|'')*')
      | (?P<number>-?\d+(?:\.\d+)?(?!\w))
      | (?P<name>\w+|"(?:[^"]|"")*")
      | (?P<operator><>|!=|<=|>=|=|<|>)
      | (?P<comma>,)
    )\s*""",
    re.VERBOSE,
)

_OPERATORS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "LIKE": lambda value, pattern: _like(str(value), str(pattern), 0),
    "ILIKE": lambda value, pattern: _like(str(value), str(pattern), re.IGNORECASE),
}


class NotSimple(ValueError):
    """It takes SQL to work this out; the text says what can be done without."""

    def __init__(self, text: str) -> None:
        super().__init__(
            f"{text}: this pooler has no SQL; what can be worked out without is `column operator value`,"
            " joined by AND, and columns to order by"
        )


@dataclass(frozen=True, slots=True)
class _Word:
    kind: str
    text: str

    @property
    def keyword(self) -> str:
        return self.text.upper() if self.kind == "name" and not self.text.startswith('"') else ""


def selected(table: Table, where: str | None, order_by: str | None, limit: int | None) -> Table:
    """The rows that a condition selects, in an order, and no more than so many. Raises NotSimple, and
    KeyError for a column that there is not.
    """
    rows = list(table.rows)
    if where is not None:
        keep = _condition(table, where)
        rows = [row for row in rows if keep(row)]
    if order_by is not None:
        # The last column first: sorting keeps the order of equal rows.
        for index, descending in reversed(_order(table, order_by)):
            rows.sort(key=_null_last(index), reverse=descending)
    return Table(table.columns, rows if limit is None else rows[:limit])


def _condition(table: Table, text: str) -> Callable[[tuple[Any, ...]], bool]:
    words = _words(text)
    tests: list[Callable[[tuple[Any, ...]], bool]] = []
    position = 0
    while True:
        test, position = _comparison(table, text, words, position)
        tests.append(test)
        if position == len(words):
            return lambda row: all(test(row) for test in tests)
        if words[position].keyword != "AND":
            raise NotSimple(text)
        position += 1


def _comparison(
    table: Table, text: str, words: list[_Word], position: int
) -> tuple[Callable[[tuple[Any, ...]], bool], int]:
    """The comparison that begins at `position`, and where it ends."""
    rest = words[position:]
    if not rest or rest[0].kind != "name":
        raise NotSimple(text)
    index = _index(table, rest[0])
    keywords = [word.keyword for word in rest[1:4]]
    if keywords[:2] == ["IS", "NULL"]:
        return lambda row: row[index] is None, position + 3
    if keywords == ["IS", "NOT", "NULL"]:
        return lambda row: row[index] is not None, position + 4
    if len(rest) < 3 or rest[2].kind not in ("string", "number"):
        raise NotSimple(text)
    compare = _OPERATORS.get(rest[1].keyword or rest[1].text)
    if compare is None:
        raise NotSimple(text)
    return _compared(index, compare, _value(rest[2])), position + 3


def _compared(
    index: int, compare: Callable[[Any, Any], bool], wanted: Decimal | str
) -> Callable[[tuple[Any, ...]], bool]:
    def holds(row: tuple[Any, ...]) -> bool:
        value = row[index]
        if value is None:
            return False
        if isinstance(value, str) == isinstance(wanted, str):
            return compare(value, wanted)
        # `port = '6432'`, or a number of SHOW CONFIG, which is text.
        try:
            return compare(Decimal(value), Decimal(wanted))
        except (ArithmeticError, TypeError, ValueError):
            return False

    return holds


def _order(table: Table, text: str) -> list[tuple[int, bool]]:
    """Which columns, and whether each is descending."""
    found: list[tuple[int, bool]] = []
    words = [*_words(text), _Word("comma", ",")]
    while words:
        if words[0].kind != "name":
            raise NotSimple(text)
        index = _index(table, words.pop(0))
        descending = words[0].keyword == "DESC"
        if words[0].keyword in ("ASC", "DESC"):
            words.pop(0)
        if words.pop(0).kind != "comma":
            raise NotSimple(text)
        found.append((index, descending))
    return found


def _index(table: Table, word: _Word) -> int:
    name = word.text[1:-1].replace('""', '"') if word.text.startswith('"') else word.text.lower()
    if name not in table.columns:
        raise KeyError(name)
    return table.columns.index(name)


def _words(text: str) -> list[_Word]:
    words: list[_Word] = []
    position = 0
    while position < len(text):
        match = _WORD.match(text, position)
        if match is None or match.lastgroup is None:
            raise NotSimple(text)
        words.append(_Word(match.lastgroup, match[match.lastgroup]))
        position = match.end()
    return words


def _value(word: _Word) -> Decimal | str:
    return Decimal(word.text) if word.kind == "number" else word.text[1:-1].replace("''", "'")


def _null_last(index: int) -> Callable[[tuple[Any, ...]], tuple[bool, Any]]:
    """As PostgreSQL sorts: NULL is greater than everything."""
    return lambda row: (row[index] is None, 0 if row[index] is None else row[index])


def _like(value: str, pattern: str, flags: int) -> bool:
    wild = "".join({"%": ".*", "_": "."}.get(char) or re.escape(char) for char in pattern)
    return re.fullmatch(wild, value, flags | re.DOTALL) is not None
