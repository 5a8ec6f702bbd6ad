"""Joins: each side keeps only rows that the known keys of the other sides let through."""

from __future__ import annotations

from sqlglot import exp

from logql.plan.program import Program
from logql.plan.relation import Relation


def reduce_joins(select: exp.Select, source: Relation, program: Program) -> None:
    """Demand of a joined source only rows that meet a partner which may pass.

    A joined row carries the tokens of all its sources, so this is what happens by itself; without the rule each source
    of a join is filled as if it stood alone.

    >>> from tests.plan.show import show_units
    >>> sql = "SELECT b.gn FROM logs a JOIN logs b ON a.run = b.run AND a.epoch = b.epoch WHERE a.val_acc < 0.2"
    >>> show_units(sql), show_units(sql, "reduce_joins")
    (['B/1'], ['A/0', 'A/1', 'B/0', 'B/1'])
    """
    if select.args.get("joins") and not program.on("reduce_joins"):
        program.block(source, source.live())
