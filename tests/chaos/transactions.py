"""Transactions in both protocols: on one backend from end to end, with errors, and left alone too long."""

from __future__ import annotations

from tests.chaos.extended import add_error, add_select
from tests.chaos.scene import Batch, Over, Scene
from tests.chaos.wire import (
    BIND_COMPLETE,
    INVALID_TEXT,
    PARSE_COMPLETE,
    PORTAL_SUSPENDED,
    Reply,
    bind,
    columns,
    complete,
    describe_portal,
    error,
    execute,
    fatal,
    one_row,
    parse,
    query,
    ready,
    row,
    values_of,
)

IN_FAILED_TRANSACTION = "25P02"


class SameBackend:
    """A reply that holds a token and the backend's process id, which has to be the same every time."""

    def __init__(self) -> None:
        self.pid = ""

    def sql(self, token: str) -> str:
        return f"SELECT '{token}' AS t, pg_backend_pid()::text AS p"

    def replies(self, token: str) -> tuple[Reply, ...]:
        return (columns("t", "p"), Reply("D", lambda body: self._fault(token, body)), complete("SELECT 1"))

    def _fault(self, token: str, body: bytes) -> str:
        found, pid = values_of(body)
        if found != token:
            return f"expected {token}"
        if self.pid and pid != self.pid:
            return f"expected the backend {self.pid} that the transaction began on"
        self.pid = pid
        return ""


async def transaction(scene: Scene) -> None:
    """A transaction with savepoints and errors, in both protocols, on one backend from end to end."""
    rng, backend = scene.rng, SameBackend()
    isolation = rng.choice(("", " ISOLATION LEVEL SERIALIZABLE", " READ ONLY"))
    await scene.ask_simple(f"BEGIN{isolation}", complete("BEGIN"), status="T")
    for _ in range(rng.randint(1, 5)):
        luck, token = rng.random(), scene.token()
        if luck < 0.35:
            await scene.ask_simple(backend.sql(token), *backend.replies(token), status="T")
        elif luck < 0.6:
            batch = Batch()
            for _ in range(rng.randint(1, 3)):
                add_select(scene, batch)
            batch.sync("T")
            await scene.ask(batch)
        elif luck < 0.7:
            await scene.nap()
        else:
            await _savepoint(scene)
    if rng.random() < 0.15:
        await _fail_transaction(scene)
        await scene.ask_simple("COMMIT", complete("ROLLBACK"))
        return
    token = scene.token()
    await scene.ask_simple(backend.sql(token), *backend.replies(token), status="T")
    end = rng.choice(("COMMIT", "ROLLBACK"))
    if rng.random() < 0.5:
        await scene.ask_simple(end, complete(end))
        return
    batch = Batch()
    batch.add(parse("", end), PARSE_COMPLETE)
    batch.add(bind("", ""), BIND_COMPLETE)
    batch.add(execute(), complete(end))
    batch.sync()
    add_select(scene, batch)
    batch.sync()
    await scene.ask(batch)


async def _savepoint(scene: Scene) -> None:
    await scene.ask_simple("SAVEPOINT a", complete("SAVEPOINT"), status="T")
    await _fail_transaction(scene)
    if scene.rng.random() < 0.5:
        token = scene.token()
        await scene.ask_simple(
            f"SELECT '{token}'", error(IN_FAILED_TRANSACTION, "current transaction is aborted"), status="E"
        )
    await scene.ask_simple("ROLLBACK TO a", complete("ROLLBACK"), status="T")


async def _fail_transaction(scene: Scene) -> None:
    token = scene.token()
    if scene.rng.random() < 0.5:
        await scene.ask_simple(f"SELECT '{token}'::int", error(INVALID_TEXT, token), status="E")
        return
    batch = Batch()
    add_error(scene, batch)
    add_select(scene, batch)
    batch.sync("E")
    await scene.ask(batch)


async def portal_over_syncs(scene: Scene) -> None:
    """A named portal lives as long as its transaction, over several Syncs."""
    token, total = scene.token(), scene.rng.randint(3, 9)
    await scene.ask_simple("BEGIN", complete("BEGIN"), status="T")
    batch = Batch()
    batch.add(parse("", f"SELECT $1 || n AS t FROM generate_series(1, {total}) n", 1), PARSE_COMPLETE)
    batch.add(bind("cursor", "", token), BIND_COMPLETE)
    batch.add(describe_portal("cursor"), columns("t"))
    batch.sync("T")
    for number in range(1, total):
        batch.add(execute("cursor", 1), row(f"{token}{number}"), PORTAL_SUSPENDED)
        if scene.rng.random() < 0.5:
            batch.sync("T")
    batch.add(execute("cursor"), row(f"{token}{total}"), complete("SELECT 1"))
    batch.sync("T")
    batch.add(query("COMMIT"), complete("COMMIT"), ready())
    await scene.ask(batch)


async def dawdle(scene: Scene) -> None:
    """A transaction left alone for so long that the pooler ends it."""
    token = scene.token()
    await scene.ask_simple("BEGIN", complete("BEGIN"), status="T")
    await scene.ask_simple(f"SELECT '{token}' AS t", *one_row("t", token), status="T")
    await scene.idle_transaction_ends()


async def refused_transaction(scene: Scene) -> None:
    """Statement mode has no transaction blocks."""
    await scene.say(query("BEGIN"))
    await scene.hear(complete("BEGIN"), fatal("08P01", "transaction blocks not allowed"))
    await scene.expect_end()
    raise Over("transaction block in statement mode")
