"""Forms of DuckDB's that sqlglot reads as something else: methods on columns, and variables of comprehensions."""

from __future__ import annotations

from collections.abc import Callable

from sqlglot import exp

from logql.sql.dialect import write
from logql.sql.macros import scalar

#: Arguments of a column, from its own name outwards.
_PARTS = ("this", "table", "db", "catalog")


def as_call(node: exp.Dot, is_value: Callable[[str], bool]) -> exp.Expr | None:
    """`tag.upper()` as upper(tag), where `is_value` knows the first name; None for schemas and for what is no method.

    >>> tree = sqlglot.parse_one("e.tag.substr(1, 2).upper()", dialect="duckdb")
    >>> as_call(tree, {"e"}.__contains__).sql("duckdb")
    'UPPER(SUBSTRING(e.tag, 1, 2))'
    """
    call = node.expression
    if not isinstance(call, exp.Anonymous):
        return None
    base = _base(node.this, is_value)
    if base is None:
        return None
    arguments = ", ".join(map(write, (base, *call.expressions)))
    return scalar(f"{write(call).partition('(')[0]}({arguments})")


def _base(node: exp.Expr, is_value: Callable[[str], bool]) -> exp.Expr | None:
    """What a method is called on."""
    if isinstance(node, exp.Dot) and isinstance(node.expression, exp.Func):
        return as_call(node, is_value)
    parts = list(node.flatten()) if isinstance(node, exp.Dot) else [node]
    if not all(isinstance(part, exp.Identifier) for part in parts):
        return node if not isinstance(node, (exp.Identifier, exp.Dot)) else None
    if len(parts) > len(_PARTS) or not is_value(parts[0].name):
        return None
    return exp.Column(**dict(zip(_PARTS, reversed(parts), strict=False)))


def settle_variables(node: exp.Comprehension) -> None:
    """Let the variables of `[x + 1 FOR x IN list]` be no columns."""
    variables = {part.name.lower() for key in ("expression", "position") if (part := node.args.get(key)) is not None}
    for part in (node.this, node.args.get("condition")):
        for column in list(part.find_all(exp.Column)) if part is not None else ():
            if not column.table and column.name.lower() in variables:
                column.replace(column.this)


def is_variable(node: exp.Expr, name: str) -> bool:
    """Whether a lambda around `node` calls its argument `name`."""
    around = node.find_ancestor(exp.Lambda, exp.Query)
    while isinstance(around, exp.Lambda):
        if any(part.name.lower() == name.lower() for part in around.expressions):
            return True
        around = around.find_ancestor(exp.Lambda, exp.Query)
    return False
