"""Compares two states: leaf by leaf, and that the same objects are shared."""

from __future__ import annotations

import ctypes
import math
import sys
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast

from logql.state.codec import digest_of
from logql.state.graph import Address, Atom, Buffer, Graph, Node, Packed, Ref
from logql.state.kinds.values import PICKLE, same_value
from logql.state.packed import PackedView
from logql.state.ranks import arranged
from logql.state.readings import Reading, differ_in_time_only

if TYPE_CHECKING:
    from logql.state.restore import Loaded
    from logql.state.save import Saved


#: dtype, shape, stride and offset of a tensor's view on a storage
Window = list[Any]


#: What holds its items in an order by hash: text has another one in each process.
_UNORDERED = frozenset({"set", "frozenset"})

#: What a generator was seeded with, by the system where nobody seeded it; compared is the state that it came to.
_SEED = ("numpy.SeedSequence", "state")


@dataclass(frozen=True, slots=True)
class Comparison:
    """`equal`: bit for bit; `close`: within the tolerance; `path`: the first leaf that differs (or differs most).

    `compared` counts leaves. Variables that the code overwrites before it reads them are not compared, nor
    what depends on a clock.
    """

    equal: bool
    close: bool
    path: str | None
    compared: int


def compare(saved: Saved, loaded: Loaded | Saved, rtol: float, atol: float) -> Comparison:
    """Compare the state reached now with the recorded one of the same boundary."""
    comparing = _Comparing(saved.graph, loaded.graph, rtol, atol)
    comparing.run()
    path = comparing.beyond or comparing.within
    return Comparison(path is None, comparing.beyond is None, path, comparing.compared)


class _Comparing:
    def __init__(self, here: Graph, there: Graph, rtol: float, atol: float) -> None:
        self._here = here
        self._there = there
        self._tolerance = (rtol, atol)
        self._pairs: dict[Hashable, Hashable] = {}
        self._partners: dict[Hashable, Hashable] = {}
        self._todo: list[int] = []
        self._shown: dict[int, list[Window]] | None = None
        self.compared = 0
        self.within: str | None = None
        self.beyond: str | None = None

    def run(self) -> None:
        """Walk both graphs together from the roots that matter."""
        there = {root.name: root for root in self._there.roots if root.use == "needed"}
        for root in self._here.roots:
            if root.name in there:
                self._value(root.value, there[root.name].value, root.name)
                self._drain()

    def _drain(self) -> None:
        while self._todo:
            number = self._todo.pop()
            here, there = self._here.nodes[number], self._there.nodes[cast("int", self._pairs[number])]
            path = self._here.path(number)
            if here.kind == there.kind in _UNORDERED:
                self._members(here.payload["items"], there.payload["items"], path)
                continue
            if here.kind != there.kind or here.payload.keys() != there.payload.keys():
                self._differs(path)
                continue
            for name, value in here.payload.items():
                if (here.kind, name) != _SEED:
                    self._value(value, there.payload[name], path)

    def _value(self, here: Any, there: Any, path: str) -> None:
        kind = type(here)
        if kind is Reading or type(there) is Reading:
            return
        if kind is not type(there):
            self._differs(path)
        elif kind is Ref or kind is Address:
            self._reference(here, there, path)
        elif kind is list:
            self._sequence(here, there, path)
        elif kind is Packed:
            self._packed(here, there, path)
        else:
            self.compared += 1
            self._leaf(here, there, path)

    def _reference(self, here: Ref, there: Ref, path: str) -> None:
        if self._are_partners(int(here), int(there), path):
            self._todo.append(int(here))

    def _sequence(self, here: list[Any], there: list[Any], path: str) -> None:
        if len(here) != len(there):
            self._differs(path)
            return
        for a, b in zip(here, there, strict=True):
            self._value(a, b, path)

    def _members(self, here: list[Any] | Packed, there: list[Any] | Packed, path: str) -> None:
        """Compare the items of two sets, each with its like."""
        if isinstance(here, list) and isinstance(there, list):
            self._sequence(arranged(self._here, here), arranged(self._there, there), path)
        elif isinstance(here, Packed) and isinstance(there, Packed):
            self._packed(here, there, path, ordered=False)
        else:
            self._differs(path)

    def _packed(self, here: Packed, there: Packed, path: str, *, ordered: bool = True) -> None:
        self._sequence(here.classes, there.classes, path)
        if len(here.shared) == len(there.shared) and _same_content(here.content, there.content):
            self.compared += 1
            self._sequence(here.shared, there.shared, path)
            return
        one, other = PackedView(self._here, here), PackedView(self._there, there)
        todo: list[tuple[Any, Any]] = [
            (one.top, other.top) if ordered else (arranged(self._here, one.top), arranged(self._there, other.top))
        ]
        while todo:
            mine, theirs = todo.pop()
            if type(mine) is Ref is type(theirs):
                self._reference(mine, theirs, path)
            elif self._are_partners(one.identity(mine), other.identity(theirs), path):
                todo += self._inside(one.seen(mine), other.seen(theirs), path)

    def _are_partners(self, here: Hashable, there: Hashable, path: str) -> bool:
        """Whether two objects are to be compared: no longer if they were, and not if another was met for either."""
        if here is None or there is None:
            return True
        known = self._pairs.get(here)
        if known is None and there not in self._partners:
            self._pairs[here], self._partners[there] = there, here
            return True
        if known != there:
            self._differs(path)
        return False

    def _inside(self, here: Any, there: Any, path: str) -> list[tuple[Any, Any]]:
        """What two containers hold; anything else is compared at once."""
        if type(here) is not type(there) or not isinstance(here, list | tuple | dict):
            if hasattr(here, "tobytes") and hasattr(there, "tobytes"):
                self._arrays(here, there, path)
            else:
                self._value(here, there, path)
        elif len(here) != len(there):
            self._differs(path)
        elif isinstance(here, dict):
            pairs = zip([*here, *here.values()], [*there, *there.values()], strict=True)
            return list(pairs)
        else:
            return list(zip(here, there, strict=True))
        return []

    def _arrays(self, here: Any, there: Any, path: str) -> None:
        self.compared += 1
        left, right = memoryview(here.tobytes()), memoryview(there.tobytes())
        same = here.dtype == there.dtype and here.shape == there.shape
        if not same or left != right:
            self._differs(path, same and close_bytes(left, right, here.dtype.str, *self._tolerance))

    def _leaf(self, here: Any, there: Any, path: str) -> None:
        if type(here) is Atom:
            here, there = here.value, there.value
        if type(here) is Buffer:
            if not _same_content(here, there):
                self._compare_shown(here, there, path)
        elif not _same(here, there) and not differ_in_time_only(here, there):
            self._differs(path, self._close_numbers([here], [there]))

    def _compare_shown(self, here: Buffer, there: Buffer, path: str) -> None:
        """Compare what tensors show of a storage: behind that, memory holds whatever was there before."""
        if self._shown is None:
            self._shown = _windows(self._here)
        windows = self._shown.get(id(here))
        left, right = (_shown(buffer.bytes(), windows) for buffer in (here, there))
        if here.nbytes != there.nbytes or left != right:
            comparable = here.dtype == there.dtype != PICKLE and len(left) == len(right)
            self._differs(path, comparable and close_bytes(left, right, here.dtype, *self._tolerance))

    def _close_numbers(self, here: Iterable[Any], there: Iterable[Any]) -> bool:
        rtol, atol = self._tolerance
        return all(_near(a, b, rtol, atol) for a, b in zip(here, there, strict=True))

    def _differs(self, path: str, close: bool = False) -> None:
        if close:
            self.within = self.within or path
        else:
            self.beyond = self.beyond or path


