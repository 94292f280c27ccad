"""Queries with their literals hidden."""

import pytest

from tui.watch.backend import masked


@pytest.mark.parametrize(
    ("sql", "hidden"),
    [
        ("SELECT 'secret'", "SELECT ?"),
        ("SELECT 'it''s', x", "SELECT ?, x"),
        (r"SELECT E'it\'s secret', e'\\', x", "SELECT ?, ?, x"),
        (r"SELECT 'a\', x", "SELECT ?, x"),
        ("SELECT B'01', x'ff', N'n', U&'u', u&'u'", "SELECT ?, ?, ?, ?, ?"),
        ("SELECT $$secret$$, $a$ $$ $b$ $a$, x", "SELECT ?, ?, x"),
        ("SELECT $1, $23 FROM t", "SELECT $1, $23 FROM t"),
        ("SELECT 1, 2.5, .5, 1e10, -3, 0xff, 1_000 FROM t2", "SELECT ?, ?, ?, ?, -?, ?, ? FROM t2"),
        ('SELECT "a 1 \'x\'" FROM "s"".""t"', 'SELECT "a 1 \'x\'" FROM "s"".""t"'),
        ("SELECT 'a' -- it's 1\n, 'b'", "SELECT ? -- it's 1\n, ?"),
        ("/* it's 1 */ SELECT 'b'", "/* it's 1 */ SELECT ?"),
        ("UPDATE t SET card = '4111", "UPDATE t SET card = ?"),
        ("SELECT $x$ never closed", "SELECT ?"),
        ("SELECT col1, t1.c2, date'2020-01-01', ü1", "SELECT col1, t1.c2, date?, ü1"),
        ("", ""),
    ],
)
def test_literals_are_hidden_and_nothing_else(sql: str, hidden: str) -> None:
    assert masked(sql) == hidden
