"""A name that was logged and sealed, and that a later run has as an arg or a loop, gets its new stored name everywhere.

`names` notes such a change in the table `renamed`; the next one who opens the store writes the affected files anew.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from logql.model import Shape
from logql.store import columns, compact, layout, parquet, publish, rows
from logql.store.catalog import Catalog
from logql.store.liveness import Lock

if TYPE_CHECKING:
    import pyarrow as pa

_OWNER = "rename"


def settle_names(catalog: Catalog) -> None:
    """Rename columns of sealed files and shapes; does nothing while another process rewrites files."""
    renames = _pending(catalog)
    if not renames:
        return
    lock = Lock.take(os.path.join(catalog.store, layout.SCRATCH, "compact.lock"))
    if lock is None:
        return
    with lock:
        publish.discard_staged(catalog, _OWNER)
        for file in compact.list_files(catalog):
            _rename_file(catalog, file, renames)
        _rename_shapes(catalog, renames)


def _pending(catalog: Catalog) -> dict[str, str]:
    with catalog.connection.read() as db:
        return dict(db.execute("SELECT old, new FROM renamed"))


def _rename_file(catalog: Catalog, file: compact.File, renames: Mapping[str, str]) -> None:
    source = layout.inside(catalog.store, file.path)
    found, _ = parquet.schema_and_rows(source)
    own = {old: new for old, new in renames.items() if old in found and f"{old}_index" not in found}
    if not own or file.level == "output":
        return
    table = _renamed(parquet.read(source), own)
    directory = layout.LOGS if file.kind == "log" else layout.FILLS
    path = parquet.file_path(directory, file.level, file.versions, file.epochs, f"n{os.urandom(8).hex()}")
    publish.stage(catalog, _OWNER, [path])
    metadata = {**parquet.metadata_of(source), "replaces": [file.path]}
    size, checksum = parquet.write(catalog.store, path, table, metadata)
    written = parquet.Written(
        path, file.kind, file.level, table.num_rows, size, file.versions, file.epochs, parquet.schema_of(table),
        checksum, file.runs, file.fills,
    )  # fmt: skip
    publish.publish(catalog, publish.Change(_OWNER, [written], superseded=[file.path]))


def _renamed(table: pa.Table, own: Mapping[str, str]) -> pa.Table:
    texts = {f"{old}$text": f"{new}$text" for old, new in own.items()}
    table = table.rename_columns([own.get(name, texts.get(name, name)) for name in table.column_names])
    for name in ("_order", "_null"):
        column = table.column(name)
        if column.null_count < len(column):
            lists = [None if one is None else [own.get(item, item) for item in one] for one in column.to_pylist()]
            table = table.set_column(table.column_names.index(name), name, columns.string_lists(lists))
    return table


def _rename_shapes(catalog: Catalog, renames: Mapping[str, str]) -> None:
    with catalog.connection.write(durable=True) as txn:
        used = txn.execute("SELECT DISTINCT shape, text FROM runs JOIN texts ON texts.id = shape").fetchall()
        for id_, text in used:
            shape = rows.shape_to_json(_rename_shape(rows.shape_from_json(text), renames))
            if shape == text:
                continue
            txn.execute("INSERT OR IGNORE INTO texts (text) VALUES (?)", (shape,))
            (new,) = txn.execute("SELECT id FROM texts WHERE text = ?", (shape,)).fetchone()
            txn.execute("UPDATE runs SET shape = ?, rev = ? WHERE shape = ?", (new, txn.rev, id_))
        for old, new_name in renames.items():
            txn.execute("DELETE FROM renamed WHERE old = ? AND new = ?", (old, new_name))


def _rename_shape(shape: Shape, renames: Mapping[str, str]) -> Shape:
    def stored(name: str) -> str:
        return renames.get(name, name)

    levels: dict[Any, Any] = {
        level: {stored(name): type_ for name, type_ in found.items()} for level, found in shape.levels.items()
    }
    repeats = {level: frozenset(map(stored, found)) for level, found in shape.repeats.items()}
    return replace(shape, levels=levels, repeats=repeats)
