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
from logql.store import carry, streams, wal
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
class _Run:
    """What one run came to, and what that depends on: its chunks with their sizes, what is sealed, stored names."""

    seen: tuple[object, ...]
    names: dict[str, str]
    tables: list[tuple[str, pa.Table]]
    shape: Shape
    notices: list[str]


@dataclass(frozen=True)
class Live:
    """Tables with their levels and versions' ordinals, shapes by run, and notices, of all runs that are not sealed."""

    tables: list[tuple[str, pa.Table, int]]
    shapes: dict[str, Shape]
    notices: list[str]

    def pieces(self) -> dict[str, list[Piece]]:
        """Pieces by level: tables of one schema are one, for a hundred small ones take long to plan a query over."""
        import pyarrow as pa

        alike: dict[tuple[str, pa.Schema], list[tuple[pa.Table, int]]] = {}
        for level, table, ordinal in self.tables:
            alike.setdefault((level, table.schema), []).append((table, ordinal))
        found: dict[str, list[Piece]] = {}
        for (level, _), own in alike.items():
            ordinals = [ordinal for _, ordinal in own]
            table = pa.concat_tables([table for table, _ in own]) if len(own) > 1 else own[0][0]
            bounds = min(ordinals), max(ordinals)
            found.setdefault(level, []).append(Piece(level, None, table, schema_of(table), table.num_rows, bounds))
        return found


class LiveRuns:
    """Remembers what it read of each live run."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._ranks: dict[tuple[str, int], _Rank] = {}
        self._runs: dict[str, _Run] = {}
        self._stored: dict[str, str] = {}
        self._rev = -1
        self.generation = 0

    def read(
        self, runs: Iterable[Run], ordinals: Mapping[str, int], sealed: Mapping[str, Mapping[str, int]],
        shapes: Mapping[str, Shape], rev: int,
    ) -> Live:  # fmt: skip
        """The rows of `runs` as far as their recorders have handed them to the system, and no file has them.

        `sealed` has the positions of each run's streams, `shapes` what is in files; a run's shape is that of both.
        `rev` is the catalog's change counter: while it stands, so do the stored names.
        """
        runs = list(runs)
        self._forget({run.id for run in runs})
        if rev != self._rev:
            self._stored, self._rev = {}, rev
        chunks: dict[str, list[wal.Chunk]] = {run.id: [] for run in runs}
        for chunk in wal.list_chunks(self._catalog.store) if runs else ():
            if chunk.run in chunks:
                chunks[chunk.run].append(chunk)
        live = Live([], {}, [])
        for run in runs:
            try:
                found = self._read_run(run, chunks[run.id], sealed.get(run.id, {}), shapes.get(run.id, EMPTY))
            except (ValueError, TypeError, ArithmeticError, LookupError) as exc:
                live.notices.append(f"run {run.id} cannot be read: {type(exc).__name__}: {exc}")
                continue
            live.shapes[run.id] = found.shape
            live.notices.extend(found.notices)
            live.tables.extend((level, table, ordinals.get(run.version, 0)) for level, table in found.tables)
        return live

    def _read_run(self, run: Run, listed: list[wal.Chunk], positions: Mapping[str, int], sealed: Shape) -> _Run:
        seen = (listed, [os.stat(chunk.path).st_size for chunk in listed], dict(positions), sealed)
        known = self._runs.get(run.id)
        if known is not None and known.seen == seen and known.names == self._resolve(known.names):
            return known
        chunks = streams.pending(listed, positions)
        ranks = [self._rank(run, rank, own) for rank, own in streams.ranks(chunks).items()]
        tables = [pair for rank in ranks for pair in self._tables(rank)]
        shapes = [rank.builder.shape({level: table}) for rank in ranks for level, table in self._tables(rank)]
        shape = merge_shapes([sealed, *shapes], len(ranks))
        names = {name: stored for rank in ranks for name, stored in rank.stored.items()}
        found = self._runs[run.id] = _Run(seen, names, tables, shape, _notices(run, chunks, ranks))
        return found

    def _resolve(self, names: Iterable[str]) -> dict[str, str]:
        """The stored names of logged ones."""
        names = list(names)
        unknown = [name for name in names if name not in self._stored]
        if unknown:
            self._stored.update(self._catalog.resolve_names(unknown))
        return {name: self._stored[name] for name in names}

    def _forget(self, wanted: set[str]) -> None:
        for run in self._runs.keys() - wanted:
            del self._runs[run]
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
                    if rank.sieve is None:
                        rank.builder.add_batch(batch)
                    else:
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
        before, rank.stored = rank.stored, self._resolve(rank.builder.logged())
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


def _notices(run: Run, chunks: list[wal.Chunk], ranks: list[_Rank]) -> list[str]:
    found = [gap.message for gap in streams.gaps(chunks)]
    found += [rank.damage for rank in ranks if rank.damage]
    late = sum(len(rank.sieve.overdue) for rank in ranks if rank.sieve is not None)
    if late:
        found.append(
            f"run {run.id}: {late} values or lines came long after their iteration and are there when it has ended"
        )
    return found
