"""What is typed to filter rows: words, and `column op value`, joined by blanks; all of them must hold.

`=` and `!=` are exact, `<` `<=` `>` `>=` compare numbers as numbers, `~` is "contains", caseless. A word is
looked for, caseless, in all columns that are shown, in the values as they came. Quotes keep blanks together.
"""

from __future__ import annotations

import difflib
import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any, TypeAlias

from tui.widgets.columns import Column, Kind
from tui.widgets.snapshot import SEPARATOR, Snapshot

Test: TypeAlias = Callable[[Any], bool]

# A quote that is not closed yet reaches to the end: it is being typed.
_VALUE = r"""(?:"(?P<double>[^"]*)(?:"|$)|'(?P<single>[^']*)(?:'|$)|(?P<bare>\S+))"""
_COMPARISON = re.compile(rf"(?P<name>\w+)\s*(?P<op>!=|<=|>=|=|<|>|~)\s*{_VALUE}?")
_WORD = re.compile(_VALUE)

_NUMBERS = (int, float, Decimal)

_ORDERS: Mapping[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


@dataclass(frozen=True, slots=True)
class FilterError:
    """Why a text is no filter, in words for the one who types it."""

    message: str


@dataclass(frozen=True, slots=True)
class Filter:
    """Words, caseless, and tests of single columns by their number."""

    words: tuple[str, ...] = ()
    tests: tuple[tuple[int, Test], ...] = ()

    def rows(self, snapshot: Snapshot, shown: Sequence[int]) -> Sequence[int]:
        """The numbers of the rows for which all of it holds, in the order of `snapshot`."""
        left: Sequence[int] = range(len(snapshot))
        for column, test in self.tests:
            values = snapshot.values(column)
            left = [number for number in left if test(values[number])]
        for word in self.words:
            found = _rows_with(word, snapshot, shown)
            left = [number for number in left if number in found]
        return left


def _rows_with(word: str, snapshot: Snapshot, shown: Sequence[int]) -> set[int]:
    found: set[int] = set()
    for column in shown:
        folded = snapshot.folded(column)
        if word in folded:
            found.update(number for number, text in enumerate(folded.split(SEPARATOR)) if word in text)
    return found


def parse(text: str, columns: Sequence[Column]) -> Filter | FilterError:
    """The filter that `text` says, or what is wrong with it."""
    words: list[str] = []
    tests: list[tuple[int, Test]] = []
    rest = text.strip()
    while rest:
        match = _COMPARISON.match(rest)
        if match is None:
            match = _WORD.match(rest)
            assert match is not None, "what is not blank is a word"
            words.append(_value(match).casefold())
        else:
            test = _comparison(match, columns)
            if isinstance(test, FilterError):
                return test
            tests.append(test)
        rest = rest[match.end() :].lstrip()
    return Filter(tuple(filter(None, words)), tuple(tests))


def _value(match: re.Match[str]) -> str:
    return match["double"] or match["single"] or match["bare"] or ""


def _comparison(match: re.Match[str], columns: Sequence[Column]) -> tuple[int, Test] | FilterError:
    name, op = match["name"], match["op"]
    names = [column.name.casefold() for column in columns]
    headings = [column.title.casefold() for column in columns]
    if name.casefold() in headings and name.casefold() not in names:
        names = headings
    if name.casefold() not in names:
        near = difflib.get_close_matches(name.casefold(), names, 1)
        return FilterError(f"no column {name}" + (f": {near[0]}?" if near else ""))
    if match["double"] is None and match["single"] is None and match["bare"] is None:
        return FilterError(f'{name} {op} needs a value; "" is the empty one')
    number = names.index(name.casefold())
    value = _value(match)
    if op == "~":
        return number, _contains(value)
    if columns[number].kind is Kind.TEXT:
        return number, _text_test(op, value)
    if not value and op in ("=", "!="):
        return number, _text_test(op, value)
    parsed = _number(value)
    if parsed is None:
        return FilterError(f"{name} holds numbers, {value or 'nothing'} is none")
    return number, _number_test(op, parsed)


def _number(text: str) -> int | float | None:
    try:
        return int(text)
    except ValueError:
        pass
    try:
        value = float(text)
    except ValueError:
        return None
    return None if math.isnan(value) else value


def _text(value: Any) -> str:
    return "" if value is None else str(value)


def _contains(needle: str) -> Test:
    folded = needle.casefold()
    return lambda value: folded in _text(value).casefold()


def _text_test(op: str, literal: str) -> Test:
    """NULL equals the empty text and is on no side of anything."""
    if op == "=":
        return lambda value: _text(value) == literal
    if op == "!=":
        return lambda value: _text(value) != literal
    order = _ORDERS[op]
    return lambda value: value is not None and order(str(value), literal)


def _number_test(op: str, literal: int | float) -> Test:
    """What is no number is unequal to every number and on no side of it."""
    if op == "=":
        return lambda value: isinstance(value, _NUMBERS) and value == literal
    if op == "!=":
        return lambda value: not isinstance(value, _NUMBERS) or value != literal
    order = _ORDERS[op]
    # NaN is not equal to itself, and a decimal one raises when it is ordered.
    return lambda value: isinstance(value, _NUMBERS) and value == value and order(value, literal)


def condition(column: str, value: str) -> str:
    """The text that selects rows with `value`, to be typed for somebody: nothing in it steers a terminal.

    Of what cannot be written, it asks for the longest part that can.
    """
    for quote in ('"', "'"):
        if quote not in value and (value.isprintable() or not value):
            return f"{column}={quote}{value}{quote}"
    parts = "".join(character if character.isprintable() else '"' for character in value).split('"')
    return f'{column}~"{max(parts, key=len)}"'
