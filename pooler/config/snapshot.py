"""A configuration as one immutable value: read whole from its file, compared, merged with the running one.

`load` either gives a `Snapshot` without a mistake in it or raises all mistakes at once, so that a RELOAD
changes everything or nothing.
"""

import hashlib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from types import MappingProxyType
from typing import Any, Final, Generic, TypeVar

from pooler.config.entries import (
    AUTODB,
    AutoDatabase,
    DatabaseConfig,
    PeerConfig,
    UserConfig,
    parse_database,
    parse_peer,
    parse_user,
)
from pooler.config.errors import ConfigError, ConfigErrors, Origin
from pooler.config.ini import Item, KeyValue, Reader, SectionStart, parse_ini, read_bytes
from pooler.config.settings import DEFAULTS, SETTINGS, Settings
from pooler.config.unsupported import PEERS_REFUSAL, refused_setting, unsupported_value

__all__ = [
    "AutoDatabase",
    "Changes",
    "ConfigError",
    "ConfigErrors",
    "DatabaseConfig",
    "Origin",
    "PeerConfig",
    "Snapshot",
    "SnapshotDiff",
    "UserConfig",
    "diff",
    "load",
    "reloaded",
    "unsupported",
    "unsupported_value",
]

MAIN_SECTION: Final = "pgbouncer"

K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything that a configuration file and its includes say."""

    settings: Settings = DEFAULTS
    databases: Mapping[str, DatabaseConfig] = field(default_factory=dict)
    """By name, in the order of the file."""
    autodb: AutoDatabase | None = None
    users: Mapping[str, UserConfig] = field(default_factory=dict)
    peers: Mapping[int, PeerConfig] = field(default_factory=dict)
    file: str = ""
    explicit: Mapping[str, Origin] = field(default_factory=dict)
    """The settings that the file itself sets, and where."""
    content: Mapping[str, bytes] = field(default_factory=dict, compare=False, repr=False)
    """What was read: file and includes by real path, a digest of each."""


def load(path: str, read: Reader = read_bytes) -> Snapshot:
    """Read a configuration file; names in it are relative to the directory that the process runs in.

    `settings.conffile` is the file itself unless it names another. Raises ConfigErrors with every mistake in
    the file and its includes, in their order.
    """
    content: dict[str, bytes] = {}

    def noting(name: str) -> bytes:
        data = read(name)
        content[os.path.realpath(name)] = digest(data)
        return data

    loader = _Loader(path)
    for item in parse_ini(path, noting):
        loader.take(item)
    return replace(loader.snapshot(), content=MappingProxyType(content))


def digest(data: bytes) -> bytes:
    """What tells one content of a file from another."""
    return hashlib.sha256(data).digest()


class _Loader:
    """Collects the items of a file; a mistake costs its line and nothing else."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._section: str | None = None
        self._has_main_section = False
        self._values: dict[str, Any] = {"conffile": path}
        self._explicit: dict[str, Origin] = {}
        self._databases: dict[str, DatabaseConfig] = {}
        self._autodb: AutoDatabase | None = None
        self._users: dict[str, UserConfig] = {}
        self._peers: dict[int, PeerConfig] = {}
        self._errors: list[ConfigError] = []
        self._takers: Mapping[str, Callable[[KeyValue], None]] = {
            MAIN_SECTION: self._take_setting,
            "databases": self._take_database,
            "users": self._take_user,
            "peers": self._take_peer,
        }

    def take(self, item: Item) -> None:
        match item:
            case ConfigError():
                self._errors.append(item)
            case SectionStart():
                self._start_section(item)
            case KeyValue():
                self._take_pair(item)

    def snapshot(self) -> Snapshot:
        if not self._has_main_section:
            self._errors.append(ConfigError(self._path, None, "main section missing from config file"))
        if self._errors:
            raise ConfigErrors(tuple(self._errors))
        return Snapshot(
            settings=Settings(**self._values),
            databases=MappingProxyType(self._databases),
            autodb=self._autodb,
            users=MappingProxyType(self._users),
            peers=MappingProxyType(self._peers),
            file=self._path,
            explicit=MappingProxyType(self._explicit),
        )

    def _error(self, origin: Origin, message: str) -> None:
        self._errors.append(ConfigError(origin.file, origin.line, message))

    def _start_section(self, item: SectionStart) -> None:
        self._section = item.name
        if item.name not in self._takers:
            self._error(item.origin, f"unknown section: {item.name}")
        elif item.name == MAIN_SECTION:
            self._has_main_section = True
            self._reset_settings()

    def _reset_settings(self) -> None:
        """Each `[pgbouncer]` starts from the defaults, as in PgBouncer: what has none keeps its value."""
        for name in [name for name in self._values if SETTINGS[name].default_text is not None]:
            del self._values[name]
            del self._explicit[name]

    def _take_pair(self, item: KeyValue) -> None:
        if self._section is None:
            self._error(item.origin, f"value without section: {item.key}")
            return
        taker = self._takers.get(self._section)
        if taker is None:
            return  # the section itself is the mistake
        try:
            taker(item)
        except ValueError as error:
            self._error(item.origin, str(error))

    def _take_setting(self, item: KeyValue) -> None:
        setting = SETTINGS.get(item.key)
        if setting is None:
            raise ValueError(f"unknown parameter: {MAIN_SECTION}/{item.key}")
        self._values[item.key] = setting.parse(item.value)
        self._explicit[item.key] = item.origin

    def _take_database(self, item: KeyValue) -> None:
        database = parse_database(item.key, item.value)
        if item.key == AUTODB:
            self._autodb = AutoDatabase(item.value)
        else:
            self._databases[item.key] = database

    def _take_user(self, item: KeyValue) -> None:
        self._users[item.key] = parse_user(item.key, item.value)

    def _take_peer(self, item: KeyValue) -> None:
        peer = parse_peer(item.key, item.value, item.origin)
        self._peers[peer.peer_id] = peer


