"""RELOAD DRY RUN: what the configuration file would change, and what has to happen for that."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from enum import Enum
from typing import Any, Final

from pooler.admin.actions import reload_failed
from pooler.admin.console import Console, Reply, Result, Row
from pooler.admin.parser import Statement
from pooler.config.entries import AUTODB, AutoDatabase, DatabaseConfig, parse_database
from pooler.config.errors import ConfigErrors
from pooler.config.settings import SETTINGS
from pooler.config.snapshot import MAIN_SECTION, Snapshot, reloaded
from pooler.pool.registry import Registry
from pooler.wire.messages import TEXT

COLUMNS: Final = tuple((name, TEXT) for name in ("section", "key", "change", "old", "new", "needs"))

NOW: Final = "now"
RECONNECT: Final = "reconnect"
RESTART: Final = "restart"

HIDDEN: Final = "***"
SECRET_KEYS: Final = frozenset(("password", "connect_query"))
"""Of connect strings: they are, or may hold, passwords."""

_FOR_NEW_CONNECTIONS: Final = (
    *("client_tls_", "server_tls_", "auth_", "tcp_", "admin_users", "stats_users"),
    *("application_name_add_host", "ignore_startup_parameters", "login_notify_message"),
)
"""Beginnings of the names of settings that say how connections begin: those there are stay as they are."""

_OF_SERVERS: Final = frozenset(
    (
        *("dbname", "host", "port", "user", "password", "connect_query", "auth_dbname", "auth_query"),
        *("load_balance_hosts", "client_encoding", "datestyle", "timezone", "application_name"),
    )
)
"""Keys of a database that say where its server connections go, and how they begin."""


def dry_run(console: Console, statement: Statement) -> Reply:
    """RELOAD DRY RUN: a row for each change; fails as RELOAD would."""
    registry = console.host.registry
    try:
        fresh, others = console.host.preview_reload()
    except ConfigErrors as errors:
        raise reload_failed(registry, errors) from None
    rows = [*_settings(registry, fresh), *_sections(registry.snapshot, fresh), *others]
    return Result("RELOAD", COLUMNS, rows)


def needs(name: str) -> str:
    """What has to happen until a changed setting counts."""
    if not SETTINGS[name].reloadable:
        return RESTART
    return RECONNECT if name.startswith(_FOR_NEW_CONNECTIONS) else NOW


def _settings(registry: Registry, fresh: Snapshot) -> Iterator[Row]:
    after = reloaded(registry.snapshot, fresh).settings
    for name, setting in SETTINGS.items():
        # What only a restart may change stays as it is, but the file says what it will be then.
        source = after if setting.reloadable else fresh.settings
        old, new = getattr(registry.settings, name), getattr(source, name)
        if old == new:
            continue
        shown = (HIDDEN, HIDDEN) if setting.secret else (setting.show(old), setting.show(new))
        yield (MAIN_SECTION, name, "changed", *shown, needs(name))


def _sections(running: Snapshot, fresh: Snapshot) -> Iterator[Row]:
    yield from _entries("databases", databases_of(running), databases_of(fresh))
    yield from _entries("users", running.users, fresh.users)


def databases_of(snapshot: Snapshot) -> Mapping[str, DatabaseConfig]:
    """Those of a configuration by name, with the `*` entry as one more."""
    return {**snapshot.databases, **_star(snapshot.autodb)}


def _star(entry: AutoDatabase | None) -> dict[str, DatabaseConfig]:
    return {} if entry is None else {AUTODB: parse_database(AUTODB, entry.connstr)}


def _entries(section: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Row]:
    for name in dict.fromkeys((*old, *new)):
        before, after = old.get(name), new.get(name)
        if before is None:
            yield (section, name, "added", None, _summary(after), NOW)
        elif after is None:
            yield (section, name, "removed", _summary(before), None, NOW)
        else:
            yield from _changed_keys(section, name, before, after)


def _changed_keys(section: str, name: str, before: Any, after: Any) -> Iterator[Row]:
    for key in keys_of(before):
        old, new = getattr(before, key), getattr(after, key)
        if old != new:
            wait = RECONNECT if section == "databases" and key in _OF_SERVERS else NOW
            yield (section, f"{name}.{key}", "changed", shown(key, old), shown(key, new), wait)


def keys_of(entry: Any) -> Sequence[str]:
    """The keys that an entry of `[databases]` or `[users]` can have."""
    return [field.name for field in fields(entry) if field.name != "name"]


def shown(key: str, value: object) -> str | None:
    """The value of a key of an entry, as text; None where there is none."""
    if value is None or (key in SECRET_KEYS and not value):
        return None
    if key in SECRET_KEYS:
        return HIDDEN
    if isinstance(value, Enum):
        return value.name.lower().replace("_", "-")
    return f"{value:g}" if isinstance(value, float) else str(value)


def _summary(entry: Any) -> str:
    pairs = ((key, shown(key, getattr(entry, key))) for key in keys_of(entry))
    return " ".join(f"{key}={text}" for key, text in pairs if text is not None)
