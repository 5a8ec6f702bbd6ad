"""Window functions: a value is open where its partition holds a row that is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from sqlglot import exp

from logql.plan.aggregates import is_aggregate
from logql.plan.conditions import Cond, all_of, any_of, is_null, never_null, same, sql_of
from logql.plan.held import hold, queries_in
from logql.plan.program import struct
from logql.plan.relation import Barrier, Relation, Writer, column, copy_columns, exists, read
from logql.plan.rules.correlate import substitute
from logql.plan.rules.possible_values import value_of
from logql.plan.scopes import Later, Opaque
from logql.plan.values import Value, all_depends
from logql.sql.walk import children, find

if TYPE_CHECKING:
    from logql.plan.blocks import Block, Stage


def window_partitions(block: Block, stage: Stage) -> Stage:
    """A row that matters demands the partitions that its window values stand on, and no other.

    >>> from tests.plan.show import show_units
    >>> show_units("SELECT t.m FROM (SELECT run, max(gn) OVER (PARTITION BY run) m FROM logs) t WHERE t.run = 'A'")
    ['A/0', 'A/1']
    """
    from logql.plan.blocks import Stage

    nodes = list(dict.fromkeys(_windows(block.select)))
    if not nodes:
        return stage
    stage = hold(block, stage, [query for node in nodes for query in queries_in(node)])
    relation = stage.relation
    if any(node.args.get("alias") for node in nodes) or not block.program.on("window_partitions"):
        block.program.block(relation, relation.live())
        raise Later
    writer = Writer(relation.unsure_in())
    copy_columns(relation, writer)
    computed = dict(stage.computed)
    for number, node in enumerate(nodes):
        name = f"w{number}.{len(computed)}"
        writer.add(name, _window(node, block, relation, writer))
        computed[node] = name
    body = read(relation.name)
    block.stage = Stage(block.program.write("w", writer, body), computed)
    return block.stage


def spell_out_named(select: exp.Select) -> None:
    """Write the definitions of a WINDOW clause where they are used."""
    named = {window.name.lower(): window for window in select.args.get("windows") or ()}
    select.set("windows", None)
    for node in find(select, exp.Window) if named else []:
        alias = node.args.get("alias")
        found = named.get(alias.name.lower()) if alias is not None else None
        if found is None:
            continue
        parts = [key for key in ("partition_by", "order", "spec") if found.args.get(key)]
        if found.args.get("alias") or any(node.args.get(key) for key in parts):
            raise Opaque("a named window that another one changes")
        for key in parts:
            node.set(key, found.copy().args[key])
        node.set("alias", None)


def _window(node: exp.Expr, block: Block, relation: Relation, writer: Writer) -> Value:
    """A window's value, and the token that leads to its partition."""
    partition = {f"k{n}": value_of(key, block) for n, key in enumerate(node.args.get("partition_by") or ())}
    inputs = [value_of(child, block) for child in _inputs(node, block)]
    wild = any_of(*(key.unknown for key in partition.values()))
    shaky = any_of(*(key.nullable for key in partition.values()))
    row_open = any_of(relation.unsure_in(), wild, shaky, *(value.open for value in inputs))
    settled = [key.sql for key in partition.values() if key.settled]
    known = [key.sql for key in partition.values() if key.unknown is False]
    unknown: list[Cond] = []
    if row_open is not False:
        unknown.append(_any_over(row_open, settled if wild is not False else known))
        if shaky is not False and wild is False:
            nulls = any_of(*(is_null(key.sql) for key in partition.values() if key.nullable is not False))
            unknown.append(all_of(nulls, _any_over(row_open, settled)))
    token_name = block.program.fresh("k")
    _add_barrier(block, relation, partition, row_open, any_of(*unknown), writer, token_name)
    depends = all_depends([*inputs, *partition.values()]) | {(token_name, "*")}
    return Value(substitute(node, block), any_of(*unknown), False, depends)


def _add_barrier(
    block: Block,
    relation: Relation,
    partition: Mapping[str, Value],
    row_open: Cond,
    wanted: Cond,
    writer: Writer,
    name: str,
) -> None:
    if row_open is False or not relation.tokens:
        return
    wild = any_of(*(key.unknown for key in partition.values()))
    used = {name: key for name, key in partition.items() if key.settled or wild is False}

    def matches(tokens: str) -> Cond:
        pairs = [_same_key(name, key, tokens) for name, key in used.items()]
        return exists(tokens, all_of(*pairs))

    barrier = Barrier(relation, matches, row_open)
    block.program.barriers.append(barrier)
    fields = {name: key.sql for name, key in used.items()} or {"z": exp.Literal.number(1)}
    token = exp.Case(ifs=[exp.If(this=sql_of(wanted), true=struct(fields))])
    writer.carry(name, token, barrier)


def _same_key(name: str, key: Value, tokens: str) -> Cond:
    held = exp.Dot(this=column(tokens, "k"), expression=exp.Identifier(this=name, quoted=True))
    return any_of(same(key.sql, held), all_of(key.nullable, is_null(held)))


def _any_over(condition: Cond, partition: list[exp.Expr]) -> Cond:
    inner = exp.LogicalOr(this=sql_of(condition))
    return never_null(exp.Window(this=inner, partition_by=[part.copy() for part in partition], over="OVER"))


def _inputs(node: exp.Expr, block: Block) -> list[exp.Expr]:
    """What a window reads besides its partition keys."""
    parts = [node.this, node.args.get("order"), node.args.get("spec")]
    found: list[exp.Expr] = []
    for part in parts:
        found += _readable(part, block) if isinstance(part, exp.Expr) else []
    return found


def _readable(node: exp.Expr, block: Block) -> list[exp.Expr]:
    """Columns, and what is computed already: aggregates by a grouping, and queries."""
    if isinstance(node, exp.Column):
        return [node] if node.table else []
    function = isinstance(node.parent, exp.Window | exp.Filter | exp.IgnoreNulls)
    if (block.computed(node) is not None or is_aggregate(node)) and not function:
        return [node]
    return [found for child in children(node) for found in _readable(child, block)]


def _windows(select: exp.Select) -> list[exp.Expr]:
    found: list[exp.Expr] = []
    for key in ("expressions", "qualify", "order"):
        clause = select.args.get(key)
        for node in clause if isinstance(clause, list) else [clause] if clause else []:
            found += _own_windows(node)
    return found


def _own_windows(node: exp.Expr) -> list[exp.Expr]:
    if isinstance(node, exp.Select | exp.SetOperation):
        return []
    if isinstance(node, exp.Window):
        return [node]
    return [found for child in children(node) for found in _own_windows(child)]
