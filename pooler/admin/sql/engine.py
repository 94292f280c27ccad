"""Runs one translated SELECT in an sqlite of its own, which can do nothing else, and not for long."""

import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Final

from pooler.admin.console import Column, Row
from pooler.admin.errors import AdminError
from pooler.admin.sql.errors import OUT_OF_MEMORY, PROGRAM_LIMIT_EXCEEDED, from_sqlite, too_long
from pooler.admin.sql.functions import FUNCTIONS
from pooler.admin.sql.translate import PREFIX, Translation
from pooler.admin.sql.values import (
    INTERVAL,
    TEXT_LIMIT,
    Value,
    fits,
    kind_of,
    parameter_value,
    result_value,
    to_timestamp,
)
from pooler.admin.tables import SHOW_TABLES
from pooler.wire.messages import BYTEA, INT4, INT8, NUMERIC, TEXT, legible

TIME_LIMIT: Final = 0.8
"""Seconds that a query may take once its tables are filled."""
FILL_LIMIT: Final = 10.0
"""Seconds for filling the tables, which is not up to the query."""
STEPS: Final = 100_000
"""Instructions of sqlite between two looks at the clock; what is slow at each is stopped by a timer."""
MEMORY_LIMIT: Final = 64 * 1024 * 1024
"""Bytes of sqlite's heap, tables included."""
RESULT_LIMIT: Final = 16 * 1024 * 1024
"""Bytes of a result, about."""

