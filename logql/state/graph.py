"""The saved form of an object graph: nodes with payloads that refer to each other by number."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from logql.state.readings import Reading

#: Exact types whose values are their own saved form.
LEAVES = frozenset({type(None), bool, int, float, Reading, complex, str, bytes, type(...), type(NotImplemented)})

#: A payload holds lists, plain values, `Ref`, `Address`, `Atom`, `Buffer`, `Packed` and `Global`; only the outermost
#: level is a dict.
Payload = dict[str, Any]


class Ref(int):
    """The number of a node in its graph."""

    __slots__ = ()


class Address(Ref):
    """The address of a node's object, where the program keeps that number."""

    __slots__ = ()


@dataclass(frozen=True, slots=True, eq=False)
class Atom:
    """An immutable value that is saved whole and whose identity does not matter (a date, a dtype, a path)."""

    value: object


@dataclass(frozen=True, slots=True)
class Global:
    """A class, function, module or other object that is found by its module and qualified name ('' is the module)."""

    module: str
    name: str


@dataclass(slots=True, eq=False)
class Buffer:
    """Raw memory of an array or a storage. `dtype` tells how to compare it by value; `place` where it is stored.

    One object stands for unchanged memory over many checkpoints, so it is hashed and written once.
    """

    dtype: str
    nbytes: int
    data: memoryview | None = None
    digest: str | None = None
    place: tuple[str, int] | None = None
    fetch: Callable[[], memoryview] | None = None

    def bytes(self) -> memoryview:
        """The memory itself, read from the store where it is not at hand."""
        if self.data is None:
            assert self.fetch is not None
            self.data = self.fetch()
        return self.data


@dataclass(frozen=True, slots=True, eq=False)
class Packed:
    """Many plain objects that only their container reaches (see `packed`), in place of a list of saved forms.

    `classes` and `shared` are saved forms that the content refers to.
    """

    content: Buffer
    classes: list[Any]
    shared: list[Any]


@dataclass(slots=True, eq=False)
class Node:
    """One object: its kind, what was captured, and how it was first reached. `anchor` is its number in the prologue."""

    kind: str
    parent: int
    step: str
    payload: Payload = field(default_factory=dict)
    anchor: int | None = None


@dataclass(slots=True, eq=False)
class SavedRoot:
    """A root of the graph: a variable or a random state. `role` says what a restore does with it (see `roots.Root`)."""

    name: str
    role: str
    module: str
    variable: str
    use: str
    value: Any


@dataclass(slots=True, eq=False)
class Graph:
    """All that one checkpoint holds. `anchors` are (parent anchor or -1, step) pairs, for those that nodes use.

    `names` holds the names that the loop's function knows, so that a restore leaves names alone that a later patch put
    there; `left` the (module or '', variable) that the loop does not touch and that could not be saved, so that they
    stay as the prologue made them; `entry` the states of the random generators when the loop began.
    """

    nodes: list[Node]
    roots: list[SavedRoot]
    anchors: dict[int, tuple[int, str]]
    names: list[str]
    left: list[tuple[str, str]]
    entry: list[Node]
    meta: dict[str, Any]

    def path(self, node: int) -> str:
        """Where a node was first reached, as a reader would write it: `net.layers[0].weight`."""
        steps: list[str] = []
        while node >= 0:
            steps.append(self.nodes[node].step)
            node = self.nodes[node].parent
        return join_path(reversed(steps))


def join_path(steps: Any) -> str:
    """Text of a path; the steps `__dict__` are left out because attributes read better without."""
    text = ""
    for step in steps:
        if step == "__dict__":
            continue
        attribute = step.startswith("['") and step.endswith("']") and step[2:-2].isidentifier()
        text += f".{step[2:-2]}" if attribute and text else step
    return text
