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
        if not all(map(_is_whole, arguments)):
            raise Refusal(f"an object of type {type_name(value)} is made of objects that would be empty then")
        return {
            "type": walker.ref(".__class__", cls),
            "make": walker.ref(".<make>", make),
            "arguments": walker.values([f".<argument {i}>" for i in range(len(arguments))], list(arguments)),
            "state": walker.ref(".<state>", _detached(state, value)),
        }

    def accepts(self, node: Node, live: Any, builder: Builder) -> bool:
        return super().accepts(node, live, builder) and node.payload["state"] is not None and _takes_state(type(live))

    def create(self, node: Node, builder: Builder) -> object:
        arguments = [builder.filled(argument) for argument in node.payload["arguments"]]
        made: object = builder.value(node.payload["make"])(*arguments)
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


def _is_whole(argument: Any) -> bool:
    """Whether a restore has an argument's content already when it makes the object: it may copy it."""
    if isinstance(argument, (list, dict, set, bytearray)):
        return False
    if isinstance(argument, tuple):
        return all(map(_is_whole, argument))
    return not hasattr(argument, "__dict__") or callable(argument) or hasattr(argument, "__array__")


def _detached(state: Any, owner: object) -> Any:
    """The state with copies of the arrays that only show the owner's memory (as a decision tree's do)."""
    if type(state) is not dict:
        return state
    return {name: _copy(part) if getattr(part, "base", None) is owner else part for name, part in state.items()}


def _copy(array: Any) -> Any:
    """A copy whose gaps between fields are zero: in the original they hold anything."""
    import numpy as np

    made = np.zeros_like(array)
    for field in array.dtype.names or (...,):
        made[field] = array[field]
    return made


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
