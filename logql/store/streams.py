"""The write-ahead streams of one run: which chunks are not sealed, and their events in the run's order."""

from __future__ import annotations

import contextlib
import heapq
import os
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from operator import attrgetter

from logql.errors import CorruptFile
from logql.model import Event, Logged
from logql.store import layout, wal
from logql.store.catalog import Catalog
from logql.store.parquet import TEMPORARY

#: Suffix of a chunk with a bad record, kept for `logql doctor`; what stood before it was sealed.
DAMAGED = ".damaged"


def stream_of(chunk: wal.Chunk) -> str:
    """Name of a chunk's stream, the key of its sealed position."""
    return f"{chunk.run}-{chunk.rank}" + (f".{chunk.writer}" if chunk.writer else "")


def positions(db: sqlite3.Connection, run: str) -> dict[str, int]:
    """First unsealed chunk of each stream of a run of which some are sealed."""
    found = db.execute("SELECT stream, next FROM sealed WHERE stream >= ? AND stream < ?", (f"{run}-", f"{run}."))
    return dict(found)


def all_positions(db: sqlite3.Connection) -> dict[str, dict[str, int]]:
    """The same of every run that is not sealed, by run."""
    query = (
        "SELECT id, stream, next FROM runs CROSS JOIN sealed ON stream >= id || '-' AND stream < id || '.' "
        "WHERE unsealed AND unsealed = 1"
    )
    found: dict[str, dict[str, int]] = {}
    for run, stream, number in db.execute(query):
        found.setdefault(run, {})[stream] = number
    return found


def unsealed(catalog: Catalog, run: str) -> list[wal.Chunk]:
    """Chunks of a run that are not sealed, ordered by rank, writer and number."""
    with catalog.connection.read() as db:
        sealed = positions(db, run)
    return pending(wal.list_chunks(catalog.store, run), sealed)


def pending(chunks: Iterable[wal.Chunk], sealed: Mapping[str, int]) -> list[wal.Chunk]:
    """Those of `chunks`, as they were listed, that stand for what is in no file, given the streams' positions.

    A listing that is made while files come may lack one and have a later one: what lies between is looked up.
    """
    listed: dict[str, list[wal.Chunk]] = {}
    for chunk in chunks:
        if chunk.is_data and chunk.number >= sealed.get(stream_of(chunk), 0):
            listed.setdefault(stream_of(chunk), []).append(chunk)
    found = []
    for stem, own in listed.items():
        first = sealed.get(stem, 0)
        base = os.path.join(os.path.dirname(own[0].path), stem)
        if first:
            found.append(own[0]._replace(path=f"{base}-{first}c", number=first, is_data=False))
        known = {chunk.number: chunk for chunk in own}
        for number in range(first, max(known) + 1):
            chunk = known.get(number) or own[0]._replace(path=f"{base}-{number}", number=number)
            if number in known or os.path.exists(chunk.path):
                found.append(chunk)
    return found


def gaps(chunks: Iterable[wal.Chunk]) -> list[CorruptFile]:
    """What is missing between the chunks that `pending` gave: a chunk is lost, or what stood for those before."""
    found = []
    expected: dict[str, int] = {}
    for chunk in chunks:
        stem = stream_of(chunk)
        if not chunk.is_data:
            expected[stem] = chunk.number
            if not os.path.exists(chunk.path):
                found.append(_missing(chunk.path))
            continue
        for number in range(expected.get(stem, 0), chunk.number):
            path = os.path.join(os.path.dirname(chunk.path), f"{stem}-{number}")
            found.append(_missing(path))
        expected[stem] = chunk.number + 1
    return found


def _missing(path: str) -> CorruptFile:
    return CorruptFile(f"{path}: it is missing", hint="logql doctor")


def ranks(chunks: list[wal.Chunk]) -> dict[int, list[wal.Chunk]]:
    """Chunks by rank; rank 0 is always there."""
    found: dict[int, list[wal.Chunk]] = {0: []}
    for chunk in chunks:
        found.setdefault(chunk.rank, []).append(chunk)
    return found


def events(chunks: list[wal.Chunk], damaged: list[CorruptFile]) -> Iterator[Event]:
    """Events of one rank's chunks. Streams of child processes are merged in by time.

    What a damaged chunk holds before its first bad record is given; the error is added to `damaged`.
    """
    writers: dict[str, list[wal.Chunk]] = {}
    for chunk in chunks:
        writers.setdefault(chunk.writer, []).append(chunk)
    if len(writers) <= 1:
        return _in_order(chunks, damaged)
    return _merged(writers, damaged)


def batches(chunk: wal.Chunk, behind: bool, start: int = 0) -> Iterator[tuple[wal.Batch, int]]:
    """Each batch of a chunk with the offset behind it.

    The end of a stream may be half-written; where a chunk comes `behind`, CorruptFile tells that this one has no end.
    """
    end = start
    for batch, end in wal.read_batches(chunk.path, start):
        yield batch, end
    if behind and chunk.is_data and not 0 < end == os.path.getsize(chunk.path):
        raise CorruptFile(f"{chunk.path}: its end is missing", hint="logql doctor")


def _in_order(chunks: list[wal.Chunk], damaged: list[CorruptFile]) -> Iterator[Event]:
    for chunk in chunks:
        try:
            for batch, _ in batches(chunk, behind=chunk is not chunks[-1]):
                yield from wal.events(batch)
        except CorruptFile as exc:
            damaged.append(exc)


def _merged(writers: dict[str, list[wal.Chunk]], damaged: list[CorruptFile]) -> Iterator[Event]:
    """Children's events get the seq of the last event of the main stream, and count on in `sub`."""
    main = min(writers)
    streams = [_tagged(writer == main, _in_order(writers[writer], damaged)) for writer in sorted(writers)]
    seq, sub = 0, 0
    for _, own, event in heapq.merge(*streams, key=attrgetter("ts")):
        if own:
            seq, sub = event.seq, 0
            yield event
            continue
        sub += 1
        yield event._replace(seq=seq, sub=sub) if isinstance(event, Logged) else event._replace(seq=seq)


class _Tagged(tuple[float, bool, Event]):
    """An event with its time, and whether it is of the main stream."""

    __slots__ = ()

    @property
    def ts(self) -> float:
        return self[0]


def _tagged(own: bool, events: Iterator[Event]) -> Iterator[_Tagged]:
    for event in events:
        yield _Tagged((event.ts, own, event))


def set_aside(chunk_path: str) -> None:
    """Keep a damaged chunk under another name, so that it is not read again."""
    if os.path.exists(chunk_path):
        os.replace(chunk_path, chunk_path + DAMAGED)


def remove_sealed(catalog: Catalog, run: str) -> None:
    """Remove the chunks of a run that files stand for, and what a death left of carried ones.

    The position of the stream alone tells: a chunk that came a moment ago is in no earlier listing.
    """
    with catalog.connection.read() as db:
        sealed = positions(db, run)
    paths = []
    for chunk in wal.list_chunks(catalog.store, run):
        position = sealed.get(stream_of(chunk), 0)
        if chunk.number < position if chunk.is_data else chunk.number != position:
            paths.append(chunk.path)
    directory = os.path.join(catalog.store, layout.WAL)
    for name in os.listdir(directory):
        if name.startswith(f"{run}-") and name.endswith(TEMPORARY):
            paths.append(os.path.join(directory, name))
    for path in paths:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
