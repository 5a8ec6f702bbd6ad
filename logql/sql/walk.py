"""Walking syntax trees: sqlglot's own walks take several times as long, which long queries notice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar, overload

from sqlglot import exp

T = TypeVar("T", bound=exp.Expr)
U = TypeVar("U", bound=exp.Expr)


def children(node: exp.Expr) -> list[exp.Expr]:
    """The expressions right below a node, in order."""
    found: list[exp.Expr] = []
    for value in node.args.values():
        if isinstance(value, exp.Expr):
            found.append(value)
        elif type(value) is list:
            found += [item for item in value if isinstance(item, exp.Expr)]
    return found


@overload
def find(root: exp.Expr, kind: type[T], /) -> Iterator[T]: ...
@overload
def find(root: exp.Expr, kind: type[T], other: type[U], /) -> Iterator[T | U]: ...
@overload
def find(root: exp.Expr, /, *kinds: type[exp.Expr]) -> Iterator[exp.Expr]: ...
def find(root: exp.Expr, *kinds: type[exp.Expr]) -> Iterator[exp.Expr]:
    """The nodes of some kinds in a tree, its root included, outer ones first; the tree may be changed meanwhile."""
    stack = [root]
    while stack:
        node = stack.pop()
        below = children(node)
        below.reverse()
        stack += below
        if isinstance(node, kinds):
            yield node


#: Nodes that nobody changes: copies of a tree may share them.
_SHARED = (exp.Identifier, exp.Literal)


def copied(root: T) -> T:
    """A copy that shares with its original the nodes that nobody changes."""
    top = type(root)()
    stack: list[tuple[exp.Expr, exp.Expr]] = [(root, top)]
    while stack:
        node, copy = stack.pop()
        copy.comments, copy._meta = node.comments, node._meta and {**node._meta}
        for key, value in node.args.items():
            if type(value) is list:
                copy.set(key, [_twin(item, stack) for item in value])
            elif isinstance(value, exp.Expr) and not isinstance(value, _SHARED):
                copy.set(key, _twin(value, stack))
            else:
                copy.args[key] = value
    return top


def _twin(node: object, stack: list[tuple[exp.Expr, exp.Expr]]) -> object:
    """What stands for a node in a copy; still to be filled, if it is a new one."""
    if not isinstance(node, exp.Expr) or isinstance(node, _SHARED):
        return node
    twin = type(node)()
    stack.append((node, twin))
    return twin
