"""Sealing: the write-ahead chunks of a run become Parquet files. `python -m logql.store.seal STORE [RUN]`.

What is over in a run that goes on is sealed by `store.partial`; here a run that ended is sealed to its end. Whoever
comes next finishes what a dead sealer left: nothing is removed before the transaction that makes its replacement live,
and nothing is live before that transaction.
"""

from __future__ import annotations

import contextlib
import gc
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from logql.errors import CorruptFile, StoreError
from logql.model import Event, Logged, Run, level_text
from logql.store import (
    carry,
    compact,
    late,
    layout,
    levels,
    liveness,
    names,
    parquet,
    partial,
    placing,
    publish,
    records,
    shapes,
    streams,
    wal,
)
from logql.store.carry import Sieve
from logql.store.catalog import Catalog
from logql.store.growing import GrowingBuilder
from logql.store.levels import Builder
from logql.store.liveness import Lock

if TYPE_CHECKING:
    import pyarrow as pa

#: Seconds that a sealer waits for another one, and for a recorder that is about to end.
WAIT = 30.0
#: `runs.unsealed` of a run whose files are live and whose chunks may still be there: a sealer may die between the two.
_CHUNKS_LEFT = 2


def seal_run(store: str, run: str, *, wait: float = WAIT) -> None:
    """Seal `run` if it has ended, and while it lives what is over in its closed chunks, where those are large.

    Does nothing if another process seals it for `wait` seconds.
    """
    lock = Lock.take(liveness.seal_lock(store, run), wait=wait)
    if lock is None:
        return
    done = False
    try:
        with Catalog.open(store) as catalog:
            found = catalog.run(run)
            if found is not None:
                while partial.seal_closed(catalog, found):
                    pass
                done = is_over(store, found, wait=wait if found.status != "running" else 0.0)
                if done:
                    _seal(catalog, catalog.run(run) or found)
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
    if not liveness.is_held(path):
        return True
    lock = Lock.take(path, wait=wait) if wait else None
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
    damaged = streams.gaps(chunks)
    ends = [_read_end(run, rank, own, damaged) for rank, own in streams.ranks(chunks).items()]
    run = _ended(catalog.store, run, [end.builder for end in ends], damaged)
    _name(catalog, ends)
    tables = [end.builder.tables() for end in ends]
    lates = [late.place_late(catalog, run, end.builder.rank, end.overdue, end.builder.names) for end in ends]
    found = [end.builder.shape(own) for end, own in zip(ends, tables, strict=True)] + [one.shape for one in lates]
    shape = shapes.merge_shapes([shapes.stored_shape(catalog, run.id), *found], len(ends))
    record = records.run_record(catalog, run, shape, [os.path.basename(chunk.path) for chunk in chunks])
    files, superseded = _write(catalog, run, owner, _with_record(ends, tables, record), lates)
    sealed = {streams.stream_of(chunk): chunk.number + 1 for chunk in chunks}
    changes = {"status": run.status, "ended_at": run.ended_at, "error": run.error, "unsealed": _CHUNKS_LEFT}
    change = publish.Change(owner, files, superseded, sealed, run=run.id, shape=shape, run_changes=changes)
    publish.publish(catalog, change)
    bad = {exc.message.split(": ")[0] for exc in damaged}
    for chunk in chunks:
        if chunk.path in bad:
            streams.set_aside(chunk.path)
    _clean_up(catalog, run.id)


@dataclass
class _End:
    """The last of one rank's stream, and the events that came too late for their sealed contexts."""

    builder: Builder
    overdue: list[Event]


def _read_end(run: Run, rank: int, chunks: list[wal.Chunk], damaged: list[CorruptFile]) -> _End:
    carried = next((chunk for chunk in chunks if not chunk.is_data), None)
    if carried is not None:
        try:
            found = carry.read(carried.path)
        except CorruptFile as exc:
            damaged.append(exc)
        else:
            growing, sieve = GrowingBuilder(run.id, run.version, rank), Sieve(found)
            growing.resume(found)
            growing.add(sieve(streams.events(chunks, damaged)))
            return _End(growing, sieve.overdue)
    builder = Builder(run.id, run.version, rank)
    builder.add(streams.events(chunks, damaged))
    return _End(builder, [])


