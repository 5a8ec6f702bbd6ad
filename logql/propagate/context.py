"""What a place means for a query: its levels, how often it runs, and the fingerprint of what stands there."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Mapping

from logql.model import RUN_LEVEL, Level
from logql.propagate.locate import Spot
from logql.propagate.loops import Project
from logql.propagate.outline import Item
from logql.propagate.statements import MODULE, read_outlines

_LOOPS = (ast.For, ast.AsyncFor, ast.While)


def levels_of(spot: Spot, old_files: Mapping[str, str]) -> tuple[Level, ...]:
    """The levels that the place can have, through the calls of the functions around it."""
    if not any(MODULE in text for text in old_files.values()):
        return (RUN_LEVEL,)
    outlines = [spot.unit.outline] + [
        outline for outline in read_outlines(old_files) if outline.path != spot.unit.outline.path
    ]
    return Project(outlines).possible_levels(spot.unit, spot.parent)


def runs_once(spot: Spot, added: ast.AST | None) -> bool:
    """Whether the place runs at most once per iteration of its level, or once per run.

    Nothing but `if`, `with` and `try` may be around it up to the named loop, or, at run level, up to the module.
    """
    if added is not None and isinstance(added, _LOOPS):
        return False
    project = Project([spot.unit.outline])
    item: Item | None = spot.parent
    slot = spot.slot
    while item is not None and item is not spot.unit.header:
        if slot == "body" and project.loop_name(item) is not None:
            return True
        if isinstance(item.node, _LOOPS) and (slot == "body" or project.loop_name(item) is None):
            return False
        slot, item = item.slot, item.parent
    return spot.unit.header is None


def fingerprint_of(texts: list[str], spot: Spot) -> str:
    """Hash of the inserted text and of its place: the blocks around it and the statements next to it."""
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode("utf-8", "surrogatepass") + b"\0")
    digest.update(f"{spot.unit.outline.path}\0{spot.unit.name}\0".encode())
    item = spot.parent
    while item is not None:
        digest.update(item.slot.encode() + b"\0" + item.key + b"\0")
        item = item.parent
    for neighbour in (spot.before, spot.after):
        digest.update((neighbour.key if neighbour is not None else b"-") + b"\0")
    return digest.hexdigest()[:16]
