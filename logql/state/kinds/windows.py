"""How a tensor lies in memory: a dense one is a window on a storage, a sparse one several, by its layout."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from logql.state.errors import Refusal
from logql.state.graph import Payload

if TYPE_CHECKING:
    from logql.state.build import Builder
    from logql.state.walk import Walker

#: numpy's names of dtypes, for comparisons by value
_COMPARED_AS = {
    "float32": "<f4", "float64": "<f8", "float16": "<f2", "bfloat16": "bfloat16",
    "complex64": "<c8", "complex128": "<c16",
}  # fmt: skip

#: the dense tensors that a sparse one consists of, by the methods that give them
_PARTS = {
    "sparse_coo": ("_indices", "_values"),
    "sparse_csr": ("crow_indices", "col_indices", "values"),
    "sparse_csc": ("ccol_indices", "row_indices", "values"),
    "sparse_bsr": ("crow_indices", "col_indices", "values"),
    "sparse_bsc": ("ccol_indices", "row_indices", "values"),
}


def describe(value: Any, walker: Walker) -> Payload:
    """Everything that makes a tensor but its flags and its gradient; raises Refusal for other layouts."""
    layout = _plain(value.layout)
    if layout == "strided":
        names = ("storage", "dtype", "shape", "stride", "offset")
        return dict(zip(names, _window(value, "", walker), strict=True))
    if layout not in _PARTS:
        raise Refusal(f"a tensor of layout {value.layout}")
    return {
        "layout": layout,
        "dtype": _plain(value.dtype),
        "shape": list(value.shape),
        "coalesced": layout == "sparse_coo" and value.is_coalesced(),
        "parts": [_window(part, f".{name}()", walker) for name, part in _parts(value)],
    }


def is_described(tensor: Any, payload: Payload, builder: Builder) -> bool:
    """Whether a tensor of the same kind already lies where the saved one did."""
    if "parts" not in payload:
        return _is_window(tensor, _dense(payload), builder)
    same = list(tensor.shape) == payload["shape"] and payload["coalesced"] == _is_coalesced(tensor)
    parts = zip(_parts(tensor), payload["parts"], strict=True)
    return same and all(_is_window(part, window, builder) for (_, part), window in parts)


def may_become(tensor: Any, payload: Payload, builder: Builder) -> bool:
    """Whether a live tensor can be given the saved one's memory."""
    storage = builder.value(payload["parts"][0][0] if "parts" in payload else payload["storage"])
    same = _plain(tensor.layout) == payload.get("layout", "strided") and _plain(tensor.dtype) == payload["dtype"]
    return same and bool(tensor.device == storage.device)


def rebuild(payload: Payload, builder: Builder) -> Any:
    """A new tensor over the saved memory."""
    import torch

    if "parts" not in payload:
        return _open(_dense(payload), builder)
    parts = [_open(window, builder) for window in payload["parts"]]
    if payload["layout"] == "sparse_coo":
        return torch.sparse_coo_tensor(
            *parts, payload["shape"], is_coalesced=payload["coalesced"], check_invariants=False
        )
    layout = getattr(torch, payload["layout"])
    return torch.sparse_compressed_tensor(*parts, payload["shape"], layout=layout, check_invariants=False)


def _plain(name: object) -> str:
    """A torch dtype or layout by its own name."""
    return str(name).removeprefix("torch.")


def _parts(value: Any) -> list[tuple[str, Any]]:
    detached = value.detach()
    return [(name, getattr(detached, name)()) for name in _PARTS[_plain(value.layout)]]


def _is_coalesced(tensor: Any) -> bool:
    return _plain(tensor.layout) == "sparse_coo" and bool(tensor.is_coalesced())


def _dense(payload: Payload) -> list[Any]:
    return [payload[name] for name in ("storage", "dtype", "shape", "stride", "offset")]


def _window(value: Any, step: str, walker: Walker) -> list[Any]:
    """Storage, dtype, shape, stride and offset of a dense tensor."""
    storage = value.untyped_storage()
    dtype = _plain(value.dtype)
    walker.facts.setdefault(("storage", storage._cdata), _COMPARED_AS.get(dtype, "bytes"))
    reference = walker.ref(f"{step}.storage", storage)
    return [reference, dtype, list(value.shape), list(value.stride()), value.storage_offset()]


def _is_window(tensor: Any, window: list[Any], builder: Builder) -> bool:
    storage, dtype, shape, stride, offset = window
    return bool(
        tensor.untyped_storage()._cdata == builder.value(storage)._cdata
        and _plain(tensor.dtype) == dtype
        and list(tensor.shape) == shape
        and list(tensor.stride()) == stride
        and tensor.storage_offset() == offset
    )


def _open(window: list[Any], builder: Builder) -> Any:
    import torch

    saved, dtype, shape, stride, offset = window
    storage = builder.value(saved)
    empty = torch.empty(0, dtype=getattr(torch, dtype), device=storage.device)
    with torch.no_grad():
        return empty.set_(storage, offset, shape, stride)
