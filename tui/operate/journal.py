"""Who did what to which pooler, and what came of it: in memory, and in a file that only grows."""

from __future__ import annotations

import json
import os
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from pathlib import Path
from typing import Final

from pooler.config.settings import SETTINGS

KEPT: Final = 1000
HIDDEN: Final = "***"

_TAIL_BYTES: Final = 256 * 1024


@dataclass(frozen=True, slots=True)
class Entry:
    """One command. All is text, so that it can be shown as it is."""

    time: str
    """ISO 8601, with the offset from UTC."""
    who: str
    """The account at this machine, and the user at the pooler."""
    pooler: str
    verb: str
    target: str
    command: str
    result: str
    """`done`, `gone`, `failed`, `lost`, `refused`; `started` for a job."""
    text: str = ""
    """The tag, or the error."""


class Journal:
    """Entries of this process, the newest at the end. Without a path there is no file.

    A file that cannot be written stops nobody from acting: `failure` says why, for the screen.
    """

    def __init__(self, path: Path | None = None, now: Callable[[], datetime] | None = None) -> None:
        self._path = path
        self._now = now or (lambda: datetime.now().astimezone())
        self.entries: deque[Entry] = deque(maxlen=KEPT)
        self.failure: str | None = None

    @property
    def path(self) -> Path | None:
        """Where it is written to."""
        return self._path

    def note(
        self, *, who: str, pooler: str, verb: str, target: str, command: str, result: str, text: str = ""
    ) -> Entry:
        """Put down one command."""
        time = self._now().isoformat(timespec="milliseconds")
        entry = Entry(time, who, pooler, verb, target, masked(command), result, text)
        self.entries.append(entry)
        if self._path is not None:
            self._write(self._path, entry)
        return entry

    def earlier(self, limit: int = KEPT) -> list[Entry]:
        """The last entries of the file, those of this process included. Lines that are none are left out."""
        if self._path is None:
            return list(self.entries)
        try:
            with self._path.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                start = max(0, size - _TAIL_BYTES)
                file.seek(start)
                lines = file.read().splitlines()
        except OSError as error:
            self.failure = _reason(self._path, error)
            return list(self.entries)
        found = [_entry(line) for line in (lines[1:] if start else lines)]
        return [entry for entry in found if entry is not None][-limit:]

    def _write(self, path: Path, entry: Entry) -> None:
        line = json.dumps(asdict(entry)).encode() + b"\n"
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                # In one write, so that the lines of two consoles do not mix.
                os.write(file, line)
            finally:
                os.close(file)
        except OSError as error:
            self.failure = _reason(path, error)
        else:
            self.failure = None


def journal_path(environ: Mapping[str, str] = os.environ) -> Path:
    """`pooldeck/audit.jsonl` where the XDG directories say that state goes."""
    state = environ.get("XDG_STATE_HOME", "")
    # As the specification has it: what is not absolute does not count.
    root = Path(state) if state.startswith("/") else Path.home() / ".local" / "state"
    return root / "pooldeck" / "audit.jsonl"


def masked(command: str) -> str:
    """A command without the value of a setting that may be a password, or that nobody knows."""
    head, equals, _ = command.partition("=")
    words = head.split()
    if not equals or len(words) != 2 or words[0].upper() != "SET":
        return command
    known = SETTINGS.get(words[1].strip('"'))
    if known is not None and not known.secret:
        return command
    return f"{head.rstrip()} = {HIDDEN}"


def _entry(line: bytes) -> Entry | None:
    try:
        found = json.loads(line)
        return Entry(**{name.name: str(found.get(name.name, "")) for name in fields(Entry)})
    except (ValueError, AttributeError):
        return None


def _reason(path: Path, error: OSError) -> str:
    return f"{path}: {error.strerror or error}"
