"""What another configuration would change, and what has to happen until each change counts."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from enum import Enum
from typing import Any, Final, NamedTuple

from pooler.config.entries import AUTODB, AutoDatabase, DatabaseConfig, parse_database
from pooler.config.settings import SETTINGS, Settings
from pooler.config.snapshot import MAIN_SECTION, Snapshot, reloaded

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


class Change(NamedTuple):
    """One change: a row of RELOAD DRY RUN. What may hold a password is hidden."""

    section: str
    key: str
    change: str
    """`added`, `removed` or `changed`."""
    old: str | None
    new: str | None
    needs: str
    """`now`, `reconnect` or `restart`."""


def needs(name: str) -> str:
    """What has to happen until a changed setting counts."""
    if not SETTINGS[name].reloadable:
        return RESTART
    return RECONNECT if name.startswith(_FOR_NEW_CONNECTIONS) else NOW


def changes(settings: Settings, running: Snapshot, fresh: Snapshot) -> Iterator[Change]:
    """What a RELOAD of `fresh` would change, or a restart would.

    `settings` are those in force: the ones of `running`, the configuration that was loaded last, unless
    somebody has SET others.
    """
    yield from _settings(settings, running, fresh)
    yield from _entries("databases", databases_of(running), databases_of(fresh))
    yield from _entries("users", running.users, fresh.users)


def _settings(settings: Settings, running: Snapshot, fresh: Snapshot) -> Iterator[Change]:
    after = reloaded(running, fresh).settings
    for name, setting in SETTINGS.items():
        # What only a restart may change stays as it is, but the file says what it will be then.
        source = after if setting.reloadable else fresh.settings
        old, new = getattr(settings, name), getattr(source, name)
        if old == new:
            continue
        texts = (HIDDEN, HIDDEN) if setting.secret else (setting.show(old), setting.show(new))
        yield Change(MAIN_SECTION, name, "changed", *texts, needs(name))


def databases_of(snapshot: Snapshot) -> Mapping[str, DatabaseConfig]:
    """Those of a configuration by name, with the `*` entry as one more."""
    return {**snapshot.databases, **_star(snapshot.autodb)}


def _star(entry: AutoDatabase | None) -> dict[str, DatabaseConfig]:
    return {} if entry is None else {AUTODB: parse_database(AUTODB, entry.connstr)}


def _entries(section: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Change]:
    for name in dict.fromkeys((*old, *new)):
        before, after = old.get(name), new.get(name)
        if before is None:
            yield Change(section, name, "added", None, _summary(after), NOW)
        elif after is None:
            yield Change(section, name, "removed", _summary(before), None, NOW)
        else:
            yield from _changed_keys(section, name, before, after)


def _changed_keys(section: str, name: str, before: Any, after: Any) -> Iterator[Change]:
    for key in keys_of(before):
        old, new = getattr(before, key), getattr(after, key)
        if old != new:
            wait = RECONNECT if section == "databases" and key in _OF_SERVERS else NOW
            yield Change(section, f"{name}.{key}", "changed", shown(key, old), shown(key, new), wait)


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
