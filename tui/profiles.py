"""Named profiles of the console, in a TOML file: where each pooler is, and how careful to be with it.

default = "shop"

[profiles.shop]
target = "postgresql://ops@10.0.0.7:6432"
production = true

[profiles.shop.alerts]
waiting_warning = 5
"""

from __future__ import annotations

import os
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from tui.admin.errors import TargetError
from tui.admin.target import password_in
from tui.watch.thresholds import AlertThresholds

PRODUCTION_NAMES: Final = frozenset({"production", "prod"})
PRODUCTION_COLOUR: Final = "red"

COLOURS: Final = ("red", "orange", "yellow", "green", "cyan", "blue", "magenta", "grey")

_HEX: Final = re.compile(r"#[0-9A-Fa-f]{6}")
_READABLE_BY_OTHERS: Final = 0o077


class ProfileError(ValueError):
    """The file of profiles, or what was asked of it, makes no sense; the text says where and why."""


@dataclass(frozen=True, slots=True)
class ServerLogin:
    """Who logs in to PostgreSQL itself, to see what a server connection does. What is None is libpq's."""

    user: str | None = None
    password: str | None = field(default=None, repr=False)
    sslmode: str | None = None
    sslrootcert: str | None = None


@dataclass(frozen=True, slots=True)
class Profile:
    """One pooler, as somebody wants to see it. What is None was not said."""

    name: str = ""
    target: str | None = field(default=None, repr=False)
    """A URL, a connection string or an ini file (`tui.admin.target`)."""
    production: bool = False
    colour: str | None = None
    """One of COLOURS or `#rrggbb`: of the frame."""
    read_only: bool = False
    interval: float | None = None
    """Seconds between two looks."""
    theme: str | None = None
    log: str | None = None
    """The pooler's log file, where it is on this machine."""
    ini: str | None = None
    """The pooler's configuration file, where it is on this machine."""
    alerts: Mapping[str, Any] = field(default_factory=dict)
    """Thresholds, as they stand in the file."""
    server: ServerLogin = ServerLogin()


@dataclass(frozen=True, slots=True)
class Profiles:
    """All profiles of a file."""

    path: str
    profiles: Mapping[str, Profile] = field(default_factory=dict)
    default: str | None = None

    def choose(self, name: str | None) -> Profile:
        """The one of that name; without a name the default one, or one that says nothing.

        Raises ProfileError.
        """
        wanted = name or self.default
        if wanted is None:
            return Profile()
        if wanted not in self.profiles:
            known = ", ".join(self.profiles) or "none"
            raise ProfileError(f"there is no profile {wanted} in {self.path}, which has: {known}")
        return self.profiles[wanted]


def default_path(environ: Mapping[str, str] = os.environ) -> str:
    """POOLDECK_CONSOLE_CONFIG, or else `pooldeck/console.toml` in the user's directory for configuration."""
    if path := environ.get("POOLDECK_CONSOLE_CONFIG"):
        return path
    base = environ.get("XDG_CONFIG_HOME") or os.path.expanduser("~/.config")
    return os.path.join(base, "pooldeck", "console.toml")


