"""Messages larger than every buffer, and clients that are slow to read them."""

from __future__ import annotations

from tests.chaos.scene import Batch, Scene
from tests.chaos.wire import (
    BIND_COMPLETE,
    PARSE_COMPLETE,
    bind,
    columns,
    complete,
    execute,
    one_row,
    parse,
    query,
    ready,
    row,
)

_MEGABYTE = 1024 * 1024


async def big_result(scene: Scene) -> None:
    """Megabytes in few rows, which some clients are slow to read: the token is at both ends."""
    await _rows(scene, scene.rng.choice((70_000, 300_000, 1_500_000)), scene.rng.randint(1, 4), 0.5)


async def oversized_result(scene: Scene) -> None:
    """More than the kernel takes for a client that does not read: the server has to wait."""
    scene.count("oversized results")
    size, count = scene.rng.choice(((_MEGABYTE, 40), (8 * _MEGABYTE, 4)))
    await _rows(scene, size, count, 2.0)


async def _rows(scene: Scene, size: int, count: int, longest_nap: float) -> None:
    token = scene.token()
    value = token + "x" * size + token
    await scene.say(
        query(f"SELECT '{token}' || repeat('x', {size}) || '{token}' AS t FROM generate_series(1, {count})")
    )
    if scene.rng.random() < 0.3 or size * count > 20 * _MEGABYTE:
        scene.count("results left unread for a while")
        await scene.nap(longest_nap)
    await scene.hear(columns("t"), *[row(value)] * count, complete(f"SELECT {count}"), ready())


async def big_query(scene: Scene) -> None:
    """A message larger than every buffer, both ways."""
    token = scene.token()
    value = token + "y" * scene.rng.choice((20_000, 150_000, 700_000)) + token
    batch = Batch()
    if scene.rng.random() < 0.5:
        batch.add(query(f"SELECT '{value}' AS t"), *one_row("t", value), ready())
    else:
        batch.add(parse("", "SELECT $1 AS t", 1), PARSE_COMPLETE)
        batch.add(bind("", "", value), BIND_COMPLETE)
        batch.add(execute(), row(value), complete("SELECT 1"))
        batch.sync()
    await scene.ask(batch)
