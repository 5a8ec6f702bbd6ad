"""What an expression can be before its missing cells are known: a value with flags, or a set of truth values."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from sqlglot import exp

from logql.plan.conditions import Cond, all_of, any_of, sql_of

#: (token column, name): a cell of that token's row that a value depends on; name "*" stands for all of them.
Dependence = tuple[str, str]
NOTHING: frozenset[Dependence] = frozenset()


@dataclass(frozen=True)
class Value:
    """An expression over planning rows. Where `unknown` it may turn out to be anything, where `nullable` also NULL.

    Elsewhere `sql`, evaluated with NULL for each missing cell, is what it will be. `blank` tells that `sql` is NULL
    wherever it is unknown, `with_row` that it is nullable only where its row is unsure anyway. `doubt` is `unknown` as
    a third truth value: NULL where it holds, else FALSE.
    """

    sql: exp.Expr
    unknown: Cond = False
    nullable: Cond = False
    depends: frozenset[Dependence] = NOTHING
    blank: bool = False
    with_row: bool = False
    doubt: exp.Expr | None = None

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


#: Reads a column of the block at hand; None where the name is none of its columns (a lambda's parameter, an alias).
Resolve = Callable[[exp.Column], Value | None]


def all_depends(values: Iterable[Value | Truth]) -> frozenset[Dependence]:
    """Everything that some values depend on."""
    return frozenset().union(*(v.depends for v in values))


def flag(condition: Cond) -> exp.Expr:
    """A condition as a column to store."""
    return sql_of(condition)
