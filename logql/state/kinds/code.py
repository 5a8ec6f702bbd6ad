# ruff: noqa: ARG002  (all kinds share their signatures)
"""Functions, cells, methods, classes: kept by identity, with the data that hangs on them."""

from __future__ import annotations

import functools
import types
from typing import TYPE_CHECKING, Any

from logql.errors import StateError
from logql.state.errors import Refusal
from logql.state.graph import Global, Node, Payload
from logql.state.kinds.base import Kind, find_global, look_up, need_anchor
from logql.state.kinds.layout import attributes

if TYPE_CHECKING:
    from logql.state.build import Builder
    from logql.state.walk import Walker

_CLASS_DATA_SKIPPED = (types.MemberDescriptorType, types.GetSetDescriptorType, types.WrapperDescriptorType)


class GlobalKind(Kind):
    """Classes and functions of libraries, modules, built-ins: found by name, never walked."""

    name = "global"
    atomic = True

    def atom(self, value: object) -> object:
        return global_name(value)


def global_name(value: object) -> Global | None:
    """The name under which an object of a library is found again."""
    if isinstance(value, types.ModuleType):
        return Global(value.__name__, "")
    if isinstance(value, (types.WrapperDescriptorType, types.MethodDescriptorType, types.ClassMethodDescriptorType)):
        owner = find_global(value.__objclass__)
        return Global(owner.module, f"{owner.name}.{value.__name__}") if owner else None
    if isinstance(value, types.BuiltinFunctionType) and isinstance(value.__self__, types.ModuleType):
        found = Global(value.__self__.__name__, value.__name__)
        return found if look_up(found.module, found.name) is value else find_global(value)
    return find_global(value)


class FunctionKind(Kind):
    """A Python function: its code by identity, its cells, defaults and attributes by content."""

    name = "function"
    identity = True

    def capture(self, value: types.FunctionType, walker: Walker) -> Payload:
        found = find_global(value)
        if found is None or found.module == "__main__":
            need_anchor(value, walker, f"the function {value.__qualname__}")
        keywords = value.__kwdefaults__ or {}
        defaults = list(value.__defaults__ or ())
        payload: Payload = {
            "global": found,
            "defaults": walker.values([f".__defaults__[{i}]" for i in range(len(defaults))], defaults),
            "keywords": list(keywords),
            "keyword_defaults": walker.values([f".__kwdefaults__[{k!r}]" for k in keywords], list(keywords.values())),
            "cells": walker.values(
                [f".<{name}>" for name in value.__code__.co_freevars], list(value.__closure__ or ())
            ),
        }
        if value.__dict__:
            payload["dict"] = walker.ref("__dict__", value.__dict__)
        if not _is_module_dict(value.__globals__):
            payload["globals"] = walker.ref(".__globals__", value.__globals__)
        return payload

    def accepts(self, node: Node, live: Any, builder: Builder) -> bool:
        return isinstance(live, types.FunctionType) and len(live.__closure__ or ()) == len(node.payload["cells"])

    def create(self, node: Node, builder: Builder) -> object:
        found = node.payload["global"]
        if found is None:
            return super().create(node, builder)
        function = builder.value(found)
        if not isinstance(function, types.FunctionType):
            raise StateError(f"{found.module}.{found.name} is not a function here")
        return function

    def fill(self, node: Node, vessel: types.FunctionType, builder: Builder) -> None:
        cells = builder.values(node.payload["cells"])
        if not _identical(cells, vessel.__closure__ or ()):
            raise StateError(f"{builder.path(node)} closes over other variables here")
        defaults = tuple(builder.values(node.payload["defaults"]))
        if not _identical(defaults, vessel.__defaults__ or ()):
            vessel.__defaults__ = defaults
        keywords = dict(zip(node.payload["keywords"], builder.values(node.payload["keyword_defaults"]), strict=True))
        if not _identical(list(keywords.values()), (vessel.__kwdefaults__ or {}).values()):
            vessel.__kwdefaults__ = keywords
        if "dict" in node.payload and builder.value(node.payload["dict"]) is not vessel.__dict__:
            vessel.__dict__ = builder.value(node.payload["dict"])


def _identical(left: Any, right: Any) -> bool:
    left, right = list(left), list(right)
    return len(left) == len(right) and all(a is b for a, b in zip(left, right, strict=True))


def _is_module_dict(names: dict[str, Any]) -> bool:
    import sys

    module = sys.modules.get(str(names.get("__name__")))
    return module is not None and vars(module) is names


class CellKind(Kind):
    """A variable that closures share."""

    name = "cell"

    def capture(self, value: types.CellType, walker: Walker) -> Payload:
        try:
            contents = value.cell_contents
        except ValueError:
            return {"empty": True}
        return {"empty": False, "contents": walker.ref("", contents)}

    def accepts(self, node: Node, live: Any, builder: Builder) -> bool:
        return isinstance(live, types.CellType)

    def create(self, node: Node, builder: Builder) -> object:
        return types.CellType()

    def fill(self, node: Node, vessel: types.CellType, builder: Builder) -> None:
        if not node.payload["empty"]:
            vessel.cell_contents = builder.value(node.payload["contents"])
            return
        try:
            del vessel.cell_contents
        except ValueError:
            return


