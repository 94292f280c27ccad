"""Where the files of a pooler are, if they are on this machine."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

_HERE: Final = ("/", "@", "127.", "::1", "localhost")


@dataclass(frozen=True, slots=True)
class Whereabouts:
    """The path of a file, or why there is none, in words."""

    path: str = ""
    reason: str = ""


def is_local(host: str) -> bool:
    """Whether a pooler that is reached like this should be on this machine; a tunnel cannot be told."""
    return all(not name or name.startswith(_HERE) for name in host.split(","))


def configuration_file(given: str | None, host: str, running: Mapping[str, Any] | None) -> Whereabouts:
    """The ini file: the one that was given, else the one that the pooler, by its SHOW CONFIG, has read."""
    return _find(given, host, running, "conffile", "configuration file")


def log_file(given: str | None, host: str, running: Mapping[str, Any] | None) -> Whereabouts:
    """The log file: the one that was given, else the one that the pooler writes."""
    return _find(given, host, running, "logfile", "log file")


def _find(
    given: str | None, host: str, running: Mapping[str, Any] | None, key: str, what: str
) -> Whereabouts:
    if given:
        return Whereabouts(os.path.abspath(given))
    if running is None:
        return Whereabouts(reason=f"the pooler has not said yet where its {what} is")
    named = str(running.get(key) or "")
    if not named:
        return Whereabouts(reason=f"the pooler has no {what}: its setting {key} is empty")
    if not is_local(host):
        return Whereabouts(reason=f"the {what}, {named}, is on another machine: that of {host}")
    if os.path.exists(named):
        return Whereabouts(os.path.abspath(named))
    if os.path.isabs(named):
        return Whereabouts(reason=f"there is no {named} on this machine: the pooler may run in a container")
    return Whereabouts(reason=f"the {what} is {named}, relative to the directory that the pooler runs in")
