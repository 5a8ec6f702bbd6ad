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
from logql.model import Event, Run, Shape
from logql.store import carry, levels, streams, wal
from logql.store.carry import Sieve
from logql.store.catalog import Catalog
from logql.store.growing import GrowingBuilder
from logql.store.parquet import schema_of
from logql.store.shapes import EMPTY, merge_shapes
from logql.store.state import Piece

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass
class _Rank:
    """What was read of one rank of one run."""

    builder: GrowingBuilder
    #: chunk that stands for those that were sealed
    carried: wal.Chunk | None = None
    sieve: Sieve | None = None
    sizes: dict[str, int] = field(default_factory=dict)
    offsets: dict[str, int] = field(default_factory=dict)
    tables: list[tuple[str, pa.Table]] | None = None
    stored: dict[str, str] = field(default_factory=dict)
    damage: str | None = None


@dataclass(frozen=True)
class Live:
    """Tables by level and schema, shapes by run, and notices, of all runs that are not sealed."""

    tables: dict[tuple[str, pa.Schema], list[tuple[int, pa.Table]]]
    shapes: dict[str, Shape]
    notices: list[str]

    def add(self, level: str, table: pa.Table, ordinal: int) -> None:
        """Rows of a run of the version with that ordinal."""
        self.tables.setdefault((level, table.schema), []).append((ordinal, table))

    def pieces(self) -> dict[str, list[Piece]]:
        """Pieces by level: tables of one schema are one, for a hundred small ones take long to plan a query over."""
        import pyarrow as pa

        found: dict[str, list[Piece]] = {}
        for (level, _), own in self.tables.items():
            ordinals = [ordinal for ordinal, _ in own]
            table = pa.concat_tables([table for _, table in own]) if len(own) > 1 else own[0][1]
            bounds = min(ordinals), max(ordinals)
            found.setdefault(level, []).append(Piece(level, None, table, schema_of(table), table.num_rows, bounds))
        return found


class LiveRuns:
    """Remembers what it read of each live run."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._ranks: dict[tuple[str, int], _Rank] = {}
        self.generation = 0

    def read(
        self, runs: Iterable[Run], ordinals: Mapping[str, int], sealed: Mapping[str, Mapping[str, int]],
        shapes: Mapping[str, Shape],
    ) -> Live:  # fmt: skip
        """The rows of `runs` as far as their recorders have handed them to the system, and no file has them.

        `sealed` has the positions of each run's streams, `shapes` what is in files; a run's shape is that of both.
        """
        runs = list(runs)
        self._forget({run.id for run in runs})
        chunks: dict[str, list[wal.Chunk]] = {run.id: [] for run in runs}
        for chunk in wal.list_chunks(self._catalog.store) if runs else ():
            if chunk.run in chunks:
                chunks[chunk.run].append(chunk)
        live = Live({}, {}, [])
        for run in runs:
            try:
                own = streams.pending(chunks[run.id], sealed.get(run.id, {}))
                self._read_run(run, ordinals.get(run.version, 0), own, shapes.get(run.id, EMPTY), live)
            except (ValueError, TypeError, ArithmeticError, LookupError) as exc:
                live.notices.append(f"run {run.id} cannot be read: {type(exc).__name__}: {exc}")
        return live

    def _read_run(self, run: Run, ordinal: int, chunks: list[wal.Chunk], sealed: Shape, live: Live) -> None:
        found = [self._rank(run, rank, own) for rank, own in streams.ranks(chunks).items()]
        tables = [pair for rank in found for pair in self._tables(rank)]
        growing = [levels.shape_of({level: table}) for level, table in tables]
        live.shapes[run.id] = merge_shapes([sealed, *growing], len(found))
        live.notices.extend(gap.message for gap in streams.gaps(chunks))
        live.notices.extend(rank.damage for rank in found if rank.damage)
        late = sum(len(rank.sieve.overdue) for rank in found if rank.sieve is not None)
        if late:
            live.notices.append(
                f"run {run.id}: {late} values or lines came long after their iteration and are there when it has ended"
            )
        for level, table in tables:
            live.add(level, table, ordinal)

    def _forget(self, wanted: set[str]) -> None:
        for key in [key for key in self._ranks if key[0] not in wanted]:
            del self._ranks[key]
            self.generation += 1

    def _rank(self, run: Run, number: int, chunks: list[wal.Chunk]) -> _Rank:
        data = [chunk for chunk in chunks if chunk.is_data]
        carried = next((chunk for chunk in chunks if not chunk.is_data), None)
        sizes = {chunk.path: os.stat(chunk.path).st_size for chunk in data}
        merged = len({chunk.writer for chunk in data}) > 1
        rank = self._ranks.get((run.id, number))
        if rank is None or rank.carried != carried or (merged and rank.sizes != sizes):
            rank = self._begin(run, number, carried, settles=not merged)
        if rank.sizes != sizes:
            self._read_on(rank, data, merged)
        if rank.builder.late or not self._names_stand(rank):
            rank = self._begin(run, number, carried, settles=False, sifts=rank.sieve is not None)
            self._read_on(rank, data, merged)
        if rank.builder.overdue and rank.sieve is None:
            rank = self._begin(run, number, carried, settles=False, sifts=True)
            self._read_on(rank, data, merged)
        self._names_stand(rank)
        rank.sizes = sizes
        return rank

    def _begin(
        self, run: Run, number: int, carried: wal.Chunk | None, *, settles: bool, sifts: bool = False
    ) -> _Rank:  # fmt: skip
        rank = self._ranks[run.id, number] = _Rank(
            GrowingBuilder(run.id, run.version, number, settles=settles), carried
        )
        if carried is None:
            return rank
        try:
            found = carry.read(carried.path)
        except CorruptFile as exc:
            rank.damage = exc.message
            return rank
        rank.builder.resume(found)
        if sifts or found.overdue:
            rank.sieve = Sieve(found)
        return rank

    def _read_on(self, rank: _Rank, chunks: list[wal.Chunk], merged: bool) -> None:
        rank.tables = None
        if merged:
            damaged: list[CorruptFile] = []
            self._add(rank, streams.events(chunks, damaged))
            rank.damage = damaged[0].message if damaged else None
            return
        for chunk in chunks:
            try:
                for batch, offset in streams.batches(chunk, chunk is not chunks[-1], rank.offsets.get(chunk.path, 0)):
                    self._add(rank, wal.events(batch))
                    rank.offsets[chunk.path] = offset
                    if rank.builder.is_due():
                        self._settle(rank)
            except CorruptFile as exc:
                rank.damage = exc.message
        rank.builder.check_items()

    def _add(self, rank: _Rank, events: Iterable[Event]) -> None:
        rank.builder.add(events if rank.sieve is None else rank.sieve(events))

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
