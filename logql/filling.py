"""From demanded cells to sidecars in the store: plan segments, replay them, write what they gave."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Protocol

from logql.catalog.coverage import covered
from logql.catalog.history import History
from logql.catalog.schema import explicit
from logql.catalog.virtual import ProjectSources
from logql.errors import Interrupted
from logql.garbage import collections_paused
from logql.model import RUN_LEVEL, Fill, Run, Segment
from logql.options import Options
from logql.plan.demand import Demand
from logql.replay.job import Job, Progress, Result, new_id, to_fill
from logql.replay.job import Options as PoolOptions
from logql.replay.pool import LocalPool
from logql.store.fills import write_fill
from logql.store.snapshot import read_snapshot

OnProgress = Callable[[Progress], None]


@dataclass(frozen=True)
class Filled:
    """What filling one round did."""

    fills: tuple[Fill, ...]
    notes: tuple[str, ...] = ()
    #: segments of which another query has filled cells meanwhile: what is missing must be asked again
    elsewhere: int = 0


class Filler(Protocol):
    """Fills segments; the real one replays, a stand-in can look values up."""

    def fill(self, segments: Sequence[Segment], history: History, query: str, options: Options) -> Filled:
        """Fill the segments' cells in the store, or register why they cannot be."""


@dataclass
class _Work:
    """What is being filled, and what has been."""

    store: str
    pool: LocalPool
    elsewhere: int
    done: list[Fill] = field(default_factory=list)
    notes: dict[str, None] = field(default_factory=dict)
    jobs: dict[str, Job] = field(default_factory=dict)

    def submit(self, found: Iterable[Job | Fill]) -> None:
        """Have jobs run; fills among them have failed before."""
        for job in found:
            if isinstance(job, Fill):
                self.done.append(job)
                write_fill(self.store, job, ())
            else:
                self.jobs.update((one.id, one) for one in job.each)
                self.pool.submit(job)

    def failed_before(self, job_id: str) -> bool:
        """Whether a job's process failed in what it did along its way, which the job alone may pass."""
        job, done = self.jobs[job_id], {fill.id for fill in self.done if fill.state == "done"}
        exits = {(one.loop, one.entry) for one in job.checkpoints if one.index is None and one.manifest is not None}
        passable = all((one.segment.loop, one.segment.entry) in exits for one in job.along)
        return passable and not all(one.id in done for one in job.along)

    def keep(self, result: Result) -> None:
        """Make a result durable and visible."""
        fill = to_fill(self.jobs[result.id], result)
        if result.state == "elsewhere":
            self.elsewhere += 1
        for part in _parts(fill, result.segment) if result.state != "elsewhere" else ():
            write_fill(self.store, part, result.events if part.state == "done" else (), places=result.places)
            self.done.append(part)
        self.notes.update(dict.fromkeys(result.notes))


