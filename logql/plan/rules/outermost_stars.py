"""Stars of the outermost result: what only they bring in is shown as it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from sqlglot import exp

from logql.plan.scopes import sources_of
from logql.sql.bound import STAR_META, ref_of
from logql.sql.walk import find


def outermost_stars(tree: exp.Expr, missing: Mapping[int, frozenset[str]]) -> dict[int, frozenset[str]]:
    """Forget missing cells that reach the result through stars alone; a name that is used anywhere else stays.

    >>> from tests.plan.show import show_units
    >>> show_units("SELECT * FROM logs WHERE epoch = 0"), show_units("SELECT * FROM logs WHERE gn > 5 AND epoch = 0")
    ([], ['A/0', 'B/0'])
    """
    quiet: dict[int, set[str]] = {}
    for select in _outermost(tree):
        _silence(select, None, quiet)
    left = {number: names - frozenset(quiet.get(number, ())) for number, names in missing.items()}
    return {number: names for number, names in left.items() if names}


def _outermost(tree: exp.Expr) -> Iterator[exp.Select]:
    if isinstance(tree, exp.Subquery):
        yield from _outermost(tree.this)
    elif isinstance(tree, exp.Union) and not tree.args.get("distinct"):
        yield from _outermost(tree.left)
        yield from _outermost(tree.right)
    elif isinstance(tree, exp.Select) and not tree.args.get("distinct"):
        yield tree


def _silence(select: exp.Select, shown: set[str] | None, quiet: dict[int, set[str]]) -> None:
    """Note the names of the block's references that only starred outputs use; `shown` limits these outputs."""
    starred = [
        p
        for p in select.expressions
        if isinstance(p, exp.Column) and p.meta.get(STAR_META) and (shown is None or p.name.lower() in shown)
    ]
    if not starred:
        return
    uses: dict[tuple[str, str], int] = {}
    for node in find(select, exp.Column):
        uses[node.table, node.name.lower()] = uses.get((node.table, node.name.lower()), 0) + 1
    only: dict[str, set[str]] = {}
    for item in starred:
        if uses[item.table, item.name.lower()] == 1:
            only.setdefault(item.table, set()).add(item.name)
    for source in sources_of(select):
        names = only.get(source.alias, set())
        ref = ref_of(source)
        if ref is not None:
            quiet.setdefault(ref.id, set()).update(names)
            continue
        inner = source.this if isinstance(source, exp.Subquery) else None
        if names and isinstance(inner, exp.Select) and not inner.args.get("distinct"):
            _silence(inner, {name.lower() for name in names}, quiet)
