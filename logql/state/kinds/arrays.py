"""numpy arrays: owners of memory by content and layout, views by their base."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from logql.state.errors import Refusal
from logql.state.graph import Atom, Node, Payload
from logql.state.kinds.base import Kind
from logql.state.kinds.layout import attributes

if TYPE_CHECKING:
    from logql.state.build import Builder
    from logql.state.walk import Walker


class ArrayKind(Kind):
    """A numpy array of any dtype and layout, or of a subclass whose extra state is its `__dict__`."""

    name = "array"

    def capture(self, value: Any, walker: Walker) -> Payload:
        import numpy as np

        raw: Any = np.ndarray.view(value, np.ndarray)
        payload: Payload = {
            "type": walker.ref(".__class__", type(value)),
            "dtype": _dtype(raw.dtype),
            "shape": list(raw.shape),
            "strides": list(raw.strides),
            "writeable": raw.flags.writeable if value.base is None else value.flags.writeable,
        }
        names = attributes(value)
        if names is not None:
            payload["dict"] = walker.ref("__dict__", names)
        payload.update(self._memory(value, raw, walker))
        return payload

    def _memory(self, value: Any, raw: Any, walker: Walker) -> Payload:
        import numpy as np

        base = value.base
        if isinstance(value, np.memmap):
            raise Refusal("a memory-mapped array changes a file")
        if isinstance(base, np.ndarray):
            if raw.dtype.hasobject and not walker.is_anchored(value) and not _is_packed(raw):
                raise Refusal("a view of an array of objects that leaves some out")
            return {"base": walker.ref(".base", base), "offset": _address(raw) - _address(base)}
        if type(base).__module__.startswith("torch"):
            storage = base.untyped_storage()
            return {"tensor": walker.ref(".base", base), "offset": _address(raw) - storage.data_ptr()}
        if base is not None and type(base).__name__ != "PyCapsule" and not isinstance(base, bytes):
            raise Refusal(f"an array over the memory of an object of type {type(base).__name__}")
        if raw.dtype.hasobject:
            if raw.dtype != object:
                raise Refusal("a structured array with objects in it")
            return {"items": walker.many(raw.ravel().tolist())}
        if raw.dtype.kind == "T":
            raise Refusal("an array of variable-length strings")
        flat = _flat(raw)
        name = raw.dtype.str if raw.dtype.fields is None else "bytes"
        return {
            "content": walker.buffer(
                (id(value), "array"),
                name,
                raw.nbytes,
                _address(raw),
                lambda: memoryview(_without_gaps(flat, raw.dtype)),
            )
        }

    def accepts(self, node: Node, live: Any, builder: Builder) -> bool:
        payload = node.payload
        if not super().accepts(node, live, builder) or live.dtype != _as_dtype(payload["dtype"], builder):
            return False
        if not _same_layout(live, payload):
            return False
        if "base" in payload:
            base = builder.value(payload["base"])
            return live.base is base and _address(live) - _address(base) == payload["offset"]
        if "tensor" in payload:
            return _over_tensor(live, builder.value(payload["tensor"]), payload["offset"])
        return live.base is None or type(live.base).__name__ == "PyCapsule"

    def create(self, node: Node, builder: Builder) -> object:
        import numpy as np

        payload = node.payload
        cls, dtype = builder.value(payload["type"]), _as_dtype(payload["dtype"], builder)
        shape, strides = tuple(payload["shape"]), tuple(payload["strides"])
        if "base" in payload:
            return _view_of(builder.value(payload["base"]), cls, dtype, shape, strides, payload["offset"])
        if "tensor" in payload:
            return _tensor_view(builder.value(payload["tensor"]), dtype, shape, strides, payload["offset"])
        if cls is not np.ndarray:
            return np.ndarray.__new__(cls, shape, dtype, order="F" if _is_fortran(shape, strides) else "C")
        return _empty(dtype, shape, strides)

    def fill(self, node: Node, vessel: Any, builder: Builder) -> None:
        import numpy as np

        payload = node.payload
        raw: Any = np.ndarray.view(vessel, np.ndarray)
        if "content" in payload or "items" in payload:
            if not vessel.flags.writeable:
                vessel.flags.writeable = True
                raw = np.ndarray.view(vessel, np.ndarray)
            _pour(raw, payload, builder)
        if vessel.flags.writeable != payload["writeable"]:
            vessel.flags.writeable = payload["writeable"]
        if "dict" in payload and attributes(vessel) is not builder.value(payload["dict"]):
            object.__setattr__(vessel, "__dict__", builder.value(payload["dict"]))


def _pour(raw: Any, payload: Payload, builder: Builder) -> None:
    import numpy as np

    if "items" in payload:
        flat = np.empty(raw.size, dtype=object)
        for i, item in enumerate(builder.values(payload["items"])):
            flat[i] = item
        raw[...] = flat.reshape(raw.shape)
        return
    if raw.nbytes:
        _flat(raw)[:] = np.frombuffer(payload["content"].bytes(), dtype=np.uint8)


def _flat(raw: Any) -> Any:
    """The memory of an owning array as bytes, in the order in which it lies; a view."""
    import numpy as np

    return _in_memory_order(raw).reshape(-1).view(np.uint8)


def _in_memory_order(raw: Any) -> Any:
    if raw.flags.c_contiguous:
        return raw
    axes = sorted(range(raw.ndim), key=lambda axis: (-raw.strides[axis], axis))
    ordered = raw.transpose(axes)
    if not ordered.flags.c_contiguous:
        raise Refusal("an array whose memory has gaps")
    return ordered


def _without_gaps(flat: Any, dtype: Any) -> Any:
    """The memory of structs with zeros between their fields, where copies of an array hold whatever was there."""
    import numpy as np

    if dtype.fields is None:
        return flat
    used = np.zeros(dtype.itemsize, bool)
    _mark_fields(used, dtype, 0)
    return flat if used.all() else np.where(used, flat.reshape(-1, dtype.itemsize), np.uint8(0)).reshape(-1)


def _mark_fields(used: Any, dtype: Any, start: int) -> None:
    inner, shape = dtype.subdtype or (dtype, ())
    if inner.fields is None:
        used[start : start + dtype.itemsize] = True
        return
    for item in range(math.prod(shape)):
        for part, offset, *_ in inner.fields.values():
            _mark_fields(used, part, start + item * inner.itemsize + offset)


def _is_packed(raw: Any) -> bool:
    """Whether an array takes a part of its base's memory without gaps, row by row."""
    return bool(raw.flags.c_contiguous)


