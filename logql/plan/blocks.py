"""Turn a query, block by block, into planning relations: the rows that can be there, with flags and tokens."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from sqlglot import exp

from logql.plan.conditions import Cond, all_of, any_of, is_null, is_true, never_null, sql_of
from logql.plan.filters import filter_value, keep_possible, may_pass, split_filter
from logql.plan.program import Program, carry_tokens, rename_depends
from logql.plan.relation import Flags, Relation, Target, Writer, column, read
from logql.plan.rules import (
    correlate,
    distinct_on,
    early_stop,
    group_keys,
    outer_joins,
    push_predicates,
    reduce_joins,
    set_operations,
    top_rows,
)
from logql.plan.rules import window_partitions as windows
from logql.plan.rules.possible_values import value_of
from logql.plan.scopes import (
    Later,
    Opaque,
    blocks_inside,
    conjuncts,
    join_conditions,
    semi_joins_as_exists,
    sources_of,
)
from logql.plan.values import Truth, Value
from logql.sql.bound import ref_of
from logql.sql.walk import children, find

T = TypeVar("T")


def plan_query(query: exp.Expr, program: Program) -> Relation:
    """The planning relation of a query; one that no rule understands is demanded whole and then taken as it stands."""
    mark = (len(program.ctes), len(program.blockers), len(program.barriers))
    try:
        return _plan(query, program)
    except Later:
        return settled(query, program)
    except Opaque as reason:
        program.reasons.append(str(reason))
        del program.ctes[mark[0] :], program.blockers[mark[1] :], program.barriers[mark[2] :]
        program.whole(query)
        return settled(query, program)


def settled(query: exp.Expr, program: Program) -> Relation:
    """A query taken as it stands."""
    names = output_names(query)
    name = program.add("p", query.copy())
    return Relation(name, dict.fromkeys(names, Flags()))


def output_names(query: exp.Expr) -> list[str]:
    """Names of a query's columns, as the query above it sees them."""
    while isinstance(query, exp.SetOperation | exp.Subquery):
        query = query.this
    return [p.alias_or_name or p.output_name for p in query.expressions] if isinstance(query, exp.Select) else []


def _plan(query: exp.Expr, program: Program) -> Relation:
    if not program.is_open(query):
        return settled(query, program)
    if isinstance(query, exp.Subquery) and not query.args.get("joins"):
        if any(query.args.get(key) for key in ("order", "limit", "offset", "pivots", "sample")):
            raise Opaque("a modified subquery")
        return _plan(query.this, program)
    if isinstance(query, exp.SetOperation):
        return set_operations.set_operations(query, program, plan_query)
    if isinstance(query, exp.Select):
        return _plan_select(query, program)
    raise Opaque(type(query).__name__)


def _plan_select(select: exp.Select, program: Program) -> Relation:
    windows.spell_out_named(select)
    _refuse_unknown(select)
    semi_joins_as_exists(select)
    block = Block(select, program)
    stage = block.read_rows()
    stage = group_keys.group_keys(block, stage)
    stage = windows.window_partitions(block, stage)
    stage = block.project(stage)
    stage = distinct_on.distinct_on(block, stage)
    stage = group_keys.distinct_keys(block, stage)
    stage = top_rows.top_rows(block, stage)
    return early_stop.early_stop(block, stage).relation


_UNDERSTOOD = {
    "expressions", "from_", "joins", "where", "group", "having", "qualify", "distinct", "order", "limit", "offset",
    "with_",
}  # fmt: skip


def _refuse_unknown(select: exp.Select) -> None:
    strange = [key for key, value in select.args.items() if value and key not in _UNDERSTOOD]
    if strange:
        raise Opaque(", ".join(strange))
    if any(isinstance(p, exp.Star) or p.is_star for p in select.expressions):
        raise Opaque("a star")
    for inner in find(select, exp.Table, exp.Subquery):
        if inner.args.get("sample") or inner.args.get("pivots"):
            raise Opaque("a sample or pivot")


@dataclass
class Stage:
    """A relation between two steps of a block; `computed` names its columns for aggregates, windows and keys."""

    relation: Relation
    computed: dict[exp.Expr, str] = field(default_factory=dict)


