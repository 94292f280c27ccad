"""What of PostgreSQL's language there is, and how sqlite says it."""

from collections.abc import Callable, Mapping
from typing import Final

from sqlglot import exp

from pooler.admin.sql.errors import Unsupported, no_such_function
from pooler.admin.sql.kinds import Kinds, cast_of
from pooler.admin.sql.values import INTERVAL, to_interval
from pooler.wire.messages import BOOL, INT4, INT8, NUMERIC, TEXT, TIMESTAMPTZ

CLAUSES: Final = (
    # Queries
    exp.Select,
    exp.SetOperation,
    exp.Subquery,
    exp.Values,
    exp.Tuple,
    exp.With,
    exp.CTE,
    exp.From,
    exp.Join,
    exp.Table,
    exp.TableAlias,
    exp.Where,
    exp.Group,
    exp.Having,
    exp.Order,
    exp.Ordered,
    exp.Limit,
    exp.Offset,
    exp.Fetch,
    exp.LimitOptions,
    exp.Distinct,
    exp.Window,
    exp.WindowSpec,
    exp.Filter,
    exp.Star,
    exp.Alias,
    # Names and values
    exp.Column,
    exp.Identifier,
    exp.Literal,
    exp.RawString,
    exp.Null,
    exp.Boolean,
    exp.Parameter,
    exp.Var,
    exp.DataType,
    exp.DataTypeParam,
    exp.Interval,
    exp.Cast,
    # Operators
    exp.Paren,
    exp.Neg,
    exp.Not,
    exp.And,
    exp.Or,
    exp.Add,
    exp.Sub,
    exp.Mul,
    exp.Div,
    exp.Mod,
    exp.DPipe,
    exp.BitwiseAnd,
    exp.BitwiseOr,
    exp.BitwiseNot,
    exp.BitwiseLeftShift,
    exp.BitwiseRightShift,
    exp.EQ,
    exp.NEQ,
    exp.GT,
    exp.GTE,
    exp.LT,
    exp.LTE,
    exp.Is,
    exp.NullSafeEQ,
    exp.NullSafeNEQ,
    exp.In,
    exp.Between,
    exp.Like,
    exp.ILike,
    exp.Escape,
    exp.Exists,
    exp.Any,
    exp.Array,
    exp.Case,
    exp.If,
    # Functions
    exp.Count,
    exp.Sum,
    exp.Avg,
    exp.Min,
    exp.Max,
    exp.GroupConcat,
    exp.LogicalAnd,
    exp.LogicalOr,
    exp.RowNumber,
    exp.Rank,
    exp.DenseRank,
    exp.Lag,
    exp.Lead,
    exp.FirstValue,
    exp.LastValue,
    exp.Coalesce,
    exp.Nullif,
    exp.Greatest,
    exp.Least,
    exp.Abs,
    exp.Round,
    exp.Ceil,
    exp.Floor,
    exp.Trunc,
    exp.Sign,
    exp.Length,
    exp.Lower,
    exp.Upper,
    exp.Trim,
    exp.Replace,
    exp.Substring,
    exp.Left,
    exp.Right,
    exp.StrPosition,
    exp.SplitPart,
    exp.Concat,
    exp.ConcatWs,
    exp.StartsWith,
    exp.Pad,
    exp.CurrentTimestamp,
    exp.UnixToTime,
    exp.Extract,
    exp.CurrentVersion,
    exp.CurrentDatabase,
    exp.CurrentSchema,
    exp.CurrentUser,
    exp.SessionUser,
)
"""Everything that a query may be made of. The rest is refused before sqlite sees it."""

_SIMPLE: Final[Mapping[type[exp.Expr], tuple[str, tuple[str, ...]]]] = {
    exp.Ceil: ("pg_ceil", ("this",)),
    exp.Floor: ("pg_floor", ("this",)),
    exp.Trunc: ("pg_trunc", ("this", "decimals")),
    exp.Sign: ("pg_sign", ("this",)),
    exp.Left: ("pg_left", ("this", "expression")),
    exp.Right: ("pg_right", ("this", "expression")),
    exp.SplitPart: ("pg_split_part", ("this", "delimiter", "part_index")),
    exp.StrPosition: ("pg_position", ("this", "substr")),
    exp.Replace: ("pg_replace", ("this", "expression", "replacement")),
    exp.StartsWith: ("pg_starts_with", ("this", "expression")),
    exp.UnixToTime: ("pg_timestamp", ("this",)),
    exp.CurrentTimestamp: ("pg_now", ()),
    exp.CurrentDatabase: ("pg_current_database", ()),
    exp.CurrentSchema: ("pg_current_database", ()),
    exp.CurrentUser: ("pg_current_user", ()),
    exp.SessionUser: ("pg_current_user", ()),
    exp.LogicalAnd: ("min", ("this",)),
    exp.LogicalOr: ("max", ("this",)),
    exp.Mod: ("pg_modulo", ("this", "expression")),
    exp.Substring: ("substr", ("this", "start", "length")),
}
"""Functions with the same arguments, but for their name."""

