"""Which missing cells a query needs next: rows by rows, found by the engine itself in one planning query a round."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import product
from typing import Any

from sqlglot import exp

from logql.errors import DatabaseError, Interrupted, NotSupportedError
from logql.garbage import collections_paused
from logql.plan.blocks import plan_query
from logql.plan.engine import Engine, missing_flag
from logql.plan.program import Program
from logql.plan.relation import aliased, column
from logql.plan.rules import (
    contradictions,
    correlate,
    distinct_on,
    early_stop,
    group_keys,
    grouping_sets,
    outer_joins,
    pivots,
    possible_values,
    push_predicates,
    reduce_joins,
    set_operations,
    top_rows,
    window_partitions,
)
from logql.plan.rules.outermost_stars import outermost_stars
from logql.plan.rules.used_columns import used_columns
from logql.plan.scopes import name_sources
from logql.plan.trace import Root, trace
from logql.sql.bound import BoundQuery, LogsRef, ref_of
from logql.sql.changes import rows_read
from logql.sql.walk import find

#: The treatments, in the order in which they act on a block; each can be named in `SET disabled_rules`.
RULES: tuple[Callable[..., object], ...] = (
    outermost_stars,
    used_columns,
    possible_values.possible_values,
    contradictions.contradictions,
    push_predicates.push_predicates,
    reduce_joins.reduce_joins,
    outer_joins.outer_joins,
    correlate.subquery_truth,
    pivots.pivots,
    grouping_sets.grouping_sets,
    group_keys.group_keys,
    window_partitions.window_partitions,
    distinct_on.distinct_on,
    top_rows.top_rows,
    early_stop.early_stop,
    set_operations.set_operations,
)

VOLATILE = frozenset({"random", "uuid", "gen_random_uuid", "uuidv4", "uuidv7", "nextval", "setseed"})
#: What sqlglot calls some of them.
_SPELLINGS = {"rand": "random"}
SEPARATOR = "\x1f"


@dataclass(frozen=True)
class Demand:
    """Cells to fill: `names` in iterations of a main loop of a run, or (loop None, no indices) outside of any."""

    run: str
    loop: str | None
    entry: int
    indices: tuple[int, ...]
    names: frozenset[str]

    def cells(self) -> Iterator[tuple[int | None, str]]:
        """Each cell's iteration and name."""
        return product(self.indices or (None,), self.names)


@dataclass(frozen=True)
class Round:
    """What to fill now. `final` tells that the query is settled: nothing that is missing can change its answer.

    `answer` is the tree to answer with; where there is `settled`, it is tried first: an answer of `wanted` rows from it
    needs no other cells. `whole` says why the query was demanded whole, if it was.
    """

    demands: tuple[Demand, ...]
    final: bool
    answer: exp.Expr
    whole: str | None = None
    settled: exp.Expr | None = None
    wanted: int = 0


def demand(
    query: BoundQuery, engine: Engine, disabled: frozenset[str] = frozenset(), *, round_number: int = 0
) -> Round:
    """The next cells that `query` needs; to be asked again after each fill until the round is final.

    Raises NotSupportedError for volatile functions and samples over missing cells.
    """
    with collections_paused():
        return _demand(query, engine, disabled, round_number)


def _demand(query: BoundQuery, engine: Engine, disabled: frozenset[str], round_number: int) -> Round:
    refs = _open_references(query)
    missing = _probe(refs, engine) if refs else {}
    if not missing:
        return Round((), True, query.tree)

    def named() -> tuple[exp.Expr, list[exp.With]]:
        tree, clauses = name_sources(_unwrap(query.tree))
        if "used_columns" not in disabled:
            used_columns(tree)
        return tree, clauses

    tree, clauses = named()
    if "outermost_stars" not in disabled:
        missing = outermost_stars(tree, missing)
    chosen = early_stop.from_settled(query.tree, missing) if "early_stop" not in disabled else None
    first = Program(missing, disabled, round_number, chosen is not None)
    demands, reasons = _traced(tree, clauses, named, first, engine)
    _refuse_volatile(query, frozenset(missing), anywhere=bool(demands))
    settled, wanted = chosen or (None, 0)
    return Round(demands, not demands, query.tree, "; ".join(reasons) or None, settled, wanted)


