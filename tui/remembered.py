"""What the console remembers from one time to the next: columns and order of its tables."""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

_FILE = "console.json"


class Remembered:
    """A small JSON file. One that is broken or cannot be written costs no more than the memory.

    `directory` None remembers for this run alone.
    """

    def __init__(self, directory: Path | None) -> None:
        self._path = None if directory is None else directory / _FILE
        self._values: dict[str, Any] = self._read()

    def _read(self) -> dict[str, Any]:
        if self._path is None:
            return {}
        try:
            found = json.loads(self._path.read_text("utf-8"))
        except (OSError, ValueError):
            return {}
        return found if isinstance(found, dict) else {}

    def columns(self, screen: str) -> tuple[str, ...]:
        """The columns that were chosen for a screen; none when nobody chose any."""
        found = self._of(screen).get("columns")
        return tuple(map(str, found)) if isinstance(found, list) else ()

    def order(self, screen: str) -> tuple[str, bool] | None:
        """The column that a screen was sorted by last, and whether it was descending."""
        found = self._of(screen)
        sort = found.get("sort")
        return (sort, found.get("descending") is True) if isinstance(sort, str) else None

    @property
    def theme(self) -> str:
        found = self._values.get("theme")
        return found if isinstance(found, str) else ""

    def keep_columns(self, screen: str, columns: tuple[str, ...]) -> None:
        self._keep(screen, {"columns": list(columns)})

    def keep_order(self, screen: str, column: str, descending: bool) -> None:
        self._keep(screen, {"sort": column, "descending": descending})

    def keep_theme(self, name: str) -> None:
        self._values["theme"] = name
        self._write()

    def _of(self, screen: str) -> dict[str, Any]:
        screens = self._values.get("screens")
        found = screens.get(screen) if isinstance(screens, dict) else None
        return found if isinstance(found, dict) else {}

    def _keep(self, screen: str, values: dict[str, Any]) -> None:
        screens = self._values.get("screens")
        kept = dict(screens) if isinstance(screens, dict) else {}
        kept[screen] = {**self._of(screen), **values}
        self._values["screens"] = kept
        self._write()

    def _write(self) -> None:
        if self._path is None:
            return
        with suppress(OSError):
            self._path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            draft = self._path.with_suffix(f".{os.getpid()}")
            draft.write_text(json.dumps(self._values, indent=1) + "\n", "utf-8")
            draft.replace(self._path)
