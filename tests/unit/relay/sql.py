"""The little SQL that the model server understands. What a statement brings follows from its text alone, and
from the parameters of the session.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final


class UnknownSql(AssertionError):
    """No test is meant to say this."""


class SqlError(Exception):
    """An ErrorResponse of severity ERROR."""

    def __init__(self, sqlstate: str, text: str) -> None:
        super().__init__(text)
        self.sqlstate = sqlstate
        self.text = text


def division_by_zero() -> SqlError:
    return SqlError("22012", "division by zero")


@dataclass(frozen=True, slots=True)
class Plan:
    """One statement. `name` and `text` are what stood in it; `parameters` is how many $n it has.

    `fails` says when: "" never; "analysis", as the column `name` does not exist; "plan" and "run" by a
    division by zero, before anything was sent or behind the rows.
    """

    verb: str
    name: str = ""
    text: str = ""
    rows: tuple[str, ...] = ()
    parameters: int = 0
    fails: str = ""

    @property
    def returns_rows(self) -> bool:
        """It has a RowDescription."""
        return self.verb in ("SELECT", "SHOW")

    def analyse(self) -> None:
        """Raises SqlError."""
        if self.fails == "analysis":
            raise SqlError("42703", f'column "{self.name}" does not exist')

    @property
    def ends_transaction(self) -> bool:
        """It may run in a failed transaction."""
        return self.verb in ("COMMIT", "ROLLBACK")


_TOKEN: Final = r"'(?P<text>\w*)'"
_STATEMENTS: Final = {
    rf"SELECT {_TOKEN}": "SELECT",
    rf"SELECT {_TOKEN} FROM generate_series\(1, (?P<count>\d+)\)": "SELECT",
    rf"SELECT {_TOKEN} \|\| repeat\('x', (?P<size>\d+)\)": "SELECT",
    r"SELECT (?P<parameter>\$1)::text": "SELECT",
    r"SELECT 1/(?P<plan>0)": "SELECT",
    r"SELECT 1/\((?P<count>\d+)-i\) FROM (?P<run>generate_series)\(0, 9\) i": "SELECT",
    r"SELECT (?P<name>(?P<analysis>\w+))": "SELECT",
    r"SHOW (?P<name>\w+)": "SHOW",
    r"SET (?P<name>\w+) ?= ?'(?P<text>\w*)'": "SET",
    r"(?P<verb>BEGIN|COMMIT|ROLLBACK|DISCARD ALL|DEALLOCATE ALL)": "",
    r"NOTIFY (?P<name>\w+), '(?P<text>\w*)'": "NOTIFY",
    r"DO \$\$BEGIN RAISE NOTICE '(?P<text>\w*)'; END\$\$": "DO",
    r"COPY (?P<name>\w+) FROM STDIN": "COPY IN",
    rf"COPY \(SELECT {_TOKEN} FROM generate_series\(1, (?P<count>\d+)\)\) TO STDOUT": "COPY OUT",
}
_COMPILED: Final = [(re.compile(pattern), verb) for pattern, verb in _STATEMENTS.items()]


def split(sql: str) -> list[str]:
    """The statements of a Query, empty ones dropped. Raises SqlError if one of them is not even SQL."""
    if sql.startswith("DO "):
        return [sql]
    statements = [part.strip() for part in sql.split(";") if part.strip()]
    if any(part.startswith("SELEC ") for part in statements):
        raise SqlError("42601", 'syntax error at or near "SELEC"')
    return statements


def plan(statement: str) -> Plan:
    """What a statement does. Raises UnknownSql for what is not in this language."""
    for pattern, verb in _COMPILED:
        match = pattern.fullmatch(statement)
        if match is not None:
            return _plan(verb, {key: value for key, value in match.groupdict().items() if value is not None})
    raise UnknownSql(statement)


def _plan(verb: str, found: dict[str, str]) -> Plan:
    text = found.get("text", "")
    count = int(found.get("count", 1))
    rows = (text + "x" * int(found.get("size", 0)),) * count
    if "run" in found:
        rows = tuple(str(1 // (count - i)) for i in range(count))
    return Plan(
        verb or found["verb"],
        found.get("name", ""),
        text,
        rows,
        parameters=1 if "parameter" in found else 0,
        fails=next((when for when in ("analysis", "plan", "run") if when in found), ""),
    )
