"""The extended protocol: pipelines, errors in them, Flush, portals."""

from __future__ import annotations

from tests.chaos.scene import Batch, Scene
from tests.chaos.wire import (
    BIND_COMPLETE,
    CLOSE_COMPLETE,
    EMPTY_QUERY,
    FLUSH,
    INVALID_TEXT,
    NO_DATA,
    PARSE_COMPLETE,
    PORTAL_SUSPENDED,
    SYNC,
    bind,
    close_portal,
    columns,
    complete,
    describe_portal,
    describe_statement,
    error,
    execute,
    one_row,
    parameters,
    parse,
    query,
    ready,
    row,
)


def add_select(scene: Scene, batch: Batch) -> None:
    """Parse, Bind and Execute of the unnamed statement, perhaps described."""
    token = scene.token()
    describes = scene.rng.random()
    batch.add(parse("", "SELECT $1 AS t", 1), PARSE_COMPLETE)
    if describes < 0.3:
        batch.add(describe_statement(""), parameters(1), columns("t"))
    batch.add(bind("", "", token), BIND_COMPLETE)
    if 0.2 < describes < 0.5:
        batch.add(describe_portal(""), columns("t"))
    batch.add(execute(), row(token), complete("SELECT 1"))


def add_error(scene: Scene, batch: Batch) -> None:
    """Something that fails: in Parse, in Bind or in Execute."""
    token = scene.token()
    where = scene.rng.randrange(4)
    if where == 0:
        batch.fail(parse("", f"SELECT {token}"), error("42703", token))
        return
    if where == 1:
        batch.fail(bind("", f"no_{token}"), error("26000", token))
        return
    batch.add(parse("", "SELECT ($1 || n)::int FROM generate_series(1, 1) n", 1), PARSE_COMPLETE)
    if where == 2:
        batch.fail(bind("", "", token, token), error("08P01", "bind message supplies 2 parameters"))
        return
    batch.add(bind("", "", token), BIND_COMPLETE)
    batch.fail(execute(), error(INVALID_TEXT, token))


async def extended(scene: Scene) -> None:
    """One unnamed statement."""
    batch = Batch()
    add_select(scene, batch)
    batch.sync()
    await scene.ask(batch)


async def pipeline(scene: Scene) -> None:
    """Statements and Syncs in any number and order, with errors, empty queries and Flushes in between."""
    batch = Batch()
    for _ in range(scene.rng.randint(1, 5)):
        for _ in range(scene.rng.randint(0, 4)):
            luck = scene.rng.random()
            if luck < 0.12:
                add_error(scene, batch)
            elif luck < 0.2:
                batch.add(FLUSH)
            elif luck < 0.27:
                batch.add(parse("", ""), PARSE_COMPLETE)
                batch.add(bind("", ""), BIND_COMPLETE)
                batch.add(describe_portal(""), NO_DATA)
                batch.add(execute(), EMPTY_QUERY)
            else:
                add_select(scene, batch)
        batch.sync()
    await scene.ask(batch)


async def flush_then_sync(scene: Scene) -> None:
    """All replies but ReadyForQuery come before the Sync is sent, which may take a while."""
    batch = Batch()
    for _ in range(scene.rng.randint(1, 3)):
        add_select(scene, batch)
    if scene.rng.random() < 0.25:
        add_error(scene, batch)
    batch.add(FLUSH)
    await scene.ask(batch)
    await scene.nap()
    if scene.rng.random() < 0.3:
        again = Batch(failed=batch.failed)
        add_select(scene, again)
        again.add(FLUSH)
        await scene.ask(again)
    await scene.say(SYNC)
    await scene.hear(ready())


async def mixed(scene: Scene) -> None:
    """Queries and extended statements in one pipeline; a Query ends an implicit transaction as a Sync does.

    After an error the server ignores the Query too, so that its ReadyForQuery never comes.
    """
    scene.recoverable = False
    batch = Batch()
    for _ in range(scene.rng.randint(1, 3)):
        token = scene.token()
        add_select(scene, batch)
        if scene.rng.random() < 0.25:
            add_error(scene, batch)
        batch.add(query(f"SELECT '{token}' AS t"), *one_row("t", token), ready())
    batch.sync()
    await scene.ask(batch)


async def portals(scene: Scene) -> None:
    """Portals of several kinds with row limits."""
    token, portal = scene.token(), scene.rng.choice(("", "p1", "p2"))
    total = scene.rng.randint(2, 9)
    batch = Batch()
    batch.add(parse("", f"SELECT $1 || n AS t FROM generate_series(1, {total}) n", 1), PARSE_COMPLETE)
    batch.add(bind(portal, "", token), BIND_COMPLETE)
    shown = 0
    while total - shown > 2 and scene.rng.random() < 0.8:
        limit = scene.rng.randint(1, total - shown - 1)
        rows = [row(f"{token}{number}") for number in range(shown + 1, shown + limit + 1)]
        batch.add(execute(portal, limit), *rows, PORTAL_SUSPENDED)
        shown += limit
        if scene.rng.random() < 0.2:
            batch.add(FLUSH)
    luck = scene.rng.random()
    if luck < 0.7:
        rows = [row(f"{token}{number}") for number in range(shown + 1, total + 1)]
        batch.add(execute(portal), *rows, complete(f"SELECT {total - shown}"))
    elif luck < 0.85:
        batch.add(close_portal(portal), CLOSE_COMPLETE)
    batch.sync()
    await scene.ask(batch)
