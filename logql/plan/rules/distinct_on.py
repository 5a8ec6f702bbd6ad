"""DISTINCT ON: keys and order first, the other columns only of the winners."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from logql.plan.rules.top_rows import rank_rows
from logql.plan.scopes import Later

if TYPE_CHECKING:
    from logql.plan.blocks import Block, Stage


def distinct_on(block: Block, stage: Stage) -> Stage:
    """Demand the open keys of all rows, then what the first row of each key lacks.

    >>> from tests.plan.show import show_units
    >>> show_units("SELECT DISTINCT ON (run) run, epoch, gn FROM logs ORDER BY run, epoch DESC")
    ['A/1', 'B/1']
    """
    distinct = block.select.args.get("distinct")
    if not distinct or not distinct.args.get("on"):
        return stage
    relation = stage.relation
    keys = [f"_d{n}" for n in range(len(distinct.args["on"].expressions))]
    if not block.program.on("distinct_on") or any(key not in relation.columns for key in keys):
        block.program.block(relation, relation.live())
        raise Later
    rank_rows(block, relation, keys, exp.Literal.number(1))
    raise Later
