"""Makes live objects of a saved graph: finds the old ones, makes the missing, writes all of them."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Mapping
from typing import Any

from logql.errors import StateError
from logql.state.errors import Refusal
from logql.state.graph import Address, Atom, Global, Graph, Node, Packed, Ref
from logql.state.packed import unpack
from logql.state.select import KINDS


class Builder:
    """One restore. `live` maps anchors to the objects that the program holds at the same paths."""

    def __init__(self, graph: Graph, live: Mapping[int, object]) -> None:
        self._graph = graph
        self._live = live
        self._vessels: dict[int, object] = {}
        self._unpacked: dict[int, list[Any]] = {}

    def run(self) -> None:
        """Bring every object into being and write its contents."""
        for number in range(len(self._graph.nodes)):
            self.vessel(number)
        for stage in ("fill", "finish"):
            for number, node in enumerate(self._graph.nodes):
                try:
                    getattr(KINDS[node.kind], stage)(node, self._vessels[number], self)
                except StateError:
                    raise
                except (Refusal, Exception) as error:
                    raise StateError(f"{self._graph.path(number)} cannot be written: {error}") from error

    def vessel(self, number: int) -> object:
        """The object that stands for a node: the live one where it can be written in place, else a new one."""
        try:
            return self._vessels[number]
        except KeyError:
            pass
        node = self._graph.nodes[number]
        kind = KINDS[node.kind]
        live = self._live.get(node.anchor, self) if node.anchor is not None else self
        accepted = live is not self and kind.accepts(node, live, self)
        if number in self._vessels:
            return self._vessels[number]
        made = live if accepted else kind.create(node, self)
        return self._vessels.setdefault(number, made)

    def value(self, saved: Any) -> Any:
        """The live value of a saved form."""
        if type(saved) is Ref:
            return self.vessel(saved)
        if type(saved) is Address:
            return id(self.vessel(saved))
        if type(saved) is Atom:
            return saved.value
        if type(saved) is Global:
            return _find(saved)
        return saved

    def filled(self, saved: Any) -> Any:
        """The live value of a saved form, an array with its content: for whoever reads it at once."""
        found = self.value(saved)
        if type(saved) is Ref and "content" in self._graph.nodes[saved].payload:
            node = self._graph.nodes[saved]
            KINDS[node.kind].fill(node, found, self)
        return found

    def values(self, saved: list[Any] | Packed) -> list[Any]:
        """Live values of a sequence of saved forms; packed ones are the same each time."""
        if isinstance(saved, Packed):
            if id(saved) not in self._unpacked:
                self._unpacked[id(saved)] = unpack(saved, self.value, lambda n: self.value(saved.classes[n]))
            return self._unpacked[id(saved)]
        return [self.value(item) for item in saved]

    def path(self, node: Node) -> str:
        """Readable path of a node."""
        return self._graph.path(self._graph.nodes.index(node))


def _find(name: Global) -> object:
    """The object of a module by qualified name; the module is imported where the program has not done so yet."""
    try:
        found: object = sys.modules.get(name.module) or importlib.import_module(name.module)
        for part in name.name.split(".") if name.name else ():
            found = getattr(found, part)
    except (ImportError, AttributeError) as error:
        raise StateError(f"{name.module}.{name.name} is not there: {error}") from error
    return found
