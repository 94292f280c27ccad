"""Replication connections: a client that asks for one gets a server of its own, for as long as it stays.

Such a server has logged in with what that client asked for, since PostgreSQL takes no SET in physical
replication (protocol chapter, "Streaming Replication Protocol").
"""

from dataclasses import dataclass
from enum import Enum
from typing import Final


class ReplicationKind(Enum):
    """The values are those that SHOW CLIENTS and SHOW SERVERS have."""

    PHYSICAL = "physical"
    LOGICAL = "logical"


PARAMETER: Final = {ReplicationKind.PHYSICAL: "yes", ReplicationKind.LOGICAL: "database"}
"""How the start-up parameter `replication` is given to servers."""

_TRUE: Final = ("1", "on", "t", "tr", "tru", "true", "y", "ye", "yes")
_FALSE: Final = ("0", "of", "off", "f", "fa", "fal", "fals", "false", "n", "no")


@dataclass(frozen=True, slots=True)
class Replication:
    """What a replication client asked for; `options` is its start-up parameter of that name, as it came."""

    kind: ReplicationKind
    options: str


def parse_kind(value: str) -> ReplicationKind | None:
    """What the start-up parameter `replication` asks for; None: an ordinary connection.

    Raises ValueError for a value that PostgreSQL would refuse.
    """
    if value == "database":
        return ReplicationKind.LOGICAL
    lowered = value.lower()
    if lowered in _TRUE:
        return ReplicationKind.PHYSICAL
    if lowered in _FALSE:
        return None
    raise ValueError(f'invalid value for parameter "replication": "{value}"')
