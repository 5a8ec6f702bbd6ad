"""The clauses of one SELECT: what they hold, and what they mean once aliases and ordinals are spelled out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlglot import exp

from logql.plan.scopes import Opaque, sources_of
from logql.sql.forms import is_variable
from logql.sql.walk import find

_UNDERSTOOD = {
    "expressions", "from_", "joins", "where", "group", "having", "qualify", "distinct", "order", "limit", "offset",
    "with_",
}  # fmt: skip
#: What stands for columns without their names, where the binder could not write them out.
_NAMELESS = (exp.Columns, exp.PositionalColumn)
#: Aliases within aliases beyond which a block is demanded whole: each is written out as often as it is read.
_MOST_READ = 500


@dataclass
class Parts:
    """What a block holds, to any depth: its columns, and whether any query is in it."""

    columns: list[exp.Column] = field(default_factory=list)
    nested: bool = False


def parts_of(select: exp.Select) -> Parts:
    """The parts of a block, found in one walk: it may be long."""
    found = Parts()
    for node in find(select, exp.Column, exp.Select, exp.SetOperation, exp.Pivot, *_NAMELESS):
        if isinstance(node, exp.Column):
            found.columns.append(node)
        elif isinstance(node, _NAMELESS):
            raise Opaque(f"{node.sql('duckdb')}, whose columns have no names here")
        elif node is not select:
            found.nested = True
    return found


def refuse_unknown(select: exp.Select) -> None:
    """Refuse a block with a clause, a star or a source that no rule understands."""
    strange = [key for key, value in select.args.items() if value and key not in _UNDERSTOOD]
    if strange:
        raise Opaque(", ".join(strange))
    if any(isinstance(p, exp.Star) or p.is_star for p in select.expressions):
        raise Opaque("a star")
    if any(source.args.get("sample") or source.args.get("pivots") for source in sources_of(select)):
        raise Opaque("a sample or pivot")


def replace_aliases(select: exp.Select, parts: Parts) -> None:
    """Spell out uses of the block's own aliases, ordinals and ALL in its clauses, and of aliases in later outputs."""
    bare = {node.name.lower() for node in parts.columns if not node.table}
    by_name = _outputs(select) if bare else {}
    for key in ("where", "group", "having", "qualify", "distinct", "order"):
        clause = select.args.get(key)
        if clause is not None and by_name:
            _spell_out(clause, by_name)
    group, order, distinct = (select.args.get(key) for key in ("group", "order", "distinct"))
    if group is not None:
        group.set("expressions", [without_ordinal(key, select) for key in group.expressions])
    if distinct is not None and distinct.args.get("on"):
        keys = distinct.args["on"]
        keys.set("expressions", [without_ordinal(key, select) for key in keys.expressions])
    if order is not None:
        order.set("expressions", [part for item in order.expressions for part in _without_all(item, select)])
    for item in order.expressions if order is not None else ():
        item.set("this", without_ordinal(item.this, select))


def _outputs(select: exp.Select) -> dict[str, exp.Expr]:
    """What the aliases of a block stand for; those that read earlier ones are spelled out."""
    found: dict[str, exp.Expr] = {}
    weights: dict[str, int] = {}
    for item in select.expressions:
        weight = sum(weights[name] for name in _spell_out(item, found)) if found else 0
        if weight > _MOST_READ:
            raise Opaque("outputs that read each other")
        if isinstance(item, exp.Alias):
            found[item.alias.lower()] = item.this
            weights[item.alias.lower()] = weight + 1
    return found


def _spell_out(clause: exp.Expr, by_name: Mapping[str, exp.Expr]) -> list[str]:
    """Replace the aliases that stand in a clause; tells which."""
    found = []
    for node in find(clause, exp.Column):
        name = node.name.lower()
        if not node.table and name in by_name and not is_variable(node, name):
            node.replace(exp.Paren(this=by_name[name].copy()))
            found.append(name)
    return found


def _without_all(item: exp.Expr, select: exp.Select) -> list[exp.Expr]:
    """An item of ORDER BY; ALL stands for every output in turn."""
    if not (isinstance(item.this, exp.Var) and item.this.name.upper() == "ALL"):
        return [item]
    order = {key: item.args.get(key) for key in ("desc", "nulls_first")}
    return [exp.Ordered(this=part.unalias().copy(), **order) for part in select.expressions]


def without_ordinal(item: exp.Expr, select: exp.Select) -> exp.Expr:
    """What an item of GROUP BY or ORDER BY means, where it is a projection's number."""
    if isinstance(item, exp.Literal) and not item.is_string:
        found: exp.Expr = select.expressions[int(item.this) - 1].unalias().copy()
        return found
    return item


def shows_all(select: exp.Select) -> bool:
    """Whether each row of the projection comes out as it is, whatever the others are."""
    return not any(select.args.get(key) for key in ("distinct", "limit", "offset"))


def order_items(select: exp.Select) -> list[exp.Ordered]:
    """The keys of ORDER BY, where which rows come out depends on them."""
    order = select.args.get("order")
    needed = select.args.get("limit") or select.args.get("offset") or distinct_on(select)
    return list(order.expressions) if order and needed else []


def distinct_on(select: exp.Select) -> list[exp.Expr]:
    """The keys of DISTINCT ON."""
    distinct = select.args.get("distinct")
    keys = distinct.args.get("on") if distinct else None
    return list(keys.expressions) if keys else []
