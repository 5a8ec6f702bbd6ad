"""GROUPING SETS, ROLLUP and CUBE: one grouping per set, as if each were asked alone."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from sqlglot import exp

from logql.plan.aggregates import is_aggregate
from logql.plan.clauses import parts_of, replace_aliases, without_ordinal
from logql.plan.program import Program
from logql.plan.scopes import Opaque
from logql.sql.walk import bare, find

_KINDS = (exp.Rollup, exp.Cube, exp.GroupingSets)
Keys = tuple[exp.Expr, ...]
#: Sets beyond which a query is demanded whole.
_MOST = 16


def grouping_sets(select: exp.Select, program: Program) -> exp.Expr | None:
    """The same rows as a UNION ALL of plain groupings, in which a key that a set lacks is NULL; None where it is one.

    >>> from tests.plan.show import show_units
    >>> sql = "SELECT run, max(gn) FROM logs WHERE epoch = 0 GROUP BY ROLLUP (run) HAVING run = 'A'"
    >>> show_units(sql), show_units(sql, "grouping_sets")
    (['A/0'], ['A/0', 'A/1', 'B/0', 'B/1'])
    """
    group = select.args.get("group")
    if group is None or not any(isinstance(item, _KINDS) for item in group.expressions):
        return None
    shaped = any(select.args.get(key) for key in ("distinct", "limit", "offset", "qualify", "with_"))
    if not program.on("grouping_sets") or shaped or any(True for _ in find(select, exp.Window)):
        raise Opaque("grouping sets")
    replace_aliases(select, parts_of(select))
    parts = [_sets_of(item, select) for item in group.expressions]
    sets = [tuple(itertools.chain.from_iterable(chosen)) for chosen in itertools.product(*parts)]
    if len(sets) > _MOST:
        raise Opaque("many grouping sets")
    every = list(dict.fromkeys(itertools.chain.from_iterable(sets)))
    blocks = [_grouped(select, keys, every) for keys in sets]
    union: exp.Expr = blocks[0]
    for block in blocks[1:]:
        union = exp.Union(this=union, expression=block, distinct=False)
    return union


def _sets_of(item: exp.Expr, select: exp.Select) -> list[Keys]:
    """The sets of keys that an item of GROUP BY stands for."""
    if isinstance(item, exp.GroupingSets):
        return [keys for part in item.expressions for keys in _sets_of(part, select)]
    if not isinstance(item, exp.Rollup | exp.Cube):
        return [_keys(item, select)]
    parts = [_keys(part, select) for part in item.expressions]
    sizes = range(len(parts), -1, -1)
    if isinstance(item, exp.Rollup):
        chosen: Sequence[tuple[Keys, ...]] = [tuple(parts[:size]) for size in sizes]
    else:
        chosen = [some for size in sizes for some in itertools.combinations(parts, size)]
    return [tuple(itertools.chain.from_iterable(some)) for some in chosen]


def _keys(item: exp.Expr, select: exp.Select) -> Keys:
    """One key, or those of a tuple."""
    if isinstance(item, exp.Tuple):
        return tuple(key for part in item.expressions for key in _keys(part, select))
    return (without_ordinal(bare(item), select),)


def _grouped(select: exp.Select, keys: Keys, every: Sequence[exp.Expr]) -> exp.Select:
    """The block grouped by one of the sets alone."""
    block = select.copy()
    absent = frozenset(key for key in every if key not in keys)
    block.set("order", None)
    block.set("group", exp.Group(expressions=[key.copy() for key in keys]) if keys else None)
    items = [(item.alias_or_name or item.output_name, item.unalias()) for item in block.expressions]
    block.set("expressions", [_named(_without(item, absent, keys), name) for name, item in items])
    having = block.args.get("having")
    if having is not None:
        having.set("this", _without(having.this, absent, keys))
    return block


def _named(item: exp.Expr, name: str) -> exp.Expr:
    return exp.Alias(this=item, alias=exp.Identifier(this=name, quoted=True)) if name else item


def _without(node: exp.Expr, absent: frozenset[exp.Expr], keys: Keys) -> exp.Expr:
    """An expression as it is in groups that lack some keys."""
    if isinstance(node, exp.Grouping | exp.GroupingId):
        bits = "".join("0" if bare(item) in keys else "1" for item in node.expressions)
        return exp.Literal.number(int(bits or "0", 2))
    if node in absent:
        return exp.Null()
    if is_aggregate(node) or isinstance(node, exp.Filter | exp.WithinGroup):
        return node
    for key, part in list(node.args.items()):
        if isinstance(part, exp.Expr):
            node.set(key, _without(part, absent, keys))
        elif isinstance(part, list):
            node.set(key, [_without(item, absent, keys) if isinstance(item, exp.Expr) else item for item in part])
    return node
