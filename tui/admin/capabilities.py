"""Which tables and commands a pooler has, as its SHOW HELP says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Self


@dataclass(frozen=True, slots=True)
class Capabilities:
    """Names of tables and verbs are in upper case."""

    tables: frozenset[str]
    commands: Mapping[str, tuple[str, ...]]
    """By verb: what may follow it, a text for each line of SHOW HELP."""

    @classmethod
    def from_help(cls, text: str) -> Self:
        """Read the detail of the notice of SHOW HELP: a command a line, tables with `|` between them."""
        tables: set[str] = set()
        commands: dict[str, tuple[str, ...]] = {}
        for line in text.splitlines():
            verb, _, form = line.strip().partition(" ")
            if not verb:
                continue
            if verb == "SHOW":
                tables.update(name for name in form.split("|") if name)
            commands[verb] = (*commands.get(verb, ()), form)
        return cls(frozenset(tables), commands)

    def has_table(self, name: str) -> bool:
        """Whether SHOW knows it."""
        return name.upper() in self.tables

    def has_command(self, verb: str) -> bool:
        """Whether there is a command with this verb."""
        return verb.upper() in self.commands

    @property
    def sql(self) -> bool:
        """Whether SHOW takes a condition and the extended protocol is spoken: our own pooler, so far."""
        return "KILL_CLIENTS" in self.commands
