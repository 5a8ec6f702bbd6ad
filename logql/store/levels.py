"""Events of a run as one wide table per level, with the columns that docs/architecture.md lists."""

from __future__ import annotations

import math
from array import array
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

from logql.model import OUTPUT_LEVEL, SYSTEM_COLUMNS, Enter, Event, Level, Line, Logged, Path, Shape
from logql.store import columns, layout, types
from logql.store.contexts import Cells, Column, Group, Rows
from logql.store.intake import Intake
from logql.store.names import INTERNAL, fold
from logql.store.parts import Split, row_order, split_rows

if TYPE_CHECKING:
    import pyarrow as pa

    from logql.store.wal import Batch

#: Columns of every level table besides those of loops and names.
FRAME = ("version", "run", "rank", "ts", *INTERNAL)
#: Where the row of a context is: its level's rows, and its number there.
Place = tuple[Rows, int]
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
        self.levels: dict[Level, Rows] = {(): Rows(())}
        #: names that some context of a level logged twice, as far as `tables` was asked
        self.repeats: dict[Level, set[str]] = {}
        self.run_group = self.levels[()].adopt(Group((), "", 0, ()))
        self._groups: dict[tuple[Path, str, int], Group] = {}
        self._lines: list[Line] = []
        if not sidecar:
            self._place((), None, -1, 0, math.nan)

    def add(self, events: Iterable[Event]) -> None:
        """Take in events."""
        last: Path | None = None
        rows, row = self.levels[()], 0
        lines = []
        for event in events:
            if isinstance(event, Line):
                lines.append(event)
            elif event.path is not last:
                found = self.find(event.path)
                if found is None:
                    if isinstance(event, Logged):
                        self.miss()
                    item, sub = (event.item, 0) if isinstance(event, Enter) else (None, event.sub)
                    found = self._place(event.path, item, event.seq, sub, event.ts)
                rows, row = found
                last = event.path
            if isinstance(event, Logged):
                cells = rows.cells.get(event.name)
                if cells is None:
                    cells = rows.cells[event.name] = Cells()
                cells.add(row, event.seq, event.sub, event.ts, event.value)
                rows.ts[row] = event.ts
        self._add_lines(lines)

    def add_batch(self, batch: Batch) -> None:
        """Take in recorded events as a stream has them."""
        intake = Intake(self, batch)
        intake.take()
        self._add_lines(intake.lines)

    def logged(self) -> list[str]:
        """Every name that was logged."""
        return list(dict.fromkeys(name for rows in self.levels.values() for name in rows.cells))

    @property
    def last_ts(self) -> float:
        """When the last event happened; 0 if none did."""
        times = [max(rows.ts, default=0.0) for level, rows in self.levels.items() if level]
        of_run = [ts for ts in self.levels[()].ts if not math.isnan(ts)]
        return max(0.0, *times, *of_run, self._lines[-1].ts if self._lines else 0.0)

    def find(self, path: Path) -> Place | None:
        """Where a context is, if it is known."""
        group, index = self.run_group, 0
        if path:
            loop, entry, index = path[-1]
            known = self._groups.get((path[:-1], loop, entry))
            if known is None:
                return None
            group = known
        row = group.rows.get(index)
        return None if row is None else (self.levels[group.level], row)

    def group_of(self, around: Path, loop: str, entry: int, seq: int, sub: int, ts: float) -> Group:
        """An execution of a loop; the event of which `seq`, `sub` and `ts` are told happens in it."""
        group = self._groups.get((around, loop, entry))
        if group is not None:
            return group
        place = self.find(around)
        if place is None:
            self.miss()
            place = self._place(around, None, seq, sub, ts)
        group = Group(around, loop, entry, place[0].outer(place[1]))
        self._groups[group.key] = group
        rows = self.levels.get(group.level)
        if rows is None:
            rows = self.levels[group.level] = Rows(group.level)
        return rows.adopt(group)

    def miss(self) -> None:
        """An event came to a context whose beginning is not among the events."""

    def _add_lines(self, lines: list[Line]) -> None:
        self._lines += lines

    def _place(self, path: Path, item: object, seq: int, sub: int, ts: float) -> Place:
        """Make the row of a context that is not known yet."""
        if not path:
            rows = self.levels[()]
            return rows, rows.add(self.run_group, 0, None, seq, sub, ts)
        loop, entry, index = path[-1]
        group = self.group_of(path[:-1], loop, entry, seq, sub, ts)
        rows = self.levels[group.level]
        return rows, rows.add(group, index, index if item is None and not self.sidecar else item, seq, sub, ts)

    def tables(self) -> dict[str, pa.Table]:
        """The tables of all that was added."""
        found = {}
        for level, rows in self.levels.items():
            if not self.sidecar or rows.cells:
                found[layout.level_directory(level)] = self._table(rows)
        if self._lines:
            found[OUTPUT_LEVEL] = self._output()
        return found

    def shape(self, tables: Mapping[str, pa.Table]) -> Shape:
        """What these of its tables hold where; repeats are those of all that was added."""
        shape = shape_of(tables, with_repeats=False)
        repeats = {level: frozenset(self.names.get(name, name) for name in own) for level, own in self.repeats.items()}
        return Shape(shape.levels, shape.loops, repeats)

    def _table(self, rows: Rows) -> pa.Table:
        split = split_rows(rows, self._inner_starts, self.sidecar, rows.level in self.ordered)
        if split.repeated:
            self.repeats.setdefault(rows.level, set()).update(split.repeated)
        order = row_order(split, rows.groups)
        count = len(split.index)
        frame = _frame(self.version, self.run, self.rank, count)
        frame.update(_loops(rows, split))
        frame["ts"] = columns.timestamps([None] * count if self.sidecar else split.ts)
        frame["_seq"] = columns.fixed(split.seqs, "int64")
        frame["_sub"] = columns.fixed(split.subs, "int32")
        frame["_part"] = _part_numbers(split)
        frame["_order"] = columns.string_lists(_stored_lists(split.order, self.names, count))
        frame["_null"] = columns.string_lists(_stored_lists(_nulls(split.cells), self.names, count))
        for name, cells in split.cells.items():
            _add_column(frame, self.names.get(name, name), cells, count)
        return _table(frame, order)

    def _inner_starts(self, rows: Rows, wanted: set[int]) -> dict[int, list[int]]:
        """For each of some rows, the seq of every iteration that began directly inside its context."""
        found: dict[int, list[int]] = {row: [] for row in wanted}
        by_path = {rows.path(row): own for row, own in found.items()}
        for level, inner in self.levels.items():
            if level[:-1] == rows.level and level:
                lists = [by_path.get(group.around) for group in inner.groups]
                for number, seq in zip(inner.group, inner.seqs, strict=True):
                    own = lists[number]
                    if own is not None:
                        own.append(seq)
        return found

    def _output(self) -> pa.Table:
        lines = self._lines
        frame = _frame(self.version, self.run, self.rank, len(lines))
        loops = dict.fromkeys(step.loop for line in lines for step in line.path)
        for loop in loops:
            frame.update(_output_loop(loop, lines, self.find))
        frame["ts"] = columns.timestamps([line.ts for line in lines])
        frame["_seq"] = columns.fixed(array("q", [line.seq for line in lines]), "int64")
        frame["stream"] = columns.strings([line.stream for line in lines])
        frame["logger"] = columns.strings([line.logger for line in lines])
        frame["severity"] = columns.strings([line.level for line in lines])
        frame["line"] = columns.strings([line.text for line in lines])
        return _table(frame, None)


