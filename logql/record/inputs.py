"""Keeps the files that a run reads and that a training overwrites: a resumed one may overwrite what it began from.

Only files of the project that changed while a run of this store was in its main loops (checkpoints, weights,
histories), and others at the moment when the run that read them overwrites them. Data sets are older, or were prepared
before training, and are never copied. The training thread only opens the file; the bytes are copied on another, but
before the run itself overwrites it, and do not count where the file changed meanwhile.
"""

from __future__ import annotations

import os
import stat
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import astuple, dataclass, field

from logql.errors import Error
from logql.model import Input
from logql.record import guard, opens
from logql.record.background import Background
from logql.record.clock import process_age
from logql.settings import Location
from logql.store.blobs import Blobs
from logql.store.catalog import Catalog
from logql.store.trainings import TICK, find_trainings

#: Bounds of what is kept: bytes of one file, bytes and files of a run.
MAX_FILE = 256 << 20
MAX_BYTES = 1 << 30
MAX_FILES = 1000
#: Files read that are looked at again when they are overwritten, and at the end; and those of which is only noted that
#: they are not kept, beyond the bounds.
MAX_WATCHED = 2000
#: Files that may wait to be copied; a training that opens more at once waits.
_QUEUE = 32

Signature = tuple[int, int, int]
#: The content of a file, or why it is not to be had.
Content = tuple[bytes | None, str | None]


@dataclass(frozen=True)
class Read:
    """A file that was opened, as it was then: at which event, and how often since that event."""

    path: str
    seq: int
    earlier: int
    signature: Signature


@dataclass
class Copy:
    """A file that waits to be copied: whoever comes first reads it, the thread that copies or who overwrites it."""

    read: Read
    descriptor: int
    seen_at: float
    content: Content | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)


