"""The types of expressions, as far as they can be told without running the query."""

from collections.abc import Iterable, Mapping
from typing import Final

from sqlglot import exp

from pooler.admin.sql.errors import Unsupported
from pooler.admin.sql.values import INTERVAL
from pooler.admin.tables import SHOW_TABLES
from pooler.wire.messages import BOOL, INT4, INT8, NUMERIC, TEXT, TIMESTAMPTZ

_Type = exp.DataType.Type

CASTS: Final[Mapping[exp.DType, tuple[str, int]]] = {
    **dict.fromkeys((_Type.INT, _Type.SMALLINT), ("pg_int4", INT4)),
    _Type.BIGINT: ("pg_int8", INT8),
    **dict.fromkeys((_Type.DECIMAL, _Type.FLOAT, _Type.DOUBLE), ("pg_numeric", NUMERIC)),
    **dict.fromkeys((_Type.TEXT, _Type.VARCHAR, _Type.CHAR, _Type.NAME, _Type.BPCHAR), ("pg_text", TEXT)),
    _Type.BOOLEAN: ("pg_bool", BOOL),
    **dict.fromkeys((_Type.TIMESTAMP, _Type.TIMESTAMPTZ), ("pg_timestamp", TIMESTAMPTZ)),
    _Type.INTERVAL: ("pg_interval", INTERVAL),
}
"""The function of sqlite that casts, and the type that comes out."""

_CONDITIONS: Final = (
    exp.Boolean,
    exp.Predicate,
    exp.Connector,
    exp.Not,
    exp.Exists,
    exp.LogicalAnd,
    exp.LogicalOr,
    exp.StartsWith,
)
_TEXTS: Final = (
    exp.Lower,
    exp.Upper,
    exp.Trim,
    exp.Replace,
    exp.Substring,
    exp.Left,
    exp.Right,
    exp.SplitPart,
    exp.Concat,
    exp.ConcatWs,
    exp.Pad,
    exp.GroupConcat,
    exp.DPipe,
    exp.CurrentVersion,
    exp.CurrentDatabase,
    exp.CurrentSchema,
    exp.CurrentUser,
    exp.SessionUser,
    exp.Anonymous,
)
_COUNTS: Final = (exp.Count, exp.RowNumber, exp.Rank, exp.DenseRank, exp.Binary)
_FRACTIONS: Final = (exp.Avg, exp.Ceil, exp.Floor, exp.Trunc, exp.Round, exp.Extract)
_SAME: Final = (
    exp.Alias,
    exp.Paren,
    exp.Neg,
    exp.Filter,
    exp.Window,
    exp.Min,
    exp.Max,
    exp.Abs,
    exp.Sign,
    exp.Nullif,
    exp.Lag,
    exp.Lead,
    exp.FirstValue,
    exp.LastValue,
)


def cast_of(node: exp.Cast) -> tuple[str, int]:
    """One of CASTS. Raises AdminError for other types."""
    target: exp.Expr = node.args["to"]
    found = CASTS.get(target.this) if isinstance(target, exp.DataType) else None
    if found is None:
        raise Unsupported(f"type {target.sql('postgres').lower()} is")
    return found


