# ruff: noqa: ARG002  (all kinds share their signatures)
"""jax: arrays by content and device, typed random keys, compiled functions by the Python function that they compile."""

from __future__ import annotations

import contextlib
import functools
import types
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from logql.errors import StateError
from logql.state.errors import Refusal
from logql.state.graph import Global, Node, Payload
from logql.state.kinds.base import Kind, find_global, need_anchor
from logql.state.kinds.extension import ExtensionKind

if TYPE_CHECKING:
    from logql.state.build import Builder
    from logql.state.walk import Walker

#: numpy's names of dtypes, for comparisons by value, where numpy's own do not tell them
_COMPARED_AS = {"bfloat16": "bfloat16"}


class JaxArrayKind(Kind):
    """An array on one device. It is immutable, so a restore makes it anew; one that was donated is made and deleted."""

    name = "jax.Array"

    def capture(self, value: Any, walker: Walker) -> Payload:
        payload: Payload = {"shape": list(value.shape), "dtype": value.dtype.name, "weak": value.weak_type}
        if value.is_deleted():
            return {**payload, "deleted": True}
        devices = value.devices()
        if len(devices) != 1:
            raise Refusal("a jax array on several devices")
        (device,) = devices
        dtype = _COMPARED_AS.get(value.dtype.name, value.dtype.str)
        return {
            **payload,
            "device": walker.ref(".device", device) if value.committed else None,
            "content": walker.buffer((id(value), "jax"), dtype, value.nbytes, None, lambda: _read(value)),
        }

    def accepts(self, node: Node, live: Any, builder: Builder) -> bool:
        return False

    def create(self, node: Node, builder: Builder) -> object:
        import jax
        import numpy as np

        payload = node.payload
        dtype = jax.numpy.dtype(payload["dtype"])
        if "deleted" in payload:
            gone: Any = jax.device_put(np.zeros(payload["shape"], dtype))
            gone.delete()
            return gone
        data = np.frombuffer(bytes(payload["content"].bytes()), dtype).reshape(payload["shape"])
        made: Any = jax.device_put(data, builder.value(payload["device"]))
        if bool(made.weak_type) != payload["weak"]:
            make, arguments = made.__reduce__()
            made = make(*arguments[:-1], {**arguments[-1], "weak_type": payload["weak"]})
        return made


def _read(array: Any) -> memoryview:
    """Its bytes, through a handle of its own: an array would keep the host's view, which stands in donation's way."""
    import numpy as np

    return memoryview(np.asarray(array.addressable_data(0)).tobytes())


class JaxKeyKind(Kind):
    """A typed random key: its implementation's name and its bits."""

    name = "jax.Key"

    def capture(self, value: Any, walker: Walker) -> Payload:
        import jax

        return {"implementation": str(jax.random.key_impl(value)), "data": walker.ref("", jax.random.key_data(value))}

    def accepts(self, node: Node, live: Any, builder: Builder) -> bool:
        return False

    def create(self, node: Node, builder: Builder) -> object:
        import jax

        made: object = jax.random.wrap_key_data(
            builder.value(node.payload["data"]), impl=node.payload["implementation"]
        )
        return made


class JaxDeviceKind(Kind):
    """A device, found again by its platform and number."""

    name = "jax.Device"

    def capture(self, value: Any, walker: Walker) -> Payload:
        return {"platform": value.platform, "id": value.id}

    def accepts(self, node: Node, live: Any, builder: Builder) -> bool:
        return _is_device(live, node)

    def create(self, node: Node, builder: Builder) -> object:
        import jax

        found = [device for device in jax.devices(node.payload["platform"]) if _is_device(device, node)]
        if not found:
            raise StateError(f"there is no device {node.payload['platform']}:{node.payload['id']} here")
        device: object = found[0]
        return device


def _is_device(value: Any, node: Node) -> bool:
    return (value.platform, value.id) == (node.payload["platform"], node.payload["id"])


