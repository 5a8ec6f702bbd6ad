"""Rows of runs that are not sealed, from their write-ahead chunks.

Reading goes on where it last stopped, and what is over in a run becomes a table once: a query over a run of a million
rows pays for the rows that are still growing.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from logql.errors import CorruptFile
from logql.model import Run, Shape
from logql.store import levels, streams, wal
from logql.store.catalog import Catalog
from logql.store.growing import GrowingBuilder
from logql.store.parquet import schema_of
from logql.store.seal import merge_shapes
from logql.store.state import Piece

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass
class _Rank:
    """What was read of one rank of one run."""

    builder: GrowingBuilder
    sizes: dict[str, int] = field(default_factory=dict)
    offsets: dict[str, int] = field(default_factory=dict)
    tables: list[tuple[str, pa.Table]] | None = None
    stored: dict[str, str] = field(default_factory=dict)
    damage: str | None = None


@dataclass(frozen=True)
class Live:
    """Pieces by level, shapes by run, and notices, of all runs that are not sealed."""

    pieces: dict[str, list[Piece]]
    shapes: dict[str, Shape]
    notices: list[str]


class LiveRuns:
    """Remembers what it read of each live run."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._ranks: dict[tuple[str, int], _Rank] = {}
        self.generation = 0

    def read(self, runs: Iterable[Run], ordinals: Mapping[str, int]) -> Live:
        """The rows of `runs` as far as their recorders have handed them to the system."""
        runs = list(runs)
        self._forget({run.id for run in runs})
        chunks: dict[str, list[wal.Chunk]] = {run.id: [] for run in runs}
        for chunk in wal.list_chunks(self._catalog.store) if runs else ():
            if chunk.run in chunks:
                chunks[chunk.run].append(chunk)
        live = Live({}, {}, [])
        for run in runs:
            try:
                self._read_run(run, ordinals.get(run.version, 0), chunks[run.id], live)
            except (ValueError, TypeError, ArithmeticError, LookupError) as exc:
                live.notices.append(f"run {run.id} cannot be read: {type(exc).__name__}: {exc}")
        return live

    def _read_run(self, run: Run, ordinal: int, chunks: list[wal.Chunk], live: Live) -> None:
        found = [self._rank(run, rank, own) for rank, own in streams.ranks(chunks).items()]
        tables = [pair for rank in found for pair in self._tables(rank)]
        live.shapes[run.id] = merge_shapes([levels.shape_of({level: table}) for level, table in tables], len(found))
        live.notices.extend(rank.damage for rank in found if rank.damage)
        for level, table in tables:
            piece = Piece(level, None, table, schema_of(table), table.num_rows, (ordinal, ordinal))
            live.pieces.setdefault(level, []).append(piece)

    def _forget(self, wanted: set[str]) -> None:
        for key in [key for key in self._ranks if key[0] not in wanted]:
            del self._ranks[key]
            self.generation += 1

    def _rank(self, run: Run, number: int, chunks: list[wal.Chunk]) -> _Rank:
        sizes = {chunk.path: os.stat(chunk.path).st_size for chunk in chunks}
        merged = len({chunk.writer for chunk in chunks}) > 1
        rank = self._ranks.get((run.id, number))
        if rank is None or (merged and rank.sizes != sizes):
            rank = self._begin(run, number, settles=not merged)
        if rank.sizes != sizes:
            self._read_on(rank, chunks, merged)
        if rank.builder.late or not self._names_stand(rank):
            rank = self._begin(run, number, settles=False)
            self._read_on(rank, chunks, merged)
            self._names_stand(rank)
        rank.sizes = sizes
        return rank

    def _begin(self, run: Run, number: int, *, settles: bool) -> _Rank:
        rank = self._ranks[run.id, number] = _Rank(GrowingBuilder(run.id, run.version, number, settles=settles))
        return rank

    def _read_on(self, rank: _Rank, chunks: list[wal.Chunk], merged: bool) -> None:
        rank.tables = None
        if merged:
            damaged: list[CorruptFile] = []
            rank.builder.add(streams.events(chunks, damaged))
            rank.damage = damaged[0].message if damaged else None
            return
        for chunk in chunks:
            try:
                for batch, offset in wal.read_batches(chunk.path, rank.offsets.get(chunk.path, 0)):
                    rank.builder.add(wal.events(batch))
                    rank.offsets[chunk.path] = offset
                    if rank.builder.is_due():
                        self._settle(rank)
            except CorruptFile as exc:
                rank.damage = exc.message
        rank.builder.check_items()

    def _settle(self, rank: _Rank) -> None:
        """Settle what is over; what was settled under names that changed since is to be read anew."""
        if not self._names_stand(rank):
            rank.builder.late = True
        rank.builder.settle()

    def _names_stand(self, rank: _Rank) -> bool:
        """Bring the stored names up to date; whether what was settled stands under the right ones."""
        before, rank.stored = rank.stored, self._catalog.resolve_names(rank.builder.logged())
        rank.builder.names = rank.stored
        if before == rank.stored:
            return True
        rank.tables = None
        changed = any(rank.stored.get(name) != stored for name, stored in before.items())
        return not (changed and rank.builder.settled)

    def _tables(self, rank: _Rank) -> list[tuple[str, pa.Table]]:
        if rank.tables is None:
            settled = [(level, table) for level, found in rank.builder.settled.items() for table in found]
            rank.tables = [*settled, *rank.builder.tables().items()]
            self.generation += 1
        return rank.tables
