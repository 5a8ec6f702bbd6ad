"""Values that came after their context was sealed: when the run ends they become further parts of that context.

A thread that logs into an iteration long after the loop has gone on does that. The sealed rows of such a context become
its first parts (`_part` and `_order` are written anew), the late values the next ones.
"""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from logql.model import Event, Level, Line, Run, Shape
from logql.store import columns, compact, layout, levels, parquet
from logql.store.catalog import Catalog
from logql.store.levels import Builder

if TYPE_CHECKING:
    import pyarrow as pa

#: Entry and index of each loop of a context, from the outside in.
_Key = tuple[int, ...]
_Row = dict[str, Any]


@dataclass
class Late:
    """Tables of late rows by level, sealed files with their tables written anew, and what repeats now."""

    tables: dict[str, pa.Table] = field(default_factory=dict)
    rewritten: list[tuple[compact.File, pa.Table]] = field(default_factory=list)
    shape: Shape = field(default_factory=lambda: Shape({}, {}, {}))


def place_late(catalog: Catalog, run: Run, rank: int, events: Sequence[Event], names: Mapping[str, str]) -> Late:
    """Where the overdue `events` of one rank go, given the run's sealed files."""
    late = Late()
    if not events:
        return late
    found = {tuple(step.loop for step in event.path) for event in events if not isinstance(event, Line)}
    builder = Builder(run.id, run.version, rank, names, ordered=frozenset(found))
    builder.add(events)
    for directory, table in builder.tables().items():
        level = layout.level_of(directory)
        if isinstance(level, str):
            late.tables[directory] = table
        elif level:
            _place_level(catalog, run, rank, level, table, late)
    shape = levels.shape_of(late.tables)
    late.shape = Shape(shape.levels, shape.loops, {level: frozenset(own) for level, own in shape.levels.items() if own})
    return late


def _place_level(catalog: Catalog, run: Run, rank: int, level: Level, table: pa.Table, late: Late) -> None:
    added = table.to_pylist()
    contexts = {_key(level, row) for row in added}
    valued = {_key(level, row) for row in added if row["_order"]}
    last: dict[_Key, _Row] = {}
    for file in compact.list_files(catalog):
        if (file.kind, file.level) != ("log", layout.level_directory(level)) or run.key not in file.runs:
            continue
        sealed = parquet.read(layout.inside(catalog.store, file.path))
        rows = _rows_of(sealed, level, run.id, rank, contexts)
        for row in rows.values():
            last[_key(level, row)] = row
        changed = {place: row for place, row in rows.items() if row["_part"] is None and _key(level, row) in valued}
        if changed:
            late.rewritten.append((file, _in_parts(sealed, level, changed)))
    kept = [place for place, row in enumerate(added) if row["_order"] or _key(level, row) not in last]
    if kept:
        rows_kept = table.take(columns.fixed(array("q", kept), "int64"))
        late.tables[layout.level_directory(level)] = _behind(rows_kept, level, last)


def _key(level: Level, row: Mapping[str, Any]) -> _Key:
    return tuple(row[f"{name}_{part}"] for name in levels.loop_names(level) for part in ("entry", "index"))


def _rows_of(table: pa.Table, level: Level, run: str, rank: int, contexts: set[_Key]) -> dict[int, _Row]:
    """Rows of `contexts` by their place in a sealed table."""
    names = [f"{name}_{part}" for name in levels.loop_names(level) for part in ("entry", "index")]
    columns_of = [table.column(name).to_pylist() for name in ("run", "rank", *names)]
    places = [
        place
        for place, (own_run, own_rank, *key) in enumerate(zip(*columns_of, strict=True))
        if own_run == run and own_rank == rank and tuple(key) in contexts
    ]
    rows = table.take(columns.fixed(array("q", places), "int64")).to_pylist()
    return dict(zip(places, rows, strict=True))


def _in_parts(table: pa.Table, level: Level, rows: Mapping[int, _Row]) -> pa.Table:
    """The table with each of `rows`, a whole context so far, as its first part."""
    parts, orders = (table.column(name).to_pylist() for name in ("_part", "_order"))
    names = levels.logged_names(level, table)
    for place, row in rows.items():
        parts[place] = 0
        orders[place] = [name for name in names if row[name] is not None or name in (row["_null"] or ())]
    return _with_parts(table, parts, orders)


def _behind(table: pa.Table, level: Level, last: Mapping[_Key, _Row]) -> pa.Table:
    """Late rows as parts behind the sealed ones of their contexts, with the items that those have."""
    rows = table.to_pylist()
    before = [last.get(_key(level, row)) for row in rows]
    parts = [
        row["_part"] if own is None or row["_part"] is None else row["_part"] + (own["_part"] or 0) + 1
        for row, own in zip(rows, before, strict=True)
    ]
    for name in levels.loop_names(level):
        items = [row[name] if own is None else own[name] for row, own in zip(rows, before, strict=True)]
        table = table.set_column(table.column_names.index(name), name, columns.column(items)[0])
    return _with_parts(table, parts, table.column("_order").to_pylist())


def _with_parts(table: pa.Table, parts: list[int | None], orders: list[list[str] | None]) -> pa.Table:
    numbers = array("i", [part or 0 for part in parts])
    valid = bytearray(part is not None for part in parts)
    table = table.set_column(table.column_names.index("_part"), "_part", columns.fixed(numbers, "int32", valid))
    return table.set_column(table.column_names.index("_order"), "_order", columns.string_lists(orders))
