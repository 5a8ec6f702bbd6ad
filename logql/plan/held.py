"""Columns worked out ahead of a step: queries inside of aggregates and windows, open keys, lists that become rows."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

from sqlglot import exp

from logql.plan.conditions import Cond, any_of, sql_of
from logql.plan.relation import Writer, copy_columns, read
from logql.plan.rules.possible_values import holds_query, value_of
from logql.plan.scopes import Opaque
from logql.plan.values import Value
from logql.sql.walk import branches

if TYPE_CHECKING:
    from logql.plan.blocks import Block, Stage

#: Functions that make rows and that sqlglot has no node for.
_MAKERS = frozenset({"unnest", "generate_subscripts"})


def hold(block: Block, stage: Stage, nodes: Iterable[exp.Expr]) -> Stage:
    """The stage with a column for each of some expressions, by which later steps read them."""
    held = [node for node in dict.fromkeys(nodes) if block.computed(node) is None]
    if not held:
        return stage
    if any(True for node in held for _ in rows_made(node)):
        raise Opaque("rows made of a key")
    return _written(block, stage, {node: value_of(node, block) for node in held})


def hold_lists(block: Block, stage: Stage) -> tuple[Stage, Cond]:
    """The stage with the open lists that the projection makes rows of, and where they are: there is a row of NULL then.

    A list that is missing would make no row, and nothing would say that there may be some.
    """
    made = [node for item in block.select.expressions for node in rows_made(item) if not block.is_settled(node)]
    found: dict[exp.Expr, Value] = {}
    for node in dict.fromkeys(map(_list_of, made)):
        value = value_of(node, block)
        nothing = exp.Array(expressions=[exp.Null()])
        sql = exp.Case(ifs=[exp.If(this=sql_of(value.open), true=nothing)], default=value.sql)
        found[node] = Value(sql, value.open, False, value.depends)
    stage = _written(block, stage, found) if found else stage
    return stage, any_of(*(stage.value(stage.computed[node]).unknown for node in found))


def rows_made(node: exp.Expr) -> Iterator[exp.Expr]:
    """The calls in an expression that make rows of a list, those of queries in it left out."""
    if isinstance(node, exp.Select | exp.SetOperation):
        return
    if makes_rows(node):
        yield node
        return
    for child in branches(node):
        yield from rows_made(child)


def makes_rows(node: exp.Expr) -> bool:
    """Whether a node is the call of a function that makes rows."""
    named = isinstance(node, exp.Anonymous) and node.name.lower() in _MAKERS
    return named or isinstance(node, exp.Explode | exp.Unnest)


def _list_of(node: exp.Expr) -> exp.Expr:
    """What a call makes rows of."""
    parts = node.expressions if isinstance(node, exp.Unnest | exp.Anonymous) else [node.this]
    if len(parts) != 1 or (isinstance(node, exp.Explode) and node.expressions):
        raise Opaque("rows made of more than a list")
    found: exp.Expr = parts[0]
    return found


def _written(block: Block, stage: Stage, values: Mapping[exp.Expr, Value]) -> Stage:
    from logql.plan.blocks import Stage

    relation, computed = stage.relation, dict(stage.computed)
    writer = Writer(relation.unsure_in())
    copy_columns(relation, writer)
    for node, value in values.items():
        computed[node] = block.program.fresh("h")
        writer.add(computed[node], value)
    for extra in block.take_tokens():
        writer.carry(*extra)
    block.stage = Stage(block.program.write("h", writer, read(relation.name)), computed)
    return block.stage


def queries_in(node: exp.Expr) -> Iterator[exp.Expr]:
    """The smallest parts of an expression that are values of queries: a scalar one, EXISTS, IN or ANY over one."""
    if isinstance(node, exp.Subquery | exp.Exists) or node.args.get("query") is not None or holds_query(node):
        yield node
        return
    for child in branches(node):
        yield from queries_in(child)
