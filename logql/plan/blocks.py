"""Turn a query, block by block, into planning relations: the rows that can be there, with flags and tokens."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import TypeVar

from sqlglot import exp

from logql.plan import clauses
from logql.plan.conditions import Cond, all_of, any_of, is_true, sql_of
from logql.plan.filters import keep_possible, split_filter
from logql.plan.held import hold_lists
from logql.plan.program import Program, carry_tokens, rename_depends
from logql.plan.relation import Flags, Relation, Target, Writer, column, read
from logql.plan.rules import (
    correlate,
    distinct_on,
    early_stop,
    group_keys,
    grouping_sets,
    pivots,
    set_operations,
    top_rows,
)
from logql.plan.rules import window_partitions as windows
from logql.plan.rules.possible_values import open_in, value_of
from logql.plan.scopes import (
    Later,
    Opaque,
    conjuncts,
    semi_joins_as_exists,
    sources_of,
)
from logql.plan.sources import read_sources
from logql.plan.values import Truth, Value
from logql.sql.walk import branches

T = TypeVar("T")


def plan_query(query: exp.Expr, program: Program) -> Relation:
    """The planning relation of a query; one that no rule understands is demanded whole and then taken as it stands."""
    mark = (len(program.ctes), len(program.blockers), len(program.barriers))
    planned = set(program.planned)
    try:
        return _plan(query, program)
    except Later:
        program.rest(query)
        return settled(query, program)
    except Opaque as reason:
        program.reasons.append(str(reason))
        del program.ctes[mark[0] :], program.blockers[mark[1] :], program.barriers[mark[2] :]
        for name in program.planned.keys() - planned:
            del program.planned[name]
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
        if query.args.get("by_name"):
            names = [*output_names(query.this), *output_names(query.args["expression"])]
            return list({name.lower(): name for name in reversed(names)}.values())[::-1]
        query = query.this
    if isinstance(query, exp.Pivot):
        return ["*"]
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
    if isinstance(query, exp.Select | exp.Pivot) and pivots.pivots(query, program, plan_query):
        return settled(query, program)
    if isinstance(query, exp.Select):
        return _plan_select(query, program)
    raise Opaque(type(query).__name__)


def _plan_select(select: exp.Select, program: Program) -> Relation:
    windows.spell_out_named(select)
    alike = grouping_sets.grouping_sets(select, program)
    if alike is not None:
        return _plan(alike, program)
    semi_joins_as_exists(select)
    block = Block(select, program)
    early_stop.counts_first(select, program, plan_query)
    stage = block.read_rows()
    stage = group_keys.group_keys(block, stage)
    stage = windows.window_partitions(block, stage)
    stage = block.project(stage)
    stage = distinct_on.distinct_on(block, stage)
    stage = group_keys.distinct_keys(block, stage)
    stage = top_rows.top_rows(block, stage)
    return early_stop.early_stop(block, stage).relation


@dataclass
class Stage:
    """A relation between two steps of a block; `computed` names its columns for aggregates, windows and keys."""

    relation: Relation
    computed: dict[exp.Expr, str] = field(default_factory=dict)
    _values: dict[str, Value] = field(default_factory=dict)

    def value(self, name: str) -> Value:
        """A column of the relation; whoever asks for it again gets the same nodes."""
        if name not in self._values:
            if name not in self.relation.columns:
                raise Opaque(f"{name} is not at hand after grouping")
            self._values[name] = self.relation.value(name)
        return self._values[name]


@dataclass(eq=False)
class Block:
    """A SELECT while it is planned."""

    select: exp.Select
    program: Program
    sources: dict[str, Relation] = field(default_factory=dict)
    loosened: dict[str, Cond] = field(default_factory=dict)
    precise: bool = True
    together: bool = True
    outer: bool = False
    parts: clauses.Parts = field(default_factory=clauses.Parts)
    stage: Stage | None = None
    carried: list[Relation] = field(default_factory=list)
    extra_tokens: list[tuple[str, exp.Expr, Target]] = field(default_factory=list)
    order_columns: list[str] = field(default_factory=list)
    memo: dict[tuple[str, int, int], tuple[object, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.precise = self.program.on("possible_values")
        self.together = self.program.on("contradictions")
        self.outer = any(join.side for join in self.select.args.get("joins") or ())
        self.parts = clauses.parts_of(self.select)
        clauses.refuse_unknown(self.select)
        clauses.replace_aliases(self.select, self.parts)

    # -- reading: Reader of rules/possible_values

    def column(self, node: exp.Column) -> Value | None:
        """A column of one of the block's sources, at the stage at hand."""
        alias = node.table
        if alias not in self.sources:
            return None
        if self.stage is not None:
            key = f"{alias}.{node.name}"
            return self.stage.value(key)
        value = self.source_value(alias, node.name)
        loosened = self.loosened.get(alias, False)
        if loosened is False:
            return value
        return replace(value, nullable=any_of(value.nullable, loosened), with_row=False)

    def computed(self, node: exp.Expr) -> Value | None:
        """What an earlier step computed for this very expression."""
        if self.stage is None or not self.stage.computed:
            return None
        name = self.stage.computed.get(node)
        return None if name is None else self.stage.value(name)

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
        if self.parts.nested and self.program.is_open(node):
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
            parts += branches(part)
        return True

    def source_value(self, alias: str, name: str) -> Value:
        """A column as its source's planning relation has it."""
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
        source, unsure = read_sources(self, used, plan_query)
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
        for node in self.parts.columns:
            if node.table in own and not isinstance(node.this, exp.Star):
                found[node.table, node.name] = None
        return list(found)

    # -- SELECT

    def project(self, stage: Stage) -> Stage:
        """QUALIFY and the projection, with hidden columns for ORDER BY."""
        qualify = self.select.args.get("qualify")
        if qualify:
            known, waiting = split_filter(qualify.this, self)
            self.stage = stage = Stage(keep_possible(stage.relation, known, waiting, self), stage.computed)
        stage, uncounted = hold_lists(self, stage)
        relation = stage.relation
        writer = Writer(any_of(relation.unsure_in(), uncounted))
        if clauses.shows_all(self.select) and self.select is self.program.result:
            self._project_openness(writer)
        else:
            self._project_values(writer)
        if early_stop.PASSES in relation.columns:
            writer.add(early_stop.PASSES, relation.value(early_stop.PASSES))
        for token, target in relation.tokens.items():
            writer.carry(token, column(relation.name, token), target)
        for extra in self.take_tokens():
            writer.carry(*extra)
        return Stage(self.program.write("p", writer, read(relation.name)))

    def _project_openness(self, writer: Writer) -> None:
        """Of rows that nothing above reads, only whether they are settled."""
        unsettled = open_in((item.unalias() for item in self.select.expressions), self)
        writer.add("_shown", Value(exp.Null(), unsettled))

    def _project_values(self, writer: Writer) -> None:
        seen: dict[str, int] = {}
        for number, item in enumerate(self.select.expressions):
            name = item.alias_or_name or item.output_name or f"_c{number}"
            name = f"{name}:{number}" if name.lower() in seen else name
            seen[name.lower()] = number
            value = value_of(item.unalias(), self)
            writer.add(name, value)
        for number, ordered in enumerate(clauses.order_items(self.select)):
            writer.add(f"_o{number}", value_of(ordered.this, self))
        for number, key in enumerate(clauses.distinct_on(self.select)):
            writer.add(f"_d{number}", value_of(key, self))
