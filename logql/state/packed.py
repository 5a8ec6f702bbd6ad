"""Many small plain objects in one piece: a replay buffer of 100,000 tuples is no graph of 300,000 nodes.

A container's elements are packed as long as nothing else can reach them. Their reference counts tell: each has exactly
as many references as the packed containers make. What has more stays a node of its own and is referred to, so that
sharing is kept; whatever cannot be told cheaply is such a node, too.
"""

from __future__ import annotations

import functools
import io
import pickle
import sys
import weakref
from collections import Counter
from collections.abc import Callable, Hashable
from itertools import chain
from operator import attrgetter
from typing import TYPE_CHECKING, Any, cast

from logql.state.graph import LEAVES, Buffer, Graph, Node, Packed, Ref
from logql.state.readings import Reading

if TYPE_CHECKING:
    from logql.state.walk import Walker

#: dtype of a buffer that holds packed objects
PACKED = "packed"
#: Containers with fewer elements are walked one by one.
MANY = 1000
_DEEPEST = 6
#: Pickled with this, equal structures are equal bytes.
_PROTOCOL = 4
_NUMBERS = "?bBhHiIlLqQefdFD"
#: What a pickle refers to: an array of its own, a class, an object that is a node.
_ARRAY, _CLASS, _SHARED = range(3)


def pack(values: list[Any], walker: Walker, part: str, label: Callable[[int], str]) -> Packed:
    """Pack what the container at hand holds as its `part`.

    `values` is a new list of all of it, each as often as the container holds it, which only the caller has; `label`
    names the step to an element.
    """
    survey = _Survey(walker, label)
    survey.look(values)
    if not walker.copying():
        return Packed(Buffer(PACKED, 0), [], [])
    data = memoryview(survey.dump(values))
    content = walker.buffer(walker.part_key(part), PACKED, data.nbytes, None, lambda: data)
    return Packed(content, survey.classes, survey.shared)


def unpack(packed: Packed, make: Callable[[Any], Any], make_class: Callable[[int], Any]) -> list[Any]:
    """The elements anew; `make` gives the live object of a saved form, `make_class` the n-th class."""
    file = io.BytesIO(packed.content.bytes())
    arrays = _read_arrays(*pickle.load(file))

    def find(number: int) -> Any:
        number, role = divmod(number, 3)
        if role == _ARRAY:
            return arrays[number]
        return make_class(number) if role == _CLASS else make(packed.shared[number])

    reader = pickle.Unpickler(file)
    reader.persistent_load = find  # type: ignore[method-assign]
    found: list[Any] = reader.load()
    return found


class PackedView:
    """The elements of a pack for whoever compares: plain containers, `Ref` for what is a node.

    What was packed in one process may be a node in another, where something else still held it: `seen` shows both
    alike.
    """

    def __init__(self, graph: Graph, packed: Packed) -> None:
        self._graph = graph
        self._classes = packed.classes
        self.top = unpack(packed, lambda saved: saved, _stand_in)
        self._views: dict[int, Any] = {}

    def identity(self, value: Any) -> Hashable:
        """What tells an object from an equal one; None where nothing does."""
        if type(value) is Ref:
            return None if self._graph.nodes[value].kind == "tuple" else int(value)
        return ("packed", id(value)) if isinstance(value, list | dict) or hasattr(value, "tobytes") else None

    def seen(self, value: Any) -> Any:
        """A node as the plain object that a pack would hold, if it may be one."""
        if type(value) is not Ref:
            return value
        if value not in self._views:
            self._views[value] = self._view(value, self._graph.nodes[value])
        return self._views[value]

    def _view(self, reference: Ref, node: Node) -> Any:
        payload = node.payload
        if node.kind == "array" and "content" in payload and type(payload["dtype"]) is str:
            import numpy as np

            array = np.frombuffer(payload["content"].bytes(), payload["dtype"]).reshape(payload["shape"])
            return array if list(array.strides) == payload["strides"] else reference
        if node.kind in ("list", "tuple"):
            return (list if node.kind == "list" else tuple)(self._elements(payload["items"]))
        if node.kind == "dict":
            return dict(zip(self._elements(payload["keys"]), self._elements(payload["values"]), strict=True))
        if node.kind == "instance" and payload["type"] in self._classes and "dict" not in payload:
            return _stand_in(self._classes.index(payload["type"]))(*payload["items"])
        return reference

    def _elements(self, saved: list[Any] | Packed) -> list[Any]:
        return unpack(saved, lambda form: form, _stand_in) if isinstance(saved, Packed) else saved


@functools.lru_cache(maxsize=256)
def _stand_in(number: int) -> Any:
    """In place of the n-th class of a pack, for whoever only looks."""
    return type(f"Record{number}", (tuple,), {"__new__": lambda cls, *items: tuple.__new__(cls, items)})


