"""The screens that have a key of their own, by the names of PLACES."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tui.screens.alerts import AlertsScreen
from tui.screens.audit import AuditScreen
from tui.screens.base import ConsoleScreen
from tui.screens.config import ConfigScreen
from tui.screens.logs import LogsScreen
from tui.screens.overview import OverviewScreen
from tui.screens.tables import (
    ClientsScreen,
    DatabasesScreen,
    PoolsScreen,
    ServersScreen,
    StatsScreen,
    UsersScreen,
)

SCREENS: Final[Mapping[str, type[ConsoleScreen]]] = {
    screen.place: screen
    for screen in (
        *(OverviewScreen, PoolsScreen, ClientsScreen, ServersScreen, DatabasesScreen),
        *(UsersScreen, StatsScreen, ConfigScreen, LogsScreen, AuditScreen, AlertsScreen),
    )
}
