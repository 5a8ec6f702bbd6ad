"""Replays jobs in parallel in processes of this machine: longest first, bounded in time, without orphans."""

from __future__ import annotations

import contextlib
import os
import select
import time
from collections import deque
from collections.abc import Generator, Sequence
from dataclasses import replace
from typing import Protocol

from logql.errors import Error, ReplayError
from logql.model import Version, process_since
from logql.replay import claims, gpus, judge, landlock
from logql.replay.artifacts import Artifacts
from logql.replay.checkout import Tree, hide, prepare_tree
from logql.replay.cleaning import sweep_scratch
from logql.replay.foreign import Foreign, find_foreign
from logql.replay.job import Isolation, Job, Options, Progress, Result
from logql.replay.process import PATIENCE, Outcome, WorkerProcess
from logql.replay.servers import Servers
from logql.threads import replays_beside
from logql.versions.history import noted_files

#: Seconds between two looks at processes, time-outs and claims.
_POLL_S = 0.2
#: The same while a worker that has said its last word is ending; and the least time between two looks.
_END_POLL_S = 0.01
_PROGRESS_S = 0.5
_UNPROTECTED = "; what C++ code or other programs write by absolute path is not caught"
#: In place of GPUs: ours are in use, or too many are in somebody else's.
_WAIT, _BUSY = "wait", "busy"


class Workers(Protocol):
    """What executes jobs: local processes here; a cluster's tasks fit the same."""

    def submit(self, job: Job) -> None:
        """Take a job; nothing starts before `results` is iterated."""

    def results(self) -> Generator[Result | Progress, None, None]:
        """Run all that was submitted; each result comes as soon as its segment is finished."""

    def cancel(self) -> None:
        """Stop what runs and forget what waits; results not yet given are lost."""