class Inputs:
    """Notes what one run reads of what trainings wrote, from `start` to `close`."""

    def __init__(self, location: Location, catalog: Catalog, run: str, next_seq: Callable[[], int]) -> None:
        self._project = os.path.join(os.path.realpath(location.project), "")
        self._others = tuple(os.path.join(os.path.realpath(one), "") for one in (location.store, sys.prefix))
        self._blobs = Blobs(location.store)
        self._catalog = catalog
        self._run = run
        self._next_seq = next_seq
        self._background = Background("logql-inputs", _QUEUE)
        self._since = catalog.began_at() or time.time()
        #: beginning and end of the main loops of other runs, once they are known
        self._trainings: list[tuple[float, float]] | None = None
        self._own_since: float | None = None
        self._process_since = time.time() - (process_age() or 0.0)
        self._seen: dict[str, Signature] = {}
        #: files that no training wrote, as they were when they were read
        self._watched: dict[str, Read] = {}
        #: the event at which each was opened last, and how often
        self._opens: dict[str, tuple[int, int]] = {}
        #: files of trainings that wait to be copied
        self._waiting: dict[str, Copy] = {}
        #: those beyond the bounds
        self._unkept: set[str] = set()
        self._kept: list[Input] = []
        self._bytes = 0
        self._count = 0

    def start(self) -> None:
        """Look at what was opened so far, and at what is from now on."""
        opens.watch()
        opens.send_to(self._opened)

    def training_begins(self) -> None:
        """The first main loop begins: what is written from now on is a training's."""
        if self._own_since is None:
            self._own_since = time.time()

    def describe(self) -> dict[str, object]:
        """What the run's environment is to say of it."""
        found: dict[str, object] = {}
        if self._own_since is not None:
            found["training_since"] = self._own_since
            found["process_since"] = self._process_since
        if self._kept:
            found["inputs"] = [list(astuple(one)) for one in sorted(self._kept, key=_in_order)]
        return found

    def close(self) -> None:
        """Return when all is copied."""
        opens.send_to(None)
        self._background.close()
        for read in self._watched.values():
            if self._was_overwritten(read):
                self._add(read, None, "it was overwritten by code that logql does not see")

    def _opened(self, name: str, seen_at: float, writes: bool) -> None:
        try:
            if writes:
                self._save_overwritten(os.path.realpath(name))
            else:
                self._consider(name, seen_at)
        except OSError:
            return
        except Exception as exc:
            guard.warn("inputs", f"files that this run reads are not kept: {type(exc).__name__}: {exc}")

    def _consider(self, name: str, seen_at: float) -> None:
        """Have a file copied if it may be a training's and is not what it was when last seen; watch others."""
        status = os.stat(name)
        changed_at, signature = status.st_mtime, _signature(status)
        if not stat.S_ISREG(status.st_mode) or (changed_at < self._since and len(self._watched) >= MAX_WATCHED):
            return
        path = os.path.realpath(name)
        ours = path.startswith(self._project) and not path.startswith(self._others)
        if not ours or path in self._unkept:
            return
        read = self._count_open(path, signature)
        if self._seen.get(path) == signature:
            return
        if seen_at - changed_at > TICK:  # else it may change again and have the same time
            self._seen[path] = signature
        if changed_at < self._since or (self._trainings is not None and not self._is_of_a_training(changed_at)):
            self._watch(read)
        elif self._count < MAX_FILES:
            self._count += 1
            copy = self._waiting[path] = Copy(read, _open(path), seen_at)
            self._background.put(lambda: self._keep(copy))
        elif len(self._unkept) < MAX_WATCHED:
            self._unkept.add(path)
            self._add(read, None, f"more than {MAX_FILES} files to keep in one run")

    def _count_open(self, path: str, signature: Signature) -> Read:
        seq = self._next_seq()
        last, count = self._opens.get(path, (seq, 0))
        earlier = count if last == seq else 0
        self._opens[path] = seq, earlier + 1
        return Read(path, seq, earlier, signature)

    def _watch(self, read: Read) -> None:
        if len(self._watched) < MAX_WATCHED:
            self._watched.setdefault(read.path, read)

    def _save_overwritten(self, path: str) -> None:
        """Copy a file that the run has read before it overwrites it: now, as this is the last moment."""
        waiting = self._waiting.pop(path, None)
        if waiting is not None:
            self._read_now(waiting)
        read = self._watched.get(path)
        if read is None or _signature(os.stat(path)) != read.signature:
            return
        del self._watched[path]
        copy = Copy(read, _open(path), time.time())
        self._read_now(copy)
        self._background.put(lambda: self._keep(copy))

    def _was_overwritten(self, read: Read) -> bool:
        try:
            now = _signature(os.stat(read.path))
        except OSError:
            return False
        return now != read.signature and self._own_since is not None and now[0] / 1e9 >= self._own_since - TICK

    def _keep(self, copy: Copy) -> None:
        """Store what is to be kept; on the thread for that."""
        try:
            if copy.content is not None or self._is_of_a_training(copy.read.signature[0] / 1e9):
                self._store_content(copy.read, *self._read_now(copy))
            else:
                self._count -= 1
                self._watch(copy.read)
        finally:
            os.close(copy.descriptor)
            if self._waiting.get(copy.read.path) is copy:
                del self._waiting[copy.read.path]

    def _read_now(self, copy: Copy) -> Content:
        with copy.lock:
            if copy.content is None:
                copy.content = self._read(copy.descriptor, copy.seen_at, copy.read.signature)
            return copy.content

    def _store_content(self, read: Read, data: bytes | None, reason: str | None) -> None:
        try:
            self._add(read, None if data is None else self._blobs.put(data), reason)
        except (OSError, Error) as exc:
            guard.warn("inputs", f"{read.path}, which this run reads, is not kept: {exc}")
            self._add(read, None, f"it could not be stored: {exc}")

    def _add(self, read: Read, digest: str | None, reason: str | None) -> None:
        changed_ns, size, _ = read.signature
        path = read.path[len(self._project) :]
        self._kept.append(Input(path, read.seq, size, changed_ns, digest, reason, read.earlier))

    def _read(self, descriptor: int, seen_at: float, signature: Signature) -> Content:
        """The content as it was when it was opened, or why it is not to be had."""
        size = signature[1]
        if size > MAX_FILE or self._bytes + size > MAX_BYTES:
            return None, f"larger than {MAX_FILE >> 20} MB" if size > MAX_FILE else "too much to keep in one run"
        data = _read_bytes(descriptor, size)
        unchanged = len(data) == size and _signature(os.fstat(descriptor)) == signature
        if not unchanged or signature[0] / 1e9 > seen_at + TICK:
            return None, "it changed before it could be copied"
        self._bytes += size
        return data, None

    def _is_of_a_training(self, changed_at: float) -> bool:
        """Whether a run was in its main loops then; called on the background thread where that is not known yet."""
        if self._trainings is None:
            self._trainings = self._find_trainings()
        if self._own_since is not None and changed_at >= self._own_since - TICK:
            return True
        return any(begin <= changed_at <= end for begin, end in self._trainings)

    def _find_trainings(self) -> list[tuple[float, float]]:
        found = find_trainings(self._catalog.runs())
        found.pop(self._run, None)
        return sorted(found.values(), reverse=True)


def _in_order(read: Input) -> tuple[int, int]:
    return read.seq, read.earlier


def _open(path: str) -> int:
    with opens.Hidden():
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def _signature(status: os.stat_result) -> Signature:
    return status.st_mtime_ns, status.st_size, status.st_ino


def _read_bytes(descriptor: int, size: int) -> bytes:
    """At most `size` bytes; fewer where the file has become shorter."""
    data = bytearray()
    while len(data) < size and (part := os.pread(descriptor, min(size - len(data), 16 << 20), len(data))):
        data += part
    return bytes(data)
