"""The rows of one moment. Nothing here knows a screen or changes once it is built: threads may share it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from operator import itemgetter
from typing import Any, TypeAlias

from tui.widgets.columns import Column

Row: TypeAlias = tuple[Any, ...]
Key: TypeAlias = Hashable

# PostgreSQL's text has no NUL, so it can stand between values.
SEPARATOR = "\0"


@dataclass(frozen=True, slots=True)
class Repeated:
    """The key of a row whose key another row has already; `number` counts from 1."""

    key: Key
    number: int


class Snapshot:
    """The rows of one reply, each under a key that is the same in the next one."""

    __slots__ = ("_folded", "_numbers", "_rows_by_key", "columns", "keys", "rows")

    def __init__(self, columns: Sequence[Column], rows: Iterable[Iterable[Any]], key: Sequence[str]) -> None:
        """`key` names the columns that tell rows apart; those that are not there are passed over.

        Without any of them the place of a row is its key.
        """
        self.columns = tuple(columns)
        self.rows: tuple[Row, ...] = tuple(map(tuple, rows))
        self._numbers: Mapping[str, int] = {column.name: i for i, column in enumerate(self.columns)}
        self.keys = _distinct(self._keys([self._numbers[name] for name in key if name in self._numbers]))
        self._rows_by_key = {key: i for i, key in enumerate(self.keys)}
        self._folded: dict[int, str] = {}

    def _keys(self, numbers: Sequence[int]) -> list[Key]:
        if not numbers:
            return list(range(len(self.rows)))
        return list(map(itemgetter(*numbers), self.rows))

    def __len__(self) -> int:
        return len(self.rows)

    def __contains__(self, key: Key) -> bool:
        return key in self._rows_by_key

    def row(self, key: Key) -> Row | None:
        """The row under `key`, or None when it has gone."""
        number = self._rows_by_key.get(key)
        return None if number is None else self.rows[number]

    def column_number(self, name: str) -> int | None:
        return self._numbers.get(name)

    def values(self, column: int) -> list[Any]:
        return list(map(itemgetter(column), self.rows))

    def folded(self, column: int) -> str:
        """All values of a column as one caseless text, which is searched fast, SEPARATOR between them."""
        text = self._folded.get(column)
        if text is None:
            text = self._folded[column] = _joined(self.values(column)).casefold()
        return text


def _joined(values: list[Any]) -> str:
    if None in values:
        values = ["" if value is None else value for value in values]
    try:
        text = SEPARATOR.join(values)
    except TypeError:
        values = list(map(str, values))
        text = SEPARATOR.join(values)
    if text.count(SEPARATOR) == max(0, len(values) - 1):
        return text
    return SEPARATOR.join([value.replace(SEPARATOR, " ") for value in values])


def _distinct(keys: list[Key]) -> list[Key]:
    if len(set(keys)) == len(keys):
        return keys
    seen: Counter[Key] = Counter()
    distinct: list[Key] = []
    for key in keys:
        distinct.append(Repeated(key, seen[key]) if seen[key] else key)
        seen[key] += 1
    return distinct
