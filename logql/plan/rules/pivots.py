"""PIVOT and UNPIVOT: what their input lacks is filled first; then they are taken as they stand."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sqlglot import exp

from logql.plan.conditions import all_of, any_of, sql_of
from logql.plan.program import Program
from logql.plan.relation import Relation, aliased, column
from logql.plan.scopes import Opaque, blocks_inside, conjuncts, is_pivot, sources_of, split_off
from logql.sql.walk import children, find

PlanQuery = Callable[[exp.Expr, Program], Relation]


def pivots(query: exp.Pivot | exp.Select, program: Program, plan: PlanQuery) -> bool:
    """Demand what the inputs of a query's pivots lack; whether nothing else in the query can meet missing cells.

    Of a PIVOT these are the columns of ON, USING and GROUP BY, in the rows that its list of values and the known
    predicates above it let through; the others count for their groups alone.

    >>> from tests.plan.show import show_units
    >>> show_units("PIVOT (SELECT run, epoch, gn FROM logs WHERE val_acc > 0.6) ON epoch IN (0, 1) USING sum(gn)")
    ['A/1']
    >>> show_units("PIVOT (SELECT run, epoch, gn FROM logs) ON epoch IN (0) USING sum(gn) GROUP BY run")
    ['A/0', 'B/0']
    """
    sources = sources_of(query) if isinstance(query, exp.Select) else []
    found = [pair for source in sources for pair in _pivoted_by(source)]
    if isinstance(query, exp.Pivot):
        found.append((query, query.this))
    if not found or not program.on("pivots") or not _nothing_else(query, found, program):
        return False
    above = conjuncts(query.args["where"].this) if len(sources) == 1 and query.args.get("where") else []
    for pivot, source in found:
        for select in _inputs(pivot, source, above, program):
            relation = plan(select, program)
            program.block(relation, relation.live())
    return True


def _pivoted_by(source: exp.Expr) -> Iterator[tuple[exp.Pivot, exp.Expr]]:
    """The pivot that an item of a FROM is, with its input."""
    clauses = list(source.args.get("pivots") or ())
    if len(clauses) == 1 and not source.args.get("joins"):
        bare = source.copy()
        bare.set("pivots", None)
        yield clauses[0], bare
    elif isinstance(source, exp.Subquery) and is_pivot(source.this):
        yield source.this, source.this.this


def _nothing_else(query: exp.Pivot | exp.Select, found: list[tuple[exp.Pivot, exp.Expr]], program: Program) -> bool:
    """Whether missing cells can be met in the pivots' inputs alone."""
    for pivot, _ in found:
        if any(True for part in children(pivot) if part is not pivot.this for _ in find(part, exp.Table)):
            return False
    if isinstance(query, exp.Pivot):
        return True
    sources = sources_of(query)
    beside = [source for source in sources if not any(True for _ in _pivoted_by(source))]
    queries, _ = split_off(query, {id(part) for part in (*sources, query.args.get("with_"))})
    return not any(program.is_open(part) for part in (*beside, *queries))


def _inputs(pivot: exp.Pivot, source: exp.Expr, above: list[exp.Expr], program: Program) -> Iterator[exp.Select]:
    """What a pivot reads, as queries over its input."""
    names = {name.lower(): name for name in _columns(source, program)}
    on = [*(pivot.args.get("fields") or ()), *(() if pivot.args.get("fields") else pivot.expressions)]
    computed = pivot.args.get("using") or (pivot.expressions if pivot.args.get("fields") else [])
    used = {name for part in (*on, *computed) for name in _names_in(part)}
    group = pivot.args.get("group")
    keys = set(_names_in(group)) if group is not None else set(names) - used
    if pivot.args.get("unpivot"):
        yield _reading(source, set(names), names, [], program)
        return
    passed = [part for part in above if not any(True for _ in blocks_inside(part)) and set(_names_in(part)) <= keys]
    listed = [found for part in on if (found := _listed(part)) is not None]
    yield _reading(source, keys | used, names, [*passed, *listed], program)
    if listed:
        groups = _reading(source, keys, names, passed, program)
        groups.set("distinct", exp.Distinct())
        yield groups


def _reading(
    source: exp.Expr, wanted: set[str], names: dict[str, str], conditions: list[exp.Expr], program: Program
) -> exp.Select:
    """`SELECT wanted FROM source WHERE conditions`."""
    alias = program.fresh("s")
    held = source.copy()
    held.set("alias", exp.TableAlias(this=exp.Identifier(this=alias, quoted=True)))
    projections = [aliased(column(alias, name), name) for key, name in names.items() if key in wanted]
    select = exp.Select(expressions=projections or [exp.Literal.number(1)], from_=exp.From(this=held))
    where = exp.Where(this=sql_of(all_of(*(part.copy() for part in conditions)))) if conditions else None
    for node in list(find(where, exp.Column)) if where is not None else ():
        if node.name.lower() not in names:
            raise Opaque(f"a pivot over {node.name}, which its input lacks")
        node.replace(column(alias, names[node.name.lower()]))
    select.set("where", where)
    return select


def _columns(source: exp.Expr, program: Program) -> list[str]:
    definition = program.definitions.get(source.name) if isinstance(source, exp.Table) else None
    if definition is not None and definition.args["alias"].columns:
        raise Opaque("a pivot over a CTE with an alias list")
    query = definition.this if definition is not None else source
    while isinstance(query, exp.SetOperation | exp.Subquery):
        query = query.this
    names = [part.alias_or_name for part in query.expressions] if isinstance(query, exp.Select) else []
    if not names or not all(names) or "*" in names:
        raise Opaque("a pivot over columns that nobody names")
    return names


def _names_in(part: exp.Expr) -> list[str]:
    return [node.name.lower() for node in find(part, exp.Column)]


def _listed(part: exp.Expr) -> exp.Expr | None:
    """`value IN (list)` where that tells which rows get a column; PIVOT compares the texts of values."""
    if not isinstance(part, exp.In) or not part.expressions:
        return None
    if not all(isinstance(item, exp.Literal) for item in part.expressions):
        return None
    texts = [exp.Literal.string(item.name) for item in part.expressions]
    as_text = exp.In(this=exp.Cast(this=part.this.copy(), to=exp.DataType.build("text")), expressions=texts)
    return sql_of(any_of(part.copy(), as_text))
