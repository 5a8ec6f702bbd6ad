"""Stars written out: each becomes the columns that its sources have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from logql.sql.bound import STAR_META
from logql.sql.dialect import write
from logql.sql.names import unknown
from logql.sql.sources import Derived, Reference, Source, star_column
from logql.sql.walk import find

if TYPE_CHECKING:
    from logql.sql.scope import Scope

#: A column of a block's result: its name, and whether stars alone brought it in from a relation of logql.
Output = tuple[str, bool]


def expand_star(scope: Scope, select: exp.Select) -> list[Output] | None:
    """Write out the stars of a SELECT in its tree; its columns, or None where DuckDB alone knows them."""
    projections: list[exp.Expr] = []
    outputs: list[Output] | None = []
    inner = _is_inner(select)
    for part in select.expressions:
        written = _expand(scope, part)
        if written is None:
            _use_everything(scope)
            outputs = None
        for column in written if written is not None else [part]:
            name = _output_name(column) if outputs is not None else ""
            unnamed = inner and name and not isinstance(column, (exp.Alias, exp.Column))
            projections.append(exp.alias_(column, name, quoted=True, copy=False) if unnamed else column)
            if outputs is not None and name:
                outputs.append((name, bool(column.meta.get(STAR_META))))
            else:
                outputs = None
    select.set("expressions", projections)
    return outputs


def _is_inner(select: exp.Select) -> bool:
    """Whether blocks around a SELECT read its columns by their names: in a tree that is changed they must stay."""
    parent = select.parent
    while isinstance(parent, exp.SetOperation):
        parent = parent.parent
    return isinstance(parent, (exp.Subquery, exp.CTE))


def _output_name(column: exp.Expr) -> str:
    return column.alias_or_name if isinstance(column, (exp.Alias, exp.Column)) else write(column).lower()


def _expand(scope: Scope, part: exp.Expr) -> list[exp.Expr] | None:
    """What a projection becomes: itself where it is no star, None where it cannot be written out."""
    if isinstance(part, exp.Columns) or _is_filtered(part):
        return _matching(scope, part)
    if any(True for _ in find(part, exp.Columns)):
        return _each(scope, part)
    star = part.this if isinstance(part, exp.Column) else part
    if not isinstance(star, exp.Star):
        return [part]
    sources = list(scope._named(part.table)) if isinstance(part, exp.Column) else scope.sources
    for source in sources:
        source.ask()
    if not sources or not all(source.known for source in sources):
        return None
    return _columns(scope, star, sources, merge=not isinstance(part, exp.Column))


def _is_filtered(part: exp.Expr) -> bool:
    """Whether a projection is `* LIKE '...'` or another star with a pattern for names."""
    test = part.this if isinstance(part, exp.Not) else part
    return isinstance(test, exp.Binary) and isinstance(test.this, exp.Star)


def _columns(scope: Scope, star: exp.Star, sources: list[Source], merge: bool) -> list[exp.Expr]:
    left_out = {item.name.lower() for item in star.args.get("except_") or ()}
    replaced = {item.alias.lower(): item for item in star.args.get("replace") or ()}
    renamed = {item.this.name.lower(): item.alias for item in star.args.get("rename") or ()}
    _check_names(scope, star, sources)
    found: list[exp.Expr] = []
    done: set[str] = set()
    for source in sources:
        for name, starred in source.star():
            folded = name.lower()
            if folded in left_out or (merge and folded in scope.merged and folded in done):
                continue
            done.add(folded)
            if folded in replaced:
                found.append(replaced[folded])
                continue
            column = _column(scope, source, name, starred, merge)
            found.append(exp.alias_(column, renamed[folded], quoted=True) if folded in renamed else column)
    if left_out or replaced or renamed:
        scope.binder.patches.give_up()
    return found


def _check_names(scope: Scope, star: exp.Star, sources: list[Source]) -> None:
    """BindError where EXCLUDE, REPLACE or RENAME name what no source has; they may name what a replay may give."""
    named = [(item, item.name) for item in star.args.get("except_") or ()]
    named += [(item, item.alias) for item in star.args.get("replace") or ()]
    named += [(item, item.this.name) for item in star.args.get("rename") or ()]
    for item, name in named:
        known = (source.find(name) if isinstance(source, Reference) else source.declared(name) for source in sources)
        if not any(known):
            columns = [column for source in sources for column in source.columns or ()]
            raise unknown(scope.binder.sql, item, name, columns, None)


def _column(scope: Scope, source: Source, name: str, starred: bool, merge: bool) -> exp.Expr:
    source.use(name)
    if merge and name.lower() in scope.merged:
        return exp.alias_(scope.merged_column(name), name, quoted=True, copy=False)
    column = star_column(name, source.alias, starred)
    column.meta[STAR_META] = starred
    return column


def _matching(scope: Scope, part: exp.Expr) -> list[exp.Expr] | None:
    """COLUMNS('regex'), COLUMNS(lambda) and `* LIKE` as the columns whose names they choose, COLUMNS(*) as a star."""
    if isinstance(part, exp.Columns) and isinstance(part.this, exp.Star):
        return _expand(scope, part.this.copy())
    chosen = choose(scope, part)
    if chosen is None:
        return None
    scope.binder.patches.give_up()
    return [_column(scope, source, name, starred, False) for source, name, starred in chosen]


def _each(scope: Scope, part: exp.Expr) -> list[exp.Expr] | None:
    """An expression around COLUMNS(...), once for each column; [part] where DuckDB alone can write it out."""
    copies = None if isinstance(part, exp.Alias) and "\\" in part.alias else _copies(scope, part)
    if copies is None:
        return [part]
    return [
        copy if isinstance(copy, exp.Alias) or name is None else exp.alias_(copy, name, quoted=True, copy=False)
        for copy, name in copies
    ]


def _copies(scope: Scope, part: exp.Expr) -> list[tuple[exp.Expr, str | None]] | None:
    """An expression once for each column that its COLUMNS(...) stand for; once for all where all are unpacked."""
    calls = list(find(part, exp.Columns))
    chosen = choose(scope, calls[0]) if all(call == calls[0] for call in calls) else None
    if chosen is None or any(call.find_ancestor(exp.Query) is not part.find_ancestor(exp.Query) for call in calls):
        return None
    together = bool(calls[0].args.get("unpack"))
    if together and not (chosen and all(_takes_many(call.parent) for call in calls)):
        return None
    scope.binder.patches.give_up()
    for source, name, _ in chosen:
        source.use(name)
    groups = [chosen] if together else [[item] for item in chosen]
    return [(_with_columns(part, group), None if together else group[0][1]) for group in groups]


def _takes_many(node: exp.Expr | None) -> bool:
    return node is not None and "expressions" in node.arg_types and not isinstance(node, exp.Struct)


def _with_columns(part: exp.Expr, chosen: list[tuple[Source, str, bool]]) -> exp.Expr:
    """A copy of an expression with columns in place of its COLUMNS(...)."""
    copy = part.copy()
    for call in list(copy.find_all(exp.Columns)):
        parent = call.parent
        assert parent is not None, "the call stands in a function or condition"
        first, *others = (star_column(name, source.alias, False) for source, name, _ in chosen)
        behind = call.index + 1 if call.arg_key == "expressions" and call.index is not None else 0
        call.replace(first)
        if others:
            listed = parent.expressions
            parent.set("expressions", [*listed[:behind], *others, *listed[behind:]])
    return copy


def spread_columns(scope: Scope, select: exp.Select) -> None:
    """Write COLUMNS(...) out in the clauses of a SELECT: a condition holds for each column, an order is one by each."""
    if "columns" not in scope.binder.sql.lower():  # clauses may be long, and nearly none holds one
        return
    for clause in _spreading(select, "where", "having", "qualify"):
        copies = _copies(scope, clause.this)
        if copies:
            clause.set("this", exp.and_(*_only(copies), copy=False))
    for clause in _spreading(select, "order", "group"):
        parts = [(item, _copies(scope, item) if _holds_columns(item) else None) for item in clause.expressions]
        clause.set("expressions", [one for item, copies in parts for one in (_only(copies) if copies else [item])])


def _only(copies: list[tuple[exp.Expr, str | None]]) -> list[exp.Expr]:
    return [copy for copy, _ in copies]


def _spreading(select: exp.Select, *keys: str) -> list[exp.Expr]:
    clauses = (select.args.get(key) for key in keys)
    return [clause for clause in clauses if isinstance(clause, exp.Expr) and _holds_columns(clause)]


def _holds_columns(node: exp.Expr) -> bool:
    return any(True for _ in find(node, exp.Columns))


def choose(scope: Scope, call: exp.Expr) -> list[tuple[Source, str, bool]] | None:
    """The columns that COLUMNS(...) stands for, with their sources; None where only DuckDB can know."""
    for source in scope.sources:
        source.ask()
    if not scope.sources or not all(source.known for source in scope.sources):
        return None
    if not any(isinstance(source, (Reference, Derived)) for source in scope.sources):
        return None
    every = [(source, name, starred) for source in scope.sources for name, starred in source.star()]
    if isinstance(call, exp.Columns) and isinstance(call.this, exp.Star) and call.this.args.get("except_") is None:
        return None if any(call.this.args.get(key) for key in ("replace", "rename")) else every
    names = list(dict.fromkeys(name for _, name, _ in every))
    nulls = ", ".join(f"NULL AS {exp.to_identifier(name, quoted=True).sql()}" for name in names)
    wanted = scope.binder.world.own_columns(f"(SELECT {write(call)} FROM (SELECT {nulls}))")
    return [item for item in every if item[1] in wanted] if wanted is not None else None


def _use_everything(scope: Scope) -> None:
    for source in scope.sources:
        for name, _ in source.star():
            source.use(name)
