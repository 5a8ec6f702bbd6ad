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
