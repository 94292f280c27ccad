"""The forms of the protocol that clients use: queries, transactions, pipelines, portals, function calls.

A form is a coroutine that has one conversation and verifies all of it. Each query asks for a token of its
own.
"""

from __future__ import annotations

from tests.chaos.scene import Batch, Over, Scene
from tests.chaos.wire import (
    BIND_COMPLETE,
    CLOSE_COMPLETE,
    EMPTY_QUERY,
    FLUSH,
    NO_DATA,
    PARSE_COMPLETE,
    PORTAL_SUSPENDED,
    SYNC,
    Reply,
    bind,
    close_portal,
    columns,
    complete,
    describe_portal,
    describe_statement,
    error,
    execute,
    fatal,
    function_call,
    function_result,
    notice,
    one_row,
    parameter_status,
    parameters,
    parse,
    query,
    ready,
    row,
    values_of,
)

_TEXTCAT_OID = 1258
INVALID_TEXT = "22P02"
IN_FAILED_TRANSACTION = "25P02"


# Simple protocol -------------------------------------------------------------------------------------------


async def simple(scene: Scene) -> None:
    """One query, one row; its column is called like the token as well."""
    token = scene.token()
    await scene.ask_simple(f"SELECT '{token}' AS {token}", *one_row(token, token))


async def several_statements(scene: Scene) -> None:
    """Statements in one Query, perhaps with an error among them, which ends the whole."""
    statements: list[str] = []
    replies: list[Reply] = []
    for _ in range(scene.rng.randint(2, 5)):
        token = scene.token()
        if scene.rng.random() < 0.15:
            statements.append(f"SELECT '{token}'::int")
            replies.append(error(INVALID_TEXT, token))
            break
        statements.append(f"SELECT '{token}' AS t")
        replies += one_row("t", token)
    unheard = f"; SELECT '{scene.token()}'" if replies[-1].kind == "E" else ""
    await scene.ask_simple("; ".join(statements) + unheard, *replies)


async def transaction_in_one_query(scene: Scene) -> None:
    """A transaction that begins and ends within one Query."""
    token, end = scene.token(), scene.rng.choice(("COMMIT", "ROLLBACK"))
    await scene.ask_simple(
        f"BEGIN; SELECT '{token}' AS t; {end}", complete("BEGIN"), *one_row("t", token), complete(end)
    )


async def simple_pipeline(scene: Scene) -> None:
    """Queries sent ahead without waiting, some empty, some wrong."""
    batch = Batch()
    for _ in range(scene.rng.randint(2, 8)):
        token = scene.token()
        luck = scene.rng.random()
        if luck < 0.1:
            batch.add(query(""), EMPTY_QUERY, ready())
        elif luck < 0.2:
            batch.add(query(f"SELECT '{token}'::int"), error(INVALID_TEXT, token), ready())
        elif luck < 0.3:
            batch.add(
                query(f"DO $$BEGIN RAISE NOTICE '{token}'; END$$"), notice(token), complete("DO"), ready()
            )
        else:
            batch.add(query(f"SELECT '{token}' AS t"), *one_row("t", token), ready())
    await scene.ask(batch)


async def many_rows(scene: Scene) -> None:
    """Rows by the hundred, each with the token."""
    token, count = scene.token(), scene.rng.randint(50, 1500)
    rows = [row(f"{token}{number}") for number in range(1, count + 1)]
    await scene.ask_simple(
        f"SELECT '{token}' || n AS t FROM generate_series(1, {count}) n",
        columns("t"),
        *rows,
        complete(f"SELECT {count}"),
    )


async def big_result(scene: Scene) -> None:
    """Megabytes in few rows, which some clients are slow to read: the token is at both ends."""
    token, count = scene.token(), scene.rng.randint(1, 4)
    size = scene.rng.choice((70_000, 300_000, 1_500_000))
    value = token + "x" * size + token
    await scene.say(
        query(f"SELECT '{token}' || repeat('x', {size}) || '{token}' AS t FROM generate_series(1, {count})")
    )
    if scene.rng.random() < 0.3:
        await scene.nap(0.5)
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


