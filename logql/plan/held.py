"""Columns worked out ahead of a step: the queries inside of aggregates and windows, and the open keys of a grouping."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING

from sqlglot import exp

from logql.plan.relation import Writer, copy_columns, read
from logql.plan.rules.possible_values import holds_query, value_of
from logql.sql.walk import branches

if TYPE_CHECKING:
    from logql.plan.blocks import Block, Stage


def hold(block: Block, stage: Stage, nodes: Iterable[exp.Expr]) -> Stage:
    """The stage with a column for each of some expressions, by which later steps read them."""
    from logql.plan.blocks import Stage

    held = [node for node in dict.fromkeys(nodes) if block.computed(node) is None]
    if not held:
        return stage
    relation, computed = stage.relation, dict(stage.computed)
    writer = Writer(relation.unsure_in())
    copy_columns(relation, writer)
    for node in held:
        computed[node] = block.program.fresh("h")
        writer.add(computed[node], value_of(node, block))
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
