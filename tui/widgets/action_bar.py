"""Buttons for what can be done here, in one line."""

from __future__ import annotations

from collections.abc import Sequence

from textual.content import Content
from textual.widgets import Static

from tui.operate.actions import Action


class ActionBar(Static):
    """A click does what the key does. What cannot be done is muted, and a click says why."""

    DEFAULT_CSS = """
    ActionBar { height: 1; background: $panel; padding: 0; text-wrap: nowrap; link-style: none; }
    """

    def show(self, actions: Sequence[tuple[Action, bool]]) -> None:
        """Which actions, and whether each can be done. Titles are our own, so markup is safe."""
        parts = ["[not bold @click=app.actions]x [u]Actions[/u][/] "]
        for action, is_possible in actions:
            style = "not bold" if is_possible else "dim"
            parts.append(f"[{style} @click=app.act('{action.verb}')]{action.key} [u]{action.title}[/u][/] ")
        self.update(Content(" ").join(Content.from_markup(part) for part in parts))
