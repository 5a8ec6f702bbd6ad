"""Calls of functions that the old version did not have yet: there, the body stands in the place of the call."""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping

from logql.propagate.align import align
from logql.propagate.names import dotted
from logql.propagate.outline import Item, Outline, Unit
from logql.propagate.statements import calls_in

#: The first and the last old statement that a new call stands for, in one block.
Span = tuple[Item, Item]
_FEWEST = 2


def find_spans(siblings: Iterable[Item], host: Unit, matched: Mapping[Item, Item]) -> dict[Item, Span]:
    """For calls among some new statements: the part of the old scope that has most of the called function's body."""
    found: dict[Item, Span] = {}
    taken = set(matched.values())
    free = [item for item in host.items if item not in taken]
    for item in siblings:
        body = _called(item, host.outline) if not item.compound else None
        span = _span(body, free, matched.get(item)) if body is not None else None
        if span is not None:
            found[item] = span
    return found


def _called(item: Item, old: Outline) -> Unit | None:
    """The only function of the new file that a statement calls by a name that the old file does not define."""
    defined = {_last(unit) for unit in old.units}
    names = {path[-1] for call in calls_in(item.node) if (path := dotted(call.func)) is not None}
    found = [
        unit
        for unit in item.unit.outline.units
        if unit.is_function and _last(unit) in names and _last(unit) not in defined
    ]
    return found[0] if len(found) == 1 else None


def _span(body: Unit, free: list[Item], result: Item | None) -> Span | None:
    """Where most of a body stands; what became of the call's own statement (`acc = test()`) is a part of it."""
    own = [item for item in body.items if not isinstance(item.node, ast.Return) and not _is_text(item)]
    pairs = align(own, free)
    if len(pairs) < _FEWEST or 2 * len(pairs) < len(own):
        return None
    olds = sorted([*pairs.values(), *([result] if result is not None else [])], key=lambda item: item.index)
    block = min(olds, key=lambda item: item.depth).block
    first, last = (_lift(item, block) for item in (olds[0], olds[-1]))
    return (first, last) if first is not None and last is not None else None


def _lift(item: Item | None, block: list[Item]) -> Item | None:
    while item is not None and item.block is not block:
        item = item.parent
    return item


def _is_text(item: Item) -> bool:
    return isinstance(item.node, ast.Expr) and isinstance(item.node.value, ast.Constant)


def _last(unit: Unit) -> str:
    return unit.name.rpartition(".")[2]
