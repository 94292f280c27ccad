"""Conditions and orders without SQL."""

from __future__ import annotations

from decimal import Decimal

import pytest

from tui.admin.rowfilter import NotSimple, selected
from tui.admin.table import Table

TABLE = Table(
    ("name", "count", "sum", "Odd"),
    [
        ("shop", 3, Decimal(10), None),
        ("it's", 1, Decimal(5), "x"),
        ("web_1", 3, Decimal(7), "10"),
        ("webx1", 0, None, "9"),
    ],
)


def names(where: str | None = None, order_by: str | None = None, limit: int | None = None) -> list[str]:
    return [row[0] for row in selected(TABLE, where, order_by, limit).rows]


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        ("count = 3", ["shop", "web_1"]),
        ("count <> 3", ["it's", "webx1"]),
        ("count != 3 and COUNT >= 1", ["it's"]),
        ("sum < 7.5", ["it's", "web_1"]),
        ("count > -1 AND count <= 1", ["it's", "webx1"]),
        ("name = 'it''s'", ["it's"]),
        ("name LIKE 'web%'", ["web_1", "webx1"]),
        ("name like 'web_1'", ["web_1", "webx1"]),
        ("name ILIKE 'SHO_'", ["shop"]),
        ('"Odd" IS NULL', ["shop"]),
        ("sum IS NOT NULL AND count = 3", ["shop", "web_1"]),
        ("count = '3'", ["shop", "web_1"]),
        ("count = 'many'", []),
        ("name = 3", []),
        ('"Odd" < 10', ["webx1"]),
        ("\"Odd\"='10'", ["web_1"]),
    ],
)
def test_conditions(where: str, expected: list[str]) -> None:
    assert names(where) == expected


@pytest.mark.parametrize(
    ("order_by", "expected"),
    [
        ("name", ["it's", "shop", "web_1", "webx1"]),
        ("count DESC, name desc", ["web_1", "shop", "it's", "webx1"]),
        ("count asc,name", ["webx1", "it's", "shop", "web_1"]),
        ("sum", ["it's", "web_1", "shop", "webx1"]),
        ("sum DESC", ["webx1", "shop", "web_1", "it's"]),
    ],
)
def test_orders(order_by: str, expected: list[str]) -> None:
    assert names(order_by=order_by) == expected


def test_a_limit_comes_last() -> None:
    assert names("count > 0", "name DESC", 2) == ["web_1", "shop"]
    assert names(limit=0) == []


@pytest.mark.parametrize(
    "where",
    [
        "",
        "count",
        "count =",
        "count = 1 OR count = 3",
        "(count = 1)",
        "count IN (1)",
        "length(name) = 4",
        "count = sum",
        "count BETWEEN 1 AND 2",
        "count = 1 AND",
        "1 = count",
        "name = 'x",
        "count ~ 1",
        "count 3 4",
    ],
)
def test_what_takes_sql_is_refused(where: str) -> None:
    with pytest.raises(NotSimple, match="has no SQL"):
        names(where)


@pytest.mark.parametrize("order_by", ["", "1", "count NULLS FIRST", "count name", "count,", "count DESC ASC"])
def test_orders_that_take_sql_are_refused(order_by: str) -> None:
    with pytest.raises(NotSimple):
        names(order_by=order_by)


def test_a_column_that_there_is_not() -> None:
    with pytest.raises(KeyError):
        names("nothing = 1")
    with pytest.raises(KeyError):
        names("odd = 'x'")  # without quotes it is in lower case
