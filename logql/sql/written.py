"""Text of syntax trees, as DuckDB reads it.

sqlglot drops the tables of all columns in a PIVOT, also in the queries below it, where names then mean other columns.
"""

from __future__ import annotations

from collections.abc import Iterable

from sqlglot import exp

from logql.sql.dialect import write
from logql.sql.walk import find, flattened

_CONNECTORS: dict[type[exp.Expr], str] = {exp.And: " AND ", exp.Or: " OR "}
_OPERATORS: dict[type[exp.Expr], str] = {
    exp.EQ: " = ", exp.NEQ: " <> ", exp.LT: " < ", exp.LTE: " <= ", exp.GT: " > ", exp.GTE: " >= ",
}  # fmt: skip


def written(tree: exp.Expr) -> str:
    """SQL of a tree, which is of no further use afterwards."""
    for pivot in list(find(tree, exp.Pivot)):
        for column in list(find(pivot, exp.Column)):
            if column.table and not isinstance(column.find_ancestor(exp.Pivot, exp.Query), exp.Pivot):
                column.replace(exp.Dot.build(column.parts))
    return write(tree, copy=False)


def written_condition(node: exp.Expr) -> str | None:
    """SQL of a condition, None where it holds tables: comparisons are written here, which sqlglot takes long for."""
    kind = type(node)
    if kind in _CONNECTORS:
        return _joined(_CONNECTORS[kind], flattened(node))
    if kind in _OPERATORS:
        return _joined(_OPERATORS[kind], (node.this, node.expression))
    if kind is exp.Paren or kind is exp.Coalesce:
        inside = _joined(", ", (node.this, *node.expressions))
        return inside and f"{'COALESCE' if kind is exp.Coalesce else ''}({inside})"
    if kind is exp.Column and (name := _name(node)) is not None:
        return name
    if kind is exp.Literal and not node.is_string:
        return str(node.this)
    return None if any(True for _ in find(node, exp.Table)) else write(node, copy=False)


def _joined(connector: str, nodes: Iterable[exp.Expr]) -> str | None:
    parts = [written_condition(node) for node in nodes]
    return None if None in parts else connector.join(map(str, parts))


def _name(node: exp.Expr) -> str | None:
    """A column's name in full, None where it is no plain name."""
    parts = [part for key in ("catalog", "db", "table", "this") if (part := node.args.get(key)) is not None]
    plain = len(parts) == len(node.args) and all(type(part) is exp.Identifier for part in parts)
    return ".".join(quoted(part.args["this"]) for part in parts) if plain else None


def quoted(name: str) -> str:
    """A name as an identifier of SQL."""
    return '"' + name.replace('"', '""') + '"'
