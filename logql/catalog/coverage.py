"""Which cells of a virtual column replays have filled, by fingerprint."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from logql.model import Fill, Level, MainLoop

#: A main loop's execution; (None, 0) is the code outside of main loops.
Place = tuple[str | None, int]


@dataclass
class Coverage:
    """The filled and the failed iterations of one name in one run, under one fingerprint.

    Each index belongs to one fill, the last that covers it; (None, 0) has the single index None for the run's level.
    """

    done: dict[Place, dict[int | None, Fill]] = field(default_factory=dict)
    failed: dict[Place, dict[int | None, Fill]] = field(default_factory=dict)
    levels: set[Level] = field(default_factory=set)
    overlaps: bool = False

    def add(self, fill: Fill, name: str, trusted: bool) -> None:
        """Take in a finished fill; one that is not `trusted` counts as failed."""
        place: Place = (fill.loop, fill.entry if fill.loop is not None else 0)
        good = fill.state == "done" and trusted
        for index in covered(fill):
            self._put(place, index, fill, good)
        if good:
            self.levels.update(fill.levels.get(name, ()))

    def _put(self, place: Place, index: int | None, fill: Fill, good: bool) -> None:
        into, other = (self.done, self.failed) if good else (self.failed, self.done)
        if not good and index in other.get(place, ()):
            return
        other.get(place, {}).pop(index, None)
        known = into.setdefault(place, {})
        self.overlaps = self.overlaps or index in known
        known[index] = fill

    def spread(self, loops: Iterable[MainLoop]) -> None:
        """Let what failed outside of main loops count in each of their iterations, whose rows stand in for it."""
        fill = self.failed[None, 0][None]
        for loop in loops:
            failed = self.failed.setdefault((loop.loop, loop.entry), {})
            failed.update(dict.fromkeys(range(loop.iterations), fill))

    def known(self, place: Place) -> int:
        """How many iterations of `place` are filled or failed."""
        return len(self.done.get(place, ())) + len(self.failed.get(place, ()))

    def has_failed(self) -> bool:
        """Whether any cell is unfillable because its replay failed."""
        return any(self.failed.values())

    def rows(self) -> Iterator[tuple[str | None, int, int | None, bool, Fill]]:
        """(loop, entry, index, filled, fill) of every known iteration."""
        for good, places in ((True, self.done), (False, self.failed)):
            for (loop, entry), indices in places.items():
                for index, fill in indices.items():
                    yield loop, entry, index, good, fill


def covered(fill: Fill) -> Iterable[int | None]:
    """The iterations that a fill covers; None stands for the code outside of main loops."""
    if fill.loop is None:
        return (None,)
    if fill.covered is not None:
        return fill.covered
    if fill.first_index is None or fill.last_index is None:
        return ()
    return range(fill.first_index, fill.last_index + 1)


def trusted(fill: Fill, strict: bool) -> bool:
    """Whether the fill's values are shown: all of them, unless `strict` asks for agreement with the record."""
    return not strict or fill.fidelity in ("exact", "close")


def index_fills(fills: Iterable[Fill]) -> Mapping[tuple[str, str], list[Fill]]:
    """Finished fills by run and name, in the order in which they started."""
    found: dict[tuple[str, str], list[Fill]] = {}
    for fill in sorted(fills, key=lambda fill: (fill.started_at, fill.id)):
        if fill.state in ("done", "failed"):
            for name in fill.names:
                found.setdefault((fill.run, name), []).append(fill)
    return found
