"""Streams of live runs: append-only chunks `wal/<run>-<rank>[.<writer>]-<n>` of self-contained batches of events.

Where chunks before n were sealed while the run went on, `...-<n>c` holds what is left of them (see `store.carry`).

A chunk is a sequence of records: header (magic, kind, length, checksum of the payload, checksum of the header), then
the payload. The first record says whose chunk it is, every other one is a batch: columns of equal length as raw
arrays, and JSON for what has no fixed width. Nothing in a chunk is ever executed. What a dying writer left half-written
is the end of the stream; a bad record before that raises CorruptFile.
"""

from __future__ import annotations

import json
import math
import os
import re
import struct
import sys
import zlib
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from logql.errors import CorruptFile
from logql.model import Enter, Event, Line, Logged, Path, Step
from logql.store import layout, plain

#: Meanings of the first ids in a batch's `kinds`; later ones name `names[id - FIRST_NAME]`.
ENTER, LINE, DROPPED, FIRST_NAME = 0, 1, 2, 3
#: A context is `entry number << INDEX_BITS | index`; number 0 is the run itself.
INDEX_BITS = 32
CHUNK_BYTES = 16 << 20
#: More events than this are no batch: repeated columns are short on disk and must not fill the memory.
MAX_EVENTS = 1 << 22

#: No event happened later than this (seconds since the epoch).
_LATEST = 1e11

_HEADER = struct.Struct("<4sB3xIII")
_MAGIC = b"LQW1"
_OPENING, _BATCH, CARRY = 1, 2, 3
_FILE = re.compile(r"(?P<run>[^-]+)-(?P<rank>\d+)(\.(?P<writer>[^-]+))?-(?P<chunk>\d+)(?P<carried>c?)\Z")


class Entry(NamedTuple):
    """One execution of a loop: its number in the stream, the loop, its entry, and the context around it."""

    number: int
    loop: str
    entry: int
    parent: int


@dataclass
class Batch:
    """Consecutive events as columns; `seq` is that of the first one that counts.

    `kinds` tells what each event is (see ENTER...), `contexts` where it happened. `values` holds the floats (0.0 for
    anything else), `others` the values of other types by position. `items` has one item per Enter that has one, by
    position, unless `items_are_indices`. `lines` has (stream, logger, level, text) for each LINE in order.
    """

    seq: int
    contexts: array[int]
    kinds: array[int]
    values: array[float]
    times: array[float]
    names: list[str]
    entries: list[Entry]
    items: dict[int, object] = field(default_factory=dict)
    items_are_indices: bool = False
    others: dict[int, object] = field(default_factory=dict)
    lines: list[tuple[str, str | None, str | None, str]] = field(default_factory=list)


class Chunk(NamedTuple):
    """A chunk file of a store, as its name tells; a carried one holds what is left of those before `number`."""

    path: str
    run: str
    rank: int
    writer: str
    number: int
    is_data: bool = True