def _traced(
    tree: exp.Expr,
    clauses: list[exp.With],
    again: Callable[[], tuple[exp.Expr, list[exp.With]]],
    program: Program,
    engine: Engine,
) -> tuple[tuple[Demand, ...], list[str]]:
    """What one planning query demands; a query that the engine cannot plan in flags is demanded whole.

    Planning takes the tree apart: `again` makes another.
    """
    _hoist(clauses, program)
    if not program.is_open(tree):
        return (), []
    try:
        planning = _planning_query(tree, program)
        return (_read(engine.fetch(planning)) if planning is not None else ()), program.reasons
    except Interrupted:
        raise
    except (DatabaseError, RecursionError) as error:
        reasons = [f"planned whole: {str(error).splitlines()[0]}"]
    program = Program(program.missing, program.disabled, program.round_number)
    tree, clauses = again()
    _hoist(clauses, program)
    program.whole(tree)
    selects = [select for b in program.blockers for select in trace(program, Root(b.relation, b.condition), 0)]
    return (_read(engine.fetch(_assemble(selects, program))) if selects else ()), reasons


def _planning_query(tree: exp.Expr, program: Program) -> exp.Expr | None:
    program.result = tree
    relation = plan_query(tree, program)
    program.rest(tree)
    selects: list[exp.Expr] = []
    roots = [Root(b.relation, b.condition, b.depends) for b in program.blockers]
    roots.append(Root(relation, relation.live()))
    for stage, root in enumerate(roots):
        selects += trace(program, root, stage)
    return _assemble(selects, program) if selects else None


def _assemble(selects: list[exp.Expr], program: Program) -> exp.Expr:
    body = selects[0]
    for other in selects[1:]:
        body = exp.Union(this=body, expression=other, distinct=False)
    keys = [exp.column(name, quoted=True) for name in ("stage", "run", "loop", "entry", "names")]
    indices = exp.ArrayAgg(this=exp.Distinct(expressions=[exp.column("index", quoted=True)]))
    result = exp.select(*keys, aliased(indices, "indices")).from_(
        exp.Subquery(this=body, alias=exp.TableAlias(this=exp.to_identifier("x")))
    )
    result.set("group", exp.Group(expressions=[key.copy() for key in keys]))
    written, definitions = _used(result, program)
    planned = [
        exp.CTE(
            this=query,
            alias=exp.TableAlias(this=exp.Identifier(this=name, quoted=True)),
            materialized=name in program.kept or None,
        )
        for name, query in written.items()
    ]
    ctes = [*definitions, *planned]
    result.set("with_", exp.With(expressions=ctes, recursive=bool(program.recursive)))
    return result


def _used(result: exp.Expr, program: Program) -> tuple[dict[str, exp.Expr], list[exp.CTE]]:
    """The planning relations that a result reads, and the query's own CTEs that these read as they stand."""
    written = dict(program.ctes)
    used: set[str] = set()
    stack = [result]
    while stack:
        for table in find(stack.pop(), exp.Table):
            if table.name not in used and (table.name in written or table.name in program.definitions):
                used.add(table.name)
                stack.append(written.get(table.name) or program.definitions[table.name].this)
    definitions = [cte.copy() for name, cte in program.definitions.items() if name in used]
    return {name: query for name, query in written.items() if name in used}, definitions


def _hoist(clauses: list[exp.With], program: Program) -> None:
    """Take every CTE (they have names of their own) out of the query."""
    for clause in clauses:
        for cte in clause.expressions:
            program.definitions[cte.alias] = cte
            if clause.args.get("recursive") and any(t.name == cte.alias for t in find(cte.this, exp.Table)):
                program.recursive.add(cte.alias)
    for clause in clauses:
        if clause.parent is not None:
            clause.parent.set("with_", None)
    ordered = _in_order(program.definitions)
    program.definitions.clear()
    program.definitions.update(ordered)


