# ruff: noqa: ARG002  (all kinds share their signatures)
"""What is inside of pandas frames and series: blocks of arrays, and who shares them (copy on write)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from logql.state.graph import Node, Payload
from logql.state.kinds.base import Kind

if TYPE_CHECKING:
    from logql.state.build import Builder
    from logql.state.walk import Walker


class ManagerKind(Kind):
    """The manager of a frame or series: its arrays by identity, so that what shares memory with them still does.

    pandas copies an array before it writes if another block refers to the same `BlockValuesRefs`; that is kept, too.
    """

    name = "pandas.manager"

    def capture(self, value: Any, walker: Walker) -> Payload:
        blocks, numbers = value.blocks, range(len(value.blocks))
        return {
            "type": walker.ref(".__class__", type(value)),
            "blocks": walker.values([f".blocks[{i}].__class__" for i in numbers], [type(one) for one in blocks]),
            "arrays": walker.values([f".blocks[{i}].values" for i in numbers], [one.values for one in blocks]),
            "places": [_as_list(one.mgr_locs) for one in blocks],
            "ndim": [one.ndim for one in blocks],
            "refs": walker.values([f".blocks[{i}].refs" for i in numbers], [one.refs for one in blocks]),
            "axes": walker.values([f".axes[{i}]" for i in range(len(value.axes))], list(value.axes)),
        }

    def create(self, node: Node, builder: Builder) -> object:
        cls = builder.value(node.payload["type"])
        return cls.__new__(cls, (), []) if len(node.payload["axes"]) > 1 else cls.__new__(cls)

    def fill(self, node: Node, vessel: Any, builder: Builder) -> None:
        payload = node.payload
        parts = [builder.values(payload[name]) for name in ("blocks", "arrays", "refs")]
        placed = zip(*parts, payload["places"], payload["ndim"], strict=True)
        vessel.axes = builder.values(payload["axes"])
        vessel.blocks = tuple(_block(cls, array, refs, place, ndim) for cls, array, refs, place, ndim in placed)
        if len(vessel.axes) > 1:
            vessel._known_consolidated = vessel._is_consolidated = False
            vessel._blknos = vessel._blklocs = None


def _as_list(places: Any) -> list[int]:
    """Where a block's rows are in a frame: first, behind the last, step; or each of them behind a zero."""
    indexer = places.indexer
    if isinstance(indexer, slice):
        return [indexer.start, indexer.stop, indexer.step or 1]
    return [0, 0, 0, *indexer.tolist()]


def _block(cls: Any, array: Any, refs: Any, place: list[int], ndim: int) -> Any:
    import numpy as np
    from pandas._libs.internals import BlockPlacement

    indexer = slice(*place) if place[2] else np.array(place[3:], dtype=np.intp)
    return cls(array, placement=BlockPlacement(indexer), ndim=ndim, refs=refs)


class SharingKind(Kind):
    """Tells the blocks that share an array: made anew, and entered by each block."""

    name = "pandas.refs"

    def capture(self, value: Any, walker: Walker) -> Payload:
        return {"type": walker.ref(".__class__", type(value))}

    def accepts(self, node: Node, live: Any, builder: Builder) -> bool:
        return False

    def create(self, node: Node, builder: Builder) -> object:
        made: object = builder.value(node.payload["type"])()
        return made
