"""FROM and its joins: every source as a planning relation, and where the joined rows are unsure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from sqlglot import exp

from logql.plan.conditions import Cond, all_of, any_of, is_null, never_null, sql_of
from logql.plan.filters import filter_value, may_pass, split_filter
from logql.plan.program import Program
from logql.plan.relation import Flags, Relation, Writer, column, read
from logql.plan.rules import outer_joins, push_predicates, reduce_joins
from logql.plan.rules.possible_values import value_of
from logql.plan.scopes import Opaque, join_conditions
from logql.sql.bound import ref_of
from logql.sql.walk import find

if TYPE_CHECKING:
    from logql.plan.blocks import Block

PlanQuery = Callable[[exp.Expr, Program], Relation]


def read_sources(block: Block, used: Sequence[tuple[str, str]], plan: PlanQuery) -> tuple[exp.Select, list[Cond]]:
    """FROM over the sources' planning relations, and where its rows are unsure."""
    clause = block.select.args.get("from_")
    body = exp.Select()
    if clause is None:
        return body, []
    body = body.from_(_source(clause.this, used, block, plan), copy=False)
    unsure: list[Cond] = [_unsure(clause.this.alias, block)]
    earlier = [clause.this.alias]
    for join in block.select.args.get("joins") or ():
        node = join.copy()
        node.set("this", _source(join.this, used, block, plan))
        _join(join, node, earlier, unsure, block)
        earlier.append(join.this.alias)
        body.append("joins", node)
    return body, unsure


def _join(join: exp.Join, node: exp.Join, earlier: list[str], unsure: list[Cond], block: Block) -> None:
    alias, earlier_unsure = join.this.alias, any_of(*unsure)
    if join.method:
        _settle_first(join, block)
        return
    conditions = join_conditions(join)
    known, waiting = split_filter(sql_of(all_of(*conditions)) if conditions else None, block)
    undecided: Cond = False
    if waiting:
        value = sql_of(filter_value(waiting, block))
        known.append(may_pass(value))
        undecided = is_null(value)
    if conditions:
        node.set("on", sql_of(all_of(*known)))
    own = _unsure(alias, block)
    if join.side:
        outer_joins.outer_joins(block, join, earlier, any_of(own, undecided), any_of(earlier_unsure, undecided))
    unsure += [own, never_null(undecided)]


def _settle_first(join: exp.Join, block: Block) -> None:
    """What an ASOF join looks among, and by what, must be known before; behind that it is as it stands.

    Any row of its right side may be the one that lies nearest.
    """
    if join.method != "ASOF":
        raise Opaque(f"{join.method} join")
    _settle(block, join.this.alias)
    keys = [node for part in join_conditions(join) for node in find(part, exp.Column)]
    for alias in sorted({node.table for node in keys} & block.sources.keys()):
        _settle(block, alias, {node.name.lower() for node in keys if node.table == alias})
    for part in join_conditions(join):
        if not value_of(part, block).settled:
            raise Opaque("ASOF join on open columns")


def _settle(block: Block, alias: str, names: set[str] | None = None) -> None:
    """Demand first what is open of a source (in the columns `names`), which then counts as known."""
    relation = block.sources[alias]
    columns = [name for name in relation.columns if names is None or name.lower() in names]
    still = any_of(relation.unsure_in() if names is None else False, *(relation.value(n).open for n in columns))
    if still is not False:
        block.program.block(relation, still)
        known = {**relation.columns, **dict.fromkeys(columns, Flags())}
        tokens, unsure = (relation.tokens, relation.unsure) if names is not None else ({}, False)
        block.sources[alias] = Relation(relation.name, known, tokens, unsure)


def _unsure(alias: str, block: Block) -> Cond:
    relation = block.sources.get(alias)
    return relation.unsure_in(alias, optional=block.outer) if relation else False


def _source(source: exp.Expr, used: Sequence[tuple[str, str]], block: Block, plan: PlanQuery) -> exp.Expr:
    """A source's planning relation under the source's alias."""
    alias = source.alias
    if not block.program.is_open(source):
        if _reads_open_columns(source, block):
            raise Opaque("a lateral source over open columns")
        block.sources[alias] = Relation(alias, {name: Flags() for a, name in used if a == alias})
        return source.copy()
    relation = _open_relation(source, [name for a, name in used if a == alias], block.program, plan)
    reduce_joins.reduce_joins(block.select, relation, block.program)
    block.sources[alias] = relation
    table = exp.Table(this=exp.Identifier(this=relation.name, quoted=True))
    table.set("alias", exp.TableAlias(this=exp.Identifier(this=alias, quoted=True)))
    return table


def _open_relation(source: exp.Expr, used: list[str], program: Program, plan: PlanQuery) -> Relation:
    ref = ref_of(source)
    if isinstance(source, exp.Table) and ref is not None:
        if source.args.get("joins"):
            raise Opaque("nested joins")
        return program.base(source, ref, used)
    names = [c.name for c in source.args["alias"].columns]
    if isinstance(source, exp.Subquery):
        if any(source.args.get(key) for key in ("joins", "pivots", "sample")):
            raise Opaque("a modified subquery")
        return _derived(source.this, names, program, plan)
    if isinstance(source, exp.Table) and source.name in program.definitions:
        return _derived_cte(source.name, names, program, plan)
    raise Opaque(type(source).__name__)


def _derived_cte(name: str, names: list[str], program: Program, plan: PlanQuery) -> Relation:
    planned = program.planned
    if name in program.recursive:
        raise Opaque("a recursive CTE")
    if name not in planned:
        cte = program.definitions[name]
        planned[name] = _derived(cte.this, [c.name for c in cte.args["alias"].columns], program, plan)
    return _renamed(planned[name], names, program)


def _derived(query: exp.Expr, names: list[str], program: Program, plan: PlanQuery) -> Relation:
    relation = push_predicates.push_predicates(plan(query, program), program)
    return _renamed(relation, names, program)


def _reads_open_columns(source: exp.Expr, block: Block) -> bool:
    for node in find(source, exp.Column):
        if node.table in block.sources and not block.source_value(node.table, node.name).settled:
            return True
    return False


def _renamed(relation: Relation, names: list[str], program: Program) -> Relation:
    """The relation with its first columns renamed by an alias list."""
    if not names:
        return relation
    writer = Writer(relation.unsure_in())
    for number, old in enumerate(relation.columns):
        writer.add(names[number] if number < len(names) else old, relation.value(old))
    for token, target in relation.tokens.items():
        writer.carry(token, column(relation.name, token), target)
    return program.write("p", writer, read(relation.name))
