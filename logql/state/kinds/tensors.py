# ruff: noqa: ARG002  (all kinds share their signatures)
"""torch: storages by content, tensors as windows on them (`windows`), generators."""

from __future__ import annotations

import ctypes
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from logql.state.errors import GraphNotSaved, Refusal
from logql.state.graph import Atom, Node, Payload
from logql.state.kinds.base import Kind
from logql.state.kinds.layout import attributes
from logql.state.kinds.windows import describe, is_described, may_become, rebuild

if TYPE_CHECKING:
    from logql.state.build import Builder
    from logql.state.walk import Walker

_DEVICES = ("cpu", "cuda")


class StorageKind(Kind):
    """The memory that tensors share."""

    name = "storage"

    def key(self, value: Any) -> object:
        return ("storage", value._cdata)

    def capture(self, value: Any, walker: Walker) -> Payload:
        key = self.key(value)
        dtype = walker.facts.get(key, "bytes")
        address = value.data_ptr() if value.device.type == "cpu" else None
        return {
            "device": str(value.device),
            "content": walker.buffer(key, dtype, value.nbytes(), address, lambda: _read(value)),
        }

    def accepts(self, node: Node, live: Any, builder: Builder) -> bool:
        same = str(live.device) == node.payload["device"]
        return same and bool(live.nbytes() == node.payload["content"].nbytes)

    def create(self, node: Node, builder: Builder) -> object:
        import torch

        made: object = torch.UntypedStorage(node.payload["content"].nbytes, device=node.payload["device"])
        return made

    def fill(self, node: Node, vessel: Any, builder: Builder) -> None:
        import torch

        data = node.payload["content"].bytes()
        if not len(data):
            return
        if vessel.device.type == "cpu":
            ctypes.memmove(vessel.data_ptr(), bytes(data), len(data))
            return
        with torch.no_grad():
            _window(vessel).copy_(torch.frombuffer(bytearray(data), dtype=torch.uint8))


def _window(storage: Any) -> Any:
    import torch

    return torch.empty(0, dtype=torch.uint8, device=storage.device).set_(storage)


def _read(storage: Any) -> memoryview:
    """The bytes of a storage, on the host."""
    if storage.device.type != "cpu":
        storage = _window(storage).cpu().untyped_storage()
    size = storage.nbytes()
    memory: Any = (ctypes.c_ubyte * size).from_address(storage.data_ptr()) if size else (ctypes.c_ubyte * 0)()
    memory._owner = storage
    return memoryview(memory).cast("B")


class TensorKind(Kind):
    """A tensor or parameter: where it lies in memory, its gradient, flags and attributes.

    An autograd graph cannot be saved. A tensor whose graph was used up by backward(), or that nothing reads again,
    comes back with its value and with a graph that raises GraphNotSaved when anything runs backward through it.
    """

    name = "tensor"

    def capture(self, value: Any, walker: Walker) -> Payload:
        import torch

        _refuse_exotic(value)
        if walker.restorable and value.is_inference():
            raise Refusal("a tensor made in inference mode")
        payload: Payload = {
            "type": walker.ref(".__class__", type(value)),
            **describe(value, walker),
            "requires_grad": value.requires_grad,
            "leaf": value.grad_fn is None,
            "grad": walker.ref(".grad", value.grad) if value.grad_fn is None else None,
        }
        if not walker.restorable:
            payload |= _graph_of(value, walker)
        elif walker.strict and value.grad_fn is not None and _can_run_backward(value.grad_fn):
            raise Refusal("a tensor whose autograd graph can still be run backward")
        names = attributes(value)
        if names:
            payload["dict"] = walker.ref("__dict__", names)
        for hooks in ("_backward_hooks", "_post_accumulate_grad_hooks"):
            held = getattr(value, hooks, None)
            if held:
                if not walker.is_anchored(value):
                    raise Refusal("a tensor with hooks that was made inside of the loop")
                payload[hooks] = walker.ref(f".{hooks}", held)
        if isinstance(value, torch.nn.Parameter) and value.grad_fn is not None:
            raise Refusal("a parameter that is not a leaf")
        return payload

    def accepts(self, node: Node, live: Any, builder: Builder) -> bool:
        if not super().accepts(node, live, builder):
            return False
        return may_become(live, node.payload, builder) and bool((live.grad_fn is None) == node.payload["leaf"])

    def create(self, node: Node, builder: Builder) -> object:
        import torch

        cls = builder.value(node.payload["type"])
        plain = rebuild(node.payload, builder)
        if not node.payload["leaf"]:
            lost: object = _lost_graph().apply(torch.empty(0, requires_grad=True), plain)
            return lost
        made: object = plain
        if cls is not torch.Tensor:
            made = torch.Tensor._make_subclass(cls, plain, node.payload["requires_grad"])
        return made

    def fill(self, node: Node, vessel: Any, builder: Builder) -> None:
        payload = node.payload
        if not is_described(vessel, payload, builder):
            if payload["leaf"]:
                vessel.grad = None
            vessel.data = rebuild(payload, builder)
        if payload["leaf"] and vessel.requires_grad != payload["requires_grad"]:
            vessel.requires_grad_(payload["requires_grad"])
        names = attributes(vessel)
        if "dict" in payload and builder.value(payload["dict"]) is not names:
            vessel.__dict__ = builder.value(payload["dict"])
        elif "dict" not in payload and names:
            names.clear()

    def finish(self, node: Node, vessel: Any, builder: Builder) -> None:
        if node.payload["leaf"]:
            grad = builder.value(node.payload["grad"])
            if vessel.grad is not grad:
                vessel.grad = grad


