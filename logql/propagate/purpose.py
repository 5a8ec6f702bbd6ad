"""What a statement is there for: whether all that it makes is read by log statements alone."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Iterator, Sequence

from logql.propagate.names import header_uses, scope_chain, unit_bindings, uses_of
from logql.propagate.outline import Item, Unit
from logql.propagate.purity import is_quiet, mode_of
from logql.propagate.reaching import below, reaching
from logql.propagate.statements import Api, api_of

_LEAVING = (ast.Return, ast.Raise)
_MAKING = (ast.Assign, ast.AugAssign, ast.AnnAssign, ast.For, ast.If, ast.With)


def serves_logs(item: Item) -> bool:
    """Whether a statement logs, or only makes what such statements read."""
    api = api_of(item.unit.outline)
    if not (api.modules or api.functions):
        return False
    return _tells(item, api) or (makes_names(item) and read_by_logs([item]))


def read_by_logs(lines: Sequence[Item], readers: Iterable[Item] = ()) -> bool:
    """Whether what statements of one scope bind is read by them, by given ones and by what serves logs alone."""
    seen, left = {*below(readers), *below(lines)}, list(lines)
    while left:
        line = left.pop()
        if _is_seen_elsewhere(line):
            return False
        api = api_of(line.unit.outline)
        for reader in _readers(line):
            if reader in seen or _tells(reader, api):
                continue
            if not makes_names(reader):
                return False
            seen |= below([reader])
            left.append(reader)
    return True


def logs(item: Item, api: Api) -> bool:
    """Whether a statement is a log call."""
    call = item.node.value if isinstance(item.node, ast.Expr) else None
    return call is not None and api.function(call) == "log"


def makes_names(item: Item) -> bool:
    """Whether all that a statement does is to bind names of its own."""
    node = item.node
    jumps = _LEAVING if isinstance(node, ast.For) else (*_LEAVING, ast.Break, ast.Continue)
    if not isinstance(node, _MAKING) or any(isinstance(inside, jumps) for inside in ast.walk(node)):
        return False
    return is_quiet(node) and _binds_plain_names(node)


def _tells(item: Item, api: Api) -> bool:
    return logs(item, api) or mode_of(item.node) is not None


def _readers(line: Item) -> Iterator[Item]:
    """Other statements of the scope that read what one binds."""
    own, bound = below([line]), uses_of(line.node).writes
    for item in line.unit.items:
        read = bound & header_uses(item.node).reads if item not in own else set()
        if any(own & reaching(name, item) for name in read):
            yield item


def _is_seen_elsewhere(line: Item) -> bool:
    """Whether other scopes read what a statement binds, or its scope declares it as theirs."""
    unit, bound = line.unit, uses_of(line.node).writes
    if any(bound & header_uses(item.node).globals for item in unit.items):
        return True
    inner = (other for other in unit.outline.units if other is not unit and unit in scope_chain(other))
    return any(bound & _free_names(scope) for scope in inner)


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
