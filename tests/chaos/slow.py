"""Queries that run for a while: cancel requests hit them, and clients leave in the middle of them."""

from __future__ import annotations

from tests.chaos.extended import add_select
from tests.chaos.scene import TRANSACTION, Batch, Scene
from tests.chaos.wire import (
    BIND_COMPLETE,
    COPY_OUT,
    COPY_OUT_DONE,
    FLUSH,
    PARSE_COMPLETE,
    SYNC,
    Reply,
    bind,
    columns,
    complete,
    copied,
    execute,
    one_row,
    parse,
    query,
    ready,
    row,
)

_SHORTEST, _LONGEST = 0.3, 2.0
_ROW_BYTES = 9000
"""More than PostgreSQL collects before it sends."""


def _sleeping(token: str, seconds: float) -> str:
    return f"SELECT '{token}' AS t FROM pg_sleep({seconds:.3f})"


def _seconds(scene: Scene) -> float:
    return scene.rng.uniform(_SHORTEST, _LONGEST)


async def slow_query(scene: Scene) -> None:
    """One query that takes its time, perhaps with another one behind it."""
    token, seconds = scene.token(), _seconds(scene)
    batch = Batch()
    batch.add(query(_sleeping(token, seconds)), *one_row("t", token), ready())
    if scene.rng.random() < 0.3:
        token = scene.token()
        batch.add(query(f"SELECT '{token}' AS t"), *one_row("t", token), ready())
    with scene.slow(seconds):
        await scene.ask(batch)


async def slow_pipeline(scene: Scene) -> None:
    """A statement that takes its time between others: what a cancel request ends goes up to the next Sync."""
    batch = Batch()
    for _ in range(scene.rng.randint(0, 2)):
        add_select(scene, batch)
    token, seconds = scene.token(), _seconds(scene)
    batch.add(parse("", f"SELECT $1 AS t FROM pg_sleep({seconds:.3f})", 1), PARSE_COMPLETE)
    batch.add(bind("", "", token), BIND_COMPLETE)
    batch.add(execute(), row(token), complete("SELECT 1"))
    for _ in range(scene.rng.randint(0, 2)):
        if scene.rng.random() < 0.5:
            batch.sync()
        add_select(scene, batch)
    batch.sync()
    with scene.slow(seconds):
        await scene.ask(batch)


async def slow_transaction(scene: Scene) -> None:
    """The same inside a transaction, which a cancel request makes fail."""
    token, seconds = scene.token(), _seconds(scene)
    await scene.ask_simple("BEGIN", complete("BEGIN"), status="T")
    with scene.slow(seconds):
        await scene.ask_simple(_sleeping(token, seconds), *one_row("t", token), status="T")
    await scene.ask_simple("COMMIT", complete("COMMIT"))


async def slow_rows(scene: Scene) -> None:
    """Rows, or lines of a COPY, that come one by one: a cancel request ends them anywhere."""
    token, count, seconds = scene.token(), scene.rng.randint(5, 25), _seconds(scene)
    value = "x" * _ROW_BYTES
    sql = (
        f"SELECT '{token}' || n || repeat('x', {_ROW_BYTES}) || pg_sleep({seconds / count:.3f})::text"
        f" AS t FROM generate_series(1, {count}) n"
    )
    texts = [f"{token}{number}{value}" for number in range(1, count + 1)]
    replies: list[Reply]
    if scene.rng.random() < 0.5:
        replies = [columns("t"), *map(row, texts), complete(f"SELECT {count}")]
    else:
        sql = f"COPY ({sql}) TO STDOUT"
        lines = [copied(f"{text}\n") for text in texts]
        replies = [COPY_OUT, *lines, COPY_OUT_DONE, complete(f"COPY {count}")]
    with scene.slow(seconds):
        await scene.ask_simple(sql, *replies)


async def walk_out(scene: Scene) -> None:
    """Leaves while its queries run, or while it is in line for a server to run them on."""
    rng = scene.rng
    if scene.mode == TRANSACTION and rng.random() < 0.2:
        await scene.ask_simple("BEGIN", complete("BEGIN"), status="T")
    sleeping = [_sleeping(scene.token(), 2 * _LONGEST) for _ in range(rng.choice((1, 1, 1, 3)))]
    with scene.slow(2 * _LONGEST):
        if rng.random() < 0.5:
            await scene.say(*map(query, sleeping))
        else:
            ends = [rng.choice((SYNC, SYNC, FLUSH)) for _ in sleeping]
            for sql, end in zip(sleeping, ends, strict=True):
                await scene.say(parse("", sql), bind("", ""), execute(), end)
        await scene.nap(0.6)
    await scene.leave(rng.choice(("reset", "close", "half close", "terminate")))
