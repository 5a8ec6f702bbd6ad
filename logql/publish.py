"""`logql publish DIR`: a consistent snapshot of every relation as Parquet, with hindsight values joined in.

DIR gets one folder per relation and a manifest. It is written beside DIR and takes its place in one step, so a reader
of the files sees the old snapshot or the new one, whole.
"""

from __future__ import annotations

import ctypes
import json
import os
import shutil
import sys
import uuid
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from logql import dbapi
from logql.catalog.relations import FIXED_NAMES
from logql.errors import OperationalError
from logql.session import Session
from logql.sql.binder import bind_query
from logql.store.layout import level_directory
from logql.world import StoreWorld

MANIFEST = "_logql.json"
_AT_CWD = -100
_EXCHANGE = 2


@dataclass(frozen=True)
class Published:
    """What a snapshot holds: rows by relation, and whether it was written or stood there already."""

    rows: dict[str, int]
    written: bool


def publish(store: str | None, directory: str) -> int:
    """Publish a store's history to `directory` and tell how many rows each relation has; the command's exit code."""
    with dbapi.connect(store, replay="off") as connection:
        found = write_snapshot(connection.session, directory)
    for relation, rows in found.rows.items():
        print(f"{relation}\t{rows}")
    if not found.written:
        print(f"{directory} is up to date", file=sys.stderr)
    return 0


def write_snapshot(session: Session, directory: str) -> Published:
    """Write all relations over one snapshot. Raises OperationalError where `directory` holds anything else."""
    target = os.path.realpath(directory)
    _check_target(target, session.store)
    world = session.world()
    mark = _mark(session)
    known = _manifest(target)
    if known is not None and mark is not None and known.get("snapshot") == mark:
        return Published({str(name): int(rows) for name, rows in known["rows"].items()}, written=False)
    os.makedirs(os.path.dirname(target), exist_ok=True)
    beside = os.path.join(os.path.dirname(target), f".{os.path.basename(target)}-{uuid.uuid4().hex}")
    os.mkdir(beside)
    try:
        rows = {name: _write(session, world, name, beside) for name in _relations(world)}
        _write_manifest(beside, {"format": 1, "snapshot": mark, "rows": rows})
        _take_place(beside, target)
    finally:
        shutil.rmtree(beside, ignore_errors=True)
    return Published(rows, written=True)


def _relations(world: StoreWorld) -> list[str]:
    return sorted(FIXED_NAMES | set(world.schema.loops))


def _write(session: Session, world: StoreWorld, relation: str, directory: str) -> int:
    """One relation as a file in a folder of its own; the number of its rows."""
    folder = os.path.join(directory, relation if relation in FIXED_NAMES else level_directory((relation,)))
    os.makedirs(folder)
    path = os.path.join(folder, "part-0.parquet")
    columns = ", ".join(["*", *map(_quoted, _filled_names(session, world, relation))])
    source = f"SELECT {columns} FROM history.{_quoted(relation)}"
    text = path.replace("'", "''")
    answer = session.engine.run(bind_query(f"COPY ({source}) TO '{text}' (FORMAT parquet, COMPRESSION zstd)", world))
    _sync(path)
    return answer.count


def _filled_names(session: Session, world: StoreWorld, relation: str) -> list[str]:
    """Names that no run recorded and replays filled, of the levels that a relation shows."""
    hindsight = session.history.snapshot.hindsight
    filled = {name for pieces in hindsight.values() for piece in pieces for name in piece.schema}
    names = sorted(filled & set(world.virtual_names()))
    if relation == "logs":
        return names
    levels: dict[str, set[tuple[str, ...]]] = {}
    for fill in session.history.snapshot.fills:
        for name, found in fill.levels.items():
            levels.setdefault(name, set()).update(tuple(level) for level in found)
    if relation == "runs":
        return [name for name in names if () in levels.get(name, ())]
    shown = {level[:depth] for level in world.schema.levels if level[-1:] == (relation,) for depth in range(99)}
    return [name for name in names if levels.get(name, set()) & shown]


def _mark(session: Session) -> str | None:
    """What tells this snapshot from others; None while a run is live, whose rows grow without the catalog's knowing."""
    snapshot = session.history.snapshot
    if any(run.status == "running" for run in snapshot.runs):
        return None
    return f"{session.store}:{snapshot.counter}"


def _check_target(target: str, store: str) -> None:
    if os.path.commonpath([target, os.path.realpath(store)]) == os.path.realpath(store):
        raise OperationalError(f"{target} lies in the store itself", hint="publish to a directory outside")
    if os.path.exists(target) and not os.path.isdir(target):
        raise OperationalError(f"{target} is not a directory")
    if os.path.isdir(target) and os.listdir(target) and _manifest(target) is None:
        raise OperationalError(f"{target} holds files that logql did not publish", hint="name a new directory")


def _manifest(directory: str) -> dict[str, Any] | None:
    try:
        with open(os.path.join(directory, MANIFEST), encoding="utf-8") as file:
            found = json.load(file)
        return found if isinstance(found, dict) and isinstance(found.get("rows"), dict) else None
    except (OSError, ValueError):
        return None


def _write_manifest(directory: str, content: dict[str, object]) -> None:
    path = os.path.join(directory, MANIFEST)
    with open(path, "w", encoding="utf-8") as file:
        json.dump(content, file, indent=1)
    for each in [path, *_folders(directory)]:
        _sync(each)


def _folders(directory: str) -> Iterator[str]:
    for path, _, _ in os.walk(directory):
        yield path


def _sync(path: str) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _take_place(new: str, target: str) -> None:
    """Put `new` where `target` is, in one step where the system can exchange two directories; what was there goes."""
    if not os.path.isdir(target) or not os.listdir(target):
        with suppress(FileNotFoundError):
            os.rmdir(target)
        os.rename(new, target)
    elif not _exchange(new, target):
        old = f"{new}-old"
        os.rename(target, old)
        os.rename(new, target)
        shutil.rmtree(old, ignore_errors=True)
    _sync(os.path.dirname(target))


def _exchange(one: str, other: str) -> bool:
    """Exchange two directories in one step (Linux's renameat2); whether that worked."""
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    if rename is None:
        return False
    done: int = rename(_AT_CWD, os.fsencode(one), _AT_CWD, os.fsencode(other), _EXCHANGE)
    return done == 0


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'