class JaxRegistryKind(Kind):
    """A registry of the types that pytrees are made of: every process has the same few."""

    name = "jax.PyTreeRegistry"

    def capture(self, value: Any, walker: Walker) -> Payload:
        from jax._src import tree_util

        found = [name for name, held in vars(tree_util).items() if held is value]
        if not found:
            raise Refusal("a registry of pytrees of the program's own")
        return {"registry": Global(tree_util.__name__, found[0])}

    def accepts(self, node: Node, live: Any, builder: Builder) -> bool:
        return False

    def create(self, node: Node, builder: Builder) -> object:
        return builder.value(node.payload["registry"])


class JaxTreeKind(ExtensionKind):
    """The structure of a pytree: immutable, so that only a new one takes a state."""

    name = "jax.PyTreeDef"

    def accepts(self, node: Node, live: Any, builder: Builder) -> bool:
        return False


class JaxCompiledKind(Kind):
    """A function under `jax.jit`: kept by identity. What it has compiled is a cache, while what it reads stays.

    jax takes the values of variables that a traced function reads into the compiled code. Once such a variable has
    changed, calls go on with the old value, and a replay, which traces anew, would take the new one.
    """

    name = "jax.jit"
    identity = True

    def capture(self, value: Any, walker: Walker) -> Payload:
        found = find_global(value)
        if found is None:
            need_anchor(value, walker, f"the compiled function {getattr(value, '__qualname__', '')}")
        read = dict(_variables_read(value, walker))
        before = walker.facts.setdefault(("jax.jit", id(value)), read)
        for place in read.keys() & before.keys():
            if not _is_same(read[place], before[place]):
                raise Refusal(f"a function under jax.jit reads the variable {place[1]}, which changed in the loop")
        return {"global": found, "function": walker.ref(".__wrapped__", value.__wrapped__)}

    def accepts(self, node: Node, live: Any, builder: Builder) -> bool:
        return is_compiled(live)

    def create(self, node: Node, builder: Builder) -> object:
        found = node.payload["global"]
        return builder.value(found) if found is not None else super().create(node, builder)


def is_compiled(value: object) -> bool:
    """Whether `jax.jit` made it."""
    return type(value).__name__ == "PjitFunction" and type(value).__module__.split(".")[0] == "jaxlib"


_Place = tuple[int, str]


def _variables_read(compiled: object, walker: Walker) -> Iterator[tuple[_Place, object]]:
    """The variables that a function, and the project's functions that it names, read from outside of themselves."""
    seen: set[int] = set()
    todo = [compiled]
    while todo:
        function = _inner_function(todo.pop())
        if function is None or id(function) in seen or walker.is_atomic(function):
            continue
        seen.add(id(function))
        for name, value in _outer_variables(function):
            yield (id(function), name), value
            todo.append(value)


def _inner_function(value: Any) -> types.FunctionType | None:
    """The Python function in a compiled one, a partial or a method."""
    while not isinstance(value, types.FunctionType):
        if is_compiled(value):
            value = value.__wrapped__
        elif isinstance(value, (functools.partial, types.MethodType)):
            value = value.func if isinstance(value, functools.partial) else value.__func__
        else:
            return None
    return value


def _outer_variables(function: types.FunctionType) -> Iterator[tuple[str, object]]:
    for name, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        with contextlib.suppress(ValueError):
            yield name, cell.cell_contents
    for name in _names(function.__code__):
        if name in function.__globals__:
            yield name, function.__globals__[name]


@functools.lru_cache(maxsize=1024)
def _names(code: types.CodeType) -> frozenset[str]:
    """Names of globals and attributes in a function and the functions in it."""
    inner = [_names(part) for part in code.co_consts if isinstance(part, types.CodeType)]
    return frozenset(code.co_names).union(*inner)


def _is_same(here: object, there: object) -> bool:
    """Identity of objects; a plain value may be another object of the same value."""
    return here is there or (type(here) is type(there) and isinstance(here, (int, float, str)) and here == there)
