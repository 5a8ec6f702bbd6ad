"""Contexts of one level as columns: which iteration of which execution of a loop each row is, and what it logged.

Columns are arrays of machine numbers for as long as they can be, so that a million values take no million objects.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate, compress
from typing import Any, TypeAlias

from logql.model import Level, Path, Step

#: Values of one column: machine numbers while all are of one kind.
Column: TypeAlias = "list[Any] | array[Any]"

_FLIPPED = bytes([1, 0]) + bytes(254)


class Group:
    """One execution of a loop, and the rows of its iterations by their indices; the run is the row 0 of its own."""

    __slots__ = ("around", "entry", "level", "loop", "number", "outer", "rows")

    def __init__(self, around: Path, loop: str, entry: int, outer: tuple[object, ...]) -> None:
        self.around = around
        self.loop = loop
        self.entry = entry
        #: items of the loops around
        self.outer = outer
        self.level: Level = (*(step.loop for step in around), loop) if loop else ()
        self.rows: dict[int, int] = {}
        #: place among the groups of its level
        self.number = 0

    @property
    def key(self) -> tuple[Path, str, int]:
        """What tells it from others."""
        return self.around, self.loop, self.entry

    def path(self, index: int) -> Path:
        """The context of its iteration `index`."""
        return (*self.around, Step(self.loop, self.entry, index)) if self.loop else ()


class Cells:
    """Values of one name in one level: where, when in the run's order and by the clock, and what."""

    __slots__ = ("rows", "seqs", "subs", "times", "values")

    def __init__(self) -> None:
        self.rows = array("q")
        self.seqs = array("q")
        self.subs = array("i")
        self.times = array("d")
        self.values: Column = array("d")

    def add(self, row: int, seq: int, sub: int, ts: float, value: object) -> None:
        """Put one value behind the others."""
        self.rows.append(row)
        self.seqs.append(seq)
        self.subs.append(sub)
        self.times.append(ts)
        if type(self.values) is array and type(value) is not float:
            self.values = self.values.tolist()
        self.values.append(value)

    def extend(self, rows: Iterable[int], seqs: array[int], times: array[float], values: Column) -> None:
        """Put recorded values behind the others."""
        self.rows.extend(rows)
        self.seqs.extend(seqs)
        self.subs.frombytes(bytes(self.subs.itemsize * len(seqs)))
        self.times.extend(times)
        self.values = joined(self.values, values)

    def at(self, flags: bytes | bytearray) -> Cells:
        """The flagged ones of the values."""
        found = Cells()
        found.rows = array("q", compress(self.rows, flags))
        found.seqs = array("q", compress(self.seqs, flags))
        found.subs = array("i", compress(self.subs, flags))
        found.times = array("d", compress(self.times, flags))
        found.values = chosen(self.values, flags)
        return found

    def take(self, other: Cells, numbers: Mapping[int, int]) -> None:
        """Put others' values behind these; `numbers` has those of their rows here."""
        self.rows.extend(map(numbers.__getitem__, other.rows))
        self.seqs += other.seqs
        self.subs += other.subs
        self.times += other.times
        self.values = joined(self.values, other.values)

    def of_rows(self, flags: Sequence[int], numbers: Sequence[int]) -> Cells:
        """Values of flagged rows, which have new numbers."""
        found = self.at(bytes(map(flags.__getitem__, self.rows)))
        found.rows = array("q", map(numbers.__getitem__, found.rows))
        return found


@dataclass(frozen=True)
class Begun:
    """Of a context whose first parts are settled: how many, and the names in them."""

    parts: int
    names: frozenset[str]


