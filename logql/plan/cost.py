"""What a segment will cost, from what the run recorded: start-up, prologue, restore, iterations."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from logql.model import Checkpoint, MainLoop

#: Seconds that a worker takes beyond those of its script up to the loop when it was recorded, the pool's included:
#: loading a worker takes about as long as loading a recorder did.
WORKER_START_S = 0.045
#: Seconds of loading what handles states of programs, which a recorder that takes no checkpoints does not load.
STATE_LOAD_S = 0.04
#: Seconds of restoring a checkpoint (read, decompress, write in place), and of comparing the state with one, which the
#: first execution of an inserted statement does twice over.
RESTORE_FLOOR_S = 0.001
RESTORE_PER_BYTE = 1.5e-9
COMPARE_FLOOR_S = 0.002
COMPARE_PER_BYTE = 1e-9


#: Share of an iteration that lies ahead of its inner loops.
LEADING_SHARE = 0.02


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
    """What a segment costs; `executed` counts iterations, `start` is the checkpoint's index (None: the beginning).

    `seconds` is in an interpreter of its own, until it is scheduled.
    """

    seconds: float
    executed: int
    start: int | None


class RunCost:
    """Costs of replaying parts of one run."""

    def __init__(self, run: str, history: Timings) -> None:
        self.loops = history.main_loops.get(run, ())
        self._exits: dict[tuple[str, int], Checkpoint] = {}
        self._inside: dict[tuple[str, int], list[tuple[int, Checkpoint]]] = {}
        for checkpoint in history.checkpoints.get(run, ()):
            if checkpoint.manifest is None or checkpoint.rank != 0:
                continue
            place = checkpoint.loop, checkpoint.entry
            if checkpoint.index is None:
                self._exits[place] = checkpoint
            else:
                self._inside.setdefault(place, []).append((checkpoint.index, checkpoint))
        for found in self._inside.values():
            found.sort(key=lambda item: item[0])

    def segment(self, loop: str | None, entry: int, wanted: Sequence[int], *, leads: bool = False) -> Estimate:
        """Cost of replaying the wanted iterations in one process; of the whole script's outside where loop is None.

        `leads`: what is wanted stands ahead of an iteration's work, which a replay leaves out where it may.
        """
        target = self.main_loop(loop, entry)
        seconds = WORKER_START_S if self._exits or self._inside else WORKER_START_S + STATE_LOAD_S
        for earlier in self.loops:
            if target is not None and earlier.ordinal >= target.ordinal:
                break
            seconds += earlier.setup_seconds + self.passing(earlier)
        if target is None:
            return Estimate(seconds, 0, None)
        seconds += target.setup_seconds
        inside = self._inside.get((target.loop, target.entry), [])
        if inside:
            seconds += 2 * compare_seconds(inside[0][1])
        way = _walk(inside, wanted, leads)
        iterations = way.executed - way.left_out * (1 - LEADING_SHARE)
        return Estimate(seconds + way.seconds + iterations * iteration_seconds(target), way.executed, way.start)

    def through(self, loop: str | None, entry: int, wanted: Sequence[int]) -> Estimate:
        """Cost of wanted iterations, and of those behind them to the end of their loop, for who is there anyway."""
        target = self.main_loop(loop, entry)
        if target is None:
            return Estimate(0.0, 0, None)
        way = _walk(self._inside.get((target.loop, entry), []), sorted({*wanted, target.iterations - 1}), leads=False)
        return Estimate(way.seconds + way.executed * iteration_seconds(target), way.executed, way.start)

    def behind(self, loop: str | None, entry: int) -> float:
        """Time from a loop's exit past all main loops behind it."""
        own = self.main_loop(loop, entry)
        later = [item for item in self.loops if own is not None and item.ordinal > own.ordinal]
        return sum(item.setup_seconds + self.passing(item) for item in later)

    def starts(self, loop: str, entry: int) -> list[int]:
        """Iterations at which a segment can start afresh."""
        return [index for index, _ in self._inside.get((loop, entry), ())]

    def main_loop(self, loop: str | None, entry: int) -> MainLoop | None:
        """What was recorded of a main loop."""
        return next((item for item in self.loops if item.loop == loop and item.entry == entry), None)

    def has_exit(self, loop: str, entry: int) -> bool:
        """Whether a loop left its state at its exit, so that it can be passed."""
        return (loop, entry) in self._exits

    def passing(self, loop: MainLoop) -> float:
        """Time to get behind a loop: it is executed again where it left no state."""
        checkpoint = self._exits.get((loop.loop, loop.entry))
        return loop.seconds if checkpoint is None else restore_seconds(checkpoint)


@dataclass(frozen=True)
class _Way:
    """Of the iterations executed, `left_out` are cut short; `seconds` go to checkpoints restored and compared with."""

    seconds: float
    executed: int
    left_out: int
    start: int | None


def _walk(inside: Sequence[tuple[int, Checkpoint]], wanted: Sequence[int], leads: bool) -> _Way:
    """The way of a replay through a main loop, as `replay.route` goes it."""
    seconds, executed, left_out, start = 0.0, 0, 0, None
    at, cut = 0, False
    for position, index in enumerate(wanted):
        found = _latest(inside, at, index)
        if found is not None:
            jumps = cut or found[0] > at
            seconds += restore_seconds(found[1]) if jumps else compare_seconds(found[1])
            at = found[0]
            start = at if jumps and position == 0 else start
        executed += index + 1 - at
        at = index + 1
        cut = leads and (index == wanted[-1] or _latest(inside, at, wanted[position + 1]) is not None)
        left_out += cut
    return _Way(seconds, executed, left_out, start)


def _latest(inside: Sequence[tuple[int, Checkpoint]], first: int, last: int) -> tuple[int, Checkpoint] | None:
    """The last checkpoint before one of these iterations."""
    end = bisect_right(inside, last, key=_index)
    return inside[end - 1] if end and inside[end - 1][0] >= first else None


def iteration_seconds(loop: MainLoop) -> float:
    """Mean time of one iteration."""
    return loop.seconds / loop.iterations if loop.iterations else 0.0


def restore_seconds(checkpoint: Checkpoint) -> float:
    """Time to read a checkpoint and write its state back."""
    return RESTORE_FLOOR_S + checkpoint.bytes * RESTORE_PER_BYTE


def compare_seconds(checkpoint: Checkpoint) -> float:
    """Time to compare the state of a program with a checkpoint of it."""
    return COMPARE_FLOOR_S + checkpoint.bytes * COMPARE_PER_BYTE


def _index(item: tuple[int, Checkpoint]) -> int:
    return item[0]
