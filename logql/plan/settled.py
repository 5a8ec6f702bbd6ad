"""Conditions that are settled before anything is filled, but for rows that go with a missing cell."""

from __future__ import annotations

from sqlglot import exp

from logql.plan.formulas import is_constant
from logql.plan.rules.possible_values import strict, value_of
from logql.plan.values import Reader, Value
from logql.sql.walk import bare


def settled_filter(node: exp.Expr, reader: Reader) -> exp.Expr | None:
    """A predicate over planning columns of which nothing is open but that an operand may turn NULL with its row.

    What such a row fails, the predicate or its negation, it will fail; what it passes, it passes as an unsure row.
    """
    if reader.is_settled(node):
        return reader.as_is(node)
    found = _null_rejecting(bare(node), reader) if reader.precise and reader.computed(node) is None else None
    if found is None or any(o.unknown is not False or not (o.settled or o.with_row) for o in found[1]):
        return None
    return found[0]


def _null_rejecting(node: exp.Expr, reader: Reader) -> tuple[exp.Expr, list[Value]] | None:
    """A predicate that is not true where an operand is NULL: also row values, compared with what holds no NULL."""
    left, right = node.args.get("this"), node.args.get("expression")
    if isinstance(node, exp.In) and isinstance(left, exp.Tuple) and not node.args.get("unnest"):
        query, listed = node.args.get("query"), node.expressions
        if reader.is_settled(query) if query else all(map(_constant, listed)):
            return _over_row(node, left, reader)
    elif isinstance(node, exp.EQ) and isinstance(left, exp.Tuple) and isinstance(right, exp.Expr) and _constant(right):
        return _over_row(node, left, reader)
    elif isinstance(node, exp.NullSafeEQ) and isinstance(right, exp.Expr) and _constant(right):
        value = value_of(node.this, reader)
        return exp.NullSafeEQ(this=value.sql, expression=right.copy()), [value]
    return strict(node, reader)


def _over_row(node: exp.Expr, row: exp.Tuple, reader: Reader) -> tuple[exp.Expr, list[Value]]:
    values = [value_of(item, reader) for item in row.expressions]
    others = {
        key: reader.as_is(part) for key, part in node.args.items() if key != "this" and isinstance(part, exp.Expr)
    }
    listed = {"expressions": [item.copy() for item in node.expressions]} if node.expressions else {}
    return type(node)(this=exp.Tuple(expressions=[value.sql for value in values]), **others, **listed), values


def _constant(node: exp.Expr) -> bool:
    """A literal, or a row of them, that is not NULL."""
    return all(map(_constant, node.expressions)) if isinstance(node, exp.Tuple) else is_constant(node)
