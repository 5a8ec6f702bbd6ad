"""What was reachable when a loop began: the anchor for everything that is written in place later."""

from __future__ import annotations

import ctypes
import functools
import weakref
from collections.abc import Callable, Mapping
from typing import Any

from logql.errors import StateError
from logql.state.errors import Refusal
from logql.state.graph import Buffer, Node
from logql.state.roots import Roots
from logql.state.select import KINDS
from logql.state.settings import read_settings
from logql.state.walk import Edges, Walker

_RANDOM_KINDS = ("random", "numpy.RandomState", "numpy.BitGenerator", "torch.Generator")


class Prologue:
    """Identities of all objects reachable at the start of a main loop, before `iter()` is called on its iterable.

    Recording: make one at the loop's first `next()`, before `iter(iterable)`, and pass it to every `save` of that
    loop. It keeps data alive nowhere. Where a list or an array has the id that another had, the other is gone, and
    its counterpart in a replay may well take the contents; code and open files are told apart by weak references.

    Replaying: make one with `keep=True` at the very same instant, before `Loaded.set_random_states` and `iter()`, and
    pass it to every `restore` in that loop: it finds the live objects although the program has moved on.
    """

    def __init__(self, roots: Roots, *, keep: bool = False, limit_s: float | None = None) -> None:
        """Raises Overlong where looking at it all takes more than `limit_s` of CPU time."""
        edges: dict[int, Edges] | None = {} if keep else None
        walker = Walker(roots.selection, edges=edges, limit_s=limit_s)
        for root in roots.roots:
            if root.role != "item":
                walker.root(root.name, root.value, strict=False)
        self._numbers = {key: number for number, key in enumerate(walker.keys)}
        self._owners = {
            number: _weakly(walker.objects[number])
            for number, node in enumerate(walker.nodes)
            if KINDS[node.kind].identity
        }
        self._types = [type(value) for value in walker.objects]
        self.places = [(node.parent, node.step) for node in walker.nodes]
        self.entry = [_state_alone(node, number) for number, node in enumerate(walker.nodes) if _is_random(node)]
        self.globals: dict[str, list[str]] = {}
        for root in roots.roots:
            if root.role == "global":
                self.globals.setdefault(root.module, []).append(root.variable)
        self.present = {name: frozenset(names) for name, names in roots.namespaces.items()}
        self.facts = walker.facts
        self.settings = read_settings()
        self.progress = roots.progress
        self.copies = Copies()
        self._edges = edges
        self._objects = walker.objects if keep else None
        self._selection = roots.selection

    def anchor(self, key: object, value: object) -> int | None:
        """The number that an object had in the prologue, or None if it is new."""
        number = self._numbers.get(key)
        if number is None or self._types[number] is not type(value):
            return None
        owner = self._owners.get(number)
        return number if owner is None or owner() is value else None

    def note_random_states(self) -> None:
        """Take those of now for the ones at the loop's start: a replay gave the generators what the original had."""
        walker = Walker(self._selection)
        for node in self.entry:
            if self._objects is not None and node.anchor is not None:
                captured = KINDS[node.kind].capture(self._objects[node.anchor], walker)
                node.payload["state"] = captured["state"]

    def find(self, places: Mapping[int, tuple[int, str]]) -> dict[int, object]:
        """Live objects at places that were noted in another process; a place that leads nowhere is left out."""
        if self._edges is None or self._objects is None:
            raise StateError("the prologue of a replay must keep its objects")
        here: dict[int, int] = {-1: -1}

        def locate(anchor: int) -> int | None:
            if anchor not in here:
                parent, step = places[anchor]
                owner = locate(parent)
                number = None if owner is None else (self._edges or {}).get(owner, {}).get(step)
                here[anchor] = -2 if number is None else number
            return None if here[anchor] == -2 else here[anchor]

        found = {anchor: locate(anchor) for anchor in sorted(places)}
        return {anchor: self._objects[number] for anchor, number in found.items() if number is not None}


def _weakly(value: object) -> Callable[[], object]:
    try:
        return weakref.ref(value)
    except TypeError:
        return lambda: value


def _is_random(node: Node) -> bool:
    return node.kind in _RANDOM_KINDS and "state" in node.payload


def _state_alone(node: Node, number: int) -> Node:
    return Node(node.kind, node.parent, node.step, {"state": node.payload["state"]}, number)


def set_random_states(entry: list[Node], live: Mapping[int, object]) -> None:
    """Give the random generators among `live` the states that they had when the loop began."""
    for node in entry:
        if node.anchor in live:
            KINDS[node.kind].finish(node, live[node.anchor], None)  # type: ignore[arg-type, index]


class Copies:
    """Copies of memory for one loop's checkpoints. What did not change since the last one is not copied again."""

    def __init__(self) -> None:
        self._last: dict[object, Buffer] = {}
        self._now: dict[object, Buffer] = {}
        self.copied = 0
        self._limit = 0

    def begin(self) -> None:
        """Start a checkpoint."""
        self._now = {}
        self.copied = 0
        self._limit = _free_memory() // 2

    def end(self) -> None:
        """Keep this checkpoint's copies for the next one to compare with."""
        self._last = self._now

    def copy(self, key: object, dtype: str, nbytes: int, address: int | None, read: Callable[[], memoryview]) -> Buffer:
        """A buffer with the live bytes; the former one if they are the same."""
        old = self._last.get(key)
        if old is not None and (old.nbytes != nbytes or old.dtype != dtype or old.data is None):
            old = None
        if old is not None and address is not None and _same_memory(address, old.data):
            self._now[key] = old
            return old
        self.copied += nbytes
        if self.copied > self._limit:
            raise Refusal("the state is larger than half of the free memory")
        data = memoryview(bytes(read())) if address is not None else read()
        if old is not None and address is None and old.data == data:
            self._now[key] = old
            return old
        made = self._now[key] = Buffer(dtype, nbytes, data)
        return made


def _same_memory(address: int, data: memoryview | None) -> bool:
    assert data is not None
    return bool(_memcmp()(address, data.obj, len(data)) == 0)


@functools.lru_cache(maxsize=1)
def _memcmp() -> Any:
    compare = ctypes.CDLL(None).memcmp
    compare.argtypes = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_size_t)
    compare.restype = ctypes.c_int
    return compare


def _free_memory() -> int:
    try:
        with open("/proc/meminfo", encoding="ascii") as lines:
            for line in lines:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return 1 << 40
