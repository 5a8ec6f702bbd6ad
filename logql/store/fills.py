"""Sidecars: hindsight values of one segment, durable and visible at once."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import TYPE_CHECKING

from logql.errors import StoreError
from logql.model import Fill, Level, Logged
from logql.store import columns, layout, parquet, publish, rows
from logql.store.catalog import Catalog
from logql.store.levels import Builder
from logql.store.seal import split_by_epoch

if TYPE_CHECKING:
    import pyarrow as pa


def write_fill(store: str, fill: Fill, events: Iterable[Logged], *, rank: int = 0) -> None:
    """Write the values that `fill` produced and register it, in one step: both are there afterwards, or neither.

    A fill without values (a failed one, or a statement that never ran) is registered alone.
    """
    with Catalog.open(store) as catalog:
        owner = f"fill:{fill.id}"
        publish.discard_staged(catalog, owner)
        tables = fill_tables(catalog, fill, events, rank)
        run = catalog.run(fill.run)
        ordinal = next((one.ordinal for one in catalog.versions() if one.id == fill.version), 0)
        if run is None:
            raise StoreError(f"the run {fill.run} of a fill is not in the catalog")
        planned = []
        for level, table in tables.items():
            for number, (epochs, part) in enumerate(split_by_epoch(level, table)):
                name = fill.id + (f"-{number}" if number else "")
                path = parquet.file_path(layout.FILLS, level, (ordinal, ordinal), epochs, name)
                planned.append((path, level, epochs, part))
        if planned:
            publish.stage(catalog, owner, [path for path, *_ in planned])
        files = []
        for path, level, epochs, table in planned:
            size, checksum = parquet.write(store, path, table, {"level": level, "fills": [rows.fill_row(fill)]})
            schema = parquet.schema_of(table)
            bounds = (ordinal, ordinal)
            written = parquet.Written(
                path, "fill", level, table.num_rows, size, bounds, epochs, schema, checksum, (run.key,), (fill.id,)
            )
            files.append(written)
        publish.publish(catalog, publish.Change(owner, files, fills=[fill]))


def fill_tables(catalog: Catalog, fill: Fill, events: Iterable[Logged], rank: int) -> dict[str, pa.Table]:
    """Level tables of hindsight values with the column `_fill`.

    A context has a row per value where a name was logged twice in it, or where the run's record has such contexts at
    that level (then each value's place in the order counts).
    """
    builder = Builder(fill.run, fill.version, rank, sidecar=True, ordered=_levels_with_repeats(catalog, fill.run))
    builder.add(events)
    builder.names = catalog.resolve_names(builder.logged())
    found = {}
    for level, table in builder.tables().items():
        ids = columns.strings([fill.id]).take(columns.fixed(array("q", [0]) * table.num_rows, "int64"))
        found[level] = table.add_column(table.column_names.index("ts"), "_fill", ids)
    return found


def _levels_with_repeats(catalog: Catalog, run: str) -> frozenset[Level]:
    with catalog.connection.read() as db:
        row = db.execute("SELECT text FROM runs JOIN texts ON texts.id = shape WHERE runs.id = ?", (run,)).fetchone()
    return frozenset(rows.shape_from_json(row[0]).repeats) if row else frozenset()
