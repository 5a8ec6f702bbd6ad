"""When to checkpoint, and the taking: copied on the training thread, written on another, within the bound.

The bound (LOGQL_OVERHEAD) holds for the time of all checkpoints of a run, stalls and writing together, against the time
that its main loops have trained. LOGQL_CHECKPOINT_EVERY forces every k-th boundary, whatever it costs.
"""

from __future__ import annotations

import queue
import threading
import time
from types import FrameType
from typing import TYPE_CHECKING, Any

from logql import settings
from logql.model import Checkpoint, Run
from logql.record import api, guard
from logql.record.flusher import Flusher
from logql.record.forloops import find_for_loop
from logql.record.identity import Ranks
from logql.store.catalog import Catalog

if TYPE_CHECKING:
    from logql.record.mainloops import Main

#: What the first checkpoint is assumed to cost, until one was taken (seconds).
_FIRST_GUESS_S = 0.01
#: Boundaries are not looked at more often than this (seconds).
_LEAST_WAIT_S = 0.005
_LONGEST_STALL_S = 2.0


class Checkpointer:
    """Takes the checkpoints of one run's main loops."""

    def __init__(self, run: Run, location: settings.Location, catalog: Catalog, ranks: Ranks, flusher: Flusher) -> None:
        self._run = run
        self._location = location
        self._catalog = catalog
        self._ranks = ranks
        self._flusher = flusher
        self._every = settings.checkpoint_every()
        self._overhead = settings.overhead()
        self._writer = _BackgroundWriter()
        self._prologue: Any = None
        self._spent = 0.0
        self._trained = 0.0
        self._cost = _FIRST_GUESS_S
        self._stall = 0.0

    def begin(self, main: Main, iterable: object) -> None:
        """Prepare for a main loop's boundaries, or refuse its checkpoints for good, with the reason."""
        reason = self._why_not(main, iterable)
        if reason is not None:
            self.refuse(main, reason)
            return
        main.random_at_iter = _capture_random()
        main.due = 0.0

    def refuse(self, main: Main, reason: str) -> None:
        """Note why this loop has no checkpoints; replay then starts from the beginning."""
        main.due = float("inf")
        main.refused = reason
        self._add(main, None, None, 0, 0.0, reason)

    def boundary(self, main: Main, iterable: object, frame: FrameType) -> None:
        """Before the body of the next iteration: checkpoint, if it is time to. Never raises."""
        try:
            if main.iterations == 0:
                self._note_prologue(main, frame)
                self._schedule(main)
            elif self._is_forced(main.iterations) or (self._every is None and self._affordable(main)):
                self._take(main, main.iterations, frame)
                self._schedule(main)
            elif self._every is None:
                self._schedule(main)
        except Exception as exc:
            main.due = float("inf")
            guard.failed("checkpoint", "no further checkpoints are taken in this loop", exc)

    def exit(self, main: Main, frame: FrameType) -> None:
        """After the last iteration: the state in which the code behind the loop goes on."""
        if main.refused is None and main.iterations and _is_frame_of(main, frame):
            self._take(main, None, frame)
        self._trained += main.ended_at - main.started_at - main.stalled

    def close(self) -> None:
        """Return when all checkpoints are written."""
        self._writer.close()

    def _why_not(self, main: Main, iterable: object) -> str | None:
        from logql.state.roots import iterable_ok

        if self._ranks.size > 1:
            return "multi-process run"
        if main.code is None:
            return "the frame that runs the loop was not found"
        main.place = find_for_loop(main.code, main.instruction, self._location.project)
        return main.place.reason or iterable_ok(iterable)

    def _note_prologue(self, main: Main, frame: FrameType) -> None:
        from logql.state.roots import collect
        from logql.state.save import Prologue

        if self._prologue is None:
            self._prologue = Prologue(collect(_frame_of(main, frame), self._location.project, api.named_state))

    def _is_forced(self, index: int) -> bool:
        return self._every is not None and index % self._every == 0

    def _affordable(self, main: Main) -> bool:
        if self._writer.busy:
            return False
        iteration = self._training_time(main) / max(1, main.iterations)
        if self._stall > min(_LONGEST_STALL_S, max(iteration, _FIRST_GUESS_S)) and self._stall:
            return False
        return self._spent + self._cost <= self._overhead * (self._trained + self._training_time(main))

    def _training_time(self, main: Main) -> float:
        return time.time() - main.started_at - main.stalled

    def _schedule(self, main: Main) -> None:
        """Set when a boundary is of interest again: when the next checkpoint will have been earned."""
        if self._every is not None:
            return
        earned = self._overhead * (self._trained + self._training_time(main)) - self._spent
        wait = (self._cost - earned) / self._overhead if self._overhead > 0 else float("inf")
        main.due = time.time() + max(wait, _LEAST_WAIT_S)

    def _take(self, main: Main, index: int | None, frame: FrameType) -> None:
        from logql.state.roots import collect
        from logql.state.save import Refused, save

        began = time.perf_counter()
        saved = save(collect(_frame_of(main, frame), self._location.project, api.named_state), self._prologue)
        seq = self._flusher.next_seq()
        stall = time.perf_counter() - began
        self._stall = stall
        if isinstance(saved, Refused):
            self.refuse(main, f"{saved.reason} ({saved.path})" if saved.path else saved.reason)
        else:
            self._writer.put(lambda: self._write(main, index, seq, saved, stall))
        self._spent += stall
        main.stalled += time.perf_counter() - began

    def _write(self, main: Main, index: int | None, seq: int, saved: Any, stall: float) -> None:
        from logql.store.blobs import Blobs

        began = time.thread_time()
        try:
            manifest, size = saved.write(Blobs(self._location.store))
            writing = time.thread_time() - began
            self._add(main, index, manifest, size, stall + writing, None, seq)
        except Exception as exc:
            guard.failed("checkpoint", "a checkpoint could not be written", exc)
            writing = time.thread_time() - began
        self._spent += writing
        self._cost = stall + writing

    def _add(
        self,
        main: Main,
        index: int | None,
        manifest: str | None,
        size: int,
        seconds: float,
        reason: str | None,
        seq: int = 0,
    ) -> None:
        checkpoint = Checkpoint(
            run=self._run.id,
            rank=self._ranks.rank,
            loop=main.entry.loop,
            entry=main.entry.entry,
            index=index,
            seq=seq,
            manifest=manifest,
            bytes=size,
            seconds=seconds,
            reason=reason,
            taken_at=time.time(),
        )
        try:
            self._catalog.add_checkpoint(checkpoint)
        except Exception as exc:
            guard.failed("store", "the catalog lacks checkpoints", exc)


class _BackgroundWriter:
    """One thread that writes one checkpoint after another, started when first needed."""

    def __init__(self) -> None:
        self._jobs: queue.SimpleQueue[Any] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._pending = 0

    @property
    def busy(self) -> bool:
        return self._pending > 0

    def put(self, job: Any) -> None:
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="logql-checkpoints", daemon=True)
            self._thread.start()
        self._pending += 1
        self._jobs.put(job)

    def close(self) -> None:
        if self._thread is not None:
            self._jobs.put(None)
            self._thread.join()
            self._thread = None

    def _run(self) -> None:
        while (job := self._jobs.get()) is not None:
            job()
            self._pending -= 1


def _frame_of(main: Main, frame: FrameType) -> FrameType:
    """The frame that runs the loop's `for`; raises LookupError where it is not among the callers."""
    here: FrameType | None = frame
    while here is not None:
        if here.f_code is main.code and id(here) == main.frame_id:
            return here
        here = here.f_back
    raise LookupError("the frame that runs the loop is gone")


def _is_frame_of(main: Main, frame: FrameType) -> bool:
    try:
        return _frame_of(main, frame) is not None
    except LookupError:
        return False


def _capture_random() -> object:
    from logql.state.randomness import capture_random

    return capture_random()
