"""Sealing what is over in a run that goes on: its closed chunks become files and a small rest that is carried over.

A context counts as over when a later iteration has begun and the chunk after those that are sealed does not touch it
either: a thread that is a little behind finds its row. The files, the new position of the stream and what is carried
become true in one transaction, so a reader sees each row once, in a file or in the stream.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from logql.errors import CorruptFile
from logql.model import OUTPUT_LEVEL, RUN_LEVEL, Path, Run, Shape, level_text
from logql.store import carry, layout, levels, merge, names, parquet, placing, publish, records, shapes, streams, wal
from logql.store.carry import Carried, Sieve
from logql.store.catalog import Catalog
from logql.store.growing import GrowingBuilder

if TYPE_CHECKING:
    import pyarrow as pa

#: Bytes of closed chunks that are worth files of their own.
PART_BYTES = 32 << 20


@dataclass(frozen=True)
class _Stretch:
    """Chunks that are to be sealed, what stands for those before, and the one behind."""

    carried: wal.Chunk | None
    chunks: list[wal.Chunk]
    behind: wal.Chunk


@dataclass(frozen=True)
class _Part:
    """What a stretch of one rank's stream became."""

    rank: int
    stem: str
    position: int
    tables: dict[str, pa.Table]
    shape: Shape
    carried: Carried


class _NamesChanged(Exception):
    """Raised when a stored name changed while a part was built."""


def seal_closed(catalog: Catalog, run: Run, *, least: int | None = None) -> bool:
    """Seal the closed chunks of `run` where a rank has `least` (PART_BYTES) of them; whether anything was sealed.

    The caller holds the run's seal lock. Streams with children's beside them or with a damaged chunk are left alone.
    """
    owner = f"part:{run.id}"
    publish.discard_staged(catalog, owner)
    streams.remove_sealed(catalog, run.id)
    least = PART_BYTES if least is None else least
    ranks = streams.ranks(streams.unsealed(catalog, run.id))
    stretches = [stretch for own in ranks.values() if (stretch := _find_stretch(own, least)) is not None]
    try:
        parts = [_read_part(catalog, run, stretch) for stretch in stretches]
    except (CorruptFile, FileNotFoundError, _NamesChanged):
        return False
    if not parts:
        return False
    files = [file for part in parts for file in _write(catalog, run, owner, part)]
    for part in parts:
        carry.write(carry.path_of(catalog.store, part.stem, part.position), part.carried)
    found = [shapes.stored_shape(catalog, run.id), *(part.shape for part in parts)]
    shape = shapes.merge_shapes(found, len(ranks))
    sealed = {part.stem: part.position for part in parts}
    publish.publish(catalog, publish.Change(owner, files, sealed=sealed, run=run.id, shape=shape))
    streams.remove_sealed(catalog, run.id)
    return True


def _find_stretch(chunks: Sequence[wal.Chunk], least: int) -> _Stretch | None:
    """The first chunks of a rank that are `least` bytes together; None where they are not worth files."""
    if len({chunk.writer for chunk in chunks}) != 1 or streams.gaps(chunks):
        return None
    carried = next((chunk for chunk in chunks if not chunk.is_data), None)
    # what is carried must not be the most of what is read
    wanted = max(least, 0 if carried is None else 2 * os.path.getsize(carried.path))
    data = [chunk for chunk in chunks if chunk.is_data]
    size = 0
    # the last one may still grow, and the one before it only tells what is not over yet
    for number, chunk in enumerate(data[:-2]):
        size += os.path.getsize(chunk.path)
        if size >= wanted:
            return _Stretch(carried, data[: number + 1], data[number + 1])
    return None


def _read_part(catalog: Catalog, run: Run, stretch: _Stretch) -> _Part:
    behind, rank = stretch.behind, stretch.behind.rank
    touched = _touched(behind)
    for settles, sifts in ((True, False), (False, False), (True, True), (False, True)):
        carried = Carried() if stretch.carried is None else carry.read(stretch.carried.path)
        sieve = Sieve(carried)
        builder = GrowingBuilder(run.id, run.version, rank, settles=settles, keep=touched)
        if stretch.carried is not None:
            builder.resume(carried)
        tables = _build(catalog, builder, stretch.chunks, sieve if sifts else None)
        if not builder.late and (sifts or not builder.overdue):
            break
    rest = builder.carried()
    rest.overdue = sieve.overdue
    return _Part(rank, streams.stream_of(behind), behind.number, tables, builder.shape(tables), rest)


def _touched(chunk: wal.Chunk) -> set[Path]:
    """Contexts in which something happens in a chunk and that began before it, with those around them."""
    paths: set[Path] = set()
    for batch, _ in wal.read_batches(chunk.path):
        paths |= wal.paths_touched(batch)
    return {path[:depth] for path in paths for depth in range(len(path) + 1)}


def _build(
    catalog: Catalog, builder: GrowingBuilder, chunks: Iterable[wal.Chunk], sieve: Sieve | None
) -> dict[str, pa.Table]:
    """Tables of what is over; the builder holds the rest."""
    for chunk in chunks:
        for batch, _ in streams.batches(chunk, behind=True):
            if sieve is None:
                builder.add_batch(batch)
            else:
                builder.add(sieve(wal.events(batch)))
            if builder.is_due():
                _settle(catalog, builder)
    _settle(catalog, builder)
    return {level: _as_one(level, found) for level, found in builder.settled.items()}


def _settle(catalog: Catalog, builder: GrowingBuilder) -> None:
    before = builder.names
    loops = {column for level in builder.levels for column in levels.loop_columns(level)}
    with catalog.connection.write() as txn:
        names.take(txn, sorted(loops))
    builder.names = catalog.resolve_names(builder.logged())
    if builder.settled and any(builder.names.get(name) != stored for name, stored in before.items()):
        raise _NamesChanged
    builder.settle()


def _as_one(level: str, tables: Sequence[pa.Table]) -> pa.Table:
    """Settled tables of a level as one, in the order of its contexts."""
    table = tables[0] if len(tables) == 1 else merge.merge(tables, {})
    loops = layout.level_of(level)
    if level == OUTPUT_LEVEL or isinstance(loops, str):
        return table
    keys = [f"{name}_{part}" for name in levels.loop_names(loops) for part in ("entry", "index")]
    return table.sort_by([(key, "ascending") for key in (*keys, "_part")])


def _write(catalog: Catalog, run: Run, owner: str, part: _Part) -> list[parquet.Written]:
    name = f"{run.id}-{part.rank}.{part.position}"
    tables = {
        level: records.add_record(table, None) if level == level_text(RUN_LEVEL) else table
        for level, table in part.tables.items()
    }
    planned = placing.plan_files(layout.LOGS, name, catalog.ordinal(run.version), tables)
    paths = [file.path for file in planned]
    publish.stage(catalog, owner, paths)
    metadata = {"part": {"stream": part.stem, "position": part.position, "files": paths}}
    return [placing.write_file(catalog.store, file, metadata, (run.key,)) for file in planned]