@dataclass(eq=False)
class Block:
    """A SELECT while it is planned."""

    select: exp.Select
    program: Program
    sources: dict[str, Relation] = field(default_factory=dict)
    loosened: dict[str, Cond] = field(default_factory=dict)
    precise: bool = True
    outer: bool = False
    nested: bool = True
    stage: Stage | None = None
    carried: list[Relation] = field(default_factory=list)
    extra_tokens: list[tuple[str, exp.Expr, Target]] = field(default_factory=list)
    order_columns: list[str] = field(default_factory=list)
    memo: dict[tuple[str, int, int], tuple[object, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.precise = self.program.on("possible_values")
        self.nested = any(True for _ in blocks_inside(self.select))
        self.outer = any(join.side for join in self.select.args.get("joins") or ())
        self._replace_aliases()

    # -- reading: Reader of rules/possible_values

    def column(self, node: exp.Column) -> Value | None:
        """A column of one of the block's sources, at the stage at hand."""
        alias = node.table
        if alias not in self.sources:
            return None
        if self.stage is not None:
            key = f"{alias}.{node.name}"
            if key not in self.stage.relation.columns:
                raise Opaque(f"{key} is not at hand after grouping")
            return self.stage.relation.value(key)
        value = self._source_value(alias, node.name)
        loosened = self.loosened.get(alias, False)
        if loosened is False:
            return value
        return replace(value, nullable=any_of(value.nullable, loosened), with_row=False)

    def computed(self, node: exp.Expr) -> Value | None:
        """What an earlier step computed for this very expression."""
        if self.stage is None or not self.stage.computed:
            return None
        name = self.stage.computed.get(node)
        return None if name is None else self.stage.relation.value(name)

    def is_settled(self, node: exp.Expr) -> bool:
        """Whether nothing inside an expression is open at the stage at hand."""
        return self._once("settled", node, self._is_settled)

    def as_is(self, node: exp.Expr) -> exp.Expr:
        """An expression over the planning columns of the stage at hand."""
        return correlate.substitute(node, self)

    def subquery_truth(self, node: exp.Expr) -> Truth:
        """Truth of EXISTS or IN over a query, planned once."""
        return self._once("truth", node, lambda n: correlate.subquery_truth(n, self, plan_query))

    def subquery_value(self, node: exp.Expr) -> Value:
        """Value of an expression that holds a query, planned once."""
        return self._once("value", node, lambda n: correlate.subquery_value(n, self, plan_query))

    def _once(self, what: str, node: exp.Expr, compute: Callable[[exp.Expr], T]) -> T:
        key = (what, id(node), id(self.stage))
        if key not in self.memo:
            self.memo[key] = (compute(node), node, self.stage)  # the objects are kept, so that their ids stay theirs
        return self.memo[key][0]  # type: ignore[return-value]

    def _is_settled(self, node: exp.Expr) -> bool:
        if self.nested and self.program.is_open(node):
            return False
        parts = [node]
        while parts:
            part = parts.pop()
            value = self.computed(part)
            if value is None and isinstance(part, exp.Column):
                value = self.column(part)
            if value is not None:
                if not value.settled:
                    return False
                continue
            parts += children(part)
        return True

    def _source_value(self, alias: str, name: str) -> Value:
        relation = self.sources[alias]
        found = next((c for c in relation.columns if c.lower() == name.lower()), None)
        if found is None:
            if (
                relation.columns
                and not any(f.unknown or f.nullable for f in relation.columns.values())
                and (not relation.tokens)
            ):
                return Value(column(alias, name))
            raise Opaque(f"{alias} has no column {name}")
        return relation.value(found, alias, optional=self.outer)

    # -- FROM, WHERE

    def read_rows(self) -> Stage:
        """The rows that FROM and WHERE may let through, with every column that the block uses."""
        used = self._used_columns()
        source, unsure = self._from(used)
        where = self.select.args.get("where")
        known, waiting = split_filter(where.this if where else None, self)
        writer = Writer(any_of(*unsure))
        renamed: dict[str, str] = {}
        for alias, relation in self.sources.items():
            renamed |= carry_tokens(self.program, writer, relation, alias)
        for alias, name in used:
            if alias in self.sources:
                value = self.column(column(alias, name))
                assert value is not None
                writer.add(f"{alias}.{name}", rename_depends(value, renamed))
        for extra in self.take_tokens():
            writer.carry(*extra)
        if early_stop.may_stop_early(self.select):
            writer.add(early_stop.PASSES, Value(sql_of(self._passes_now())))
        body = source.where(sql_of(all_of(*known)), copy=False) if all_of(*known) is not True else source
        self.stage = Stage(self.program.write("b", writer, body))
        if waiting:
            self.stage = Stage(keep_possible(self.stage.relation, [], waiting, self))
        return self.stage

    def take_tokens(self) -> list[tuple[str, exp.Expr, Target]]:
        """Tokens of subqueries that the relation being written has to carry."""
        found, self.extra_tokens = self.extra_tokens, []
        return found

    def _passes_now(self) -> Cond:
        """Whether the row passes WHERE and the joins as the cells are now."""
        where = self.select.args.get("where")
        parts = conjuncts(where.this) if where else []
        parts += [part for join in self.select.args.get("joins") or () for part in conjuncts(join.args.get("on"))]
        return all_of(*(is_true(correlate.substitute(part, self)) for part in parts))

    def _used_columns(self) -> list[tuple[str, str]]:
        own = {source.alias for source in sources_of(self.select)}
        found: dict[tuple[str, str], None] = {}
        for node in find(self.select, exp.Column):
            if node.table in own and not isinstance(node.this, exp.Star):
                found[node.table, node.name] = None
        return list(found)

    def _from(self, used: Sequence[tuple[str, str]]) -> tuple[exp.Select, list[Cond]]:
        """FROM over the sources' planning relations, and where its rows are unsure."""
        clause = self.select.args.get("from_")
        body = exp.Select()
        if clause is None:
            return body, []
        body = body.from_(self._source(clause.this, used), copy=False)
        unsure: list[Cond] = [self._unsure(clause.this.alias)]
        earlier = [clause.this.alias]
        for join in self.select.args.get("joins") or ():
            earlier_unsure = any_of(*unsure)
            node = join.copy()
            node.set("this", self._source(join.this, used))
            self._join(join, node, earlier, unsure, earlier_unsure)
            earlier.append(join.this.alias)
            body.append("joins", node)
        return body, unsure

    def _join(
        self, join: exp.Join, node: exp.Join, earlier: list[str], unsure: list[Cond], earlier_unsure: Cond
    ) -> None:
        alias = join.this.alias
        if join.method:
            self._refuse_open_join(join)
            unsure.append(self._unsure(alias))
            return
        conditions = join_conditions(join)
        known, waiting = split_filter(sql_of(all_of(*conditions)) if conditions else None, self)
        undecided: Cond = False
        if waiting:
            value = sql_of(filter_value(waiting, self))
            known.append(may_pass(value))
            undecided = is_null(value)
        if conditions:
            node.set("on", sql_of(all_of(*known)))
        own = self._unsure(alias)
        if join.side:
            outer_joins.outer_joins(self, join, earlier, any_of(own, undecided), any_of(earlier_unsure, undecided))
        unsure += [own, never_null(undecided)]

    def _refuse_open_join(self, join: exp.Join) -> None:
        """ASOF joins stand if their right side is settled and their condition too; others are taken whole."""
        if join.method != "ASOF" or self.sources[join.this.alias].tokens:
            raise Opaque(f"{join.method} join")
        for part in join_conditions(join):
            if not value_of(part, self).settled:
                raise Opaque("ASOF join on open columns")

    def _unsure(self, alias: str) -> Cond:
        relation = self.sources.get(alias)
        return relation.unsure_in(alias, optional=self.outer) if relation else False

    def _source(self, source: exp.Expr, used: Sequence[tuple[str, str]]) -> exp.Expr:
        """A source's planning relation under the source's alias."""
        alias = source.alias
        if not self.program.is_open(source):
            if self._reads_open_columns(source):
                raise Opaque("a lateral source over open columns")
            self.sources[alias] = Relation(alias, {name: Flags() for a, name in used if a == alias})
            return source.copy()
        relation = self._open_relation(source, [name for a, name in used if a == alias])
        reduce_joins.reduce_joins(self.select, relation, self.program)
        self.sources[alias] = relation
        table = exp.Table(this=exp.Identifier(this=relation.name, quoted=True))
        table.set("alias", exp.TableAlias(this=exp.Identifier(this=alias, quoted=True)))
        return table

    def _open_relation(self, source: exp.Expr, used: list[str]) -> Relation:
        ref = ref_of(source)
        if isinstance(source, exp.Table) and ref is not None:
            if source.args.get("joins"):
                raise Opaque("nested joins")
            return self.program.base(source, ref, used)
        names = [c.name for c in source.args["alias"].columns]
        if isinstance(source, exp.Subquery):
            if any(source.args.get(key) for key in ("joins", "pivots", "sample")):
                raise Opaque("a modified subquery")
            return self._derived(source.this, names)
        if isinstance(source, exp.Table) and source.name in self.program.definitions:
            return self._derived_cte(source.name, names)
        raise Opaque(type(source).__name__)

    def _derived_cte(self, name: str, names: list[str]) -> Relation:
        planned = self.program.planned
        if name in self.program.recursive:
            raise Opaque("a recursive CTE")
        if name not in planned:
            cte = self.program.definitions[name]
            planned[name] = self._derived(cte.this, [c.name for c in cte.args["alias"].columns])
        return _renamed(planned[name], names, self.program)

    def _derived(self, query: exp.Expr, names: list[str]) -> Relation:
        relation = push_predicates.push_predicates(plan_query(query, self.program), self.program)
        return _renamed(relation, names, self.program)

    def _reads_open_columns(self, source: exp.Expr) -> bool:
        for node in find(source, exp.Column):
            if node.table in self.sources and not self._source_value(node.table, node.name).settled:
                return True
        return False

    # -- SELECT

    def _replace_aliases(self) -> None:
        """Spell out uses of the block's own aliases, ordinals and ALL in its clauses."""
        projections = self.select.expressions
        by_name = {p.alias.lower(): p.this for p in projections if isinstance(p, exp.Alias)}
        for key in ("where", "group", "having", "qualify", "order"):
            clause = self.select.args.get(key)
            if clause is None:
                continue
            for node in find(clause, exp.Column):
                if not node.table and node.name.lower() in by_name:
                    node.replace(exp.Paren(this=by_name[node.name.lower()].copy()))
        for key in ("group", "order"):
            clause = self.select.args.get(key)
            for item in list(clause.expressions) if clause else []:
                target = item.this if isinstance(item, exp.Ordered) else item
                if isinstance(target, exp.Literal) and not target.is_string:
                    target.replace(projections[int(target.this) - 1].unalias().copy())
        order = self.select.args.get("order")
        if order and any(isinstance(o.this, exp.Column) and o.this.name.upper() == "ALL" for o in order.expressions):
            raise Opaque("ORDER BY ALL")

    def project(self, stage: Stage) -> Stage:
        """QUALIFY and the projection, with hidden columns for ORDER BY."""
        qualify = self.select.args.get("qualify")
        if qualify:
            known, waiting = split_filter(qualify.this, self)
            self.stage = stage = Stage(keep_possible(stage.relation, known, waiting, self), stage.computed)
        relation = stage.relation
        writer = Writer(relation.unsure_in())
        seen: dict[str, int] = {}
        for number, item in enumerate(self.select.expressions):
            name = item.alias_or_name or item.output_name or f"_c{number}"
            name = f"{name}:{number}" if name.lower() in seen else name
            seen[name.lower()] = number
            value = value_of(item.unalias(), self)
            writer.add(name, value)
        for number, ordered in enumerate(self.order_items()):
            writer.add(f"_o{number}", value_of(ordered.this, self))
        if early_stop.PASSES in relation.columns:
            writer.add(early_stop.PASSES, relation.value(early_stop.PASSES))
        for number, key in enumerate(_distinct_on(self.select)):
            writer.add(f"_d{number}", value_of(key, self))
        for token, target in relation.tokens.items():
            writer.carry(token, column(relation.name, token), target)
        for extra in self.take_tokens():
            writer.carry(*extra)
        return Stage(self.program.write("p", writer, read(relation.name)))

    def order_items(self) -> list[exp.Ordered]:
        order = self.select.args.get("order")
        needed = self.select.args.get("limit") or self.select.args.get("offset") or _distinct_on(self.select)
        return list(order.expressions) if order and needed else []


def _distinct_on(select: exp.Select) -> list[exp.Expr]:
    distinct = select.args.get("distinct")
    keys = distinct.args.get("on") if distinct else None
    return list(keys.expressions) if keys else []


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
    if isinstance(node, exp.AggFunc) or (wrapped and node.find(exp.AggFunc) is not None):
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


__all__ = ["Block", "Stage", "aggregates_of", "blocks_inside", "conjuncts", "plan_query", "settled"]