class Rows:
    """Contexts of one level, one each, with what was logged in them."""

    def __init__(self, level: Level) -> None:
        self.level = level
        self.groups: list[Group] = []
        self.group = array("q")
        self.index = array("q")
        self.items: Column = array("q")
        self.seqs = array("q")
        self.subs = array("i")
        #: when the last event happened; NaN where none did
        self.ts = array("d")
        self.cells: dict[str, Cells] = {}
        self.begun: dict[int, Begun] = {}

    def __len__(self) -> int:
        return len(self.index)

    def path(self, row: int) -> Path:
        """The context of a row."""
        return self.groups[self.group[row]].path(self.index[row])

    def outer(self, row: int) -> tuple[object, ...]:
        """Items of the loops of a row, from the outside in."""
        return (*self.groups[self.group[row]].outer, self.items[row]) if self.level else ()

    def adopt(self, group: Group) -> Group:
        """Take in an execution of the level's loop."""
        group.number = len(self.groups)
        self.groups.append(group)
        return group

    def add(self, group: Group, index: int, item: object, seq: int, sub: int, ts: float) -> int:
        """A row for an iteration; gives its number."""
        row = group.rows[index] = len(self.index)
        self.group.append(group.number)
        self.index.append(index)
        self.items = joined(self.items, array("q", [item]) if is_index(item) else [item])
        self.seqs.append(seq)
        self.subs.append(sub)
        self.ts.append(ts)
        return row

    def extend(
        self, group: Group, indices: Sequence[int], items: Column, seqs: Iterable[int], ts: Iterable[float]
    ) -> None:
        """Rows for many new iterations of one execution."""
        start, count = len(self.index), len(indices)
        group.rows.update(zip(indices, range(start, start + count), strict=True))
        self.group.extend(array("q", [group.number]) * count)
        self.index.extend(indices)
        self.items = joined(self.items, items)
        self.seqs.extend(seqs)
        self.subs.frombytes(bytes(self.subs.itemsize * count))
        self.ts.extend(ts)

    def copy(self, other: Rows, row: int) -> int:
        """A row like one of other rows of the same groups, without its values; gives its number."""
        self.group.append(other.group[row])
        self.index.append(other.index[row])
        self.items = joined(self.items, other.items[row : row + 1])
        self.seqs.append(other.seqs[row])
        self.subs.append(other.subs[row])
        self.ts.append(other.ts[row])
        return len(self.index) - 1

    def renumber(self) -> None:
        """Let go of groups that have no rows here, and tell the others where their rows are now."""
        used = sorted(set(self.group))
        numbers = dict(zip(used, range(len(used)), strict=True))
        self.groups = [self.groups[number] for number in used]
        self.group = array("q", map(numbers.__getitem__, self.group))
        for number, group in enumerate(self.groups):
            group.number, group.rows = number, {}
        for row, (number, index) in enumerate(zip(self.group, self.index, strict=True)):
            self.groups[number].rows[index] = row

    def divided(self, stays: bytearray) -> tuple[Rows, Rows]:
        """The rows that do not stay, and those that do; both know all groups."""
        if 1 not in stays:
            return self, self._emptied()
        if 0 not in stays:
            return self._emptied(), self
        return self._only(stays.translate(_FLIPPED)), self._only(stays)

    def _emptied(self) -> Rows:
        found = Rows(self.level)
        found.groups = self.groups
        return found

    def _only(self, flags: bytearray) -> Rows:
        numbers = [number - 1 for number in accumulate(flags)]
        found = self._emptied()
        found.group = array("q", compress(self.group, flags))
        found.index = array("q", compress(self.index, flags))
        found.items = chosen(self.items, flags)
        found.seqs = array("q", compress(self.seqs, flags))
        found.subs = array("i", compress(self.subs, flags))
        found.ts = array("d", compress(self.ts, flags))
        cells = {name: own.of_rows(flags, numbers) for name, own in self.cells.items()}
        found.cells = {name: own for name, own in cells.items() if own.rows}
        found.begun = {numbers[row]: begun for row, begun in self.begun.items() if flags[row]}
        return found


def is_index(item: object) -> bool:
    """Whether an item is a machine integer."""
    return type(item) is int and -(1 << 63) <= item < 1 << 63


def joined(column: Column, more: Column) -> Column:
    """`column` with `more` behind it."""
    if not column:
        return more[:]
    if type(column) is array and (type(more) is not array or more.typecode != column.typecode):
        column = column.tolist()
    column.extend(more)
    return column


def chosen(column: Column, flags: bytes | bytearray) -> Column:
    """The values whose flag is set."""
    found = compress(column, flags)
    return array(column.typecode, found) if type(column) is array else list(found)


def kinds_of(column: Column) -> set[type]:
    """Types of a column's values."""
    if type(column) is array:
        return {float if column.typecode == "d" else int} if column else set()
    return set(map(type, column))


def picked(column: Column, where: slice | Sequence[int]) -> Column:
    """The values at the positions `where`."""
    if isinstance(where, slice):
        return column[where]
    found = map(column.__getitem__, where)
    return array(column.typecode, found) if type(column) is array else list(found)