class _Survey:
    """Goes through nested containers level by level and tells what is packed and what is referred to."""

    def __init__(self, walker: Walker, label: Callable[[int], str]) -> None:
        self._walker = walker
        self._label = label
        self._numbers: dict[int, int] = {}
        self._expanded: set[int] = set()
        self._arrays: list[Any] = []
        self._plain = (LEAVES - {Reading}) | _scalar_types()
        self.classes: list[Any] = []
        self.shared: list[Any] = []

    def look(self, level: list[Any]) -> None:
        """Number everything that is not simply pickled where it stands."""
        depth = 0
        while level:
            self._walker.look_at_clock()
            depth += 1
            boxes = [value for value in level if type(value) not in self._plain]
            own = _held_once(boxes) if depth <= _DEEPEST else set()
            level = self._sort(level, boxes, own, depth)

    def dump(self, values: list[Any]) -> bytes:
        """The arrays and the structure as two pickles in a row."""
        self._walker.look_at_clock()
        layouts: dict[Any, int] = {}
        looks = map(attrgetter("dtype.str", "shape"), self._arrays)
        which = [layouts.setdefault(look, len(layouts)) for look in looks]
        file = io.BytesIO()
        pickle.dump(([*layouts], which, b"".join(self._arrays)), file, _PROTOCOL)
        _Pickler(file, self._numbers).dump(values)
        return file.getvalue()

    def _sort(self, level: list[Any], boxes: list[Any], own: set[int], depth: int) -> list[Any]:
        """Decide about each object of a level; returns the contents of those that are packed."""
        inside: list[Any] = []
        others: dict[int, Any] = {}
        for value in boxes:
            number = id(value)
            if number in self._expanded or number in self._numbers or number in others:
                continue
            contents = self._contents(value) if number in own else None
            if contents is not None:
                self._expanded.add(number)
                inside.append(contents)
            elif number not in own or not self._keep_array(number, value):
                others[number] = value
        self._refer(level, others, depth)
        return list(chain.from_iterable(inside))

    def _contents(self, value: Any) -> Any:
        """What a container holds that can be packed, or None."""
        cls = type(value)
        if cls is tuple or cls is list:
            return value
        if cls is dict:
            return value.values() if self._plain.issuperset(map(type, value)) else None
        if not _is_record(cast("Hashable", cls)):
            return None
        if id(cls) not in self._numbers:
            self._numbers[id(cls)] = 3 * len(self.classes) + _CLASS
            self.classes.append(self._walker.ref(".__class__", cls))
        return value

    def _keep_array(self, number: int, value: Any) -> bool:
        if not _is_array(value):
            return False
        self._numbers[number] = 3 * len(self._arrays) + _ARRAY
        self._arrays.append(value)
        return True

    def _refer(self, level: list[Any], others: dict[int, Any], depth: int) -> None:
        if not others:
            return
        places = {id(value): place for place, value in reversed([*enumerate(level)])}
        for number, value in others.items():
            place = places[number]
            step = self._label(place) if depth == 1 else f"<{depth}.{place}>"
            self._numbers[number] = 3 * len(self.shared) + _SHARED
            self.shared.append(self._walker.ref(step, value))


class _Pickler(pickle.Pickler):
    """Writes numbers in place of arrays, classes and shared objects."""

    def __init__(self, file: io.BytesIO, numbers: dict[int, int]) -> None:
        super().__init__(file, _PROTOCOL)
        self._number = numbers.get

    def persistent_id(self, value: object) -> int | None:
        return self._number(id(value))


def _read_arrays(layouts: list[tuple[str, tuple[int, ...]]], which: list[int], memory: bytes) -> list[Any]:
    if not which:
        return []
    import numpy as np

    sizes = [int(np.prod(shape, dtype=int)) for _, shape in layouts]
    found, start = [], 0
    for layout in which:
        dtype, shape = layouts[layout]
        array = np.frombuffer(memory, dtype, sizes[layout], start).reshape(shape).copy()
        start += array.nbytes
        found.append(array)
    return found


def _held_once(boxes: list[Any]) -> set[int]:
    """Ids of those that only containers of the level above hold: once for each time that they are in `boxes`.

    The list of the level, of which `boxes` is a part, holds them once more, and `boxes` itself does.
    """
    counts = list(map(sys.getrefcount, boxes))
    times = Counter(map(id, boxes))
    return {id(box) for box, count in zip(boxes, counts, strict=True) if count == 3 * times[id(box)] + _ASKING}


def _references_of_asking() -> int:
    boxes = [object()]
    (count,) = list(map(sys.getrefcount, boxes))
    return count - 1


_ASKING = _references_of_asking()


@functools.lru_cache(maxsize=1024)
def _is_record(cls: Any) -> bool:
    """Whether it is a named tuple that pickles as its class and its items."""
    own = {"__reduce__", "__reduce_ex__", "__getstate__", "__getnewargs_ex__"}
    plain = cls.__bases__ == (tuple,) and not cls.__dictoffset__ and own.isdisjoint(vars(cls))
    return plain and hasattr(cls, "_fields")


def _is_array(value: Any) -> bool:
    """Whether it is a numpy array of numbers that owns its memory, in the usual order."""
    numpy = sys.modules.get("numpy")
    if numpy is None or type(value) is not numpy.ndarray or value.base is not None or value.dtype.char not in _NUMBERS:
        return False
    flags = value.flags
    return bool(flags.carray and flags.owndata and not weakref.getweakrefcount(value))


def _scalar_types() -> frozenset[type]:
    """The types of numpy's numbers, which are immutable and pickled in few bytes."""
    numpy = sys.modules.get("numpy")
    return frozenset() if numpy is None else frozenset(numpy.dtype(char).type for char in _NUMBERS)
