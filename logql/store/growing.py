"""Level tables of a run that still grows: what is over is settled into Arrow tables once, only the rest is rebuilt.

A context is over when a later iteration of the same execution of its loop, or of one around it, has begun. A thread or
task may still log there; `late` then tells that the settled tables lack something, and the run is to be read anew.
Where earlier chunks of the run are sealed, a builder goes on from what was `carried` over; what is logged in a context
that was sealed is `overdue`.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Iterable, Set
from typing import TYPE_CHECKING

from logql.model import OUTPUT_LEVEL, Event, Level, Path
from logql.store import layout
from logql.store.carry import Carried
from logql.store.levels import Builder, Place
from logql.store.parts import Cells, Rows

if TYPE_CHECKING:
    import pyarrow as pa

#: Rows (lines included) that are rebuilt at each change before some of them are settled.
ENOUGH = 1 << 13
_NUMBERS = (bool, int, float)


class GrowingBuilder(Builder):
    """A builder that settles rows as it goes, unless `settles` is off; `tables` are those of what is not settled.

    Contexts in `keep` are not settled even where they seem to be over.
    """

    def __init__(
        self, run: str, version: str, rank: int, *, settles: bool = True, keep: Set[Path] = frozenset()
    ) -> None:
        super().__init__(run, version, rank)
        self.late = False
        self.overdue = False
        self.settled: dict[str, list[pa.Table]] = {}
        self._settles = settles
        self._keep_open = keep
        self._resumed = False
        self._names: dict[str, None] = {}
        self._last_ts = 0.0
        #: seqs of settled iterations directly inside of contexts that are not
        self._passed: dict[Path, array[int]] = {}
        self._kinds: dict[Level, set[str]] = {}
        self._due = ENOUGH

    def add(self, events: Iterable[Event]) -> None:
        """Take in events."""
        first_line = len(self._lines)
        super().add(events)
        if any(line.path not in self._places for line in self._lines[first_line:]):
            self._miss()

    def is_due(self) -> bool:
        """Whether so much has gathered that `settle` is worth its while."""
        return self._settles and self._gathered() >= self._due

    def check_items(self) -> None:
        """Note `late` where a loop has items of different kinds: its column is text, also in what was settled."""
        for level, rows in self.levels.items():
            if level and rows.outer:
                kinds = self._kinds.setdefault(level, set())
                kinds.update("number" if t in _NUMBERS else t.__name__ for t in {type(one[-1]) for one in rows.outer})
                self.late = self.late or bool(self.settled and len(kinds) > 1)

    def settle(self) -> None:
        """Move what is over into `settled`; `names` must know every name that was logged."""
        self.check_items()
        self._last_ts = self.last_ts
        self._names.update(dict.fromkeys(super().logged()))
        if self._lines:
            self._keep(OUTPUT_LEVEL, self._output())
            self._lines = []
        over, left = self._divide()
        self.levels = over
        for level, rows in over.items():
            if rows.paths:
                self._keep(layout.level_directory(level), self._table(rows))
        self._forget(over, left)
        self.levels = left
        self._due = ENOUGH + self._gathered()

    def tables(self) -> dict[str, pa.Table]:
        """The tables of what is not settled."""
        everything = self.levels
        self.levels = {level: rows for level, rows in everything.items() if rows.paths}
        try:
            return super().tables()
        finally:
            self.levels = everything

    def carried(self) -> Carried:
        """What is not settled, for another builder to go on from."""
        passed = {path: self._separating(path, seqs) for path, seqs in self._passed.items()}
        return Carried(self.levels, passed, self.logged(), self.last_ts)

    def resume(self, carried: Carried) -> None:
        """Go on where another builder stopped; nothing may have been added before."""
        self.levels = carried.rows
        for rows in self.levels.values():
            for row, path in enumerate(rows.paths):
                self._places[path] = rows, row, rows.outer[row]
        self._passed = carried.passed
        self._names = dict.fromkeys(carried.names)
        self._last_ts = carried.last_ts
        self._around = None
        self._resumed = True

    def logged(self) -> list[str]:
        """Every name that was logged."""
        return list(dict.fromkeys((*self._names, *super().logged())))

    @property
    def last_ts(self) -> float:
        """When the last event happened; 0 if none did."""
        return max(self._last_ts, super().last_ts)

    def _gathered(self) -> int:
        return len(self._lines) + sum(len(rows.paths) for rows in self.levels.values())

    def _place_unseen(self, path: Path, seq: int, sub: int, ts: float | None) -> Place:
        self._miss()
        return super()._place_unseen(path, seq, sub, ts)

    def _miss(self) -> None:
        """An event came whose context is not among those that are open."""
        self.late = self.late or bool(self.settled)
        self.overdue = self.overdue or self._resumed

    def _keep(self, level: str, table: pa.Table) -> None:
        """Add settled rows; tables of one schema are put together without copying."""
        import pyarrow as pa

        known = self.settled.setdefault(level, [])
        if known and known[-1].schema == table.schema:
            known[-1] = pa.concat_tables([known[-1], table])
        else:
            known.append(table)

    def _divide(self) -> tuple[dict[Level, Rows], dict[Level, Rows]]:
        """Rows of contexts that are over, and the others."""
        latest: dict[tuple[Path, str, int], int] = {}
        for rows in self.levels.values():
            for path in rows.paths:
                if path:
                    group = path[:-1], path[-1].loop, path[-1].entry
                    latest[group] = max(latest.get(group, 0), path[-1].index)
        is_open: dict[Path, bool] = {(): True}
        over, left = {}, {}
        for level in sorted(self.levels, key=len):
            rows = self.levels[level]
            for path in rows.paths:
                if path:
                    here = latest[path[:-1], path[-1].loop, path[-1].entry] == path[-1].index
                    is_open[path] = (here or path in self._keep_open) and is_open.get(path[:-1], False)
            over[level], left[level] = _divide_rows(rows, [is_open[path] for path in rows.paths])
        return over, left

    def _forget(self, over: dict[Level, Rows], left: dict[Level, Rows]) -> None:
        """Let go of contexts that are over, but for when they began inside of others that are not."""
        for rows in over.values():
            for path in rows.paths:
                del self._places[path]
                self._passed.pop(path, None)
        for rows in over.values():
            for path, seq in zip(rows.paths, rows.seqs, strict=True):
                if path[:-1] in self._places:
                    self._passed.setdefault(path[:-1], array("q")).append(seq)
        for rows in left.values():
            for row, path in enumerate(rows.paths):
                self._places[path] = rows, row, rows.outer[row]
        self._around = None

    def _separating(self, path: Path, starts: array[int]) -> array[int]:
        """Of the inner iterations that began in a context, one between each two of its values: more tell nothing."""
        rows, row, _ = self._places[path]
        seqs = sorted(
            cells.seqs[position]
            for cells in rows.cells.values()
            for position, own in enumerate(cells.rows)
            if own == row
        )
        return array("q", {bisect_left(seqs, start): start for start in starts}.values())

    def _inner_starts(self, level: Level, paths: set[Path]) -> dict[Path, list[int]]:
        found = super()._inner_starts(level, paths)
        for path, starts in found.items():
            starts += self._passed.get(path, ())
        return found


def _divide_rows(rows: Rows, stays: list[bool]) -> tuple[Rows, Rows]:
    """The rows that do not stay, and those that do."""
    parts = Rows(rows.level), Rows(rows.level)
    numbers: list[int] = []
    for row, stay in enumerate(stays):
        part = parts[stay]
        numbers.append(len(part.paths))
        part.paths.append(rows.paths[row])
        part.outer.append(rows.outer[row])
        part.seqs.append(rows.seqs[row])
        part.subs.append(rows.subs[row])
        part.ts.append(rows.ts[row])
    for name, cells in rows.cells.items():
        for position, row in enumerate(cells.rows):
            own = parts[stays[row]].cells.setdefault(name, Cells())
            own.rows.append(numbers[row])
            own.seqs.append(cells.seqs[position])
            own.subs.append(cells.subs[position])
            own.values.append(cells.values[position])
    return parts
