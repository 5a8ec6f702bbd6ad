# ruff: noqa: ARG002  (all kinds share their signatures)
"""Lists, dicts, sets and tuples of exactly these types; their subclasses are instances."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from logql.errors import StateError
from logql.state.graph import Address, Node, Payload
from logql.state.kinds.base import Kind
from logql.state.kinds.hashtable import hash_alike, lay_out, may_hash_alike, table_size
from logql.state.walk import LEAVES

if TYPE_CHECKING:
    from logql.state.build import Builder
    from logql.state.walk import Walker


class ListKind(Kind):
    """A plain list."""

    name = "list"

    def capture(self, value: list[Any], walker: Walker) -> Payload:
        return {"items": walker.many(list(value))}

    def accepts(self, node: Node, live: Any, builder: Builder) -> bool:
        return type(live) is list

    def create(self, node: Node, builder: Builder) -> object:
        return []

    def fill(self, node: Node, vessel: list[Any], builder: Builder) -> None:
        vessel[:] = builder.values(node.payload["items"])


class DictKind(Kind):
    """A plain dict, an instance's `__dict__` included; order is kept."""

    name = "dict"

    def capture(self, value: dict[Any, Any], walker: Walker) -> Payload:
        return capture_mapping(list(value.keys()), list(value.values()), walker)

    def accepts(self, node: Node, live: Any, builder: Builder) -> bool:
        return type(live) is dict

    def create(self, node: Node, builder: Builder) -> object:
        return {}

    def fill(self, node: Node, vessel: dict[Any, Any], builder: Builder) -> None:
        keys = node.payload["keys"]
        if type(keys) is list and LEAVES.issuperset(map(type, keys)):
            self.finish(node, vessel, builder)

    def finish(self, node: Node, vessel: dict[Any, Any], builder: Builder) -> None:
        keys, values = builder.values(node.payload["keys"]), builder.values(node.payload["values"])
        pour_mapping(dict, vessel, keys, values)


class TupleKind(Kind):
    """A plain tuple: immutable, but what it holds may not be."""

    name = "tuple"

    def capture(self, value: tuple[Any, ...], walker: Walker) -> Payload:
        return {"items": walker.values(None, list(value))}

    def accepts(self, node: Node, live: Any, builder: Builder) -> bool:
        return type(live) is tuple and same_items(live, builder.values(node.payload["items"]))

    def create(self, node: Node, builder: Builder) -> object:
        return tuple(builder.values(node.payload["items"]))


class FrozenSetKind(Kind):
    """A plain frozenset."""

    name = "frozenset"

    def capture(self, value: frozenset[Any], walker: Walker) -> Payload:
        return {"items": walker.values(None, list(value))}

    def accepts(self, node: Node, live: Any, builder: Builder) -> bool:
        return type(live) is frozenset and same_items(live, builder.values(node.payload["items"]))

    def create(self, node: Node, builder: Builder) -> object:
        return frozenset(builder.values(node.payload["items"]))


class SetKind(Kind):
    """A plain set."""

    name = "set"

    def capture(self, value: set[Any], walker: Walker) -> Payload:
        return {"items": walker.many(list(value)), "size": table_size(value)}

    def accepts(self, node: Node, live: Any, builder: Builder) -> bool:
        return type(live) is set

    def create(self, node: Node, builder: Builder) -> object:
        return set()

    def finish(self, node: Node, vessel: set[Any], builder: Builder) -> None:
        items = node.payload["items"]
        moved = type(items) is list and any(type(item) is Address for item in items)
        pour_set(set, vessel, builder.values(items), None if moved else node.payload.get("size"))


def capture_mapping(keys: list[Any], values: list[Any], walker: Walker) -> Payload:
    """Keys and values of a mapping in order; steps are `[repr(key)]` where the key is a plain value."""
    if LEAVES.issuperset(map(type, keys)):
        return {"keys": keys, "values": walker.many(values, "values", lambda i: f"[{keys[i]!r}]")}
    return {
        "keys": walker.many(keys, "keys", ".keys[{}]".format),
        "values": walker.many(values, "values", ".values[{}]".format),
    }


def pour_mapping(base: type[dict[Any, Any]], vessel: Any, keys: list[Any], values: list[Any]) -> None:
    """Write a mapping in place through its native base, untouched by overridden methods."""
    if not same_items(base.keys(vessel), keys):
        base.clear(vessel)
    for key, value in zip(keys, values, strict=True):
        base.__setitem__(vessel, key, value)


def pour_set(base: type[set[Any]], vessel: Any, items: list[Any], size: int | None = None) -> None:
    """Write a set in place, and in the saved order of iteration where hashes allow that and its table had `size`."""
    if same_items(base.__iter__(vessel), items):
        return
    base.clear(vessel)
    base.update(vessel, items)
    if size is not None and may_hash_alike(items) and not same_items(base.__iter__(vessel), items):
        lay_out(base, vessel, items, size)
        if hash_alike(items) and not same_items(base.__iter__(vessel), items):
            raise StateError("a set of numbers would be iterated in another order")


def same_items(left: Iterable[Any], right: Iterable[Any]) -> bool:
    """Whether two sequences hold the same objects, or equal plain values of one type."""
    left, right = list(left), list(right)
    return len(left) == len(right) and all(
        a is b or (type(a) in LEAVES and type(a) is type(b) and a == b) for a, b in zip(left, right, strict=True)
    )
