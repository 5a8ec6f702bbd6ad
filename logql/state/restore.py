"""Puts a saved state back into a running program, in place."""

from __future__ import annotations

import importlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from logql.errors import StateError
from logql.state.build import Builder
from logql.state.codec import parse
from logql.state.graph import Graph
from logql.state.prologue import Prologue, set_random_states
from logql.state.settings import write_settings

if TYPE_CHECKING:
    from logql.state.roots import Roots
    from logql.state.save import BlobStore


@dataclass(slots=True, eq=False)
class Loaded:
    """A state read from the store."""

    graph: Graph

    @property
    def exhausted(self) -> bool | None:
        """At a loop's exit: whether the iterable was at its end (True) or the loop was left by `break` (False)."""
        found: bool | None = self.graph.meta["exhausted"]
        return found

    @property
    def notes(self) -> dict[str, Any]:
        """What the recorder noted with the state."""
        found: dict[str, Any] = self.graph.meta.get("notes", {})
        return found

    def set_random_states(self, prologue: Prologue) -> None:
        """Give all random generators the states as of the loop's `iter()`; call it right before `iter(iterable)`."""
        set_random_states(self.graph.entry, prologue.find(self.graph.anchors))
        prologue.note_random_states()


@dataclass(slots=True, eq=False)
class Bindings:
    """What is left to do for the code in the loop's frame: bind `locals`, delete `unbound`.

    `item` is the loop's item as it was, where `has_item` says that it was saved: yield it instead of the one that
    advancing the iterable gave.
    """

    locals: dict[str, Any] = field(default_factory=dict)
    unbound: list[str] = field(default_factory=list)
    has_item: bool = False
    item: Any = None


def load(blobs: BlobStore, manifest: str) -> Loaded:
    """Read a state by its manifest's digest; arrays follow when they are needed."""
    return Loaded(parse(bytes(blobs.get(manifest)), blobs))


def restore(loaded: Loaded, roots: Roots, prologue: Prologue | None = None) -> Bindings:
    """Write a state into the live objects; raises StateError where that is not possible, the program is then spoilt.

    `roots` are those of the frame now; `prologue` is that of this loop in this process (`Prologue(roots, keep=True)`,
    made before `iter()`), None if the program stands right there. Module variables are written here, those of a
    function are returned. Random states come last.
    """
    graph = loaded.graph
    prologue = prologue or Prologue(roots, keep=True)
    _add_namespaces(graph, roots)
    builder = Builder(graph, prologue.find(graph.anchors))
    builder.run()
    bindings = Bindings()
    for root in graph.roots:
        if root.role == "local":
            bindings.locals[root.variable] = builder.value(root.value)
        elif root.role == "global" and root.module in roots.namespaces:
            _write_global(roots.namespaces[root.module], root.variable, builder.value(root.value))
        elif root.role == "item":
            bindings.has_item, bindings.item = True, builder.value(root.value)
    _unbind(graph, roots, prologue, bindings)
    if "settings" in graph.meta:
        write_settings(prologue.settings, graph.meta["settings"])
    return bindings


def _add_namespaces(graph: Graph, roots: Roots) -> None:
    """Load the modules that the original had loaded by then, inside of the loop, for their variables."""
    for root in graph.roots:
        if root.role == "global" and root.module not in roots.namespaces:
            try:
                roots.namespaces[root.module] = vars(importlib.import_module(root.module))
            except ImportError as error:
                raise StateError(f"the module {root.module}, which was loaded then, cannot be: {error}") from error


def _write_global(names: dict[str, Any], variable: str, value: object) -> None:
    if variable not in names or names[variable] is not value:
        names[variable] = value


def _unbind(graph: Graph, roots: Roots, prologue: Prologue, bindings: Bindings) -> None:
    """Delete what the original did not have at this point; leave names alone that it never knew (a patch's own)."""
    left = set(graph.left)
    for name in graph.names:
        if name not in bindings.locals and ("", name) not in left:
            bindings.unbound.append(name)
    held = {(root.module, root.variable) for root in graph.roots if root.role == "global"} | left
    for module, known in graph.meta["globals"].items():
        names = roots.namespaces.get(module, {})
        new = names.keys() - prologue.present.get(module, names.keys())
        for variable in {*known, *new} & names.keys():
            special = variable.startswith("__") and variable.endswith("__")
            if not special and (module, variable) not in held:
                del names[variable]
