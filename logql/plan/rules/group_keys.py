"""GROUP BY and DISTINCT: which groups can be there, and which rows decide about the groups that matter."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from sqlglot import exp

from logql.plan.aggregates import aggregates_of, holds_aggregate
from logql.plan.conditions import Cond, all_of, any_of, is_null, never_null, same, sql_of
from logql.plan.filters import keep_possible, split_filter
from logql.plan.held import hold, queries_in
from logql.plan.program import Program, struct
from logql.plan.relation import Barrier, Relation, Writer, column, exists, read
from logql.plan.rules.possible_values import possible_values, value_of
from logql.plan.scopes import Later
from logql.plan.truths import may_be_filled
from logql.plan.values import Value, all_depends
from logql.sql.walk import bare, branches

if TYPE_CHECKING:
    from logql.plan.blocks import Block, Stage

#: Aggregates that pass over NULL.
IGNORE_NULL = (exp.Max, exp.Min, exp.Sum, exp.Avg, exp.Count)


def group_keys(block: Block, stage: Stage) -> Stage:
    """A group is there if a row that may pass has its keys; it is settled if all its rows are.

    >>> from tests.plan.show import show_units
    >>> show_units("SELECT run, max(gn) FROM logs WHERE epoch < 1 GROUP BY run HAVING run = 'A'")
    ['A/0']
    """
    from logql.plan.blocks import Stage

    select, program = block.select, block.program
    clause = select.args.get("group")
    aggregates = list(dict.fromkeys(aggregates_of(select)))
    if clause is None and not aggregates and not select.args.get("having"):
        return stage
    keys = _key_expressions(select, clause)
    queries = [query for node in aggregates for query in queries_in(node)]
    stage = hold(block, stage, [*queries, *(key for key in keys if _is_open(key, block))])
    odd = clause is not None and any(v for k, v in clause.args.items() if k not in ("expressions", "all"))
    if odd or not program.on("group_keys"):
        _wait(program, stage.relation)
    values = {f"k{n}": value_of(key, block) for n, key in enumerate(keys)}
    results = {f"a{n}": _aggregate(node, block, stage.relation) for n, node in enumerate(aggregates)}
    relation = group(program, stage.relation, values, results, bool(keys))
    computed = {key: f"k{n}" for n, key in enumerate(keys)} | {a: f"a{n}" for n, a in enumerate(aggregates)}
    block.stage = Stage(relation, computed)
    return _having(block, block.stage)


def distinct_keys(block: Block, stage: Stage) -> Stage:
    """DISTINCT is a grouping by every column that computes nothing: one sure row settles its group."""
    from logql.plan.blocks import Stage

    distinct = block.select.args.get("distinct")
    if not distinct or distinct.args.get("on"):
        return stage
    relation = deduplicate(block.program, stage.relation)
    block.stage = Stage(relation)
    return block.stage


def deduplicate(program: Program, relation: Relation) -> Relation:
    """The distinct rows of a relation."""
    if not program.on("group_keys"):
        _wait(program, relation)
    return group(program, relation, {name: relation.value(name) for name in relation.columns}, {}, keyed=True)


def group(
    program: Program, rows: Relation, keys: Mapping[str, Value], results: Mapping[str, Value], keyed: bool
) -> Relation:
    """Group planning rows. A row whose key may be anything stands for groups of its own and loosens all others."""
    wild = any_of(*(key.unknown for key in keys.values()))
    shaky = any_of(*(key.nullable for key in keys.values()))
    writer, token_name = Writer(), program.fresh("k")
    depends = frozenset({(token_name, "*")})
    groups: list[exp.Expr] = []
    loosening = _loosening(keys, wild, shaky)
    for name, key in keys.items():
        groups.append(key.sql.copy())
        nullable = _any_row(key.nullable)
        writer.add(name, Value(key.sql, key.unknown, nullable, depends))
        if key.unknown is not False:
            groups.append(sql_of(key.unknown))
    for name, result in results.items():
        contributes = _any_row(result.unknown)
        writer.add(name, Value(result.sql, any_of(contributes, loosening), False, depends))
    alone = _every_row(rows.unsure_in()) if keyed else False
    writer.unsure = any_of(alone, loosening if keyed and not results else False)
    fields = {name: key.sql for name, key in keys.items()} or {"z": exp.Literal.number(1)}
    contributing = (result.unknown for result in results.values())
    relevant = any_of(rows.unsure_in() if keyed else False, wild, shaky, *contributing)
    barrier = Barrier(rows, _matcher(keys, wild), relevant)
    if rows.tokens:
        program.barriers.append(barrier)
        unsettled = True if results else any_of(writer.unsure, wild, *(_any_row(k.nullable) for k in keys.values()))
        token = exp.Case(ifs=[exp.If(this=sql_of(unsettled), true=struct(fields))])
        writer.carry(token_name, token, barrier)
    body = read(rows.name)
    if groups:
        body = body.group_by(*groups, copy=False)
    return program.write("g", writer, body)


def _loosening(keys: Mapping[str, Value], wild: Cond, shaky: Cond) -> Cond:
    """Where a group may get rows that do not show its keys yet: they are unknown, or may turn NULL as the group's."""
    settled = [key.sql for key in keys.values() if key.settled]
    found: list[Cond] = []
    if wild is not False:
        found.append(_any_over(wild, settled))
    if shaky is not False:
        nulls = any_of(*(is_null(key.sql) for key in keys.values() if key.nullable is not False))
        found.append(all_of(nulls, _any_over(shaky, settled)))
    return any_of(*found)


