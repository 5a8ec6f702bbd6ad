"""The one pass over all that is reachable: numbers every object and lets its kind capture it."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from logql.state.errors import Overlong, Refusal
from logql.state.graph import LEAVES, Atom, Buffer, Node, Packed, Ref, join_path
from logql.state.packed import MANY, pack

if TYPE_CHECKING:
    from logql.state.kinds.base import Kind

#: The clock is read at every so many-th object (a mask).
_LOOK_AT_CLOCK = 1023

#: (kind to use, key that identifies the object where id() does not)
Selector = Callable[[object], "Kind"]
Edges = dict[str, int]
#: (key, dtype, bytes, address or None, reader) -> a copy
Copier = Callable[[object, str, int, int | None, Callable[[], memoryview]], Buffer]


class Walker:
    """Walks live objects breadth first from the roots that it is given.

    `copies` turns memory into a `Buffer`; None only looks (no memory is copied). With `edges`, every step from every
    object is kept, objects included, so that paths can be followed later although the program has moved on. What is
    not `restorable` is only compared with another walk of this process, so that identities will do.
    """

    def __init__(
        self,
        select: Selector,
        *,
        copies: Copier | None = None,
        anchored: Callable[[object, object], int | None] | None = None,
        edges: dict[int, Edges] | None = None,
        facts: dict[object, Any] | None = None,
        limit_s: float | None = None,
        restorable: bool = True,
    ) -> None:
        self.restorable = restorable
        self._limit = limit_s
        self._deadline = None if limit_s is None else time.thread_time() + limit_s
        self.nodes: list[Node] = []
        self.objects: list[object] = []
        self.keys: list[object] = []
        self.facts: dict[object, Any] = {} if facts is None else dict(facts)
        self.memory: list[tuple[int, int, int]] = []
        self.strict = False
        self._index: dict[object, int] = {}
        self._classes: dict[int, tuple[object, Any]] = {}
        self._select = select
        self._copies = copies
        self._anchored = anchored
        self._edges = edges
        self._current = -1
        self._next = 0

    def root(self, name: str, value: object, *, strict: bool = True) -> Any:
        """Capture everything reachable from `value` and return its reference; `strict` if it may be used as it is."""
        self.strict = strict
        self._current = -1
        reference = self.ref(name, value)
        self._drain()
        return reference

    def try_root(
        self, name: str, value: object, *, strict: bool, check: Callable[[Walker], None]
    ) -> tuple[Any, Refusal | None]:
        """Like `root`, but an object that refuses takes back only what this root added.

        So does `check`, which is asked where it added memory.
        """
        mark, owned = len(self.nodes), len(self.memory)
        try:
            reference = self.root(name, value, strict=strict)
            if len(self.memory) > owned:
                check(self)
            return reference, None
        except Refusal as refusal:
            for key in self.keys[mark:]:
                del self._index[key]
            del self.nodes[mark:], self.objects[mark:], self.keys[mark:]
            self.memory = [owned for owned in self.memory if owned[2] < mark]
            self._next = mark
            return None, refusal

    def ref(self, step: str, value: object) -> Any:
        """The saved form of a value that the object at hand reaches by `step`: itself, an `Atom` or a `Ref`."""
        if type(value) in LEAVES:
            return value
        known = self._classes.get(id(value))
        if known is not None:
            return known[1]
        kind = self._select(value)
        if kind.atomic:
            return self._atom(kind, value)
        key = kind.key(value)
        number = self._index.get(key)
        if number is None:
            number = self._add(kind, key, step, value)
        if self._edges is not None:
            self._edges.setdefault(self._current, {})[step] = number
        return Ref(number)

    def values(self, steps: list[str] | None, values: list[Any]) -> list[Any]:
        """Saved forms of a sequence; `steps` None means `[0]`, `[1]`, ... A list of plain values costs one C pass."""
        if LEAVES.issuperset(map(type, values)):
            return values
        if steps is None:
            return [v if type(v) in LEAVES else self.ref(f"[{i}]", v) for i, v in enumerate(values)]
        return [v if type(v) in LEAVES else self.ref(s, v) for s, v in zip(steps, values, strict=True)]

    def many(
        self, values: list[Any], part: str = "items", label: Callable[[int], str] = "[{}]".format
    ) -> list[Any] | Packed:
        """Saved forms of what a mutable container holds as its `part`, in one piece where it is much.

        `values` is a new list of all of it, each as often as the container holds it; `label` names the steps.
        """
        if LEAVES.issuperset(map(type, values)):
            return values
        if len(values) >= MANY:
            return pack(values, self, part, label)
        return [v if type(v) in LEAVES else self.ref(label(i), v) for i, v in enumerate(values)]

    def part_key(self, part: str) -> object:
        """What identifies a part of the object at hand while it lives."""
        return id(self.objects[self._current]), part

    def look_at_clock(self) -> None:
        """Raise Overlong where the walk has taken longer than it may."""
        if self._deadline is not None and time.thread_time() > self._deadline:
            raise Overlong(self._limit or 0.0)

    def buffer(
        self, key: object, dtype: str, nbytes: int, address: int | None, read: Callable[[], memoryview]
    ) -> Buffer:
        """A copy of the memory that the node at hand owns, or an unchanged earlier one; `read` gives the live bytes."""
        if address is not None and nbytes:
            self.memory.append((address, nbytes, self._current))
        if self._copies is None:
            return Buffer(dtype, nbytes)
        return self._copies(key, dtype, nbytes, address, read)

    def copying(self) -> bool:
        """Whether contents are wanted, not only identities."""
        return self._copies is not None

    def is_anchored(self, value: object) -> bool:
        """Whether the object existed, and was reachable, when the loop began (always so in the prologue itself)."""
        if self._anchored is None:
            return True
        return self._anchored(self._select(value).key(value), value) is not None

    def is_atomic(self, value: object) -> bool:
        """Whether the walk ends at an object: a plain value, or what a library defines."""
        return type(value) in LEAVES or self._select(value).atomic

    def path(self, number: int) -> str:
        """Readable path of a node."""
        steps = []
        while number >= 0:
            steps.append(self.nodes[number].step)
            number = self.nodes[number].parent
        return join_path(reversed(steps))

    def _atom(self, kind: Kind, value: object) -> Any:
        """The saved form of an object that ends the walk; a class is looked up once, however many objects are of it."""
        atom = kind.atom(value)
        if isinstance(value, type):
            self._classes[id(value)] = value, atom
        return atom

    def _add(self, kind: Kind, key: object, step: str, value: object) -> int:
        number = len(self.nodes)
        if not number & _LOOK_AT_CLOCK:
            self.look_at_clock()
        anchor = self._anchored(key, value) if self._anchored is not None else None
        self.nodes.append(Node(kind.name, self._current, step, anchor=anchor))
        self.objects.append(value)
        self.keys.append(key)
        self._index[key] = number
        return number

    def _drain(self) -> None:
        while self._next < len(self.nodes):
            number = self._next
            self._next += 1
            self._current = number
            value = self.objects[number]
            try:
                self.nodes[number].payload = self._select(value).capture(value, self)
            except Overlong:
                raise
            except Refusal as refusal:
                if self._copies is None:
                    continue
                refusal.path = refusal.path or self.path(number)
                raise
            except Exception as error:
                if self._copies is None:
                    continue
                raise Refusal(f"{type(value).__name__}: {error}", self.path(number)) from error


__all__ = ["LEAVES", "Atom", "Edges", "Walker"]
