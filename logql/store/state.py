"""What a process knows of a catalog, brought up to date by the rows that changed since it last asked."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from logql.garbage import collections_paused
from logql.model import Checkpoint, Fill, MainLoop, Run, Shape, Version
from logql.store import layout, rows, shapes

if TYPE_CHECKING:
    import pyarrow as pa


_T = TypeVar("_T")


@dataclass(frozen=True, eq=False)
class Piece:
    """Rows of one level: a Parquet file (absolute `path`) or an Arrow `table` of live rows.

    `schema` maps columns to DuckDB's names of types; `versions` bounds the ordinals of its versions, `epochs` the
    indices of its main loop.
    """

    level: str
    path: str | None
    table: pa.Table | None
    schema: Mapping[str, str]
    rows: int
    versions: tuple[int, int]
    epochs: tuple[int, int] = (0, 0)
    bytes: int = 0
    checksum: str = ""


class State:
    """Rows of a catalog by their keys; `update` reads what changed, in one transaction of the caller's."""

    def __init__(self, store: str) -> None:
        self.store = store
        self.texts = rows.Texts()
        self.rev = 0
        self.seals = 0
        self._removals = -1
        self._file_removals = -1
        self._shapes: dict[int, Shape] = {}
        self._schemas: dict[int, Mapping[str, str]] = {}
        self._forget()

    def _forget(self) -> None:
        self.rev = 0
        self.versions: dict[str, Version] = {}
        self.runs: dict[int, Run] = {}
        self.shapes: dict[str, Shape] = {}
        self.unsealed: dict[str, Run] = {}
        self._later: dict[str, tuple[int, dict[tuple[Any, ...], Any]]] = {}
        self.fills: dict[str, Fill] = {}
        self.files: dict[int, tuple[str, Piece]] = {}

    def update(self, db: sqlite3.Connection) -> None:
        """Take in every change since the last call."""
        query = "SELECT changes, seals, removals, file_removals FROM counters"
        rev, self.seals, removals, file_removals = db.execute(query).fetchone()
        if removals != self._removals:
            self._forget()
        since_file = self.rev
        if file_removals != self._file_removals:
            self.files, since_file = {}, 0
        if rev != self.rev or not since_file:
            with collections_paused(lasting=True):
                self._load(db, self.rev, since_file)
        self.rev, self._removals, self._file_removals = rev, removals, file_removals

    def _load(self, db: sqlite3.Connection, since: int, since_file: int) -> None:
        self.texts.learn(db.execute("SELECT id, text FROM texts WHERE id > ?", (self.texts.known(),)))
        for row in _changed(db, rows.VERSION_COLUMNS, "versions", since, "ordinal"):
            self.versions[row[0]] = rows.version_from(row, self.texts)
        found = _changed(db, f"{rows.RUN_COLUMNS}, shape, unsealed", "runs", since, "key")
        for run, row in zip(rows.runs_from(found, self.texts), found, strict=True):
            self._take_run(run, *row[-2:])
        for row in _changed(db, rows.FILL_COLUMNS, "fills", since, "started_at, id"):
            self.fills[row[0]] = rows.fill_from(row)
        for row in _changed(db, _FILE_COLUMNS, "files", since_file, "first_version, first_epoch, id"):
            self._take_file(row)

    def _take_run(self, run: Run, shape: int | None, unsealed: int) -> None:
        self.runs[run.key] = run
        if unsealed == 1:
            self.unsealed[run.id] = run
        else:
            self.unsealed.pop(run.id, None)
        if shape is None:
            self.shapes.setdefault(run.id, shapes.EMPTY)
            return
        if shape not in self._shapes:
            self._shapes[shape] = rows.shape_from_json(self.texts.text(shape))
        self.shapes[run.id] = self._shapes[shape]

    def _take_file(self, row: rows.Row) -> None:
        id_, path, kind, level, count, size, columns, checksum, *bounds = row
        first_version, last_version, first_epoch, last_epoch = bounds
        if columns not in self._schemas:
            self._schemas[columns] = rows.columns_of(self.texts.decoded[self.texts.text(columns)])
        piece = Piece(
            level,
            layout.inside(self.store, path),
            None,
            self._schemas[columns],
            count,
            (first_version, last_version),
            (first_epoch, last_epoch),
            size,
            checksum,
        )
        self.files[id_] = (kind, piece)

    def checkpoints(self, db: sqlite3.Connection) -> tuple[Checkpoint, ...]:
        """All checkpoints; there may be a hundred times as many as runs."""
        return self._read_later(db, "checkpoints", rows.CHECKPOINT_COLUMNS, "run, rank, seq", 5, rows.checkpoint_from)

    def main_loops(self, db: sqlite3.Connection) -> tuple[MainLoop, ...]:
        """All main loops."""
        return self._read_later(db, "main_loops", rows.LOOP_COLUMNS, "run, ordinal", 3, rows.loop_from)

    def _read_later(
        self, db: sqlite3.Connection, table: str, columns: str, order: str, keys: int, make: Callable[[rows.Row], _T]
    ) -> tuple[_T, ...]:
        """Rows of a table that only a replay needs: they are read when they are first asked for."""
        (rev,) = db.execute("SELECT changes FROM counters").fetchone()
        since, found = self._later.get(table, (0, {}))
        with collections_paused(lasting=True):
            for row in _changed(db, columns, table, since, order):
                found[row[:keys]] = make(row)
        self._later[table] = rev, found
        return tuple(found.values())

    def pieces(self, kind: str) -> dict[str, list[Piece]]:
        """Live files of one kind (`log` or `fill`) by level."""
        found: dict[str, list[Piece]] = {}
        for own, piece in self.files.values():
            if own == kind:
                found.setdefault(piece.level, []).append(piece)
        return found


_FILE_COLUMNS = (
    "id, path, kind, level, rows, bytes, columns, checksum, first_version, last_version, first_epoch, last_epoch"
)


def _changed(db: sqlite3.Connection, columns: str, table: str, since: int, order: str) -> list[rows.Row]:
    return db.execute(f"SELECT {columns} FROM {table} WHERE rev > ? ORDER BY {order}", (since,)).fetchall()
