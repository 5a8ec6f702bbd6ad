"""Objects of classes written in C: through the pickling that their authors wrote, children kept in the graph."""

from __future__ import annotations

import copyreg
import io
from typing import TYPE_CHECKING, Any

from logql.state.errors import Refusal
from logql.state.graph import Node, Payload
from logql.state.kinds.base import Kind
from logql.state.kinds.layout import native_base
from logql.state.kinds.opaque import type_name

if TYPE_CHECKING:
    from logql.state.build import Builder
    from logql.state.walk import Walker


class ExtensionKind(Kind):
    """An object of a C class that defines how it is pickled; written in place where it has `__setstate__`."""

    name = "extension"

    def capture(self, value: Any, walker: Walker) -> Payload:
        cls = type(value)
        if hasattr(cls, "__next__") and not isinstance(value, io.IOBase):
            raise Refusal(f"an iterator of type {type_name(value)} cannot be saved")
        reduced = _reduce(value)
        make, arguments, state, items, pairs, setter = (*reduced, None, None, None, None, None)[:6]
        if items is not None or pairs is not None or setter is not None:
            raise Refusal(f"an object of type {type_name(value)} pickles itself in a way that is not supported")
        return {
            "type": walker.ref(".__class__", cls),
            "make": walker.ref(".<make>", make),
            "arguments": walker.values([f".<argument {i}>" for i in range(len(arguments))], list(arguments)),
            "state": walker.ref(".<state>", state),
        }

    def accepts(self, node: Node, live: Any, builder: Builder) -> bool:
        return super().accepts(node, live, builder) and node.payload["state"] is not None and _takes_state(type(live))

    def create(self, node: Node, builder: Builder) -> object:
        made: object = builder.value(node.payload["make"])(*builder.values(node.payload["arguments"]))
        return made

    def finish(self, node: Node, vessel: Any, builder: Builder) -> None:
        if node.payload["state"] is None:
            return
        state = builder.value(node.payload["state"])
        if _takes_state(type(vessel)):
            vessel.__setstate__(state)
        elif isinstance(state, dict):
            vars(vessel).update(state)
        else:
            raise Refusal(f"the state of {type_name(vessel)} cannot be written")


def _takes_state(cls: type) -> bool:
    return callable(getattr(cls, "__setstate__", None))


def _reduce(value: Any) -> tuple[Any, ...]:
    """What pickle would call, if the class itself (not `object`) says so."""
    cls = type(value)
    registered = copyreg.dispatch_table.get(cls)
    if registered is not None:
        reduced = registered(value)
    elif _has_own_pickling(cls):
        reduced = value.__reduce_ex__(4)
    else:
        raise Refusal(f"an object of type {type_name(value)} does not tell its state")
    if not isinstance(reduced, tuple):
        raise Refusal(f"an object of type {type_name(value)} pickles itself by name")
    return reduced


def _has_own_pickling(cls: type) -> bool:
    names = ("__reduce__", "__reduce_ex__", "__getstate__")
    native = native_base(cls)
    if issubclass(native, BaseException):
        return True
    return any(name in vars(owner) for owner in cls.__mro__ if owner is not object for name in names)
