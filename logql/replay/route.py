"""The way through a run's main loops to the wanted iterations: which checkpoints to restore, where to jump."""

from __future__ import annotations

from collections.abc import Sequence

from logql.model import Checkpoint, MainLoop
from logql.replay.spec import WorkerSpec


class Station:
    """The wanted iterations of one main loop, and the checkpoints that lead to them."""

    def __init__(self, wanted: set[int], inside: Sequence[Checkpoint], *, onward: bool) -> None:
        self._wanted = sorted(wanted)
        self._inside = sorted(inside, key=_index)
        #: the last wanted iteration
        self.last = max(wanted, default=-1)
        #: whether the replay goes on behind the loop
        self.onward = onward

    def start(self) -> Checkpoint | None:
        """Where to begin: the last checkpoint at or before the first wanted iteration; None is the loop's beginning."""
        return self._latest(0, self._wanted[0]) if self._wanted else None

    def next_jump(self, index: int, cut: bool) -> Checkpoint | None:
        """The checkpoint to go on from at `index`; None is to go on as it is. After a cut there is always one."""
        following = self._next_wanted(index)
        found = self._latest(index, following) if following is not None else None
        return found if found is not None and (cut or _index(found) > index) else None

    def may_jump(self, index: int) -> bool:
        """Whether the rest of iteration `index` is of no use: a checkpoint behind it leads to the next wanted one."""
        following = self._next_wanted(index + 1)
        return following is not None and self._latest(index + 1, following) is not None

    def _next_wanted(self, index: int) -> int | None:
        return next((one for one in self._wanted if one >= index), None)

    def _latest(self, first: int, last: int) -> Checkpoint | None:
        found = [one for one in self._inside if first <= _index(one) <= last]
        return found[-1] if found else None


class Route:
    """Answers a driver's questions from the run's loops and checkpoints."""

    def __init__(self, spec: WorkerSpec) -> None:
        self._loops = {(loop.loop, loop.entry): loop for loop in spec.loops}
        usable = [one for one in spec.checkpoints if one.manifest is not None and one.rank == 0]
        self._checkpoints = {(one.loop, one.entry, one.index): one for one in usable}
        self._stations: dict[tuple[str, int], Station] = {}
        segments = [one for one in (*spec.along, spec.segment) if one.loop is not None]
        for loop in spec.loops:
            place = loop.loop, loop.entry
            wanted = [one.wanted for one in segments if (one.loop, one.entry) == place]
            if wanted:
                inside = [one for one in usable if (one.loop, one.entry) == place and one.index is not None]
                self._stations[place] = Station(
                    set().union(*wanted), inside if loop.line is not None else (), onward=spec.segment.loop is None
                )

    def find(self, loop: str, entry: int) -> MainLoop | None:
        """What was recorded of a main loop."""
        return self._loops.get((loop, entry))

    def station(self, loop: MainLoop) -> Station | None:
        """What is wanted in a main loop, if anything is."""
        return self._stations.get((loop.loop, loop.entry))

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


def _index(checkpoint: Checkpoint) -> int:
    assert checkpoint.index is not None
    return checkpoint.index
