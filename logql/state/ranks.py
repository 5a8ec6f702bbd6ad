"""An order for the items of sets that two processes agree on, whatever hashes and addresses they have there."""

from __future__ import annotations

from typing import Any

from logql.state.graph import Atom, Graph, Packed, Ref
from logql.state.packed import PackedView


def arranged(graph: Graph, items: list[Any]) -> list[Any]:
    """The saved forms of a set's items by what they are: values by their text, objects by where they were found."""
    return sorted(items, key=lambda item: _rank(graph, item))


def _rank(graph: Graph, item: Any) -> str:
    if isinstance(item, Ref):
        node = graph.nodes[item]
        if node.kind not in ("tuple", "frozenset"):
            return f"{node.kind} {graph.path(item)}"
        inside = _ranks(graph, node.payload["items"])
        return f"{node.kind} {inside if node.kind == 'tuple' else sorted(inside)}"
    if isinstance(item, tuple):
        return f"tuple {_ranks(graph, [*item])}"
    value = item.value if type(item) is Atom else item
    return f"{type(value).__name__} {value!r}"


def _ranks(graph: Graph, items: list[Any] | Packed) -> list[str]:
    if isinstance(items, Packed):
        items = PackedView(graph, items).top
    return [_rank(graph, item) for item in items]