def _unsealed(catalog: Catalog, run: str) -> int:
    with catalog.connection.read() as db:
        return int(db.execute("SELECT unsealed FROM runs WHERE id = ?", (run,)).fetchone()[0])


def _ended(store: str, run: Run, builders: list[Builder], damaged: list[CorruptFile]) -> Run:
    """The run with the status that it ended with: one that still says `running` was killed.

    One that says `finished` was left by a SystemExit where its exit code was noted and is not 0.
    """
    if damaged:
        run = replace(run, error=run.error or f"part of its record is damaged: {damaged[0].message}")
    code = liveness.read_exit_code(store, run.id)
    if run.status == "finished" and code:
        return replace(run, status="failed", error=f"SystemExit: {code}")
    if run.status != "running":
        return run
    last = max((builder.last_ts for builder in builders), default=0.0)
    return replace(run, status="killed", ended_at=max(last, run.started_at))


def _name(catalog: Catalog, ends: list[_End]) -> None:
    """Tell every builder the stored names of what was logged."""
    builders = [end.builder for end in ends]
    loops = {column for builder in builders for level in builder.levels for column in levels.loop_columns(level)}
    with catalog.connection.write() as txn:
        names.take(txn, sorted(loops))
    overdue = [event.name for end in ends for event in end.overdue if isinstance(event, Logged)]
    logged = [name for builder in builders for name in builder.logged()]
    stored = catalog.resolve_names(dict.fromkeys([*logged, *overdue]))
    for builder in builders:
        builder.names = stored


def _with_record(ends: list[_End], tables: list[dict[str, pa.Table]], record: str) -> dict[int, dict[str, pa.Table]]:
    """Tables by rank; the run's record stands in rank 0's row of the run."""
    found = {end.builder.rank: own for end, own in zip(ends, tables, strict=True)}
    for rank, own in found.items():
        own[level_text(())] = records.add_record(own[level_text(())], record if rank == 0 else None)
    return found


def _write(
    catalog: Catalog, run: Run, owner: str, tables: Mapping[int, Mapping[str, pa.Table]], lates: list[late.Late]
) -> tuple[list[parquet.Written], list[str]]:
    """The files of a run's end, and those that are written anew."""
    ordinal = catalog.ordinal(run.version)
    planned = []
    for (rank, own), one in zip(tables.items(), lates, strict=True):
        planned += placing.plan_files(layout.LOGS, f"{run.id}-{rank}", ordinal, own)
        planned += placing.plan_files(layout.LOGS, f"{run.id}-{rank}.late", ordinal, one.tables)
    rewritten = [pair for one in lates for pair in one.rewritten]
    again = [placing.again(file.level, ordinal, file.epochs, table) for file, table in rewritten]
    publish.stage(catalog, owner, [file.path for file in (*planned, *again)])
    files = [placing.write_file(catalog.store, file, {}, (run.key,)) for file in planned]
    for (file, _), planned_again in zip(rewritten, again, strict=True):
        source = layout.inside(catalog.store, file.path)
        metadata = {**parquet.metadata_of(source), "replaces": [file.path]}
        files.append(placing.write_file(catalog.store, planned_again, metadata, (run.key,)))
    return files, [file.path for file, _ in rewritten]


def _clean_up(catalog: Catalog, run: str) -> None:
    """Remove chunks that were sealed, and what told whether the run lives."""
    streams.remove_sealed(catalog, run)
    for find in (liveness.run_lock, liveness.main_lock, liveness.exit_note):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(find(catalog.store, run))
    with catalog.connection.write() as txn:
        txn.execute("UPDATE runs SET unsealed = 0 WHERE id = ?", (run,))


def main(arguments: list[str]) -> int:
    """Seal one run, or all that ended; then merge files where many small ones have gathered. Yields to trainings."""
    if len(arguments) not in (1, 2):
        print("usage: python -m logql.store.seal STORE [RUN]", file=sys.stderr)
        return 2
    os.nice(10)
    gc.disable()  # the rows of a run are no garbage, and looking at them again and again takes as long as building them
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
