# ruff: noqa: ARG002  (all kinds share their signatures)
"""Objects of data libraries that are values: saved whole by their own pickling, as one blob each."""

from __future__ import annotations

import pickle
import weakref
from typing import TYPE_CHECKING, Any

from logql.state.errors import Refusal
from logql.state.graph import Node, Payload
from logql.state.kinds.base import Kind
from logql.state.kinds.opaque import type_name
from logql.state.walk import LEAVES

if TYPE_CHECKING:
    from logql.state.build import Builder
    from logql.state.walk import Walker

#: dtype of a buffer that holds a pickle: such are compared by what is in them.
PICKLE = "pickle"


class ValueKind(Kind):
    """An immutable object (a pyarrow table, a pandas index): nobody can tell an equal one from it."""

    name = "value"

    def __init__(self) -> None:
        #: pickles of objects that live, by id
        self._known: dict[int, tuple[weakref.ref[object], bytes]] = {}

    def capture(self, value: Any, walker: Walker) -> Payload:
        if not walker.copying():
            return {}
        data = memoryview(self._pickled(value))
        return {"content": walker.buffer((id(value), self.name), PICKLE, data.nbytes, None, lambda: data)}

    def _pickled(self, value: Any) -> bytes:
        known = self._known.get(id(value))
        if known is not None and known[0]() is value:
            return known[1]
        data = dump_value(value)
        self._known = {key: entry for key, entry in self._known.items() if entry[0]() is not None}
        self._known[id(value)] = weakref.ref(value), data
        return data

    def accepts(self, node: Node, live: Any, builder: Builder) -> bool:
        try:
            return bool(self._pickled(live) == node.payload["content"].bytes())
        except (Refusal, TypeError):
            return False

    def create(self, node: Node, builder: Builder) -> object:
        made: object = pickle.loads(node.payload["content"].bytes())
        return made


class IndexKind(ValueKind):
    """A pandas index. Its name can change, so it counts to what identifies its content."""

    name = "pandas.Index"

    def _pickled(self, value: Any) -> bytes:
        labels = value.array if value.nlevels == 1 and value.dtype == object else ()
        if not all(type(label) in LEAVES or type(label) is tuple for label in labels):
            raise Refusal("a pandas index of objects that may change")
        return dump_value(value)


class FrameKind(ValueKind):
    """A polars frame or series: it can change in place, but shares nothing with others that a change would show in."""

    name = "polars"

    def _pickled(self, value: Any) -> bytes:
        return dump_value(value)

    def accepts(self, node: Node, live: Any, builder: Builder) -> bool:
        return type(live) is type(pickle.loads(node.payload["content"].bytes()))

    def fill(self, node: Node, vessel: Any, builder: Builder) -> None:
        if self._pickled(vessel) != node.payload["content"].bytes():
            vessel.__setstate__(self.create(node, builder).__getstate__())


def dump_value(value: object) -> bytes:
    """The pickle of a value; Refusal where its author gave it none."""
    try:
        return pickle.dumps(value, 5)
    except Exception as error:
        raise Refusal(f"an object of type {type_name(value)} cannot be pickled: {error}") from error


def same_value(here: memoryview, there: memoryview) -> bool:
    """Whether two pickles are of equal values: padding and chunks of columnar data may differ."""
    one, other = pickle.loads(here), pickle.loads(there)
    compare = getattr(one, "equals", None)
    return type(one) is type(other) and bool(compare(other) if compare is not None else one == other)
