"""Rows as SHOW CLIENTS has them, for tables under test."""

from __future__ import annotations

import random
from collections.abc import Iterable

from tui.widgets.columns import Column, Kind, Level
from tui.widgets.snapshot import Snapshot
from tui.widgets.view import Arrangement, View, arrange


def wait_level(value: float) -> Level:
    return Level.CRITICAL if value >= 5 else Level.WARNING if value >= 1 else Level.PLAIN


COLUMNS = (
    Column("id", Kind.NUMBER),
    Column("user"),
    Column("database"),
    Column("state", level=lambda value: Level.GOOD if value == "active" else Level.MUTED),
    Column("addr"),
    Column("port", Kind.NUMBER),
    Column("wait", Kind.NUMBER, level=wait_level),
    Column("application_name", max_width=24),
    Column("link"),
)


def client(number: int, wait: float = 0, application: str = "worker") -> tuple[object, ...]:
    user = f"user{number % 7}"
    state = "active" if number % 3 else "idle"
    address = f"10.0.{number // 250 % 250}.{number % 250}"
    return (
        number,
        user,
        f"db{number % 3}",
        state,
        address,
        1024 + number,
        wait,
        application,
        f"0x{number:08x}",
    )


def clients(numbers: Iterable[int], seed: int | None = None) -> Snapshot:
    """Clients by their ids; with a `seed` each waits for another time."""
    chance = random.Random(seed)
    rows = [client(number, 0 if seed is None else round(chance.uniform(0, 9), 3)) for number in numbers]
    return Snapshot(COLUMNS, rows, ["id"])


def view(numbers: Iterable[int], seed: int | None = None, **arrangement: object) -> View:
    return arrange(clients(numbers, seed), Arrangement(**arrangement))  # type: ignore[arg-type]
