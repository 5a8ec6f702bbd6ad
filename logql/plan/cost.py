"""What a segment will cost, from what the run recorded: start-up, prologue, restore, iterations."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from logql.model import Checkpoint, MainLoop

#: Seconds that a worker takes before the script's first line, beyond those that the recorder took there: setting up a
#: recorder (part of a run's `setup_seconds`) and setting up a worker take about as long.
WORKER_START_S = 0.05
#: Seconds per byte of a checkpoint that is read, decompressed and written in place.
SECONDS_PER_BYTE = 1 / 600e6
RESTORE_FLOOR_S = 0.004


class Timings(Protocol):
    """What the cost model reads of a history."""

    @property
    def main_loops(self) -> Mapping[str, tuple[MainLoop, ...]]:
        """Main loops by run, in the order of their execution."""
        ...

    @property
    def checkpoints(self) -> Mapping[str, tuple[Checkpoint, ...]]:
        """Checkpoints by run."""
        ...


@dataclass(frozen=True)
class Estimate:
    """What a segment costs; `executed` counts iterations, `start` is the checkpoint's index (None: the beginning)."""

    seconds: float
    executed: int
    start: int | None


class RunCost:
    """Costs of replaying parts of one run."""

    def __init__(self, run: str, history: Timings) -> None:
        self.loops = history.main_loops.get(run, ())
        usable = [c for c in history.checkpoints.get(run, ()) if c.manifest is not None and c.rank == 0]
        self._exits = {(c.loop, c.entry): c for c in usable if c.index is None}
        self._inside: dict[tuple[str, int], dict[int, Checkpoint]] = {}
        for checkpoint in usable:
            if checkpoint.index is not None:
                self._inside.setdefault((checkpoint.loop, checkpoint.entry), {})[checkpoint.index] = checkpoint

    def segment(self, loop: str | None, entry: int, wanted: Sequence[int]) -> Estimate:
        """Cost of replaying the wanted iterations in one process; of the whole script's outside where loop is None."""
        target = self._loop(loop, entry)
        seconds = WORKER_START_S
        for earlier in self.loops:
            if target is not None and earlier.ordinal >= target.ordinal:
                break
            seconds += earlier.setup_seconds + self._pass(earlier)
        if target is None:
            return Estimate(seconds, 0, None)
        each = iteration_seconds(target)
        at, executed, start = 0, 0, None
        seconds += target.setup_seconds
        for position, index in enumerate(wanted):
            checkpoint = self.checkpoint_before(target, index)
            jump = checkpoint is not None and checkpoint.index is not None and checkpoint.index > at
            if checkpoint is not None and checkpoint.index is not None and jump:
                saved = (checkpoint.index - at) * each
                if position == 0 or restore_seconds(checkpoint) < saved:
                    seconds += restore_seconds(checkpoint)
                    at = checkpoint.index
                    start = at if position == 0 else start
            executed += max(0, index + 1 - at)
            at = index + 1
        return Estimate(seconds + executed * each, executed, start)

    def checkpoint_before(self, loop: MainLoop, index: int) -> Checkpoint | None:
        """The last usable checkpoint at or before an iteration."""
        found = [k for k in self._inside.get((loop.loop, loop.entry), {}) if k <= index]
        return self._inside[loop.loop, loop.entry][max(found)] if found else None

    def starts(self, loop: str, entry: int) -> list[int]:
        """Iterations at which a segment can start afresh."""
        return sorted(self._inside.get((loop, entry), {}))

    def _loop(self, loop: str | None, entry: int) -> MainLoop | None:
        return next((item for item in self.loops if item.loop == loop and item.entry == entry), None)

    def _pass(self, loop: MainLoop) -> float:
        checkpoint = self._exits.get((loop.loop, loop.entry))
        return loop.seconds if checkpoint is None else restore_seconds(checkpoint)


def iteration_seconds(loop: MainLoop) -> float:
    """Mean time of one iteration."""
    return loop.seconds / loop.iterations if loop.iterations else 0.0


def restore_seconds(checkpoint: Checkpoint) -> float:
    """Time to read a checkpoint and write its state back."""
    return RESTORE_FLOOR_S + checkpoint.bytes * SECONDS_PER_BYTE


def wall_seconds(costs: Iterable[float], workers: int) -> float:
    """Wall time over some workers, longest segment first."""
    free = [0.0] * max(1, workers)
    heapq.heapify(free)
    for seconds in sorted(costs, reverse=True):
        heapq.heappush(free, heapq.heappop(free) + seconds)
    return max(free)
