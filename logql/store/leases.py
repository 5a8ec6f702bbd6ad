"""Leases of readers: which superseded files a running query may still open.

A lease is a file in `scratch/readers/` under a lock of its process, holding the change counter that its snapshot was
taken at or after; its name is drawn by chance, as two containers may have processes of one number. A file superseded by
a later change stays as long as such a lease does; a dead reader's lock is gone with it. A lease is taken before the
snapshot, so a file is either not in the snapshot or protected.
"""

from __future__ import annotations

import contextlib
import os

from logql.store import layout, liveness
from logql.store.catalog import Catalog
from logql.store.liveness import Lock


def take(catalog: Catalog) -> Lock | None:
    """A lease from now on; None where the store cannot be written (then nobody removes its files either)."""
    directory = os.path.join(catalog.store, layout.READERS)
    name = os.path.join(directory, os.urandom(8).hex())
    try:
        os.makedirs(directory, exist_ok=True)
        lock = Lock.take(name, shared=True)
        with open(name, "w", encoding="ascii") as file:
            file.write(str(catalog.change_counter()))
    except OSError:
        return None
    return lock


def release(lock: Lock) -> None:
    """End a lease."""
    lock.release(unlink=True)


def oldest(store: str) -> int | None:
    """Lowest counter that a live lease holds, None without leases; dead ones are removed."""
    directory = os.path.join(store, layout.READERS)
    counters = []
    for name in os.listdir(directory):
        path = os.path.join(directory, name)
        if liveness.is_held(path):
            with contextlib.suppress(OSError):
                counters.append(_counter(path))
        else:
            with contextlib.suppress(OSError):
                os.unlink(path)
    return min(counters, default=None)


def sweep(catalog: Catalog) -> list[str]:
    """Remove superseded files that no lease protects; gives their paths."""
    with catalog.connection.read() as db:
        superseded = db.execute("SELECT path, rev FROM superseded ORDER BY rev").fetchall()
    # in this order: what is superseded from now on may be in the snapshot of a lease that is not there yet
    bound = oldest(catalog.store)
    paths = [path for path, rev in superseded if bound is None or rev <= bound]
    if not paths:
        return []
    for path in paths:
        full = layout.inside(catalog.store, path)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(full)
        layout.prune_directories(catalog.store, os.path.dirname(full))
    with catalog.connection.write() as txn:
        for path in paths:
            txn.execute("DELETE FROM superseded WHERE path = ?", (path,))
    return paths


def _counter(path: str) -> int:
    with open(path, encoding="ascii") as file:
        text = file.read()
    return int(text) if text.isdigit() else 0
