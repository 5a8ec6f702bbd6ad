"""From a process that ended to a result: values, fidelity, reasons, and the checkpoints that it passed."""

from __future__ import annotations

import contextlib
import functools
import os
import signal
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from logql.errors import Error
from logql.model import Checkpoint, Logged, Path
from logql.replay import environment, supervise
from logql.replay.bounds import comparable
from logql.replay.fidelity import Tally, describe
from logql.replay.job import Job, Options, Result
from logql.replay.process import Outcome
from logql.replay.recorded import Recorded, Values, ranges_of
from logql.replay.wire import Frame, decode_event
from logql.store.blobs import Blobs
from logql.store.catalog import Catalog
from logql.store.losses import describe_losses

_SIGNALS = {
    signal.SIGKILL: "the process was killed, probably for want of memory",
    signal.SIGSEGV: "the process crashed (segmentation fault)",
    signal.SIGBUS: "the process crashed (bus error)",
    signal.SIGABRT: "the process aborted",
    signal.SIGXFSZ: "it wrote a file larger than a replay may",
}


#: Loop and entry; None and 0 for what is outside of main loops.
_Place = tuple[str | None, int]


@dataclass
class _Report:
    """What a worker said, taken apart."""

    hindsight: list[Logged] = field(default_factory=list)
    relogged: list[Logged] = field(default_factory=list)
    executed: list[tuple[str, int, int]] = field(default_factory=list)
    complete: list[tuple[str, int, int]] = field(default_factory=list)
    covered: list[tuple[str, int, int]] = field(default_factory=list)
    digests: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    impure: str | None = None
    unproved: str | None = None
    error: str | None = None
    placed: bool = False
    changed: list[str] = field(default_factory=list)
    cpu_s: float = 0.0
    done: bool = False
    #: when all that was wanted of a main loop was done, and the CPU seconds until then
    passed: dict[_Place, tuple[float, float]] = field(default_factory=dict)


class Judge:
    """Makes results; reads the record of each run at most once per snapshot."""

    def __init__(self, store: str, options: Options) -> None:
        self._store = store
        self._options = options
        self._recorded = Recorded(store)

    def expect(self, job: Job) -> None:
        """Read the record of what a job is going to execute, while it does."""
        segment = job.segment
        if segment.loop is not None:
            inside = [one.index for one in job.checkpoints if (one.loop, one.entry) == (segment.loop, segment.entry)]
            starts = [index for index in inside if index is not None and index <= segment.wanted[0]]
            ranges = {(segment.loop, segment.entry): (max(starts, default=0), segment.wanted[-1])}
            with contextlib.suppress(Error, OSError):  # whoever judges is told
                self._recorded.read_ahead(job.id, job.run.id, ranges)

    def judge(self, job: Job, outcome: Outcome, notes: Sequence[str] = ()) -> Result:
        """The result of a job whose process ended as `outcome` tells, or has passed all that the job wants."""
        report = _read(outcome, job)
        error = None if report.done else report.error or _reason(outcome)
        tally = self._compare(job, report)
        state = "done" if error is None else "cancelled" if outcome.stopped == "cancelled" else "failed"
        wanted = tuple(sorted({index for loop, entry, index in report.covered if (loop, entry) == _place(job)}))
        events = _own_events(job, outcome.along, report.hindsight, frozenset(wanted))
        seconds, cpu_seconds = _spent(job, outcome, report)
        differences = _explain(job, tally, report.changed)
        self._note_in_log(outcome.log, differences)
        return Result(
            segment=job.segment,
            state=state,  # type: ignore[arg-type]
            events=tuple(events),
            places=_places(events, report.relogged),
            executed=_executed(job, outcome.along, report),
            compared=tally.compared,
            fidelity=tally.verdict() if error is None or wanted else None,
            error=error,
            placed=error is not None and report.placed,
            log=outcome.log,
            actual_s=seconds,
            covered=wanted,
            notes=(*notes, *report.notes, *differences),
            started_at=outcome.started_at,
            id=job.id,
            cpu_s=cpu_seconds,
        )

    def _note_in_log(self, log: str, differences: Sequence[str]) -> None:
        """Tell, behind what the script printed, what does not agree: notices are gone by tomorrow."""
        if differences and log:
            with contextlib.suppress(OSError), open(os.path.join(self._store, log), "a", encoding="utf-8") as file:
                file.writelines(f"logql: {line}\n" for line in differences)

    def _compare(self, job: Job, report: _Report) -> Tally:
        tally = Tally(self._options.rtol, self._options.atol, impure=report.impure, unproved=report.unproved)
        for digest in report.digests:
            text = f"state at {digest['path']} before {digest['where']}"
            tally.add(digest["agreement"], True, text)
            tally.compared += max(0, digest["compared"] - 1)
        if report.relogged or report.complete:
            ranges = ranges_of(report.relogged)
            for loop, entry, index in report.complete:
                first, last = ranges.get((loop, entry), (index, index))
                ranges[loop, entry] = min(first, index), max(last, index)
            values = self._recorded.values(job.id, job.run.id, ranges)
            names = self._recorded.stored_names({event.name for event in report.relogged})
            begun = functools.partial(self._recorded.last_begun, job.run.id)
            relogged = comparable(report.relogged, job.run, values, names, begun)
            _compare_values(tally, values, relogged, frozenset(report.complete), names)
        return tally

    def adopt(self, outcome: Outcome) -> None:
        """Take checkpoints that an ended replay passed into the store."""
        checkpoints = [Checkpoint(**frame["checkpoint"]) for frame in outcome.frames if frame["kind"] == "checkpoint"]
        if not checkpoints:
            return
        source, target = Blobs(outcome.spool), Blobs(self._store)
        for digest in source:
            target.put(source.get(digest))
        catalog = Catalog.open(self._store)
        try:
            for one in checkpoints:
                catalog.add_checkpoint(one)
        finally:
            catalog.close()