def _frame(version: str, run: str, rank: int, count: int) -> dict[str, pa.Array]:
    return {
        "version": columns.repeated(version, count),
        "run": columns.repeated(run, count),
        "rank": columns.fixed(array("i", [rank]) * count, "int32"),
    }


def _loops(rows: Rows, split: Split) -> dict[str, pa.Array]:
    """Item, index and entry of each loop of the level; all but the innermost iterations are one for each group."""
    used = sorted(set(split.group))
    groups = [rows.groups[number] for number in used]
    numbers = dict(zip(used, range(len(used)), strict=True))
    places = columns.fixed(array("q", map(numbers.__getitem__, split.group)), "int64")
    found = {}
    names = loop_names(rows.level)
    for depth, name in enumerate(names[:-1]):
        around = [group.around[depth] for group in groups]
        found[name] = _items([group.outer[depth] for group in groups]).take(places)
        found[f"{name}_index"] = columns.fixed(array("q", [step.index for step in around]), "int64").take(places)
        found[f"{name}_entry"] = columns.fixed(array("i", [step.entry for step in around]), "int32").take(places)
    for name in names[-1:]:
        found[name] = _items(split.items)
        found[f"{name}_index"] = columns.fixed(split.index, "int64")
        found[f"{name}_entry"] = columns.fixed(array("i", [group.entry for group in groups]), "int32").take(places)
    return found


def _part_numbers(split: Split) -> pa.Array:
    import pyarrow as pa

    if split.parts is None:
        return pa.nulls(len(split.index), pa.int32())
    return columns.fixed(split.parts, "int32", bytearray(part >= 0 for part in split.parts))


def _items(items: Column) -> pa.Array:
    """Items of a loop; of different kinds, they are text."""
    array_, misfits = columns.column(items)
    return columns.strings([None if item is None else str(item) for item in items]) if misfits else array_


def _output_loop(loop: str, lines: list[Line], find: Callable[[Path], Place | None]) -> dict[str, pa.Array]:
    steps: list[tuple[object, int, int] | None] = []
    for line in lines:
        depth = next((depth for depth, step in enumerate(line.path) if step.loop == loop), None)
        if depth is None:
            steps.append(None)
            continue
        step = line.path[depth]
        place = find(line.path[: depth + 1])
        steps.append((place[0].items[place[1]] if place else step.index, step.index, step.entry))
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
        if type(one.values) is list and None in one.values:
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


def shape_of(tables: Mapping[str, pa.Table], *, with_repeats: bool = True) -> Shape:
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
        found = repeated_names(level, [table]) if with_repeats else None
        if found:
            repeats[level] = found
    return Shape(levels, loops, repeats)


def logged_names(level: Level, table: pa.Table) -> list[str]:
    """Columns of a level table that hold logged names."""
    others = {*FRAME, *loop_columns(level)}
    return [name for name in table.column_names if name not in others and not name.endswith("$text")]


def repeated_names(level: Level, tables: Iterable[pa.Table]) -> frozenset[str]:
    """Names that occur in two parts of one context of one run, whose parts may lie in several tables."""
    import pyarrow.compute as pc

    keys = [f"{name}_{part}" for name in loop_names(level) for part in ("entry", "index")]
    repeated: set[str] = set()
    seen: dict[tuple[object, ...], set[str]] = {}
    for table in tables:
        if table.column("_part").null_count == table.num_rows:
            continue
        parted = table.filter(pc.is_valid(table.column("_part")))
        contexts = zip(*(parted.column(name).to_pylist() for name in ("run", "rank", *keys)), strict=True)
        for context, order in zip(contexts, parted.column("_order").to_pylist(), strict=True):
            before = seen.setdefault(context, set())
            repeated |= before.intersection(order)
            before.update(order)
    return frozenset(repeated)
