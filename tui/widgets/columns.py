"""What a column holds and how its cells are written."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any


class Kind(Enum):
    """What a column holds: it says how a filter compares, and to which side the cells go."""

    TEXT = "text"
    NUMBER = "number"


class Level(Enum):
    """How a cell is set off from its neighbours."""

    PLAIN = "plain"
    MUTED = "muted"
    GOOD = "good"
    WARNING = "warning"
    CRITICAL = "critical"


# Before the text, for those who see no colours.
SYMBOLS = {Level.GOOD: "● ", Level.WARNING: "▲ ", Level.CRITICAL: "✖ "}


def plain(value: Any) -> str:
    """The text of a cell in a column that has no format of its own."""
    if value is None:
        return "–"
    if isinstance(value, float):
        return f"{value:.3f}".rstrip("0").rstrip(".")
    return str(value)


@dataclass(frozen=True, slots=True)
class Column:
    """One column: widths are in cells of the terminal, `max_width` cuts, `min_width` keeps."""

    name: str
    kind: Kind = Kind.TEXT
    title: str = ""
    format: Callable[[Any], str] = plain
    level: Callable[[Any], Level] | None = None
    align_right: bool | None = None
    min_width: int = 3
    max_width: int = 40

    @property
    def heading(self) -> str:
        return self.title or self.name

    @property
    def right(self) -> bool:
        """Whether cells keep to the right: numbers do, unless told."""
        return self.kind is Kind.NUMBER if self.align_right is None else self.align_right
