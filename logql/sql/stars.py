"""Stars written out: each becomes the columns that its sources have."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlglot import exp

from logql.sql.bound import STAR_META
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
    for part in select.expressions:
        written = _expand(scope, part)
        if written is None:
            _use_everything(scope)
            outputs = None
        for column in written if written is not None else [part]:
            projections.append(column)
            name = _output_name(column) if outputs is not None else ""
            if outputs is not None and name:
                outputs.append((name, bool(column.meta.get(STAR_META))))
            else:
                outputs = None
    select.set("expressions", projections)
    return outputs


def _output_name(column: exp.Expr) -> str:
    return column.alias_or_name if isinstance(column, (exp.Alias, exp.Column)) else column.sql(dialect="duckdb").lower()


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
    _check_left_out(scope, star, sources)
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


def _check_left_out(scope: Scope, star: exp.Star, sources: list[Source]) -> None:
    """BindError where EXCLUDE names what no source has; a name that a replay may give may always be left out."""
    for item in star.args.get("except_") or ():
        known = (source.find(item.name) if isinstance(source, Reference) else source.declared(item.name)
                 for source in sources)  # fmt: skip
        if not any(known):
            columns = [name for source in sources for name in source.columns or ()]
            raise unknown(scope.binder.sql, item, item.name, columns, None)


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
    calls = list(find(part, exp.Columns))
    plain = not isinstance(part, exp.Alias) or "\\" not in part.alias
    chosen = choose(scope, calls[0]) if plain and all(call == calls[0] for call in calls) else None
    if chosen is None or any(call.find_ancestor(exp.Query) is not part.find_ancestor(exp.Query) for call in calls):
        return [part]
    scope.binder.patches.give_up()
    found = []
    for source, name, _ in chosen:
        source.use(name)
        copy = part.copy()
        for call in list(copy.find_all(exp.Columns)):
            call.replace(star_column(name, source.alias, False))
        found.append(copy if isinstance(copy, exp.Alias) else exp.alias_(copy, name, quoted=True, copy=False))
    return found


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
    wanted = scope.binder.world.own_columns(f"(SELECT {call.sql(dialect='duckdb')} FROM (SELECT {nulls}))")
    return [item for item in every if item[1] in wanted] if wanted is not None else None


def _use_everything(scope: Scope) -> None:
    for source in scope.sources:
        for name, _ in source.star():
            source.use(name)
