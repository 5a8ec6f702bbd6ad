# ruff: noqa: ARG002  (all kinds share their signatures)
"""Objects of the standard library that are written in C and tell their state in ways of their own."""

from __future__ import annotations

import csv
import gc
import itertools
import threading
import types
from typing import TYPE_CHECKING, Any

from logql.state.errors import Refusal
from logql.state.graph import Node, Payload
from logql.state.kinds.base import Kind, need_anchor
from logql.state.walk import LEAVES

if TYPE_CHECKING:
    from logql.state.build import Builder
    from logql.state.walk import Walker

_MISSING = object()
WRITER: type = type(csv.writer(types.SimpleNamespace(write=len)))


class CountKind(Kind):
    """An `itertools.count` of integers, the only iterator that shows where it is."""

    name = "count"

    def capture(self, value: Any, walker: Walker) -> Payload:
        numbers = repr(value).partition("(")[2].rstrip(")").split(", ")
        try:
            start, step = (int(one) for one in [*numbers, "1"][:2])
        except ValueError:
            raise Refusal("an itertools.count of other numbers than integers") from None
        return {"start": start, "step": step}

    def accepts(self, node: Node, live: Any, builder: Builder) -> bool:
        return type(live) is itertools.count and repr(live) == repr(self.create(node, builder))

    def create(self, node: Node, builder: Builder) -> object:
        return itertools.count(node.payload["start"], node.payload["step"])


class ContextVariableKind(Kind):
    """A variable of the project's own in `contextvars`: its value in the thread that trains."""

    name = "contextvar"
    identity = True

    def capture(self, value: Any, walker: Walker) -> Payload:
        need_anchor(value, walker, "a context variable")
        held = value.get(_MISSING)
        return {"held": [] if held is _MISSING else walker.values(["()"], [held])}

    def accepts(self, node: Node, live: Any, builder: Builder) -> bool:
        return True

    def fill(self, node: Node, vessel: Any, builder: Builder) -> None:
        held = builder.values(node.payload["held"])
        if not held and vessel.get(_MISSING) is not _MISSING:
            raise Refusal("a context variable cannot be left without a value")
        if held and vessel.get(_MISSING) is not held[0]:
            vessel.set(held[0])


class LocalKind(Kind):
    """A `threading.local`: what it holds for the thread that trains."""

    name = "thread local"

    def capture(self, value: Any, walker: Walker) -> Payload:
        need_anchor(value, walker, "a threading.local")
        return {"dict": walker.ref("__dict__", vars(value))}

    def accepts(self, node: Node, live: Any, builder: Builder) -> bool:
        return type(live) is threading.local

    def fill(self, node: Node, vessel: Any, builder: Builder) -> None:
        if builder.value(node.payload["dict"]) is not vars(vessel):
            raise Refusal("a threading.local has another dict in this thread")


class CsvWriterKind(Kind):
    """A `csv.writer`: all that it has is the file that it writes to."""

    name = "csv writer"
    identity = True

    def capture(self, value: Any, walker: Walker) -> Payload:
        need_anchor(value, walker, "a csv writer")
        held = [one for one in gc.get_referents(value) if isinstance(one, types.BuiltinMethodType | types.MethodType)]
        if not held:
            raise Refusal("a csv writer whose file is not to be seen")
        return {"held": walker.values([".write"], held[:1])}

    def accepts(self, node: Node, live: Any, builder: Builder) -> bool:
        return type(live) is WRITER


class ProxyKind(Kind):
    """A `weakref.proxy`; what it stands for is part of the graph."""

    name = "proxy"

    def capture(self, value: Any, walker: Walker) -> Payload:
        need_anchor(value, walker, "a weakref.proxy")
        target = value.__repr__.__self__
        return {"target": walker.ref("()", target)} if type(target) not in LEAVES else {}

    def accepts(self, node: Node, live: Any, builder: Builder) -> bool:
        return True
