"""Filters in planning queries: where a row may pass, and where one that may pass may fail as well.

Of AND, OR and NOT only these two bounds are made, each about as long as the filter: both are true or not (NULL is as
good as false), which is why no part needs an IS TRUE of its own.
"""

from __future__ import annotations

import itertools

from sqlglot import exp

from logql.plan.conditions import Cond, all_of, any_of, is_true, negate
from logql.plan.rules.possible_values import (
    COMPARISONS,
    Reader,
    holds_query,
    may_be_anything,
    possible_values,
    value_of,
)
from logql.plan.scopes import conjuncts
from logql.plan.values import Value

#: Nodes from which on a condition is long.
LONG = 300


def filter_parts(condition: exp.Expr | None, reader: Reader) -> tuple[list[Cond], list[Cond]]:
    """For a filter's conjuncts: conditions under which a row may pass, and those (never NULL) under which it may not.

    The second are only made of parts that are not settled.
    """
    passing: list[Cond] = []
    may_fail: list[Cond] = []
    for part in conjuncts(condition):
        if reader.is_settled(part):
            passing.append(reader.as_is(part))
            continue
        may, sure = _bounds(part, True, reader)
        passing.append(_written(may))
        may_fail.append(not sure if isinstance(sure, bool) else _written(negate(is_true(sure))))
    return passing, may_fail


def _written(condition: Cond) -> Cond:
    """A long condition as text, which nobody walks or copies again; one that holds tables is still to be lowered."""
    if isinstance(condition, bool):
        return condition
    nodes = list(itertools.islice(condition.walk(), LONG))
    if len(nodes) < LONG or condition.find(exp.Table) is not None:
        return condition
    return exp.Paren(this=exp.Var(this=condition.sql(dialect="duckdb")))


def _bounds(condition: exp.Expr, wanted: bool, reader: Reader) -> tuple[Cond, Cond]:
    """Where a condition may be `wanted` (true or false), and where it surely is."""
    node = condition.unnest()
    if reader.computed(node) is None and reader.precise:
        if isinstance(node, exp.Not):
            return _bounds(node.this, not wanted, reader)
        if isinstance(node, exp.And | exp.Or):
            pairs = [_bounds(part, wanted, reader) for part in node.flatten()]
            join = all_of if isinstance(node, exp.And) is wanted else any_of
            return join(*(may for may, _ in pairs)), join(*(sure for _, sure in pairs))
        if reader.is_settled(node):
            plain = _as(reader.as_is(node), wanted)
            return plain, plain
        if isinstance(node, COMPARISONS) and not holds_query(node):
            return _compared(node, wanted, reader)
    truth = possible_values(node, reader)
    if wanted:
        return truth.true, negate(truth.not_true)
    return truth.false, negate(truth.not_false)


def _compared(node: exp.Expr, wanted: bool, reader: Reader) -> tuple[Cond, Cond]:
    operands = [value_of(node.this, reader), value_of(node.expression, reader)]
    plain = _as(type(node)(this=operands[0].sql, expression=operands[1].sql), wanted)
    free = any_of(*(may_be_anything(number, operands) for number in range(2)))
    return any_of(plain, free), all_of(plain, *(negate(_shifting(operand)) for operand in operands))


def _shifting(operand: Value) -> Cond:
    """Where an operand that is not NULL now may become another value, or NULL."""
    return operand.nullable if operand.blank else operand.open


def _as(node: exp.Expr, wanted: bool) -> exp.Expr:
    return node if wanted else exp.Not(this=exp.Paren(this=node))
