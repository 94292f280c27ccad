"""Any SQL at all: it answers or fails politely, and a condition selects what Python would."""

from __future__ import annotations

import operator
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import Any
from unittest.mock import patch

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pooler.admin.console import Row
from pooler.admin.errors import AdminError
from pooler.admin.sql.engine import Answer, Snapshot, describe, run
from pooler.admin.sql.query import query
from pooler.admin.sql.translate import translate
from pooler.admin.tables import SHOW_TABLES
from tests.unit.admin.fakes import FakePooler, databases

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])

WORDS = """
    select from where group by order limit with recursive values as union all case when then else end and or
    not null is in like between join on left exists distinct having over partition ( ) ( ) , , . * + - / % = <
    > || ; ' " $1 $x :: numeric int text 1 1.5 'a' pools clients database cl_active count sum now coalesce
    round [ ] array any interval extract epoch true fetch first delete into pragma lateral ? % @ -- /* */ $$
    e'\\n' \\ é
"""
SOME_WORDS = st.lists(st.sampled_from(WORDS.split()), max_size=25).map(" ".join)


def answer(sql: str, tables: dict[str, list[Row]] | None = None, seconds: float = 0.2) -> Answer:
    """Runs it; over these rows, or over those of a pooler with a client."""
    translation = translate(sql)
    describe(translation)
    pooler = FakePooler(databases(p0="host=h"))
    pooler.client("p0", "ann")
    rows = tables or {name: list(SHOW_TABLES[name].rows(pooler)) for name in translation.tables}
    return run(translation, [None] * len(translation.parameters), Snapshot(rows, 0.0, "ann"), False, seconds)


@UNHURRIED
@given(
    st.text(max_size=60).map("select {}".format)
    | SOME_WORDS.map("select {}".format)
    | SOME_WORDS.map("with x as ({}".format)
    | SOME_WORDS.map("select * from pools where {}".format)
)
def test_any_text_is_answered_or_refused(sql: str) -> None:
    assert query(sql) is not None
    with suppress(AdminError):
        found = answer(sql)
        assert all(len(row) == len(found.columns) for row in found.rows)


# A condition selects what Python would -------------------------------------------------------------------

Truth = bool | None
"""None where SQL does not know."""

COLUMNS = ("database", "user", "cl_active", "cl_waiting", "pool_mode")
NAMES = ("app", "Application", "a_b", "é", "")


@dataclass(frozen=True)
class Condition:
    """A condition in SQL and in Python."""

    sql: str
    holds: Callable[[dict[str, object]], Truth]


def pool(database: str, user: str, active: int, waiting: int, mode: str | None) -> Row:
    """A row of SHOW POOLS."""
    return (database, user, active, waiting, *(0,) * 11, mode, None)


POOLS = st.lists(
    st.builds(
        pool,
        st.sampled_from(NAMES),
        st.sampled_from(NAMES),
        st.integers(0, 5),
        st.integers(0, 5),
        st.sampled_from([None, "session", "transaction"]),
    ),
    max_size=8,
)
COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "=": operator.eq,
    "<>": operator.ne,
    "!=": operator.ne,
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
}


def _unknown_if_null(
    compare: Callable[[Any, Any], bool], column: str, value: object, row: dict[str, object]
) -> Truth:
    return None if row[column] is None else compare(row[column], value)


def _number(column: str, sign: str, value: int) -> Condition:
    return Condition(f"{column} {sign} {value}", partial(_unknown_if_null, COMPARISONS[sign], column, value))


def _text(column: str, sign: str, value: str) -> Condition:
    return Condition(
        f"{column} {sign} '{value}'", partial(_unknown_if_null, COMPARISONS[sign], column, value)
    )


def _one_of(column: str, values: list[int]) -> Condition:
    return Condition(f"{column} IN ({', '.join(map(str, values))})", lambda row: row[column] in values)


def _begins(column: str, letter: str) -> Condition:
    return Condition(f"{column} LIKE '{letter}%'", lambda row: str(row[column]).startswith(letter))


def _is_null(column: str) -> Condition:
    return Condition(f"{column} IS NULL", lambda row: row[column] is None)


def _not(inner: Condition) -> Condition:
    def holds(row: dict[str, object]) -> Truth:
        found = inner.holds(row)
        return None if found is None else not found

    return Condition(f"NOT ({inner.sql})", holds)


def _both(left: Condition, right: Condition) -> Condition:
    def holds(row: dict[str, object]) -> Truth:
        pair = {left.holds(row), right.holds(row)}
        return False if False in pair else (None if None in pair else True)

    return Condition(f"({left.sql}) AND ({right.sql})", holds)


def _either(left: Condition, right: Condition) -> Condition:
    def holds(row: dict[str, object]) -> Truth:
        pair = {left.holds(row), right.holds(row)}
        return True if True in pair else (None if None in pair else False)

    return Condition(f"({left.sql}) OR ({right.sql})", holds)


NUMBERS = st.sampled_from(["cl_active", "cl_waiting"])
TEXTS = st.sampled_from(["database", "user"])
SIGNS = st.sampled_from(sorted(COMPARISONS))
LEAVES = st.one_of(
    st.builds(_number, NUMBERS, SIGNS, st.integers(-1, 6)),
    st.builds(_text, TEXTS | st.just("pool_mode"), SIGNS, st.sampled_from((*NAMES, "session"))),
    st.builds(_one_of, NUMBERS, st.lists(st.integers(0, 5), min_size=1, max_size=3)),
    st.builds(_begins, TEXTS, st.sampled_from(["a", "A", "é"])),
    st.builds(_is_null, st.sampled_from(COLUMNS)),
)
CONDITIONS = st.recursive(
    LEAVES,
    lambda inner: st.builds(_not, inner) | st.builds(_both, inner, inner) | st.builds(_either, inner, inner),
)


@UNHURRIED
@given(POOLS, CONDITIONS)
def test_a_condition_selects_what_python_would(rows: list[Row], condition: Condition) -> None:
    named = [dict(zip(COLUMNS, (*row[:4], row[15]), strict=True)) for row in rows]
    expected = [row for row, values in zip(rows, named, strict=True) if condition.holds(values)]
    with patch("pooler.admin.sql.translate.PARSE_LIMIT", 30.0):
        found = answer(f"SELECT * FROM pgbouncer.pools WHERE {condition.sql}", {"pools": rows}, 30.0)
    assert found.rows == expected