def _empty(dtype: Any, shape: tuple[int, ...], strides: tuple[int, ...]) -> Any:
    """A new owner with the order of axes that `strides` has."""
    import numpy as np

    axes = sorted(range(len(shape)), key=lambda axis: (-strides[axis], axis))
    packed = np.empty([shape[axis] for axis in axes], dtype)
    return np.empty_like(packed.transpose(np.argsort(axes)) if axes else packed, order="K")


def _view_of(base: Any, cls: Any, dtype: Any, shape: Any, strides: Any, offset: int) -> Any:
    import numpy as np

    owner = _owner(np.ndarray.view(base, np.ndarray))
    start = offset + _address(base) - _address(owner)
    if owner.dtype.hasobject:
        first = start // owner.dtype.itemsize
        made = _in_memory_order(owner).reshape(-1)[first : first + math.prod(shape)].reshape(shape)
    else:
        made = np.ndarray(shape, dtype, _flat(owner), start, strides)
    return made if cls is np.ndarray else made.view(cls)


def _owner(array: Any) -> Any:
    import numpy as np

    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def _tensor_view(tensor: Any, dtype: Any, shape: Any, strides: Any, offset: int) -> Any:
    import numpy as np

    whole = tensor.detach().new_empty(0).set_(tensor.untyped_storage()).numpy()
    return np.ndarray(shape, dtype, whole, offset, strides)


def _over_tensor(live: Any, tensor: Any, offset: int) -> bool:
    storage = tensor.untyped_storage()
    return bool(_address(live) - storage.data_ptr() == offset)


def _address(array: Any) -> int:
    return int(array.__array_interface__["data"][0])


def _same_layout(live: Any, payload: Payload) -> bool:
    shape, strides = payload["shape"], payload["strides"]
    if list(live.shape) != shape:
        return False
    return all(n <= 1 or a == b for n, a, b in zip(shape, live.strides, strides, strict=True))


def _is_fortran(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    return len(shape) > 1 and strides[0] < strides[-1]


def _dtype(dtype: Any) -> object:
    """Its name where numpy finds it again by that; extension dtypes such as bfloat16 share names with others."""
    import numpy as np

    plain = dtype.fields is None and dtype.metadata is None and dtype.subdtype is None
    return dtype.str if plain and np.dtype(dtype.str) == dtype else Atom(dtype)


def _as_dtype(saved: Any, builder: Builder) -> Any:
    import numpy as np

    return np.dtype(builder.value(saved))
