"""Boolean SQL that folds its constants: a condition is an expression, or True or False where it is known beforehand."""

from __future__ import annotations

import functools
from collections.abc import Iterable

from sqlglot import exp

Cond = exp.Expr | bool
#: What binds closer than AND and OR.
_CLOSER = (
    exp.Column, exp.Paren, exp.Coalesce, exp.Exists, exp.EQ, exp.NEQ, exp.LT, exp.LTE, exp.GT, exp.GTE, exp.NullSafeEQ,
)  # fmt: skip


def any_of(*conditions: Cond) -> Cond:
    """The OR of conditions; False where there is none."""
    if any(c is True for c in conditions):
        return True
    return _chain(exp.Or, conditions) if any(not isinstance(c, bool) for c in conditions) else False


def all_of(*conditions: Cond) -> Cond:
    """The AND of conditions; True where there is none."""
    if any(c is False for c in conditions):
        return False
    return _chain(exp.And, conditions) if any(not isinstance(c, bool) for c in conditions) else True


def negate(condition: Cond) -> Cond:
    """NOT of a condition."""
    return not condition if isinstance(condition, bool) else exp.Not(this=exp.Paren(this=condition))


def closed(node: exp.Expr) -> exp.Expr:
    """An operand as it can stand in a comparison."""
    return exp.Paren(this=node) if isinstance(node, exp.Binary | exp.Predicate | exp.Not) else node


def sql_of(condition: Cond) -> exp.Expr:
    """A condition as an expression, TRUE and FALSE included."""
    return exp.Boolean(this=condition) if isinstance(condition, bool) else condition


def is_true(value: exp.Expr) -> exp.Expr:
    """`value IS TRUE`: never NULL."""
    return exp.Is(this=exp.Paren(this=value), expression=exp.Boolean(this=True))


def is_false(value: exp.Expr) -> exp.Expr:
    """`value IS FALSE`: never NULL."""
    return exp.Is(this=exp.Paren(this=value), expression=exp.Boolean(this=False))


def not_true(value: exp.Expr) -> exp.Expr:
    """`value IS NOT TRUE`."""
    return exp.Not(this=is_true(value))


def not_false(value: exp.Expr) -> exp.Expr:
    """`value IS NOT FALSE`."""
    return exp.Not(this=is_false(value))


def is_null(value: exp.Expr) -> exp.Expr:
    """`value IS NULL`."""
    return exp.Is(this=exp.Paren(this=value), expression=exp.Null())


def not_null(value: exp.Expr) -> exp.Expr:
    """`value IS NOT NULL`."""
    return exp.Not(this=is_null(value))


def same(left: exp.Expr, right: exp.Expr) -> exp.Expr:
    """`left IS NOT DISTINCT FROM right`."""
    return exp.NullSafeEQ(this=left, expression=right)


def decide(possible: Cond, doubtful: Cond, otherwise: Cond = True) -> Cond:
    """FALSE where something is not possible, `otherwise` where it is and beyond doubt, NULL elsewhere."""
    cases: list[tuple[Cond, Cond]] = [(negate(possible), False), (negate(doubtful), otherwise)]
    return first_case(cases, exp.Null())


def first_case(cases: Iterable[tuple[Cond, Cond]], otherwise: Cond) -> Cond:
    """The value of the first case whose condition holds."""
    kept: list[exp.If] = []
    for condition, value in cases:
        if condition is True:
            otherwise = value
            break
        if condition is not False:
            kept.append(exp.If(this=condition, true=sql_of(value)))
    default = None if isinstance(otherwise, exp.Null) else sql_of(otherwise)
    return exp.Case(ifs=kept, default=default) if kept else otherwise


def never_null(condition: Cond) -> Cond:
    """A flag read through an outer join: absent means FALSE."""
    if isinstance(condition, bool):
        return condition
    return exp.Coalesce(this=condition, expressions=[exp.Boolean(this=False)])


def _chain(kind: type[exp.Or] | type[exp.And], conditions: tuple[Cond, ...]) -> exp.Expr:
    parts: dict[object, exp.Expr] = {}
    for condition in conditions:
        if not isinstance(condition, bool):
            parts.setdefault(_same_flag(condition), condition)
    wrapped = (_wrap(part, kind) for part in parts.values())
    return functools.reduce(lambda left, right: kind(this=left, expression=right), wrapped)


def _same_flag(condition: exp.Expr) -> object:
    """What two equal conditions share: flags come again and again, of others it is not worth finding out."""
    return (condition.table, condition.name) if isinstance(condition, exp.Column) else id(condition)


def _wrap(condition: exp.Expr, kind: type[exp.Or] | type[exp.And]) -> exp.Expr:
    """A condition as a part of a chain: in parentheses, unless it binds closer."""
    closer = isinstance(condition, _CLOSER) or (kind is exp.Or and isinstance(condition, exp.And))
    return condition if closer else exp.Paren(this=condition)