def _graph_of(value: Any, walker: Walker) -> Payload:
    """Which autograd graph a tensor has, and whether it is still as the graph knows it."""
    if value.grad_fn is None:
        return {}
    return {
        "graph": Atom(value.grad_fn),
        "version": value._version,
        "grad": walker.ref(".grad", value.grad) if value.retains_grad else None,
        "retains_grad": value.retains_grad,
    }


def _can_run_backward(function: Any) -> bool:
    """Whether some way through the graph reaches a leaf without meeting a node whose saved tensors were freed."""
    seen: set[Any] = set()
    todo = [function]
    while todo:
        node = todo.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        if hasattr(node, "variable"):
            return True
        if not _is_freed(node):
            todo += [following for following, _ in node.next_functions]
    return False


def _is_freed(node: Any) -> bool:
    for name in dir(node):
        if name.startswith("_saved_") or name == "saved_tensors":
            try:
                getattr(node, name)
            except RuntimeError:
                return True
            except Exception:
                continue
    return False


def _refuse_exotic(value: Any) -> None:
    import torch

    cls = type(value)
    if value.is_quantized or getattr(value, "is_nested", False):
        raise Refusal(f"a tensor of layout {value.layout}")
    if value.device.type not in _DEVICES:
        raise Refusal(f"a tensor on the device {value.device}")
    if cls.__torch_dispatch__ is not torch.Tensor.__torch_dispatch__:
        raise Refusal(f"a tensor of the class {cls.__name__}, which changes what operations do")
    exotic = ("has_names", "is_conj", "is_neg")
    if torch.nn.parameter.is_lazy(value) or any(getattr(value, test, bool)() for test in exotic):
        raise Refusal("an uninitialised, named, conjugated or negated tensor")


@lru_cache(maxsize=1)
def _lost_graph() -> Any:
    import torch

    class LostGraph(torch.autograd.Function):  # type: ignore[misc]
        """Gives a tensor a graph that cannot be run backward."""

        @staticmethod
        def forward(ctx: Any, anchor: Any, plain: Any) -> Any:  # noqa: ARG004
            return plain.detach()

        @staticmethod
        def backward(ctx: Any, *gradients: Any) -> Any:  # noqa: ARG004
            raise GraphNotSaved("this tensor's graph was built before the checkpoint that the replay started from")

    return LostGraph


class TorchGeneratorKind(Kind):
    """A torch.Generator, the default ones included."""

    name = "torch.Generator"

    def capture(self, value: Any, walker: Walker) -> Payload:
        state = value.get_state()
        content = ctypes.string_at(state.data_ptr(), state.numel())
        return {"device": str(value.device), "state": content}

    def accepts(self, node: Node, live: Any, builder: Builder) -> bool:
        return bool(str(live.device) == node.payload["device"])

    def create(self, node: Node, builder: Builder) -> object:
        import torch

        made: object = torch.Generator(node.payload["device"])
        return made

    def finish(self, node: Node, vessel: Any, builder: Builder) -> None:
        import torch

        vessel.set_state(torch.frombuffer(bytearray(node.payload["state"]), dtype=torch.uint8))
