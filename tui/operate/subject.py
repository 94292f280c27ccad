"""What an action is for: the whole pooler, databases, clients or servers."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self, TypeAlias

Key: TypeAlias = str | int | tuple[str, str]
"""The name of a database; the `id` of a client or server, or (ptr, connect_time) where there is none."""


class Kind(enum.Enum):
    """What sort of thing is selected."""

    POOLER = "pooler"
    DATABASE = "database"
    CLIENT = "client"
    SERVER = "server"


@dataclass(frozen=True, slots=True)
class Subject:
    """What is selected. All but the pooler have at least one key, and no empty one. Raises ValueError."""

    kind: Kind
    keys: tuple[Key, ...] = ()

    def __post_init__(self) -> None:
        if self.kind is Kind.POOLER:
            if self.keys:
                raise ValueError("there is but one pooler")
            return
        # An empty name would turn `KILL db` into the KILL of everything.
        if not self.keys or any(key in ("", ("", "")) for key in self.keys):
            raise ValueError(f"no {self.kind.value} is named")

    @classmethod
    def pooler(cls) -> Self:
        """The whole pooler."""
        return cls(Kind.POOLER)

    @classmethod
    def databases(cls, *names: str) -> Self:
        """Databases by name."""
        return cls(Kind.DATABASE, tuple(dict.fromkeys(names)))

    @classmethod
    def clients(cls, *keys: Key) -> Self:
        """Clients by `row_key`."""
        return cls(Kind.CLIENT, tuple(dict.fromkeys(keys)))

    @classmethod
    def servers(cls, *keys: Key) -> Self:
        """Servers by `row_key`."""
        return cls(Kind.SERVER, tuple(dict.fromkeys(keys)))

    def __str__(self) -> str:
        if self.kind is Kind.POOLER:
            return "the whole pooler"
        if len(self.keys) > 1:
            return f"{len(self.keys)} {self.kind.value}s"
        return f"{self.kind.value} {key_text(self.keys[0])}"


def row_key(row: Mapping[str, Any]) -> Key:
    """What tells a row of SHOW CLIENTS or SERVERS from all others: `ptr` alone is used again."""
    if row.get("id") is not None:
        return int(row["id"])
    return str(row["ptr"]), str(row["connect_time"])


def key_text(key: Key) -> str:
    """As it is called in a sentence."""
    return key[0] if isinstance(key, tuple) else str(key)