_LIMITS: Final = (
    (sqlite3.SQLITE_LIMIT_LENGTH, TEXT_LIMIT),
    (sqlite3.SQLITE_LIMIT_SQL_LENGTH, 256 * 1024),
    (sqlite3.SQLITE_LIMIT_COLUMN, 500),
    (sqlite3.SQLITE_LIMIT_EXPR_DEPTH, 300),
    (sqlite3.SQLITE_LIMIT_COMPOUND_SELECT, 50),
    (sqlite3.SQLITE_LIMIT_VDBE_OP, 50_000),
    (sqlite3.SQLITE_LIMIT_FUNCTION_ARG, 50),
    (sqlite3.SQLITE_LIMIT_ATTACHED, 0),
    (sqlite3.SQLITE_LIMIT_LIKE_PATTERN_LENGTH, 100),
    (sqlite3.SQLITE_LIMIT_VARIABLE_NUMBER, 100),
    (sqlite3.SQLITE_LIMIT_TRIGGER_DEPTH, 0),
    (sqlite3.SQLITE_LIMIT_WORKER_THREADS, 0),
)
_AGGREGATES: Final = ("avg", "count", "group_concat", "max", "min", "sum")
_WINDOW: Final = ("dense_rank", "first_value", "lag", "last_value", "lead", "rank", "row_number")
_NUMBERS: Final = ("abs", "coalesce", "nullif", "round")
_STRINGS: Final = (*("length", "like", "lower", "substr", "upper"),)
_CONSTANTS: Final = ("pg_now", "pg_current_user", "pg_current_database")
_ALLOWED_FUNCTIONS: Final = frozenset((*_AGGREGATES, *_WINDOW, *_NUMBERS, *_STRINGS, *FUNCTIONS, *_CONSTANTS))
_ALLOWED_ACTIONS: Final = frozenset((sqlite3.SQLITE_SELECT, sqlite3.SQLITE_READ, sqlite3.SQLITE_RECURSIVE))
_AFFINITIES: Final = {TEXT: "TEXT", INT4: "INTEGER", INT8: "INTEGER", NUMERIC: "NUMERIC", BYTEA: "BLOB"}


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that a query is about, noted down at one instant."""

    rows: Mapping[str, Iterable[Row]]
    """By the names of SHOW tables."""
    now: float
    """Seconds since 1970."""
    user: str


@dataclass(frozen=True, slots=True)
class Answer:
    """A table."""

    columns: Sequence[Column]
    rows: Sequence[Row]


def describe(query: Translation) -> list[Column]:
    """Its columns without running it; text where the type cannot be told so. Raises AdminError."""
    with _Database(Snapshot(dict.fromkeys(query.tables, ()), 0.0, "")) as database:
        cursor = database.execute(query.describe, (None,) * len(query.parameters))
        names = [str(found[0]) for found in cursor.description]
    return [(name, _sent(oid or TEXT)) for name, oid in zip(names, _types(query, names), strict=True)]


def run(
    query: Translation,
    parameters: Sequence[object],
    snapshot: Snapshot,
    fixed: bool,
    seconds: float = TIME_LIMIT,
) -> Answer:
    """Runs it. Raises AdminError.

    With `fixed` the columns are those of `describe`; else types that were not known come from the values.
    """
    if len(parameters) != len(query.parameters):
        raise AdminError(f"{len(query.parameters)} parameters needed, {len(parameters)} given", "08P01")
    values = tuple(map(parameter_value, parameters, query.parameters))
    with _Database(snapshot, seconds) as database:
        cursor = database.execute(query.sql, values)
        names = [str(found[0]) for found in cursor.description]
        rows = database.fetch(cursor)
    types = [
        _type_of(oid, [row[index] for row in rows], fixed) for index, oid in enumerate(_types(query, names))
    ]
    return Answer(
        [(name, _sent(oid)) for name, oid in zip(names, types, strict=True)], _converted(query, rows, types)
    )


def _converted(query: Translation, rows: list[tuple[Value, ...]], types: Sequence[int]) -> list[Row]:
    scales = query.scales if not query.stars else {}
    converters = [
        None if oid in (INT4, INT8, BYTEA) else partial(result_value, oid=oid, scale=scales.get(index))
        for index, oid in enumerate(types)
    ]
    return [
        tuple(
            value if convert is None else convert(value)
            for value, convert in zip(row, converters, strict=True)
        )
        for row in rows
    ]


def _type_of(oid: int | None, values: list[Value], fixed: bool) -> int:
    if oid is None and fixed:
        return TEXT
    if oid is not None and all(fits(value, oid) for value in values):
        return oid
    if fixed:
        raise AdminError("cached plan must not change result type", "0A000")
    return kind_of(values)


def _types(query: Translation, names: Sequence[str]) -> list[int | None]:
    """The types of columns, those that `*` brings by their names."""
    if not query.stars:
        return list(query.kinds)
    by_name = [query.by_name.get(name.lower()) for name in names]
    if len(query.stars) > 1:
        return by_name
    before, after = query.kinds[: query.stars[0]], query.kinds[query.stars[0] + 1 :]
    return [*before, *by_name[len(before) : len(names) - len(after)], *after]


def _sent(oid: int) -> int:
    return TEXT if oid == INTERVAL else oid


class _Database:
    """An sqlite in memory that holds what a query names, and then only answers."""

    def __init__(self, snapshot: Snapshot, seconds: float = TIME_LIMIT) -> None:
        self._problem: AdminError | None = None
        self._connection = sqlite3.connect(":memory:", isolation_level=None, cached_statements=0)
        self._lock = threading.Lock()
        self._deadline = time.monotonic() + FILL_LIMIT
        try:
            self._prepare(snapshot)
        except (sqlite3.Error, MemoryError) as error:
            self._connection.close()
            raise self._error(error) from None
        self._deadline = time.monotonic() + seconds
        self._timer: threading.Timer | None = threading.Timer(seconds, self._interrupt)
        self._timer.daemon = True
        self._timer.start()

    def __enter__(self) -> "_Database":
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        self._connection.close()

    def _interrupt(self) -> None:
        """In the timer's thread."""
        with self._lock:
            if self._timer is not None:
                self._connection.interrupt()

    def _prepare(self, snapshot: Snapshot) -> None:
        connection = self._connection
        for pragma in (
            f"hard_heap_limit = {MEMORY_LIMIT}",
            "temp_store = memory",
            "journal_mode = off",
            "case_sensitive_like = on",
            "trusted_schema = off",
        ):
            connection.execute(f"PRAGMA {pragma}").fetchall()
        connection.execute("BEGIN")
        for name, rows in snapshot.rows.items():
            self._fill(name, rows)
        connection.execute("COMMIT")
        for function, (work, arguments) in FUNCTIONS.items():
            connection.create_function(function, arguments, self._guarded(work), deterministic=True)
        constants = (to_timestamp(snapshot.now), snapshot.user, "pgbouncer")
        for function, constant in zip(_CONSTANTS, constants, strict=True):
            connection.create_function(function, 0, partial(str, constant), deterministic=True)
        for limit, value in _LIMITS:
            connection.setlimit(limit, value)
        connection.set_authorizer(_authorize)
        connection.set_progress_handler(self._is_over, STEPS)

    def _fill(self, name: str, rows: Iterable[Row]) -> None:
        columns = SHOW_TABLES[name].columns
        table = PREFIX + name
        definitions = ", ".join(f"`{column}` {_AFFINITIES.get(oid, 'TEXT')}" for column, oid in columns)
        self._connection.execute(f"CREATE TABLE `{table}` ({definitions})")
        insert = f"INSERT INTO `{table}` VALUES ({', '.join('?' * len(columns))})"
        self._connection.executemany(insert, (tuple(map(_storable, row)) for row in rows))

    def execute(self, sql: str, values: Sequence[Value]) -> sqlite3.Cursor:
        """One statement; its first row is found then."""
        try:
            return self._connection.execute(
                sql, {f"p{index}": value for index, value in enumerate(values, 1)}
            )
        except (sqlite3.Error, sqlite3.Warning, MemoryError, OverflowError, ValueError) as error:
            raise self._error(error) from None

    def fetch(self, cursor: sqlite3.Cursor) -> list[tuple[Value, ...]]:
        """All rows, if they are not too many."""
        rows: list[tuple[Value, ...]] = []
        size = 0
        try:
            for row in cursor:
                rows.append(row)
                size += 64 + sum(
                    8 if value.__class__ is not str and value.__class__ is not bytes else 48 + len(value)
                    for value in row
                )
                if size > RESULT_LIMIT:
                    raise AdminError("result is too large", PROGRAM_LIMIT_EXCEEDED)
        except (sqlite3.Error, MemoryError) as error:
            raise self._error(error) from None
        return rows

    def _is_over(self) -> bool:
        return time.monotonic() > self._deadline

    def _guarded(self, work: Callable[..., Value]) -> Callable[..., Value]:
        def guarded(*values: Value) -> Value:
            try:
                if self._is_over():
                    raise too_long()
                return work(*values)
            except AdminError as error:
                self._problem = error
                raise

        return guarded

    def _error(self, error: Exception) -> AdminError:
        if self._problem is not None:
            return self._problem
        if isinstance(error, MemoryError):
            return AdminError("out of memory", OUT_OF_MEMORY)
        return too_long() if str(error) == "interrupted" else from_sqlite(str(error))


def _authorize(action: int, first: str | None, second: str | None, *_: object) -> int:
    if action in _ALLOWED_ACTIONS:
        return sqlite3.SQLITE_OK
    if action == sqlite3.SQLITE_FUNCTION and (second or "").lower() in _ALLOWED_FUNCTIONS:
        return sqlite3.SQLITE_OK
    return sqlite3.SQLITE_DENY


def _storable(value: object) -> Value:
    """As sqlite takes it: text as it is shown, and 64 bits of a number."""
    if isinstance(value, str):
        return value if value.isascii() else legible(value).decode()
    if value is None or isinstance(value, (float, bytes)):
        return value
    if isinstance(value, int):
        return value if -(2**63) <= value < 2**63 else float(value)
    return str(value)