def _read(outcome: Outcome, job: Job) -> _Report:
    """All that a worker said until it had passed what a job wants."""
    report = _Report()
    for frame in _until_passed(outcome.frames, _place(job)):
        kind = frame["kind"]
        if kind == "events":
            report.hindsight += map(decode_event, frame["hindsight"])
            report.relogged += map(decode_event, frame["relogged"])
        elif kind == "executed":
            report.executed.append((frame["loop"], frame["entry"], frame["index"]))
        elif kind == "complete":
            report.complete.append((frame["loop"], frame["entry"], frame["index"]))
        elif kind == "covered":
            report.covered.append((frame["loop"], frame["entry"], frame["index"]))
        elif kind == "digest":
            report.digests.append(frame)
        elif kind == "note":
            report.notes.append(frame["text"])
        elif kind in ("impure", "unproved"):
            setattr(report, kind, getattr(report, kind) or frame["text"])
        elif kind == "error":
            report.error = report.error or frame["text"]
            report.placed = report.placed or frame.get("placed", False)
        elif kind == "passed":
            report.passed[frame["loop"], frame["entry"]] = frame["at"], frame["cpu_s"]
        elif kind == "done":
            report.done, report.cpu_s, report.changed = True, frame["cpu_s"], frame["changed"]
    report.done = report.done or _place(job) in report.passed
    return report


def _until_passed(frames: Sequence[Frame], place: _Place) -> Iterator[Frame]:
    for frame in frames:
        yield frame
        if frame["kind"] == "passed" and (frame["loop"], frame["entry"]) == place:
            return


def _place(job: Job) -> _Place:
    return job.segment.loop, job.segment.entry


def _own_events(job: Job, along: frozenset[_Place], events: Sequence[Logged], covered: frozenset[int]) -> list[Logged]:
    """The wanted values of a job: in the iterations that are covered, or outside of what others of its process do."""
    own = [event for event in events if event.name in job.told.names]
    if job.segment.loop is None:
        return [event for event in own if not event.path or event.path[0][:2] not in along]
    return [event for event in own if event.path and event.path[0][:2] == _place(job) and event.path[0][2] in covered]


