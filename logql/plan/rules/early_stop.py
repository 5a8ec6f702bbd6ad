"""LIMIT without ORDER BY: any rows will do, so stop as soon as there are enough."""

from __future__ import annotations

from typing import TYPE_CHECKING

from logql.plan.scopes import Later

if TYPE_CHECKING:
    from logql.plan.blocks import Block, Stage


def early_stop(block: Block, stage: Stage) -> Stage:
    """Demand open rows a few at a time, until as many rows as LIMIT asks for are settled.

    >>> from tests.plan.show import show_units
    >>> show_units("SELECT run FROM logs WHERE gn > 10 LIMIT 1")
    ['A/0']
    """
    select = block.select
    if select.args.get("limit") is None and select.args.get("offset") is None:
        return stage
    block.program.block(stage.relation, stage.relation.live())
    raise Later