def _windows(graph: Graph) -> dict[int, list[Window]]:
    """For each storage's buffer, by id, what tensors show of it; not of those that show through an array as well."""
    found: dict[int, list[Window]] = {}
    for node in graph.nodes:
        for storage, *window in _windows_of(node):
            windows = found.setdefault(id(graph.nodes[storage].payload["content"]), [])
            if window not in windows[-1:]:
                windows.append(window)
    for node in graph.nodes:
        if type(node.payload.get("tensor")) is Ref:
            storage = graph.nodes[graph.nodes[node.payload["tensor"]].payload["storage"]]
            found.pop(id(storage.payload["content"]), None)
    return found


def _windows_of(node: Node) -> list[list[Any]]:
    if type(node.payload.get("storage")) is Ref:
        return [[node.payload[name] for name in ("storage", "dtype", "shape", "stride", "offset")]]
    parts: list[list[Any]] = node.payload.get("parts", [])
    return parts


def _shown(memory: memoryview, windows: list[Window] | None) -> memoryview:
    if windows is None:
        return memory
    return memoryview(b"".join(_shown_by(memory, *window) for window in windows))


def _shown_by(memory: memoryview, dtype: str, shape: list[int], stride: list[int], first: int) -> memoryview:
    """The bytes from a window's first element to its last, without those between its rows."""
    if 0 in shape:
        return memory[:0]
    torch = sys.modules["torch"]
    kind = getattr(torch, dtype)
    last = first + sum((n - 1) * step for n, step in zip(shape, stride, strict=True)) + 1
    part = memory[first * kind.itemsize : last * kind.itemsize]
    if len(part) < (last - first) * kind.itemsize or math.prod(shape) >= last - first:
        return part
    elements = torch.frombuffer(bytearray(part), dtype=kind).as_strided(shape, stride).contiguous()
    return memoryview(ctypes.string_at(elements.data_ptr(), elements.nbytes))


def _same_content(here: Buffer, there: Buffer) -> bool:
    if here.nbytes == there.nbytes and digest_of(here) == digest_of(there):
        return True
    return here.dtype == there.dtype == PICKLE and same_value(here.bytes(), there.bytes())


def _same(here: Any, there: Any) -> bool:
    if type(here) is not type(there):
        return False
    if isinstance(here, float):
        return bool(here.hex() == there.hex())
    return here is there or bool(here == there)


def _near(here: Any, there: Any, rtol: float, atol: float) -> bool:
    if not isinstance(here, (float, complex)) or not isinstance(there, (float, complex)):
        return False
    if here != here or there != there:
        return here != here and there != there
    return here == there or (bool(abs(here - there) <= atol + rtol * abs(there)) and math.isfinite(abs(here)))


def close_bytes(here: memoryview, there: memoryview, dtype: str, rtol: float, atol: float) -> bool:
    """Whether two arrays of floating-point numbers agree within a tolerance; other dtypes never do."""
    if dtype == "bytes" or (dtype != "bfloat16" and dtype[1:2] not in "fc"):
        return False
    try:
        import numpy as np
    except ImportError:
        return False
    left, right = (_floats(np, memory, dtype) for memory in (here, there))
    return bool(np.allclose(left, right, rtol=rtol, atol=atol, equal_nan=True))


def _floats(np: Any, memory: memoryview, dtype: str) -> Any:
    if dtype == "bfloat16":
        return (np.frombuffer(memory, dtype="<u2").astype("<u4") << 16).view("<f4")
    return np.frombuffer(memory, dtype=dtype)
