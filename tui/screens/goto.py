"""From something that is about a pool to that pool."""

from __future__ import annotations

from tui.screens.base import ConsoleScreen
from tui.screens.tables import TableScreen
from tui.widgets.filters import condition


async def show_pool(screen: ConsoleScreen, database: str, user: str) -> None:
    """Go to the Pools, filtered on `database` and `user`; without a user on the database alone."""
    await screen.app.switch_mode("pools")
    shown = screen.app.screen
    if isinstance(shown, TableScreen):
        wanted = condition("database", database)
        shown.filter_by(f"{wanted} {condition('user', user)}" if user else wanted)
