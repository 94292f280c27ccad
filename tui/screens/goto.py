"""From something that is about a pool to that pool."""

from __future__ import annotations

from tui.screens.base import ConsoleScreen
from tui.screens.tables import TableScreen


async def show_pool(screen: ConsoleScreen, database: str, user: str) -> None:
    """Go to the Pools, filtered on `database` and `user`; without a user on the database alone."""
    await screen.app.switch_mode("pools")
    shown = screen.app.screen
    if isinstance(shown, TableScreen):
        text = f"database={_quoted(database)}"
        shown.filter_by(f"{text} user={_quoted(user)}" if user else text)


def _quoted(name: str) -> str:
    return f"'{name}'" if '"' in name else f'"{name}"'
