"""Where somebody is in a view: cursor and selection, by key, and the row at the top of the screen."""

from __future__ import annotations

from tui.widgets.snapshot import Key
from tui.widgets.view import View


class Place:
    """Cursor and selection in a view that is replaced under them.

    There is no cursor before the first move: until then the top rows are watched, whichever they are. From
    then on the cursor belongs to its row, and leaves it only when told or when the view has that row no more.
    In that case it is `adrift` until the next move: nobody has chosen the row that it is on. Neither has who
    selected rows of which none is left.
    """

    __slots__ = ("_trail", "adrift", "cursor", "selected", "view")

    def __init__(self, view: View) -> None:
        self.view = view
        self.cursor: Key | None = None
        self.adrift = False
        # Replaced, never changed: who was told of it can see by identity that it is another.
        self.selected: frozenset[Key] = frozenset()
        # The rows that the cursor passed over while selecting, and whether each was selected before.
        self._trail: list[tuple[Key, bool]] = []

    @property
    def position(self) -> int | None:
        """Of the cursor, from the first row of the view."""
        return None if self.cursor is None else self.view.position(self.cursor)

    @property
    def hidden(self) -> int:
        """How many selected rows the filter hides."""
        return sum(key not in self.view for key in self.selected)

    def replace(self, view: View, top: int, height: int) -> int:
        """Take `view` for the old one, of which `height` rows from `top` were seen; the new top is returned.

        The row under the cursor stays on its line of the screen, else the row at the top does. Who was at the
        very top without a cursor in sight stays there. Selected rows are forgotten when they are no more, not
        when a filter hides them.
        """
        old, position, chosen = self.view, self.position, self.cursor
        anchor = self._anchor(view, top, height)
        self.view = view
        self.cursor = None if position is None else _survivor(old, view, position)
        self.adrift |= chosen is not None and chosen not in view.snapshot
        if not all(key in view.snapshot for key in self.selected):
            self.selected = frozenset(key for key in self.selected if key in view.snapshot)
            self.adrift |= not self.selected
        self._trail = [(key, before) for key, before in self._trail if key in view]
        lowest = max(0, len(view) - height)
        if anchor is None:
            return 0
        key = _survivor(old, view, anchor)
        place = None if key is None else view.position(key)
        return 0 if place is None else min(max(0, place - (anchor - top)), lowest)

    def _anchor(self, view: View, top: int, height: int) -> int | None:
        """The position that keeps its line of the screen."""
        position = self.position
        if position is not None and top <= position < top + height:
            return position
        if top == 0 or not len(self.view):
            return None
        if position is None and _order(view) != _order(self.view):
            return None
        return min(top, len(self.view) - 1)

    def move_to(self, position: int) -> None:
        self._trail = []
        self._put(position)

    def _put(self, position: int) -> None:
        self.adrift = False
        if len(self.view):
            self.cursor = self.view.keys[min(max(0, position), len(self.view) - 1)]

    def extend_to(self, position: int) -> None:
        """Select the row of the cursor and the one that it goes to, a neighbour; going back unselects again.

        Only rows that the cursor was on become selected: a range between two keys could have got other rows
        between them since.
        """
        if self.cursor is None:
            self.move_to(position)
            return
        if not self._trail or self._trail[-1][0] != self.cursor:
            self._trail = [(self.cursor, self.cursor in self.selected)]
            self.selected |= {self.cursor}
        self._put(position)
        if len(self._trail) > 1 and self._trail[-2][0] == self.cursor:
            left, before = self._trail.pop()
            if not before:
                self.selected -= {left}
        elif self._trail[-1][0] != self.cursor:
            self._trail.append((self.cursor, self.cursor in self.selected))
            self.selected |= {self.cursor}

    def select_through(self, position: int) -> None:
        """Select from the cursor to `position`, as the rows stand now, and go there."""
        start = self.position
        first, last = sorted((position if start is None else start, position))
        self.selected |= set(self.view.keys[first : last + 1])
        self.move_to(position)

    def toggle(self) -> None:
        if self.cursor is not None:
            self.selected ^= {self.cursor}
            self.adrift = False
            self._trail = []

    def select_all(self) -> None:
        """All rows of the view: those that a filter hides are none of it."""
        self.selected |= set(self.view.keys)
        self._trail = []

    def clear(self) -> bool:
        """Forget the selection, or else the cursor; False when there was neither."""
        self._trail = []
        self.adrift = False
        if self.selected:
            self.selected = frozenset()
            return True
        had_cursor = self.cursor is not None
        self.cursor = None
        return had_cursor


def _order(view: View) -> tuple[str, bool]:
    return view.arrangement.sort, view.arrangement.descending


def _survivor(old: View, new: View, position: int) -> Key | None:
    """The row at `position` of the old view, or its nearest neighbour below, else above, that is left."""
    if old.keys[position] in new:
        return old.keys[position]
    for key in old.keys[position + 1 :]:
        if key in new:
            return key
    for key in reversed(old.keys[:position]):
        if key in new:
            return key
    return new.keys[min(position, len(new) - 1)] if len(new) else None