class Writer:
    """Appends batches to the chunks of one stream; a chunk that has grown is closed and the next one begun."""

    def __init__(self, store: str, run: str, rank: int, writer: str = "", *, chunk_bytes: int = CHUNK_BYTES) -> None:
        self._directory = os.path.join(store, "wal")
        self._opening = {"run": run, "rank": rank, "writer": writer}
        self._stem = f"{run}-{rank}" + (f".{writer}" if writer else "")
        self._limit = chunk_bytes
        self._number = -1
        self._size = 0
        self._descriptor = -1
        self._directory_synced = False

    @property
    def closed(self) -> int:
        """How many chunks of the stream are closed."""
        return max(0, self._number)

    def append(self, batch: Batch) -> None:
        """Hand a batch to the operating system in one write; raises OSError, and then nothing of it is in the file."""
        if self._descriptor < 0 or self._size >= self._limit:
            self._next_chunk()
        self._write(record(_BATCH, encode_batch(batch)))

    def sync(self) -> None:
        """Return when all that was appended is on disk."""
        if self._descriptor < 0:
            return
        layout.fsync(self._descriptor)
        if not self._directory_synced:
            layout.sync(self._directory)
            self._directory_synced = True

    def close(self) -> None:
        """Sync and let go of the file."""
        if self._descriptor >= 0:
            try:
                self.sync()
            finally:
                self.abandon()

    def abandon(self) -> None:
        """Let go of the file as it is: a forked child does this with its parent's."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)

    def _next_chunk(self) -> None:
        self.close()
        path = os.path.join(self._directory, f"{self._stem}-{self._number + 1}")
        self._descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o666)
        self._number += 1
        self._size = 0
        self._directory_synced = False
        opening = {**self._opening, "chunk": self._number, "byteorder": "little"}
        self._write(record(_OPENING, json.dumps(opening).encode()))

    def _write(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._descriptor, view) :]
        except OSError:
            os.ftruncate(self._descriptor, self._size)
            raise
        self._size += len(data)


def read(path: str) -> Iterator[Event]:
    """Every event of a chunk, in order."""
    for batch, _ in read_batches(path):
        yield from events(batch)


def read_batches(path: str, start: int = 0) -> Iterator[tuple[Batch, int]]:
    """Each batch of a chunk with the offset behind it, where a later call may `start`."""
    for kind, payload, end in records(path, start):
        if kind == _BATCH:
            try:
                yield decode_batch(payload), end
            except CorruptFile as exc:
                raise CorruptFile(f"{path}: {exc.message} (record ending at byte {end})") from exc


def list_chunks(store: str, run: str | None = None) -> list[Chunk]:
    """The chunks of a store (of one run), ordered by run, rank, writer and number, what was carried first."""
    found = []
    with os.scandir(os.path.join(store, "wal")) as entries:
        for entry in entries:
            match = _FILE.match(entry.name)
            # a link could lead anywhere, and a pipe would be waited for
            if match and run in (None, match["run"]) and entry.is_file(follow_symlinks=False):
                numbers = int(match["rank"]), match["writer"] or "", int(match["chunk"]), not match["carried"]
                found.append(Chunk(entry.path, match["run"], *numbers))
    return sorted(found, key=lambda chunk: chunk[1:])


def events(batch: Batch) -> Iterator[Event]:
    """The batch's events one by one, with their paths and their place in the run's order."""
    paths = Paths(batch.entries)
    lines = iter(batch.lines)
    names, items, others = batch.names, batch.items, batch.others
    seq = batch.seq - 1
    columns = zip(batch.contexts, batch.kinds, batch.values, batch.times, strict=True)
    for position, (context, kind, value, ts) in enumerate(columns):
        path = paths[context]
        if kind == LINE:
            yield Line(path, *next(lines), seq, ts)
            continue
        seq += 1
        if kind >= FIRST_NAME:
            logged = others.get(position, value)
            yield Logged(path, names[kind - FIRST_NAME], logged, seq, 0, ts)
        elif kind == ENTER:
            item = path[-1].index if batch.items_are_indices else items.get(position)
            yield Enter(path, item, seq, ts)


def encode_batch(batch: Batch) -> bytes:
    """The payload of a batch's record."""
    columns = [_pack(batch.contexts), _pack(batch.kinds), _pack(batch.values), _pack(batch.times)]
    header = {
        "seq": batch.seq,
        "count": len(batch.contexts),
        "columns": [(data.typecode, len(data), period) for data, period in columns],
        "names": batch.names,
        "entries": batch.entries,
    }
    if batch.items_are_indices:
        header["indices"] = True
    for key, table in (("items", batch.items), ("others", batch.others)):
        if table:
            header[key] = [list(table), plain.encode(list(table.values()))]
    if batch.lines:
        header["lines"] = batch.lines
    text = json.dumps(header, separators=(",", ":"), check_circular=False).encode()
    return b"".join([struct.pack("<I", len(text)), text, *(_little_endian(data) for data, _ in columns)])


def decode_batch(payload: bytes) -> Batch:
    """The inverse of `encode_batch`; CorruptFile where the payload contradicts itself."""
    try:
        (length,) = struct.unpack_from("<I", payload)
        header = json.loads(payload[4 : 4 + length])
        contexts, kinds, values, times = _unpack(memoryview(payload)[4 + length :], header["columns"], header["count"])
        batch = Batch(
            seq=header["seq"],
            contexts=contexts,
            kinds=kinds,
            values=values,
            times=times,
            names=header["names"],
            entries=[Entry(*entry) for entry in header["entries"]],
            items=_table(header.get("items")),
            items_are_indices=header.get("indices", False),
            others=_table(header.get("others")),
            lines=[(stream, logger, level, text) for stream, logger, level, text in header.get("lines", ())],
        )
        _check(batch)
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, struct.error, RecursionError) as exc:
        raise CorruptFile(f"a record that is no batch: {type(exc).__name__}: {exc}") from exc
    return batch


class Paths(dict[int, Path]):
    """Paths by context, worked out once per batch."""

    def __init__(self, entries: list[Entry]) -> None:
        super().__init__({0: ()})
        self._entries = {entry.number: entry for entry in entries}

    def __missing__(self, context: int) -> Path:
        inner: list[tuple[int, Entry]] = []
        around = context
        while around not in self:
            inner.append((around, self._entries[around >> INDEX_BITS]))
            around = inner[-1][1].parent
        path = self[around]
        for here, (_, loop, entry, _) in reversed(inner):
            path = self[here] = (*path, Step(loop, entry, here & ((1 << INDEX_BITS) - 1)))
        return path