def load_profiles(path: str | None = None, environ: Mapping[str, str] = os.environ) -> Profiles:
    """Read the file; one that nobody has named need not exist.

    Raises ProfileError. A file that others may read must have no password in it.
    """
    named = path or environ.get("POOLDECK_CONSOLE_CONFIG")
    file = path or default_path(environ)
    try:
        text = Path(file).read_text(encoding="utf-8")
        mode = os.stat(file).st_mode
    except FileNotFoundError:
        if named:
            raise ProfileError(f"{file}: there is no such file") from None
        return Profiles(file)
    except OSError as error:
        raise ProfileError(f"{file}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ProfileError(f"{file}: not UTF-8") from None
    return _Reader(file, text, bool(mode & _READABLE_BY_OTHERS)).read()


# Reading ---------------------------------------------------------------------------------------------------

Check = Callable[[Any], Any]
"""Gives the value as it is kept; raises ValueError with what was expected."""


def _string(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("a text is expected")
    return value


def _boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("true or false is expected")
    return value


def _path(value: Any) -> str:
    return os.path.expanduser(_string(value))


def _seconds(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0.1 <= value <= 3600:
        raise ValueError("a number of seconds from 0.1 to 3600 is expected")
    return float(value)


def _colour(value: Any) -> str:
    if isinstance(value, str) and (value in COLOURS or _HEX.fullmatch(value)):
        return value
    raise ValueError(f"#rrggbb or one of {', '.join(COLOURS)} is expected")


def _table(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("a table is expected")
    return value


_KEYS: Final[Mapping[str, Check]] = {
    "target": _path,
    "production": _boolean,
    "colour": _colour,
    "read_only": _boolean,
    "interval": _seconds,
    "theme": _string,
    "log": _path,
    "ini": _path,
    "alerts": _table,
    "server": _table,
}

_SERVER_KEYS: Final[Mapping[str, Check]] = {
    "user": _string,
    "password": _string,
    "sslmode": _string,
    "sslrootcert": _path,
}

_TOP_KEYS: Final[Mapping[str, Check]] = {"default": _string, "profiles": _table}


class _Reader:
    """Turns one file into profiles, and knows where in it something stands."""

    def __init__(self, file: str, text: str, readable_by_others: bool) -> None:
        self._file, self._text = file, text
        self._readable_by_others = readable_by_others

    def read(self) -> Profiles:
        try:
            document = tomllib.loads(self._text)
        except tomllib.TOMLDecodeError as error:
            raise ProfileError(f"{self._file}: {error}") from None
        top = self._checked(document, _TOP_KEYS, ())
        tables: Mapping[str, Any] = top.get("profiles", {})
        found = Profiles(
            self._file,
            {name: self._profile(name, table) for name, table in tables.items()},
            top.get("default"),
        )
        if found.default is not None and found.default not in found.profiles:
            raise self._refusal((), "default", f"there is no profile {found.default}")
        return found

    def _profile(self, name: str, table: Any) -> Profile:
        section = ("profiles", name)
        if not isinstance(table, dict):
            raise self._refusal(("profiles",), name, "a table is expected")
        values = self._checked(table, _KEYS, section)
        server = ServerLogin(**self._checked(values.pop("server", {}), _SERVER_KEYS, (*section, "server")))
        self._refuse_passwords(values, server, section)
        self._check_alerts(values.get("alerts", {}), (*section, "alerts"))
        production = values.setdefault("production", name.lower() in PRODUCTION_NAMES)
        values.setdefault("read_only", production)
        values.setdefault("colour", PRODUCTION_COLOUR if production else None)
        return Profile(name=name, server=server, **values)

    def _checked(
        self, table: Mapping[str, Any], keys: Mapping[str, Check], section: tuple[str, ...]
    ) -> dict[str, Any]:
        found = {}
        for key, value in table.items():
            if key not in keys:
                raise self._refusal(section, key, f"unknown key, known are: {', '.join(keys)}")
            try:
                found[key] = keys[key](value)
            except ValueError as error:
                raise self._refusal(section, key, str(error)) from None
        return found

    def _check_alerts(self, alerts: Mapping[str, Any], section: tuple[str, ...]) -> None:
        try:
            AlertThresholds.from_mapping(alerts)
        except ValueError as error:
            name, _, reason = str(error).partition(": ")
            raise self._refusal(section, name, reason) from None

    def _refuse_passwords(
        self, values: Mapping[str, Any], server: ServerLogin, section: tuple[str, ...]
    ) -> None:
        if not self._readable_by_others:
            return
        reason = (
            "there is a password in it, and others may read the file: chmod 600, or put it into ~/.pgpass"
        )
        try:
            in_target = password_in(values.get("target", ""))
        except TargetError as error:
            raise self._refusal(section, "target", str(error)) from None
        if in_target:
            raise self._refusal(section, "target", reason)
        if server.password is not None:
            raise self._refusal((*section, "server"), "password", reason)

    def _refusal(self, section: tuple[str, ...], key: str, reason: str) -> ProfileError:
        line = _line_of(self._text, section, key)
        where = f"{self._file}:{line}" if line else self._file
        return ProfileError(f"{where}: {'.'.join((*section, key))}: {reason}")


_HEADER: Final = re.compile(r"\s*\[\s*([^\[\]]+?)\s*\]\s*(?:#.*)?")
_KEY: Final = re.compile(r"""\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=""")


def _line_of(text: str, section: tuple[str, ...], key: str) -> int | None:
    """The line that a key, or the table of that name, stands on; None where that is not plain to see."""
    wanted = (*section, key)
    current: tuple[str, ...] = ()
    for number, line in enumerate(text.splitlines(), 1):
        if header := _HEADER.fullmatch(line):
            current = _parts(header[1])
            if current[: len(wanted)] == wanted:
                return number
        elif (pair := _KEY.match(line)) and (*current, *_parts(pair[1]))[: len(wanted)] == wanted:
            return number
    return None


def _parts(dotted: str) -> tuple[str, ...]:
    """The names of `profiles."my shop".server`."""
    return tuple(part.strip("\"'") for part in re.findall(r"""[\w-]+|"[^"]*"|'[^']*'""", dotted))
