"""What a statement is there for: whether all that it makes is read by log statements alone."""

from __future__ import annotations

import ast
from collections.abc import Collection

from logql.propagate.names import header_uses, scope_chain, unit_bindings, uses_of
from logql.propagate.outline import Item, Unit
from logql.propagate.purity import is_quiet, mode_of
from logql.propagate.reaching import below, reaching
from logql.propagate.statements import Api, api_of

_MAKING = (ast.Assign, ast.AugAssign, ast.AnnAssign, ast.For, ast.If, ast.With)


def serves_logs(item: Item) -> bool:
    """Whether a statement logs, or only makes what such statements read."""
    api = api_of(item.unit.outline)
    return bool(api.modules or api.functions) and _serves(item, api, set())


def read_by_logs(lines: Collection[Item], readers: Collection[Item] = ()) -> bool:
    """Whether what statements of one scope bind is read by them, by given ones and by what serves logs alone."""
    return all(_only_read(line, api_of(line.unit.outline), {*lines, *below(readers)}) for line in lines)


def logs(item: Item, api: Api) -> bool:
    """Whether a statement is a log call."""
    call = item.node.value if isinstance(item.node, ast.Expr) else None
    return call is not None and api.function(call) == "log"


def makes_names(item: Item) -> bool:
    """Whether all that a statement does is to bind names of its own."""
    return isinstance(item.node, _MAKING) and is_quiet(item.node) and _binds_plain_names(item.node)


def _serves(item: Item, api: Api, seen: set[Item]) -> bool:
    if item in seen or logs(item, api) or mode_of(item.node) is not None:
        return True
    return makes_names(item) and _only_read(item, api, seen)


def _only_read(line: Item, api: Api, seen: set[Item]) -> bool:
    """Whether what a statement binds is read by itself and by what serves logs (or was seen) alone."""
    seen.add(line)
    unit, own = line.unit, below([line])
    bound = uses_of(line.node).writes
    for item in unit.items:
        uses = header_uses(item.node)
        if bound & uses.globals:
            return False
        read = bound & uses.reads if item not in own and item not in seen else set()
        if any(own & reaching(name, item) for name in read) and not _serves(item, api, seen):
            return False
    inner = (other for other in unit.outline.units if other is not unit and unit in scope_chain(other))
    return not any(bound & _free_names(scope) for scope in inner)


def _free_names(scope: Unit) -> set[str]:
    """Names that a function or class reads of what is around it, or binds there."""
    uses = [header_uses(item.node) for item in scope.items]
    outside = set[str]().union(*(each.globals for each in uses))
    return outside | set[str]().union(*(each.reads | each.late for each in uses)) - unit_bindings(scope)


def _binds_plain_names(node: ast.AST) -> bool:
    """Only names of its own are bound: no attribute or item of something else is assigned."""
    own = uses_of(node).writes
    for inside in ast.walk(node):
        if isinstance(inside, ast.Attribute) and not isinstance(inside.ctx, ast.Load):
            return False
        stored = isinstance(inside, ast.Subscript) and not isinstance(inside.ctx, ast.Load)
        if stored and not (isinstance(inside.value, ast.Name) and inside.value.id in own):  # type: ignore[attr-defined]
            return False
    return True
