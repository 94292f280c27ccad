"""Before something is done: what it will hit, the exact commands, how to take it back."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.content import Content
from textual.screen import ModalScreen
from textual.widget import Widget
from textual.widgets import Button, Input, Static

from tui.operate.plan import Plan
from tui.widgets.cells import safe

_COMMANDS = 4
"""That are shown of a plan with many."""


class ConfirmScreen(ModalScreen[bool]):
    """Whether to do it. Enter at the beginning never does; escape and n say no.

    The plan is fixed: whatever happens to the row meanwhile, this is about what was there when it was asked.
    """

    DEFAULT_CSS = """
    ConfirmScreen { align: center middle; }
    ConfirmScreen > Vertical {
        width: 78; max-width: 100%; height: auto; max-height: 100%;
        border: round $warning; background: $surface; padding: 0 1;
    }
    ConfirmScreen.-grave > Vertical { border: heavy $error; }
    ConfirmScreen #about { height: auto; max-height: 22; }
    ConfirmScreen.-low #about { max-height: 11; }
    ConfirmScreen Static { height: auto; }
    ConfirmScreen #command { color: $text-accent; }
    ConfirmScreen #undo, ConfirmScreen #frozen { color: $text-muted; }
    ConfirmScreen Input, ConfirmScreen Input:focus { background: $foreground 15%; }
    ConfirmScreen Horizontal { height: auto; align-horizontal: right; padding-top: 1; }
    ConfirmScreen.-low Horizontal { padding-top: 0; }
    ConfirmScreen Button { margin-left: 2; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "dismiss(False)", "Cancel"),
        Binding("n", "dismiss(False)", "No", show=False),
        Binding("y", "yes", "Yes", show=False),
        Binding("left", "app.focus_previous", show=False),
        Binding("right", "app.focus_next", show=False),
    ]

    def __init__(self, plan: Plan, notes: Iterable[str] = ()) -> None:
        """`notes` are sentences about what is selected, beside those of the plan."""
        super().__init__()
        self._plan = plan
        self._notes = tuple(notes)
        self.set_class(bool(plan.typed), "-grave")

    def compose(self) -> ComposeResult:
        plan = self._plan
        box = Vertical()
        box.border_title = safe(plan.title)
        with box:
            with VerticalScroll(id="about"):
                yield _text(plan.action.help if not plan.action.variants else self._variant_help())
                lines = [f"• {line}" for line in (*plan.effect, *self._notes)]
                # How many first, then the commands, then which: the end may have to be scrolled to.
                yield from map(_text, lines[:1])
                yield _text(self._commands(), "command")
                yield from map(_text, lines[1:])
                if plan.undo:
                    yield _text(f"Undo: {plan.undo}" if plan.action.undo else plan.undo, "undo")
                yield _text("What is shown below is frozen while this is open.", "frozen")
            if plan.typed:
                yield _text(f"Type {plan.typed} to do it:")
                yield Input(compact=True)
            with Horizontal():
                yield Button("Cancel", id="cancel", compact=True)
                yield Button(
                    Content(safe(plan.action.title)),
                    variant="error" if plan.typed else "warning",
                    id="do",
                    disabled=bool(plan.typed),
                    compact=True,
                )

    def _variant_help(self) -> str:
        variant = self._plan.action.variant(self._plan.arguments.get("variant", ""))
        return variant.help if variant is not None else self._plan.action.help

    def _commands(self) -> str:
        lines = [command.shown for command in self._plan.commands[:_COMMANDS]]
        if len(self._plan.commands) > _COMMANDS:
            lines.append(f"... and {len(self._plan.commands) - _COMMANDS:,} more of these")
        return "\n".join(lines)

    def on_mount(self) -> None:
        first: Widget = self.query_one(Input) if self._plan.typed else self.query_one("#cancel", Button)
        first.focus()

    @property
    def _is_typed(self) -> bool:
        if not self._plan.typed:
            return True
        value = self.query_one(Input).value
        return self._plan.typed in (value, value.strip())

    @on(Input.Changed)
    def _typing(self) -> None:
        self.query_one("#do", Button).disabled = not self._is_typed

    @on(Input.Submitted)
    def _typed(self) -> None:
        if self._is_typed:
            self.dismiss(True)

    @on(Button.Pressed, "#cancel")
    def _cancelled(self) -> None:
        self.dismiss(False)

    @on(Button.Pressed, "#do")
    def _confirmed(self) -> None:
        self.dismiss(self._is_typed)

    def action_yes(self) -> None:
        """Where nothing has to be typed, y is enough."""
        if not self._plan.typed:
            self.dismiss(True)


def _text(text: str, name: str | None = None) -> Static:
    """Values of the server are no markup, and have no control characters; lines stay."""
    lines = "\n".join(safe(line) for line in text.split("\n"))
    return Static(Content(lines), id=name, markup=False)
