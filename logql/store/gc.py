"""Removing what nothing needs any more: checkpoints beyond the limit, blobs that nothing names, litter of the dead."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass

from logql.errors import CorruptFile
from logql.model import Checkpoint, inputs_of
from logql.settings import checkpoint_limit
from logql.store import compact, layout, leases, parquet
from logql.store.blobs import Blobs
from logql.store.catalog import Catalog
from logql.store.usage import walk

#: Seconds that a blob or a checkout stays although nothing names it: a checkpoint is registered after its blobs.
GRACE = 3600.0
CHECKOUTS = os.path.join(layout.SCRATCH, "checkouts")


@dataclass(frozen=True)
class Removed:
    """One thing that is gone (or would go): its path in the store, why, and its bytes."""

    path: str
    reason: str
    bytes: int


def collect(store: str, *, dry_run: bool = False, limit: float | None = None, grace: float = GRACE) -> list[Removed]:
    """Remove superseded and orphan files, checkpoints over `limit` bytes (LOGQL_CHECKPOINT_LIMIT), unnamed blobs."""
    store = os.path.abspath(store)
    blobs = Blobs(store)
    with Catalog.open(store, read_only=dry_run) as catalog:
        dropped = over_limit(catalog, checkpoint_limit() if limit is None else limit)
        if dropped and not dry_run:
            catalog.remove_checkpoints(dropped)
        kept = [one for one in catalog.checkpoints() if one not in dropped]
        found = [_dropped(one) for one in dropped]
        named = {digest for one in kept if one.manifest is not None for digest in references(blobs, one.manifest)}
        named |= {one.digest for run in catalog.runs() for one in inputs_of(run) if one.digest is not None}
        found += _blobs(store, named, grace, dry_run)
        found += [Removed(file.path, "UNFILL dropped cells in it", file.bytes) for file in compact.drop_cells(catalog)]
        told = {one.path for one in found}
        if not dry_run:
            swept = [path for path in leases.sweep(catalog) if path not in told]
            found += [Removed(path, "replaced by a merged file", 0) for path in swept]
        found += _orphans(catalog, grace, dry_run)
    return found + _checkouts(store, grace, dry_run)


def over_limit(catalog: Catalog, limit: float) -> list[Checkpoint]:
    """Checkpoints to drop so that the rest fit: the oldest run first, in it the middle ones before first and last."""
    blobs = Blobs(catalog.store)
    checkpoints = [one for one in catalog.checkpoints() if one.manifest is not None]
    names = {one.manifest: references(blobs, one.manifest) for one in checkpoints if one.manifest is not None}
    users: dict[str, int] = {}
    for digest in (digest for one in checkpoints for digest in names[one.manifest or ""]):
        users[digest] = users.get(digest, 0) + 1
    total = float(sum(map(blobs.size, users)))
    dropped = []
    for one in _by_worth(checkpoints):
        if total <= limit:
            break
        dropped.append(one)
        for digest in names[one.manifest or ""]:
            users[digest] -= 1
            total -= 0 if users[digest] else blobs.size(digest)
    return dropped


def references(blobs: Blobs, manifest: str) -> set[str]:
    """Digests of a manifest and of the blobs that it lists under "blobs"; its leaves' digests name no files."""
    try:
        listed = json.loads(blobs.get(manifest))["blobs"]
    except (CorruptFile, ValueError, KeyError, TypeError):
        return {manifest}
    return {manifest, *listed}


def orphans(catalog: Catalog) -> list[str]:
    """Files under logs/ and fills/ (relative) that the catalog does not know."""
    with catalog.connection.read() as db:
        known = {
            path for table in ("files", "staged", "superseded") for (path,) in db.execute(f"SELECT path FROM {table}")
        }
    found = []
    for part in (layout.LOGS, layout.FILLS):
        for path in walk(os.path.join(catalog.store, part)):
            relative = os.path.relpath(path, catalog.store)
            if relative.removesuffix(parquet.TEMPORARY) not in known:
                found.append(relative)
    return found


def is_litter(store: str, relative: str) -> bool:
    """Whether a file that the catalog does not know is none of logql's: the others a rebuilt catalog takes in."""
    try:
        parquet.metadata_of(os.path.join(store, relative))
    except CorruptFile:
        return True
    return relative.endswith(parquet.TEMPORARY)


def _by_worth(checkpoints: Iterable[Checkpoint]) -> list[Checkpoint]:
    """Least worth first: middles of the oldest run, ..., middles of the newest, then ends of the oldest, ..."""
    runs: dict[tuple[str, int, str, int], list[Checkpoint]] = {}
    for one in checkpoints:
        runs.setdefault((one.run, one.rank, one.loop, one.entry), []).append(one)
    middles, ends = [], []
    for _, own in sorted(runs.items()):
        own.sort(key=lambda one: one.seq)
        middles += own[1:-1]
        ends += own[:1] + own[1:][-1:]
    return middles + ends


def _dropped(one: Checkpoint) -> Removed:
    place = "exit" if one.index is None else str(one.index)
    return Removed(f"checkpoint {one.run} {one.loop}[{one.entry}] {place}", "over LOGQL_CHECKPOINT_LIMIT", 0)


def _blobs(store: str, named: set[str], grace: float, dry_run: bool) -> list[Removed]:
    blobs = Blobs(store)
    found = []
    for path in walk(blobs.directory):
        digest = os.path.basename(os.path.dirname(path)) + os.path.basename(path)
        if digest not in named:
            found += _remove(store, path, "no checkpoint or run names it", grace, dry_run)
    return found


def _orphans(catalog: Catalog, grace: float, dry_run: bool) -> list[Removed]:
    store = catalog.store
    paths = [os.path.join(store, path) for path in orphans(catalog) if is_litter(store, path)]
    return [one for path in paths for one in _remove(store, path, "it is no file of logql's", grace, dry_run)]


def _checkouts(store: str, grace: float, dry_run: bool) -> list[Removed]:
    directory = os.path.join(store, CHECKOUTS)
    names = sorted(os.listdir(directory)) if os.path.isdir(directory) else []
    return [
        one
        for name in names
        for one in _remove(store, os.path.join(directory, name), "a checkout that no replay uses", 24 * grace, dry_run)
    ]


def _remove(store: str, path: str, reason: str, grace: float, dry_run: bool) -> list[Removed]:
    """Remove a file or directory that has not changed for `grace` seconds."""
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        return []
    if time.time() - status.st_mtime < grace:
        return []
    size = sum(os.lstat(name).st_size for name in walk(path)) if os.path.isdir(path) else status.st_size
    if not dry_run:
        with contextlib.suppress(OSError):
            shutil.rmtree(path) if os.path.isdir(path) and not os.path.islink(path) else os.unlink(path)
    return [Removed(os.path.relpath(path, store), reason, size)]
