"""Named prepared statements: each client has its own under the same few names, and many share a text."""

from __future__ import annotations

from tests.chaos.scene import Batch, Scene
from tests.chaos.wire import (
    BIND_COMPLETE,
    CLOSE_COMPLETE,
    FLUSH,
    NO_DATA,
    PARSE_COMPLETE,
    Reply,
    bind,
    close_statement,
    columns,
    complete,
    describe_statement,
    error,
    execute,
    parameters,
    parse,
    query,
    ready,
    row,
)

_NAMES = ("a", "b", "c", "a longer name", "0")
_SHARED_TEXTS = 12
_EMPTY = "empty"
_LONG_COMMENT = 30_000


def _new_text(scene: Scene) -> str:
    """What a new statement adds to its parameter: its identity. Many are shared, some are the client's."""
    luck = scene.rng.random()
    if luck < 0.6:
        return f"#{scene.rng.randrange(_SHARED_TEXTS)}"
    if luck < 0.75:
        return _EMPTY
    if luck < 0.8:
        return "long"
    return f"#own{scene.session.client}.{scene.step}"


def _sql(text: str) -> str:
    if text == _EMPTY:
        return "INSERT INTO chaos_copy SELECT $1::text, 1 WHERE false"
    comment = f"/* {'z' * _LONG_COMMENT} */" if text == "long" else ""
    return f"SELECT $1 || '{text}' AS t{comment}"


class _Statements:
    """Adds requests about named statements to a batch, and knows what the client will have afterwards."""

    def __init__(self, scene: Scene, batch: Batch) -> None:
        self.scene = scene
        self.batch = batch
        self.known = scene.session.statements

    def parse(self, name: str) -> None:
        text = _new_text(self.scene)
        if name in self.known:
            self.batch.fail(parse(name, _sql(text), 1), error("42P05", f'"{name}" already exists'))
            return
        self.batch.add(parse(name, _sql(text), 1), PARSE_COMPLETE)
        if not self.batch.failed:
            self.known[name] = text

    def broken_parse(self, name: str) -> None:
        token = self.scene.token()
        if name not in self.known:
            self.batch.fail(parse(name, f"SELECT {token}", 1), error("42703", token))

    def close(self, name: str) -> None:
        self.batch.add(close_statement(name), CLOSE_COMPLETE)
        if not self.batch.failed:
            self.known.pop(name, None)

    def describe(self, name: str) -> None:
        if name not in self.known:
            self.batch.fail(describe_statement(name), self._missing(name))
            return
        result = NO_DATA if self.known[name] == _EMPTY else columns("t")
        self.batch.add(describe_statement(name), parameters(1), result)

    def run(self, name: str) -> None:
        token = self.scene.token()
        if name not in self.known:
            self.batch.fail(bind("", name, token), self._missing(name))
            self.batch.add(execute())
            return
        text = self.known[name]
        self.batch.add(bind("", name, token), BIND_COMPLETE)
        result = [complete("INSERT 0 0")] if text == _EMPTY else [row(token + text), complete("SELECT 1")]
        self.batch.add(execute(), *result)

    def fail_to_run(self, name: str) -> None:
        """A Bind with too many values."""
        if name in self.known:
            self.batch.fail(bind("", name, "1", "2"), error("08P01", "bind message supplies 2 parameters"))

    def _missing(self, name: str) -> Reply:
        return error("26000", f'"{name}" does not exist')


def _add_something(scene: Scene, batch: Batch) -> None:
    statements, name = _Statements(scene, batch), scene.rng.choice(_NAMES)
    known = name in statements.known
    luck = scene.rng.random()
    if luck < 0.05:
        statements.broken_parse(name)
    elif luck < 0.09:
        statements.fail_to_run(name)
    elif luck < 0.12:
        statements.parse(name)
    elif luck < 0.15:
        statements.run(name)
    elif luck < 0.17:
        statements.describe(name)
    elif not known:
        statements.parse(name)
        statements.run(name)
    elif luck < 0.3:
        statements.close(name)
        if scene.rng.random() < 0.7:
            statements.parse(name)
    elif luck < 0.45:
        statements.describe(name)
    else:
        statements.run(name)


async def prepared(scene: Scene) -> None:
    """Pipelines over named statements: parsed once, used for long, closed and defined anew."""
    batch = Batch()
    for _ in range(scene.rng.randint(1, 4)):
        for _ in range(scene.rng.randint(1, 5)):
            _add_something(scene, batch)
            if scene.rng.random() < 0.05:
                batch.add(FLUSH)
        batch.sync()
    await scene.ask(batch)


async def prepared_transaction(scene: Scene) -> None:
    """The same inside a transaction, and in two pieces."""
    await scene.ask_simple("BEGIN", complete("BEGIN"), status="T")
    for _ in range(scene.rng.randint(1, 3)):
        batch = Batch()
        batch.add(query("SAVEPOINT a"), complete("SAVEPOINT"), ready("T"))
        for _ in range(scene.rng.randint(1, 3)):
            _add_something(scene, batch)
        failed = batch.failed
        batch.sync("E" if failed else "T")
        if failed:
            batch.add(query("ROLLBACK TO a"), complete("ROLLBACK"), ready("T"))
        await scene.ask(batch)
        if scene.rng.random() < 0.3:
            await scene.nap()
    await scene.ask_simple("COMMIT", complete("COMMIT"))


async def forget_all(scene: Scene) -> None:
    """DEALLOCATE ALL in either protocol, and statements behind it.

    In the extended protocol those are sent after its answer: a pooler that does not read SQL learns of it no
    earlier.
    """
    batch = Batch()
    simple = scene.rng.random() < 0.5
    if simple:
        batch.add(query("DEALLOCATE ALL"), complete("DEALLOCATE ALL"), ready())
    else:
        batch.add(parse("", "DEALLOCATE ALL"), PARSE_COMPLETE)
        batch.add(bind("", ""), BIND_COMPLETE)
        batch.add(execute(), complete("DEALLOCATE ALL"))
        batch.sync()
    if not simple or scene.rng.random() < 0.5:
        await scene.ask(batch)
        batch = Batch()
    scene.session.statements.clear()
    _add_some(scene, batch)
    await scene.ask(batch)


async def discard_all(scene: Scene) -> None:
    """DISCARD ALL takes the statements, and brings the tracked parameters back to the server's own."""
    own, defaults = scene.session.settings, scene.session.defaults
    changed = {name: defaults[name] for name in own if own[name] != defaults[name]}
    scene.recoverable = False
    scene.session.statements.clear()
    batch = Batch()
    reports = [_one_of(changed)] * len(changed)
    batch.add(query("DISCARD ALL"), complete("DISCARD ALL"), *reports, ready())
    own.update(defaults)
    if scene.rng.random() < 0.5:
        _add_some(scene, batch)
    await scene.ask(batch)


def _add_some(scene: Scene, batch: Batch) -> None:
    for _ in range(scene.rng.randint(0, 3)):
        _add_something(scene, batch)
    batch.sync()


def _one_of(expected: dict[str, str]) -> Reply:
    """A ParameterStatus among these, each once, in any order."""

    def fault(body: bytes) -> str:
        name, value, _ = body.decode().split("\0")
        return "" if expected.pop(name, None) == value else f"expected a report of one of {expected}"

    return Reply("S", fault)
