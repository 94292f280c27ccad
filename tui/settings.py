"""What a console is started with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tui.admin.connection import connect
from tui.admin.target import Target
from tui.watch.clock import Clock
from tui.watch.feed import Connect


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
    connect: Connect = connect
    clock: Clock = field(default_factory=Clock)

    @property
    def title(self) -> str:
        return self.name or f"{self.target.host}:{self.target.port}"
