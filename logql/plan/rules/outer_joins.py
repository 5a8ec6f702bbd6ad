"""LEFT, RIGHT and FULL joins: the side that may be absent turns NULL where its match is not sure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from logql.plan.conditions import Cond, any_of, never_null
from logql.plan.scopes import Opaque

if TYPE_CHECKING:
    from logql.plan.blocks import Block


def outer_joins(block: Block, join: exp.Join, earlier: list[str], right_open: Cond, left_open: Cond) -> None:
    """ON keeps pairs that may match and never drops a row of the preserved side.

    Where a pair is not sure, the columns of its optional side may also be NULL: so a WHERE above restricts that side
    only where it rejects NULL.

    >>> from tests.plan.show import show_units
    >>> show_units("SELECT a.run FROM logs a LEFT JOIN logs b ON a.run = b.run AND b.gn > 5 WHERE a.run = 'A'")
    ['A/0', 'A/1']
    """
    if not block.program.on("outer_joins"):
        raise Opaque("outer join")
    if join.side in ("LEFT", "FULL"):
        _loosen(block, [join.this.alias], right_open)
    if join.side in ("RIGHT", "FULL"):
        _loosen(block, earlier, left_open)


def _loosen(block: Block, aliases: list[str], condition: Cond) -> None:
    for alias in aliases:
        block.loosened[alias] = any_of(block.loosened.get(alias, False), never_null(condition))
