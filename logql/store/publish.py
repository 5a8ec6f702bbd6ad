"""Making files live: one transaction turns staged files, sealed positions and superseded files into the new truth.

A file is *staged* (its name is in the catalog) before it appears in the tree and live after the transaction; what is
still staged when its owner comes back is the litter of a death, and goes.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from logql.model import Fill, Shape
from logql.store import layout, rows
from logql.store.catalog import Catalog
from logql.store.connection import Transaction
from logql.store.parquet import TEMPORARY, Written


@dataclass
class Change:
    """What one transaction makes true."""

    owner: str
    files: list[Written] = field(default_factory=list)
    superseded: list[str] = field(default_factory=list)
    #: next unsealed chunk of each stream
    sealed: Mapping[str, int] = field(default_factory=dict)
    run: str | None = None
    shape: Shape | None = None
    run_changes: Mapping[str, object] = field(default_factory=dict)
    fills: list[Fill] = field(default_factory=list)


def stage(catalog: Catalog, owner: str, paths: Iterable[str]) -> None:
    """Announce files that will be written."""
    with catalog.connection.write(durable=True) as txn:
        for path in paths:
            txn.execute("INSERT OR REPLACE INTO staged VALUES (?, ?)", (path, owner))


def discard_staged(catalog: Catalog, owner: str) -> list[str]:
    """Remove what an earlier attempt of `owner` left behind; gives the paths."""
    with catalog.connection.read() as db:
        paths = [path for (path,) in db.execute("SELECT path FROM staged WHERE owner = ?", (owner,))]
    if not paths:
        return []
    for path in paths:
        full = layout.inside(catalog.store, path)
        for name in (full, full + TEMPORARY):
            with contextlib.suppress(FileNotFoundError):
                os.unlink(name)
        layout.prune_directories(catalog.store, os.path.dirname(full))
    with catalog.connection.write() as txn:
        txn.execute("DELETE FROM staged WHERE owner = ?", (owner,))
    return paths


def publish(catalog: Catalog, change: Change) -> None:
    """Make `change` true, durably and at once."""
    with catalog.connection.write(durable=True) as txn:
        for file in change.files:
            insert_file(txn, file)
        txn.execute("DELETE FROM staged WHERE owner = ?", (change.owner,))
        for path in change.superseded:
            remove_file(txn, path)
        for fill in change.fills:
            txn.upsert("fills", rows.fill_row(fill), ("id",))
        for stream, number in change.sealed.items():
            txn.execute("INSERT OR REPLACE INTO sealed VALUES (?, ?, ?)", (stream, change.run, number))
        if change.run is not None:
            _update_run(txn, change)
            txn.execute("UPDATE counters SET seals = seals + 1")


def live_files(catalog: Catalog) -> dict[str, str]:
    """Checksum of every live file by its path."""
    with catalog.connection.read() as db:
        return dict(db.execute("SELECT path, checksum FROM files ORDER BY id"))


def insert_file(txn: Transaction, file: Written) -> None:
    """List a live file."""
    columns = json.dumps(dict(file.schema))
    txn.execute("INSERT OR IGNORE INTO texts (text) VALUES (?)", (columns,))
    (text,) = txn.execute("SELECT id FROM texts WHERE text = ?", (columns,)).fetchone()
    values = (file.path, file.kind, file.level, file.rows, file.bytes, *file.versions, *file.epochs, text)
    id_ = txn.execute(
        "INSERT INTO files (path, kind, level, rows, bytes, first_version, last_version, first_epoch, last_epoch, "
        "columns, checksum, rev) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (*values, file.checksum, txn.rev),
    ).lastrowid
    for run in file.runs:
        txn.execute("INSERT INTO file_runs VALUES (?, ?)", (id_, run))
    for fill in file.fills:
        txn.execute("INSERT INTO file_fills VALUES (?, ?)", (id_, fill))


def remove_file(txn: Transaction, path: str) -> None:
    """A file is live no more; it goes when no reader needs it."""
    (id_,) = txn.execute("SELECT id FROM files WHERE path = ?", (path,)).fetchone()
    for table, column in (("files", "id"), ("file_runs", "file"), ("file_fills", "file")):
        txn.execute(f"DELETE FROM {table} WHERE {column} = ?", (id_,))
    txn.execute("INSERT OR REPLACE INTO superseded VALUES (?, ?)", (path, txn.rev))
    txn.execute("UPDATE counters SET file_removals = file_removals + 1")


def _update_run(txn: Transaction, change: Change) -> None:
    changes: dict[str, object] = dict(change.run_changes)
    if change.shape is not None:
        text = rows.shape_to_json(change.shape)
        txn.execute("INSERT OR IGNORE INTO texts (text) VALUES (?)", (text,))
        (changes["shape"],) = txn.execute("SELECT id FROM texts WHERE text = ?", (text,)).fetchone()
    changes["rev"] = txn.rev
    assignments = ", ".join(f"{name} = ?" for name in changes)
    txn.execute(f"UPDATE runs SET {assignments} WHERE id = ?", (*changes.values(), change.run))
