"""Where a pooler listens, and who may log in to its admin database, as its ini file says."""

from __future__ import annotations

import os
from typing import Final

from pooler.config.errors import ConfigErrors
from pooler.config.ini import KeyValue, SectionStart, parse_ini
from pooler.config.settings import DEFAULTS, word_list
from tui.admin.errors import TargetError

_EVERY_ADDRESS: Final = {"*": "127.0.0.1", "0.0.0.0": "127.0.0.1", "::": "::1"}

OWNER: Final = "pgbouncer"
"""The user whom the pooler lets in over its unix socket if the process is its own user's."""


def from_ini(path: str, account: str) -> tuple[dict[str, str], dict[str, str]]:
    """The parameters that the file settles, and those that a variable may override: the user.

    The unix socket comes before TCP if it is there. If it is ours, the user is `OWNER`, without a password;
    else `account` if that is an admin, else the first of `admin_users`, then of `stats_users`. Mistakes
    elsewhere in the file do not matter: what runs may be of another release. Raises TargetError.
    """
    settings = _settings(path)
    port = settings.get("listen_port") or str(DEFAULTS.listen_port)
    host = _host(path, settings, port)
    user = OWNER if _is_ours(_socket(host, port)) else _user(settings, account)
    return {"host": host, "port": port}, {"user": user}


def log_file(path: str) -> str | None:
    """The file that the pooler logs to; None if there is none, or it depends on where the pooler was started.

    Raises TargetError.
    """
    name = _settings(path).get("logfile", "")
    return name if name.startswith("/") else None


def _settings(path: str) -> dict[str, str]:
    """The pairs of `[pgbouncer]`, as they stand in the file."""
    try:
        items = parse_ini(path)
    except ConfigErrors as errors:
        raise TargetError(str(errors)) from None
    section = None
    found: dict[str, str] = {}
    for item in items:
        if isinstance(item, SectionStart):
            section = item.name
        elif isinstance(item, KeyValue) and section == "pgbouncer":
            found[item.key] = item.value
    if not found:
        raise TargetError(f"{path}: nothing is set under [pgbouncer]")
    return found


def _host(path: str, settings: dict[str, str], port: str) -> str:
    directory = settings.get("unix_socket_dir", DEFAULTS.unix_socket_dir)
    has_socket = directory.startswith("/")
    if has_socket and os.path.exists(_socket(directory, port)):
        return directory
    for address in word_list(settings.get("listen_addr", "")):
        return _EVERY_ADDRESS.get(address, address)
    if has_socket:
        return directory
    raise TargetError(f"{path}: neither listen_addr nor unix_socket_dir says where the pooler listens")


def _socket(directory: str, port: str) -> str:
    return f"{directory}/.s.PGSQL.{port}"


def _is_ours(socket: str) -> bool:
    """Whether a process of this account has made it."""
    try:
        return os.stat(socket).st_uid == os.geteuid()
    except OSError:
        return False


def _user(settings: dict[str, str], account: str) -> str:
    admins = word_list(settings.get("admin_users", ""))
    if account in admins:
        return account
    return next(iter((*admins, *word_list(settings.get("stats_users", "")))), OWNER)
