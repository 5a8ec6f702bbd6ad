"""Walking syntax trees: sqlglot's own walks take several times as long, which long queries notice."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeVar, overload

from sqlglot import exp

T = TypeVar("T", bound=exp.Expr)
U = TypeVar("U", bound=exp.Expr)

#: Nodes without any below them that nobody changes: walks pass them by, and copies of a tree share them.
LEAVES = frozenset({exp.Identifier, exp.Literal})


def children(node: exp.Expr) -> list[exp.Expr]:
    """The expressions right below a node, in order."""
    found: list[exp.Expr] = []
    for value in node.args.values():
        if isinstance(value, exp.Expr):
            found.append(value)
        elif type(value) is list:
            found += [item for item in value if isinstance(item, exp.Expr)]
    return found


def branches(node: exp.Expr) -> list[exp.Expr]:
    """The expressions right below a node, in order, but for identifiers and literals: nothing is below these."""
    found: list[exp.Expr] = []
    for value in node.args.values():
        if isinstance(value, exp.Expr):
            if type(value) not in LEAVES:
                found.append(value)
        elif type(value) is list:
            found += [item for item in value if isinstance(item, exp.Expr) and type(item) not in LEAVES]
    return found


@overload
def find(root: exp.Expr, kind: type[T], /) -> Iterator[T]: ...
@overload
def find(root: exp.Expr, kind: type[T], other: type[U], /) -> Iterator[T | U]: ...
@overload
def find(root: exp.Expr, /, *kinds: type[exp.Expr]) -> Iterator[exp.Expr]: ...
def find(root: exp.Expr, *kinds: type[exp.Expr]) -> Iterator[exp.Expr]:
    """The nodes of some kinds in a tree, its root included, outer ones first; the tree may be changed meanwhile.

    Identifiers and literals are not looked at.
    """
    wanted: dict[type[exp.Expr], bool] = {}
    stack = [root]
    while stack:
        node = stack.pop()
        for value in reversed(node.args.values()):
            if isinstance(value, exp.Expr):
                if type(value) not in LEAVES:
                    stack.append(value)
            elif type(value) is list:
                stack += [item for item in reversed(value) if isinstance(item, exp.Expr)]
        kind = type(node)
        hit = wanted.get(kind)
        if hit is None:
            hit = wanted[kind] = issubclass(kind, kinds)
        if hit:
            yield node


def bare(node: exp.Expr) -> exp.Expr:
    """What stands in parentheses; a query stays one, which `unnest` of sqlglot's would open."""
    while type(node) is exp.Paren:
        node = node.args["this"]
    return node


def flattened(node: exp.Expr) -> list[exp.Expr]:
    """The operands of a chain of one connector (AND, OR), from left to right."""
    kind, found, stack = type(node), [], [node]
    while stack:
        part = stack.pop()
        if type(part) is kind:
            stack += [part.args["expression"], part.args["this"]]
        else:
            found.append(part)
    return found


def copied(root: T, shared: frozenset[type[exp.Expr]] = LEAVES) -> T:
    """A copy that shares with its original the nodes of some kinds."""
    top = type(root)()
    stack: list[tuple[exp.Expr, exp.Expr]] = [(root, top)]
    while stack:
        node, copy = stack.pop()
        copy.comments, copy._meta = node.comments, node._meta and {**node._meta}
        args = copy.args
        for key, value in node.args.items():
            if isinstance(value, exp.Expr):
                args[key] = value if type(value) in shared else _twin(value, copy, key, None, stack)
            elif type(value) is list:
                args[key] = [
                    _twin(item, copy, key, place, stack)
                    if isinstance(item, exp.Expr) and type(item) not in shared
                    else item
                    for place, item in enumerate(value)
                ]
            else:
                args[key] = value
    return top


def _twin(
    node: exp.Expr, parent: exp.Expr, key: str, place: int | None, stack: list[tuple[exp.Expr, exp.Expr]]
) -> exp.Expr:
    """What stands for a node in the copy of its parent, still to be filled."""
    twin = type(node)()
    twin.parent, twin.arg_key, twin.index = parent, key, place
    stack.append((node, twin))
    return twin
