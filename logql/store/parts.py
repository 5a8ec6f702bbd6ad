"""Contexts in which a name was logged twice, as parts: rows that any set of names can form rows of `logs` from.

A part ends where one of its names is logged again, or where an inner loop's iteration began (docs/architecture.md).
"""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import compress, count, groupby, islice, repeat
from operator import ge, gt, itemgetter
from typing import Any

from logql.store.contexts import Begun, Cells, Group, Rows

#: row, seq, sub, position among its name's cells, name
Value = tuple[int, int, int, int, str]
#: When iterations directly inside of some rows' contexts began, by row.
Starts = Callable[[Rows, set[int]], dict[int, list[int]]]

NOT_BEGUN = Begun(0, frozenset())
_NEVER = 1 << 63


class Split:
    """Rows of a level after contexts with repeats became parts; `repeated` are names that some context has twice."""

    def __init__(self, rows: Rows) -> None:
        # Arrow keeps what it gets, and an array that Arrow has cannot grow
        self.group, self.index, self.items, self.ts = rows.group[:], rows.index[:], rows.items[:], rows.ts[:]
        self.seqs, self.subs = rows.seqs[:], rows.subs[:]
        self.cells = rows.cells
        #: number of the part; -1 for a context that is one row; None where all are
        self.parts: array[int] | None = None
        self.order: dict[int, list[str]] = {}
        self.repeated: set[str] = set()

    def put_context(self, rows: Rows, values: Sequence[Value], cuts: Sequence[int]) -> None:
        """The values of one context in parts, which begin at `cuts`; all but the first get rows of their own."""
        row, ends = values[0][0], [*cuts[1:], len(values)]
        begun = rows.begun.get(row, NOT_BEGUN)
        names = [value[4] for value in values]
        self.repeated.update(name for name, times in Counter(names).items() if times > 1 or name in begun.names)
        places = [row, *range(len(self.index), len(self.index) + len(cuts) - 1)]
        lasts = [values[end - 1] for end in ends]
        self._put(self.parts, places, range(begun.parts, begun.parts + len(cuts)))
        self._put(self.seqs, places, [values[cut][1] for cut in cuts])
        self._put(self.subs, places, [values[cut][2] for cut in cuts])
        self._put(self.ts, places, [rows.cells[name].times[at] for _, _, _, at, name in lasts])
        for column in (self.group, self.index, self.items):
            self._put(column, places, [column[row]] * len(places))
        for place, cut, end in zip(places, cuts, ends, strict=True):
            self.order[place] = names[cut:end]
            for _, _, _, at, name in values[cut:end]:
                own = self.cells[name]
                own.rows.append(place)
                own.values.append(rows.cells[name].values[at])

    @staticmethod
    def _put(column: Any, places: Sequence[int], values: Sequence[Any]) -> None:
        """Values of one column, the first in a row that is there, the others behind it."""
        column[places[0]] = values[0]
        column.extend(values[1:])


def split_rows(rows: Rows, inner_starts: Starts, sidecar: bool, ordered: bool) -> Split:
    """Rows with their contexts in parts where a name repeats (or in all contexts, if `ordered`).

    In a sidecar every value is a part.
    """
    split = Split(rows)
    parted = {row for cells in rows.cells.values() for row in cells.rows} if ordered else parted_rows(rows)
    if not parted:
        return split
    split.parts = array("i", [-1]) * len(rows)
    split.cells = {name: _without(cells, parted) for name, cells in rows.cells.items()}
    starts = {} if sidecar else inner_starts(rows, parted)
    for row, values in contexts_of(rows, parted):
        split.put_context(rows, values, range(len(values)) if sidecar else part_starts(values, starts[row]))
    return split


def parted_rows(rows: Rows) -> set[int]:
    """Rows of contexts that are stored in parts."""
    return set(rows.begun).union(*(_repeated_rows(cells.rows) for cells in rows.cells.values()))


def contexts_of(rows: Rows, wanted: set[int]) -> Iterator[tuple[int, list[Value]]]:
    """The values of each of the rows `wanted`, in the order in which they were logged."""
    found: list[Value] = []
    for name, cells in rows.cells.items():
        columns = zip(cells.rows, cells.seqs, cells.subs, count(), repeat(name))
        found += columns if len(wanted) == len(rows) else compress(columns, map(wanted.__contains__, cells.rows))
    found.sort(key=itemgetter(0, 1, 2, 3))
    for row, values in groupby(found, key=itemgetter(0)):
        yield row, list(values)


def part_starts(values: Sequence[Value], begun: Iterable[int]) -> list[int]:
    """Where parts begin among the values of one context: a name comes again, or an inner iteration began."""
    found: list[int] = []
    names: set[str] = set()
    starts = iter(sorted(begun))
    start = next(starts, _NEVER)
    for at, (_, seq, _, _, name) in enumerate(values):
        if not at or name in names or start <= seq:
            found.append(at)
            names = set()
            while start <= seq:
                start = next(starts, _NEVER)
        names.add(name)
    return found


def row_order(split: Split, groups: Sequence[Group]) -> list[int] | None:
    """The order of rows by context and part; None if they are in order."""
    keys: Sequence[Any] = split.index
    if split.parts is not None or len(groups) > 1:
        ranks = array("q", [0]) * len(groups)
        for rank, number in enumerate(sorted(range(len(groups)), key=lambda at: groups[at].key)):
            ranks[number] = rank
        parts = repeat(0) if split.parts is None else split.parts
        keys = list(zip(map(ranks.__getitem__, split.group), split.index, parts, strict=False))
    if not any(map(gt, keys, islice(keys, 1, None))):
        return None
    return sorted(range(len(keys)), key=keys.__getitem__)


def _repeated_rows(rows: array[int]) -> set[int]:
    """Rows that occur twice; the usual case, ascending rows, is told at C speed."""
    if not any(map(ge, rows, islice(rows, 1, None))):
        return set()
    return {row for row, times in Counter(rows).items() if times > 1}


def _without(cells: Cells, rows: set[int]) -> Cells:
    kept = Cells()
    keep = [position for position, row in enumerate(cells.rows) if row not in rows]
    kept.rows = array("q", [cells.rows[position] for position in keep])
    kept.values = [cells.values[position] for position in keep]
    return kept