def _executed(job: Job, along: frozenset[_Place], report: _Report) -> int:
    """How many iterations a job had to be executed, those that others of its process want left to them."""
    mine = _place(job)
    return sum(
        (loop, entry) == mine or not (mine in along or (loop, entry) in along) for loop, entry, _ in {*report.executed}
    )


def _spent(job: Job, outcome: Outcome, report: _Report) -> tuple[float, float]:
    """Wall and CPU seconds from where the process was done with the job before to where it was with this one."""
    times = [(outcome.started_at, 0.0), *report.passed.values()]
    if _place(job) not in report.passed:
        if _place(job) not in outcome.along and outcome.along - report.passed.keys():
            return 0.0, 0.0
        times.append((outcome.started_at + outcome.seconds, report.cpu_s))
    (began, worked), (ended, cpu) = times[-2:]
    return max(0.0, ended - began), max(0.0, cpu - worked)


def _places(events: Sequence[Logged], relogged: Sequence[Logged]) -> tuple[Logged, ...]:
    """The values logged again in contexts that have wanted ones, where any name came more than once."""
    counts = Counter((one.path, one.name) for one in (*events, *relogged))
    often = {path for (path, _), count in counts.items() if count > 1} & {one.path for one in events}
    return tuple(one for one in relogged if one.path in often)


def _compare_values(
    tally: Tally,
    recorded: Values,
    relogged: Sequence[Logged],
    complete: Collection[tuple[str, int, int]],
    names: Mapping[str, str],
) -> None:
    """Compare in the order of logging; a value too many, or too few in a `complete` iteration, diverges."""
    known = {name for _, name in recorded}
    seen: Counter[tuple[Path, str]] = Counter()
    for event in relogged:
        stored = names.get(event.name, event.name)
        key = event.path, stored
        values = recorded.get(key, [])
        if seen[key] < len(values):
            tally.add_value(event.path, event.name, values[seen[key]], event.value)
        elif stored in known and stored != f"{event.name}_":  # the record leaves out what repeats an arg or a loop
            tally.add("far", bool(event.path), f"{event.name} at {describe(event.path)} was not logged then", stored)
        seen[key] += 1
    for (path, name), values in recorded.items():
        if path and tuple(path[0]) in complete and seen[path, name] < len(values):
            tally.add("far", True, f"{name} at {describe(path)} was logged then, and is not in the replay", name)


def _reason(outcome: Outcome) -> str:
    """Why a worker that said nothing ended."""
    if outcome.stopped is not None:
        return outcome.stopped
    if outcome.code == supervise.DISK_FULL:
        return "it wrote more to disk than a replay may"
    if outcome.code == supervise.ABANDONED:
        return "cancelled"
    if outcome.no_namespaces:
        return f"no private view of the file system: {outcome.view_error}"
    number = outcome.code - 128 if outcome.code >= 128 else -outcome.code
    if number > 0:
        known = [text for one, text in _SIGNALS.items() if one == number]
        return known[0] if known else f"the process was killed by signal {number}"
    last = outcome.text.strip().splitlines()
    tail = f": {last[-1]}" if last and outcome.code else ""
    return f"the script ended its process with exit code {outcome.code}{tail}"


def _explain(job: Job, tally: Tally, changed: Sequence[str]) -> list[str]:
    """What to tell of a replay that does not agree with its record."""
    if tally.impure is not None:
        return [f"the inserted statement changed the state: {tally.impure}"]
    if tally.worst == "equal":
        return [] if tally.unproved is None else [f"the inserted statement may have changed {tally.unproved}"]
    found = [f"{tally.first}"]
    differences = environment.differences(job.run)
    if tally.worst == "far":
        differences += [f"{path} changed since the run" for path in changed]
    lost = describe_losses(job.run.environment)
    if tally.worst == "far" and lost:
        differences.append(f"of the run, {lost}")
    if differences:
        found.append("likely because of: " + "; ".join(differences))
    elif tally.worst == "far":
        found.append("likely because of randomness that is not seeded")
    return found
