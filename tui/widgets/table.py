"""The table of every screen: it holds a view of any length and formats only the lines on the screen."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rich.segment import Segment
from rich.style import Style
from textual import events
from textual.actions import SkipAction
from textual.binding import Binding, BindingType
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from tui.widgets.cells import cell, fit, safe, width_of
from tui.widgets.columns import Column, Kind, Level
from tui.widgets.place import Place
from tui.widgets.snapshot import Key, Snapshot
from tui.widgets.view import Arrangement, View, arrange
from tui.widgets.widths import Visible, Widths

# The marks of cursor and selection, which do not scroll sideways.
MARGIN = 2


class SnapshotTable(ScrollView, can_focus=True):
    """Shows views; its owner sorts and filters, is asked for it by SortRequested and answers with `show`.

    Cursor, selection and scroll position belong to rows, by key, whatever view comes (see Place). What rows
    hold is written as it is, never read as markup.
    """

    ALLOW_SELECT = False

    COMPONENT_CLASSES: ClassVar[set[str]] = {
        "table--header",
        "table--sorted",
        "table--cursor",
        "table--selected",
        "table--muted",
        "table--good",
        "table--warning",
        "table--critical",
    }

    DEFAULT_CSS = """
    SnapshotTable {
        background: $surface;
        color: $foreground;
        overflow: auto;
        scrollbar-gutter: stable;
        scrollbar-size: 0 1;
        & > .table--header { background: $panel; color: $foreground; text-style: bold; }
        & > .table--sorted { background: $panel; color: $text-accent; text-style: bold underline; }
        & > .table--selected { background: $secondary-muted; color: $foreground; text-style: bold; }
        & > .table--cursor {
            background: $block-cursor-blurred-background;
            color: $foreground;
            text-style: bold;
        }
        &:focus > .table--cursor {
            background: $block-cursor-background;
            color: $block-cursor-foreground;
            text-style: bold;
        }
        & > .table--muted { color: $text-muted; }
        & > .table--good { color: $text-success; }
        & > .table--warning { color: $text-warning; text-style: bold; }
        & > .table--critical { color: $text-error; text-style: bold; }
    }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("up", "move(-1)", "Up", show=False),
        Binding("down", "move(1)", "Down", show=False),
        Binding("pageup", "page(-1)", "Page up", show=False),
        Binding("pagedown", "page(1)", "Page down", show=False),
        Binding("home", "first", "First row", show=False),
        Binding("end", "last", "Last row", show=False),
        Binding("left", "column(-1)", "Columns left", show=False),
        Binding("right", "column(1)", "Columns right", show=False),
        Binding("shift+up", "extend(-1)", "Select up", show=False),
        Binding("shift+down", "extend(1)", "Select down", show=False),
        Binding("space", "toggle_row", "Select", id="table.select"),
        Binding("ctrl+a", "select_all", "Select all", show=False, id="table.select_all"),
        Binding("escape", "clear", "Clear", show=False, id="table.clear"),
        Binding("enter", "activate", "Detail", id="table.activate"),
        Binding("less_than_sign", "sort(-1)", "Sort left", show=False, id="table.sort_left"),
        Binding("greater_than_sign", "sort(1)", "Sort right", show=False, id="table.sort_right"),
        Binding("o", "reverse", "Reverse order", show=False, id="table.reverse"),
    ]

    @dataclass
    class TableMessage(Message):
        """What a table tells; `control` is the table."""

        table: SnapshotTable

        @property
        def control(self) -> SnapshotTable:
            return self.table

    @dataclass
    class CursorMoved(TableMessage):
        """The cursor is on another row, or on none."""

        key: Key | None

    @dataclass
    class RowActivated(TableMessage):
        """Enter, or a double click, on a row."""

        key: Key

    @dataclass
    class SelectionChanged(TableMessage):
        """Other rows are selected than before."""

        keys: frozenset[Key]

    @dataclass
    class SortRequested(TableMessage):
        """The user wants another order."""

        column: str
        descending: bool

    def __init__(self, *, id: str | None = None, classes: str | None = None) -> None:
        super().__init__(id=id, classes=classes)
        self._place = Place(arrange(Snapshot((), (), ()), Arrangement()))
        self._widths = Widths()
        # By position, of the rows that were on the screen last; strips by what else they show, too.
        self._cells: dict[int, list[tuple[str, Level]]] = {}
        self._strips: dict[tuple[int, bool, bool], Strip] = {}
        self._strips_state: tuple[int, int, bool, int] = (0, 0, False, 0)
        self._told: tuple[Key | None, frozenset[Key]] = (None, frozenset())
        self._page_before = 1

    @property
    def view(self) -> View:
        return self._place.view

    @property
    def cursor_key(self) -> Key | None:
        return self._place.cursor

    @property
    def selected_keys(self) -> frozenset[Key]:
        """Selected rows that are still there, hidden ones too."""
        return self._place.selected

    @property
    def hidden_selected(self) -> int:
        """How many of them the filter hides: who acts on them should be told."""
        return self._place.hidden

    def settle(self) -> bool:
        """Whether the rows that were chosen have gone from under the cursor; said once, then it is taken to
        be where it should.
        """
        adrift = self._place.adrift and not self.selected_keys
        self._place.adrift = False
        return adrift

    @property
    def page(self) -> int:
        """How many rows fit the screen."""
        return max(1, self.container_size.height - 1)

    def show(self, view: View) -> None:
        """Show `view` in place of the last one."""
        top = self._place.replace(view, self.scroll_offset.y, self.page)
        self._cells.clear()
        self._strips.clear()
        self._fit_columns(top, refreshed=True)
        if self.is_attached:
            self.scroll_to(y=top, animate=False, force=True)
        self.refresh()
        self._tell()

    def go_to(self, key: Key) -> bool:
        """Put the cursor on the row of `key`; False when the view does not have it."""
        position = self.view.position(key)
        if position is None:
            return False
        self._place.move_to(position)
        self._moved()
        return True

    def _fit_columns(self, top: int, refreshed: bool) -> None:
        """Widths by the rows on the screen when `top` is the first; only a refresh makes columns narrower."""
        rows = [self._cells_at(place) for place in range(top, min(top + self.page, len(self.view)))]
        sort = self.view.arrangement.sort
        for number, column in enumerate(self.view.columns):
            needed = max((width_of(cells[number][0]) for cells in rows), default=0)
            self._widths.fit(column, max(needed, self._heading_width(column, sort)), refreshed)
        self.virtual_size = Size(MARGIN + self._widths.start_of(self.view.columns), len(self.view) + 1)

    @staticmethod
    def _heading_width(column: Column, sort: str) -> int:
        return width_of(safe(column.heading)) + (2 if column.name == sort else 0)

    def _cells_at(self, position: int) -> list[tuple[str, Level]]:
        cells = self._cells.get(position)
        if cells is None:
            if len(self._cells) > 4 * self.page:
                self._cells.clear()
            row = self.view.row(position)
            cells = [
                cell(column, row[number])
                for column, number in zip(self.view.columns, self.view.shown, strict=True)
            ]
            self._cells[position] = cells
        return cells

    def _tell(self) -> None:
        """Messages about what is no longer as it was last told."""
        cursor, selected = self._told
        self._told = (self.cursor_key, self.selected_keys)
        if cursor != self.cursor_key:
            self.post_message(self.CursorMoved(self, self.cursor_key))
        if selected is not self.selected_keys and selected != self.selected_keys:
            self.post_message(self.SelectionChanged(self, self.selected_keys))

    def watch_scroll_y(self, old_value: float, new_value: float) -> None:
        super().watch_scroll_y(old_value, new_value)
        if round(old_value) != round(new_value):
            self._fit_columns(self.scroll_offset.y, refreshed=False)

    def on_resize(self) -> None:
        page, self._page_before = self._page_before, self.page
        self._fit_columns(self.scroll_offset.y, refreshed=False)
        position = self._place.position
        if position is not None and 0 <= position - self.scroll_offset.y < page:
            self._scroll_into_view(position)

    def notify_style_update(self) -> None:
        super().notify_style_update()
        self._strips.clear()

    def render_line(self, y: int) -> Strip:
        width = self.scrollable_content_region.width
        if y == 0:
            return self._header(width)
        position = self.scroll_offset.y + y - 1
        if position < len(self.view):
            return self._row(position, width)
        text = self._empty_text() if y == 1 and not len(self.view) else ""
        return Strip([Segment(fit(safe(text), width), self.rich_style)], width)

    def _empty_text(self) -> str:
        if self.view.problem:
            return self.view.problem
        return "no row matches the filter" if self.view.arrangement.filter.strip() else "no rows"

    def _header(self, width: int) -> Strip:
        style = self.get_component_rich_style("table--header")
        arrangement = self.view.arrangement
        segments = []
        for column in self._visible(width).columns:
            text, cell_style = safe(column.heading), style
            if column.name == arrangement.sort:
                text += " ↓" if arrangement.descending else " ↑"
                cell_style = self.get_component_rich_style("table--sorted")
            segments.append(Segment(fit(text, self._widths.of(column), column.right), cell_style))
            segments.append(Segment(" ", style))
        margin = "‹ " if self.scroll_offset.x else "  "
        end = "›" if self.virtual_size.width - self.scroll_offset.x > width else ""
        return self._line(margin, segments, width - len(end), style, end)

    def _row(self, position: int, width: int) -> Strip:
        key = self.view.keys[position]
        at_cursor, selected = key == self.cursor_key, key in self._place.selected
        state = (self.scroll_offset.x, width, self.has_focus, self._widths.version)
        if state != self._strips_state or len(self._strips) > 4 * self.page:
            self._strips.clear()
            self._strips_state = state
        strip = self._strips.get((position, at_cursor, selected))
        if strip is None:
            strip = self._strips[position, at_cursor, selected] = self._format(
                position, width, at_cursor, selected
            )
        return strip

    def _format(self, position: int, width: int, at_cursor: bool, selected: bool) -> Strip:
        style = self._row_style(at_cursor, selected)
        cells = self._cells_at(position)
        segments = []
        visible = self._visible(width)
        for column, (text, level) in zip(visible.columns, cells[visible.first :], strict=False):
            cell_style = style
            if level is not Level.PLAIN and not at_cursor:
                cell_style += self.get_component_rich_style(f"table--{level.value}", partial=True)
            segments.append(Segment(fit(text, self._widths.of(column), column.right), cell_style))
            segments.append(Segment(" ", style))
        margin = ("›" if at_cursor else " ") + ("✓" if selected else " ")
        return self._line(margin, segments, width, style)

    def _row_style(self, at_cursor: bool, selected: bool) -> Style:
        if at_cursor:
            return self.get_component_rich_style("table--cursor")
        return self.get_component_rich_style("table--selected") if selected else self.rich_style

    def _line(self, margin: str, segments: list[Segment], width: int, style: Style, end: str = "") -> Strip:
        """`segments`, which begin with the first visible column, cut where the screen begins and ends."""
        offset = self.scroll_offset.x - self._visible(width).start
        content = Strip(Segment.simplify(segments)).crop_extend(offset, offset + width - MARGIN, style)
        line = [Segment(margin, style), *content]
        if end:
            line.append(Segment(end, style))
        return Strip(line, width + len(end))

    def _visible(self, width: int) -> Visible:
        return self._widths.visible(self.view.columns, self.scroll_offset.x, width)

    def _column_at(self, x: int) -> Column | None:
        """The column on the screen at cell `x` of the table."""
        if x < MARGIN:
            return None
        under = self._widths.visible(self.view.columns, self.scroll_offset.x + x - MARGIN, 1).columns
        return under[0] if under else None

    def _row_at(self, y: int) -> int | None:
        position = self.scroll_offset.y + y - 1
        return position if y > 0 and position < len(self.view) else None

    def on_mouse_down(self, event: events.MouseDown) -> None:
        """The row under the pointer is taken when the button goes down: at its release it may be another."""
        offset = event.get_content_offset(self)
        if offset is None or event.button != 1 or (position := self._row_at(offset.y)) is None:
            return
        if event.shift:
            self._place.select_through(position)
        else:
            self._place.move_to(position)
        if event.ctrl:
            self._place.toggle()
        self._moved()

    def on_click(self, event: events.Click) -> None:
        offset = event.get_content_offset(self)
        if offset is None or event.button != 1:
            return
        if offset.y == 0:
            column = self._column_at(offset.x)
            if column is not None:
                self._request_sort(column)
        elif event.chain == 2 and self._row_at(offset.y) == self._place.position:
            self.action_activate()

    def _request_sort(self, column: Column) -> None:
        """By `column`: numbers from the greatest, texts from the first; the other way round when it is so."""
        arrangement = self.view.arrangement
        descending = column.kind is Kind.NUMBER
        if arrangement.sort == column.name:
            descending = not arrangement.descending
        self.post_message(self.SortRequested(self, column.name, descending))

    def _scroll_into_view(self, position: int) -> None:
        top = self.scroll_offset.y
        wanted = min(max(top, position - self.page + 1), position)
        if wanted != top:
            self.scroll_to(y=wanted, animate=False, force=True)

    def _moved(self, before: int | None = None) -> None:
        """Paint and tell what the last key or click did; with `before` it only took the cursor from there."""
        position = self._place.position
        if position is not None:
            self._scroll_into_view(position)
        if position is None or before is None:
            self.refresh()
        else:
            for place in (before, position):
                self.refresh(Region(0, place - self.scroll_offset.y + 1, self.size.width, 1))
        self._tell()

    def _place_cursor(self) -> bool:
        """Put a cursor that is nowhere on the first row on the screen; False when it had its row already.

        The first key only shows where it would act.
        """
        if self._place.position is not None:
            return False
        self._place.move_to(self.scroll_offset.y)
        self._moved()
        return True

    def action_move(self, rows: int) -> None:
        position = self._place.position
        if position is None:
            self._place_cursor()
            return
        self._place.move_to(position + rows)
        self._moved(position)

    def action_page(self, pages: int) -> None:
        self.action_move(pages * max(1, self.page - 1))

    def action_first(self) -> None:
        self._place.move_to(0)
        self._moved()

    def action_last(self) -> None:
        self._place.move_to(len(self.view) - 1)
        self._moved()

    def action_extend(self, rows: int) -> None:
        position = self._place.position
        if position is None:
            self._place_cursor()
            return
        self._place.extend_to(position + rows)
        self._moved(position)

    def action_toggle_row(self) -> None:
        if not self._place_cursor():
            self._place.toggle()
            self._moved()

    def action_select_all(self) -> None:
        self._place.select_all()
        self._moved()

    def action_clear(self) -> None:
        """Selection first, then the cursor; the next escape is the screen's."""
        if not self._place.clear():
            raise SkipAction
        self._moved()

    def action_activate(self) -> None:
        if not self._place_cursor() and self.cursor_key is not None:
            self.post_message(self.RowActivated(self, self.cursor_key))

    def action_column(self, columns: int) -> None:
        """Scroll sideways to where the next column begins, or the one before."""
        visible = self._visible(1)
        cut = visible.start < self.scroll_offset.x
        target = visible.first + (columns if columns > 0 or not cut else 0)
        wanted = self._widths.start_of(self.view.columns[: max(0, target)])
        self.scroll_to(x=wanted, animate=False, force=True)

    def action_sort(self, columns: int) -> None:
        """Sort by the column beside the one that rows are sorted by."""
        names = [column.name for column in self.view.columns]
        if not names:
            return
        sort = self.view.arrangement.sort
        number = names.index(sort) + columns if sort in names else 0
        column = self.view.columns[number % len(names)]
        self.post_message(self.SortRequested(self, column.name, column.kind is Kind.NUMBER))

    def action_reverse(self) -> None:
        arrangement = self.view.arrangement
        if arrangement.sort:
            self.post_message(self.SortRequested(self, arrangement.sort, not arrangement.descending))