def paths_touched(batch: Batch) -> set[Path]:
    """Contexts in which something happens; of an iteration that begins here, the one in which it does."""
    entered = {context for kind, context in zip(batch.kinds, batch.contexts, strict=True) if kind == ENTER}
    parents = {entry.number: entry.parent for entry in batch.entries}
    touched = set(batch.contexts) - entered | {parents[context >> INDEX_BITS] for context in entered}
    paths = Paths(batch.entries)
    return {paths[context] for context in touched}


def record(kind: int, payload: bytes) -> bytes:
    """A record with its header and checksums."""
    head = _HEADER.pack(_MAGIC, kind, len(payload), zlib.crc32(payload), 0)[:-4]
    return b"".join([head, struct.pack("<I", zlib.crc32(head)), payload])


def records(path: str, start: int = 0) -> Iterator[tuple[int, bytes, int]]:
    """Kind and payload of each record, and the offset behind it; CorruptFile at a bad one before the tail."""
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        file.seek(start)
        while start + _HEADER.size <= size:
            head = file.read(_HEADER.size)
            magic, kind, length, crc, head_crc = _HEADER.unpack(head)
            if magic != _MAGIC or zlib.crc32(head[:-4]) != head_crc:
                if not head.strip(b"\0") and not file.read().strip(b"\0"):
                    return
                raise CorruptFile(f"{path}: no record at byte {start}", hint="logql doctor --repair")
            end = start + _HEADER.size + length
            if end > size:
                return
            payload = file.read(length)
            if zlib.crc32(payload) != crc:
                if end == size and payload.endswith(b"\0" * 16):
                    return
                raise CorruptFile(f"{path}: a damaged record at byte {start}", hint="logql doctor --repair")
            yield kind, payload, end
            start = end


def _pack(column: array[Any]) -> tuple[array[Any], int]:
    """The column, or its short prefix that repeats (a hot loop's) and how long that is; 0 if none was found."""
    count = len(column)
    if count < 2:
        return column, 0
    bits = array("q", column.tobytes()) if column.typecode == "d" else column
    try:
        period = bits[1:65].index(bits[0]) + 1
    except ValueError:
        return column, 0
    if bits[period:] == bits[:-period]:
        return column[:period], period
    return column, 0


def _unpack(data: memoryview, columns: list[tuple[str, int, int]], count: int) -> list[Any]:
    if not 0 <= count <= MAX_EVENTS:
        raise ValueError("too many events")
    out = []
    for (code, length, period), allowed in zip(columns, ("q", "BHI", "d", "d"), strict=True):
        if code not in allowed or length != (period or count) or (period and period > count) or length < 0:
            raise ValueError("columns of unequal length")
        column = array(code)
        size = length * column.itemsize
        if len(data) < size:
            raise ValueError("too short")
        column.frombytes(data[:size])
        if sys.byteorder == "big":
            column.byteswap()
        if period:
            column = (column * (count // period + 1))[:count]
        data = data[size:]
        out.append(column)
    if len(data):
        raise ValueError("too long")
    return out


def _check(batch: Batch) -> None:
    numbers = {entry.number for entry in batch.entries}
    for number, loop, entry, parent in batch.entries:
        if type(loop) is not str or type(entry) is not int or not 0 <= entry < 1 << 31:
            raise ValueError("an entry of a loop that cannot be")
        if not 0 <= parent >> INDEX_BITS < number or (parent and parent >> INDEX_BITS not in numbers):
            raise ValueError("an entry whose outer one is missing")
    if type(batch.seq) is not int or not 0 <= batch.seq < 1 << 62:
        raise ValueError("events that have no numbers")
    if type(batch.names) is not list or not all(type(name) is str for name in batch.names):
        raise TypeError("names that are no text")
    if batch.kinds and max(batch.kinds) >= FIRST_NAME + len(batch.names):
        raise ValueError("a name that is missing")
    if batch.kinds.count(LINE) != len(batch.lines):
        raise ValueError("lines that are missing")
    contexts = set(batch.contexts)
    if not {context >> INDEX_BITS for context in contexts - {0}} <= numbers:
        raise ValueError("a context that is missing")
    if 0 in contexts and (ENTER, 0) in zip(batch.kinds, batch.contexts, strict=True):
        raise ValueError("an iteration outside of loops")
    if batch.times and not (math.isfinite(sum(batch.times)) and max(map(abs, batch.times)) < _LATEST):
        raise ValueError("times that cannot be")


def _table(pair: Any) -> dict[int, object]:
    if pair is None:
        return {}
    positions, values = pair
    if not all(type(position) is int for position in positions):
        raise ValueError("positions that are no integers")
    return dict(zip(positions, [plain.decode(value) for value in values], strict=True))


def _little_endian(column: array[Any]) -> bytes:
    if sys.byteorder == "big":
        column = column[:]
        column.byteswap()
    return column.tobytes()
