"""Which calls of a block are aggregates: those that sqlglot knows, and those of DuckDB's that it takes for any call."""

from __future__ import annotations

from collections.abc import Iterator

from sqlglot import exp

from logql.sql.walk import children, find

#: Aggregates, and macros over aggregates, of DuckDB's that sqlglot has no node for.
NAMES = frozenset({
    "arbitrary", "arg_max_null", "arg_max_nulls_last", "arg_min_null", "arg_min_nulls_last", "bitstring_agg",
    "combine_aggr", "count_star", "decimal_average", "entropy", "favg", "fsum", "geomean", "geometric_mean",
    "histogram", "histogram_exact", "json_group_array", "json_group_object", "json_group_structure", "kahan_sum",
    "kurtosis_pop", "lttb", "mad", "mean", "product", "reservoir_quantile", "sem", "sum_no_overflow", "sumkahan",
    "variant_group_array", "variant_group_object", "wavg", "weighted_avg",
})  # fmt: skip


def is_aggregate(node: exp.Expr) -> bool:
    """Whether a node is the call of an aggregate, as a window function or not."""
    return isinstance(node, exp.AggFunc) or (isinstance(node, exp.Anonymous) and node.name.lower() in NAMES)


def holds_aggregate(node: exp.Expr) -> bool:
    """Whether an aggregate is called anywhere in an expression."""
    return any(map(is_aggregate, find(node, exp.Func)))


def aggregates_of(select: exp.Select) -> Iterator[exp.Expr]:
    """Aggregate calls of a block, FILTER included, those inside of nested queries left out."""
    for key in ("expressions", "having", "qualify", "order"):
        clause = select.args.get(key)
        for node in clause if isinstance(clause, list) else [clause] if clause else []:
            yield from _aggregates(node)


def _aggregates(node: exp.Expr) -> Iterator[exp.Expr]:
    if isinstance(node, exp.Select | exp.SetOperation):
        return
    wrapped = isinstance(node, exp.Filter | exp.WithinGroup)
    if is_aggregate(node) or (wrapped and holds_aggregate(node)):
        yield node
        return
    for child in children(node):
        if isinstance(node, exp.Window) and child is node.this:
            for argument in _function_arguments(child):
                yield from _aggregates(argument)
        else:
            yield from _aggregates(child)


def _function_arguments(function: exp.Expr) -> list[exp.Expr]:
    if isinstance(function, exp.Filter | exp.IgnoreNulls | exp.RespectNulls):
        return [a for child in children(function) for a in _function_arguments(child)]
    return children(function)
