"""The settings that are in force, and the way to the file that they come from."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, ClassVar

from textual.binding import Binding, BindingType
from textual.worker import Worker

from tui.admin.errors import AdminError
from tui.admin.table import Table
from tui.files.configuration import Checked, Configuration, Rules
from tui.files.running import not_in_force, settings_table
from tui.files.whereabouts import Whereabouts, configuration_file, is_local
from tui.screens import specs
from tui.screens.ask_path import AskPath
from tui.screens.editor import EditorScreen
from tui.screens.tables import TableScreen
from tui.watch.moment import Moment
from tui.widgets.view import View


class ConfigScreen(TableScreen):
    """The settings in force beside what the file says and what they are for; e edits the file itself."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("e", "edit", "Edit the file", id="config.edit"),
    ]

    place = "config"
    spec = specs.CONFIG

    def __init__(self) -> None:
        super().__init__()
        self._config: Table | None = None
        self._where = Whereabouts()
        self._problem = ""

    def on_screen_resume(self) -> None:
        # The file may have been edited meanwhile.
        self._config = None

    def show_moment(self, moment: Moment) -> None:
        config = moment.table("CONFIG")
        if config is None:
            self._show_why_not(moment)
        elif config is not self._config:
            self._config = config

            async def compare() -> None:
                await self._compare(config, moment)

            # A coroutine that another one takes the place of before it begins would be complained about.
            _: Worker[None] = self.run_worker(compare, "config", group="config", exclusive=True)

    async def _compare(self, config: Table, moment: Moment) -> None:
        """With what the pooler says of its file, or else with the file as it is on this machine."""
        self._where = self._find_file(config.pairs())
        differences, checked, problem = None, None, ""
        if moment.capabilities.has_table("CONFIG_DIFF"):
            try:
                differences = await self.console.ask("SHOW CONFIG_DIFF")
            except AdminError as error:
                problem = f"{error.message}: {error.detail}" if error.detail else error.message
        elif self._where.path:
            checked = await asyncio.to_thread(_checked, Configuration(self._where.path, self.rules))
            problem = "; ".join(map(str, checked.errors))
        self._problem = problem.replace("\n", "; ")
        self._table = settings_table(config, differences, None if checked is None else checked.snapshot)
        self._refresh()

    def _find_file(self, running: Mapping[str, Any] | None) -> Whereabouts:
        settings = self.console.settings
        given = None if settings.ini is None else str(settings.ini)
        return configuration_file(given, settings.target.host, running)

    @property
    def rules(self) -> Rules:
        """By which the file is judged: those of the pooler that has answered."""
        moment = self.console.moment
        if moment is None or moment.capabilities.sql:
            return Rules()
        known = None if self._config is None else frozenset(map(str, self._config.pairs()))
        return Rules(own=False, known=known)

    def counts(self, view: View) -> str:
        text = super().counts(view)
        differ = 0 if self._table is None else not_in_force(self._table)
        if differ:
            text += f" · ▲ {differ} not as in the file"
        if self._problem:
            text += f" · ✖ {self._problem}"
        return f"{text} · {self._where.path or self._where.reason}"

    def action_edit(self) -> None:
        """Open the file; ask for it if it has to be here and nobody knows where."""
        if not self._where.path:
            self._where = self._find_file(None if self._config is None else self._config.pairs())
        if self._where.path:
            self._open(self._where.path)
        elif is_local(self.console.settings.target.host):
            self.app.push_screen(AskPath("Configuration file", self._where.reason), self._open)
        else:
            self.notify(f"There is nothing to edit: {self._where.reason}", severity="warning", markup=False)

    def _open(self, path: str | None) -> None:
        if path:
            editor = EditorScreen(Configuration(path, self.rules), read_only=self.console.read_only)
            self.app.push_screen(editor)


def _checked(configuration: Configuration) -> Checked:
    return configuration.check()
