"""What a reader sees: the catalog, the live files and the rows of live runs, all of one instant.

A process keeps what it read of a store and asks only for what changed since; a live run's chunks are read on from
where they were left.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TypeVar, overload

from logql.errors import StoreError
from logql.model import Checkpoint, Fill, MainLoop, Run, Shape, Version
from logql.store import layout, leases, liveness, rename, seal, streams
from logql.store.catalog import Catalog
from logql.store.live import Live, LiveRuns
from logql.store.losses import has_losses
from logql.store.state import Piece, State

__all__ = ["Piece", "Snapshot", "forget", "read_snapshot"]

_T = TypeVar("_T")

_ATTEMPTS = 50
#: Seconds after which a reader seals no further run that has ended: it reads their streams instead.
SEALING_S = 0.05
#: Seconds for which a run that ended is left to the process that its recorder started to seal it.
OWN_SEALER_S = 60.0


@dataclass(frozen=True, eq=False)
class Snapshot:
    """One instant of a store. While it is referenced, the files that it names are not removed.

    `levels` and `hindsight` are keyed by `layout.level_directory(level)`: `run`, `epoch.step`, `output`. `notices` say
    what could not be read.
    """

    counter: int
    versions: tuple[Version, ...]
    runs: tuple[Run, ...]
    main_loops: Sequence[MainLoop]
    checkpoints: Sequence[Checkpoint]
    fills: tuple[Fill, ...]
    levels: Mapping[str, tuple[Piece, ...]]
    hindsight: Mapping[str, tuple[Piece, ...]]
    shapes: Mapping[str, Shape]
    notices: tuple[str, ...] = ()

    @cached_property
    def incomplete(self) -> frozenset[str]:
        """The runs of which values could not be recorded."""
        return frozenset(run.id for run in self.runs if has_losses(run))


class _Lazy(Sequence[_T]):
    """A sequence that is read when it is first used."""

    def __init__(self, load: Callable[[], tuple[_T, ...]]) -> None:
        self._load = load

    @cached_property
    def _items(self) -> tuple[_T, ...]:
        return self._load()

    def __len__(self) -> int:
        return len(self._items)

    def __iter__(self) -> Iterator[_T]:
        return iter(self._items)

    @overload
    def __getitem__(self, index: int) -> _T: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[_T]: ...
    def __getitem__(self, index: int | slice) -> _T | Sequence[_T]:
        return self._items[index]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Sequence) and self._items == tuple(other)

    __hash__ = None  # type: ignore[assignment]


def read_snapshot(store: str, *, read_only: bool = False) -> Snapshot:
    """The present state of `store`; the same object as before if nothing changed since.

    First seals runs that ended or died, for a moment, unless `read_only` (a dead run shows as `killed` all the same).
    Raises StoreError, CorruptFile.
    """
    store = os.path.abspath(store)
    with _lock:
        reader = _readers.get((store, read_only))
        if reader is not None and reader.identity != _identity(store):
            reader.catalog.close()
            reader = None
        if reader is None:
            reader = _readers[store, read_only] = _Reader(store, read_only)
    return reader.read()


def forget(store: str | None = None) -> None:
    """Close what this process keeps open of `store`, or of all stores."""
    with _lock:
        for key in [key for key in _readers if store is None or key[0] == os.path.abspath(store)]:
            _readers.pop(key).catalog.close()


class _Reader:
    """What this process knows of one store."""

    def __init__(self, store: str, read_only: bool) -> None:
        self.catalog = Catalog.open(store, read_only=read_only)
        self.identity = _identity(store)
        self._lock = threading.Lock()
        self._state = State(store)
        self._live = LiveRuns(self.catalog)
        self._latest: weakref.ref[Snapshot] | None = None
        self._dead: frozenset[int] = frozenset()
        self._seen: tuple[object, ...] = ()

    def read(self) -> Snapshot:
        """The present snapshot."""
        with self._lock:
            last = self._last()
            if last is not None and not self._state.unsealed and self.catalog.change_counter() == self._state.rev:
                return last
            self._settle()
            for _ in range(_ATTEMPTS):
                found = self._leased_attempt()
                if found is not None:
                    return found
        raise StoreError(f"{self.catalog.store} changes faster than it can be read", hint="try again")

    def _leased_attempt(self) -> Snapshot | None:
        """An attempt under a lease, which a new snapshot keeps for as long as it is referenced."""
        lease = None if self.catalog.connection.read_only else leases.take(self.catalog)
        last, found = self._last(), None
        try:
            found = self._attempt()
        finally:
            if lease is not None and (found is None or found is last):
                leases.release(lease)
        if found is not None and found is not last:
            self._latest = weakref.ref(found)
            if lease is not None:
                weakref.finalize(found, leases.release, lease)
        return found

    def _last(self) -> Snapshot | None:
        return self._latest() if self._latest is not None else None

    def _settle(self) -> None:
        if self.catalog.connection.read_only:
            return
        deadline = time.monotonic() + SEALING_S
        now = time.time()
        for run in self.catalog.unsealed_runs():
            if run.status != "running" and run.ended_at is not None and 0 <= now - run.ended_at < OWN_SEALER_S:
                continue
            if (run.status == "running" and not self._is_silent(run)) or not seal.is_over(self.catalog.store, run):
                continue
            # what stands in its way is told where its rows are read
            with contextlib.suppress(OSError, StoreError, ValueError, TypeError, ArithmeticError, LookupError):
                seal.seal_run(self.catalog.store, run.id, wait=0.0)
            if time.monotonic() >= deadline:
                break
        with contextlib.suppress(OSError):
            rename.settle_names(self.catalog)

    def _attempt(self) -> Snapshot | None:
        """A snapshot, or None if one of its live runs was sealed while their chunks were read."""
        with self.catalog.connection.read() as db:
            self._state.update(db)
            live = dict(self._state.unsealed)
            sealed = streams.all_positions(db)
        ordinals = {version.id: version.ordinal for version in self._state.versions.values()}
        try:
            found = self._live.read(live.values(), ordinals, sealed, self._state.shapes, self._state.rev)
        except FileNotFoundError:
            return None
        silent = set(self._silent_runs())
        # in this order: a recorder says how it ended before it falls silent
        with self.catalog.connection.read() as db:
            still = dict(db.execute("SELECT id, status FROM runs WHERE unsealed AND unsealed = 1"))
            now = streams.all_positions(db)
        if not live.keys() <= still.keys() or any(now.get(run) != sealed.get(run) for run in live):
            return None
        self._dead = frozenset(run.key for run in live.values() if run.id in silent and still[run.id] == "running")
        seen = (self._state.rev, self._live.generation, self._dead)
        last = self._last()
        if last is not None and seen == self._seen:
            return last
        self._seen = seen
        return self._assemble(found)

    def _assemble(self, live: Live) -> Snapshot:
        state = self._state
        recorded = state.pieces("log")
        for level, pieces in live.pieces().items():
            recorded.setdefault(level, []).extend(pieces)
        return Snapshot(
            counter=state.rev,
            versions=tuple(sorted(state.versions.values(), key=lambda version: version.ordinal)),
            runs=tuple(self._runs()),
            main_loops=_Lazy(lambda: self._read_later(state.main_loops)),
            checkpoints=_Lazy(lambda: self._read_later(state.checkpoints)),
            fills=tuple(state.fills.values()),
            levels={level: tuple(pieces) for level, pieces in recorded.items()},
            hindsight={level: tuple(pieces) for level, pieces in state.pieces("fill").items()},
            shapes={**state.shapes, **live.shapes},
            notices=tuple(live.notices),
        )

    def _read_later(self, ask: Callable[[sqlite3.Connection], tuple[_T, ...]]) -> tuple[_T, ...]:
        with self._lock, self.catalog.connection.read() as db:
            return ask(db)

    def _silent_runs(self) -> Iterator[str]:
        """Runs not sealed of which no process lives, or none but a child that still writes."""
        for run in self._state.unsealed.values():
            if run.status == "running" and self._is_silent(run):
                yield run.id

    def _is_silent(self, run: Run) -> bool:
        """Whether no process of a run lives but children of it; its main one tells without a look at the others."""
        alive = liveness.main_lives(self.catalog.store, run.id)
        return not alive if alive is not None else seal.is_over(self.catalog.store, run)

    def _runs(self) -> list[Run]:
        """All runs by their keys, in which order they came; one that is dead shows as killed before it is sealed."""
        runs = self._state.runs
        if self._dead:
            runs = runs | {key: replace(runs[key], status="killed") for key in self._dead}
        return list(runs.values())


def _identity(store: str) -> tuple[int, int] | None:
    try:
        found = os.stat(os.path.join(store, layout.CATALOG))
    except OSError:
        return None
    return found.st_dev, found.st_ino


_lock = threading.Lock()
_readers: dict[tuple[str, bool], _Reader] = {}
