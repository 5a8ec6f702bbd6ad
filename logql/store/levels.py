"""Events of a run as one wide table per level, with the columns that docs/architecture.md lists."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from logql.model import OUTPUT_LEVEL, SYSTEM_COLUMNS, Enter, Event, Level, Line, Logged, Path, Shape
from logql.store import columns, layout, types
from logql.store.names import INTERNAL, fold
from logql.store.parts import Cells, Rows, row_order, split_rows

if TYPE_CHECKING:
    import pyarrow as pa

#: Columns of every level table besides those of loops and names.
FRAME = ("version", "run", "rank", "ts", *INTERNAL)
#: Where the row of a context is: its level's rows, its number there, the items of the loops around it.
Place = tuple[Rows, int, tuple[object, ...]]
_NOT_LOOPS = frozenset((*SYSTEM_COLUMNS, *INTERNAL))


def build(
    run: str, version: str, rank: int, events: Iterable[Event], names: Mapping[str, str] | None = None
) -> dict[str, pa.Table]:
    """One table per level that `events` enter, by `layout.level_directory`; `run` is always there.

    `names` maps logged names to stored ones; a name that it lacks is stored as it is.
    """
    builder = Builder(run, version, rank, names)
    builder.add(events)
    return builder.tables()


def loop_names(level: Level) -> tuple[str, ...]:
    """Column names of a level's loops: `run` becomes `run_`, and of loops with one name the inner gets `_2`."""
    found: list[str] = []
    for loop in level:
        base = f"{loop}_" if fold(loop) in _NOT_LOOPS else loop
        name, number = base, 1
        while fold(name) in map(fold, found):
            number += 1
            name = f"{base}_{number}"
        found.append(name)
    return tuple(found)


def loop_columns(level: Level) -> list[str]:
    """`<loop>`, `<loop>_index`, `<loop>_entry` for each loop of the level, from the outside in."""
    return [column for name in loop_names(level) for column in (name, f"{name}_index", f"{name}_entry")]


