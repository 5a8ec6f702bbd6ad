"""When to checkpoint, and the taking: copied on the training thread, written on another, within the bound.

The bound (LOGQL_OVERHEAD) holds for the time of all checkpoints of a run, stalls and writing together, against the time
that its main loops have trained; on a crowded machine, both without the waiting for a processor (`clock`).
LOGQL_CHECKPOINT_EVERY forces every k-th boundary, whatever it costs.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from types import FrameType
from typing import TYPE_CHECKING

from logql import settings
from logql.model import Checkpoint, Run
from logql.record import api, guard, opens
from logql.record.background import Background
from logql.record.clock import work_time
from logql.record.flusher import Flusher
from logql.record.identity import Ranks
from logql.store.catalog import Catalog

if TYPE_CHECKING:
    from logql.record.mainloops import Main
    from logql.state.roots import Roots
    from logql.state.save import Saved

#: What the first checkpoint is assumed to cost at least, until one was taken (seconds).
_FIRST_GUESS_S = 0.002
#: A checkpoint costs about so many times the walk over the state that a loop begins with.
_WALKS = 3.0
#: Boundaries are not looked at more often than this (seconds).
_LEAST_WAIT_S = 0.01
_LONGEST_STALL_S = 2.0
#: Checkpoints that may wait to be written where they are forced.
_QUEUE = 3


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
        self._writer = Background("logql-checkpoints", _QUEUE)
        #: what checkpoints took of the training thread, and of the writer's
        self._spent = 0.0
        self._written = 0.0
        self._trained = 0.0
        self._cost = _FIRST_GUESS_S
        self._stall = 0.0

    def begin(self, main: Main, loops: Sequence[Main]) -> None:
        """Before `iter()` of a main loop's iterable: note what is there, or refuse its checkpoints for good."""
        self._count_blocks(loops)
        reason = self._why_not(main)
        if reason is not None:
            self.refuse(main, reason)
            return
        import logql.state.save  # noqa: F401  (loading it is no part of what a checkpoint costs)
        from logql.state.errors import Overlong
        from logql.state.prologue import Prologue

        began = work_time()
        try:
            main.prologue = Prologue(self._collect(main), limit_s=self._longest_look())
        except Overlong as exc:
            self.refuse(main, str(exc))
        walked = work_time() - began
        self._spent += walked
        self._cost = max(self._cost, _WALKS * walked)

    def refuse(self, main: Main, reason: str) -> None:
        """Note why this loop has no checkpoints (any more); replay then starts from what there is."""
        main.refused = reason
        main.forget()
        self._add(self._describe(main, None, 0, reason))

    def boundary(
        self, main: Main, frame: FrameType, item: object, index: int, notes: Mapping[str, object] | None = None
    ) -> None:
        """Before the body of the iteration `index`: checkpoint, if it is time to. Never raises."""
        try:
            if main.iterations == 0:
                main.start()
            elif self._is_due(main):
                main.frame = _frame_of(main, frame)
                self._take(main, index, None, notes, item)
            self._schedule(main)
        except Exception as exc:
            main.due = float("inf")
            guard.failed("checkpoint", "no further checkpoints are taken in this loop", exc)
        finally:
            main.frame = None

    def exit(self, main: Main, frame: FrameType, exhausted: bool) -> None:
        """After the last iteration: the state in which the code behind the loop goes on."""
        self._count(main, self._training_time(main))
        try:
            if main.prologue is not None and main.iterations:
                main.frame = _frame_of(main, frame)
                self._take(main, None, exhausted)
        except LookupError:
            self.refuse(main, "the loop was left in a way that its end could not be observed")
        finally:
            main.frame = None

    def close(self) -> None:
        """Return when all checkpoints are written."""
        self._writer.close()

    def _count_blocks(self, loops: Sequence[Main]) -> None:
        """Nobody sees a loop of blocks end: what it trained counts when another loop begins, once for all beside it."""
        open_ones = [main for main in loops if main.is_block and main.iterations]
        times = [max(0.0, main.ended_at - main.started_at - main.stalled - main.counted) for main in open_ones]
        self._trained += max(times, default=0.0)
        for main, seconds in zip(open_ones, times, strict=True):
            main.counted += seconds

    def _count(self, main: Main, seconds: float) -> None:
        self._trained += seconds
        main.counted += seconds

    def _why_not(self, main: Main) -> str | None:
        if self._ranks.size > 1:
            return "multi-process run"
        if self._overhead <= 0 and self._every is None:
            return "checkpoints are turned off (LOGQL_OVERHEAD)"
        from logql.state.iterables import iterable_refusal

        if main.place is None:
            return "the frame that runs the loop was not found"
        if main.place.reason is not None or main.is_block:
            return main.place.reason
        return iterable_refusal(main.iterable)

    def _collect(self, main: Main, *item: object) -> Roots:
        from logql.state.roots import NO_ITEM, collect

        if main.frame is None:
            raise LookupError("the frame that runs the loop is gone")
        return collect(
            main.frame,
            self._location.project,
            api.named_state,
            iterable=main.iterable,
            alongside=main.alongside,
            item=item[0] if item else NO_ITEM,
        )

    def _is_due(self, main: Main) -> bool:
        if self._every is not None:
            return main.iterations % self._every == 0
        if self._writer.pending or self._stall > self._longest_stall(main):
            return False
        return self._cost <= self._earned(main)

    def _longest_look(self) -> float | None:
        """Seconds for which the state may be looked at when a loop begins: more in a program that took long to load."""
        if self._every is not None:
            return None
        return max(_LONGEST_STALL_S, self._overhead * time.process_time())

    def _longest_stall(self, main: Main) -> float:
        return max(_LONGEST_STALL_S, self._training_time(main) / main.iterations)

    def _earned(self, main: Main) -> float:
        """Seconds that checkpoints may still take."""
        return self._overhead * (self._trained + self._training_time(main)) - self._spent - self._written

    @staticmethod
    def _training_time(main: Main) -> float:
        """Seconds that the loop has worked, checkpoints left out; called in the thread that runs it."""
        return max(0.0, work_time() - main.started_at - main.stalled - main.counted)

    def _schedule(self, main: Main) -> None:
        """Set when a boundary is of interest again: when the next checkpoint will have been earned."""
        if main.refused is not None or main.prologue is None:
            main.due = float("inf")
        elif self._every is None:
            wait = (self._cost - self._earned(main)) / self._overhead
            main.due = time.monotonic() + max(wait, _LEAST_WAIT_S)

    def _take(
        self,
        main: Main,
        index: int | None,
        exhausted: bool | None,
        notes: Mapping[str, object] | None = None,
        *item: object,
    ) -> None:
        from logql.state.save import Refused, save

        began, work_began = time.perf_counter(), work_time()
        roots = self._collect(main, *item)
        limit = None if self._every else self._longest_stall(main)
        with opens.Hidden():
            saved = save(roots, main.prologue, exhausted=exhausted, notes=notes, limit_s=limit)
        del roots
        place = self._describe(main, index, self._flusher.next_seq())
        self._stall = time.perf_counter() - began
        stall = work_time() - work_began
        self._spent += stall
        if isinstance(saved, Refused):
            self.refuse(main, f"{saved.path}: {saved.reason}" if saved.path else saved.reason)
        else:
            self._writer.put(lambda: self._write(place, saved, stall))
        if index is not None:
            main.stalled += work_time() - work_began

    def _write(self, place: Checkpoint, saved: Saved, stall: float) -> None:
        from logql.store.blobs import Blobs

        began = time.thread_time()
        try:
            manifest, size = saved.write(Blobs(self._location.store))
            seconds = stall + time.thread_time() - began
            self._add(replace(place, manifest=manifest, bytes=size, seconds=seconds))
        except Exception as exc:
            guard.failed("store", "a checkpoint could not be written", exc)
        writing = time.thread_time() - began
        self._written += writing
        self._cost = stall + writing

    def _describe(self, main: Main, index: int | None, seq: int, reason: str | None = None) -> Checkpoint:
        """A checkpoint of this instant, without its content."""
        return Checkpoint(
            run=self._run.id,
            rank=self._ranks.rank,
            loop=main.loop,
            entry=main.entry,
            index=index,
            seq=seq,
            manifest=None,
            bytes=0,
            seconds=0.0,
            reason=reason,
            taken_at=time.time(),
        )

    def _add(self, checkpoint: Checkpoint) -> None:
        try:
            self._catalog.add_checkpoint(checkpoint)
        except Exception as exc:
            guard.failed("store", "the catalog lacks checkpoints", exc)


def _frame_of(main: Main, frame: FrameType) -> FrameType:
    """The frame that runs the loop's statement; raises LookupError where it is not among the callers."""
    here: FrameType | None = frame
    while here is not None:
        if here.f_code is main.code and id(here) == main.frame_id:
            return here
        here = here.f_back
    raise LookupError("the frame that runs the loop is gone")
