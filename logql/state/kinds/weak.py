"""Weak references and the containers made of them."""

from __future__ import annotations

import weakref
from typing import TYPE_CHECKING, Any

from logql.state.errors import Refusal
from logql.state.graph import Node, Payload
from logql.state.kinds.base import Kind

if TYPE_CHECKING:
    from logql.state.build import Builder
    from logql.state.walk import Walker

WEAK_CONTAINERS = (weakref.WeakKeyDictionary, weakref.WeakValueDictionary, weakref.WeakSet)


class WeakReferenceKind(Kind):
    """A weakref.ref; what it refers to is part of the graph."""

    name = "weakref"

    def capture(self, value: Any, walker: Walker) -> Payload:
        if type(value) is not weakref.ref:
            raise Refusal(f"a weak reference of type {type(value).__name__}")
        if value.__callback__ is not None and not walker.is_anchored(value):
            raise Refusal("a weak reference with a callback")
        return {"target": walker.ref("()", value())}

    def accepts(self, node: Node, live: Any, builder: Builder) -> bool:
        return type(live) is weakref.ref and live() is builder.value(node.payload["target"])

    def create(self, node: Node, builder: Builder) -> object:
        target = builder.value(node.payload["target"])
        return weakref.ref(target) if target is not None else weakref.ref(type("Gone", (), {})())


class WeakContainerKind(Kind):
    """WeakKeyDictionary, WeakValueDictionary and WeakSet, by their living entries."""

    name = "weak container"

    def capture(self, value: Any, walker: Walker) -> Payload:
        pairs = [(item, None) for item in value] if isinstance(value, weakref.WeakSet) else list(value.items())
        numbers = range(len(pairs))
        return {
            "type": walker.ref(".__class__", type(value)),
            "keys": walker.values([f".keys[{i}]" for i in numbers], [key for key, _ in pairs]),
            "values": walker.values([f".values[{i}]" for i in numbers], [held for _, held in pairs]),
        }

    def create(self, node: Node, builder: Builder) -> object:
        made: object = builder.value(node.payload["type"])()
        return made

    def finish(self, node: Node, vessel: Any, builder: Builder) -> None:
        vessel.clear()
        keys, values = builder.values(node.payload["keys"]), builder.values(node.payload["values"])
        for key, held in zip(keys, values, strict=True):
            if isinstance(vessel, weakref.WeakSet):
                vessel.add(key)
            else:
                vessel[key] = held
