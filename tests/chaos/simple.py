"""The simple protocol: queries and function calls, alone and sent ahead, short and long.

A form is a coroutine that has one conversation and verifies all of it. Each query asks for a token of its
own.
"""

from __future__ import annotations

from tests.chaos.scene import Batch, Scene
from tests.chaos.wire import (
    EMPTY_QUERY,
    INVALID_TEXT,
    Reply,
    columns,
    complete,
    error,
    function_call,
    function_result,
    notice,
    one_row,
    query,
    ready,
    row,
)

_TEXTCAT_OID = 1258


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


async def function_calls(scene: Scene) -> None:
    """FunctionCall, alone or pipelined."""
    batch = Batch()
    for _ in range(scene.rng.randint(1, 3)):
        token = scene.token()
        batch.add(function_call(_TEXTCAT_OID, token, "!"), function_result(f"{token}!"), ready())
    await scene.ask(batch)
