"""Sealing: the write-ahead chunks of a run that ended become Parquet files. `python -m logql.store.seal STORE [RUN]`.

Whoever comes next finishes what a dead sealer left: nothing is removed before the transaction that makes its
replacement live, and nothing is live before that transaction.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from logql.errors import CorruptFile, StoreError
from logql.model import Run, Shape, level_text
from logql.store import compact, layout, levels, liveness, names, parquet, publish, records, streams, types, wal
from logql.store.catalog import Catalog
from logql.store.levels import Builder
from logql.store.liveness import Lock

if TYPE_CHECKING:
    import pyarrow as pa

#: Seconds that a sealer waits for another one, and for a recorder that is about to end.
WAIT = 30.0
#: `runs.unsealed` of a run whose files are live and whose chunks may still be there: a sealer may die between the two.
_CHUNKS_LEFT = 2
#: Bytes in memory above which a level of one run gets a file per range of epochs.
SPLIT_BYTES = 256 << 20


def seal_run(store: str, run: str, *, wait: float = WAIT) -> None:
    """Seal `run` if it has ended; does nothing while it lives, or if another process seals it for `wait` seconds."""
    lock = Lock.take(liveness.seal_lock(store, run), wait=wait)
    if lock is None:
        return
    done = False
    try:
        with Catalog.open(store) as catalog:
            found = catalog.run(run)
            if found is not None and is_over(store, found, wait=wait if found.status != "running" else 0.0):
                _seal(catalog, found)
                done = True
    finally:
        lock.release(unlink=done)


def recover(store: str) -> None:
    """Seal every run that ended or died and was not sealed."""
    with Catalog.open(store) as catalog:
        for run in ended_runs(catalog):
            seal_run(store, run.id)


def ended_runs(catalog: Catalog) -> list[Run]:
    """Runs that are not sealed and that no process writes to any more."""
    return [run for run in catalog.unsealed_runs() if is_over(catalog.store, run)]


def is_over(store: str, run: Run, wait: float = 0.0) -> bool:
    """Whether no process of `run` lives; a recorder that just ended may hold its lock for `wait` seconds more."""
    path = liveness.run_lock(store, run.id)
    if not os.path.exists(path):
        same_host = run.host in (None, os.uname().nodename)
        return run.status != "running" or not same_host or not run.pid or not liveness.process_identity(run.pid)
    lock = Lock.take(path, wait=wait)
    if lock is None:
        return False
    lock.release()
    return True


def _seal(catalog: Catalog, run: Run) -> None:
    owner = f"seal:{run.id}"
    publish.discard_staged(catalog, owner)
    if _unsealed(catalog, run.id) != 1:
        if _unsealed(catalog, run.id) == _CHUNKS_LEFT:
            _clean_up(catalog, run.id)
        return
    chunks = streams.unsealed(catalog, run.id)
    damaged: list[CorruptFile] = []
    builders = []
    for rank, own in streams.ranks(chunks).items():
        builder = Builder(run.id, run.version, rank)
        builder.add(streams.events(own, damaged))
        builders.append(builder)
    run = _ended(run, builders, damaged)
    tables = _tables(catalog, builders)
    shape = merge_shapes([levels.shape_of(table) for table in tables], len(builders))
    record = records.run_record(catalog, run, shape, [os.path.basename(chunk.path) for chunk in chunks])
    files = _write(catalog, run, owner, tables, record)
    sealed = {streams.stream_of(chunk): chunk.number + 1 for chunk in chunks}
    changes = {"status": run.status, "ended_at": run.ended_at, "error": run.error, "unsealed": _CHUNKS_LEFT}
    change = publish.Change(owner, files, sealed=sealed, run=run.id, shape=shape, run_changes=changes)
    publish.publish(catalog, change)
    bad = {exc.message.split(": ")[0] for exc in damaged}
    for chunk in chunks:
        if chunk.path in bad:
            streams.set_aside(chunk.path)
    _clean_up(catalog, run.id)


def _unsealed(catalog: Catalog, run: str) -> int:
    with catalog.connection.read() as db:
        return int(db.execute("SELECT unsealed FROM runs WHERE id = ?", (run,)).fetchone()[0])


def _ended(run: Run, builders: list[Builder], damaged: list[CorruptFile]) -> Run:
    """The run with the status that it ended with: one that still says `running` was killed."""
    if damaged:
        run = replace(run, error=run.error or f"part of its record is damaged: {damaged[0].message}")
    if run.status != "running":
        return run
    last = max((builder.last_ts for builder in builders), default=0.0)
    return replace(run, status="killed", ended_at=max(last, run.started_at))


def _tables(catalog: Catalog, builders: list[Builder]) -> list[dict[str, pa.Table]]:
    loops = {column for builder in builders for level in builder.levels for column in levels.loop_columns(level)}
    with catalog.connection.write() as txn:
        names.take(txn, sorted(loops))
    stored = catalog.resolve_names(dict.fromkeys(name for builder in builders for name in builder.logged()))
    for builder in builders:
        builder.names = stored
    return [builder.tables() for builder in builders]


def merge_shapes(shapes: list[Shape], ranks: int) -> Shape:
    """The shape of a run from those of its ranks."""
    found: dict[tuple[str, ...], dict[str, str]] = {}
    loops: dict[str, str] = {}
    repeats: dict[tuple[str, ...], frozenset[str]] = {}
    for shape in shapes:
        for level, columns in shape.levels.items():
            own = found.setdefault(level, {})
            own.update({name: types.unify((own.get(name, types.NULL), type_)) for name, type_ in columns.items()})
        loops.update({name: types.unify((loops.get(name, types.NULL), t)) for name, t in shape.loops.items()})
        for level, repeated in shape.repeats.items():
            repeats[level] = repeats.get(level, frozenset()) | repeated
    return Shape(found, loops, repeats, ranks)


def _write(
    catalog: Catalog, run: Run, owner: str, tables: list[dict[str, pa.Table]], record: str
) -> list[parquet.Written]:
    ordinal = next((version.ordinal for version in catalog.versions() if version.id == run.version), 0)
    planned: list[tuple[str, str, tuple[int, int], pa.Table]] = []
    for rank, own in enumerate(tables):
        for level, table in own.items():
            if level == level_text(()):
                table = records.add_record(table, record if rank == 0 else None)
            for number, (epochs, part) in enumerate(split_by_epoch(level, table)):
                name = f"{run.id}-{rank}" + (f"-{number}" if number else "")
                path = parquet.file_path(layout.LOGS, level, (ordinal, ordinal), epochs, name)
                planned.append((path, level, epochs, part))
    publish.stage(catalog, owner, [path for path, *_ in planned])
    files = []
    for path, level, epochs, table in planned:
        size, checksum = parquet.write(catalog.store, path, table, {"level": level})
        schema = parquet.schema_of(table)
        written = parquet.Written(
            path, "log", level, table.num_rows, size, (ordinal, ordinal), epochs, schema, checksum, (run.key,)
        )
        files.append(written)
    return files


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


def _clean_up(catalog: Catalog, run: str) -> None:
    """Remove chunks that were sealed, and the run's lock."""
    kept = {chunk.path for chunk in streams.unsealed(catalog, run)}
    sealed = [chunk.path for chunk in wal.list_chunks(catalog.store, run) if chunk.path not in kept]
    for path in (*sealed, liveness.run_lock(catalog.store, run), liveness.main_lock(catalog.store, run)):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
    with catalog.connection.write() as txn:
        txn.execute("UPDATE runs SET unsealed = 0 WHERE id = ?", (run,))


def main(arguments: list[str]) -> int:
    """Seal one run, or all that ended; then merge files where many small ones have gathered."""
    if len(arguments) not in (1, 2):
        print("usage: python -m logql.store.seal STORE [RUN]", file=sys.stderr)
        return 2
    try:
        if len(arguments) == 2:
            seal_run(arguments[0], arguments[1])
        else:
            recover(arguments[0])
        compact.compact_if_needed(arguments[0])
    except StoreError as exc:
        print(exc, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