class ReplayFiller:
    """Fills by replaying in processes of this machine, until `cancelled` tells that nobody wants it any more."""

    def __init__(
        self, store: str, project: str, progress: Callable[[], OnProgress | None], cancelled: Callable[[], bool]
    ) -> None:
        self._store = store
        self._project = project
        self._progress = progress
        self._cancelled = cancelled

    def fill(self, segments: Sequence[Segment], history: History, query: str, options: Options) -> Filled:
        """Replay the segments; each is durable as soon as it is done, whatever becomes of the others."""
        pool = LocalPool(self._store, self._project, _pool_options(options))
        open_segments = self._still_open(segments, history)
        work = _Work(self._store, pool, elsewhere=len(segments) - len(open_segments))
        before = _done_of({segment.run for segment in open_segments}, history)
        for together in _by_process(open_segments):
            work.submit(self._jobs(together, history, query, before.get(together[0].run, ())))
        with closing(self._results(pool)) as results:
            for result in results:
                if result.placed and len(result.segment.names) > 1:
                    work.submit(self._apart(result.segment, history, query))
                elif result.state == "failed" and work.failed_before(result.id):
                    work.submit([self._job(result.segment, history, query)])
                else:
                    work.keep(result)
        return Filled(tuple(work.done), tuple(work.notes), work.elsewhere)

    def _still_open(self, segments: Sequence[Segment], history: History) -> list[Segment]:
        """Those of the segments that no other query has filled since they were planned."""
        known = {fill.id for fill in history.snapshot.fills}
        since = [f for f in read_snapshot(self._store).fills if f.id not in known and f.state == "done"]
        return [segment for segment in segments if not (since and _filled(segment, since))]

    def _results(self, pool: LocalPool) -> Generator[Result, None, None]:
        """Results as they come. Raises Interrupted, and stops what runs, once the query is cancelled."""
        with closing(pool.results()) as items:
            for item in items:
                report = self._progress()
                if isinstance(item, Result):
                    yield item
                elif report is not None:
                    report(item)
                if self._cancelled():
                    raise Interrupted("the query was cancelled; what was filled is kept")

    def _jobs(
        self, segments: Sequence[Segment], history: History, query: str, before: Iterable[Fill]
    ) -> list[Job | Fill]:
        """The job of segments that one process does; of each, or of each name, where statements do not fit together."""
        *along, last = segments
        wide = [_with_neighbours(segment, history, before) for segment in segments]
        for *others, tried in (segments,) if wide == [*segments] else (wide, segments):
            job = self._job(tried, history, query, others)
            if isinstance(job, Job) or (not along and len(tried.names) == 1):
                return [job]
        if not along:
            return self._apart(last, history, query)
        return [job for segment in segments for job in self._jobs([segment], history, query, before)]

    def _apart(self, segment: Segment, history: History, query: str) -> list[Job | Fill]:
        """A job of each name, so that what is wrong with one statement is not the others' fault."""
        return [self._job(replace(segment, names={name: one}), history, query) for name, one in segment.names.items()]

    def _job(self, segment: Segment, history: History, query: str, along: Sequence[Segment] = ()) -> Job | Fill:
        """The job of a segment and of those along its way, or a failed fill where its sources cannot be made."""
        run = history.runs[segment.run]
        sources = history.sources
        if not isinstance(sources, ProjectSources):
            return _unfillable(segment, query, "the sources of this version are not at hand")
        names = {name for one in (*along, segment) for name in one.names}
        files, reason = sources.patched(names, run)
        if files is None:
            return _unfillable(segment, query, reason or "its statements do not fit beside each other")
        job = Job(
            segment=segment,
            run=run,
            version=history.versions[run.version],
            loops=history.main_loops.get(run.id, ()),
            checkpoints=history.checkpoints.get(run.id, ()),
            files=files,
            once=_once(segment, history, run),
            recorded_names=frozenset(name for names in history.shape(run.id).levels.values() for name in names),
            query=query,
            logged_as={name: logged for name in names if (logged := sources.logged_as(name)) != name},
        )
        return replace(job, along=tuple(replace(job, segment=one, id=new_id()) for one in along))


def _by_process(segments: Iterable[Segment]) -> list[list[Segment]]:
    """The segments that one process does together: those that go on to the end of a script, before what serves it."""
    onward: dict[str, list[Segment]] = {}
    others: list[Segment] = []
    for segment in segments:
        (onward.setdefault(segment.run, []) if segment.onward else others).append(segment)
    found = [[*(onward.pop(segment.run, ()) if segment.loop is None else ()), segment] for segment in others]
    return found + [[segment] for left in onward.values() for segment in left]


def _done_of(runs: set[str], history: History) -> dict[str, list[Fill]]:
    """What earlier replays gave of some runs."""
    found: dict[str, list[Fill]] = {}
    for fill in history.snapshot.fills:
        if fill.run in runs and fill.state == "done":
            found.setdefault(fill.run, []).append(fill)
    return found


def _with_neighbours(segment: Segment, history: History, before: Iterable[Fill]) -> Segment:
    """The segment with the names that earlier replays gave of its iterations, where any of all may come again in one.

    Which row a value belongs to then depends on the order of them all, and only one replay of all tells that.
    """
    run, names, wanted = history.runs[segment.run], dict(segment.names), set(segment.wanted or (None,))
    for fill in before:
        if (fill.loop, fill.entry) == (segment.loop, segment.entry) and not wanted.isdisjoint(covered(fill)):
            known = {name: print_ for name, print_ in fill.names.items() if name not in names}
            names |= {name: print_ for name, print_ in known.items() if history.status(name, run).fingerprint == print_}
    alone = len(names) == len(segment.names) or all(history.status(name, run).once for name in names)
    return segment if alone else replace(segment, names=names)


