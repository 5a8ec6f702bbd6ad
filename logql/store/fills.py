"""Sidecars: hindsight values of one segment, durable and visible at once."""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import TYPE_CHECKING

from logql.errors import StoreError
from logql.model import Fill, Logged
from logql.store import columns, layout, placing, publish, rows, shapes
from logql.store.catalog import Catalog
from logql.store.levels import Builder

if TYPE_CHECKING:
    import pyarrow as pa


def write_fill(
    store: str, fill: Fill, events: Iterable[Logged], *, places: Iterable[Logged] = (), rank: int = 0
) -> None:
    """Write the values that `fill` produced and register it, in one step: both are there afterwards, or neither.

    A fill without values (a failed one, or a statement that never ran) is registered alone. `places` tell where
    recorded values stand between those that come more than once in a context; only their names are kept.
    """
    with Catalog.open(store) as catalog:
        owner = f"fill:{fill.id}"
        publish.discard_staged(catalog, owner)
        tables = fill_tables(catalog, fill, events, places, rank)
        run = catalog.run(fill.run)
        if run is None:
            raise StoreError(f"the run {fill.run} of a fill is not in the catalog")
        planned = placing.plan_files(layout.FILLS, fill.id, catalog.ordinal(fill.version), tables)
        if planned:
            publish.stage(catalog, owner, [file.path for file in planned])
        metadata = {"fills": [rows.fill_row(fill)]}
        files = [placing.write_file(store, file, metadata, (run.key,), (fill.id,)) for file in planned]
        publish.publish(catalog, publish.Change(owner, files, fills=[fill]))


def fill_tables(
    catalog: Catalog, fill: Fill, events: Iterable[Logged], places: Iterable[Logged], rank: int
) -> dict[str, pa.Table]:
    """Level tables of hindsight values with the column `_fill`.

    A context has a row per value where a name was logged twice in it, or where the run's record has such contexts at
    that level (then each value's place in the order counts).
    """
    repeats = frozenset(shapes.stored_shape(catalog, fill.run).repeats)
    builder = Builder(fill.run, fill.version, rank, sidecar=True, ordered=repeats)
    builder.add(events)
    filled = set(builder.logged())
    builder.add(one._replace(value=None) for one in places)
    builder.names = catalog.resolve_names(builder.logged())
    found = {}
    for level, table in builder.tables().items():
        ids = columns.strings([fill.id]).take(columns.fixed(array("q", [0]) * table.num_rows, "int64"))
        found[level] = table.add_column(table.column_names.index("ts"), "_fill", ids)
    others = {stored for logged, stored in builder.names.items() if logged not in filled}
    return {level: _without(table, others) for level, table in found.items()}


def _without(table: pa.Table, names: set[str]) -> pa.Table:
    return table.drop_columns([column for column in table.column_names if column in names])