_LISTS: Final[Mapping[type[exp.Expr], str]] = {
    exp.Greatest: "pg_greatest",
    exp.Least: "pg_least",
    exp.Concat: "pg_concat",
    exp.ConcatWs: "pg_concat_ws",
}
_ANONYMOUS: Final[Mapping[str, str]] = {
    "clock_timestamp": "pg_now",
    "statement_timestamp": "pg_now",
    "pg_size_pretty": "pg_size_pretty",
    "every": "min",
}


def rewritten(node: exp.Expr, kinds: Kinds) -> exp.Expr | None:
    """What sqlite is to be told instead of this; its parts already are sqlite's. None if it understands it.

    Raises AdminError for what cannot be said.
    """
    simple = _SIMPLE.get(type(node))
    if simple is not None:
        name, arguments = simple
        return call(
            name, *(node.args[argument] for argument in arguments if node.args.get(argument) is not None)
        )
    several = _LISTS.get(type(node))
    if several is not None:
        return call(
            several, *([] if node.this is None or node.this == "" else [node.this]), *node.expressions
        )
    rule = _RULES.get(type(node))
    return None if rule is None else rule(node, kinds)


def call(name: str, *arguments: exp.Expr) -> exp.Anonymous:
    """A function of sqlite."""
    return exp.Anonymous(this=name, expressions=[argument.copy() for argument in arguments])


def _anonymous(node: exp.Expr, kinds: Kinds) -> exp.Expr:
    name = node.name.lower()
    if name not in _ANONYMOUS:
        raise no_such_function(name)
    return call(_ANONYMOUS[name], *node.expressions)


def _cast(node: exp.Expr, kinds: Kinds) -> exp.Expr:
    assert isinstance(node, exp.Cast)
    name, _ = cast_of(node)
    value = node.this
    if name == "pg_text" and kinds.of(value) == BOOL:
        name = "pg_bool_text"
    target = node.to
    if target.this is exp.DataType.Type.DECIMAL and target.expressions:
        digits = target.expressions[1].this if len(target.expressions) > 1 else exp.Literal.number(0)
        return call("round", call(name, value), digits)
    return call(name, value)


def _divide(node: exp.Expr, kinds: Kinds) -> exp.Expr:
    pair = (kinds.of(node.this), kinds.of(node.expression))
    if pair[0] == INTERVAL:
        return call("pg_divide_numeric", node.this, node.expression)
    return call("pg_divide_numeric" if NUMERIC in pair else "pg_divide", node.this, node.expression)


def _subtract(node: exp.Expr, kinds: Kinds) -> exp.Expr | None:
    if kinds.of(node.this) != TIMESTAMPTZ:
        return None
    if kinds.of(node.expression) == TIMESTAMPTZ:
        return call("pg_seconds_between", node.this, node.expression)
    return call("pg_shift", node.this, exp.Neg(this=_seconds(node.expression, kinds)))


def _add(node: exp.Expr, kinds: Kinds) -> exp.Expr | None:
    if kinds.of(node.this) == TIMESTAMPTZ:
        return call("pg_shift", node.this, _seconds(node.expression, kinds))
    if kinds.of(node.expression) == TIMESTAMPTZ:
        return call("pg_shift", node.expression, _seconds(node.this, kinds))
    return None


def _seconds(node: exp.Expr, kinds: Kinds) -> exp.Expr:
    """An interval; a text is read as one."""
    return exp.Paren(this=node.copy()) if kinds.of(node) == INTERVAL else call("pg_interval", node)


def _interval(node: exp.Expr, kinds: Kinds) -> exp.Expr:
    unit = node.args.get("unit")
    seconds = to_interval(f"{node.this.name} {'' if unit is None else unit.name}")
    return exp.Paren(this=exp.Var(this=repr(float(seconds or 0))))


def _extract(node: exp.Expr, kinds: Kinds) -> exp.Expr:
    if node.name.lower() != "epoch":
        raise Unsupported(f"extract({node.name.lower()} ...) is")
    oid = kinds.of(node.expression)
    if oid == INTERVAL:
        return exp.Paren(this=node.expression.copy())
    return call("pg_epoch", node.expression if oid == TIMESTAMPTZ else call("pg_timestamp", node.expression))


