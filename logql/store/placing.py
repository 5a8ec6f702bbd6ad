"""Which files the level tables of one run become, and their writing."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from logql.store import layout, levels, parquet

if TYPE_CHECKING:
    import pyarrow as pa

#: Bytes in memory above which a level of one run gets a file per range of epochs.
SPLIT_BYTES = 256 << 20
_KINDS = {layout.LOGS: "log", layout.FILLS: "fill"}


@dataclass(frozen=True)
class Planned:
    """A file that is to be written: rows of one level, and of the version with that ordinal alone."""

    path: str
    kind: str
    level: str
    ordinal: int
    epochs: tuple[int, int]
    table: pa.Table


def plan_files(directory: str, name: str, ordinal: int, tables: Mapping[str, pa.Table]) -> list[Planned]:
    """Files under `directory` (logs or fills) for the tables of the levels, called `name` and a number."""
    planned = []
    for level, table in tables.items():
        for number, (epochs, part) in enumerate(split_by_epoch(level, table)):
            own = name + (f"-{number}" if number else "")
            path = parquet.file_path(directory, level, (ordinal, ordinal), epochs, own)
            planned.append(Planned(path, _KINDS[directory], level, ordinal, epochs, part))
    return planned


def again(level: str, ordinal: int, epochs: tuple[int, int], table: pa.Table) -> Planned:
    """A recorded file of a run that is to be replaced by one in the same place."""
    name = f"n{os.urandom(8).hex()}"
    return Planned(parquet.file_path(layout.LOGS, level, (ordinal, ordinal), epochs, name), "log", level, ordinal,
                   epochs, table)  # fmt: skip


def write_file(
    store: str, file: Planned, metadata: Mapping[str, object], runs: tuple[int, ...], fills: tuple[str, ...] = ()
) -> parquet.Written:
    """Write a planned file durably."""
    size, checksum = parquet.write(store, file.path, file.table, {"level": file.level, **metadata})
    schema, bounds = parquet.schema_of(file.table), (file.ordinal, file.ordinal)
    return parquet.Written(
        file.path, file.kind, file.level, file.table.num_rows, size, bounds, file.epochs, schema, checksum, runs, fills
    )


def split_by_epoch(level: str, table: pa.Table) -> list[tuple[tuple[int, int], pa.Table]]:
    """The table in parts of at most SPLIT_BYTES (unless one epoch has more), each with its range of epochs."""
    loops = layout.level_of(level)
    if isinstance(loops, str) or not loops or not table.num_rows:
        return [((0, 0), table)]
    index = table.column(f"{levels.loop_names(loops)[0]}_index")
    parts = []
    for start, stop in _cuts(table, index):
        part = table.slice(start, stop - start)
        parts.append((_bounds(index.slice(start, stop - start)), part))
    return parts


def _cuts(table: pa.Table, index: Any) -> list[tuple[int, int]]:
    if table.nbytes <= SPLIT_BYTES:
        return [(0, table.num_rows)]
    rows = max(1, table.num_rows * SPLIT_BYTES // table.nbytes)
    values = index.to_pylist()
    cuts, start = [], 0
    while start < len(values):
        stop = min(start + rows, len(values))
        while stop < len(values) and values[stop] == values[stop - 1]:
            stop += 1
        cuts.append((start, stop))
        start = stop
    return cuts


def _bounds(index: Any) -> tuple[int, int]:
    import pyarrow.compute as pc

    found: Mapping[str, int] = pc.min_max(index).as_py()
    return found["min"], found["max"]
