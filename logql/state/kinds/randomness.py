# ruff: noqa: ARG002  (all kinds share their signatures)
"""Random generators of the standard library and of numpy."""

from __future__ import annotations

import numbers
import random
from typing import TYPE_CHECKING, Any

from logql.state.graph import Node, Payload
from logql.state.kinds.base import Kind
from logql.state.kinds.layout import attributes

if TYPE_CHECKING:
    from logql.state.build import Builder
    from logql.state.walk import Walker


class RandomKind(Kind):
    """A random.Random."""

    name = "random"

    def capture(self, value: random.Random, walker: Walker) -> Payload:
        return {
            "type": walker.ref(".__class__", type(value)),
            "state": _listed(random.Random.getstate(value)),
            "dict": walker.ref("__dict__", attributes(value)),
        }

    def create(self, node: Node, builder: Builder) -> object:
        cls = builder.value(node.payload["type"])
        made: object = cls.__new__(cls)
        return made

    def finish(self, node: Node, vessel: random.Random, builder: Builder) -> None:
        version, words, gauss = node.payload["state"]
        random.Random.setstate(vessel, (version, tuple(words), gauss))


class RandomStateKind(Kind):
    """A numpy RandomState, the global one included."""

    name = "numpy.RandomState"

    def capture(self, value: Any, walker: Walker) -> Payload:
        state = value.get_state(legacy=False)
        return {"type": walker.ref(".__class__", type(value)), "state": _plain(state)}

    def accepts(self, node: Node, live: Any, builder: Builder) -> bool:
        if not super().accepts(node, live, builder):
            return False
        return bool(live.get_state(legacy=False)["bit_generator"] == _unplain(node.payload["state"])["bit_generator"])

    def create(self, node: Node, builder: Builder) -> object:
        import numpy as np

        name = _unplain(node.payload["state"])["bit_generator"]
        made: object = builder.value(node.payload["type"])(getattr(np.random, name)())
        return made

    def finish(self, node: Node, vessel: Any, builder: Builder) -> None:
        vessel.set_state(_unplain(node.payload["state"]))


class BitGeneratorKind(Kind):
    """A numpy bit generator with the sequence that seeds its children."""

    name = "numpy.BitGenerator"

    def capture(self, value: Any, walker: Walker) -> Payload:
        seed = value.seed_seq
        return {
            "type": walker.ref(".__class__", type(value)),
            "state": _plain(value.state),
            "seed": walker.ref(".seed_seq", seed) if _is_seed_sequence(seed) else None,
        }

    def accepts(self, node: Node, live: Any, builder: Builder) -> bool:
        if not super().accepts(node, live, builder):
            return False
        return node.payload["seed"] is None or live.seed_seq is builder.value(node.payload["seed"])

    def create(self, node: Node, builder: Builder) -> object:
        cls = builder.value(node.payload["type"])
        made: object = cls(builder.value(node.payload["seed"])) if node.payload["seed"] is not None else cls()
        return made

    def finish(self, node: Node, vessel: Any, builder: Builder) -> None:
        vessel.state = _unplain(node.payload["state"])


class SeedSequenceKind(Kind):
    """A numpy SeedSequence: fixed but for the number of children that it has spawned."""

    name = "numpy.SeedSequence"

    def capture(self, value: Any, walker: Walker) -> Payload:
        state = value.state
        return {
            "type": walker.ref(".__class__", type(value)),
            "state": _plain({**state, "entropy": _ints(state["entropy"]), "spawn_key": list(state["spawn_key"])}),
        }

    def accepts(self, node: Node, live: Any, builder: Builder) -> bool:
        saved = _unplain(node.payload["state"])
        state = live.state
        return (
            super().accepts(node, live, builder)
            and _ints(state["entropy"]) == saved["entropy"]
            and list(state["spawn_key"]) == saved["spawn_key"]
            and state["pool_size"] == saved["pool_size"]
            and state["n_children_spawned"] <= saved["n_children_spawned"]
        )

    def create(self, node: Node, builder: Builder) -> object:
        made: object = builder.value(node.payload["type"])(**_unplain(node.payload["state"]))
        return made

    def fill(self, node: Node, vessel: Any, builder: Builder) -> None:
        missing = _unplain(node.payload["state"])["n_children_spawned"] - vessel.n_children_spawned
        if missing > 0:
            vessel.spawn(missing)


class GeneratorKind(Kind):
    """A numpy Generator: a thin shell around its bit generator."""

    name = "numpy.Generator"

    def capture(self, value: Any, walker: Walker) -> Payload:
        return {
            "type": walker.ref(".__class__", type(value)),
            "bits": walker.ref(".bit_generator", value.bit_generator),
        }

    def accepts(self, node: Node, live: Any, builder: Builder) -> bool:
        return super().accepts(node, live, builder) and live.bit_generator is builder.value(node.payload["bits"])

    def create(self, node: Node, builder: Builder) -> object:
        made: object = builder.value(node.payload["type"])(builder.value(node.payload["bits"]))
        return made


def _is_seed_sequence(value: object) -> bool:
    return type(value).__name__ == "SeedSequence"


def _ints(value: Any) -> Any:
    if value is None:
        return None
    return int(value) if isinstance(value, numbers.Integral) else [int(v) for v in value]


def _listed(value: Any) -> Any:
    return [_listed(v) for v in value] if isinstance(value, tuple) else value


def _plain(state: dict[str, Any]) -> list[Any]:
    """A nested dict of numbers and arrays as nested lists of pairs."""
    pairs: list[Any] = []
    for name, value in state.items():
        if isinstance(value, dict):
            pairs.append([name, "dict", _plain(value)])
        elif hasattr(value, "tobytes") and len(value.shape):
            pairs.append([name, value.dtype.str, value.tobytes()])
        else:
            pairs.append([name, "", value.item() if hasattr(value, "item") else value])
    return pairs


def _unplain(pairs: list[Any]) -> dict[str, Any]:
    state: dict[str, Any] = {}
    for name, form, value in pairs:
        if form == "dict":
            state[name] = _unplain(value)
        elif form:
            import numpy as np

            state[name] = np.frombuffer(value, dtype=form).copy()
        else:
            state[name] = value
    return state


__all__ = ["BitGeneratorKind", "GeneratorKind", "RandomKind", "RandomStateKind", "SeedSequenceKind"]
