"""From PostgreSQL's SELECT to sqlite's. It takes sqlglot, which is imported with the first SELECT only."""

import logging
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

import sqlglot
from sqlglot import exp
from sqlglot.dialects.postgres import Postgres
from sqlglot.dialects.sqlite import SQLite
from sqlglot.errors import ErrorLevel, ParseError, SqlglotError, TokenError
from sqlglot.parsers.postgres import PostgresParser

from pooler.admin.errors import AdminError
from pooler.admin.sql.errors import (
    PROGRAM_LIMIT_EXCEEDED,
    SYNTAX_ERROR,
    Unsupported,
    no_such_function,
    no_such_table,
    syntax_error,
    too_long,
)
from pooler.admin.sql.kinds import Kinds
from pooler.admin.sql.rules import CLAUSES, rewritten
from pooler.admin.tables import HELP, SHOW_TABLES
from pooler.wire.messages import TEXT

SCHEMA: Final = "pgbouncer"
PREFIX: Final = "show_"
"""Of the tables in sqlite: a WITH may have a name that is also that of a table."""

QUERY_LIMIT: Final = 16_384
"""Characters."""
TOKEN_LIMIT: Final = 2_000
PARSE_LIMIT: Final = 0.2
"""Seconds."""
SOURCES_LIMIT: Final = 20
"""Tables and subqueries in all of a query."""

logging.getLogger("sqlglot").setLevel(logging.CRITICAL)


class _Source(Postgres):
    """PostgreSQL's language, as long as it is read in time: some texts are tried in every possible way."""

    class Parser(PostgresParser):
        _deadline = 0.0

        def _advance(self, times: int = 1) -> None:
            now = time.monotonic()
            if not self._deadline:
                self._deadline = now + PARSE_LIMIT
            elif now > self._deadline:
                raise too_long()
            super()._advance(times)


class _NumbersOnly(_Source):
    """The same without `$tag$...$tag$`: in `$1,$2`, `1,` would be such a tag."""

    class Tokenizer(_Source.Tokenizer):
        HEREDOC_STRINGS = []  # noqa: RUF012 (as in the base class)
        SINGLE_TOKENS = {  # noqa: RUF012
            **_Source.Tokenizer.SINGLE_TOKENS,
            "$": _Source.Tokenizer.HEREDOC_STRING_ALTERNATIVE,
        }


_DOLLAR_QUOTE: Final = re.compile(r"\$(?:[^\W\d]\w*)?\$")


class _Dialect(SQLite):
    """sqlite takes an unknown name in double quotes for a text, and one in backticks for an error."""

    class Tokenizer(SQLite.Tokenizer):
        IDENTIFIERS = ["`"]  # noqa: RUF012 (as in the base class)


@dataclass(frozen=True, slots=True)
class Translation:
    """A SELECT, ready to run."""

    sql: str
    describe: str
    """The same without rows."""
    tables: tuple[str, ...]
    """Names of the SHOW tables that it reads."""
    parameters: tuple[int, ...]
    """Type oids of $1 and so on."""
    kinds: tuple[int | None, ...]
    """Types of what stands after SELECT, None where only the values tell."""
    scales: Mapping[int, int]
    """Digits after the point, for columns where the query says how many."""
    by_name: Mapping[str, int]
    """Types of columns that `*` brings."""
    stars: tuple[int, ...]
    """Where among `kinds` a `*` stands."""


@lru_cache(maxsize=64)
def translate(text: str) -> Translation:
    """Understands one SELECT, VALUES or WITH. Raises AdminError."""
    if len(text) > QUERY_LIMIT:
        raise AdminError("query is too long", PROGRAM_LIMIT_EXCEEDED)
    try:
        return _translate(_parse(text))
    except RecursionError:
        raise AdminError("stack depth limit exceeded", "54001") from None
    except ParseError as error:
        raise syntax_error(str(error.errors[0].get("highlight") or "") if error.errors else "") from None
    except TokenError:
        raise AdminError("unterminated quoted string or comment", SYNTAX_ERROR) from None
    except SqlglotError as error:
        raise Unsupported(f"this form of SELECT ({error}) is") from None
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
        # sqlglot's parser trips over some texts that are no SQL at all.
        raise AdminError("syntax error", SYNTAX_ERROR) from None


