"""Compaction: many small files of a level become few large ones, beside readers and writers.

Files below TARGET_BYTES are merged in the order of their versions and epochs, a group at a time; each group is one
transaction. Recorded files and sidecars are treated alike; of these, cells that UNFILL dropped stay behind. A merged
file's metadata names the files that it replaces, so that a rebuild after a crash counts nothing twice.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from logql.errors import CorruptFile
from logql.model import Fill
from logql.store import dropped, layout, leases, parquet, publish, rows
from logql.store.catalog import Catalog
from logql.store.liveness import Lock
from logql.store.merge import merge

if TYPE_CHECKING:
    import pyarrow as pa

#: A file of this size is left alone; 2 GB of a level are then some 50 files.
TARGET_BYTES = 40 << 20
#: Small files of one level that make a compaction worth while in the background.
ENOUGH = 12
_OWNER = "compact"


@dataclass(frozen=True)
class Merge:
    """Files of one level that became (or, in a dry run, would become) one."""

    kind: str
    level: str
    files: int
    bytes: int
    path: str | None


@dataclass(frozen=True)
class File:
    """A live file as the catalog lists it."""

    path: str
    kind: str
    level: str
    bytes: int
    versions: tuple[int, int]
    epochs: tuple[int, int]
    runs: tuple[int, ...]
    fills: tuple[str, ...]


def compact(store: str, *, dry_run: bool = False) -> list[Merge]:
    """Merge all small files of every level. Does nothing while another process compacts."""
    return _compact(store, 2, dry_run)


def compact_if_needed(store: str) -> list[Merge]:
    """Merge the small files of levels that have at least ENOUGH of them; cheap where none has."""
    return _compact(store, ENOUGH, False)


def _compact(store: str, enough: int, dry_run: bool) -> list[Merge]:
    store = os.path.abspath(store)
    with Catalog.open(store, read_only=dry_run) as catalog:
        groups = plan(_small_files(catalog), enough)
        if dry_run:
            return [_as_merge(group, None) for group in groups]
        if not groups:
            leases.sweep(catalog)
            return []
    lock = Lock.take(os.path.join(store, layout.SCRATCH, "compact.lock"))
    if lock is None:
        return []
    with lock, Catalog.open(store) as catalog:
        publish.discard_staged(catalog, _OWNER)
        done = [_as_merge(group, _merge_files(catalog, group)) for group in plan(_small_files(catalog), enough)]
        leases.sweep(catalog)
    return done


def plan(files: Iterable[File], enough: int) -> list[list[File]]:
    """Groups to merge: of each level with `enough` small files, neighbours by version up to TARGET_BYTES."""
    levels: dict[tuple[str, str], list[File]] = {}
    for file in files:
        levels.setdefault((file.kind, file.level), []).append(file)
    groups = []
    for found in levels.values():
        if len(found) < enough:
            continue
        group: list[File] = []
        for file in sorted(found, key=lambda file: (file.versions, file.runs[:1], file.epochs)):
            group.append(file)
            if sum(one.bytes for one in group) >= TARGET_BYTES:
                groups.append(group)
                group = []
        groups.append(group)
    return [group for group in groups if len(group) > 1]


def _small_files(catalog: Catalog) -> list[File]:
    """Files to merge; those of a run that goes on tell by their names which part of its stream they hold, and stay."""
    growing = {run.key for run in catalog.unsealed_runs()}
    return [file for file in list_files(catalog) if file.bytes < TARGET_BYTES and growing.isdisjoint(file.runs)]


def list_files(catalog: Catalog) -> list[File]:
    """All live files with the keys of their runs and the ids of their fills."""
    with catalog.connection.read() as db:
        found = db.execute(
            "SELECT id, path, kind, level, bytes, first_version, last_version, first_epoch, last_epoch FROM files "
            "ORDER BY id"
        ).fetchall()
        runs: dict[int, list[int]] = {}
        for file, run in db.execute("SELECT file, run FROM file_runs ORDER BY run"):
            runs.setdefault(file, []).append(run)
        fills: dict[int, list[str]] = {}
        for file, fill in db.execute("SELECT file, fill FROM file_fills ORDER BY fill"):
            fills.setdefault(file, []).append(fill)
    return [
        File(path, kind, level, size, (a, b), (first, last), tuple(runs.get(id_, ())), tuple(fills.get(id_, ())))
        for id_, path, kind, level, size, a, b, first, last in found
    ]


def drop_cells(catalog: Catalog) -> list[File]:
    """Write sidecars that hold cells which UNFILL dropped anew without them; gives the old ones.

    A catalog opened for reading is only asked. Does nothing while another process rewrites files.
    """
    known = {fill.id: fill for fill in catalog.fills()}
    stale = [file for file in list_files(catalog) if file.kind == "fill" and _is_stale(catalog, file, known)]
    if not stale or catalog.connection.read_only:
        return stale
    lock = Lock.take(os.path.join(catalog.store, layout.SCRATCH, "compact.lock"))
    if lock is None:
        return []
    with lock:
        publish.discard_staged(catalog, _OWNER)
        live = publish.live_files(catalog)
        for file in stale:
            if file.path in live:
                _merge_files(catalog, [file])
    return stale


def _is_stale(catalog: Catalog, file: File, known: Mapping[str, Fill]) -> bool:
    with contextlib.suppress(CorruptFile):  # `logql doctor` tells of damaged ones
        return dropped.has_dropped(dropped.told_by(layout.inside(catalog.store, file.path)), known)
    return False


def _merge_files(catalog: Catalog, group: Sequence[File]) -> str | None:
    """One file for those of a group, of which nothing may be left; gives its path."""
    store, known = catalog.store, {fill.id: fill for fill in catalog.fills()}
    tables, fills = [], []
    for file in group:
        source = layout.inside(store, file.path)
        told = dropped.told_by(source)
        fills += dropped.still_told(told, known)
        tables.append(dropped.without_dropped(parquet.read(source), file.level, told, known))
    owner, superseded = _OWNER, [file.path for file in group]
    if not any(table.num_rows for table in tables):
        publish.publish(catalog, publish.Change(owner, superseded=superseded))
        return None
    ordinals = {version.id: version.ordinal for version in catalog.versions()}
    table = merge([table for table in tables if table.num_rows], ordinals)
    written = _write(catalog, group, table, fills)
    publish.publish(catalog, publish.Change(owner, [written], superseded=superseded))
    return written.path


def _write(catalog: Catalog, group: Sequence[File], table: pa.Table, fills: Sequence[Fill]) -> parquet.Written:
    versions = min(file.versions[0] for file in group), max(file.versions[1] for file in group)
    epochs = min(file.epochs[0] for file in group), max(file.epochs[1] for file in group)
    kind, level = group[0].kind, group[0].level
    directory = layout.LOGS if kind == "log" else layout.FILLS
    path = parquet.file_path(directory, level, versions, epochs, f"c{os.urandom(8).hex()}")
    metadata: dict[str, object] = {"level": level, "replaces": [file.path for file in group]}
    if kind == "fill":
        metadata["fills"] = [rows.fill_row(fill) for fill in fills]
    publish.stage(catalog, _OWNER, [path])
    size, checksum = parquet.write(catalog.store, path, table, metadata)
    runs = tuple(sorted({run for file in group for run in file.runs}))
    ids = tuple(sorted({fill.id for fill in fills}))
    return parquet.Written(
        path, kind, level, table.num_rows, size, versions, epochs, parquet.schema_of(table), checksum, runs, ids
    )


def _as_merge(group: Sequence[File], path: str | None) -> Merge:
    return Merge(group[0].kind, group[0].level, len(group), sum(file.bytes for file in group), path)
