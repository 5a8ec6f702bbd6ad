"""What an expression can be before its missing cells are known: a value with flags, or a set of truth values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from sqlglot import exp

from logql.plan.conditions import Cond, all_of, any_of

#: (token column, name): a cell of that token's row that a value depends on; name "*" stands for all of them.
Dependence = tuple[str, str]
NOTHING: frozenset[Dependence] = frozenset()


@dataclass(frozen=True)
class Value:
    """An expression over planning rows. Where `unknown` it may turn out to be anything, where `nullable` also NULL.

    Elsewhere `sql`, evaluated with NULL for each missing cell, is what it will be. `blank` tells that `sql` is NULL
    wherever it is unknown, `with_row` that it is nullable only where its row is unsure anyway.
    """

    sql: exp.Expr
    unknown: Cond = False
    nullable: Cond = False
    depends: frozenset[Dependence] = NOTHING
    blank: bool = False
    with_row: bool = False

    @property
    def open(self) -> Cond:
        """Where the value may differ from what `sql` gives now."""
        return any_of(self.unknown, self.nullable)

    @property
    def settled(self) -> bool:
        """Whether it is known for every row, whatever the data."""
        return self.unknown is False and self.nullable is False


@dataclass(frozen=True)
class Truth:
    """The conditions under which a boolean may be true, may be false, may be other than true, and other than false.

    Of AND, OR and NOT each of these four follows from one of the same operand's four, so that their SQL grows no faster
    than the predicate.
    """

    true: Cond
    false: Cond
    not_true: Cond
    not_false: Cond
    depends: frozenset[Dependence] = NOTHING

    @property
    def undecided(self) -> Cond:
        """Where more than one truth value is possible."""
        return any_of(all_of(self.true, self.not_true), all_of(self.false, self.not_false))


def all_depends(values: Iterable[Value | Truth]) -> frozenset[Dependence]:
    """Everything that some values depend on."""
    return frozenset().union(*(v.depends for v in values))


class Reader(Protocol):
    """What the block at hand knows: its columns and its subqueries.

    `precise`: whether possible values are worked out, `together`: whether conditions are judged together (each a rule).
    """

    precise: bool
    together: bool

    def column(self, node: exp.Column) -> Value | None:
        """A column's value; None for what is no column (a lambda's parameter)."""

    def computed(self, node: exp.Expr) -> Value | None:
        """The value of an aggregate, window or grouping expression that an earlier stage computed."""

    def is_settled(self, node: exp.Expr) -> bool:
        """Whether nothing inside an expression, to any depth, is open."""

    def as_is(self, node: exp.Expr) -> exp.Expr:
        """An expression over planning columns."""

    def subquery_truth(self, node: exp.Expr) -> Truth:
        """Truth values of EXISTS and IN over a query with missing cells."""

    def subquery_value(self, node: exp.Expr) -> Value:
        """Any other use of a query inside an expression."""
