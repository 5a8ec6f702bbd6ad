"""One name per source: renames the aliases and CTEs of a query so that none hides another, and tidies each block.

Afterwards a planning relation can take any expression to any depth without a name changing its meaning.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from sqlglot import exp

from logql.plan.conditions import all_of, sql_of
from logql.plan.relation import column
from logql.sql.bound import LEFT_META, NATURAL_META, LogsRef, ref_of
from logql.sql.walk import bare, branches, copied, find

Query = exp.Select | exp.SetOperation | exp.Subquery


class Opaque(Exception):
    """Raised when a part of a query has a form that no rule understands; it is then demanded whole."""


class Later(Exception):
    """Raised when a block can be planned no further before the rows demanded so far are known."""


@dataclass
class _Scope:
    aliases: dict[str, str] = field(default_factory=dict)
    outer: _Scope | None = None

    def find(self, name: str) -> str | None:
        found = self.aliases.get(name.lower())
        return found or (self.outer.find(name) if self.outer else None)


class _Namer:
    def __init__(self) -> None:
        self.count = 0
        self.clauses: list[exp.With] = []

    def __call__(self, prefix: str) -> str:
        self.count += 1
        return f"{prefix}{self.count}"


def name_sources(tree: exp.Expr) -> tuple[exp.Expr, list[exp.With]]:
    """A copy of the query in which every source and CTE has a name of its own and every column says its source.

    Also returns its WITH clauses, outer ones first.
    """
    query, namer = copied(tree), _Namer()
    _hold_inputs(query)
    _visit(query, None, {}, namer)
    return query, namer.clauses


def _hold_inputs(tree: exp.Expr) -> None:
    """Write marked references that pivots read as queries: they would see columns of planning, and group by them."""
    for pivot in list(find(tree, exp.Pivot)):
        source = pivot.this if is_pivot(pivot) else pivot.parent
        ref = ref_of(source) if isinstance(source, exp.Table) else None
        if isinstance(source, exp.Table) and ref is not None:
            _as_query(source, ref)


def _as_query(table: exp.Table, ref: LogsRef) -> None:
    """A marked reference replaced by a query for its columns, with the pivots that stood behind it."""
    names, alias = dict(ref.renames), table.alias
    held = exp.Subquery(this=exp.Select(expressions=[column(alias, names.get(name, name)) for name in ref.columns]))
    held.set("alias", exp.TableAlias(this=exp.Identifier(this=alias, quoted=True)))
    held.set("pivots", table.args.get("pivots"))
    table.replace(held)
    table.set("pivots", None)
    held.this.set("from_", exp.From(this=table))


def blocks_inside(node: exp.Expr) -> Iterator[exp.Expr]:
    """The nearest queries below an expression, itself excluded."""
    stack = branches(node)[::-1]
    while stack:
        child = stack.pop()
        if isinstance(child, exp.Select | exp.SetOperation) or is_pivot(child):
            yield child
        else:
            stack += branches(child)[::-1]


def is_pivot(node: exp.Expr) -> bool:
    """Whether a node is PIVOT or UNPIVOT as a query of its own, not behind an item of a FROM."""
    return isinstance(node, exp.Pivot) and node.args.get("this") is not None


def sources_of(select: exp.Select) -> list[exp.Expr]:
    """The items of FROM and of the joins, in order."""
    clause = select.args.get("from_")
    joined = [join.this for join in select.args.get("joins") or ()]
    return ([clause.this] if clause else []) + joined


def _visit(query: exp.Expr, outer: _Scope | None, ctes: dict[str, str], namer: _Namer) -> None:
    ctes = _rename_ctes(query, outer, ctes, namer)
    if isinstance(query, exp.SetOperation):
        _visit(query.left, outer, ctes, namer)
        _visit(query.right, outer, ctes, namer)
    elif isinstance(query, exp.Subquery):
        _visit(query.this, outer, ctes, namer)
    elif isinstance(query, exp.Select):
        _visit_select(query, outer, ctes, namer)
    else:
        if isinstance(query, exp.Pivot):
            _rename_cte(query.this, ctes)
        for inner in blocks_inside(query):
            _visit(inner, outer, ctes, namer)


def _rename_cte(source: exp.Expr, ctes: dict[str, str]) -> None:
    if isinstance(source, exp.Table) and not source.db and source.name.lower() in ctes:
        source.set("this", exp.Identifier(this=ctes[source.name.lower()], quoted=True))


def _rename_ctes(query: exp.Expr, outer: _Scope | None, ctes: dict[str, str], namer: _Namer) -> dict[str, str]:
    clause = query.args.get("with_")
    if clause is None:
        return ctes
    namer.clauses.append(clause)
    ctes = dict(ctes)
    for cte in clause.expressions:
        old, new = cte.alias.lower(), namer("q")
        inside = {**ctes, old: new} if clause.args.get("recursive") else ctes
        _visit(cte.this, outer, inside, namer)
        cte.args["alias"].set("this", exp.Identifier(this=new, quoted=True))
        ctes[old] = new
    return ctes


def _visit_select(select: exp.Select, outer: _Scope | None, ctes: dict[str, str], namer: _Namer) -> None:
    scope = _Scope(outer=outer)
    sources, ctes_of = sources_of(select), select.args.get("with_")
    for source in sources:
        _name_source(source, scope, outer, ctes, namer)
    apart = {id(part) for part in (*sources, ctes_of)}
    queries, columns = split_off(select, apart)
    for inner in queries:
        _visit(inner, scope, ctes, namer)
    _spell_out_using(select, scope)
    only = next(iter(scope.aliases.values())) if len(scope.aliases) == 1 else None
    names = {p.alias.lower() for p in select.expressions if isinstance(p, exp.Alias)}
    for node in [*columns, *(c for source in sources for c in _own_columns(source))]:
        _bind_column(node, scope, only, names)


def split_off(node: exp.Expr, apart: set[int]) -> tuple[list[exp.Expr], list[exp.Column]]:
    """The nearest queries below a node and the columns outside of them, the subtrees `apart` left out."""
    queries: list[exp.Expr] = []
    columns: list[exp.Column] = []
    stack = branches(node)[::-1]
    while stack:
        child = stack.pop()
        if isinstance(child, exp.Column):
            columns.append(child)
        elif isinstance(child, exp.Select | exp.SetOperation) or is_pivot(child):
            queries.append(child)
        elif id(child) not in apart:
            stack += branches(child)[::-1]
    return queries, columns


def _spell_out_using(select: exp.Select, scope: _Scope) -> None:
    """Write USING and NATURAL as ON where the binder knows the left side of each key: it has qualified their uses."""
    for join in select.args.get("joins") or ():
        keys = join.args.get("using") or join.meta.get(NATURAL_META) or ()
        left = [scope.aliases.get(key.meta.get(LEFT_META, "").lower()) for key in keys]
        if keys and all(left):
            own = join.this.alias
            parts = [
                exp.EQ(this=column(str(a), k.name), expression=column(own, k.name))
                for a, k in zip(left, keys, strict=True)
            ]
            join.set("using", None)
            join.set("method", None if join.method == "NATURAL" else join.args.get("method"))
            join.set("on", exp.and_(*parts, copy=False))


def _name_source(source: exp.Expr, scope: _Scope, outer: _Scope | None, ctes: dict[str, str], namer: _Namer) -> None:
    new = namer("s")
    named = (source.args.get("pivots") or [source])[-1]
    old = named.alias or source.alias_or_name
    _rename_cte(source, ctes)
    lateral = isinstance(source, exp.Lateral | exp.Unnest)
    for inner in list(blocks_inside(source)):
        _visit(inner, scope if lateral else outer, ctes, namer)
    if lateral:
        for node in list(_own_columns(source)):
            _bind_column(node, scope, None, set())
    if not isinstance(source, exp.Table | exp.Subquery | exp.Lateral | exp.Unnest | exp.Values):
        return
    alias = named.args.get("alias")
    if not isinstance(alias, exp.TableAlias):
        alias = exp.TableAlias()
        named.set("alias", alias)
    alias.set("this", exp.Identifier(this=new, quoted=True))
    scope.aliases[old.lower() if old else new] = new


def _own_columns(node: exp.Expr) -> Iterator[exp.Column]:
    stack = branches(node)[::-1]
    while stack:
        child = stack.pop()
        if isinstance(child, exp.Column):
            yield child
        elif not isinstance(child, exp.Select | exp.SetOperation | exp.Pivot):
            stack += branches(child)[::-1]


def _bind_column(node: exp.Column, scope: _Scope, only: str | None, names: set[str]) -> None:
    if node.table:
        found = scope.find(node.table)
        if found:
            node.set("table", exp.Identifier(this=found, quoted=True))
    elif only and not isinstance(node.this, exp.Star) and not _is_alias_use(node, names):
        node.set("table", exp.Identifier(this=only, quoted=True))


def _is_alias_use(node: exp.Column, names: set[str]) -> bool:
    if node.name.lower() in names:
        return True
    parent = node.parent
    while parent is not None:
        if isinstance(parent, exp.Lambda) and node.name.lower() in {p.name.lower() for p in parent.expressions}:
            return True
        parent = parent.parent
    return False


def conjuncts(condition: exp.Expr | None) -> list[exp.Expr]:
    """The parts of a condition joined by AND."""
    if condition is None:
        return []
    found: list[exp.Expr] = []
    stack = [condition]
    while stack:
        part = bare(stack.pop())
        if isinstance(part, exp.And):
            stack += [part.expression, part.this]
        else:
            found.append(part)
    return found


def join_conditions(join: exp.Join) -> list[exp.Expr]:
    """What a join requires."""
    if join.args.get("using"):
        raise Opaque("USING over columns that a FULL JOIN merged")
    return conjuncts(join.args.get("on"))


def semi_joins_as_exists(select: exp.Select) -> None:
    """Write SEMI and ANTI joins as EXISTS and NOT EXISTS conditions, where one treatment serves both."""
    kept, conditions = [], []
    for join in select.args.get("joins") or ():
        if join.kind not in ("SEMI", "ANTI"):
            kept.append(join)
            continue
        body = exp.select(exp.Literal.number(1)).from_(join.this, copy=False)
        body = body.where(sql_of(all_of(*join_conditions(join))), copy=False)
        found = exp.Exists(this=body)
        conditions.append(found if join.kind == "SEMI" else exp.Not(this=found))
    if conditions:
        select.set("joins", kept)
        for condition in conditions:
            select.where(condition, copy=False)
