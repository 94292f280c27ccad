"""Settings are written into the ini file that they were loaded from, and every other byte of it stays.

A setting is written where it counts: into the line that sets it now, also of an included file, or else below
the last line of the `[pgbouncer]` section. The result is read and compared before any file changes.
"""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from pooler.config.atomic import BACKUP_SUFFIX, EditRefused, edit_file
from pooler.config.errors import ConfigErrors, Origin
from pooler.config.ini import KeyValue, Reader, SectionStart, parse_ini, read_bytes, text_of, value_span
from pooler.config.kinds import WHITESPACE
from pooler.config.settings import SETTINGS
from pooler.config.snapshot import MAIN_SECTION, Snapshot, digest, load


@dataclass(frozen=True, slots=True)
class Saved:
    """A setting and the line that it is written into; `old` is None if the line is new."""

    key: str
    old: str | None
    new: str
    origin: Origin


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done: new contents of files by real path, and what the configuration says then."""

    before: Mapping[str, bytes]
    after: Mapping[str, bytes]
    saved: tuple[Saved, ...]
    result: Snapshot


def plan_save(loaded: Snapshot, values: Mapping[str, str], read: Reader = read_bytes) -> Plan:
    """How to write these settings, by name, into the files of `loaded`.

    Raises EditRefused if a file is not as it was loaded, or if a value cannot stand in one.
    """
    for name, text in values.items():
        if "\n" in text or "\0" in text or text != text.strip(WHITESPACE):
            raise EditRefused(f"{name}: no file can hold blanks around a value, or a line end in it")
    before: dict[str, bytes] = {}

    def unchanged(path: str) -> bytes:
        data = before[os.path.realpath(path)] = read(path)
        if digest(data) != loaded.content.get(os.path.realpath(path)):
            raise EditRefused(f"{path}: has changed since it was loaded, so RELOAD first")
        return data

    current = _load(loaded.file, unchanged)
    editor = _Editor(current, before)
    for name, text in values.items():
        editor.write(name, text)
    after = editor.contents()

    def changed(path: str) -> bytes:
        return after.get(os.path.realpath(path), before[os.path.realpath(path)])

    result = _load(loaded.file, changed)
    parsed = {name: SETTINGS[name].parse(text) for name, text in values.items()}
    wanted = replace(current, settings=replace(current.settings, **parsed), explicit={})
    if replace(result, explicit={}) != wanted:
        raise EditRefused(f"{loaded.file}: the change would do more than it should")
    return Plan(before, after, editor.saved(result), result)


def carry_out(plan: Plan) -> list[str]:
    """Writes the files, each with a backup beside it; returns the names of the backups.

    If one cannot be written, those before it get their old content back. Raises EditRefused and OSError.
    """
    written: list[str] = []
    try:
        for path, new in plan.after.items():
            edit_file(path, _replacing(path, plan.before[path], new), backup=True)
            written.append(path)
    except (EditRefused, OSError):
        for path in written:
            edit_file(path, _replacing(path, plan.after[path], plan.before[path]))
        raise
    return [path + BACKUP_SUFFIX for path in written]


class _Editor:
    """Lines of files: some with another value, some with new lines below them."""

    def __init__(self, current: Snapshot, contents: Mapping[str, bytes]) -> None:
        self._current = current
        self._contents = contents
        self._lines = {path: text_of(data).split("\n") for path, data in contents.items()}
        self._added: dict[tuple[str, int], list[str]] = {}
        self._old: dict[str, str | None] = {}

    def write(self, name: str, text: str) -> None:
        """Gives one setting this value."""
        origin = self._current.explicit.get(name)
        if origin is None:
            self._old[name] = None
            path, line = self._end_of_section()
            self._added.setdefault((path, line), []).append(f"{name} = {text}".rstrip(" "))
            return
        lines = self._lines[os.path.realpath(origin.file)]
        line_text = lines[origin.line - 1]
        span = value_span(line_text)
        if span is None:
            raise EditRefused(f"{origin.file}:{origin.line}: does not set {name}")
        self._old[name] = line_text[span[0] : span[1]]
        lines[origin.line - 1] = line_text[: span[0]] + text + line_text[span[1] :]

    def contents(self) -> dict[str, bytes]:
        """The new content of each file that is another now."""
        found: dict[str, bytes] = {}
        for path, data in self._contents.items():
            text = "\n".join(self._with_added(path))
            # What stands behind a NUL is not read, and stays.
            read = data.partition(b"\0")[0]
            new = text.encode("utf-8", "surrogateescape") + data[len(read) :]
            if new != data:
                found[path] = new
        return found

    def saved(self, result: Snapshot) -> tuple[Saved, ...]:
        """What was written, and where it stands in the result."""
        return tuple(
            Saved(name, old, _value_at(self._with_added(os.path.realpath(origin.file)), origin), origin)
            for name, old in self._old.items()
            for origin in [result.explicit[name]]
        )

    def _with_added(self, path: str) -> list[str]:
        lines: list[str] = []
        for number, line in enumerate(self._lines[path], start=1):
            lines.append(line)
            line_end = "\r" if line.endswith("\r") else ""
            lines += (added + line_end for added in self._added.get((path, number), ()))
        return lines

    def _end_of_section(self) -> tuple[str, int]:
        """The last line of the last `[pgbouncer]`, in the file in which it begins.

        If another section begins in that same line there is no such place, and the section has no settings:
        then another one is begun at the end of the main file.
        """
        path, line, inside = "", 0, False
        for item in self._items():
            here = os.path.realpath(item.origin.file)
            if isinstance(item, SectionStart):
                inside = item.name == MAIN_SECTION
                if inside:
                    path, line = here, item.origin.line
                elif (here, item.origin.line) == (path, line):
                    path = ""
            elif inside and here == path:
                line = item.origin.line
        return (path, line) if path else self._new_section()

    def _new_section(self) -> tuple[str, int]:
        main = os.path.realpath(self._current.file)
        lines = self._lines[main]
        end = len(lines) - 1 if len(lines) > 1 and not lines[-1] else len(lines)
        self._added.setdefault((main, end), [f"[{MAIN_SECTION}]"])
        return main, end

    def _items(self) -> list[SectionStart | KeyValue]:
        items = parse_ini(self._current.file, lambda name: self._contents[os.path.realpath(name)])
        return [item for item in items if isinstance(item, SectionStart | KeyValue)]


def _value_at(lines: list[str], origin: Origin) -> str:
    span = value_span(lines[origin.line - 1])
    return "" if span is None else lines[origin.line - 1][span[0] : span[1]]


def _load(path: str, read: Reader) -> Snapshot:
    try:
        return load(path, read)
    except ConfigErrors as errors:
        raise EditRefused(str(errors)) from None


def _replacing(path: str, old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    def change(found: bytes) -> bytes:
        if found != old:
            raise EditRefused(f"{path}: somebody else has changed it meanwhile, try again")
        return new

    return change
