"""ORDER BY ... LIMIT k: only rows that can be among the first k, and of the others only an open key."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from logql.plan.clauses import order_items
from logql.plan.conditions import Cond, all_of, any_of, sql_of
from logql.plan.relation import Blocker, Relation, Writer, aliased, column, copy_columns, read
from logql.plan.scopes import Later
from logql.plan.values import Value

if TYPE_CHECKING:
    from logql.plan.blocks import Block, Stage


def top_rows(block: Block, stage: Stage) -> Stage:
    """With known keys, fill the first k rows as they stand now, and look again: one that vanishes lets in the next.

    >>> from tests.plan.show import show_units
    >>> show_units("SELECT run, epoch, gn FROM logs ORDER BY val_acc LIMIT 1")
    ['B/1']
    """
    select = block.select
    limit, order = select.args.get("limit"), select.args.get("order")
    if order is None or (limit is None and select.args.get("offset") is None):
        return stage
    relation = stage.relation
    count = literal_count(limit)
    offset = literal_count(select.args.get("offset")) if select.args.get("offset") else 0
    if not block.program.on("top_rows") or count is None or offset is None:
        block.program.block(relation, relation.live())
        raise Later
    rank_rows(block, relation, [], exp.Literal.number(count + offset))
    raise Later


def rank_rows(block: Block, relation: Relation, keys: list[str], last: exp.Expr) -> None:
    """Demand open keys of any row; where none is left, the rows whose rank within `keys` is at most `last`."""
    items = order_items(block.select)
    order = [
        exp.Ordered(this=relation.value(f"_o{n}").sql, desc=item.args.get("desc"), nulls_first=item.args["nulls_first"])
        for n, item in enumerate(items)
    ]
    open_keys = [_open_key(relation.value(f"_o{n}"), item) for n, item in enumerate(items)]
    open_keys += [relation.value(key).open for key in keys]
    writer = Writer(relation.unsure_in())
    copy_columns(relation, writer)
    rank = exp.Window(
        this=exp.Anonymous(this="rank"),
        partition_by=[relation.value(key).sql for key in keys],
        order=exp.Order(expressions=order) if order else None,
        over="OVER",
    )
    writer.projections.append(aliased(rank, "_rank"))
    writer.projections.append(aliased(sql_of(any_of(*open_keys)), "_open"))
    ranked = block.program.write("t", writer, read(relation.name))
    depends = frozenset().union(
        *(relation.columns[f"_o{n}"].depends for n in range(len(items))), *(relation.columns[k].depends for k in keys)
    )
    if any_of(*open_keys) is not False:
        block.program.blockers.append(Blocker(ranked, column(ranked.name, "_open"), depends))
    first = exp.LTE(this=column(ranked.name, "_rank"), expression=last.copy())
    block.program.blockers.append(Blocker(ranked, all_of(first, ranked.live())))


def _open_key(value: Value, item: exp.Ordered) -> Cond:
    """A key that may turn NULL only moves its row to the end, unless NULLs come first."""
    return value.open if item.args.get("nulls_first") else value.unknown


def literal_count(clause: exp.Expr | None) -> int | None:
    """The number that LIMIT or OFFSET gives, without bound where the clause is absent; None for an expression."""
    if clause is None:
        return 1 << 62
    value = clause.expression if isinstance(clause, exp.Limit | exp.Offset) else None
    if isinstance(value, exp.Literal) and not value.is_string and str(value.this).isdigit():
        return int(value.this)
    return None
