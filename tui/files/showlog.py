"""SHOW LOG of our pooler, asked again and again: only what is new is sent, and nothing comes twice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

ALL: Final = "SHOW LOG"

Row = tuple[int, str, str, str]
"""Number, time, level, message."""


class ShowLog:
    """What to ask next, and what of the answer is new.

    The last line that is known is asked for again: if it is another now, or none, then the pooler was started
    anew and counts from 1.
    """

    def __init__(self) -> None:
        self._last: Row | None = None

    @property
    def query(self) -> str:
        """What to ask."""
        return ALL if self._last is None else f"{ALL} WHERE line >= {self._last[0]}"

    def take(self, rows: Sequence[Sequence[Any]]) -> list[Row] | None:
        """The new lines of the answer to `query`; None if it has to be asked again, from the first line."""
        found: list[Row] = [(int(row[0]), str(row[1]), str(row[2]), str(row[3])) for row in rows]
        last = self._last
        if last is not None:
            if not found or (found[0][0] == last[0] and found[0] != last):
                self._last = None
                return None
            if found[0] == last:
                del found[0]
        if found:
            self._last = found[-1]
        return found
