"""Which rows of its references a query's own WHERE leaves: for notices, which should not name what nobody asked for."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, replace

from sqlglot import exp

from logql.catalog.schema import explicit
from logql.execute.engine import Engine
from logql.execute.scans import keeps_texts
from logql.sql.bound import STAR_META, BoundQuery, LogsRef, ref_of
from logql.sql.sources import hidden_name

_ALIAS = "l"
_RUN = "_lq_run"


@dataclass(frozen=True)
class Reach:
    """A reference, and the part of WHERE above it that depends on nothing that may be missing."""

    ref: LogsRef
    condition: exp.Expr | None

    def query(self, *projections: exp.Expr) -> exp.Select:
        """A planning query over the rows in reach."""
        table = exp.Table(this=exp.to_identifier("logs"), alias=exp.TableAlias(this=exp.to_identifier(_ALIAS)))
        table.meta["logql"] = self.ref
        select = exp.select(*projections).from_(table)
        return select.where(self.condition) if self.condition is not None else select


def references_in_reach(bound: BoundQuery, unknown: Collection[str] = ()) -> Iterator[Reach]:
    """The references of a query that may have missing cells; a NULL in a column of `unknown` might be any value."""
    return (Reach(ref, _condition(table, ref, unknown)) for table, ref in _references(bound) if ref.virtual)


def _references(bound: BoundQuery) -> Iterator[tuple[exp.Table, LogsRef]]:
    return ((table, ref) for table in bound.tables if (ref := ref_of(table)) is not None)


def misfit_cells(bound: BoundQuery, engine: Engine) -> dict[str, int]:
    """How many values of each name are NULL in the rows in reach because they do not fit its type.

    Names whose texts the query itself asks for are left out.
    """
    found: dict[str, int] = {}
    for table, ref in _references(bound):
        texts = {name: hidden_name(name, "text") for name in sorted(ref.names) if _keeps_texts(name, engine)}
        texts = {name: hidden for name, hidden in texts.items() if hidden not in ref.columns}
        if not texts:
            continue
        counts = [
            exp.alias_(
                exp.CountIf(this=exp.not_(exp.Is(this=_column(hidden), expression=exp.null()))), name, quoted=True
            )
            for name, hidden in texts.items()
        ]
        wider = replace(ref, columns=(*ref.columns, *texts.values()))
        (row,) = engine.fetch(Reach(wider, _condition(table, ref)).query(*counts))
        for name, count in row.items():
            found[name] = max(found.get(name, 0), count or 0)
    return {name: count for name, count in found.items() if count}


def missing_cells(bound: BoundQuery, engine: Engine) -> dict[str, int]:
    """How many cells of each virtual name are missing in the rows in reach."""
    found: dict[str, int] = {}
    for reach in references_in_reach(bound):
        names = sorted(reach.ref.virtual)
        counts = [exp.alias_(exp.CountIf(this=_column(f"{name}$missing")), name, quoted=True) for name in names]
        (row,) = engine.fetch(reach.query(*counts))
        for name, count in row.items():
            bare = explicit(name, engine.history)[0]
            found[bare] = max(found.get(bare, 0), count or 0)
    return {name: count for name, count in found.items() if count}


def _keeps_texts(name: str, engine: Engine) -> bool:
    bare = explicit(name, engine.history)[0]
    column = engine.history.schema.find(bare)
    levels = engine.history.snapshot.levels.values()
    return column is not None and any(keeps_texts(pieces, bare, column.type) for pieces in levels)


def runs_in_reach(bound: BoundQuery, engine: Engine) -> Mapping[str, frozenset[str] | None]:
    """For each virtual name the runs of which a row is in reach; None for all of them.

    Where a name has no place, its rows lack the loops in which it would stand: `step < 3` is NULL for them.
    """
    found: dict[str, frozenset[str] | None] = {}
    for reach in references_in_reach(bound, unknown=engine.history.schema.loop_columns):
        runs: frozenset[str] | None = None
        if reach.condition is not None or reach.ref.versions is not None:
            rows = engine.fetch(reach.query(_column(_RUN)).distinct())
            runs = frozenset(row[_RUN] for row in rows)
        for name in reach.ref.virtual:
            bare = explicit(name, engine.history)[0]
            known = found.get(bare, frozenset())
            found[bare] = None if known is None or runs is None else known | runs
    return found


def recorded_runs_in_reach(bound: BoundQuery, engine: Engine) -> set[str]:
    """The runs of which any reference has a row in reach."""
    found: set[str] = set()
    for table, ref in _references(bound):
        rows = engine.fetch(Reach(ref, _condition(table, ref)).query(_column(_RUN)).distinct())
        found |= {row[_RUN] for row in rows}
    return found


def starred_names(bound: BoundQuery) -> frozenset[str]:
    """Virtual names that only a star brings into the outermost result: no replay fills them."""
    virtual = {name for ref in bound.refs for name in ref.virtual}
    return frozenset(
        column.name
        for select in _outermost(bound.tree)
        for column in select.expressions
        if isinstance(column, exp.Column) and column.meta.get(STAR_META) and column.name in virtual
    )


def _outermost(tree: exp.Expr) -> Iterator[exp.Select]:
    if isinstance(tree, exp.Select):
        yield tree
    elif isinstance(tree, exp.SetOperation):
        yield from _outermost(tree.left)
        yield from _outermost(tree.right)
    elif isinstance(tree, (exp.Subquery, exp.Summarize)) and isinstance(tree.this, exp.Expr):
        yield from _outermost(tree.this)


def _condition(table: exp.Table, ref: LogsRef, unknown: Collection[str] = ()) -> exp.Expr | None:
    """The conjuncts of WHERE that this reference alone decides, with known values only."""
    select = table.find_ancestor(exp.Select)
    where = select.args.get("where") if select is not None else None
    if where is None or _outer_joined(select):
        return None
    parts = [part.copy() for part in _conjuncts(where.this) if _decided(part, ref)]
    for column in (column for part in parts for column in part.find_all(exp.Column)):
        column.set("table", exp.to_identifier(_ALIAS))
    return exp.and_(*(_possibly(part, unknown) for part in parts)) if parts else None


def _possibly(part: exp.Expr, unknown: Collection[str]) -> exp.Expr:
    """The condition, true where it is NULL for a column of `unknown`."""
    if any(column.name in unknown for column in part.find_all(exp.Column)):
        return exp.Coalesce(this=part, expressions=[exp.true()])
    return part


def _outer_joined(select: exp.Expr | None) -> bool:
    joins = select.args.get("joins") or () if select is not None else ()
    return any(join.args.get("side") for join in joins)


def _conjuncts(condition: exp.Expr) -> Iterator[exp.Expr]:
    if isinstance(condition, exp.Paren):
        yield from _conjuncts(condition.this)
    elif isinstance(condition, exp.And):
        yield from _conjuncts(condition.left)
        yield from _conjuncts(condition.right)
    else:
        yield condition


def _decided(part: exp.Expr, ref: LogsRef) -> bool:
    columns = list(part.find_all(exp.Column))
    mine = all(
        column.table == ref.alias
        and column.name in ref.columns
        and ref.virtual.isdisjoint((column.name, column.name.rpartition("$")[0]))
        for column in columns
    )
    return bool(columns) and mine and not list(part.find_all(exp.Query, exp.Placeholder, exp.Parameter))


def _column(name: str) -> exp.Column:
    return exp.column(exp.to_identifier(name, quoted=True))


def iterations_in_reach(
    bound: BoundQuery, engine: Engine
) -> Mapping[str, set[tuple[str, str | None, int, int | None]]]:
    """For each virtual name the iterations of rows in reach: run, main loop, entry, index; and their runs' level."""
    found: dict[str, set[tuple[str, str | None, int, int | None]]] = {}
    places = ("_lq_run", "_lq_loop", "_lq_entry", "_lq_index")
    for reach in references_in_reach(bound):
        rows = engine.fetch(reach.query(*map(_column, places)).distinct())
        cells = {(row["_lq_run"], row["_lq_loop"], row["_lq_entry"] or 0, row["_lq_index"]) for row in rows}
        cells |= {(row["_lq_run"], None, 0, None) for row in rows}
        for name in reach.ref.virtual:
            found.setdefault(explicit(name, engine.history)[0], set()).update(cells)
    return found