class MethodKind(Kind):
    """A bound method: of a Python function or of a built-in."""

    name = "method"

    def capture(self, value: Any, walker: Walker) -> Payload:
        if isinstance(value, types.MethodType):
            return {
                "function": walker.ref(".__func__", value.__func__),
                "self": walker.ref(".__self__", value.__self__),
            }
        return {"name": value.__name__, "self": walker.ref(".__self__", value.__self__)}

    def accepts(self, node: Node, live: Any, builder: Builder) -> bool:
        if getattr(live, "__self__", None) is not builder.value(node.payload["self"]):
            return False
        if "name" in node.payload:
            return bool(live.__name__ == node.payload["name"])
        return isinstance(live, types.MethodType) and live.__func__ is builder.value(node.payload["function"])

    def create(self, node: Node, builder: Builder) -> object:
        owner = builder.value(node.payload["self"])
        if "name" in node.payload:
            found: object = getattr(owner, node.payload["name"])
            return found
        return types.MethodType(builder.value(node.payload["function"]), owner)


class PartialKind(Kind):
    """A functools.partial."""

    name = "partial"

    def capture(self, value: Any, walker: Walker) -> Payload:
        return {
            "type": walker.ref(".__class__", type(value)),
            "function": walker.ref(".func", value.func),
            "args": walker.values(None, list(value.args)),
            "keywords": list(value.keywords),
            "values": walker.values([f"[{k!r}]" for k in value.keywords], list(value.keywords.values())),
            "dict": walker.ref("__dict__", vars(value)),
        }

    def create(self, node: Node, builder: Builder) -> object:
        made: object = builder.value(node.payload["type"])(len)
        return made

    def fill(self, node: Node, vessel: Any, builder: Builder) -> None:
        keywords = dict(zip(node.payload["keywords"], builder.values(node.payload["values"]), strict=True))
        arguments = tuple(builder.values(node.payload["args"]))
        function, names = builder.value(node.payload["function"]), builder.value(node.payload["dict"])
        vessel.__setstate__((function, arguments, keywords, names))


class WrapperKind(Kind):
    """staticmethod, classmethod and property: kept by identity, for the functions in them."""

    name = "wrapper"
    identity = True

    def capture(self, value: Any, walker: Walker) -> Payload:
        need_anchor(value, walker, f"a {type(value).__name__}")
        if isinstance(value, property):
            return {"inner": walker.values([".fget", ".fset", ".fdel"], [value.fget, value.fset, value.fdel])}
        return {"inner": walker.values([".__func__"], [value.__func__])}

    def accepts(self, node: Node, live: Any, builder: Builder) -> bool:
        return isinstance(live, (staticmethod, classmethod, property))


class ClassKind(Kind):
    """A class of the project: kept by identity, its data attributes by content."""

    name = "class"
    identity = True

    def capture(self, value: type, walker: Walker) -> Payload:
        found = find_global(value)
        if found is None:
            need_anchor(value, walker, f"the class {value.__qualname__}")
        data = class_data(value)
        bases = list(value.__bases__)
        return {
            "global": found,
            "names": list(data),
            "values": walker.values([f"[{name!r}]" for name in data], list(data.values())),
            "bases": walker.values([f".__bases__[{i}]" for i in range(len(bases))], bases),
        }

    def accepts(self, node: Node, live: Any, builder: Builder) -> bool:
        return isinstance(live, type)

    def create(self, node: Node, builder: Builder) -> object:
        found = node.payload["global"]
        cls = builder.value(found) if found is not None else None
        if not isinstance(cls, type):
            return super().create(node, builder)
        return cls

    def fill(self, node: Node, vessel: type, builder: Builder) -> None:
        present = class_data(vessel)
        wanted = dict(zip(node.payload["names"], builder.values(node.payload["values"]), strict=True))
        for name, value in wanted.items():
            if name not in present or present[name] is not value:
                type.__setattr__(vessel, name, value)
        for name in present.keys() - wanted.keys():
            if not callable(present[name]) and not isinstance(present[name], (staticmethod, classmethod, property)):
                type.__delattr__(vessel, name)


def class_data(cls: type) -> dict[str, Any]:
    """The attributes of a class that code can change: not its special names, not its slots."""
    return {
        name: value
        for name, value in vars(cls).items()
        if not (name.startswith("__") and name.endswith("__"))
        and name != "_abc_impl"
        and not isinstance(value, _CLASS_DATA_SKIPPED)
    }


class CacheKind(Kind):
    """A function under functools.lru_cache: saved where its cache is empty or as the prologue left it."""

    name = "cache"
    identity = True

    def capture(self, value: Any, walker: Walker) -> Payload:
        found = find_global(value)
        if found is None:
            need_anchor(value, walker, f"the cached function {value.__name__}")
        info = tuple(value.cache_info())
        if walker.copying() and info[3] and info != walker.facts.get(("cache", id(value))):
            raise Refusal("the cache of an lru_cache changed since the loop began")
        if not walker.copying():
            walker.facts["cache", id(value)] = info
        names = attributes(value)
        return {
            "global": found,
            "size": info[3],
            "function": walker.ref(".__wrapped__", value.__wrapped__),
            "dict": walker.ref("__dict__", names) if names is not None else None,
        }

    def accepts(self, node: Node, live: Any, builder: Builder) -> bool:
        return isinstance(live, functools._lru_cache_wrapper)

    def create(self, node: Node, builder: Builder) -> object:
        found = node.payload["global"]
        return builder.value(found) if found is not None else super().create(node, builder)

    def fill(self, node: Node, vessel: Any, builder: Builder) -> None:
        if not node.payload["size"]:
            vessel.cache_clear()
