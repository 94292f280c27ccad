"""pgbouncer.ini itself, and what it includes, in an editor."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Final, cast

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.content import Content
from textual.screen import Screen
from textual.widgets import ContentSwitcher, Footer, OptionList, Static, TextArea
from textual.widgets.option_list import Option

from pooler.config.atomic import EditRefused, why_not_editable
from pooler.config.effects import RESTART, Change
from pooler.config.errors import ConfigError
from tui.files.configuration import Checked, Configuration, Written, effects, write
from tui.files.difference import unified_diff
from tui.files.document import Document, DocumentProblem, read_document
from tui.operate.outcome import Outcome, Result
from tui.screens.ask import Ask
from tui.screens.choose import ChooseOne
from tui.screens.reload import reload, why_not
from tui.screens.save_dialog import SaveDialog
from tui.widgets.cells import safe
from tui.widgets.ini_area import IniArea

if TYPE_CHECKING:
    from tui.app import Console


LISTED: Final = 200
"""Mistakes that are listed; nobody reads more, and each key would have to build the list anew."""


@dataclass(slots=True)
class _Buffer:
    """A file that is open. What was typed is in `area`."""

    document: Document
    area: IniArea
    why_read_only: str

    @property
    def is_changed(self) -> bool:
        return self.area.text != self.document.text


class EditorScreen(Screen[None]):
    """The configuration file. ctrl+s checks it, shows the difference and writes; mistakes are listed."""

    DEFAULT_CSS = """
    EditorScreen { background: $background; }
    EditorScreen #title { height: 1; background: $primary-muted; padding: 0 1; text-wrap: nowrap; }
    EditorScreen #problem {
        height: auto; display: none; padding: 0 1; background: $error-muted; color: $text-error;
    }
    EditorScreen ContentSwitcher { height: 1fr; }
    EditorScreen #mistakes {
        height: auto; max-height: 8; display: none;
        border: none; border-top: solid $error; background: $surface;
    }
    EditorScreen.-wrong #mistakes { display: block; }
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+s", "save", "Check and save", id="editor.save"),
        Binding("f8", "next_mistake", "Next mistake", id="editor.mistake"),
        Binding("ctrl+o", "files", "Included files", id="editor.files"),
        Binding("f1", "app.help", "Help", show=False),
        Binding("escape", "leave", "Leave", id="editor.leave"),
    ]

    def __init__(self, configuration: Configuration, *, read_only: bool = False) -> None:
        super().__init__()
        self._configuration = configuration
        self._read_only = read_only
        self._buffers: dict[str, _Buffer] = {}
        self._current = ""
        self._checked = Checked((), None, ())
        self._problem = ""
        self._stale = False
        self._checking = False

    @property
    def console(self) -> Console:
        return cast("Console", self.app)

    @property
    def unsaved(self) -> list[str]:
        """Paths of the files that were changed and not written."""
        return [buffer.document.path for buffer in self._buffers.values() if buffer.is_changed]

    def compose(self) -> ComposeResult:
        yield Static(id="title", markup=False)
        yield Static(id="problem", markup=False)
        yield ContentSwitcher()
        yield OptionList(id="mistakes")
        yield Footer(compact=True, show_command_palette=False)

    async def on_mount(self) -> None:
        self.console.editors.add(self)
        await self._open(self._configuration.path)

    def on_unmount(self) -> None:
        self.console.editors.discard(self)

    # Files

    async def _open(self, path: str, line: int | None = None) -> None:
        """Show a file, and a line of it."""
        real = await asyncio.to_thread(os.path.realpath, path)
        if real not in self._buffers:
            try:
                document = await asyncio.to_thread(read_document, path)
            except DocumentProblem as problem:
                self._say(str(problem))
                return
            why = "this console is read-only" if self._read_only else why_not_editable(path) or ""
            area = IniArea(document.text, read_only=bool(why), id=f"file-{len(self._buffers)}")
            self._buffers[real] = _Buffer(document, area, why)
            await self.query_one(ContentSwitcher).add_content(area)
        self._current = real
        area = self._buffers[real].area
        self.query_one(ContentSwitcher).current = area.id
        area.focus()
        if line is not None:
            area.go_to(line)
        self._mark()
        self._show_title()
        self._check_soon()

    def _show_title(self) -> None:
        self.query_one("#title", Static).update(safe("  ".join(self._title_parts())))
        problem = self.query_one("#problem", Static)
        problem.display = bool(self._problem)
        problem.update(safe(f"✖ {self._problem}"))

    def _title_parts(self) -> Iterator[str]:
        """What matters most first: the end may not fit."""
        buffer = self._buffers.get(self._current)
        path = self._configuration.path if buffer is None else buffer.document.path
        if count := len(self._checked.errors):
            yield f"✖ {count} mistake{'s'[: count > 1]}"
        if buffer is not None and buffer.is_changed:
            yield "● changed"
        if buffer is not None and buffer.why_read_only:
            yield f"read-only: {buffer.why_read_only}"
        yield path
        if buffer is not None and buffer.document.encoding != "utf-8":
            yield "not UTF-8, read as latin-1"
        others = [other for other in self.unsaved if other != path]
        if others:
            yield f"● also changed: {', '.join(others)}"

    def _say(self, problem: str) -> None:
        """Keep a problem in sight until the next thing is done."""
        self._problem = problem
        self._show_title()

    def action_files(self) -> None:
        """Go to another file of the configuration."""
        names = [self._configuration.path, *map(self._configuration.place, self._checked.includes)]

        async def chosen(name: str | None) -> None:
            if name is not None:
                await self._open(names[int(name)])

        options = [(str(number), name) for number, name in enumerate(names)]
        self.app.push_screen(ChooseOne("Files", options), chosen)

    # Mistakes

    @on(TextArea.Changed)
    def _typed(self) -> None:
        self._problem = ""
        self._show_title()
        self._check_soon()

    def _check_soon(self) -> None:
        """Check once more when the check that is under way is done: typing does not queue up."""
        self._stale = True
        if not self._checking:
            self._checking = True
            self.run_worker(self._check(), "check", group="check")

    async def _check(self) -> None:
        try:
            while self._stale:
                self._stale = False
                contents = self._contents()
                if contents is not None:
                    checked = await asyncio.to_thread(self._configuration.check, contents)
                    self._show_mistakes(checked)
        finally:
            self._checking = False

    def _contents(self) -> dict[str, bytes] | None:
        """What the files would be, by real path; None if a text cannot be written as it is."""
        try:
            return {
                real: buffer.document.encode(buffer.area.text)
                for real, buffer in self._buffers.items()
                if buffer.is_changed
            }
        except DocumentProblem as problem:
            self._say(str(problem))
            return None

    def _show_mistakes(self, checked: Checked) -> None:
        if checked.errors != self._checked.errors:
            mistakes = self.query_one("#mistakes", OptionList)
            highlighted = mistakes.highlighted
            listed = [Option(Content(safe(str(error)))) for error in checked.errors[:LISTED]]
            mistakes.set_options(listed)
            mistakes.highlighted = min(highlighted or 0, len(listed) - 1) if listed else None
        self._checked = checked
        self.set_class(bool(checked.errors), "-wrong")
        self._mark()
        self._show_title()

    def _mark(self) -> None:
        for real, buffer in self._buffers.items():
            buffer.area.mark(
                error.line
                for error in self._checked.errors
                if error.line is not None and self._real(error) == real
            )

    def _real(self, error: ConfigError) -> str:
        return os.path.realpath(self._configuration.place(error.file))

    @on(OptionList.OptionSelected, "#mistakes")
    async def _chosen(self, event: OptionList.OptionSelected) -> None:
        await self._go_to(self._checked.errors[event.option_index])

    async def _go_to(self, error: ConfigError) -> None:
        await self._open(self._configuration.place(error.file), error.line)

    async def action_next_mistake(self) -> None:
        """The one below the cursor, or else the first."""
        if not self._checked.errors:
            self.notify("There is no mistake", markup=False)
            return
        row = (
            self._buffers[self._current].area.cursor_location[0] + 1 if self._current in self._buffers else 0
        )
        below = (
            error
            for error in self._checked.errors
            if self._real(error) == self._current and (error.line or 0) > row
        )
        await self._go_to(next(below, self._checked.errors[0]))

    # Saving

    async def action_save(self) -> None:
        """Check; show the mistakes, or the difference."""
        self._problem = ""
        contents = self._contents()
        if contents is None:
            return
        if not contents:
            self.notify("Nothing has been changed", markup=False)
            return
        checked = await asyncio.to_thread(self._configuration.check, contents)
        before = await asyncio.to_thread(self._configuration.check)
        if self._contents() != contents:
            self.notify("It was changed while it was checked: save again", severity="warning", markup=False)
            return
        self._show_mistakes(checked)
        if checked.errors:
            self._say(f"Nothing is written: {checked.errors[0]}")
            await self._go_to(checked.errors[0])
            return
        files = [
            (buffer.document.path, unified_diff(buffer.document.text, buffer.area.text))
            for real, buffer in self._buffers.items()
            if real in contents
        ]
        changes = effects(before, checked)

        def decided(yes: bool | None) -> None:
            if yes:
                self.run_worker(self._write(contents, changes), "write", group="write")

        self.app.push_screen(SaveDialog(files, changes), decided)

    async def _write(self, contents: Mapping[str, bytes], changes: tuple[Change, ...]) -> None:
        written: list[Written] = []
        for real, data in contents.items():
            buffer = self._buffers[real]
            path, old = buffer.document.path, buffer.document.data
            try:
                now = self.console.settings.clock.now()
                written.append(await asyncio.to_thread(write, path, old, data, now))
            except EditRefused as refused:
                self._note(path, Result.FAILED, str(refused))
                before = f"{', '.join(each.path for each in written)} is written. " if written else ""
                self._say(f"{before}{refused}")
                return
            buffer.document = buffer.document.saved(buffer.area.text)
            self._note(path, Result.DONE, f"as it was: {written[-1].backup}")
        self._show_title()
        self._offer_reload(written, changes)

    def _note(self, path: str, result: Result, text: str) -> None:
        """Into the journal, as what is done to the pooler itself."""
        self.console.desk.operator.note("EDIT", Outcome("EDIT", path, result, text))

    def _offer_reload(self, written: list[Written], changes: tuple[Change, ...]) -> None:
        text = "\n".join(f"{each.path} is written.\nAs it was: {each.backup}" for each in written)
        restart = [change.key for change in changes if change.needs == RESTART]
        if restart:
            text += f"\n\n▲ {', '.join(restart)}: RELOAD leaves it as it is, only a restart changes it."
        reason = why_not(self.console)
        if reason is not None:
            text += f"\n\nIt takes a RELOAD, which cannot be done from here now: {reason}."
            self.app.push_screen(Ask("Written", text, [("no", "Close")]))
            return
        text += "\n\nUntil RELOAD the pooler goes on as before. RELOAD also takes back what was SET."
        answers = [("no", "Not now"), ("reload", "RELOAD")]

        def decided(answer: str | None) -> None:
            if answer == "reload":
                self.run_worker(self._reload(), "reload", group="reload")

        self.app.push_screen(Ask("Written", text, answers), decided)

    async def _reload(self) -> None:
        result = await reload(self.console)
        title = "● RELOAD" if result.is_good else "✖ RELOAD"
        self.app.push_screen(Ask(title, result.text, [("ok", "Close")], is_bad=not result.is_good))
        await self.console.refresh_now()

    # Leaving

    def action_leave(self) -> None:
        """Back, but not without a question when something would be lost."""
        unsaved = self.unsaved
        if not unsaved:
            self.dismiss()
            return

        def decided(answer: str | None) -> None:
            if answer == "leave":
                self.dismiss()

        text = f"Not saved: {', '.join(unsaved)}"
        self.app.push_screen(Ask("Leave?", text, [("stay", "Go on editing"), ("leave", "Lose it")]), decided)
