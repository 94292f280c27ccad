"""COPY in and out, in both protocols, with errors before and after CopyDone."""

from __future__ import annotations

from itertools import pairwise

from tests.chaos.scene import Batch, Scene
from tests.chaos.wire import (
    BIND_COMPLETE,
    COPY_DONE,
    COPY_IN,
    COPY_OUT,
    COPY_OUT_DONE,
    FLUSH,
    INVALID_TEXT,
    NO_DATA,
    PARSE_COMPLETE,
    SYNC,
    Reply,
    bind,
    columns,
    complete,
    copied,
    copy_data,
    copy_fail,
    describe_portal,
    error,
    execute,
    parse,
    query,
    ready,
    row,
)

SCHEMA = """
CREATE TABLE chaos_parent (token text PRIMARY KEY);
CREATE TABLE chaos_copy (token text, n int);
CREATE TABLE chaos_child (token text REFERENCES chaos_parent, n int);
"""
"""chaos_copy takes anything; chaos_child refuses every token, but only after the last row has come."""

_INTO_COPY = "COPY chaos_copy FROM STDIN"
_INTO_CHILD = "COPY chaos_child FROM STDIN"


def _copy_out(token: str, count: int) -> tuple[str, list[Reply]]:
    lines = [copied(f"{token}{number}\n") for number in range(1, count + 1)]
    sql = f"COPY (SELECT '{token}' || n FROM generate_series(1, {count}) n) TO STDOUT"
    return sql, [COPY_OUT, *lines, COPY_OUT_DONE, complete(f"COPY {count}")]


async def copy_out(scene: Scene) -> None:
    """COPY TO STDOUT, and sometimes more queries behind it in a pipeline."""
    batch = Batch()
    for _ in range(scene.rng.choice((1, 1, 1, 2))):
        sql, replies = _copy_out(scene.token(), scene.rng.choice((0, 3, 40, 800)))
        if scene.rng.random() < 0.5:
            batch.add(query(sql), *replies, ready())
        else:
            batch.add(parse("", sql), PARSE_COMPLETE)
            batch.add(bind("", ""), BIND_COMPLETE)
            batch.add(execute(), *replies)
            batch.sync()
    await scene.ask(batch)


async def copy_out_fails(scene: Scene) -> None:
    """An error after some of the data."""
    token = scene.token()
    value = f"CASE WHEN n < 3 THEN n ELSE ('{token}' || n)::int END"
    sql = f"COPY (SELECT {value} FROM generate_series(1, 5) n) TO STDOUT"
    await scene.ask_simple(sql, COPY_OUT, copied("1\n"), copied("2\n"), error(INVALID_TEXT, token))


class _Data:
    """The CopyData of one COPY FROM STDIN: what is sent, and what the server makes of it."""

    def __init__(self, scene: Scene, token: str) -> None:
        rng = scene.rng
        self.count = rng.choice((0, 1, 5, 200))
        self.bad = rng.random() < 0.25
        self.refused = not self.bad and rng.random() < 0.2 and self.count > 0
        self.gives_up = not self.bad and not self.refused and rng.random() < 0.2
        lines = [f"{token}\t{number}\n" for number in range(1, self.count + 1)]
        if self.bad:
            lines.insert(rng.randint(0, len(lines)), f"{token}\t{token}\n")
        self.sql = _INTO_CHILD if self.refused else _INTO_COPY
        whole = "".join(lines)
        edges = sorted({0, len(whole), *(rng.randrange(len(whole) + 1) for _ in range(rng.randint(0, 6)))})
        self.messages = [copy_data(whole[a:b]) for a, b in pairwise(edges)]
        self.messages.append(copy_fail(f"gives up {token}") if self.gives_up else COPY_DONE)
        self.end = self._end(token)

    @property
    def fails(self) -> bool:
        return self.end.kind == "E"

    def _end(self, token: str) -> Reply:
        if self.bad:
            return error(INVALID_TEXT, token)
        if self.refused:
            return error("23503", token)
        if self.gives_up:
            return error("57014", f"gives up {token}")
        return complete(f"COPY {self.count}")


async def copy_in(scene: Scene) -> None:
    """COPY FROM STDIN by itself or in a transaction that reads the rows back."""
    if scene.mode != "statement" and scene.rng.random() < 0.5:
        await _copy_in_transaction(scene)
    elif scene.rng.random() < 0.5:
        await _simple_copy_in(scene, scene.token(), "I")
    else:
        await _extended_copy_in(scene, scene.token(), "I")


async def _copy_in_transaction(scene: Scene) -> None:
    token = scene.token()
    await scene.ask_simple("BEGIN", complete("BEGIN"), status="T")
    copies = _simple_copy_in if scene.rng.random() < 0.5 else _extended_copy_in
    data = await copies(scene, token, "T")
    if not data.fails:
        await scene.ask_simple(
            f"SELECT token || '' AS t FROM chaos_copy WHERE token = '{token}' ORDER BY n",
            columns("t"),
            *[row(token)] * data.count,
            complete(f"SELECT {data.count}"),
            status="T",
        )
    await scene.ask_simple("ROLLBACK", complete("ROLLBACK"))


async def _simple_copy_in(scene: Scene, token: str, status: str) -> _Data:
    data = _Data(scene, token)
    await scene.say(query(data.sql))
    if scene.rng.random() < 0.5:
        await scene.hear(COPY_IN)
        await _say_in_parts(scene, data.messages)
        await scene.hear(data.end, ready(_after(data, status)))
        return data
    # A server that is idle again ignores what is left of a COPY that has failed.
    await scene.say(*data.messages)
    await scene.hear(COPY_IN, data.end, ready(_after(data, status)))
    return data


async def _extended_copy_in(scene: Scene, token: str, status: str) -> _Data:
    """Without waiting; after a Flush; or as libpq does it, with a Sync that the copying server ignores."""
    scene.recoverable = False
    data = _Data(scene, token)
    start = [parse("", data.sql), bind("", ""), describe_portal(""), execute()]
    replies = (PARSE_COMPLETE, BIND_COMPLETE, NO_DATA, COPY_IN)
    way = scene.rng.choice(("at once", "flush", "sync"))
    if way == "at once":
        await scene.say(*start, *data.messages, SYNC)
        await scene.hear(*replies)
    else:
        await scene.say(*start, FLUSH if way == "flush" else SYNC)
        await scene.hear(*replies)
        await _say_in_parts(scene, data.messages)
        if scene.rng.random() < 0.3:
            await scene.nap()
        await scene.say(SYNC)
    await scene.hear(data.end, ready(_after(data, status)))
    return data


async def _say_in_parts(scene: Scene, messages: list[bytes]) -> None:
    middle = scene.rng.randint(0, len(messages))
    await scene.say(*messages[:middle])
    await scene.nap(0.01)
    await scene.say(*messages[middle:])


def _after(data: _Data, status: str) -> str:
    return "E" if data.fails and status == "T" else status
