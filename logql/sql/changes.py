"""UPDATE, DELETE and MERGE of own tables by what is recorded: what their names mean, and which rows they read."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from sqlglot import exp

from logql.sql.scope import Scope
from logql.sql.walk import copied

CHANGES = (exp.Update, exp.Delete, exp.Merge)


def bind_change(tree: exp.Expr, scope: Scope, bind: Callable[[exp.Expr, Scope], None]) -> bool:
    """Bind what a change reads, which sees the columns of the table that it changes; False where it does not say."""
    assigned = list(_assigned(tree))
    if any(not isinstance(part, exp.Expr) for part in assigned) or tree.args.get("using_cond"):
        return False
    scope.add(tree.this)
    for source in _sources(tree):
        scope.add(source)
    for part in (*assigned, tree.args.get("on"), tree.args.get("where")):
        if isinstance(part, exp.Expr):
            bind(part, scope)
    return True


def rows_read(tree: exp.Expr) -> exp.Select | None:
    """The query whose rows an UPDATE or DELETE acts upon; None for anything else."""
    if not isinstance(tree, exp.Update | exp.Delete):
        return None
    values = [copied(part) for part in _assigned(tree) if isinstance(part, exp.Expr)]
    query = exp.Select(expressions=values or [exp.Literal.number(1)], from_=exp.From(this=copied(tree.this)))
    query.set("joins", [exp.Join(this=copied(source), kind="CROSS") for source in _sources(tree)] or None)
    for key in ("where", "with_"):
        if tree.args.get(key) is not None:
            query.set(key, copied(tree.args[key]))
    return query


def _sources(tree: exp.Expr) -> list[exp.Expr]:
    """What stands in FROM or USING."""
    found = tree.args.get("from_") or tree.args.get("using") or []
    if isinstance(found, list):
        return found
    return [found.this if isinstance(found, exp.From) else found]


def _assigned(tree: exp.Expr) -> Iterator[exp.Expr | None]:
    """The values that a change writes and its conditions for them; None for those that it takes by their names."""
    if isinstance(tree, exp.Update):
        listed = tree.expressions or [None]
        yield from (part.expression if isinstance(part, exp.EQ) else None for part in listed)
    for when in tree.args["whens"].expressions if isinstance(tree, exp.Merge) else ():
        then = when.args["then"]
        yield from [when.args["condition"]] if when.args.get("condition") else []
        if isinstance(then, exp.Insert):
            yield then.args.get("expression") or None
        elif isinstance(then, exp.Update):
            yield from _assigned(then)
