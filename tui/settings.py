"""What a console is started with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from tui.admin.connection import connect
from tui.admin.target import Target
from tui.profiles import ServerLogin
from tui.watch.clock import Clock
from tui.watch.feed import Connect


class Hosted(Protocol):
    """The pooler, where it lives in the process of the console and ends with it."""

    @property
    def running(self) -> bool: ...

    def stop(self, *, at_once: bool) -> None:
        """Shut down: at once, or when all clients have left. Does not wait."""


@dataclass(frozen=True, slots=True)
class ConsoleSettings:
    """Whom to talk to and how; a profile and the command line fill it in."""

    target: Target
    name: str = ""
    """What the pooler is called on the screen; without one it is host and port."""
    read_only: bool = False
    colour: str = ""
    """Of the frame: a colour of Textual. Red tells production from everything else."""
    interval: float | None = 1.0
    """Seconds between polls; None polls only when told."""
    theme: str = ""
    thresholds: Mapping[str, Any] = field(default_factory=dict)
    state_dir: Path | None = None
    """Where choices are remembered and the audit is kept; None keeps nothing."""
    ini: Path | None = None
    """The pgbouncer.ini of the pooler, if it is on this machine."""
    log: Path | None = None
    server: ServerLogin = field(default_factory=ServerLogin)
    """Who asks PostgreSQL itself what a server connection does."""
    hosted: Hosted | None = None
    connect: Connect = connect
    clock: Clock = field(default_factory=Clock)

    @property
    def title(self) -> str:
        return self.name or f"{self.target.host}:{self.target.port}"