def _like(node: exp.Expr, kinds: Kinds) -> exp.Expr | None:
    """PostgreSQL's LIKE has an escape character without being told; ILIKE is of one case."""
    sides = (node.this, node.expression)
    if isinstance(node, exp.ILike):
        sides = (call("lower", sides[0]), call("lower", sides[1]))
    like = exp.Like(this=sides[0].copy(), expression=sides[1].copy(), negate=node.args.get("negate"))
    if isinstance(node.parent, exp.Escape):
        return like
    return exp.Paren(this=exp.Escape(this=like, expression=exp.Literal.string("\\")))


def _compare(node: exp.Expr, kinds: Kinds) -> exp.Expr | None:
    """`= ANY(ARRAY[...])` is IN."""
    if not isinstance(node.args.get("expression"), exp.Any):
        _liken(node, kinds)
        return None
    array = node.expression.this.unnest()
    if not isinstance(array, exp.Array):
        raise Unsupported("ANY with anything but ARRAY[...] is")
    return exp.In(this=node.this.copy(), expressions=[value.copy() for value in array.expressions])


def _liken(node: exp.Expr, kinds: Kinds) -> None:
    """What meets a timestamp or an interval is one, and a literal that meets a number is a number: sqlite
    would compare a text with them as a text.
    """
    sides = list(node.iter_expressions())
    found = {kinds.of(side) for side in sides}
    for side in sides:
        oid = kinds.of(side)
        if isinstance(side, (exp.Null, exp.Query)):
            continue
        if TIMESTAMPTZ in found and oid != TIMESTAMPTZ:
            side.replace(call("pg_timestamp", side))
        elif INTERVAL in found and oid != INTERVAL:
            side.replace(call("pg_interval", side))
        elif isinstance(side, exp.Literal) and oid == TEXT and found & {INT4, INT8, NUMERIC}:
            side.replace(call("pg_numeric", side))


def _aggregate(node: exp.Expr, kinds: Kinds) -> exp.Expr | None:
    if isinstance(node.this, (exp.Order, exp.Distinct)):
        raise Unsupported("string_agg with ORDER BY or DISTINCT is")
    return None


def _pad(node: exp.Expr, kinds: Kinds) -> exp.Expr:
    fill = node.args.get("fill_pattern")
    arguments = (node.this, node.expression, *([] if fill is None else [fill]))
    return call("pg_lpad" if node.args.get("is_left") else "pg_rpad", *arguments)


def _trim(node: exp.Expr, kinds: Kinds) -> exp.Expr:
    name = {"LEADING": "pg_ltrim", "TRAILING": "pg_rtrim"}.get(node.text("position").upper(), "pg_trim")
    letters = node.args.get("expression")
    return call(name, node.this, *(() if letters is None else (letters,)))


def _round(node: exp.Expr, kinds: Kinds) -> exp.Expr | None:
    digits = node.args.get("decimals")
    return call("pg_round", node.this, digits) if isinstance(digits, exp.Neg) else None


def _distinct(node: exp.Expr, kinds: Kinds) -> exp.Expr | None:
    if node.args.get("on") is not None:
        raise Unsupported("DISTINCT ON is")
    return None


def _array(node: exp.Expr, kinds: Kinds) -> exp.Expr | None:
    parent = node.find_ancestor(exp.Any, exp.Select)
    if not isinstance(parent, exp.Any):
        raise Unsupported("an array is")
    return None


def _parameter(node: exp.Expr, kinds: Kinds) -> exp.Expr:
    return exp.Var(this=f":p{int(node.name)}")


_RULES: Final[Mapping[type[exp.Expr], Callable[[exp.Expr, Kinds], exp.Expr | None]]] = {
    exp.Anonymous: _anonymous,
    exp.Cast: _cast,
    exp.Div: _divide,
    exp.Sub: _subtract,
    exp.Add: _add,
    exp.Interval: _interval,
    exp.Extract: _extract,
    exp.Like: _like,
    exp.ILike: _like,
    exp.EQ: _compare,
    **dict.fromkeys((exp.NEQ, exp.GT, exp.GTE, exp.LT, exp.LTE, exp.In, exp.Between), _compare),
    exp.GroupConcat: _aggregate,
    exp.Pad: _pad,
    exp.Round: _round,
    exp.Trim: _trim,
    exp.Distinct: _distinct,
    exp.Array: _array,
    exp.Parameter: _parameter,
}
