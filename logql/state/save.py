"""Takes a checkpoint: one pass over the graph on the training thread, everything else off it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, Protocol

from logql.state.addresses import name_addresses
from logql.state.codec import buffers_of, dump, hash_buffers
from logql.state.errors import Overlong, Refusal
from logql.state.graph import Graph, SavedRoot
from logql.state.prologue import Prologue
from logql.state.settings import changed_settings
from logql.state.walk import Walker

if TYPE_CHECKING:
    from logql.state.roots import Roots


class BlobStore(Protocol):
    """Where contents go: `logql.store.blobs.Blobs`."""

    def put(self, data: bytes | memoryview) -> str:
        """Keep bytes under their digest (BLAKE2b of 20 bytes, in hex)."""

    def has(self, digest: str) -> bool:
        """Whether they are there."""

    def get(self, digest: str) -> bytes:
        """The bytes of a digest."""


@dataclass(frozen=True, slots=True)
class Refused:
    """No state can be saved here: why, and the path of the object that is in the way."""

    reason: str
    path: str


class Saved:
    """A state as of one instant, free of references to the program's objects.

    `bytes` is the size of all arrays, `copied` that of those which had to be copied, `leaves` the number of objects.
    """

    def __init__(self, graph: Graph, copied: int, addresses: list[int]) -> None:
        self._graph = graph
        self._addresses = addresses
        self.copied = copied
        self.leaves = len(graph.nodes)
        self.bytes = sum(buffer.nbytes for buffer in buffers_of(graph))

    @cached_property
    def graph(self) -> Graph:
        """The state's objects; asked for off the training thread."""
        name_addresses(self._graph, self._addresses)
        return self._graph

    def write(self, blobs: BlobStore) -> tuple[str, int]:
        """Store the state; returns the manifest's digest and the bytes given to the store. Meant for another thread."""
        return dump(self.graph, blobs)

    def hash(self) -> None:
        """Compute the digest of every array now (`compare` does it where it is needed)."""
        hash_buffers(self.graph)


def save(
    roots: Roots,
    prologue: Prologue | None,
    *,
    exhausted: bool | None = None,
    notes: Mapping[str, Any] | None = None,
    limit_s: float | None = None,
) -> Saved | Refused:
    """Copy the state that `roots` reach, on the calling thread; raises nothing.

    `prologue` is that of the loop; None where the loop is about to begin. `exhausted` notes, for the state at a loop's
    exit, whether the iterable was at its end (else the loop was left, and there is a state only for `break`).
    `notes` come back with it (`Loaded.notes`); they are JSON. What takes more than `limit_s` of CPU time to look at is
    refused, too.
    """
    if roots.reason is not None:
        return Refused(roots.reason, "")
    if exhausted is False and not roots.broken:
        return Refused("the loop was left by `return` or an exception, so the code behind it did not run", "")
    meta = {"exhausted": exhausted, "notes": dict(notes or {})}
    return _attempt(lambda: _save(roots, prologue or Prologue(roots), meta, limit_s))


def look(roots: Roots) -> Saved | Refused:
    """The state that `roots` reach, to be compared with another look of this process; raises nothing.

    It can hold what no restore could make anew, such as which autograd graph a tensor has, and keeps that alive.
    """
    return _attempt(lambda: _save(roots, Prologue(roots), {}, None, restorable=False))


def _attempt(take: Callable[[], Saved]) -> Saved | Refused:
    try:
        return take()
    except Refusal as refusal:
        return Refused(refusal.reason, refusal.path)
    except Overlong as overlong:
        return Refused(str(overlong), "")
    except (Exception, RecursionError) as error:
        return Refused(f"{type(error).__name__}: {error}", "")


def _save(
    roots: Roots, prologue: Prologue, meta: dict[str, Any], limit_s: float | None, *, restorable: bool = True
) -> Saved:
    if roots.progress is not None and prologue.progress is not None:
        changed = roots.progress.changed(prologue.progress)
        if changed is not None:
            raise Refusal(changed)
    prologue.copies.begin()
    walker = Walker(
        roots.selection,
        copies=prologue.copies.copy,
        anchored=prologue.anchor,
        facts=prologue.facts,
        limit_s=limit_s,
        restorable=restorable,
    )
    saved: list[SavedRoot] = []
    left: list[tuple[str, str]] = []
    for root in roots.roots:
        if root.use == "needed":
            value = walker.root(root.name, root.value)
        else:
            value, refusal = walker.try_root(
                root.name, root.value, strict=root.use != "dead", check=_refuse_hidden_sharing
            )
            if refusal is not None:
                if root.use == "kept" and root.role in ("local", "global"):
                    left.append((root.module if root.role == "global" else "", root.variable))
                continue
        saved.append(SavedRoot(root.name, root.role, root.module, root.variable, root.use, value))
    _refuse_hidden_sharing(walker)
    prologue.copies.end()
    anchors = _places(walker, prologue)
    meta = {**meta, "globals": prologue.globals, "settings": changed_settings(prologue.settings)}
    graph = Graph(walker.nodes, saved, anchors, roots.names, left, prologue.entry, meta)
    return Saved(graph, prologue.copies.copied, list(map(id, walker.objects)))


def _places(walker: Walker, prologue: Prologue) -> dict[int, tuple[int, str]]:
    """Places of all anchors in use, and of what they hang on."""
    todo = [node.anchor for node in walker.nodes if node.anchor is not None]
    todo += [node.anchor for node in prologue.entry if node.anchor is not None]
    places: dict[int, tuple[int, str]] = {}
    while todo:
        anchor = todo.pop()
        if anchor >= 0 and anchor not in places:
            places[anchor] = prologue.places[anchor]
            todo.append(places[anchor][0])
    return places


def _refuse_hidden_sharing(walker: Walker) -> None:
    """Two owners of the same bytes (torch.from_numpy) are fine only if both were there when the loop began."""
    end, last = 0, -1
    for address, nbytes, number in sorted(walker.memory):
        if address < end and None in (walker.nodes[number].anchor, walker.nodes[last].anchor):
            raise Refusal(
                f"memory shared with {walker.path(last)} in a way that cannot be made anew", walker.path(number)
            )
        if address + nbytes > end:
            end, last = address + nbytes, number
