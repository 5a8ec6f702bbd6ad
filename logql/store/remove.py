"""Deleting runs: `logql rm`. Files that other runs share are written anew without them."""

from __future__ import annotations

import glob
import os
from collections.abc import Sequence
from dataclasses import dataclass

from logql.errors import StoreError
from logql.store import compact, layout, leases, liveness, parquet, publish, seal, streams, wal
from logql.store.catalog import Catalog
from logql.store.liveness import Lock

_OWNER = "remove"


@dataclass(frozen=True)
class RemovedRuns:
    """Runs that are gone (or would go), and how many files went or were written anew."""

    runs: tuple[str, ...]
    files: int
    rewritten: int


def find_runs(store: str, text: str) -> list[str]:
    """Ids of the run, or of a version's runs, that `text` means: an id or its first characters.

    StoreError where there is none, and where there are several: ids of runs begin with their time, all with the same.
    """
    with Catalog.open(store, read_only=True) as catalog:
        runs = catalog.runs()
    ids = {id_ for run in runs for id_ in (run.id, run.version)}
    found = sorted({text} & ids or {id_ for id_ in ids if text and id_.startswith(text)})
    if not found:
        raise StoreError(f"no run or version starts with {text!r}", hint="logql runs")
    if len(found) > 1:
        raise StoreError(f"{len(found)} runs and versions start with {text!r}", candidates=found[:5])
    return [run.id for run in runs if found[0] in (run.id, run.version)]


def remove_runs(store: str, runs: Sequence[str], *, dry_run: bool = False) -> RemovedRuns:
    """Delete runs with their rows, fills and checkpoints (`logql gc` frees the blobs). A live run is refused."""
    store = os.path.abspath(store)
    if not dry_run:
        seal.recover(store)
    with Catalog.open(store, read_only=dry_run) as catalog:
        keys = {}
        for id_ in runs:
            run = catalog.run(id_)
            if run is None:
                raise StoreError(f"there is no run {id_}")
            if not seal.is_over(store, run):
                raise StoreError(f"the run {id_} is still running")
            keys[run.key] = id_
        if dry_run:
            alone, shared = _affected(catalog, set(keys))
            return RemovedRuns(tuple(keys.values()), len(alone), len(shared))
        lock = Lock.take(os.path.join(store, layout.SCRATCH, "compact.lock"), wait=60.0)
        if lock is None:
            raise StoreError("another process compacts the store", hint="try again")
        with lock:
            return _remove(catalog, keys)


def _remove(catalog: Catalog, keys: dict[int, str]) -> RemovedRuns:
    publish.discard_staged(catalog, _OWNER)
    alone, shared = _affected(catalog, set(keys))
    ids = set(keys.values())
    for file in shared:
        _rewrite(catalog, file, set(keys), ids)
    with catalog.connection.write(durable=True) as txn:
        for file in alone:
            publish.remove_file(txn, file.path)
        for key, id_ in keys.items():
            txn.execute("DELETE FROM runs WHERE key = ?", (key,))
            for table in ("main_loops", "checkpoints", "fills", "sealed"):
                txn.execute(f"DELETE FROM {table} WHERE run = ?", (id_,))
        txn.removed()
    for id_ in ids:
        for path in (
            *(chunk.path for chunk in wal.list_chunks(catalog.store, id_)),
            *glob.glob(os.path.join(glob.escape(catalog.store), layout.WAL, f"{id_}-*{streams.DAMAGED}")),
            liveness.run_lock(catalog.store, id_),
            liveness.main_lock(catalog.store, id_),
            liveness.exit_note(catalog.store, id_),
        ):
            if os.path.exists(path):
                os.unlink(path)
    leases.sweep(catalog)
    return RemovedRuns(tuple(keys.values()), len(alone), len(shared))


def _affected(catalog: Catalog, keys: set[int]) -> tuple[list[compact.File], list[compact.File]]:
    """Files that hold rows of these runs alone, and files that hold others' too."""
    touched = [file for file in compact.list_files(catalog) if keys.intersection(file.runs)]
    return [file for file in touched if keys.issuperset(file.runs)], [
        file for file in touched if not keys.issuperset(file.runs)
    ]


def _rewrite(catalog: Catalog, file: compact.File, keys: set[int], ids: set[str]) -> None:
    import pyarrow.compute as pc

    from logql.store.columns import strings

    source = layout.inside(catalog.store, file.path)
    table = parquet.read(source)
    kept = table.filter(pc.invert(pc.is_in(table.column("run"), value_set=strings(sorted(ids)))))
    directory = layout.LOGS if file.kind == "log" else layout.FILLS
    path = parquet.file_path(directory, file.level, file.versions, file.epochs, f"r{os.urandom(8).hex()}")
    metadata = {**parquet.metadata_of(source), "replaces": [file.path]}
    publish.stage(catalog, _OWNER, [path])
    size, checksum = parquet.write(catalog.store, path, kept, metadata)
    with catalog.connection.read() as db:
        fills = [
            one
            for one in file.fills
            if db.execute("SELECT run FROM fills WHERE id = ?", (one,)).fetchone()[0] not in ids
        ]
    runs = tuple(run for run in file.runs if run not in keys)
    written = parquet.Written(path, file.kind, file.level, kept.num_rows, size, file.versions, file.epochs,
                              parquet.schema_of(kept), checksum, runs, tuple(fills))  # fmt: skip
    publish.publish(catalog, publish.Change(_OWNER, [written], superseded=[file.path]))
