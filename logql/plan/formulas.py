"""Filters that DuckDB's own logic decides: comparisons of plain columns with each other and with constants.

Such a comparison is NULL only where one of its columns is, and true nowhere there. The same holds of comparisons joined
by AND, and by OR where they read the same columns; so where the whole is NULL, it is FALSE if a known value is NULL,
and undecided if nothing but missing values is. One COALESCE says that, however long the filter. Terms of an OR that
share what is known of them share its text, too: `a AND x OR a AND y` is `a AND (x OR y)`, NULLs included.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlglot import exp

from logql.plan.conditions import Cond, all_of, any_of, closed, decide, not_null, sql_of
from logql.plan.values import Value
from logql.sql.walk import bare

COMPARISONS = (exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE, exp.Like, exp.ILike)
#: Functions that are NULL wherever an operand is.
STRICT = (
    exp.Add, exp.Sub, exp.Mul, exp.Div, exp.IntDiv, exp.Mod, exp.Neg, exp.Pow, exp.BitwiseAnd, exp.Abs, exp.Round,
    exp.Floor, exp.Ceil, exp.Sign, exp.Sqrt, exp.Exp, exp.Ln, exp.Log, exp.IsNan, exp.Cast, exp.Lower, exp.Upper,
    exp.Length, exp.Substring, exp.Trim, exp.StartsWith, exp.Contains, exp.RegexpLike, exp.StrPosition, exp.Extract,
    exp.Year, exp.Month, exp.TimestampTrunc, exp.DateDiff, exp.TimeToUnix, exp.TimeToStr,
)  # fmt: skip
Resolve = Callable[[exp.Column], Value | None]


@dataclass(frozen=True)
class Formula:
    """Conditions joined by AND, true only where none of its columns is NULL, and NULL only where one is.

    `open` are those that read what may be missing; the others are `known`, each under what equal ones share.
    """

    columns: Mapping[tuple[str, str], Value]
    known: Mapping[Hashable, exp.Expr]
    open: tuple[exp.Expr, ...] = ()

    @property
    def sql(self) -> exp.Expr:
        """The conditions as one."""
        return sql_of(all_of(*self.known.values(), *self.open))

    def value(self) -> exp.Expr:
        """TRUE, FALSE, and NULL where it is undecided."""
        missing = [value for value in self.columns.values() if value.unknown is not False]
        present: list[Cond] = [not_null(value.sql) for value in self.columns.values() if value.unknown is False]
        if len(missing) > 1:
            present += [any_of(value.unknown, not_null(value.sql)) for value in missing]
        undecided = all_of(any_of(*(value.unknown for value in missing)), *present)
        return exp.Coalesce(this=self.sql, expressions=[sql_of(decide(True, undecided, False))])


def comparison(node: exp.Expr, wanted: bool, resolve: Resolve) -> Formula | None:
    """A comparison, or its negation where it is not `wanted`, as a formula; None for anything else."""
    operands = _operands(node, wanted)
    if operands is None or not all(isinstance(item, exp.Column) or is_constant(item) for item in operands):
        return None
    columns: dict[tuple[str, str], Value] = {}
    read: dict[int, exp.Expr] = {}
    for item in operands:
        if isinstance(item, exp.Column):
            value = resolve(item)
            if value is None or not _serves(value):
                return None
            columns[item.table, item.name] = value
            read[id(item)] = value.sql
    if not columns:
        return None
    sql = _over(node, read)
    sql = sql if wanted else exp.Not(this=exp.Paren(this=sql))
    if any(value.unknown is not False for value in columns.values()):
        return Formula(columns, {}, (sql,))
    return Formula(columns, {(node.key, wanted, *map(_identity, operands)): sql})


def both(parts: Sequence[Formula]) -> Formula:
    """Formulas joined by AND."""
    columns = {key: value for part in parts for key, value in part.columns.items()}
    known = {key: sql for part in parts for key, sql in part.known.items()}
    return Formula(columns, known, tuple(sql for part in parts for sql in part.open))


def either(parts: Iterable[Formula]) -> list[Formula]:
    """Formulas joined by OR: one for each set of columns."""
    groups: dict[frozenset[tuple[str, str]], dict[frozenset[Hashable], list[Formula]]] = {}
    for part in parts:
        alike = groups.setdefault(frozenset(part.columns), {})
        alike.setdefault(frozenset(part.known), []).append(part)
    return [_either(list(alike.values())) for alike in groups.values()]


def _either(groups: Sequence[Sequence[Formula]]) -> Formula:
    """Formulas over the same columns joined by OR, given in groups that share what is known."""
    first = groups[0][0]
    if groups == [[first]]:
        return first
    terms = [all_of(*group[0].known.values(), any_of(*(all_of(*part.open) for part in group))) for group in groups]
    sql = sql_of(any_of(*terms))
    return Formula(first.columns, {}, (sql,)) if first.open else Formula(first.columns, {id(sql): sql})


def by_parts(node: exp.Expr) -> exp.Expr:
    """A comparison of row values part by part: as DuckDB has it, NULL equals NULL in them. Anything else as it is."""
    row = node.args.get("this")
    if not isinstance(row, exp.Tuple) or not isinstance(node, exp.EQ | exp.NEQ | exp.In):
        return node
    others = node.expressions if isinstance(node, exp.In) else [node.expression]
    alike = [isinstance(other, exp.Tuple) and len(other.expressions) == len(row.expressions) for other in others]
    if not others or not all(alike):
        return node
    equal = [
        exp.and_(*map(_same_part, row.expressions, other.expressions), copy=False, dialect="duckdb") for other in others
    ]
    found = exp.or_(*equal, copy=False)
    return exp.Not(this=exp.Paren(this=found)) if isinstance(node, exp.NEQ) else bare(found)


def _same_part(left: exp.Expr, right: exp.Expr) -> exp.Expr:
    return exp.NullSafeEQ(this=closed(left), expression=closed(right))


def is_constant(node: exp.Expr) -> bool:
    """A literal that is not NULL."""
    if isinstance(node, exp.Neg) or type(node) is exp.Cast:
        node = node.this
    return isinstance(node, exp.Literal | exp.Boolean)


def _operands(node: exp.Expr, wanted: bool) -> list[exp.Expr] | None:
    """What a comparison reads, if it is true only where none of that is NULL."""
    if isinstance(node, COMPARISONS):
        return [node.this, node.expression]
    if isinstance(node, exp.Between):  # a value below `low` is not between, whatever `high` is
        bounds = [node.args["low"], node.args["high"]]
        return [node.this, *bounds] if wanted or all(map(is_constant, bounds)) else None
    if isinstance(node, exp.In) and node.expressions:  # one of the list may be NULL where another is met
        return [node.this, *node.expressions] if all(map(is_constant, node.expressions)) else None
    return [node] if isinstance(node, exp.Column) else None


def _serves(value: Value) -> bool:
    """Whether a column is NULL wherever it is missing, and otherwise what it will be, unless its row changes."""
    return (value.blank or value.unknown is False) and (value.nullable is False or value.with_row)


def _identity(operand: exp.Expr) -> Hashable:
    """What equal operands share; of others than columns and literals it is not worth finding out."""
    if isinstance(operand, exp.Column):
        return operand.table, operand.name
    return (operand.is_string, operand.name) if isinstance(operand, exp.Literal) else id(operand)


def _over(node: exp.Expr, read: Mapping[int, exp.Expr]) -> exp.Expr:
    """The comparison over planning columns."""
    if id(node) in read:
        return read[id(node)]
    rebuilt: dict[str, object] = {}
    for key, part in node.args.items():
        rebuilt[key] = [read.get(id(item), item) for item in part] if isinstance(part, list) else part
        if isinstance(part, exp.Column):
            rebuilt[key] = read[id(part)]
    return type(node)(**rebuilt)
