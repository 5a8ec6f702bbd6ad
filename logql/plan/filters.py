"""Filters in planning queries, as one value per row: TRUE where it passes, FALSE where it cannot, NULL where it may.

DuckDB's own logic joins the parts: AND, OR and NOT of such values are exact, so a filter's text grows no faster than
the filter itself. A row is out where its filter is NULL as well as where it is false, so FALSE stands for both.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from logql.plan.conditions import Cond, all_of, any_of, is_null, sql_of
from logql.plan.relation import Relation, Writer, aliased, column, copy_columns, read
from logql.plan.rules.possible_values import three_valued
from logql.plan.scopes import conjuncts
from logql.plan.settled import settled_filter
from logql.plan.values import Reader
from logql.sql.written import written_condition

if TYPE_CHECKING:
    from logql.plan.blocks import Block

#: Characters from which on a condition is long.
LONG = 2_000
#: Hidden column: the value of a block's filter.
PASSING = "_w"


def split_filter(condition: exp.Expr | None, reader: Reader) -> tuple[list[Cond], list[exp.Expr]]:
    """The settled conjuncts of a filter over planning columns, and those that are open as they stand."""
    known: list[Cond] = []
    waiting: list[exp.Expr] = []
    for part in conjuncts(condition):
        found = settled_filter(part, reader)
        if found is not None:
            known.append(found)
        else:
            waiting.append(part)
    return known, waiting


def keep_possible(relation: Relation, known: list[Cond], waiting: list[exp.Expr], block: Block) -> Relation:
    """The rows of a block's stage that pass what is known of a filter and may pass the rest; the unsure ones say so."""
    value = filter_value(waiting, block)
    tokens = dict(relation.tokens)
    projections: list[exp.Expr] = [exp.Star(), aliased(sql_of(value), PASSING)]
    for token, key, target in block.take_tokens():
        projections.append(aliased(key, token))
        tokens[token] = target
    held = read(relation.name, *projections)
    if all_of(*known) is not True:
        held = held.where(sql_of(all_of(*known)), copy=False)
    long = isinstance(value, exp.Paren) and isinstance(value.this, exp.Var)
    name = block.program.add("f", held)
    block.program.kept |= {relation.name, name} if long else set()
    rows = Relation(name, relation.columns, tokens, relation.unsure)
    undecided = is_null(column(rows.name, PASSING)) if waiting else False
    writer = Writer(any_of(rows.unsure_in(), undecided))
    copy_columns(rows, writer)
    body = read(rows.name)
    return block.program.write("b", writer, body.where(may_pass(column(rows.name, PASSING)), copy=False))


def filter_value(parts: list[exp.Expr], reader: Reader) -> Cond:
    """The value of conditions joined by AND."""
    return _written(three_valued(parts, reader))


def may_pass(value: exp.Expr) -> exp.Expr:
    """Where a filter's value lets a row through."""
    return exp.Coalesce(this=value, expressions=[exp.Boolean(this=True)])


def _written(condition: Cond) -> Cond:
    """A long condition as text, which nobody walks or copies again; one that holds tables is still to be lowered."""
    if isinstance(condition, bool):
        return condition
    text = written_condition(condition)
    return condition if text is None or len(text) < LONG else exp.Paren(this=exp.Var(this=text))