async def slow_query(scene: Scene) -> None:
    """A query that takes its time, for cancel requests to hit."""
    token = scene.token()
    await scene.ask_simple(
        f"SELECT '{token}' AS t FROM pg_sleep({scene.rng.uniform(0.02, 0.4):.3f})", *one_row("t", token)
    )


async def function_calls(scene: Scene) -> None:
    """FunctionCall, alone or pipelined."""
    batch = Batch()
    for _ in range(scene.rng.randint(1, 3)):
        token = scene.token()
        batch.add(function_call(_TEXTCAT_OID, token, "!"), function_result(f"{token}!"), ready())
    await scene.ask(batch)


async def settings_follow(scene: Scene) -> None:
    """The tracked parameters are this client's own on whichever server; some steps change one."""
    own = scene.session.settings
    if scene.rng.random() < 0.3:
        value = f"app {scene.rng.randrange(5)} '\"\\ of {scene.session.client}"
        changed = [parameter_status("application_name", value)] if own["application_name"] != value else []
        quoted = value.replace("'", "''")
        scene.recoverable = False
        await scene.ask_simple(f"SET application_name = '{quoted}'", complete("SET"), *changed)
        own["application_name"] = value
    token = scene.token()
    asked = ", ".join(f"current_setting('{name}') AS v" for name in own)
    await scene.ask_simple(
        f"SELECT '{token}' AS v, {asked}",
        columns(*["v"] * (1 + len(own))),
        row(token, *own.values()),
        complete("SELECT 1"),
    )


# Extended protocol -----------------------------------------------------------------------------------------


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


# Transactions ----------------------------------------------------------------------------------------------


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


# Sessions --------------------------------------------------------------------------------------------------


async def session_state(scene: Scene) -> None:
    """What a session keeps: its own settings, temporary tables, advisory locks and cursors."""
    token = scene.token()
    lock = scene.session.client * 1_000_000 + scene.step
    scene.recoverable = False
    await scene.ask_simple(f"SELECT set_config('chaos.session', '{token}', false) AS t", *one_row("t", token))
    await scene.ask_simple(f"SELECT pg_try_advisory_lock({lock})::text AS t", *one_row("t", "true"))
    await scene.ask_simple(f"CREATE TEMP TABLE own AS SELECT '{token}' AS t", complete("SELECT 1"))
    await scene.nap()
    await scene.ask_simple("SELECT t || '' AS t FROM own", *one_row("t", token))
    await scene.ask_simple("SELECT current_setting('chaos.session') AS t", *one_row("t", token))
    await scene.ask_simple("DROP TABLE own", complete("DROP TABLE"))
    await scene.ask_simple(f"SELECT pg_advisory_unlock({lock})::text AS t", *one_row("t", "true"))


async def notification(scene: Scene) -> None:
    """LISTEN and NOTIFY, which reach this session and no other."""
    token, channel = scene.token(), f"ch{scene.session.client}"
    await scene.ask_simple(f"LISTEN {channel}", complete("LISTEN"))
    heard = Reply("A", lambda body: "" if token.encode() in body else f"expected {token}")
    await scene.ask_simple(f"NOTIFY {channel}, '{token}'", complete("NOTIFY"), heard)
    await scene.ask_simple(f"UNLISTEN {channel}", complete("UNLISTEN"))


def nothing_left_behind() -> tuple[str, tuple[Reply, ...]]:
    """A query for what an earlier session on this server may have left, and its replies: nothing."""
    sql = (
        "SELECT coalesce(current_setting('chaos.session', true), '') AS a,"
        " (SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid())::text AS b,"
        " (SELECT count(*) FROM pg_listening_channels())::text AS c, to_regclass('pg_temp.own')::text AS d"
    )
    return sql, (columns("a", "b", "c", "d"), _null_at_end("", "0", "0"), complete("SELECT 1"))


def _null_at_end(*values: str) -> Reply:
    body = row(*values, "").body
    assert isinstance(body, bytes)
    return Reply("D", body[:-4] + b"\xff\xff\xff\xff")
