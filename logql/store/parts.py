"""Contexts in which a name was logged twice, as parts: rows that any set of names can form rows of `logs` from.

A part ends where one of its names is logged again, or where an inner loop's iteration began (docs/architecture.md).
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import islice
from operator import ge, gt, itemgetter
from typing import Any

from logql.model import Level, Path


class Cells:
    """Values of one name in one level: where, when in the run's order, and what."""

    __slots__ = ("rows", "seqs", "subs", "values")

    def __init__(self) -> None:
        self.rows = array("q")
        self.seqs = array("q")
        self.subs = array("i")
        self.values: list[object] = []


class Rows:
    """Contexts of one level, one each, with what was logged in them."""

    def __init__(self, level: Level) -> None:
        self.level = level
        self.paths: list[Path] = []
        self.outer: list[tuple[object, ...]] = []
        self.seqs = array("q")
        self.subs = array("i")
        self.ts: list[float | None] = []
        self.cells: dict[str, Cells] = {}


class Split:
    """Rows of a level after contexts with repeats became parts."""

    def __init__(self, rows: Rows) -> None:
        self.paths, self.outer, self.ts = rows.paths, rows.outer, rows.ts
        self.seqs, self.subs = rows.seqs[:], rows.subs[:]
        self.parts = array("i", [-1]) * len(rows.paths)
        self.order: dict[int, list[str]] = {}
        self.cells = rows.cells


def split_rows(rows: Rows, inner_starts: Any, sidecar: bool, ordered: bool) -> Split:
    """Rows with their contexts in parts where a name repeats (or in all contexts, if `ordered`).

    `inner_starts(level, paths)` tells when inner iterations began. In a sidecar every value is a part.
    """
    split = Split(rows)
    repeated = {row for cells in rows.cells.values() for row in (cells.rows if ordered else _repeated_rows(cells.rows))}
    if not repeated:
        return split
    split.paths, split.outer, split.ts = rows.paths[:], rows.outer[:], rows.ts[:]
    moved = _values_of(rows, repeated)
    split.cells = {name: _without(cells, repeated) for name, cells in rows.cells.items()}
    starts = inner_starts(rows.level, {rows.paths[row] for row in repeated})
    for row in sorted(repeated):
        values = sorted(moved[row], key=itemgetter(0, 1, 2))
        parts = [[value] for value in values] if sidecar else _parts(values, starts[rows.paths[row]])
        for part, values in enumerate(parts):
            _put_part(split, row, part, values)
    return split


def _repeated_rows(rows: array[int]) -> set[int]:
    """Rows that occur twice; the usual case, ascending rows, is told at C speed."""
    if not any(map(ge, rows, islice(rows, 1, None))):
        return set()
    seen: set[int] = set()
    return {row for row in rows if row in seen or seen.add(row)}  # type: ignore[func-returns-value]


#: seq, sub, position among its name's cells, name, value
_Value = tuple[int, int, int, str, object]


def _values_of(rows: Rows, wanted: set[int]) -> dict[int, list[_Value]]:
    found: dict[int, list[_Value]] = {row: [] for row in wanted}
    for name, cells in rows.cells.items():
        for position, row in enumerate(cells.rows):
            if row in wanted:
                value = cells.seqs[position], cells.subs[position], position, name, cells.values[position]
                found[row].append(value)
    return found


def _without(cells: Cells, rows: set[int]) -> Cells:
    kept = Cells()
    keep = [position for position, row in enumerate(cells.rows) if row not in rows]
    kept.rows = array("q", [cells.rows[position] for position in keep])
    kept.values = [cells.values[position] for position in keep]
    return kept


def _parts(values: Sequence[_Value], starts: Sequence[int]) -> list[list[_Value]]:
    """Values of one context in parts: one ends where a name comes again, or an inner iteration began."""
    parts: list[list[_Value]] = []
    names: set[str] = set()
    begun, position = sorted(starts), 0
    for value in values:
        passed = position
        while position < len(begun) and begun[position] <= value[0]:
            position += 1
        if not parts or value[3] in names or position > passed:
            parts.append([])
            names = set()
        parts[-1].append(value)
        names.add(value[3])
    return parts


def _put_part(split: Split, row: int, part: int, values: list[_Value]) -> None:
    place = row
    if part:
        place = len(split.paths)
        split.paths.append(split.paths[row])
        split.outer.append(split.outer[row])
        split.ts.append(split.ts[row])
        split.seqs.append(0)
        split.subs.append(0)
        split.parts.append(0)
    split.parts[place] = part
    split.seqs[place], split.subs[place] = values[0][:2]
    split.order[place] = [value[3] for value in values]
    for *_, name, value in values:
        split.cells[name].rows.append(place)
        split.cells[name].values.append(value)


def row_order(split: Split) -> list[int] | None:
    """The order of rows by context and part; None if they are in order."""
    if not split.order and not any(map(gt, split.paths, islice(split.paths, 1, None))):
        return None
    return sorted(range(len(split.paths)), key=lambda row: (split.paths[row], split.parts[row]))
