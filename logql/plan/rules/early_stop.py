"""LIMIT without ORDER BY: any rows will do, so stop as soon as there are enough."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from sqlglot import exp

from logql.plan.aggregates import holds_aggregate
from logql.plan.conditions import Cond, all_of, is_null, negate, sql_of
from logql.plan.program import Program
from logql.plan.relation import Blocker, Relation, Writer, aliased, column, copy_columns, read
from logql.plan.rules.top_rows import literal_count
from logql.plan.scopes import Later, blocks_inside, sources_of
from logql.sql.bound import REF_META, ref_of

if TYPE_CHECKING:
    from logql.plan.blocks import Block, Stage

#: Hidden column: whether a row is in the answer as the cells are now.
PASSES = "_passes"


def early_stop(block: Block, stage: Stage) -> Stage:
    """Demand open rows a few at a time, until as many rows as LIMIT asks for are settled.

    Where the answer can be taken from rows without missing cells alone, only these count. Elsewhere a row that is open
    and yet in the answer as it stands is always filled: the engine may pick it.

    >>> from tests.plan.show import show_units
    >>> show_units("SELECT run FROM logs WHERE gn > 10 LIMIT 1"), show_units("SELECT run, gn FROM logs LIMIT 2")
    (['A/0'], ['A/0', 'A/1'])
    """
    select, relation, program = block.select, stage.relation, block.program
    if select.args.get("limit") is None and select.args.get("offset") is None:
        return stage
    wanted = enough(select)
    if PASSES not in relation.columns or wanted is None or not program.on("early_stop"):
        program.block(relation, relation.live())
        raise Later
    if not program.from_settled:
        program.block(relation, all_of(relation.live(), relation.value(PASSES).sql))
    numbered = _number(relation, block)
    settled, position = column(numbered.name, "_settled"), column(numbered.name, "_n")
    lacking = exp.Paren(this=exp.Sub(this=exp.Literal.number(wanted), expression=settled))
    few = exp.LTE(this=position, expression=exp.Mul(this=lacking, expression=exp.Literal.number(program.batch())))
    program.blockers.append(Blocker(numbered, all_of(column(numbered.name, "_live"), few)))
    raise Later


def counts_first(query: exp.Expr, program: Program, plan: Callable[[exp.Expr, Program], Relation]) -> None:
    """Demand what the queries in LIMIT and OFFSET lack before anything else: they say how many rows there are."""
    for clause in (query.args.get("limit"), query.args.get("offset")):
        for inner in blocks_inside(clause) if clause is not None else ():
            relation = plan(inner, program)
            program.block(relation, relation.live())


def enough(select: exp.Select) -> int | None:
    """How many rows LIMIT needs, with those that OFFSET passes over; None where an expression says so."""
    offset = select.args.get("offset")
    counts = [literal_count(select.args.get("limit")), literal_count(offset) if offset else 0]
    return None if None in counts else sum(count for count in counts if count is not None)


def may_stop_early(select: exp.Select) -> bool:
    """Whether a block is a plain SELECT with LIMIT and nothing that needs all of its rows."""
    limited = isinstance(select.args.get("limit"), exp.Limit) and enough(select) is not None
    plain = not any(select.args.get(key) for key in ("group", "having", "qualify", "distinct", "order"))
    inner = all(
        not join.side and not join.method and not join.args.get("using") for join in select.args.get("joins") or ()
    )
    return limited and plain and inner and not any(map(_computes, select.expressions))


def _computes(projection: exp.Expr) -> bool:
    return holds_aggregate(projection) or projection.find(exp.Window) is not None


def from_settled(tree: exp.Expr, missing: Mapping[int, frozenset[str]]) -> tuple[exp.Select, int] | None:
    """The query over rows without missing cells alone, and how many rows it must have to be an answer.

    None where the query has no LIMIT that any rows satisfy, or holds other queries.
    """
    if not isinstance(tree, exp.Select) or not may_stop_early(tree) or any(True for _ in blocks_inside(tree)):
        return None
    wanted = literal_count(tree.args["limit"])
    if wanted is None or tree.args.get("with_"):
        return None
    answer = tree.copy()
    for source in sources_of(answer):
        ref = ref_of(source)
        hidden = [f"{name}$origin" for name in sorted(missing.get(ref.id, ()))] if ref is not None else []
        if ref is not None and hidden:
            source.meta[REF_META] = replace(ref, columns=tuple(dict.fromkeys([*ref.columns, *hidden])))
        for name in hidden:
            known = exp.NullSafeNEQ(this=column(source.alias, name), expression=exp.Literal.string("missing"))
            answer.where(known, copy=False)
    return answer, wanted


def _number(relation: Relation, block: Block) -> Relation:
    """Open rows numbered in the order of their first token, and how many rows are settled."""
    writer, live = Writer(relation.unsure_in()), relation.live()
    copy_columns(relation, writer)
    passes = relation.value(PASSES).sql
    order = [exp.Ordered(this=passes, desc=True)] if block.program.from_settled else []
    order += [exp.Ordered(this=column(relation.name, token)) for token in relation.tokens]
    settled: Cond = negate(live)
    if block.program.from_settled:
        settled = all_of(passes, *(is_null(column(relation.name, token)) for token in relation.tokens))
    number = exp.Window(
        this=exp.RowNumber(), partition_by=[sql_of(live)], order=exp.Order(expressions=order), over="OVER"
    )
    counted = exp.Window(this=exp.CountIf(this=sql_of(settled)), over="OVER")
    writer.projections += [aliased(number, "_n"), aliased(counted, "_settled"), aliased(sql_of(live), "_live")]
    return block.program.write("t", writer, read(relation.name))
