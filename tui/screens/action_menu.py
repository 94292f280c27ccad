"""Which action, and what else it has to be told."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.events import Key
from textual.screen import ModalScreen
from textual.suggester import SuggestFromList
from textual.widgets import Button, Input, OptionList, Static
from textual.widgets.option_list import Option

from tui.operate.actions import Action
from tui.operate.subject import Subject
from tui.widgets.cells import safe

_BOX = """
    align: center middle;
    & > Vertical {
        width: 72; max-width: 100%; height: auto; max-height: 100%;
        border: round $primary; background: $surface; padding: 0 1;
    }
"""


@dataclass(frozen=True, slots=True)
class Choice:
    """An action on a subject, and why it cannot be done, if it cannot."""

    action: Action
    subject: Subject
    reason: str | None


class ActionMenu(ModalScreen[Choice | None]):
    """All actions for what is selected and for the whole pooler; those that cannot be done say why.

    A key of the list does what it does elsewhere.
    """

    DEFAULT_CSS = f"""
    ActionMenu {{ {_BOX}
        & OptionList {{ height: auto; max-height: 100%; border: none; background: $surface; padding: 0; }}
    }}
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,x,q", "dismiss(None)", "Leave it")]

    def __init__(self, choices: Sequence[Choice]) -> None:
        super().__init__()
        self._choices = choices

    def compose(self) -> ComposeResult:
        box = Vertical()
        box.border_title = "Actions"
        box.border_subtitle = "enter or a click takes, esc leaves"
        options: list[Option] = []
        for number, choice in enumerate(self._choices):
            if not number or choice.subject != self._choices[number - 1].subject:
                head = Content(safe(f"For {choice.subject}"))
                options.append(Option(head.stylize("bold $text-muted"), disabled=True))
            options.append(Option(_line(choice), id=str(number), disabled=choice.reason is not None))
        with box:
            yield OptionList(*options, compact=True)

    @on(OptionList.OptionSelected)
    def _chosen(self, event: OptionList.OptionSelected) -> None:
        self.dismiss(self._choices[int(event.option.id or 0)])

    def key_for(self, key: str) -> Choice | None:
        """The first choice with this key that can be taken."""
        possible = (choice for choice in self._choices if choice.reason is None)
        return next((choice for choice in possible if choice.action.key == key), None)

    def on_key(self, event: Key) -> None:
        choice = self.key_for(event.key)
        if choice is not None:
            # Or else it would be a key of the console once this has gone.
            event.stop()
            self.dismiss(choice)


def _line(choice: Choice) -> Content:
    title = f"  {choice.action.title}"
    if choice.reason is not None:
        reason = f": {safe(choice.reason)}"
        return Content.assemble((choice.action.key + title, "$text-muted"), (reason, "italic $text-muted"))
    return Content.assemble((choice.action.key, "bold $text-accent"), title)


class SetForm(ModalScreen[dict[str, str] | None]):
    """The name and the value of a setting; None when it was left."""

    DEFAULT_CSS = f"""
    SetForm {{ {_BOX}
        & Input {{ margin-bottom: 1; }}
        & Horizontal {{ height: auto; align-horizontal: right; }}
        & Button {{ margin-left: 2; }}
    }}
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape", "dismiss(None)", "Cancel")]

    def __init__(self, names: Sequence[str], key: str = "", value: str = "") -> None:
        """`names` are offered while one is typed."""
        super().__init__()
        self._names = names
        self._key = key
        self._value = value

    def compose(self) -> ComposeResult:
        box = Vertical()
        box.border_title = "Set a setting, until the next RELOAD"
        with box:
            yield Static("Setting (→ completes)", markup=False)
            yield Input(self._key, id="key", compact=True, suggester=SuggestFromList(self._names))
            yield Static("Value", markup=False)
            yield Input(self._value, id="value", compact=True)
            with Horizontal():
                yield Button("Cancel", id="cancel", compact=True)
                yield Button("Go on", id="go", compact=True)

    @on(Input.Submitted, "#key")
    def _to_value(self) -> None:
        self.query_one("#value", Input).focus()

    @on(Button.Pressed, "#cancel")
    def _cancelled(self) -> None:
        self.dismiss(None)

    @on(Input.Submitted, "#value")
    @on(Button.Pressed, "#go")
    def _done(self) -> None:
        key = self.query_one("#key", Input).value.strip()
        if key:
            self.dismiss({"key": key, "value": self.query_one("#value", Input).value})
