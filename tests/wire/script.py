"""What a message script says, as values. `tests/wire/parser.py` reads it, `tests/wire/play.py` plays it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, TypeAlias

POOLDECK = "pooldeck"
PGBOUNCER = "pgbouncer"
POSTGRESQL = "postgresql"
TARGETS = (POSTGRESQL, PGBOUNCER, POOLDECK)
POOLERS = frozenset({PGBOUNCER, POOLDECK})
EVERYWHERE = frozenset(TARGETS)

ADMIN_CLIENT = "admin"

Version: TypeAlias = tuple[int, ...]


class Token(NamedTuple):
    """A bare word, or a text in quotes. `$name` in it stands for a value that came before."""

    text: str
    quoted: bool


class Message(NamedTuple):
    """A message by its name in the protocol. `any_number`: as many of them as come, none included."""

    word: str
    arguments: tuple[Token, ...] = ()
    any_number: bool = False


# What happens in a step -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Open:
    """A client connects and says nothing yet."""

    peer: str


@dataclass(frozen=True, slots=True)
class Connect:
    """A client connects and logs in, with these parameters in its start-up packet."""

    peer: str
    parameters: tuple[Token, ...]


@dataclass(frozen=True, slots=True)
class Send:
    """All in one write. `rest`: what the last write held back goes first.

    `cut` is where the last message is cut: so many bytes of it go, or all but so many if it is negative.
    """

    peer: str
    messages: tuple[Message, ...]
    rest: bool = False
    cut: int | None = None


@dataclass(frozen=True, slots=True)
class Expect:
    """This comes back, and nothing between."""

    peer: str
    messages: tuple[Message, ...]


@dataclass(frozen=True, slots=True)
class LetIn:
    """A fake server takes a StartupMessage and welcomes whoever sent it."""

    peer: str


@dataclass(frozen=True, slots=True)
class Leave:
    """A connection ends: it `closes` (FIN), or `aborts` (RST)."""

    peer: str
    how: str


@dataclass(frozen=True, slots=True)
class Cancel:
    """A CancelRequest for this client, over a connection of its own, until that is closed."""

    peer: str


@dataclass(frozen=True, slots=True)
class Settle:
    """The pooler has read all that was sent so far."""


@dataclass(frozen=True, slots=True)
class Command:
    """A command to the admin database, over a connection beside the script's."""

    sql: str


@dataclass(frozen=True, slots=True)
class Pools:
    """SHOW POOLS shows these numbers for the pool of the scenario."""

    numbers: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Sql:
    """SQL to PostgreSQL, past the poolers. `until`: again and again, until its first value is true."""

    sql: str
    until: bool = False


@dataclass(frozen=True, slots=True)
class Configure:
    """A setting changes in the file; RELOAD is another step."""

    key: str
    value: str


@dataclass(frozen=True, slots=True)
class PoolerEnds:
    """The process of the pooler ends by itself."""


Action: TypeAlias = (
    Open
    | Connect
    | Send
    | Expect
    | LetIn
    | Leave
    | Cancel
    | Settle
    | Command
    | Pools
    | Sql
    | Configure
    | PoolerEnds
)


@dataclass(frozen=True, slots=True)
class Step:
    """One line of a scenario, and on which targets it is played."""

    line: int
    action: Action
    targets: frozenset[str] = EVERYWHERE


# What is known of a target ----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Remark:
    """Something that a script says of a target, for some of its versions: from `first` on, below `below`."""

    target: str
    reason: str
    first: Version = ()
    below: Version | None = None
    always: bool = True

    def holds_for(self, target: str, version: Version) -> bool:
        return (
            target == self.target and version >= self.first and (self.below is None or version < self.below)
        )


@dataclass(frozen=True, slots=True)
class Scenario:
    """A conversation, with the settings that it takes place under.

    `exclusions` say where it is not played, `differences` where something else comes out, and why.
    """

    path: Path
    line: int
    name: str
    settings: Mapping[str, str]
    steps: tuple[Step, ...]
    exclusions: tuple[Remark, ...] = ()
    differences: tuple[Remark, ...] = field(default=())

    @property
    def id(self) -> str:
        """What its test is called."""
        return f"{self.path.stem}: {self.name}"

    def is_played_on(self, target: str, version: Version) -> bool:
        return not any(remark.holds_for(target, version) for remark in self.exclusions)

    def difference(self, target: str, version: Version) -> Remark | None:
        """Why this target may behave in another way; None if it must not."""
        return next((known for known in self.differences if known.holds_for(target, version)), None)
