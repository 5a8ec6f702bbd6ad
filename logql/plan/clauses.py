"""The clauses of one SELECT: what they hold, and what they mean once aliases and ordinals are spelled out."""

from __future__ import annotations

from dataclasses import dataclass, field

from sqlglot import exp

from logql.plan.scopes import Opaque, sources_of
from logql.sql.walk import find

_UNDERSTOOD = {
    "expressions", "from_", "joins", "where", "group", "having", "qualify", "distinct", "order", "limit", "offset",
    "with_",
}  # fmt: skip
#: What stands for columns without their names, where the binder could not write them out.
_NAMELESS = (exp.Columns, exp.PositionalColumn)


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


def replace_aliases(select: exp.Select) -> None:
    """Spell out uses of the block's own aliases, ordinals and ALL in its clauses."""
    by_name = {p.alias.lower(): p.this for p in select.expressions if isinstance(p, exp.Alias)}
    for key in ("where", "group", "having", "qualify", "order"):
        clause = select.args.get(key)
        for node in find(clause, exp.Column) if clause is not None and by_name else ():
            if not node.table and node.name.lower() in by_name:
                node.replace(exp.Paren(this=by_name[node.name.lower()].copy()))
    group, order = select.args.get("group"), select.args.get("order")
    if group is not None:
        group.set("expressions", [without_ordinal(key, select) for key in group.expressions])
    for item in order.expressions if order is not None else ():
        item.set("this", without_ordinal(item.this, select))
        if isinstance(item.this, exp.Column) and item.this.name.upper() == "ALL":
            raise Opaque("ORDER BY ALL")


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