def _parse(text: str) -> exp.Query:
    source = _Source if _DOLLAR_QUOTE.search(text) else _NumbersOnly
    tokens = sqlglot.tokenize(text, read=source)
    if len(tokens) > TOKEN_LIMIT:
        raise AdminError("query is too long", PROGRAM_LIMIT_EXCEEDED)
    statements = sqlglot.parse(text, read=source, error_level=ErrorLevel.IMMEDIATE)
    while statements and (statements[-1] is None or isinstance(statements[-1], exp.Semicolon)):
        statements.pop()
    if len(statements) != 1:
        raise AdminError("only one statement at a time", SYNTAX_ERROR)
    root = statements[0]
    while isinstance(root, (exp.Subquery, exp.Paren)) and not root.args.get("alias"):
        root = root.this
    if isinstance(root, exp.Values):
        root = exp.Select(expressions=[exp.Star()]).from_(exp.Subquery(this=root))
    if not isinstance(root, (exp.Select, exp.SetOperation)):
        raise Unsupported("anything but SELECT is")
    return root


def _translate(root: exp.Query) -> Translation:
    nodes = list(root.walk())
    _check(nodes)
    if not root.selects:
        raise syntax_error("")
    own = {cte.alias.lower() for cte in root.find_all(exp.CTE)}
    shown = {node.alias_or_name.lower(): name for node in nodes if (name := _show_table(node, own))}
    tables = set(shown.values())
    for select in list(root.find_all(exp.Select)):
        select.set("expressions", [_with_name(projection) for projection in select.expressions])
    kinds = Kinds(root, shown)
    outputs = list(root.selects)
    types = tuple(kinds.of(node) for node in outputs)
    scales = {index: scale for index, node in enumerate(outputs) if (scale := _scale(node)) is not None}
    stars = [index for index, node in enumerate(outputs) if _is_star(node)]
    parameters = _parameters(nodes, kinds)
    for node in nodes:
        kinds.of(node)
    for node in reversed(nodes):
        _rewrite(node, own, kinds, tables)
    names = {column for name in tables for column, _ in SHOW_TABLES[name].columns} if stars else set()
    names |= {alias.alias.lower() for alias in root.find_all(exp.Alias)} if stars else set()
    return Translation(
        _text(root),
        _text(root.limit(0, copy=True)),
        tuple(sorted(tables)),
        parameters,
        types,
        scales,
        {name: oid for name in names if (oid := kinds.named(name)) is not None},
        tuple(stars),
    )


def _check(nodes: Sequence[exp.Expr]) -> None:
    for node in nodes:
        if isinstance(node, exp.Anonymous):
            continue
        if not isinstance(node, CLAUSES):
            if isinstance(node.parent, exp.Table):
                raise Unsupported("a function after FROM is")
            if isinstance(node, exp.Func):
                raise no_such_function(node.sql_name().lower())
            raise Unsupported(f"{node.key} is")
    if sum(isinstance(node, (exp.Table, exp.Subquery)) for node in nodes) > SOURCES_LIMIT:
        raise AdminError("too many tables in one query", PROGRAM_LIMIT_EXCEEDED)


def _show_table(node: exp.Expr, own: set[str]) -> str | None:
    """The SHOW table that a name after FROM means; None if it is the query's own."""
    if not isinstance(node, exp.Table):
        return None
    if not isinstance(node.this, exp.Identifier):
        raise Unsupported("a function after FROM is")
    name = _folded(node.this)
    schema = node.db.lower()
    if not schema and name in own:
        return None
    if schema not in ("", SCHEMA) or node.catalog or name not in SHOW_TABLES or name == HELP.name:
        raise no_such_table(f"{schema}.{name}" if schema else name)
    return name


def _folded(name: exp.Identifier) -> str:
    return str(name.this) if name.quoted else str(name.this).lower()


def _rewrite(node: exp.Expr, own: set[str], kinds: Kinds, tables: set[str]) -> None:
    if isinstance(node, exp.Table):
        _rewrite_table(node, own)
    elif isinstance(node, exp.Column):
        node.set("db", None)
        node.set("catalog", None)
    elif isinstance(node, exp.Anonymous) and node.name.lower() == "current_setting":
        tables.add("config")
        key = node.expressions[0] if len(node.expressions) == 1 else None
        if key is None:
            raise no_such_function("current_setting")
        node.replace(_one_value("config", "value", exp.EQ(this=exp.column("key"), expression=key.copy())))
    elif isinstance(node, exp.CurrentVersion):
        tables.add("version")
        node.replace(_one_value("version", "version"))
    elif (better := rewritten(node, kinds)) is not None:
        kinds.keep(better, node)
        node.replace(better)