def _filled(segment: Segment, fills: Iterable[Fill]) -> bool:
    """Whether fills have all that a segment wants, under the same fingerprints."""
    found: set[tuple[str, int | None]] = set()
    for fill in fills:
        if (fill.run, fill.loop) == (segment.run, segment.loop) and fill.entry == segment.entry:
            names = [name for name, print_ in segment.names.items() if fill.names.get(name) == print_]
            found.update((name, index) for name in names for index in covered(fill))
    return all((name, index) in found for name in segment.names for index in segment.wanted or (None,))


def _once(segment: Segment, history: History, run: Run) -> bool:
    """Whether each name is logged at most once per main-loop iteration (or per run, for the run's level)."""
    depth = 0 if segment.loop is None else 1
    statuses = [history.status(name, run) for name in segment.names]
    return all(status.once and all(len(level) == depth for level in status.levels) for status in statuses)


def _parts(fill: Fill, segment: Segment) -> list[Fill]:
    """A fill; of one that failed what it gave until then, and what is left, so that it is not tried again at once."""
    if fill.state != "failed" or segment.loop is None or not segment.wanted:
        return [fill]
    given = {index for index in covered(fill) if index is not None}
    left = tuple(index for index in segment.wanted if index not in given)
    done = replace(fill, state="done", error=None, executed=len(given))
    if not left:
        return [done]
    failed = replace(fill, first_index=left[0], last_index=left[-1], covered=left)
    if not given:
        return [failed]
    rest = replace(failed, executed=max(0, fill.executed - len(given)), compared=0, fidelity=None, levels={})
    return [replace(done, id=new_id()), rest]


def _unfillable(segment: Segment, query: str, reason: str) -> Fill:
    job_fill = Fill(
        id=new_id(), query=query, run=segment.run, version=segment.version, names=dict(segment.names),
        loop=segment.loop, entry=segment.entry, first_index=None, last_index=None, state="failed", error=reason,
        started_at=time.time(),
    )  # fmt: skip
    return _parts(job_fill, segment)[-1]


def _pool_options(options: Options) -> PoolOptions:
    isolation = {"strong": "strong", "weak": "weak"}.get(options.replay_isolation)
    return PoolOptions(
        workers=options.replay_workers,
        threads=options.replay_threads,
        isolation=isolation,  # type: ignore[arg-type]
        prove=options.replay_fidelity == "strict",
    )


@collections_paused()
def place_demands(demands: Iterable[Demand], history: History) -> list[Demand]:
    """Demands at the place where a replay gives their names, which no longer say at which level.

    A row sees values of enclosing levels: what the run's level logs is demanded outside of main loops. Where the level
    of a name is itself unknown (its statements stand at nested levels), every iteration of the run is demanded.
    """
    found: list[Demand] = []
    for demand in demands:
        names = {explicit(name, history)[0] for name in demand.names}
        placed = [(name, _places(demand, name, history)) for name in sorted(names)]
        if not any(places for _, places in placed):
            found.append(replace(demand, names=frozenset(names)))
            continue
        for name, places in placed:
            own = frozenset({name})
            found += [Demand(demand.run, *place, own) for place in places] or [replace(demand, names=own)]
    return found


def _places(demand: Demand, name: str, history: History) -> list[tuple[str | None, int, tuple[int, ...]]]:
    """Where a demanded name is to be replayed; none where that is the demand's own place."""
    run = history.runs[demand.run]
    levels = history.levels(history.status(name, run), run)
    nested = any(a != b and b[: len(a)] == a for a in levels for b in levels)
    outside: list[tuple[str | None, int, tuple[int, ...]]] = [(None, 0, ())] if RUN_LEVEL in levels else []
    if nested or (demand.loop is None and any(levels)):
        loops = {level[0] for level in levels if level}
        mine = [loop for loop in history.main_loops.get(run.id, ()) if loop.loop in loops]
        return outside + [(loop.loop, loop.entry, tuple(range(loop.iterations))) for loop in mine if loop.iterations]
    return outside