class LocalPool:
    """Workers on this machine. `project` stands in for a run's own project directory where that is gone."""

    def __init__(self, store: str, project: str, options: Options | None = None) -> None:
        self.store = os.path.abspath(store)
        self.project = project
        self.options = options or Options()
        #: why private views of the file system cannot be had here, once that was tried
        self.weak_reason: str | None = None
        self._queue: list[Job] = []
        self._running: list[WorkerProcess] = []
        #: processes whose results are there; they are on their way out
        self._leaving: list[WorkerProcess] = []
        self._waiting: list[claims.Waiting] = []
        self._finished: deque[Result] = deque()
        self._trees: dict[tuple[str, str], Tree | ReplayError] = {}
        self._artifacts: dict[str, Artifacts] = {}
        self._foreign: dict[str, Foreign] = {}
        self._judge = judge.Judge(self.store, self.options)
        self._claims = claims.Claims(self.store)
        self._servers = Servers(self.store, self.options)
        self._gpus: dict[str, bool] | None = None
        #: why a job's checkpoints are not used, by its id
        self._unrestorable: dict[str, str] = {}
        self._started_at = time.monotonic()
        self._woken_at = 0.0
        self._total = 0
        self._done = 0

    def submit(self, job: Job) -> None:
        """Queue a job."""
        self._queue.append(job)
        self._total += sum(max(1, len(one.segment.wanted)) for one in job.each)

    def results(self) -> Generator[Result | Progress, None, None]:
        """Run what was submitted. Leaving the iteration early, or an exception in it, cancels the rest."""
        sweep_scratch(self.store)
        self._queue.sort(key=lambda job: job.estimated_s)
        self._servers.expect(self._queue)
        self._started_at = last = time.monotonic()
        try:
            while self._queue or self._running or self._waiting or self._finished:
                while self._finished:
                    yield self._finished.popleft()
                self._start_some()
                for process in self._running:
                    for job in process.job.each:
                        self._judge.expect(job)
                self._look()
                if time.monotonic() - last >= _PROGRESS_S and (self._running or self._waiting):
                    last = time.monotonic()
                    yield self._progress()
        finally:
            self.cancel()
            sweep_scratch(self.store)

    def cancel(self) -> None:
        """Kill what runs with everything that it started, and give its claims back."""
        for process in self._running:
            process.stop()
        for process in self._running:
            process.finish()
            self._claims.release_all(process.left(), "cancelled")
            process.clean()
        for process in self._leaving:
            process.finish()
            process.clean()
        self._servers.close()
        self._running.clear()
        self._leaving.clear()
        self._queue.clear()
        self._waiting.clear()
        self._claims.close()

    def _start_some(self) -> None:
        while self._queue and len(self._running) < self._room(self._queue[-1]):
            job = self._queue.pop()
            chosen = self._choose_gpus(job)
            if chosen == _WAIT:
                self._queue.append(job)
                return
            if self._claims.is_own(job):
                self._elsewhere(job, "another replay fills these cells")
                continue
            if not self._claims.take(job):
                self._waiting.append(claims.Waiting(job))
                continue
            if self._claims.settled(job):
                self._elsewhere(job, "another query filled these cells")
                continue
            try:
                if isinstance(chosen, str):
                    raise ReplayError("every GPU here is busy with other work")
                self._running.append(self._start(job, chosen))
            except (Error, OSError) as exc:
                self._end_all(job, exc)

    def _choose_gpus(self, job: Job) -> gpus.Devices | str | None:
        """The GPUs for a job whose run used some; None where it did not, or where there are none at all."""
        if not gpus.uses_gpu(job.run):
            return None
        taken = [uuid for process in self._running if process.gpus is not None for uuid in process.gpus.own]
        if self._gpus is None:
            self._gpus = gpus.list_gpus()
        if not self._gpus:
            return None
        return gpus.choose(job.run, self._gpus, taken) or (_WAIT if taken else _BUSY)

    def _room(self, job: Job) -> int:
        """How many workers may run beside each other, given the threads of the next one."""
        if self.options.workers:
            return self.options.workers
        if gpus.uses_gpu(job.run) and self._gpus:
            return len(self._gpus)
        return replays_beside(job.run, self.options.threads)

    def _start(self, job: Job, devices: gpus.Devices | None, afresh: bool = False) -> WorkerProcess:
        project = job.run.project if os.path.isdir(job.run.project) else self.project
        tree = self._hide_later(self._tree(project, job.version, job.run.script), project, job)
        weak = self.options.isolation == "weak" or self.weak_reason is not None
        if not weak:
            if project not in self._foreign:
                self._foreign[project] = find_foreign(project)
            tree = replace(tree, foreign=self._foreign[project])
        starter, own = (None, frozenset[str]()) if afresh else self._servers.starter(job, tree, project, not weak)
        mode: Isolation = "weak" if weak else "strong"
        return WorkerProcess(self.store, project, tree, job, self.options, mode, devices, starter, own)

    def _hide_later(self, tree: Tree, project: str, job: Job) -> Tree:
        """The tree without what the job's run did not find at its start, because trainings wrote it."""
        if project not in self._artifacts:
            self._artifacts[project] = Artifacts(self.store, project)
        later, own = self._artifacts[project].later(job.run)
        noted = noted_files(self.store, job.version)
        found = {path for path in later & noted.keys() if noted[path][1] / 1e9 < process_since(job.run)}
        return hide(tree, later - found, own - found)

    def _tree(self, project: str, version: Version, script: str) -> Tree:
        """The version's files, prepared once per pool; a failure too is found out once."""
        key = (project, version.id)
        if key not in self._trees:
            try:
                self._trees[key] = prepare_tree(self.store, project, version, script)
            except ReplayError as exc:
                self._trees[key] = exc
        found = self._trees[key]
        if isinstance(found, ReplayError):
            raise found
        return found

    def _look(self) -> None:
        """Wait a moment for messages; take what came, notice what ended or ran out of time, and who else is done."""
        pipes = [process.pipe for process in self._running if not process.silent]
        if self._running or self._waiting:
            select.select(pipes, [], [], _POLL_S if len(pipes) == len(self._running) else _END_POLL_S)
            self._doze()
        for process in [one for one in self._leaving if one.has_ended()]:
            self._leaving.remove(process)
            process.clean()
        for process in list(self._running):
            outcome = process.poll()
            self._take_passed(process)
            if outcome is not None:
                self._running.remove(process)
                self._take(process, outcome)
        for waiting in [one for one in self._waiting if self._claims.over(one)]:
            self._waiting.remove(waiting)
            self._queue.append(waiting.job)

    def _doze(self) -> None:
        """Wake rarely where iterations are short: each waking takes a core from the scripts."""
        time.sleep(max(0.0, self._woken_at + _END_POLL_S - time.monotonic()))
        self._woken_at = time.monotonic()

    def _take(self, process: WorkerProcess, outcome: Outcome) -> None:
        """Turn an ended process into a result, or start it anew without a private view where that cannot be had."""
        job = process.left()
        if outcome.unserved and outcome.stopped is None:
            process.clean()
            self._start_again(job, process.gpus, afresh=True)
            return
        if outcome.no_namespaces and self.options.isolation != "strong":
            self.weak_reason = outcome.view_error
            process.clean()
            self._start_again(job, process.gpus)
            return
        if outcome.unrestorable is not None and job.checkpoints:
            self._unrestorable[job.id] = outcome.unrestorable
            process.finish()
            process.clean()
            self._start_again(_from_the_beginning(job, process.patience()), process.gpus)
            return
        with contextlib.suppress(Error, OSError):  # they only save time
            self._judge.adopt(outcome)
        self._judge_all(job, job.each, outcome)
        if not outcome.done:
            process.stop()
        self._leaving.append(process)

    def _take_passed(self, process: WorkerProcess) -> None:
        """Give the results of what a process does along its way as soon as it is done with it."""
        while process.passed:
            place = process.passed.pop(0)
            found = [one for one in process.left().along if (one.segment.loop, one.segment.entry) == place]
            for one in found:
                process.taken.add(one.id)
                process.iterations_done = max(0, process.iterations_done - len(one.segment.wanted))
            self._judge_all(process.job, found, process.outcome())

    def _judge_all(self, job: Job, done: Sequence[Job], outcome: Outcome) -> None:
        """Give the results of what one process has done."""
        notes: tuple[str, ...] = ()
        if self.weak_reason is not None:
            notes = (f"isolation is weak: {self.weak_reason}{'' if landlock.is_offered() else _UNPROTECTED}",)
        if job.id in self._unrestorable:
            notes += (f"replayed from the beginning, for no checkpoint can be restored: {self._unrestorable[job.id]}",)
        for one in done:
            try:
                self._end(one, self._judge.judge(one, outcome, notes))
            except (Error, OSError) as exc:
                self._end(one, _refused(one, exc))

    def _start_again(self, job: Job, devices: gpus.Devices | None, afresh: bool = False) -> None:
        try:
            self._running.append(self._start(job, devices, afresh))
        except (Error, OSError) as exc:
            self._end_all(job, exc)

    def _end_all(self, job: Job, exc: Exception) -> None:
        for one in job.each:
            self._end(one, _refused(one, exc))

    def _elsewhere(self, job: Job, error: str) -> None:
        for one in job.each:
            self._end(one, Result(one.segment, "elsewhere", error=error, id=one.id))

    def _end(self, job: Job, result: Result) -> None:
        if result.state != "done":
            self._claims.release(job, result.error or result.state)
        self._done += max(1, len(job.segment.wanted))
        self._finished.append(result)

    def _progress(self) -> Progress:
        done = self._done + sum(process.iterations_done for process in self._running)
        elapsed = time.monotonic() - self._started_at
        estimated = sum(job.estimated_s for job in self._queue) / max(1, len(self._running))
        left = max((process.seconds_left() for process in self._running), default=0.0) + estimated
        if not left and done:
            left = elapsed / done * (self._total - done)
        segment = self._running[0].job.segment if self._running else None
        return Progress(done, self._total, left, len(self._running), segment)


def _from_the_beginning(job: Job, timeout_s: float) -> Job:
    """The job without checkpoints, with time for all that ran before them."""
    before = sum(loop.seconds + loop.setup_seconds for loop in job.loops)
    return replace(job, checkpoints=(), timeout_s=timeout_s + PATIENCE * before)


def _refused(job: Job, exc: Exception) -> Result:
    reason = exc.message if isinstance(exc, Error) else str(exc)
    return Result(job.segment, "failed", error=reason, started_at=time.time(), id=job.id)
