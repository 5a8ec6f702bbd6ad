"""What a name is defined as, with the names read that exist only to say it in several lines."""

from __future__ import annotations

import ast
import copy

from logql.propagate.names import header_uses
from logql.propagate.outline import Item, Unit


def definition_of(name: str, unit: Unit, index: int) -> ast.expr | None:
    """What binds a name last before a statement, if that is a plain assignment, temporaries just above it put in.

    `error = x @ w - y` and `out = x @ w` followed by `error = out - y` are defined alike.
    """
    writers = [item for item in unit.items if item.index < index and name in header_uses(item.node).writes]
    if not writers or assigned(last := writers[-1]) != name:
        return None
    value = copy.deepcopy(value_of(last))
    for item in reversed(last.block[: last.position]):
        target = assigned(item)
        reads = [node for node in ast.walk(value) if isinstance(node, ast.Name) and node.id == target]
        if target is None or len(reads) != 1:
            break
        value = _Replaced(reads[0], value_of(item)).visit(value)
    return value


def assigned(item: Item) -> str | None:
    """The name that a plain assignment binds."""
    node = item.node
    if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
        return node.targets[0].id
    return None


def value_of(item: Item) -> ast.expr:
    """What a plain assignment gives its name."""
    assert isinstance(item.node, ast.Assign)
    return item.node.value


class _Replaced(ast.NodeTransformer):
    """Puts an expression in the place of one read of a name."""

    def __init__(self, read: ast.Name, value: ast.expr) -> None:
        self.read, self.value = read, value

    def visit_Name(self, node: ast.Name) -> ast.expr:
        return copy.deepcopy(self.value) if node is self.read else node
