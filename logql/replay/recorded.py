"""What a run recorded in the iterations that a replay went through again, read from the store."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from logql.model import Level, Logged, Path, Step
from logql.replay.fidelity import Misfit
from logql.store import layout, levels
from logql.store.catalog import Catalog
from logql.store.snapshot import Piece, Snapshot, read_snapshot

if TYPE_CHECKING:
    import pyarrow as pa

#: Values by context and stored name, in the order in which they were logged there.
Values = dict[tuple[Path, str], list[object]]
#: Per main loop (name, entry): first and last iteration.
Ranges = dict[tuple[str, int], tuple[int, int]]


class Recorded:
    """Reads one store's record; the snapshot is taken anew where the run was not in it yet."""

    def __init__(self, store: str) -> None:
        self._store = store
        self._snapshot: Snapshot | None = None
        #: what was read ahead, by who is going to ask for it; None once it was given
        self._ahead: dict[str, tuple[Ranges, Values] | None] = {}

    def read_ahead(self, asker: str, run: str, ranges: Ranges) -> None:
        """Read what `values` will be asked for; once for each who asks."""
        if asker not in self._ahead:
            self._ahead[asker] = ranges, self._values(run, ranges)

    def values(self, asker: str, run: str, ranges: Ranges) -> Values:
        """All recorded values of a run's rank 0 at run level and in the given iterations of its main loops."""
        known, values = self._ahead.get(asker) or ({}, {})
        self._ahead[asker] = None
        if not ranges or any(key not in known or not _holds(known[key], ranges[key]) for key in ranges):
            return self._values(run, ranges)
        return {key: found for key, found in values.items() if not key[0] or _inside(key[0], ranges)}

    def _values(self, run: str, ranges: Ranges) -> Values:
        snapshot = self._fresh(run)
        shape = snapshot.shapes.get(run)
        found: Values = {}
        for level in shape.levels if shape is not None else ():
            if not level or any(loop == level[0] for loop, _ in ranges):
                for piece in snapshot.levels.get(layout.level_directory(level), ()):
                    _collect(piece, run, level, ranges, found)
        return found

    def last_begun(self, run: str) -> int:
        """The number of the last event that a row of the run's rank 0 begins with; -1 where there is none."""
        snapshot = self._fresh(run)
        shape = snapshot.shapes.get(run)
        levels = shape.levels if shape is not None else ()
        pieces = [piece for level in levels for piece in snapshot.levels.get(layout.level_directory(level), ())]
        found = [number for piece in pieces for number in _numbers(piece, run) if number is not None]
        return max(found, default=-1)

    def stored_names(self, names: Iterable[str]) -> Mapping[str, str]:
        """The stored name of each logged name."""
        catalog = Catalog.open(self._store, read_only=True)
        try:
            return catalog.resolve_names(sorted(set(names)))
        finally:
            catalog.close()

    def _fresh(self, run: str) -> Snapshot:
        if self._snapshot is None or run not in self._snapshot.shapes:
            self._snapshot = read_snapshot(self._store)
        return self._snapshot


def ranges_of(events: Iterable[Logged]) -> Ranges:
    """The main-loop iterations that events lie in."""
    found: Ranges = {}
    for event in events:
        if event.path:
            step = event.path[0]
            first, last = found.get((step.loop, step.entry), (step.index, step.index))
            found[step.loop, step.entry] = min(first, step.index), max(last, step.index)
    return found


def _collect(piece: Piece, run: str, level: Level, ranges: Ranges, found: Values) -> None:
    table = _rows(piece, run, level, ranges)
    if not table.num_rows:
        return
    steps = [f"{name}_{part}" for name in levels.loop_names(level) for part in ("entry", "index")]
    frame = {*levels.FRAME, *levels.loop_columns(level)}
    names = [name for name in table.column_names if name not in frame and not name.endswith("$text")]
    columns: dict[str, list[Any]] = {name: table.column(name).to_pylist() for name in (*names, *steps)}
    texts = {name: table.column(f"{name}$text").to_pylist() for name in names if f"{name}$text" in table.column_names}
    nulls = table.column("_null").to_pylist()
    for row in range(table.num_rows):
        path = _path(level, [columns[step][row] for step in steps])
        if path and not _inside(path, ranges):
            continue
        for name in names:
            value = columns[name][row]
            if value is None and name in texts:
                misfit = texts[name][row]
                value = None if misfit is None else Misfit(misfit)
            if value is not None or (nulls[row] and name in nulls[row]):
                found.setdefault((path, name), []).append(value)


def _rows(piece: Piece, run: str, level: Level, ranges: Ranges) -> pa.Table:
    """The run's rows of a piece, parts of a context in their order."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    wanted = (pc.field("run") == run) & (pc.field("rank") == 0)
    if level:
        column = pc.field(f"{levels.loop_names(level)[0]}_index")
        bounds = [ranges[key] for key in ranges if key[0] == level[0]]
        wanted &= (column >= min(first for first, _ in bounds)) & (column <= max(last for _, last in bounds))
    if piece.table is not None:
        table = piece.table.filter(wanted)
    else:
        table = pq.read_table(piece.path, filters=wanted, partitioning=None)
    repeats = table.num_rows and table.column("_part").null_count < table.num_rows
    return table.sort_by([("_seq", "ascending"), ("_sub", "ascending")]) if repeats else table


def _numbers(piece: Piece, run: str) -> list[int | None]:
    """The numbers that the rows of a run begin with."""
    import pyarrow.compute as pc
    import pyarrow.parquet as pq

    wanted = (pc.field("run") == run) & (pc.field("rank") == 0)
    if piece.table is not None:
        table = piece.table.filter(wanted)
    else:
        table = pq.read_table(piece.path, columns=["_seq"], filters=wanted, partitioning=None)
    found: list[int | None] = table.column("_seq").to_pylist()
    return found


def _path(level: Level, numbers: list[int]) -> Path:
    return tuple(Step(loop, numbers[2 * at], numbers[2 * at + 1]) for at, loop in enumerate(level))


def _holds(outer: tuple[int, int], inner: tuple[int, int]) -> bool:
    return outer[0] <= inner[0] and inner[1] <= outer[1]


def _inside(path: Path, ranges: Ranges) -> bool:
    first, last = ranges.get((path[0].loop, path[0].entry), (1, 0))
    return first <= path[0].index <= last