def _in_order(definitions: Mapping[str, exp.CTE]) -> dict[str, exp.CTE]:
    """Definitions before their uses."""
    done: dict[str, exp.CTE] = {}

    def visit(name: str) -> None:
        if name in done:
            return
        for table in find(definitions[name].this, exp.Table):
            if table.name in definitions and table.name != name:
                visit(table.name)
        done[name] = definitions[name]

    for name in definitions:
        visit(name)
    return done


def _unwrap(tree: exp.Expr) -> exp.Expr:
    """The query inside of CREATE TABLE AS, INSERT or COPY, and the one for what UPDATE or DELETE read."""
    read = rows_read(tree)
    if read is not None:
        return read
    for key in ("expression", "this"):
        inner = tree.args.get(key)
        if isinstance(tree, exp.Create | exp.Insert | exp.Copy) and isinstance(inner, exp.Query):
            return inner
    return tree


def _open_references(query: BoundQuery) -> dict[int, tuple[LogsRef, exp.Table, frozenset[str]]]:
    """References that may have missing cells, with the names that count: those under outermost stars do not."""
    found = {}
    for table in query.tables:
        ref = ref_of(table)
        if ref is not None and ref.virtual:
            found[ref.id] = (ref, table, ref.virtual)
    return found


def _probe(refs: Mapping[int, tuple[LogsRef, exp.Table, frozenset[str]]], engine: Engine) -> dict[int, frozenset[str]]:
    """The names of each reference of which a cell is missing anywhere."""
    selects = []
    for number, node, names in refs.values():
        table = node.copy()
        for key in ("pivots", "joins", "sample"):
            table.set(key, None)
        for name in sorted(names):
            flag = column(table.alias_or_name, missing_flag(name))
            selects.append(
                exp.select(aliased(exp.Literal.number(number.id), "ref"), aliased(exp.Literal.string(name), "name"))
                .from_(table.copy(), copy=False)
                .where(flag, copy=False)
                .limit(1, copy=False)
            )
    body: exp.Expr = exp.Subquery(this=selects[0])
    for other in selects[1:]:
        body = exp.Union(this=body, expression=exp.Subquery(this=other), distinct=False)
    found: dict[int, set[str]] = {}
    for row in engine.fetch(body):
        found.setdefault(row["ref"], set()).add(row["name"])
    return {number: frozenset(names) for number, names in found.items()}


def _read(rows: list[dict[str, Any]]) -> tuple[Demand, ...]:
    if not rows:
        return ()
    first = min(row["stage"] for row in rows)
    held: dict[str, frozenset[str]] = {}
    found = []
    for row in rows:
        if row["stage"] == first:
            text, indices = row["names"], row["indices"]
            if text not in held:
                held[text] = frozenset(text.split(SEPARATOR))
            wanted = tuple(sorted(index for index in indices if index is not None))
            found.append(Demand(row["run"], row["loop"], row["entry"] or 0, wanted, held[text]))
    found.sort(key=lambda item: (item.run, item.loop or "", item.entry, item.indices))
    return tuple(found)


def _refuse_volatile(query: BoundQuery, missing: frozenset[int], *, anywhere: bool) -> None:
    """Refuse what gives other rows each time in a block with missing cells; where cells are demanded, in any block."""
    for node in query.notable:
        what = _volatile(node)
        if what is not None and (anywhere or _reads(node.find_ancestor(exp.Select), missing)):
            raise NotSupportedError(
                f"{what} gives other rows in planning than in answering, so it cannot stand over missing cells",
                sql=query.sql,
                hint="store its rows first: CREATE TABLE s AS SELECT ..., then query s",
            )


def _volatile(node: exp.Expr) -> str | None:
    """What gives something else each time, as it is written in a query."""
    if isinstance(node, exp.TableSample):
        return "TABLESAMPLE"
    if not isinstance(node, exp.Func):
        return None
    name = node.name.lower() if isinstance(node, exp.Anonymous) else node.key
    name = _SPELLINGS.get(name, name)
    return f"{name}()" if name in VOLATILE else None


def _reads(block: exp.Expr | None, missing: frozenset[int]) -> bool:
    refs = [ref_of(table) for table in find(block, exp.Table)] if block is not None else []
    return any(ref is not None and ref.id in missing for ref in refs)