class Builder:
    """Collects events of one run and rank in their order; `tables` may be asked at any time."""

    def __init__(
        self,
        run: str,
        version: str,
        rank: int,
        names: Mapping[str, str] | None = None,
        *,
        sidecar: bool = False,
        ordered: frozenset[Level] = frozenset(),
    ) -> None:
        self.run = run
        self.version = version
        self.rank = rank
        self.names = names or {}
        self.sidecar = sidecar
        self.ordered = ordered
        self.levels: dict[Level, Rows] = {}
        self._places: dict[Path, Place] = {}
        self._lines: list[Line] = []
        self._around: Path | None = None
        self._loop = ""
        self._rows = Rows(())
        self._outer: tuple[object, ...] = ()
        if not sidecar:
            self._place((), None, -1, 0, None)

    def add(self, events: Iterable[Event]) -> None:
        """Take in events."""
        last: Path | None = None
        rows, row = self.levels.get((), Rows(())), 0
        for event in events:
            path = event.path
            if type(event) is Logged:
                if path is not last:
                    place = self._places.get(path) or self._place_unseen(path, event.seq, event.sub, event.ts)
                    rows, row, _ = place
                    last = path
                _, name, value, seq, sub, ts = event
                cells = rows.cells.get(name)
                if cells is None:
                    cells = rows.cells[name] = Cells()
                cells.rows.append(row)
                cells.seqs.append(seq)
                cells.subs.append(sub)
                cells.values.append(value)
                rows.ts[row] = ts
            elif type(event) is Enter:
                rows, row, _ = self._place(path, event.item, event.seq, 0, event.ts)
                last = path
            elif type(event) is Line:
                self._lines.append(event)

    def logged(self) -> list[str]:
        """Every name that was logged."""
        return list(dict.fromkeys(name for rows in self.levels.values() for name in rows.cells))

    @property
    def last_ts(self) -> float:
        """When the last event happened; 0 if none did."""
        times = [max((ts for ts in rows.ts if ts is not None), default=0.0) for rows in self.levels.values()]
        return max(*times, self._lines[-1].ts if self._lines else 0.0, 0.0)

    def _place_unseen(self, path: Path, seq: int, sub: int, ts: float | None) -> Place:
        """The place of a context whose beginning is not among the events."""
        return self._place(path, None, seq, sub, ts)

    def _place(self, path: Path, item: object, seq: int, sub: int, ts: float | None) -> Place:
        known = self._places.get(path)
        if known is not None:
            return known
        outer: tuple[object, ...] = ()
        if path:
            around, own = path[:-1], path[-1]
            if around != self._around or own.loop != self._loop:
                self._go_to(path, seq, sub, ts)
            rows = self._rows
            outer = (*self._outer, own.index if item is None and not self.sidecar else item)
        else:
            rows = self.levels.setdefault((), Rows(()))
        place = self._places[path] = rows, len(rows.paths), outer
        rows.paths.append(path)
        rows.outer.append(outer)
        rows.seqs.append(seq)
        rows.subs.append(sub)
        rows.ts.append(ts)
        return place

    def _go_to(self, path: Path, seq: int, sub: int, ts: float | None) -> None:
        """Note where iterations like `path` go: most follow one of the same loop in the same context."""
        around = path[:-1]
        place = self._places.get(around) or self._place_unseen(around, seq, sub, ts)
        level = tuple(step.loop for step in path)
        if level not in self.levels:
            self.levels[level] = Rows(level)
        self._around, self._loop, self._rows, self._outer = around, path[-1].loop, self.levels[level], place[2]

    def tables(self) -> dict[str, pa.Table]:
        """The tables of all that was added."""
        found = {}
        for level, rows in self.levels.items():
            if not self.sidecar or rows.cells:
                found[layout.level_directory(level)] = self._table(rows)
        if self._lines:
            found[OUTPUT_LEVEL] = self._output()
        return found

    def _table(self, rows: Rows) -> pa.Table:
        split = split_rows(rows, self._inner_starts, self.sidecar, rows.level in self.ordered)
        order = row_order(split)
        count = len(split.paths)
        frame = _frame(self.version, self.run, self.rank, count)
        frame.update(_loops(rows.level, split.paths, split.outer))
        frame["ts"] = columns.timestamps([None] * count if self.sidecar else split.ts)
        frame["_seq"] = columns.fixed(split.seqs, "int64")
        frame["_sub"] = columns.fixed(split.subs, "int32")
        frame["_part"] = columns.fixed(split.parts, "int32", bytearray(part >= 0 for part in split.parts))
        frame["_order"] = columns.string_lists(_stored_lists(split.order, self.names, count))
        frame["_null"] = columns.string_lists(_stored_lists(_nulls(split.cells), self.names, count))
        for name, cells in split.cells.items():
            _add_column(frame, self.names.get(name, name), cells, count)
        return _table(frame, order)

    def _inner_starts(self, level: Level, paths: set[Path]) -> dict[Path, list[int]]:
        """For each of the contexts `paths`, the seq of every iteration that began directly inside."""
        found: dict[Path, list[int]] = {path: [] for path in paths}
        for inner, rows in self.levels.items():
            if len(inner) == len(level) + 1 and inner[:-1] == level:
                for path, seq in zip(rows.paths, rows.seqs, strict=True):
                    if path[:-1] in found:
                        found[path[:-1]].append(seq)
        return found

    def _output(self) -> pa.Table:
        lines = self._lines
        frame = _frame(self.version, self.run, self.rank, len(lines))
        loops = dict.fromkeys(step.loop for line in lines for step in line.path)
        for loop in loops:
            frame.update(_output_loop(loop, lines, self._places))
        frame["ts"] = columns.timestamps([line.ts for line in lines])
        frame["_seq"] = columns.fixed(array("q", [line.seq for line in lines]), "int64")
        frame["stream"] = columns.strings([line.stream for line in lines])
        frame["logger"] = columns.strings([line.logger for line in lines])
        frame["severity"] = columns.strings([line.level for line in lines])
        frame["line"] = columns.strings([line.text for line in lines])
        return _table(frame, None)


def _frame(version: str, run: str, rank: int, count: int) -> dict[str, pa.Array]:
    import pyarrow as pa

    return {
        "version": columns.constant(version, pa.string(), count),
        "run": columns.constant(run, pa.string(), count),
        "rank": columns.constant(rank, pa.int32(), count),
    }