def _rewrite_table(node: exp.Table, own: set[str]) -> None:
    name = _show_table(node, own)
    if node.args.get("alias") and node.args["alias"].columns:
        raise Unsupported("an alias with columns is")
    if name is not None:
        if not node.alias:
            node.set("alias", exp.TableAlias(this=exp.to_identifier(name)))
        node.set("this", exp.to_identifier(PREFIX + name))
        node.set("db", None)


def _one_value(table: str, column: str, condition: exp.Expr | None = None) -> exp.Expr:
    select = exp.Select(expressions=[exp.column(column)]).from_(PREFIX + table)
    return exp.Subquery(this=select if condition is None else select.where(condition))


def _parameters(nodes: Sequence[exp.Expr], kinds: Kinds) -> tuple[int, ...]:
    """Their types; where one stands in several places, the first that is not text."""
    found: dict[int, int] = {}
    for node in nodes:
        if not isinstance(node, exp.Parameter):
            continue
        if not (node.name.isdigit() and 1 <= int(node.name) <= 100):
            raise AdminError(f"there is no parameter ${node.name}", "42P02")
        oid = kinds.parameter(node)
        number = int(node.name)
        if found.get(number, TEXT) == TEXT:
            found[number] = oid
    return tuple(found.get(number, TEXT) for number in range(1, max(found, default=0) + 1))


# Columns ---------------------------------------------------------------------------------------------------


def _with_name(node: exp.Expr) -> exp.Expr:
    """PostgreSQL's name for a column that the query gives none."""
    if _is_star(node):
        return node
    if isinstance(node, exp.Alias):
        identifier = node.args["alias"]
        if isinstance(identifier, exp.Identifier) and not identifier.quoted:
            identifier.set("this", identifier.this.lower())
        return node
    name = column_name(node)
    return exp.Alias(this=node, alias=exp.to_identifier(name, quoted=True))


def _is_star(node: exp.Expr) -> bool:
    return isinstance(node, exp.Star) or (isinstance(node, exp.Column) and isinstance(node.this, exp.Star))


_NAMES: Final[Mapping[type[exp.Expr], str]] = {
    exp.CurrentTimestamp: "now",
    exp.CurrentVersion: "version",
    exp.CurrentDatabase: "current_database",
    exp.CurrentSchema: "current_schema",
    exp.GroupConcat: "string_agg",
    exp.LogicalAnd: "bool_and",
    exp.LogicalOr: "bool_or",
    exp.UnixToTime: "to_timestamp",
    exp.StrPosition: "position",
    exp.Trim: "btrim",
    exp.Boolean: "bool",
}


def column_name(node: exp.Expr) -> str:
    """As PostgreSQL names it: after the column, the function, or the type of a cast."""
    while isinstance(node, (exp.Paren, exp.Filter, exp.Window)):
        node = node.this
    if isinstance(node, exp.Column):
        return _folded(node.this)
    if isinstance(node, exp.Cast):
        inner = column_name(node.this)
        return inner if inner != "?column?" else node.to.sql("postgres").lower().split("(")[0]
    if isinstance(node, exp.Subquery):
        return column_name(node.this.selects[0].unalias()) if len(node.this.selects) == 1 else "?column?"
    if isinstance(node, exp.Anonymous):
        return node.name.lower()
    if isinstance(node, exp.Pad):
        return "lpad" if node.args.get("is_left") else "rpad"
    known = _NAMES.get(type(node))
    if known is not None:
        return known
    if isinstance(node, exp.Func) and not isinstance(node, (exp.Connector, exp.Binary)):
        return node.sql_name().lower()
    return "?column?"


def _scale(node: exp.Expr) -> int | None:
    """How many digits `round` or a cast leaves."""
    node = node.unalias()
    if isinstance(node, exp.Round):
        digits = node.args.get("decimals")
        text = digits.name if isinstance(digits, exp.Literal) else "" if digits is not None else "0"
    elif isinstance(node, exp.Cast) and node.to.this is exp.DataType.Type.DECIMAL and node.to.expressions:
        text = node.to.expressions[1].name if len(node.to.expressions) > 1 else "0"
    else:
        return None
    return min(int(text), 30) if text.isdigit() else None


def _text(root: exp.Query) -> str:
    return root.sql(dialect=_Dialect, identify=True, comments=False, unsupported_level=ErrorLevel.RAISE)
