"""An order for the items of sets that two processes agree on, whatever hashes and addresses they have there."""

from __future__ import annotations

from typing import Any

from logql.state.graph import Atom, Graph, Packed, Ref
from logql.state.kinds.hashtable import hash_alike
from logql.state.packed import PackedView


def arranged(graph: Graph, items: list[Any]) -> list[Any]:
    """The saved forms of a set's items by what they are: values by their text, objects by where they were found.

    Those that hash alike in every process stay as they are: a loop over them depends on their order.
    """
    if all(_hashes_alike(graph, item) for item in items):
        return items
    return sorted(items, key=lambda item: _rank(graph, item))


def _hashes_alike(graph: Graph, item: Any) -> bool:
    if type(item) is Ref and graph.nodes[item].kind in ("tuple", "frozenset"):
        return all(_hashes_alike(graph, one) for one in _inside(graph, graph.nodes[item].payload["items"]))
    return hash_alike([item])


def _rank(graph: Graph, item: Any) -> str:
    if isinstance(item, Ref):
        node = graph.nodes[item]
        if node.kind not in ("tuple", "frozenset"):
            return f"{node.kind} {graph.path(item)}"
        inside = [_rank(graph, one) for one in _inside(graph, node.payload["items"])]
        return f"{node.kind} {inside if node.kind == 'tuple' else sorted(inside)}"
    if isinstance(item, tuple):
        return f"tuple {[_rank(graph, one) for one in item]}"
    value = item.value if type(item) is Atom else item
    return f"{type(value).__name__} {value!r}"


def _inside(graph: Graph, items: list[Any] | Packed) -> list[Any]:
    """What a tuple or a frozenset holds."""
    return PackedView(graph, items).top if isinstance(items, Packed) else items
