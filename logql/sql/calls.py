"""Calls and columns that a statement's tree has in other words: macros, `origin(col)`, the fields of a column."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from sqlglot import exp

from logql.errors import BindError, NotSupportedError
from logql.sql.macros import expand
from logql.sql.names import at
from logql.sql.sources import HIDDEN, Reference, hidden_name
from logql.sql.written import quoted

if TYPE_CHECKING:
    from logql.sql.scope import Scope


def write_out(scope: Scope, node: exp.Anonymous) -> bool:
    """Replace origin(col), fidelity(col), reason(col) and the store's macros; whether the call was one."""
    binder, name = scope.binder, node.name.lower()
    if name in HIDDEN[:3] and len(node.expressions) == 1:
        _about(scope, node, name)
        return True
    macro = binder.world.kept("macro", node.name)
    if macro is None or macro.table:
        return False
    for argument in list(node.expressions):
        binder.inside(argument, scope)
    body = expand(macro.body, macro.parameters, node, binder.sql)
    replacement = exp.Paren(this=exp.Subquery(this=body) if isinstance(body, exp.Query) else body)
    node.replace(named(replacement, node))
    binder.inside(replacement, scope)
    binder.patches.give_up()
    return True


def _about(scope: Scope, node: exp.Anonymous, what: str) -> None:
    binder, argument = scope.binder, node.expressions[0]
    if not isinstance(argument, exp.Column):
        raise at(BindError, f"{what}() takes the name of a column", binder.sql, node)
    scope.column(argument)
    source = next(iter(scope._named(argument.table)), None)
    if not isinstance(source, Reference) or not source.logged(argument.name):
        raise at(BindError, f'{what}() tells about logged names; "{argument.name}" is none', binder.sql, node)
    hidden = hidden_name(argument.name, what)
    if source.declared(hidden) is not None:  # recorded before such names were stored under others
        message = f'"{hidden}" is a logged name here: {what}("{argument.name}") cannot be told'
        raise at(NotSupportedError, message, binder.sql, node)
    source.use(hidden)
    column = exp.column(exp.to_identifier(hidden, quoted=True), exp.to_identifier(source.alias, quoted=True))
    alias = f" AS {quoted(f'{what}({argument.name})')}" if isinstance(node.parent, exp.Select) else ""
    node.replace(named(column, node, f"{what}({argument.name})"))
    binder.patches.call(node, f"{quoted(source.alias)}.{quoted(hidden)}{alias}")


def named(replacement: exp.Expr, node: exp.Expr, name: str | None = None) -> exp.Expr:
    """`replacement` under the name that `node` gives its output column, where it is one."""
    if not isinstance(node.parent, exp.Select) or node.arg_key != "expressions":
        return replacement
    return exp.alias_(replacement, name or node.alias_or_name or node.name, quoted=True, copy=False)


def renamed(node: exp.Column, alias: str, name: str, fields: Sequence[exp.Expr]) -> None:
    """Make a column say its source; one that stands for fields of a column becomes them."""
    this, table = exp.to_identifier(name, quoted=True), exp.to_identifier(alias or None, quoted=True)
    if not fields:
        node.set("this", this)
        node.set("table", table)
        node.set("db", None)
        return
    value: exp.Expr = exp.Column(this=this, table=table)
    for field in fields:
        value = exp.Dot(this=value, expression=field.copy())
    node.replace(named(value, node))
