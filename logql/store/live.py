"""Rows of runs that are not sealed, from their write-ahead chunks; reading goes on where it last stopped."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from logql.errors import CorruptFile
from logql.model import Run, Shape
from logql.store import levels, streams, wal
from logql.store.catalog import Catalog
from logql.store.levels import Builder
from logql.store.parquet import schema_of
from logql.store.seal import merge_shapes
from logql.store.state import Piece

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass
class _Rank:
    """What was read of one rank of one run."""

    builder: Builder
    sizes: dict[str, int] = field(default_factory=dict)
    offsets: dict[str, int] = field(default_factory=dict)
    tables: dict[str, pa.Table] | None = None
    stored: dict[str, str] = field(default_factory=dict)
    damage: str | None = None


@dataclass(frozen=True)
class Live:
    """Pieces by level, shapes by run, and notices, of all runs that are not sealed."""

    pieces: Mapping[str, list[Piece]]
    shapes: Mapping[str, Shape]
    notices: tuple[str, ...]


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
        pieces: dict[str, list[Piece]] = {}
        shapes, notices = {}, []
        for run in runs:
            ordinal = ordinals.get(run.version, 0)
            found = [self._rank(run, rank, own) for rank, own in streams.ranks(chunks[run.id]).items()]
            tables = [self._tables(rank) for rank in found]
            shapes[run.id] = merge_shapes([levels.shape_of(one) for one in tables], len(tables))
            notices += [rank.damage for rank in found if rank.damage]
            for level, table in (pair for one in tables for pair in one.items()):
                piece = Piece(level, None, table, schema_of(table), table.num_rows, (ordinal, ordinal))
                pieces.setdefault(level, []).append(piece)
        return Live(pieces, shapes, tuple(notices))

    def _forget(self, wanted: set[str]) -> None:
        for key in [key for key in self._ranks if key[0] not in wanted]:
            del self._ranks[key]
            self.generation += 1

    def _rank(self, run: Run, number: int, chunks: list[wal.Chunk]) -> _Rank:
        sizes = {chunk.path: os.stat(chunk.path).st_size for chunk in chunks}
        rank = self._ranks.get((run.id, number))
        if rank is not None and rank.sizes == sizes:
            return rank
        if rank is None or len({chunk.writer for chunk in chunks}) > 1:
            rank = self._ranks[run.id, number] = _Rank(Builder(run.id, run.version, number))
        rank.sizes, rank.tables = sizes, None
        self.generation += 1
        _read_on(rank, chunks)
        return rank

    def _tables(self, rank: _Rank) -> dict[str, pa.Table]:
        stored = self._catalog.resolve_names(rank.builder.logged())
        if rank.tables is None or stored != rank.stored:
            rank.stored = rank.builder.names = stored
            rank.tables = rank.builder.tables()
            self.generation += 1
        return rank.tables


def _read_on(rank: _Rank, chunks: list[wal.Chunk]) -> None:
    if len({chunk.writer for chunk in chunks}) > 1:
        damaged: list[CorruptFile] = []
        rank.builder.add(streams.events(chunks, damaged))
        rank.damage = damaged[0].message if damaged else None
        return
    for chunk in chunks:
        try:
            for batch, offset in wal.read_batches(chunk.path, rank.offsets.get(chunk.path, 0)):
                rank.builder.add(wal.events(batch))
                rank.offsets[chunk.path] = offset
        except CorruptFile as exc:
            rank.damage = exc.message
