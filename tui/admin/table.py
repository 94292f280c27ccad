"""What an admin database answers, as values."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Table:
    """Rows of one moment. Values are int, Decimal, float, bool, str, bytes, datetime or None."""

    columns: tuple[str, ...]
    rows: Sequence[tuple[Any, ...]]

    def __len__(self) -> int:
        return len(self.rows)

    def dicts(self) -> Iterator[dict[str, Any]]:
        """Each row by column name."""
        for row in self.rows:
            yield dict(zip(self.columns, row, strict=True))

    def pairs(self) -> Mapping[Any, Any]:
        """The second column by the first: SHOW STATE, LISTS, CONFIG."""
        return {row[0]: row[1] for row in self.rows}


@dataclass(frozen=True, slots=True)
class Notice:
    """What the pooler says beside the answer; SHOW HELP is nothing else."""

    severity: str
    message: str
    detail: str | None = None


@dataclass(frozen=True, slots=True)
class Reply:
    """The whole answer to one command; `table` is None where it has no rows to give."""

    tag: str
    table: Table | None = None
    notices: tuple[Notice, ...] = field(default=())
