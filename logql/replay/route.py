"""The way through a run's main loops to the wanted iterations: which checkpoints to restore, where to jump."""

from __future__ import annotations

from logql.model import Checkpoint, MainLoop
from logql.replay.spec import WorkerSpec


class Route:
    """Answers a driver's questions from the run's loops and checkpoints."""

    def __init__(self, spec: WorkerSpec) -> None:
        self._segment = spec.segment
        self._loops = {(loop.loop, loop.entry): loop for loop in spec.loops}
        usable = [one for one in spec.checkpoints if one.manifest is not None and one.rank == 0]
        self._checkpoints = {(one.loop, one.entry, one.index): one for one in usable}
        target = self._loops.get((spec.segment.loop or "", spec.segment.entry))
        inside = [one for one in usable if target and (one.loop, one.entry) == (target.loop, target.entry)]
        can_enter = target is not None and target.line is not None
        self._inside = sorted((one for one in inside if one.index is not None), key=_index) if can_enter else []
        #: the last wanted iteration
        self.last = max(spec.segment.wanted, default=-1)

    def find(self, loop: str, entry: int) -> MainLoop | None:
        """What was recorded of a main loop."""
        return self._loops.get((loop, entry))

    def is_target(self, loop: MainLoop) -> bool:
        """Whether the wanted iterations are in this loop."""
        return (loop.loop, loop.entry) == (self._segment.loop, self._segment.entry)

    def exit_of(self, loop: MainLoop) -> Checkpoint | None:
        """The checkpoint at a loop's exit, where it can be restored."""
        return self._checkpoints.get((loop.loop, loop.entry, None)) if loop.line is not None else None

    def checkpoint_at(self, loop: MainLoop, index: int) -> Checkpoint | None:
        """The checkpoint before the body of an iteration."""
        return self._checkpoints.get((loop.loop, loop.entry, index))

    def any_of(self, loop: MainLoop) -> Checkpoint | None:
        """Some checkpoint of a loop: each knows the random states with which the loop began, the run's own for sure."""
        found = [one for key, one in self._checkpoints.items() if key[:2] == (loop.loop, loop.entry)]
        return min(found, key=lambda one: one.by != "training", default=None)

    def start(self) -> Checkpoint | None:
        """Where to begin: the last checkpoint at or before the first wanted iteration; None is the loop's beginning."""
        return self._latest(0, self._segment.wanted[0]) if self._segment.wanted else None

    def next_jump(self, index: int, cut: bool) -> Checkpoint | None:
        """The checkpoint to go on from at `index`; None is to go on as it is. After a cut there is always one."""
        following = self._next_wanted(index)
        found = self._latest(index, following) if following is not None else None
        return found if found is not None and (cut or _index(found) > index) else None

    def may_jump(self, loop: MainLoop, index: int) -> bool:
        """Whether the rest of iteration `index` is of no use: a checkpoint behind it leads to the next wanted one."""
        following = self._next_wanted(index + 1)
        return self.is_target(loop) and following is not None and self._latest(index + 1, following) is not None

    def _next_wanted(self, index: int) -> int | None:
        return next((one for one in self._segment.wanted if one >= index), None)

    def _latest(self, first: int, last: int) -> Checkpoint | None:
        found = [one for one in self._inside if first <= _index(one) <= last]
        return found[-1] if found else None


def _index(checkpoint: Checkpoint) -> int:
    assert checkpoint.index is not None
    return checkpoint.index
