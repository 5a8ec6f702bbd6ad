"""Processes of one run: forked and spawned children, and the ranks of one training."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from logql.model import Run
from logql.record import api
from logql.record.flusher import Flusher
from logql.record.names import NameRules
from logql.store import liveness
from logql.store.catalog import Catalog
from logql.store.wal import Writer, list_chunks

if TYPE_CHECKING:
    from logql.record.identity import Ranks
    from logql.record.open_run import OpenRun

#: Tells spawned children which run they belong to.
_VARIABLE = "LOGQL_PARENT_RUN"
#: In a replay, tells them where to leave the names of what they log.
_REPLAY = "LOGQL_PARENT_REPLAY"
#: A child's events are numbered from here on, times its process id.
CHILD_SEQ_BITS = 40


@dataclass(frozen=True)
class Parent:
    """The run that a child's events belong to."""

    store: str
    run: str
    rank: int

    @classmethod
    def of(cls, run: OpenRun | ChildRun) -> Parent:
        """What children of this process belong to."""
        return run.parent if isinstance(run, ChildRun) else cls(run.location.store, run.run.id, run.rank)


class ChildRun:
    """A stream of its own for what a child of a recorded process logs; the run's row is the parent's business."""

    def __init__(self, parent: Parent) -> None:
        self.parent = parent
        self._lock = liveness.hold_run(parent.store, parent.run)
        pid = os.getpid()
        writer = Writer(parent.store, parent.run, parent.rank, f"{pid}t{time.time_ns() // 1000}")
        run = Run(parent.run, "", "", (), "running", 0.0, "", "")
        self.flusher = Flusher(writer, NameRules(run, parent.rank, {}), pid << CHILD_SEQ_BITS, lambda: None)

    def start(self) -> None:
        """Begin to record; multiprocessing ends its children without `atexit`."""
        api.send_events_to(api.events.extend)
        self.flusher.start()
        util = sys.modules.get("multiprocessing.util")
        if util is not None:
            util.Finalize(self, self.close, exitpriority=-100)

    def flush(self) -> None:
        """Return when everything logged so far is on disk."""
        self.flusher.sync()

    def close(self) -> None:
        """Write what is left."""
        api.send_events_to(api.discard)
        self.flusher.close()
        if self._lock is not None:
            self._lock.release()

    def abandon(self) -> None:
        """Forget the stream in a forked child of this child."""
        self.flusher.abandon()


def find_parent() -> Parent | None:
    """The run of the parent, where this process was started by multiprocessing (spawn) from a recorded one."""
    told = _told(_VARIABLE)
    if told is None:
        return None
    run, rank, store = told.split(":", 2)
    return Parent(store, run, int(rank))


def find_replay() -> str | None:
    """The file in which a replay's worker wants names of values, where it started this process (spawn)."""
    return _told(_REPLAY)


def _told(variable: str) -> str | None:
    """What the parent left in the environment for the children that multiprocessing starts for it."""
    process = sys.modules.get("multiprocessing.process")
    parent = process.parent_process() if process is not None else None
    pid, _, told = os.environ.get(variable, "").partition(":")
    return told if parent is not None and pid == str(parent.pid) else None


def tell_spawned(path: str) -> None:
    """In a replay: have processes that multiprocessing spawns write the names that they log to a file."""
    os.environ[_REPLAY] = f"{os.getpid()}:{path}"


def note_name(path: str, event: tuple[Any, ...]) -> None:
    """Take the place of a recorder in such a process: of each value, only the name."""
    if isinstance(event[1], str):
        with open(path, "a", encoding="utf-8") as file:
            file.write(f"{event[1]}\n")


def tell_children(run: OpenRun | ChildRun) -> None:
    """Tell children that this process will spawn where they belong."""
    parent = Parent.of(run)
    os.environ[_VARIABLE] = f"{os.getpid()}:{parent.run}:{parent.rank}:{parent.store}"


def untell_children() -> None:
    """The run has ended: children that start now are no part of it."""
    os.environ.pop(_VARIABLE, None)


def join_group(catalog: Catalog, store: str, run: Run, ranks: Ranks) -> Run:
    """Enter `run` in the catalog; it is the one that the first process of this training opened, if that lives."""
    name = hashlib.sha256((ranks.group or "").encode()).hexdigest()[:16]
    path = os.path.join(store, "wal", f"group-{name}")
    with liveness.Lock.take(f"{path}.lock", wait=30.0) or nullcontext():
        found = _read_group(path)
        known = catalog.run(found) if found else None
        if known is not None and known.status == "running" and not _has_rank(store, known.id, ranks.rank):
            return known
        entered = catalog.add_run(run)
        with open(path, "w", encoding="ascii") as file:
            file.write(run.id)
    return entered


def _read_group(path: str) -> str | None:
    try:
        with open(path, encoding="ascii") as file:
            return file.read().strip()
    except OSError:
        return None


def _has_rank(store: str, run: str, rank: int) -> bool:
    return any(chunk.rank == rank for chunk in list_chunks(store, run))
