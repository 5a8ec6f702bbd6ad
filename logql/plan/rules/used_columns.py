"""Columns of subqueries and CTEs that nothing around these reads: what they alone show is not asked for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from sqlglot import exp

from logql.plan.aggregates import aggregates_of
from logql.plan.scopes import sources_of
from logql.sql.walk import find

#: Functions that make rows where they stand in a SELECT list, or may: what is not known to sqlglot.
_MAKES_ROWS = (exp.Explode, exp.Unnest, exp.Anonymous)


def used_columns(tree: exp.Expr) -> None:
    """Take out of a query, whose sources have names of their own, the columns of its subqueries that nobody reads.

    The rows of `logs` depend on every name that a block reads: there such a name still counts where a row may be.

    >>> from tests.plan.show import show_cells
    >>> show_cells("SELECT gn FROM (SELECT run, epoch, gn, hn FROM epoch WHERE run = 'A')")
    ['A/0/gn', 'A/1/gn']
    """
    while _take_out(tree):
        pass


def _take_out(tree: exp.Expr) -> bool:
    """One pass; whether it took anything out, so that what that alone read is of no use now."""
    derived = _derived(tree)
    if not derived:
        return False
    uses = _uses(tree)
    gone = [_keep(select, aliases, *uses) for select, aliases in derived] if uses is not None else []
    return any(gone)


def _derived(tree: exp.Expr) -> list[tuple[exp.Select, list[str]]]:
    """The queries that stand in a FROM, or are CTEs that stand nowhere else, with the aliases that they are read by."""
    found: list[tuple[exp.Select, list[str]]] = []
    nodes = list(find(tree, exp.Select, exp.Table, exp.With))
    ctes = {cte.alias: cte.this for node in nodes if isinstance(node, exp.With) for cte in _plain_ctes(node)}
    aliases: dict[str, list[str]] = {}
    placed: set[int] = set()
    for source in (source for node in nodes if isinstance(node, exp.Select) for source in sources_of(node)):
        if source.args.get("pivots") or source.args.get("joins") or _renames(source):
            continue
        if isinstance(source, exp.Subquery) and isinstance(source.this, exp.Select):
            found.append((source.this, [source.alias]))
        elif isinstance(source, exp.Table) and source.name in ctes:
            placed.add(id(source))
            aliases.setdefault(source.name, []).append(source.alias_or_name)
    elsewhere = {node.name for node in nodes if isinstance(node, exp.Table) and id(node) not in placed}
    return found + [(ctes[name], read) for name, read in aliases.items() if name not in elsewhere]


def _plain_ctes(clause: exp.With) -> Iterator[exp.CTE]:
    if not clause.args.get("recursive"):
        yield from (cte for cte in clause.expressions if isinstance(cte.this, exp.Select) and not _renames(cte))


def _renames(source: exp.Expr) -> bool:
    alias = source.args.get("alias")
    return isinstance(alias, exp.TableAlias) and bool(alias.columns)


def _uses(tree: exp.Expr) -> tuple[dict[str, set[str]], set[str]] | None:
    """The names read of each source, and those whose source is not said; None where stars or NATURAL read any."""
    read: dict[str, set[str]] = {}
    bare: set[str] = set()
    for node in find(tree, exp.Column, exp.Star, exp.Join):
        if isinstance(node, exp.Join):
            if node.method == "NATURAL":
                return None
            bare |= {key.name.lower() for key in node.args.get("using") or ()}
        elif not isinstance(node, exp.Column) or isinstance(node.this, exp.Star):
            if not isinstance(node.parent, exp.Count):
                return None
        else:
            (read.setdefault(node.table, set()) if node.table else bare).add(node.name.lower())
    return read, bare


def _keep(select: exp.Select, aliases: Sequence[str], read: dict[str, set[str]], bare: set[str]) -> bool:
    """Leave a query what is read of it; whether anything is gone."""
    wanted = set[str]().union(*(read.get(alias, ()) for alias in aliases))
    shown = {part.alias_or_name.lower() for part in select.expressions}
    if not wanted <= shown or "" in shown or _counts_columns(select):
        return False
    if select.args.get("distinct") or select.args.get("qualify"):  # DuckDB wants a window function beside QUALIFY
        return False
    needed = set() if select.args.get("group") else {id(node) for node in aggregates_of(select)}
    kept = [part for part in select.expressions if part.alias_or_name.lower() in wanted | bare or _must(part, needed)]
    gone = len(select.expressions) - len(kept)
    select.set("expressions", kept or [exp.alias_(exp.Literal.number(1), "_row")])
    return gone > 0 and shown != {"_row"}


def _counts_columns(select: exp.Select) -> bool:
    """Whether GROUP BY or ORDER BY means outputs by their number, or all of them."""
    group, order = select.args.get("group"), select.args.get("order")
    items = [*(group.expressions if group else ()), *(item.this for item in (order.expressions if order else ()))]
    return bool(group and group.args.get("all")) or any(isinstance(item, exp.Literal | exp.Var) for item in items)


def _must(part: exp.Expr, aggregates: set[int]) -> bool:
    """Whether an output decides which rows there are."""
    return any(id(node) in aggregates for node in find(part, exp.Expr)) or any(True for _ in find(part, *_MAKES_ROWS))
