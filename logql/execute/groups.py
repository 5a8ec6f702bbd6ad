"""Runs grouped by what they logged where of the names that a reference uses: each group has one plan."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

from logql.catalog.history import Cells, History, deepest
from logql.catalog.schema import explicit, level_named
from logql.model import RUN_LEVEL, Level, Run, Shape
from logql.sql.bound import RUNS, LogsRef


@dataclass(frozen=True)
class Signature:
    """What runs of one group share: the cells of each name of N, the levels that L asks for, where parts are."""

    cells: tuple[tuple[str, Cells], ...]
    levels: tuple[Level, ...]
    parted: frozenset[Level]
    slow: bool


@dataclass(frozen=True)
class Group:
    """Runs of one signature; `all_runs`: there are no others, `shared`: the levels at which others have rows, too."""

    signature: Signature
    runs: tuple[Run, ...]
    all_runs: bool
    shared: frozenset[Level] = frozenset()

    @property
    def cells(self) -> Mapping[str, Cells]:
        """The cells of each name of N."""
        return dict(self.signature.cells)


class Source(Protocol):
    """What grouping and slow rows need of the engine."""

    def repeats(self, name: str, run: str) -> bool:
        """Whether hindsight values of a name in a run came several times in one context."""

    def any_row(self, key: Hashable, sql: str, tables: Mapping[str, object]) -> bool:
        """Whether a query has any row; remembered under `key` for as long as the history is the same."""

    def read(self, sql: str, tables: Mapping[str, object]) -> list[dict[str, Any]]:
        """The rows of a query over registered tables."""


def group_runs(ref: LogsRef, history: History, source: Source) -> list[Group]:
    """The groups of the runs that `ref` reads, in the order of their first runs."""
    return _gather(ref, history, lambda run, shape: _signature(ref, history, run, shape, source))


def _gather(ref: LogsRef, history: History, find: Callable[[Run, Shape], Signature | None]) -> list[Group]:
    """Groups by signature; runs of one shape share it, unless cells that may be missing tell them apart."""
    by_shape: dict[int, Signature | None] = {}
    found: dict[Signature, dict[tuple[int, str], list[Run]]] = {}
    for kind, (shape, runs) in history.kinds.items():
        number, version = kind
        if ref.versions is not None and version not in ref.versions:
            continue
        if not ref.virtual and number not in by_shape:
            by_shape[number] = find(runs[0], shape)
        pairs = [([run], find(run, shape)) for run in runs] if ref.virtual else [(runs, by_shape[number])]
        for own, signature in pairs:
            if signature is not None:
                found.setdefault(signature, {}).setdefault(kind, []).extend(own)
    return [_group(signature, own, history) for signature, own in found.items()]


def _group(signature: Signature, own: Mapping[tuple[int, str], list[Run]], history: History) -> Group:
    others = [shape for kind, (shape, runs) in history.kinds.items() if len(own.get(kind, ())) < len(runs)]
    shared = frozenset(level for shape in others for level in shape.levels)
    return Group(signature, tuple(run for runs in own.values() for run in runs), not others, shared)


def _signature(ref: LogsRef, history: History, run: Run, shape: Shape, source: Source) -> Signature:
    cells = {name: cells_of(history, name, run) for name in sorted(ref.names)}
    bare = tuple((name, replace(found, fingerprint=None, reason=None)) for name, found in cells.items())
    levels = () if ref.names else _loop_levels(shape, ref.loops, history)
    counting = {level for found in cells.values() for level in counting_levels(found)} | set(levels)
    parted = frozenset(level for level in counting if shape.repeats.get(level))
    slow = _slow(cells, shape, run, history, source)
    if slow and len(cells) == 1 and all(found.recorded and not found.placed for found in cells.values()):
        return Signature(bare, levels, frozenset(), False)  # each part that has the one name is a row
    return Signature(bare, levels, parted, slow)


def cells_of(history: History, name: str, run: Run) -> Cells:
    """Cells of a name of N, which may name its level."""
    bare, text = explicit(name, history)
    if text is None:
        return history.cells(name, run)
    level = level_named(text, history.schema.levels)
    found = history.cells(bare, run)
    here = () if level is None or bare not in history.shape(run.id).levels.get(level, {}) else (level,)
    if here or found.recorded:
        return Cells(recorded=here)
    return replace(found, placed=tuple(place for place in found.standing if place == level))


def counting_levels(cells: Cells) -> tuple[Level, ...]:
    """Levels at which a name makes rows."""
    return (*cells.recorded, *cells.placed, *cells.unfillable)


def _loop_levels(shape: Shape, loops: frozenset[str], history: History) -> tuple[Level, ...]:
    """Levels of the loops of L at the greatest depth that they have in the run; the run's level where L is empty."""
    if not loops:
        return (RUN_LEVEL,)
    found = [level for level in shape.levels if level and history.schema.loops_of(level)[-1] in loops]
    depth = max(map(len, found), default=0)
    return tuple(sorted(level for level in found if len(level) == depth))


def _slow(cells: Mapping[str, Cells], shape: Shape, run: Run, history: History, source: Source) -> bool:
    """Whether rows must be formed value by value: a name of N comes again in some context, or ranks see rank 0's."""
    if not cells:
        return False
    for name, found in cells.items():
        bare = explicit(name, history)[0]
        if any(bare in shape.repeats.get(level, ()) for level in found.recorded):
            return True
        if found.placed and found.known != "none" and not found.once and source.repeats(bare, run.id):
            return True
    nested = len(deepest(level for found in cells.values() for level in counting_levels(found))) < len(
        {level for found in cells.values() for level in counting_levels(found)}
    )
    return nested and (run.ranks > 1 or shape.ranks > 1)


NO_GROUP = Group(Signature((), (), frozenset(), False), (), True)


def fixed_groups(ref: LogsRef, history: History, source: Source) -> list[Group]:  # noqa: ARG001
    """Groups for a relation of fixed grain: the levels that end in its loop, and every level that has a name."""

    def find(run: Run, shape: Shape) -> Signature | None:
        schema = history.schema
        levels = tuple(sorted(level for level in shape.levels if level and schema.loops_of(level)[-1] == ref.relation))
        cells = tuple((name, _fixed_cells(history, name, run, shape)) for name in sorted(ref.names))
        parted = frozenset(level for level in shape.levels if shape.repeats.get(level))
        return Signature(cells, levels, parted, False) if levels or ref.relation == RUNS else None

    return _gather(ref, history, find)


def _fixed_cells(history: History, name: str, run: Run, shape: Shape) -> Cells:
    everywhere = tuple(sorted(level for level, names in shape.levels.items() if name in names))
    found = Cells(recorded=everywhere) if everywhere else history.cells(name, run)
    return replace(found, placed=found.standing, fingerprint=None, reason=None)
