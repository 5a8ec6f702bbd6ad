"""Planning relations: the rows that may be there in some completion, with flags, and tokens of where they came from.

A planning query is a list of such relations as CTEs. Column `c` of one may have companions, which columns of one fate
share: `c$u` (may be anything) and `c$n` (may be NULL). `_u` tells that the row may be absent, repeated or another; a
token column says which base row, or which group of a barrier, the row comes from, and is NULL where nothing is missing
there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from sqlglot import exp

from logql.plan.conditions import Cond, any_of, never_null, sql_of
from logql.plan.values import NOTHING, Dependence, Value
from logql.sql.bound import LogsRef

UNSURE = "_u"


def column(table: str | None, name: str) -> exp.Column:
    """A quoted column reference."""
    return exp.Column(
        this=exp.Identifier(this=name, quoted=True),
        table=exp.Identifier(this=table, quoted=True) if table else None,
    )


def read(name: str, *projections: exp.Expr) -> exp.Select:
    """`SELECT projections FROM name`, without sqlglot's parser and copies."""
    table = exp.Table(this=exp.Identifier(this=name, quoted=True))
    return exp.Select(expressions=list(projections), from_=exp.From(this=table))


def aliased(value: exp.Expr, name: str) -> exp.Expr:
    """`value AS "name"`."""
    return exp.Alias(this=value, alias=exp.Identifier(this=name, quoted=True))


@dataclass(frozen=True)
class Base:
    """A token's target: rows of a marked reference."""

    ref: LogsRef
    names: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Barrier:
    """A token's target: rows of `relation` that stand behind an aggregate, a window or a subquery.

    `matches(tokens)` gives the condition on a row of the relation under which some live token (rows of the CTE
    `tokens`, column `k`) reaches it; `relevant` holds for rows that are not settled. Where one row for each
    value of the columns `one_of` may suffice, these are taken a few at a time.
    """

    relation: Relation
    matches: Callable[[str], Cond]
    relevant: Cond
    one_of: tuple[str, ...] | None = None


Target = Base | Barrier


@dataclass(frozen=True)
class Flags:
    """Names of a column's companions, where it has them, and what it depends on; the rest as in `Value`."""

    unknown: str | None = None
    nullable: str | None = None
    depends: frozenset[Dependence] = NOTHING
    blank: bool = False
    with_row: bool = False


@dataclass(frozen=True, eq=False)
class Relation:
    """A CTE of the planning query."""

    name: str
    columns: Mapping[str, Flags]
    tokens: Mapping[str, Target] = field(default_factory=dict)
    unsure: bool = False

    def value(self, name: str, table: str | None = None, *, optional: bool = False) -> Value:
        """A column as a value, read through the alias `table`; `optional` where an outer join may leave rows out."""
        flags, alias = self.columns[name], table or self.name
        unknown = _flag(alias, flags.unknown, optional) if flags.unknown else False
        nullable = _flag(alias, flags.nullable, optional) if flags.nullable else False
        return Value(column(alias, name), unknown, nullable, flags.depends, flags.blank, flags.with_row)

    def unsure_in(self, table: str | None = None, *, optional: bool = False) -> Cond:
        """Whether a row may be absent, repeated or another."""
        return _flag(table or self.name, UNSURE, optional) if self.unsure else False

    def live(self) -> Cond:
        """Rows whose own presence or content is not settled."""
        return any_of(self.unsure_in(), *(self.value(name).open for name in self.columns))


@dataclass(frozen=True)
class Blocker:
    """Cells that must be known before what lies above them can be planned: tokens of the rows of `relation`."""

    relation: Relation
    condition: Cond
    depends: frozenset[Dependence] | None = None


class Writer:
    """Collects the outputs of one planning relation; `unsure` tells which of its rows are."""

    def __init__(self, unsure: Cond = False, *, sharing: bool = True) -> None:
        self.projections: list[exp.Expr] = []
        self.columns: dict[str, Flags] = {}
        self.tokens: dict[str, Target] = {}
        self.unsure = unsure
        self._sharing = sharing
        self._companions: dict[Cond, str] = {unsure: UNSURE} if sharing else {}

    def add(self, name: str, value: Value) -> None:
        """An output column with the companions that it needs."""
        self.projections.append(aliased(value.sql, name))
        unknown = self._companion(value.unknown, f"{name}$u")
        nullable = self._companion(value.nullable, f"{name}$n")
        self.columns[name] = Flags(unknown, nullable, value.depends, value.blank, value.with_row)

    def _companion(self, condition: Cond, name: str) -> str | None:
        """The column that stores a condition."""
        if condition is False:
            return None
        found = self._companions.get(condition)
        if found is None:
            found = name
            self.projections.append(aliased(sql_of(_firm(condition)), name))
            if self._sharing:
                self._companions[condition] = name
        return found

    def carry(self, name: str, value: exp.Expr, target: Target) -> None:
        """A token column."""
        self.projections.append(aliased(value, name))
        self.tokens[name] = target

    def finish(self, name: str) -> Relation:
        """The relation, once its CTE is written under that name."""
        if self.unsure is not False:
            self.projections.append(aliased(sql_of(_firm(self.unsure)), UNSURE))
        return Relation(name, self.columns, self.tokens, self.unsure is not False)


def copy_columns(relation: Relation, writer: Writer) -> None:
    """Pass on a relation's columns and tokens."""
    for name in relation.columns:
        writer.add(name, relation.value(name))
    for token, target in relation.tokens.items():
        writer.carry(token, column(relation.name, token), target)


def _flag(table: str, name: str, optional: bool) -> Cond:
    held = column(table, name)
    return never_null(held) if optional else held


def _firm(condition: Cond) -> Cond:
    """A flag to store: never NULL, so that whoever reads it need not ask."""
    return condition if isinstance(condition, bool) or _is_firm(condition) else never_null(condition)


def _is_firm(node: exp.Expr) -> bool:
    """Whether a condition cannot be NULL: flags that are stored already, tests by IS, and what joins them."""
    while isinstance(node, exp.Paren | exp.Not):
        node = node.this
    if isinstance(node, exp.And | exp.Or):
        return all(map(_is_firm, node.flatten()))
    if isinstance(node, exp.Column):
        return node.name == UNSURE or node.name.endswith(("$u", "$n", "$missing")) or node.name.startswith("_lq_")
    return isinstance(node, exp.Is | exp.Exists | exp.Coalesce | exp.NullSafeEQ | exp.Boolean)


def exists(table: str, condition: Cond) -> exp.Expr:
    """`EXISTS (SELECT 1 FROM table WHERE condition)`."""
    body = read(table, exp.Literal.number(1))
    if condition is not True:
        body = body.where(sql_of(condition), copy=False)
    return exp.Exists(this=body)
