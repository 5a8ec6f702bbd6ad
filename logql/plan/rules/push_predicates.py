"""Predicates above a subquery, view or CTE: they choose among its rows before anything in it is demanded."""

from __future__ import annotations

from logql.plan.program import Program
from logql.plan.relation import Relation


def push_predicates(derived: Relation, program: Program) -> Relation:
    """Let the block above decide which rows of a derived table matter, and which of its columns.

    Every row carries tokens of the rows that it comes from, so this is what happens by itself; without the rule a
    derived table is filled as if it were asked alone.

    >>> from tests.plan.show import show_units
    >>> sql = "SELECT t.gn FROM (SELECT run, gn FROM logs) AS t WHERE t.run = 'A'"
    >>> show_units(sql), show_units(sql, "push_predicates")
    (['A/0', 'A/1'], ['A/0', 'A/1', 'B/0', 'B/1'])
    """
    if not program.on("push_predicates"):
        program.block(derived, derived.live())
    return derived
