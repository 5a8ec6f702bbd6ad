"""One snapshot of a store with what can be asked of it: schema, placements, coverage. What plan/ and execute/ read."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property

from logql.catalog.coverage import Coverage, index_fills, trusted
from logql.catalog.schema import UNKNOWN_TYPE, Column, Schema, build_schema, known_type
from logql.catalog.status import OWN, NoSources, Sources, Status
from logql.model import RUN_LEVEL, Checkpoint, Fill, Level, MainLoop, Run, Shape, Version
from logql.store.snapshot import Snapshot
from logql.store.types import unify

_NO_SHAPE = Shape({RUN_LEVEL: {}}, {}, {})


@dataclass(frozen=True)
class Cells:
    """What the cells of one name are in one run.

    `recorded`: the levels at which the run logged it, none of which has a deeper one below that did. `placed`: the
    levels at which a replay would log it, or has logged it. `unfillable`: the levels whose iterations stand in for
    rows that no replay can give, for `reason`. `known` tells which share of the placed cells replays have settled.
    `standing` holds all levels at which a replay may log it, the enclosing ones of `placed` too.
    """

    recorded: tuple[Level, ...] = ()
    placed: tuple[Level, ...] = ()
    unfillable: tuple[Level, ...] = ()
    known: str = "none"
    failed: bool = False
    fingerprint: str | None = None
    once: bool = False
    reason: str | None = None
    standing: tuple[Level, ...] = ()

    @property
    def virtual(self) -> bool:
        """Whether some cell may be missing."""
        return bool(self.placed) and self.known != "all"


NOT_LOGGED = Cells()


class History:
    """A snapshot and what its sources make of it; immutable for callers, lazy inside."""

    def __init__(self, snapshot: Snapshot, sources: Sources | None = None, strict: bool = False) -> None:
        self.snapshot = snapshot
        self.sources: Sources = sources if sources is not None else NoSources()
        self.strict = strict
        self._cells: dict[tuple[str, str], Cells] = {}
        self._coverage: dict[tuple[str, str, str], Coverage] = {}

    @cached_property
    def schema(self) -> Schema:
        """The unified columns of all recorded runs."""
        shapes = {id(shape): shape for shape, _ in self.kinds.values()}
        return build_schema(shapes.values(), self.snapshot.runs, self._hindsight_types)

    @cached_property
    def kinds(self) -> Mapping[tuple[int, str], tuple[Shape, list[Run]]]:
        """Runs by their shape and version: what a query asks of ten thousand runs mostly depends on these alone."""
        found: dict[tuple[int, str], tuple[Shape, list[Run]]] = {}
        shapes = self.snapshot.shapes
        for run in self.snapshot.runs:
            shape = shapes.get(run.id, _NO_SHAPE)
            key = id(shape), run.version
            if key in found:
                found[key][1].append(run)
            else:
                found[key] = shape, [run]
        return found

    @cached_property
    def _hindsight_types(self) -> Mapping[str, list[str]]:
        """Types that replays gave to names."""
        found: dict[str, list[str]] = {}
        names = {name for fill in self.snapshot.fills for name in fill.names}
        for pieces in self.snapshot.hindsight.values():
            for piece in pieces:
                for name in names & piece.schema.keys():
                    found.setdefault(name, []).append(piece.schema[name])
        return found

    @cached_property
    def versions(self) -> Mapping[str, Version]:
        """Versions by id, in their order."""
        return {version.id: version for version in self.snapshot.versions}

    @cached_property
    def runs(self) -> Mapping[str, Run]:
        """Runs by id, in their order."""
        return {run.id: run for run in self.snapshot.runs}

    @cached_property
    def main_loops(self) -> Mapping[str, tuple[MainLoop, ...]]:
        """Main loops by run, in the order of their execution."""
        found: dict[str, list[MainLoop]] = {}
        for loop in self.snapshot.main_loops:
            found.setdefault(loop.run, []).append(loop)
        return {run: tuple(sorted(loops, key=lambda loop: loop.ordinal)) for run, loops in found.items()}

    @cached_property
    def checkpoints(self) -> Mapping[str, tuple[Checkpoint, ...]]:
        """Checkpoints by run."""
        found: dict[str, list[Checkpoint]] = {}
        for checkpoint in self.snapshot.checkpoints:
            found.setdefault(checkpoint.run, []).append(checkpoint)
        return {run: tuple(checkpoints) for run, checkpoints in found.items()}

    @cached_property
    def _fills(self) -> Mapping[tuple[str, str], list[Fill]]:
        return index_fills(self.snapshot.fills)

    @cached_property
    def _logging_runs(self) -> Mapping[str, frozenset[str]]:
        """Versions of which some run logged the name."""
        found: dict[str, set[str]] = {}
        for (_, version), (shape, _) in self.kinds.items():
            for names in shape.levels.values():
                for name in names:
                    found.setdefault(name, set()).add(version)
        return {name: frozenset(versions) for name, versions in found.items()}

    def shape(self, run: str) -> Shape:
        """What the run logged where; of a run that has written nothing yet, its bare level."""
        return self.snapshot.shapes.get(run, _NO_SHAPE)

    def virtual(self, name: str) -> Column | None:
        """The name, if it was recorded nowhere and today's source has it."""
        if self.schema.find(name) is not None:
            return None
        lower = name.lower()
        found = next((column for column in self.sources.names().values() if column.name.lower() == lower), None)
        if found is None or found.name not in self._hindsight_types:
            return found
        return replace(found, type=known_type(unify(self._hindsight_types[found.name]), UNKNOWN_TYPE))

    def status(self, name: str, run: Run) -> Status:
        """What `name` is in the source that `run` ran."""
        if run.version in self._logging_runs.get(name, ()):
            return OWN
        return self.sources.status(name, run.version, run.script)

    def may_miss(self, name: str) -> bool:
        """Whether any run has cells of `name` that a replay could fill or that are unfillable."""
        logging = self._logging_runs.get(name, frozenset())
        pairs = {
            (version, run.script) for (_, version), (_, runs) in self.kinds.items() if version not in logging
            for run in runs
        }  # fmt: skip
        if not pairs:
            return False
        self.sources.prepare(name, pairs)
        return any(self.sources.status(name, version, script).state != "own" for version, script in pairs)

    def levels_of(self, name: str) -> frozenset[Level]:
        """The levels at which runs logged a name, or a replay would."""
        self.may_miss(name)  # what is asked below is computed at once
        one_each = {(kind, run.script): run for kind, (_, runs) in self.kinds.items() for run in runs}
        cells = (self.cells(name, run) for run in one_each.values())
        return frozenset(level for found in cells for level in (*found.recorded, *found.placed, *found.standing))

    def coverage(self, name: str, run: str, fingerprint: str) -> Coverage:
        """What replays have settled of `name` in `run`."""
        key = (name, run, fingerprint)
        if key not in self._coverage:
            found = self._coverage[key] = Coverage()
            for fill in self._fills.get((run, name), ()):
                if fill.names[name] == fingerprint:
                    found.add(fill, name, trusted(fill, self.strict))
            if found.failed.get((None, 0)) and self._is_outside(name, self.runs[run]):
                found.spread(self.main_loops.get(run, ()))
        return self._coverage[key]

    def _is_outside(self, name: str, run: Run) -> bool:
        """Whether a replay logs a name outside of main loops alone."""
        return self.levels(self.status(name, run), run) == (RUN_LEVEL,)

    def cells(self, name: str, run: Run) -> Cells:
        """What the cells of `name` are in `run`."""
        key = (name, run.id)
        if key not in self._cells:
            self._cells[key] = self._cells_of(name, run)
        return self._cells[key]

    def _cells_of(self, name: str, run: Run) -> Cells:
        shape = self.shape(run.id)
        recorded = deepest(level for level, names in shape.levels.items() if name in names)
        if recorded:
            return Cells(recorded=recorded)
        status = self.status(name, run)
        if status.state == "own":
            return NOT_LOGGED
        reason = status.reason if status.state == "refused" else _no_replay(run)
        if reason is not None or status.fingerprint is None:
            return Cells(unfillable=self._main_levels(run), reason=reason)
        coverage = self.coverage(name, run.id, status.fingerprint)
        levels = self.levels(status, run)
        known = self._known(run, levels, coverage)
        standing = {*coverage.levels, *(() if known == "all" else levels)}
        placed = deepest(standing) if known == "all" else _where_it_may_count(standing, shape)
        failed = coverage.has_failed()
        return Cells(
            placed=placed or deepest(levels),
            unfillable=self._failed_levels(run, coverage),
            known=known,
            failed=failed,
            fingerprint=status.fingerprint,
            once=status.once,
            standing=tuple(sorted(standing)) or levels,
        )

    def levels(self, status: Status, run: Run) -> tuple[Level, ...]:
        """The levels at which the placed statements can log in a run: of those that the source allows, the run's own.

        `*` in a level is a loop whose name the source does not tell.
        """
        found = {have for have in self.shape(run.id).levels for allowed in status.levels if _fits(have, allowed)}
        return tuple(sorted(found)) or status.levels or self._main_levels(run)

    def _failed_levels(self, run: Run, coverage: Coverage) -> tuple[Level, ...]:
        """The levels with rows for what replays failed to give: those of its main loops, or the run's own."""
        loops = {loop for (loop, _), indices in coverage.failed.items() if indices}
        return self._main_levels(run) if loops - {None} else (RUN_LEVEL,) * len(loops)

    def _main_levels(self, run: Run) -> tuple[Level, ...]:
        levels = sorted({level[:1] for level in self.shape(run.id).levels if level})
        return tuple(levels) or (RUN_LEVEL,)

    def _known(self, run: Run, levels: tuple[Level, ...], coverage: Coverage) -> str:
        """Whether replays have settled `all`, `some` or `none` of the iterations of the levels' main loops."""
        if not coverage.done and not coverage.failed:
            return "none"
        loops = self.main_loops.get(run.id, ())
        for level in levels:
            if level == RUN_LEVEL and not coverage.known((None, 0)):
                return "some"
            mine = [loop for loop in loops if level and loop.loop == level[0]]
            if any(coverage.known((loop.loop, loop.entry)) < loop.iterations for loop in mine):
                return "some"
        return "all"


def _fits(level: Level, allowed: Level) -> bool:
    return len(level) == len(allowed) and all(name in ("*", loop) for loop, name in zip(level, allowed, strict=True))


def _where_it_may_count(levels: Collection[Level], shape: Shape) -> tuple[Level, ...]:
    """Of nested levels each one that the run has: which one logs the name, and so counts, is itself missing."""
    found = deepest(levels)
    if len(found) == len(set(levels)):
        return found
    return tuple(sorted(level for level in levels if level in shape.levels)) or found


def deepest(levels: Iterable[Level]) -> tuple[Level, ...]:
    """Those of the levels that have no other of them below."""
    found: list[Level] = sorted(set(levels))
    return tuple(
        level for level in found if not any(other != level and other[: len(level)] == level for other in found)
    )


def _no_replay(run: Run) -> str | None:
    if run.status == "running":
        return "running"
    return "multi-process run" if run.ranks > 1 else None
