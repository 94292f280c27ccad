"""pgbouncer.ini and what it includes, as it would be with an edited text: checked, compared, written.

Names in the file are relative to the directory that the pooler runs in, which nobody else knows. Here they
are looked for where the console runs, and then beside the file itself.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from pooler.config.atomic import EditRefused, dated_suffix, edit_file
from pooler.config.effects import Change, changes
from pooler.config.errors import ConfigError, ConfigErrors
from pooler.config.ini import Reader, read_bytes
from pooler.config.snapshot import Snapshot, load, unsupported


@dataclass(frozen=True, slots=True)
class Rules:
    """Which pooler the file is for."""

    own: bool = True
    """It is ours: what this release cannot do yet is refused."""
    known: frozenset[str] | None = None
    """The settings that it has, if it could be asked; others are mistakes. None: those of the table."""


@dataclass(frozen=True, slots=True)
class Checked:
    """What is wrong with a configuration, or what it says if nothing is."""

    errors: tuple[ConfigError, ...]
    snapshot: Snapshot | None
    includes: tuple[str, ...]
    """Included files that could be read, as they are named, in their order."""


@dataclass(frozen=True, slots=True)
class Written:
    """Where the new content is, and where the old one."""

    path: str
    backup: str


class Configuration:
    """The main file and its includes, any of which can be edited."""

    def __init__(self, path: str, rules: Rules | None = None, read: Reader = read_bytes) -> None:
        self.path: Final = path
        self._rules = rules or Rules()
        self._read = read

    def place(self, name: str) -> str:
        """Where a file that is named in the configuration is."""
        if os.path.isabs(name) or os.path.exists(name):
            return name
        beside = os.path.join(os.path.dirname(self.path), name)
        return beside if os.path.exists(beside) else name

    def check(self, edited: Mapping[str, bytes] | None = None) -> Checked:
        """Read it as the pooler does; `edited` are contents that are not written yet, by real path."""
        contents = edited or {}
        names: dict[str, None] = {}

        def read(name: str) -> bytes:
            place = self.place(name)
            found = contents.get(os.path.realpath(place))
            data = self._read(place) if found is None else found
            names[name] = None
            return data

        snapshot: Snapshot | None = None
        try:
            snapshot = load(self.path, read)
            errors = self._not_available(snapshot)
        except ConfigErrors as problem:
            errors = problem.errors
        names.pop(self.path, None)
        return Checked(errors, None if errors else snapshot, tuple(names))

    def _not_available(self, snapshot: Snapshot) -> tuple[ConfigError, ...]:
        """What is well written and still not for this pooler."""
        found = unsupported(snapshot) if self._rules.own else ()
        known = self._rules.known
        if known is None:
            return found
        return found + tuple(
            ConfigError(origin.file, origin.line, f"this pooler has no setting {name}")
            for name, origin in snapshot.explicit.items()
            if name not in known
        )


def effects(before: Checked, after: Checked) -> tuple[Change, ...]:
    """What the edit changes, as far as both files can be read, and what each change needs."""
    if before.snapshot is None or after.snapshot is None:
        return ()
    return tuple(changes(before.snapshot.settings, before.snapshot, after.snapshot))


def write(path: str, old: bytes, new: bytes, now: datetime) -> Written:
    """Put `new` into the place of `old`, which is kept beside it under a name with the time in it.

    Owner and mode stay; a symbolic link stays, and the file that it leads to is written. Raises EditRefused,
    in words, and then nothing has changed: if the file is not `old` any more, or may not be written.
    """
    try:
        suffix = dated_suffix(path, now)
        edited = edit_file(path, _in_place_of(path, old, new), backup=True, suffix=suffix)
    except OSError as error:
        raise EditRefused(f"{path}: {error.strerror}") from None
    return Written(edited.path, edited.path + suffix)


def _in_place_of(path: str, old: bytes, new: bytes) -> Callable[[bytes], bytes]:
    def change(found: bytes) -> bytes:
        if found != old:
            raise EditRefused(f"{path}: somebody else has changed it since it was opened")
        return new

    return change
