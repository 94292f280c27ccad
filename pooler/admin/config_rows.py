"""SHOW CONFIG_DIFF: where what runs is not what the file says, or not the default."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from pooler.admin.console import Row
from pooler.admin.errors import AdminError
from pooler.admin.host import AdminHost
from pooler.config.effects import HIDDEN, SECRET_KEYS, databases_of, keys_of, shown
from pooler.config.entries import DatabaseConfig, UserConfig
from pooler.config.errors import ConfigErrors
from pooler.config.settings import DEFAULTS, SETTINGS
from pooler.config.snapshot import MAIN_SECTION, Snapshot
from pooler.wire.messages import CONFIG_FILE_ERROR, TEXT

COLUMNS: Final = tuple(
    (name, TEXT) for name in ("section", "key", "file", "running", "default", "source", "changeable")
)

_Texts = tuple[str | None, str | None, str | None]

DEFAULT: Final = "default"
FILE: Final = "file"
SET: Final = "set"
COMMAND_LINE: Final = "command line"


def differences(host: AdminHost) -> list[Row]:
    """A row for each setting, and each key of a database or user, whose running value is not that of the file
    as it is now, or not the default. Raises AdminError if the file cannot be read.
    """
    try:
        fresh = host.read_config()
    except ConfigErrors as errors:
        raise AdminError("the configuration file has errors", CONFIG_FILE_ERROR, str(errors)) from None
    running = host.registry.snapshot
    return [
        *_settings(host, fresh),
        *_entries("databases", databases_of(running), databases_of(fresh)),
        *_entries("users", running.users, fresh.users),
    ]


def _settings(host: AdminHost, fresh: Snapshot) -> Iterator[Row]:
    registry = host.registry
    for name, setting in SETTINGS.items():
        value, filed = getattr(registry.settings, name), getattr(fresh.settings, name)
        in_file = name in fresh.explicit
        if value == getattr(DEFAULTS, name) and (not in_file or value == filed):
            continue
        show = _hidden if setting.secret else _plain
        texts = show(setting.show(filed) if in_file else None, setting.show(value), setting.default_text)
        yield (MAIN_SECTION, name, *texts, _source(host, name), "yes" if setting.reloadable else "no")


def _source(host: AdminHost, name: str) -> str:
    """Where the running value comes from; what is in the file no more was in it at the start."""
    registry = host.registry
    if name in host.values_set():
        return SET
    if name in registry.snapshot.explicit:
        return FILE
    if getattr(registry.settings, name) == getattr(DEFAULTS, name):
        return DEFAULT
    return COMMAND_LINE if name in ("conffile", "verbose") else FILE


def _entries(section: str, running: Mapping[str, Any], fresh: Mapping[str, Any]) -> Iterator[Row]:
    for name in dict.fromkeys((*running, *fresh)):
        now, filed = running.get(name), fresh.get(name)
        initial = DatabaseConfig(name, name) if section == "databases" else UserConfig(name)
        for key in keys_of(initial):
            default = getattr(initial, key)
            value = default if now is None else getattr(now, key)
            other = default if filed is None else getattr(filed, key)
            if value == default and other == default:
                continue
            if key in SECRET_KEYS:
                texts = _hidden(other or None, value or None, default or None)
            else:
                texts = _plain(shown(key, other), shown(key, value), shown(key, default))
            source = DEFAULT if value == default else FILE
            yield (section, f"{name}.{key}", *texts, source, "yes")


def _plain(file: str | None, running: str | None, default: str | None) -> _Texts:
    return file, running, default


def _hidden(file: str | None, running: str | None, default: str | None) -> _Texts:
    """Whether there is a value, and whether the running one is another than that of the file."""
    other = running is not None and file is not None and running != file
    shown_running = None if running is None else f"{HIDDEN} (another)" if other else HIDDEN
    return (None if file is None else HIDDEN, shown_running, None if default is None else HIDDEN)
