# ruff: noqa: ARG002  (all kinds share their signatures)
"""Objects whose contents are not state of the training, and those that can never be saved."""

from __future__ import annotations

import threading
import types
from typing import TYPE_CHECKING, Any

from logql.state.errors import Refusal
from logql.state.graph import Node, Payload
from logql.state.kinds.base import Kind, need_anchor

if TYPE_CHECKING:
    from logql.state.build import Builder
    from logql.state.walk import Walker

#: Packages whose objects, and those of classes derived from them, only receive what the training tells them.
SINKS = frozenset({"logging", "tqdm", "tensorboardX", "wandb", "mlflow", "aim", "comet_ml", "neptune", "rich", "logql"})
SINK_MODULES = ("torch.utils.tensorboard", "tensorboard.")
#: Those that have objects of other types in a replay, where they are silenced.
TRACKERS = frozenset({"tensorboardX", "wandb", "mlflow", "aim", "comet_ml", "neptune"})
#: Modules whose own objects never change.
CONSTANTS = frozenset({"typing", "abc", "_abc", "inspect", "typing_extensions", "contextvars", "_contextvars"})


class OpaqueKind(Kind):
    """A logger, a progress bar, a tracker, a stream of the process: kept by identity, not looked into."""

    name = "opaque"
    identity = True

    def capture(self, value: Any, walker: Walker) -> Payload:
        need_anchor(value, walker, f"an object of type {type_name(value)}")
        return {"type_name": _family(value)}

    def accepts(self, node: Node, live: Any, builder: Builder) -> bool:
        return bool(_family(live) == node.payload["type_name"])


class LockKind(Kind):
    """A lock that nobody holds."""

    name = "lock"

    def capture(self, value: Any, walker: Walker) -> Payload:
        if not value.acquire(blocking=False):
            raise Refusal("a lock is held")
        value.release()
        return {"reentrant": isinstance(value, type(threading.RLock()))}

    def accepts(self, node: Node, live: Any, builder: Builder) -> bool:
        return isinstance(live, type(threading.RLock()) if node.payload["reentrant"] else type(threading.Lock()))

    def create(self, node: Node, builder: Builder) -> object:
        return threading.RLock() if node.payload["reentrant"] else threading.Lock()


class SentinelKind(Kind):
    """A bare `object()`."""

    name = "sentinel"

    def capture(self, value: Any, walker: Walker) -> Payload:
        return {}

    def accepts(self, node: Node, live: Any, builder: Builder) -> bool:
        return type(live) is object

    def create(self, node: Node, builder: Builder) -> object:
        return object()


class RefusedKind(Kind):
    """Generators, iterators, threads, frames and the like: their state cannot be read."""

    name = "refused"
    identity = True

    def capture(self, value: Any, walker: Walker) -> Payload:
        raise Refusal(f"an object of type {type_name(value)} cannot be saved")


REFUSED_TYPES = (
    types.GeneratorType,
    types.CoroutineType,
    types.AsyncGeneratorType,
    types.FrameType,
    types.TracebackType,
    memoryview,
    threading.Thread,
)


def type_name(value: object) -> str:
    """Module and name of an object's type."""
    cls = type(value)
    return cls.__qualname__ if cls.__module__ == "builtins" else f"{cls.__module__}.{cls.__qualname__}"


def _family(value: object) -> str:
    """The package of a tracker's object, else the name of its type."""
    packages = (cls.__module__.split(".")[0] for cls in type(value).__mro__)
    return next((package for package in packages if package in TRACKERS), type_name(value))


def is_sink(value: object) -> bool:
    """Whether an object's content is known not to matter to what the program computes."""
    if isinstance(value, types.GeneratorType):
        return str(value.gi_frame and value.gi_frame.f_globals.get("__name__", "")).split(".")[0] in ("logql", "tqdm")
    if type(value).__module__ in CONSTANTS:
        return True
    modules = [cls.__module__ for cls in type(value).__mro__]
    return any(name.split(".")[0] in SINKS or name.startswith(SINK_MODULES) for name in modules)