class Kinds:
    """Types of expressions of one query, by name and context; None for those that only their values tell."""

    def __init__(self, root: exp.Expr, tables: Mapping[str, str]) -> None:
        """`tables` are SHOW tables by the names that the query has for them."""
        self._tables = tables
        self._aliases: dict[str, list[exp.Expr]] = {}
        self._known: dict[int, int | None] = {}
        self._kept: list[exp.Expr] = []
        for alias in root.find_all(exp.Alias):
            self._aliases.setdefault(alias.alias.lower(), []).append(alias.this)
        for cte in root.find_all(exp.CTE):
            self._name_columns(cte)

    def _name_columns(self, cte: exp.CTE) -> None:
        for name, projection in zip(cte.args["alias"].columns, cte.this.selects, strict=False):
            self._aliases.setdefault(name.name.lower(), []).append(projection)

    def of(self, node: exp.Expr | None) -> int | None:
        """The oid of its type."""
        if node is None:
            return None
        if id(node) not in self._known:
            self._known[id(node)] = None  # what leads back to itself does not tell
            self._known[id(node)] = self._find(node)
        return self._known[id(node)]

    def keep(self, node: exp.Expr, original: exp.Expr) -> None:
        """`node` takes the place of `original`, and is of its type."""
        self._known[id(node)] = self.of(original)
        self._kept.append(node)

    def named(self, name: str, table: str = "") -> int | None:
        """The type of a column, or of what the query calls so; None if there are several."""
        own = self._tables.get(table)
        shown = [own] if own is not None else list(self._tables.values())
        found = {oid for show in shown for column, oid in SHOW_TABLES[show].columns if column == name}
        if own is None:
            found |= {oid for node in self._aliases.get(name, ()) if (oid := self.of(node)) is not None}
        return found.pop() if len(found) == 1 else None

    def _find(self, node: exp.Expr) -> int | None:
        if isinstance(node, exp.Literal):
            whole = not node.is_string and node.this.isdigit()
            return TEXT if node.is_string else (NUMERIC if not whole else _whole(int(node.this)))
        if isinstance(node, exp.Column):
            return None if node.is_star else self.named(node.name.lower(), node.table.lower())
        if isinstance(node, exp.Parameter):
            return self.parameter(node)
        if isinstance(node, exp.Cast):
            return cast_of(node)[1]
        if isinstance(node, (exp.Subquery, exp.Query)):
            return self._of_query(node)
        if isinstance(node, _SAME):
            return self.of(node.this)
        if isinstance(node, _CONDITIONS):
            return BOOL
        if isinstance(node, (exp.Add, exp.Sub, exp.Mul, exp.Div, exp.Mod)):
            return self._arithmetic(node)
        return self._of_function(node)

    def _of_function(self, node: exp.Expr) -> int | None:
        if isinstance(node, exp.Case):
            return self._unified(
                (*(branch.args["true"] for branch in node.args["ifs"]), node.args.get("default"))
            )
        if isinstance(node, (exp.Coalesce, exp.Greatest, exp.Least)):
            return self._unified((node.this, *node.expressions))
        if isinstance(node, exp.Sum):
            return {INT4: INT8, INT8: NUMERIC, NUMERIC: NUMERIC}.get(self.of(node.this) or 0)
        if isinstance(node, (exp.CurrentTimestamp, exp.UnixToTime)):
            return TIMESTAMPTZ
        if isinstance(node, exp.Interval):
            return INTERVAL
        for classes, oid in (
            (_TEXTS, TEXT),
            ((exp.Length, exp.StrPosition), INT4),
            (_FRACTIONS, NUMERIC),
            (_COUNTS, INT8),
        ):
            if isinstance(node, classes):
                return oid
        return None

    def _of_query(self, node: exp.Expr) -> int | None:
        selects = node.selects if isinstance(node, exp.Query) else ()
        return self.of(selects[0]) if len(selects) == 1 else None

    def _arithmetic(self, node: exp.Expr) -> int | None:
        pair = {self.of(node.this), self.of(node.expression)}
        if pair == {TIMESTAMPTZ} and isinstance(node, exp.Sub):
            return INTERVAL
        if TIMESTAMPTZ in pair or INTERVAL in pair:
            return TIMESTAMPTZ if TIMESTAMPTZ in pair else INTERVAL
        if NUMERIC in pair:
            return NUMERIC
        return INT8 if pair <= {INT4, INT8} else None

    def _unified(self, nodes: Iterable[exp.Expr | None]) -> int | None:
        there = [node for node in nodes if node is not None and not isinstance(node, exp.Null)]
        found = {self.of(node) for node in there}
        if len(found) == 1:
            return found.pop()
        if not found or not found <= {INT4, INT8, NUMERIC}:
            return None
        return NUMERIC if NUMERIC in found else INT8

    def parameter(self, node: exp.Parameter) -> int:
        """$1 is of the type of what it meets."""
        parent = node.parent
        while isinstance(parent, exp.Paren):
            parent = parent.parent
        if isinstance(parent, (exp.Limit, exp.Offset, exp.Fetch)):
            return INT8
        if isinstance(parent, exp.Cast):
            return _wide(cast_of(parent)[1])
        if isinstance(parent, (exp.Binary, exp.In, exp.Between)):
            others = [child for child in parent.iter_expressions() if not child.find(exp.Parameter)]
            oid = next((oid for oid in map(self.of, others) if oid is not None), None)
            # What is added to a timestamp is an interval.
            return TEXT if oid == TIMESTAMPTZ and isinstance(parent, (exp.Add, exp.Sub)) else _wide(oid)
        return TEXT


def _whole(number: int) -> int:
    return INT4 if number < 2**31 else (INT8 if number < 2**63 else NUMERIC)


def _wide(oid: int | None) -> int:
    """What a client may send for it."""
    if oid in (INT4, INT8):
        return INT8
    return oid if oid in (NUMERIC, BOOL, TIMESTAMPTZ) else TEXT
