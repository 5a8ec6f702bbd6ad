"""Stars written out: each becomes the columns that its sources have."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sqlglot import exp

from logql.sql.bound import STAR_META
from logql.sql.sources import Reference, Source, star_column

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
            if outputs is not None:
                name = _output_name(column)
                outputs = [*outputs, (name, bool(column.meta.get(STAR_META)))] if name else None
    select.set("expressions", projections)
    return outputs


def _output_name(column: exp.Expr) -> str:
    return column.alias_or_name if isinstance(column, (exp.Alias, exp.Column)) else column.sql(dialect="duckdb").lower()


def _expand(scope: Scope, part: exp.Expr) -> list[exp.Expr] | None:
    """What a projection becomes: itself where it is no star, None where it cannot be written out."""
    if isinstance(part, exp.Columns):
        return _matching(scope, part)
    star = part.this if isinstance(part, exp.Column) else part
    if not isinstance(star, exp.Star):
        return [part]
    sources = list(scope._named(part.table)) if isinstance(part, exp.Column) else scope.sources
    for source in sources:
        source.ask()
    if not sources or not all(source.known for source in sources):
        return None
    return _columns(scope, star, sources, merge=not isinstance(part, exp.Column))


def _columns(scope: Scope, star: exp.Star, sources: list[Source], merge: bool) -> list[exp.Expr]:
    left_out = {item.name.lower() for item in star.args.get("except_") or ()}
    replaced = {item.alias.lower(): item for item in star.args.get("replace") or ()}
    renamed = {item.this.name.lower(): item.alias for item in star.args.get("rename") or ()}
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


def _column(scope: Scope, source: Source, name: str, starred: bool, merge: bool) -> exp.Expr:
    source.use(name)
    if merge and name.lower() in scope.merged:
        return exp.alias_(scope.merged_column(name), name, quoted=True, copy=False)
    column = star_column(name, source.alias, starred)
    column.meta[STAR_META] = starred
    return column


def _matching(scope: Scope, part: exp.Columns) -> list[exp.Expr] | None:
    """COLUMNS('regex') as the columns whose names it finds, COLUMNS(*) as a star."""
    pattern = part.this
    if isinstance(pattern, exp.Star):
        return _expand(scope, pattern.copy())
    if not (isinstance(pattern, exp.Literal) and pattern.is_string):
        return None
    if not all(isinstance(source, Reference) or source.known for source in scope.sources):
        return None
    try:
        wanted = re.compile(pattern.name)
    except re.error:
        return None
    scope.binder.patches.give_up()
    return [
        _column(scope, source, name, starred, False)
        for source in scope.sources
        for name, starred in source.star()
        if wanted.search(name)
    ]


def _use_everything(scope: Scope) -> None:
    for source in scope.sources:
        for name, _ in source.star():
            source.use(name)
