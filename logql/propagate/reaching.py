"""Reaching definitions: which statements of a scope may have given a name the value that it has at a place.

A name may be that of an attribute, as it is written: `self.loss`.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Sequence

from logql.propagate.names import header_uses, parameters, stored_paths
from logql.propagate.outline import Item, Unit

_LOOPS = (ast.For, ast.AsyncFor, ast.While)
_WITH = (ast.With, ast.AsyncWith)
_TRY = (ast.Try, ast.TryStar)
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
#: Blocks of which at most one runs, so that what stands in those before it says nothing.
_APART = ("handlers", "cases")


def reaching(name: str, reader: Item) -> frozenset[Item]:
    """What may have bound a name of the scope where a statement begins to read; a parameter is the scope's header."""
    return reaching_at(name, reader.unit, reader.block, reader.position, reader.parent, reader.slot)


def bound_ahead(name: str, reader: Item) -> bool:
    """Whether all ways to a statement bind a name without going round a loop that it stands in.

    Of loops before it an iteration counts as sure.
    """
    block, position, parent = reader.block, reader.position, reader.parent
    while not any(_surely(name, item) for item in block[:position]):
        if parent is None or parent is reader.unit.header:
            return False
        if binds_name(name, parent):
            return True
        block, position, parent = parent.block, parent.position, parent.parent
    return True


def _surely(name: str, item: Item) -> bool:
    if isinstance(item.node, _LOOPS):
        return any(_surely(name, inner) for inner in blocks_of(item)["body"])
    return _bind(name, item, set())


def reaching_at(
    name: str, unit: Unit, block: Sequence[Item], position: int, parent: Item | None, slot: str
) -> frozenset[Item]:
    """What may have bound a name of the scope at a place in one of its blocks."""
    found: set[Item] = set()
    while True:
        if slot not in _APART and _scan(name, block[:position], found):
            return frozenset(found)
        if parent is None or parent is unit.header:
            break
        if _enter(name, parent, slot, block, found):
            return frozenset(found)
        block, position, slot, parent = parent.block, parent.position, parent.slot, parent.parent
    if unit.header is not None and name in parameters(unit):
        found.add(unit.header)
    return frozenset(found)


def _scan(name: str, items: Sequence[Item], found: set[Item]) -> bool:
    """Collect what binds a name last in a stretch of a block; whether all ways through it do."""
    return any(_bind(name, item, found) for item in reversed(items))


def _enter(name: str, parent: Item, slot: str, block: Sequence[Item], found: set[Item]) -> bool:
    """Collect what binds a name on the way from a header to the beginning of one of its blocks; whether all ways do."""
    node, binds = parent.node, binds_name(name, parent)
    if isinstance(node, _LOOPS):
        if slot == "body" and not (binds and isinstance(node, ast.For | ast.AsyncFor)):
            _scan(name, block, found)
        elif slot != "body":
            _scan(name, blocks_of(parent).get("body", ()), found)
    elif isinstance(node, _TRY) and slot != "body":
        before = blocks_of(parent)
        if slot == "finalbody":
            _scan(name, before.get("orelse", ()), found)
            _scan(name, before.get("handlers", ()), found)
        if _scan(name, before.get("body", ()), found) and slot == "orelse":
            return True
    if binds:
        found.add(parent)
    return binds and slot == "body"


def _bind(name: str, item: Item, found: set[Item]) -> bool:
    """Collect what binds a name last in a statement, its blocks included; whether all ways through it do."""
    node, binds = item.node, binds_name(name, item)
    blocks = {} if isinstance(node, _SCOPES) else blocks_of(item)
    if isinstance(node, _TRY):
        return _bind_try(name, blocks, found)
    bound = {slot: _scan(name, items, found) for slot, items in blocks.items() if slot != "cases"}
    for case in blocks.get("cases", ()):
        _bind(name, case, found)
    once = isinstance(node, (*_WITH, ast.ExceptHandler, ast.match_case))
    if once and bound.get("body", False):
        return True
    if binds:
        found.add(item)
    if isinstance(node, ast.If):
        return binds or (bound.get("body", False) and bound.get("orelse", False))
    return binds and (once or not blocks)


def _bind_try(name: str, blocks: dict[str, list[Item]], found: set[Item]) -> bool:
    if _scan(name, blocks.get("finalbody", ()), found):
        return True
    handled = [_bind(name, handler, found) for handler in blocks.get("handlers", ())]
    otherwise = _scan(name, blocks.get("orelse", ()), found)
    return (_scan(name, blocks.get("body", ()), found) or otherwise) and all(handled)


def binds_name(name: str, item: Item) -> bool:
    """Whether a statement, or the header of one with blocks, gives a name a value."""
    if "." not in name:
        return name in header_uses(item.node).writes
    return item.end == item.index + 1 and tuple(name.split(".")) in stored_paths(item.node)


def reads_name(name: str, item: Item) -> bool:
    """Whether a statement, or the header of one with blocks, reads what a name has."""
    uses = header_uses(item.node)
    if "." not in name:
        return name in uses.reads
    return tuple(name.split(".")) in uses.paths or (isinstance(item.node, ast.AugAssign) and binds_name(name, item))


def blocks_of(item: Item) -> dict[str, list[Item]]:
    """The statement lists of a compound statement, by slot."""
    inside = item.unit.outline.items[item.index + 1 : item.end]
    return {inner.slot: inner.block for inner in inside if inner.parent is item}


def below(items: Iterable[Item]) -> frozenset[Item]:
    """Statements with all that stands in their blocks, of the same scope."""
    return frozenset(
        inner for item in items for inner in item.unit.outline.items[item.index : item.end] if inner.unit is item.unit
    )
