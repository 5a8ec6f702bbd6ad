"""The write-ahead streams of one run: which chunks are not sealed, and their events in the run's order."""

from __future__ import annotations

import heapq
import os
from collections.abc import Iterator
from operator import attrgetter

from logql.errors import CorruptFile
from logql.model import Event, Logged
from logql.store import wal
from logql.store.catalog import Catalog

#: Suffix of a chunk with a bad record, kept for `logql doctor`; what stood before it was sealed.
DAMAGED = ".damaged"


def stream_of(chunk: wal.Chunk) -> str:
    """Name of a chunk's stream, the key of its sealed position."""
    return f"{chunk.run}-{chunk.rank}" + (f".{chunk.writer}" if chunk.writer else "")


def unsealed(catalog: Catalog, run: str) -> list[wal.Chunk]:
    """Chunks of a run that are not sealed, ordered by rank, writer and number."""
    with catalog.connection.read() as db:
        sealed = dict(db.execute("SELECT stream, next FROM sealed WHERE run = ?", (run,)))
    return [chunk for chunk in wal.list_chunks(catalog.store, run) if chunk.number >= sealed.get(stream_of(chunk), 0)]


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


def _in_order(chunks: list[wal.Chunk], damaged: list[CorruptFile]) -> Iterator[Event]:
    for chunk in chunks:
        try:
            yield from wal.read(chunk.path)
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