def _any_over(condition: Cond, partition: list[exp.Expr]) -> exp.Expr:
    inner = exp.LogicalOr(this=exp.LogicalOr(this=sql_of(condition)))
    return exp.Window(this=inner, partition_by=[part.copy() for part in partition], over="OVER")


def _any_row(condition: Cond) -> Cond:
    if isinstance(condition, bool):
        return condition
    return never_null(exp.LogicalOr(this=condition.copy()))


def _every_row(condition: Cond) -> Cond:
    return condition if isinstance(condition, bool) else exp.LogicalAnd(this=condition.copy())


def _matcher(keys: Mapping[str, Value], wild: Cond) -> Callable[[str], Cond]:
    """Which rows a group's token leads to: its own, and those that may turn out to belong to it."""

    def matches(tokens: str) -> Cond:
        def held(name: str) -> exp.Expr:
            return exp.Dot(this=column(tokens, "k"), expression=exp.Identifier(this=name, quoted=True))

        if not keys:
            return exists(tokens, True)
        equal = {name: same(key.sql, held(name)) for name, key in keys.items()}
        settled = [equal[name] for name, key in keys.items() if key.settled]
        found: list[Cond] = [exists(tokens, all_of(*equal.values()))]
        if wild is not False:
            found.append(all_of(wild, exists(tokens, all_of(*settled))))
        for name, key in keys.items():
            if key.nullable is not False:
                found.append(all_of(key.nullable, exists(tokens, all_of(is_null(held(name)), *settled))))
        return any_of(*found)

    return matches


def _aggregate(node: exp.Expr, block: Block, rows: Relation) -> Value:
    """An aggregate's value, and `unknown` as a condition per row: whether the row's contribution is open."""
    call, condition = node, None
    if isinstance(node, exp.Filter):
        call, condition = node.this, node.expression.this
    inputs = [value_of(child, block) for child in _inputs(call, block)]
    contribution = all_of(any_of(rows.unsure_in(), *(value.open for value in inputs)), _counts(call, block))
    parts = list(inputs)
    if condition is not None:
        truth = possible_values(condition, block)
        contribution = all_of(truth.true, any_of(contribution, truth.not_true))
        parts.append(value_of(condition, block))
    from logql.plan.rules.correlate import substitute

    return Value(substitute(node, block), contribution, False, all_depends(parts))


def _counts(call: exp.Expr, block: Block) -> Cond:
    """Where what is aggregated may be other than NULL, which these aggregates pass over."""
    argument = call.this
    if isinstance(argument, exp.Distinct):
        argument = argument.expressions[0] if len(argument.expressions) == 1 else None
    if not isinstance(call, IGNORE_NULL) or call.expressions or not isinstance(argument, exp.Condition):
        return True
    return may_be_filled(value_of(argument, block))


def _inputs(node: exp.Expr, block: Block) -> list[exp.Expr]:
    """Columns, and queries that are worked out already."""
    if block.computed(node) is not None:
        return [node]
    if isinstance(node, exp.Column):
        return [node] if node.table else []
    return [found for child in branches(node) for found in _inputs(child, block)]


def _key_expressions(select: exp.Select, clause: exp.Expr | None) -> list[exp.Expr]:
    if clause is None:
        return []
    if clause.args.get("all"):
        plain = [p.unalias() for p in select.expressions]
        return [p for p in plain if not holds_aggregate(p)]
    return [bare(key) for key in clause.expressions]


def _is_open(key: exp.Expr, block: Block) -> bool:
    """Whether a key is computed from what may be missing: its flags cannot be read behind the grouping."""
    return not isinstance(key, exp.Column) and not block.is_settled(key)


def _having(block: Block, stage: Stage) -> Stage:
    from logql.plan.blocks import Stage

    clause = block.select.args.get("having")
    if clause is None:
        return stage
    relation = keep_possible(stage.relation, *split_filter(clause.this, block), block)
    block.stage = Stage(relation, stage.computed)
    return block.stage


def _wait(program: Program, relation: Relation) -> None:
    program.block(relation, relation.live())
    raise Later
