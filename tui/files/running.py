"""The settings that are in force, beside what the file says and what they are for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

from pooler.config.effects import HIDDEN
from pooler.config.settings import SETTINGS, Setting
from pooler.config.snapshot import MAIN_SECTION, Snapshot
from tui.admin.table import Table

COLUMNS: Final = ("key", "value", "differs", "file", "default", "changeable", "source", "overridden", "help")

FILE: Final = "≠ file"
DEFAULT: Final = "≠ default"

_Known = Mapping[str, Mapping[str, Any]]


def settings_table(config: Table, differences: Table | None, filed: Snapshot | None) -> Table:
    """SHOW CONFIG with more columns. What the file says comes from SHOW CONFIG_DIFF, or else from the file as
    it was read here. Entries of databases and users are there where the file says something else.
    """
    drift = {} if differences is None else {_name(row): row for row in differences.dicts()}
    rows = [_setting(row, drift, differences is not None, filed) for row in config.dicts()]
    rows += [_entry(row) for row in drift.values() if _is_entry(row) and row["file"] != row["running"]]
    return Table(COLUMNS, rows)


def not_in_force(table: Table) -> int:
    """How many rows of it differ from the file."""
    place = table.columns.index("differs")
    return sum(row[place] == FILE for row in table.rows)


def _name(row: Mapping[str, Any]) -> str:
    return str(row["key"]) if row["section"] == MAIN_SECTION else f"{row['section']}: {row['key']}"


def _is_entry(row: Mapping[str, Any]) -> bool:
    return bool(row["section"] != MAIN_SECTION)


def _setting(
    row: Mapping[str, Any], drift: _Known, has_drift: bool, filed: Snapshot | None
) -> tuple[Any, ...]:
    key, value, default = str(row["key"]), row.get("value"), row.get("default")
    known = SETTINGS.get(key)
    found = drift.get(key)
    source = None
    if found is not None:
        file, source, differs = found["file"], found["source"], found["file"] not in (None, found["running"])
        # What the file does not set any more goes back to its default.
        differs = differs or (found["file"] is None and source == "file")
    elif has_drift:
        file, differs = None, False
    else:
        file = _filed(known, filed)
        differs = file is not None and not _same(known, file, value)
    mark = FILE if differs else DEFAULT if (value or "") != (default or "") else ""
    if known is not None and known.secret:
        value, file, default = (None if text is None else HIDDEN for text in (value, file, default))
    return (
        *(key, value, mark, file, default, row.get("changeable"), source),
        *(" ".join(_overridden(known)), "" if known is None else known.help),
    )


def _entry(row: Mapping[str, Any]) -> tuple[Any, ...]:
    return (
        *(_name(row), row["running"], FILE, row["file"], row["default"], row["changeable"], row["source"]),
        *("", ""),
    )


def _filed(known: Setting | None, filed: Snapshot | None) -> str | None:
    """What the file says, as SHOW CONFIG prints it; None if it says nothing."""
    if known is None or filed is None or known.name not in filed.explicit:
        return None
    return known.show(getattr(filed.settings, known.name))


def _same(known: Setting | None, file: str, running: Any) -> bool:
    """Releases print values in ways of their own, so it is the meaning that counts."""
    if known is None or running is None:
        return bool(file == running)
    try:
        return bool(known.parse(file) == known.parse(str(running)))
    except ValueError:
        return bool(file == running)


def _overridden(known: Setting | None) -> Iterator[str]:
    """Where else it can be set, and goes before."""
    if known is not None and known.database_key is not None:
        yield f"[databases] {known.database_key}"
    if known is not None and known.user_key is not None:
        yield f"[users] {known.user_key}"