def _loops(level: Level, paths: Sequence[Path], outer: Sequence[tuple[object, ...]]) -> dict[str, pa.Array]:
    found = {}
    for depth, name in enumerate(loop_names(level)):
        found[name] = _items([items[depth] for items in outer])
        found[f"{name}_index"] = columns.fixed(array("q", [path[depth].index for path in paths]), "int64")
        found[f"{name}_entry"] = columns.fixed(array("i", [path[depth].entry for path in paths]), "int32")
    return found


def _items(items: list[object]) -> pa.Array:
    """Items of a loop; of different kinds, they are text."""
    array_, misfits = columns.column(items)
    return columns.strings([None if item is None else str(item) for item in items]) if misfits else array_


def _output_loop(loop: str, lines: list[Line], places: Mapping[Path, Place]) -> dict[str, pa.Array]:
    steps: list[tuple[object, int, int] | None] = []
    for line in lines:
        depth = next((depth for depth, step in enumerate(line.path) if step.loop == loop), None)
        if depth is None:
            steps.append(None)
            continue
        step = line.path[depth]
        place = places.get(line.path[: depth + 1])
        steps.append((place[2][depth] if place else step.index, step.index, step.entry))
    (name,) = loop_names((loop,))
    valid = bytearray(step is not None for step in steps)
    return {
        name: _items([step and step[0] for step in steps]),
        f"{name}_index": columns.fixed(array("q", [step[1] if step else 0 for step in steps]), "int64", valid),
        f"{name}_entry": columns.fixed(array("i", [step[2] if step else 0 for step in steps]), "int32", valid),
    }


def _nulls(cells: Mapping[str, Cells]) -> dict[int, list[str]]:
    found: dict[int, list[str]] = {}
    for name, one in cells.items():
        if None in one.values:
            for row, value in zip(one.rows, one.values, strict=True):
                if value is None:
                    found.setdefault(row, []).append(name)
    return found


def _stored_lists(found: dict[int, list[str]], names: Mapping[str, str], count: int) -> list[list[str] | None]:
    lists: list[list[str] | None] = [None] * count
    for row, order in found.items():
        lists[row] = [names.get(name, name) for name in order]
    return lists


def _add_column(frame: dict[str, pa.Array], stored: str, cells: Cells, count: int) -> None:
    dense, misfits = columns.column(cells.values)
    frame[stored] = columns.scatter(dense, cells.rows, count)
    if misfits:
        texts = columns.strings([misfits.get(position) for position in range(len(cells.values))])
        frame[f"{stored}$text"] = columns.scatter(texts, cells.rows, count)


def _table(frame: dict[str, pa.Array], order: list[int] | None) -> pa.Table:
    import pyarrow as pa

    table = pa.Table.from_arrays(list(frame.values()), names=list(frame))
    return table if order is None else table.take(columns.fixed(array("q", order), "int64"))


def shape_of(tables: Mapping[str, pa.Table]) -> Shape:
    """What the run logged where, from its level tables."""
    levels: dict[Level, Mapping[str, str]] = {}
    loops: dict[str, str] = {}
    repeats: dict[Level, frozenset[str]] = {}
    for key, table in tables.items():
        level = layout.level_of(key)
        if isinstance(level, str):
            continue
        loop_types = {name: types.type_text(table.schema.field(name).type) for name in loop_names(level)}
        loops.update({name: types.unify([loops.get(name, "NULL"), type_]) for name, type_ in loop_types.items()})
        levels[level] = {name: types.type_text(table.schema.field(name).type) for name in logged_names(level, table)}
        found = _repeated_names(table)
        if found:
            repeats[level] = found
    return Shape(levels, loops, repeats)


def logged_names(level: Level, table: pa.Table) -> list[str]:
    """Columns of a level table that hold logged names."""
    others = {*FRAME, *loop_columns(level)}
    return [name for name in table.column_names if name not in others and not name.endswith("$text")]


def _repeated_names(table: pa.Table) -> frozenset[str]:
    """Names that occur in two parts of one context."""
    import pyarrow.compute as pc

    if table.column("_part").null_count == table.num_rows:
        return frozenset()
    parted = table.filter(pc.is_valid(table.column("_part")))
    repeated: set[str] = set()
    seen: set[str] = set()
    for part, order in zip(parted.column("_part").to_pylist(), parted.column("_order").to_pylist(), strict=True):
        seen = set() if part == 0 else seen
        repeated |= seen.intersection(order)
        seen.update(order)
    return frozenset(repeated)
