"""What is asked of a replay and what comes back: jobs, results, progress, and the options of a pool."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from logql.model import Checkpoint, Fidelity, Fill, Level, Logged, MainLoop, Run, Segment, Version

#: `elsewhere`: another query fills these cells; read them again, and ask again for what is missing then.
ResultState = Literal["done", "failed", "cancelled", "elsewhere"]
Isolation = Literal["strong", "weak"]


@dataclass(frozen=True)
class Job:
    """One segment with all that its worker needs.

    `loops` and `checkpoints` are those of the run, in any order. `files` holds the sources that differ from the
    version's own (path in project -> text). `once` promises that each wanted name is logged at most once per main-loop
    iteration (or per run, where the segment's loop is None). `id` is that of the segment's fill. `along`: segments of
    main loops that the process does on its way to the end of the script, where that is what the segment is about; each
    has a fill of its own. `logged_as`: under which names the script logs those of the segment that are stored under
    others.
    """

    segment: Segment
    run: Run
    version: Version
    loops: tuple[MainLoop, ...]
    checkpoints: tuple[Checkpoint, ...]
    files: Mapping[str, str]
    once: bool = False
    recorded_names: frozenset[str] = frozenset()
    timeout_s: float = 0.0
    id: str = field(default_factory=lambda: new_id())
    query: str = ""
    along: tuple[Job, ...] = ()
    logged_as: Mapping[str, str] = field(default_factory=dict)

    @property
    def told(self) -> Segment:
        """The segment as its worker is told it: with names as the script logs them."""
        return replace(self.segment, names={self.logged_as.get(n, n): p for n, p in self.segment.names.items()})

    @property
    def each(self) -> tuple[Job, ...]:
        """The jobs that the process does, each of one segment; this one is done last."""
        return *self.along, self

    @property
    def estimated_s(self) -> float:
        """What the process takes."""
        return sum(job.segment.estimated_s for job in self.each)


@dataclass(frozen=True)
class Result:
    """What became of a segment. `covered` holds the iterations executed as far as wanted.

    `places` are the values of the record that were logged again in contexts with wanted ones where some name came more
    than once: their rows depend on the order.
    `log` is relative to the store. `notes` are for people: why a replay diverged, in which way it was isolated, what
    differs from the recorded machine. `placed`: the error came out of a statement that was put into the version's code.
    """

    segment: Segment
    state: ResultState
    events: tuple[Logged, ...] = ()
    places: tuple[Logged, ...] = ()
    executed: int = 0
    compared: int = 0
    fidelity: Fidelity | None = None
    error: str | None = None
    placed: bool = False
    log: str = ""
    actual_s: float = 0.0
    covered: tuple[int, ...] = ()
    notes: tuple[str, ...] = ()
    started_at: float = 0.0
    id: str = ""
    cpu_s: float = 0.0


@dataclass(frozen=True)
class Progress:
    """How far the pool is, counted in main-loop iterations; `seconds_left` is of the wall clock."""

    done: int
    total: int
    seconds_left: float
    running: int
    segment: Segment | None = None


@dataclass(frozen=True)
class Options:
    """How a pool replays. Limits are per segment; `threads` forces a thread count other than the recorded one.

    `max_tasks` bounds processes and threads where the kernel counts them per namespace. `share_imports` lets replays
    start as forks of one process that has imported what their scripts import first. `prove` has a replay go on, within
    its last wanted iteration, until something in the main loop was compared with the record.
    """

    workers: int | None = None
    threads: int | None = None
    isolation: Isolation | None = None
    memory_bytes: int | None = None
    disk_bytes: int | None = None
    max_tasks: int = 16384
    timeout_floor_s: float = 60.0
    rtol: float = 1e-3
    atol: float = 1e-5
    share_imports: bool = True
    prove: bool = False


def new_id() -> str:
    """A name for a fill that sorts by time."""
    return f"{int(time.time() * 1000):012x}{os.urandom(6).hex()}"


def to_fill(job: Job, result: Result) -> Fill:
    """The row of `fills` that records a result."""
    covered = result.covered
    state: Literal["done", "failed", "cancelled"] = "done" if result.state == "done" else "failed"
    if result.state in ("cancelled", "elsewhere"):
        state = "cancelled"
    dense = bool(covered) and covered[-1] - covered[0] + 1 == len(covered)
    return _fill(
        job,
        state=state,
        first_index=covered[0] if covered else None,
        last_index=covered[-1] if covered else None,
        covered=None if dense or job.segment.loop is None else covered,
        executed=result.executed,
        compared=result.compared,
        actual_s=result.actual_s,
        fidelity=result.fidelity,
        error=result.error,
        log=result.log or None,
        started_at=result.started_at,
        levels=_levels(result.events, {logged: stored for stored, logged in job.logged_as.items()}),
    )


def claim_of(job: Job) -> Fill:
    """The running fill by which a job claims its cells."""
    wanted = job.segment.wanted
    return _fill(
        job,
        state="running",
        first_index=wanted[0] if wanted else None,
        last_index=wanted[-1] if wanted else None,
        covered=wanted or None,
        started_at=time.time(),
    )


def _fill(job: Job, **values: object) -> Fill:
    segment = job.segment
    common: dict[str, object] = {
        "id": job.id,
        "query": job.query,
        "run": segment.run,
        "version": segment.version,
        "names": dict(segment.names),
        "loop": segment.loop,
        "entry": segment.entry,
        "estimated_s": segment.estimated_s,
    }
    return Fill(**(common | values))  # type: ignore[arg-type]


def _levels(events: tuple[Logged, ...], stored: Mapping[str, str]) -> dict[str, tuple[Level, ...]]:
    found: dict[str, dict[Level, None]] = {}
    for event in events:
        found.setdefault(stored.get(event.name, event.name), {})[tuple(step.loop for step in event.path)] = None
    return {name: tuple(levels) for name, levels in found.items()}
