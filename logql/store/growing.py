"""Level tables of a run that still grows: what is over is settled into Arrow tables once, only the rest is rebuilt.

A context is over when a later iteration of the same execution of its loop, or of one around it, has begun. A thread or
task may still log there; `late` then tells that the settled tables lack something, and the run is to be read anew.
Of a context that is not over and logs a name again, all parts but the last are settled: nothing comes before what was
logged. Where earlier chunks of the run are sealed, a builder goes on from what was `carried` over; what is logged in a
context that was sealed is `overdue`.
"""

from __future__ import annotations

from array import array
from bisect import bisect_left
from collections.abc import Set
from typing import TYPE_CHECKING

from logql.model import OUTPUT_LEVEL, Level, Line, Path
from logql.store import layout
from logql.store.carry import Carried
from logql.store.contexts import Begun, Cells, Rows, kinds_of
from logql.store.levels import Builder
from logql.store.parts import NOT_BEGUN, Value, contexts_of, part_starts, parted_rows

if TYPE_CHECKING:
    import pyarrow as pa

#: Rows, values and lines that are rebuilt at each change before some of them are settled.
ENOUGH = 1 << 14
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
        self._kept_open: dict[tuple[Path, str, int], set[int]] = {}
        for path in keep - {()}:
            loop, entry, index = path[-1]
            self._kept_open.setdefault((path[:-1], loop, entry), set()).add(index)
        self._resumed = False
        self._names: dict[str, None] = {}
        self._last_ts = 0.0
        #: seqs of settled iterations directly inside of contexts that are not
        self._passed: dict[Path, array[int]] = {}
        self._kinds: dict[Level, set[str]] = {}
        self._due = ENOUGH

    def is_due(self) -> bool:
        """Whether so much has gathered that `settle` is worth its while."""
        return self._settles and self._gathered() >= self._due

    def check_items(self) -> None:
        """Note `late` where a loop has items of different kinds: its column is text, also in what was settled."""
        for level, rows in self.levels.items():
            if level and len(rows):
                kinds = self._kinds.setdefault(level, set())
                kinds.update("number" if t in _NUMBERS else t.__name__ for t in kinds_of(rows.items))
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
        for level, rows in over.items():
            if len(rows):
                self._keep(layout.level_directory(level), self._table(rows))
        self._forget(over, left)
        self.levels = left
        self._due = ENOUGH + self._gathered()

    def tables(self) -> dict[str, pa.Table]:
        """The tables of what is not settled."""
        everything = self.levels
        self.levels = {level: rows for level, rows in everything.items() if len(rows)}
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
        self.run_group = self.levels[()].groups[0]
        self._groups = {group.key: group for level, rows in self.levels.items() if level for group in rows.groups}
        self._passed = carried.passed
        self._names = dict.fromkeys(carried.names)
        self._last_ts = carried.last_ts
        self._resumed = True

    def logged(self) -> list[str]:
        """Every name that was logged."""
        return list(dict.fromkeys((*self._names, *super().logged())))

    @property
    def last_ts(self) -> float:
        """When the last event happened; 0 if none did."""
        return max(self._last_ts, super().last_ts)

    def miss(self) -> None:
        """An event came whose context is not among those that are open."""
        self.late = self.late or bool(self.settled)
        self.overdue = self.overdue or self._resumed

    def _add_lines(self, lines: list[Line]) -> None:
        super()._add_lines(lines)
        if any(self.find(path) is None for path in {line.path for line in lines}):
            self.miss()

    def _gathered(self) -> int:
        values = sum(len(cells.rows) for rows in self.levels.values() for cells in rows.cells.values())
        return len(self._lines) + values + sum(map(len, self.levels.values()))

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
        over, left = {}, {}
        open_paths: set[Path] = {()}
        for level in sorted(self.levels, key=len):
            rows = self.levels[level]
            stays = bytearray(len(rows))
            for group in rows.groups:
                if group.rows and group.around in open_paths:
                    for index in {max(group.rows), *self._kept_open.get(group.key, ())} & group.rows.keys():
                        stays[group.rows[index]] = 1
                        open_paths.add(group.path(index))
            over[level], left[level] = rows.divided(stays)
            self._settle_parts(over[level], left[level])
        return over, left

    def _settle_parts(self, over: Rows, left: Rows) -> None:
        """Move the parts of contexts that stay, but for the last ones, to those that are over."""
        parted = parted_rows(left)
        starts = self._inner_starts(left, parted) if parted else {}
        gone: dict[int, int] = {}
        moved: list[Value] = []
        for row, values in contexts_of(left, parted):
            cuts = part_starts(values, starts[row])
            if len(cuts) > 1:
                before, settled = left.begun.get(row, NOT_BEGUN), values[: cuts[-1]]
                gone[row] = over.copy(left, row)
                over.begun[gone[row]] = before
                names = before.names.union(value[4] for value in settled)
                left.begun[row] = Begun(before.parts + len(cuts) - 1, names)
                moved += settled
        if moved:
            _move(moved, over, left, gone)

    def _forget(self, over: dict[Level, Rows], left: dict[Level, Rows]) -> None:
        """Let go of contexts that are over, but for when they began inside of others that are not."""
        stay = {path for rows in left.values() for path in map(rows.path, range(len(rows)))}
        for level, rows in over.items():
            # parts of what stays are no iterations of their own
            staying = set(zip(left[level].group, left[level].index, strict=True))
            passed = [self._passed_in(group.around) if group.around in stay else None for group in rows.groups]
            for number, index, seq in zip(rows.group, rows.index, rows.seqs, strict=True) if level else ():
                own = passed[number]
                if own is not None and (number, index) not in staying:
                    own.append(seq)
        self._passed = {path: seqs for path, seqs in self._passed.items() if path in stay}
        for rows in left.values():
            rows.renumber()
        self._groups = {group.key: group for level, rows in left.items() if level for group in rows.groups}

    def _passed_in(self, path: Path) -> array[int]:
        return self._passed.setdefault(path, array("q"))

    def _separating(self, path: Path, starts: array[int]) -> array[int]:
        """Of the inner iterations that began in a context, one between each two of its values: more tell nothing."""
        place = self.find(path)
        assert place is not None  # only contexts that are not settled have any
        rows, row = place
        seqs = sorted(
            cells.seqs[position]
            for cells in rows.cells.values()
            for position, own in enumerate(cells.rows)
            if own == row
        )
        return array("q", {bisect_left(seqs, start): start for start in starts}.values())

    def _inner_starts(self, rows: Rows, wanted: set[int]) -> dict[int, list[int]]:
        found = super()._inner_starts(rows, wanted)
        for row, starts in found.items():
            starts += self._passed.get(rows.path(row), ())
        return found


def _move(moved: list[Value], over: Rows, left: Rows, numbers: dict[int, int]) -> None:
    """Take values out of `left` and put them into `over`, where their rows have other numbers."""
    flags = {name: bytearray(len(cells.rows)) for name, cells in left.cells.items()}
    for _, _, _, at, name in moved:
        flags[name][at] = 1
    for name, cells in left.cells.items():
        if 1 in flags[name]:
            over.cells.setdefault(name, Cells()).take(cells.at(flags[name]), numbers)
            left.cells[name] = cells.at(bytes(not flag for flag in flags[name]))