def reloaded(current: Snapshot, fresh: Snapshot) -> Snapshot:
    """What a RELOAD of `fresh` makes of `current`: settings that only a restart may change stay as they are.

    So does `verbose` unless the file sets it: it is what the command line said.
    """
    kept = {name for name, setting in SETTINGS.items() if not setting.reloadable}
    kept |= {"verbose"} - fresh.explicit.keys()
    values = {name: getattr(current.settings, name) for name in kept}
    return replace(fresh, settings=replace(fresh.settings, **values))


@dataclass(frozen=True, slots=True)
class Changes(Generic[K]):
    """What became of the entries of a section; `changed` names the fields that differ. False: nothing did."""

    added: tuple[K, ...]
    removed: tuple[K, ...]
    changed: Mapping[K, tuple[str, ...]]

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)


@dataclass(frozen=True, slots=True)
class SnapshotDiff:
    """How two snapshots differ, by name; the values are in the snapshots. False when they do not."""

    settings: tuple[str, ...]
    databases: Changes[str]
    autodb: bool
    users: Changes[str]
    peers: Changes[int]

    def __bool__(self) -> bool:
        return bool(self.settings or self.databases or self.autodb or self.users or self.peers)


def diff(old: Snapshot, new: Snapshot) -> SnapshotDiff:
    """Compare two snapshots."""
    return SnapshotDiff(
        settings=_changed_fields(old.settings, new.settings),
        databases=_changes(old.databases, new.databases),
        autodb=old.autodb != new.autodb,
        users=_changes(old.users, new.users),
        peers=_changes(old.peers, new.peers),
    )


def _changes(old: Mapping[K, Any], new: Mapping[K, Any]) -> Changes[K]:
    return Changes(
        added=tuple(key for key in new if key not in old),
        removed=tuple(key for key in old if key not in new),
        changed={
            key: _changed_fields(old[key], new[key]) for key in new if key in old and old[key] != new[key]
        },
    )


def _changed_fields(old: Any, new: Any) -> tuple[str, ...]:
    return tuple(
        compared.name
        for compared in fields(old)
        if compared.compare and getattr(old, compared.name) != getattr(new, compared.name)
    )


def unsupported(snapshot: Snapshot) -> tuple[ConfigError, ...]:
    """What the configuration asks for and this release cannot do yet: such a file is to be refused."""
    refused = [
        ConfigError(origin.file, origin.line, message)
        for name, origin in snapshot.explicit.items()
        if (message := refused_setting(name, getattr(snapshot.settings, name))) is not None
    ]
    for peer in snapshot.peers.values():
        file, line = (peer.origin.file, peer.origin.line) if peer.origin else (snapshot.file, None)
        refused.append(ConfigError(file, line, PEERS_REFUSAL))
    return tuple(refused)
