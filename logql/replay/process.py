"""One worker process as its pool sees it: its start, its messages, its end, and the traces that it leaves."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from dataclasses import dataclass, replace

from logql.errors import ReplayError
from logql.replay import checkout, cleaning, environment, guard, isolation, private_copy, supervise
from logql.replay.foreign import copy_foreign
from logql.replay.gpus import Devices
from logql.replay.inputs import OWN
from logql.replay.job import Isolation, Job, Options
from logql.replay.spec import WorkerSpec
from logql.replay.start import UNSERVED, Fresh, Launch, Started, Starter
from logql.replay.wire import Frame, FrameReader
from logql.store import layout
from logql.store.liveness import Lock

LOGS = os.path.join(layout.SCRATCH, "logs")
#: A segment may take this many times its estimate, beyond the floor.
PATIENCE = 10.0
#: On a crowded machine that much longer, as far as it waits for processors; and seconds between two looks at that.
_CROWDED = 10.0
_LOOK_S = 1.0


@dataclass
class Outcome:
    """What is known of a process that ended: its exit code, its messages, and why it was stopped, if it was."""

    code: int
    frames: list[Frame]
    seconds: float
    started_at: float
    log: str
    text: str
    spool: str
    stopped: str | None = None
    #: main loops that the process's job wants along its way
    along: frozenset[tuple[str | None, int]] = frozenset()

    @property
    def done(self) -> bool:
        """Whether the worker did all that was wanted, and ends by itself."""
        return _is_done(self.frames)

    @property
    def no_namespaces(self) -> bool:
        """Whether a private view of the file system could not be had."""
        return self.code == supervise.NO_NAMESPACES

    @property
    def view_error(self) -> str:
        """Why a private view of the file system could not be had."""
        told = [line for line in self.text.splitlines() if line.startswith(supervise.NO_VIEW)]
        return told[-1].removeprefix(supervise.NO_VIEW) if told else "namespaces are not allowed here"

    @property
    def unserved(self) -> bool:
        """Whether the process was never there, for its server could not fork it."""
        return self.code == UNSERVED

    @property
    def unrestorable(self) -> str | None:
        """Why a checkpoint could not be restored, if that is what ended it."""
        return next((frame["text"] for frame in self.frames if frame["kind"] == "unrestorable"), None)


class WorkerProcess:
    """Starts a job's process at construction. Raises OSError or ReplayError where it cannot be started."""

    def __init__(
        self,
        store: str,
        project: str,
        tree: checkout.Tree,
        job: Job,
        options: Options,
        mode: Isolation,
        gpus: Devices | None = None,
        starter: Starter | None = None,
        own: frozenset[str] = frozenset(),
    ) -> None:
        self.job = job
        self.gpus = gpus
        self.iterations_done = 0
        self.frames: list[Frame] = []
        #: main loops (name, entry) of which all is done that the job wants along its way, until they are taken
        self.passed: list[tuple[str, int]] = []
        #: jobs along its way whose results were given
        self.taken: set[str] = set()
        #: whether the worker will say no more, though its process may not have ended
        self.silent = False
        self._stopped: str | None = None
        self._next_look = 0.0
        self.pipe = self._lifeline = -1
        self._reader = FrameReader()
        self._store = store
        self._floor = options.timeout_floor_s
        # a name of its own, as what an earlier attempt left may still be there
        self.scratch = os.path.join(store, layout.SCRATCH, f"{cleaning.PREFIX}{job.id}-{os.urandom(3).hex()}")
        os.makedirs(self.scratch)
        self._lock = Lock.take(os.path.join(self.scratch, "lock"))
        try:
            spec = self._spec(store, project, tree, job, options, mode)
            self._prepare(spec, tree, job)
            self.started_at = time.time()
            self._clock = time.monotonic()
            launch = self._launch(spec, job, options, own)
            self._process, self.pipe, self._lifeline = self._spawn(launch, starter or Fresh())
        except BaseException:
            self.clean()
            raise

    def _spec(
        self, store: str, project: str, tree: checkout.Tree, job: Job, options: Options, mode: Isolation
    ) -> WorkerSpec:
        copy = os.path.join(self.scratch, "copy")
        memory = options.memory_bytes or _memory_limit(job)
        disk = options.disk_bytes or guard.free_disk(self.scratch) // 2
        return WorkerSpec(
            segment=job.told,
            along=tuple(one.told for one in job.along),
            run=job.run,
            loops=job.loops,
            checkpoints=job.checkpoints,
            once=job.once and not job.along,
            store=store,
            scratch=self.scratch,
            root=tree.root,
            project=project if mode == "strong" else copy,
            origin=project,
            isolation=mode,
            patched=tuple(job.files),
            files=tuple(sorted(tree.files)),
            hidden=tree.hidden,
            memory_bytes=memory,
            disk_bytes=disk,
            max_tasks=options.max_tasks,
            prove=options.prove,
            rtol=options.rtol,
            atol=options.atol,
        )

    def _prepare(self, spec: WorkerSpec, tree: checkout.Tree, job: Job) -> None:
        for name in ("spool", "tmp"):
            os.makedirs(os.path.join(self.scratch, name), exist_ok=True)
        if spec.isolation == "strong":
            private = isolation.private_directory(self.scratch)
            checkout.fill_private(tree, job.files, private)
            copy_foreign(spec.origin, tree.foreign, private)
        else:
            private_copy.build(spec.origin, self._store, tree, job.files, spec.project)
        self._link_own(spec.origin, tree.own)
        with open(os.path.join(self.scratch, "spec.json"), "w", encoding="utf-8") as file:
            file.write(spec.to_json())

    def _link_own(self, origin: str, paths: frozenset[str]) -> None:
        """Keep what the run itself wrote last within reach, though it is hidden at its start (`replay.inputs`)."""
        for path in paths:
            target = os.path.join(self.scratch, OWN, path)
            with contextlib.suppress(OSError):
                os.makedirs(os.path.dirname(target), exist_ok=True)
                os.link(os.path.join(origin, path), target, follow_symlinks=False)

    def _launch(self, spec: WorkerSpec, job: Job, options: Options, own: frozenset[str]) -> Launch:
        temporary = self.scratch if spec.isolation == "weak" else None
        return Launch(
            command=(environment.interpreter(job.run), *environment.interpreter_flags(job.run)),
            environment=environment.worker_environment(job.run, options.threads),
            variables=environment.own_variables(temporary, self.gpus),
            spec=os.path.join(self.scratch, "spec.json"),
            directory=self.scratch,
            own=own,
        )

    def _spawn(self, launch: Launch, starter: Starter) -> tuple[Started, int, int]:
        self.log = f"{LOGS}/{self.job.id}.log"
        os.makedirs(os.path.join(self._store, LOGS), exist_ok=True)
        results, results_end = os.pipe()
        lifeline_end, lifeline = os.pipe()
        try:
            with open(os.path.join(self._store, self.log), "wb") as log:
                process = starter.start(launch, lifeline_end, results_end, log.fileno())
        except BaseException:
            os.close(results)
            os.close(lifeline)
            raise
        finally:
            os.close(results_end)
            os.close(lifeline_end)
        os.set_blocking(results, False)
        return process, results, lifeline

    def poll(self) -> Outcome | None:
        """Take what the worker sent; its outcome where it has ended. Stops it where its time is over."""
        self._read()
        if self._stopped is None and self._is_overdue():
            self.stop(f"it took longer than {self.patience():.0f} s")
        if self.has_ended() or (self.gpus is None and _is_done(self.frames)):
            return self.outcome()
        return None

    def left(self) -> Job:
        """The job without those along its way whose results were given."""
        return replace(self.job, along=tuple(one for one in self.job.along if one.id not in self.taken))

    def _is_overdue(self) -> bool:
        """Whether its time is over; what others took of the processors does not count, within bounds."""
        now, patience = time.monotonic(), self.patience()
        elapsed = now - self._clock
        if elapsed <= patience or now < self._next_look:
            return False
        self._next_look = now + _LOOK_S
        waited = guard.kept_waiting(self._process.pid, elapsed) if self._process.pid is not None else 0.0
        return elapsed - waited > patience or elapsed > _CROWDED * patience

    def has_ended(self) -> bool:
        """Whether nothing of it is left, or ever was; its outcome may have been there before."""
        return self._process.poll() is not None or (self._stopped is not None and self._process.pid is None)

    def stop(self, reason: str = "cancelled") -> None:
        """Have the supervisor kill everything; `poll` or `finish` sees the end."""
        self._stopped = self._stopped or reason
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1

    def finish(self) -> None:
        """Wait for the end of a stopped process; kill the supervisor, and with it the rest, where it hangs."""
        if self.has_ended():
            return
        try:
            self._process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            self._kill()

    def _kill(self) -> None:
        pid = self._process.pid
        with contextlib.suppress(ProcessLookupError, PermissionError, subprocess.TimeoutExpired):
            if pid is not None:
                os.killpg(pid, signal.SIGKILL)
            self._process.wait(timeout=15)

    def clean(self) -> None:
        """Close pipes, and have the scratch directory removed."""
        self.stop()
        if self.pipe >= 0:
            os.close(self.pipe)
            self.pipe = -1
        lock, self._lock = self._lock, None
        cleaning.remove_later(self.scratch, lock)

    def seconds_left(self) -> float:
        """Of this segment, as its iterations so far tell, else its estimate."""
        elapsed = time.monotonic() - self._clock
        wanted = sum(max(1, len(job.segment.wanted)) for job in self.job.each)
        if self.iterations_done:
            return max(0.0, elapsed / self.iterations_done * (wanted - self.iterations_done))
        return max(0.0, self.job.estimated_s - elapsed)

    def patience(self) -> float:
        """Seconds that it may take."""
        return self.job.timeout_s or self._floor + PATIENCE * self.job.estimated_s

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self.pipe, 1 << 20)
            except BlockingIOError:
                return
            if not data:
                self.silent = True
                return
            for frame in self._reader.feed(data):
                self.frames.append(frame)
                self.iterations_done += frame["kind"] == "covered"
                if frame["kind"] == "passed":
                    self.passed.append((frame["loop"], frame["entry"]))

    def outcome(self) -> Outcome:
        """What is known by now."""
        with contextlib.suppress(ReplayError):
            self._read()
        path = os.path.join(self._store, self.log)
        return Outcome(
            code=self._process.poll() or 0,
            frames=self.frames,
            seconds=time.monotonic() - self._clock,
            started_at=self.started_at,
            log=self.log,
            text=_tail(path),
            spool=os.path.join(self.scratch, "spool"),
            stopped=self._stopped,
            along=frozenset((one.segment.loop, one.segment.entry) for one in self.job.along),
        )


def _is_done(frames: list[Frame]) -> bool:
    """Whether a worker's last word is said: its end need not be waited for, unless it holds a GPU."""
    return bool(frames) and frames[-1]["kind"] == "done"


def _memory_limit(job: Job) -> int | None:
    """What is free now; none where the run used a GPU, whose drivers reserve address space by the terabyte."""
    if job.run.environment.get("accelerators"):
        return None
    return guard.available_memory()


def _tail(path: str, size: int = 4000) -> str:
    try:
        with open(path, "rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - size))
            return file.read().decode("utf-8", "replace")
    except OSError:
        return ""
