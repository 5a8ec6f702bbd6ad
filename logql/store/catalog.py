"""The catalog of a store: what ran, what is live, what was filled. Standard library alone, as the recorder uses it."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import replace

from logql.errors import CorruptFile, StoreError
from logql.model import Checkpoint, Fill, MainLoop, Run, Version
from logql.store import layout, liveness, names, rows
from logql.store.connection import BUSY_MS, Connection, Transaction, create

_RUN_CHANGES = frozenset(rows.RUN_COLUMNS.split(", ")) - {"id", "key", "version"}


class Catalog:
    """Typed access to `catalog.sqlite`; every write is one transaction, and busy writers wait."""

    def __init__(self, store: str, connection: Connection) -> None:
        self.store = store
        self.connection = connection
        self.texts = rows.Texts()

    @classmethod
    def open(
        cls, store: str, *, create: bool = False, read_only: bool = False, patience_s: float = BUSY_MS / 1000
    ) -> Catalog:
        """Open the catalog of `store`; `create` makes the store where there is none (an empty catalog hides files).

        Every use waits up to `patience_s` for other processes' transactions, then raises StoreError.

        Raises StoreError without a store or on a network file system, StoreTooNew, CorruptFile.
        """
        store = os.path.abspath(store)
        layout.refuse_network(store if os.path.exists(store) else os.path.dirname(store))
        path = os.path.join(store, layout.CATALOG)
        if _is_missing(path) and layout.holds_rows(store):
            raise CorruptFile(f"{path} is missing", hint="logql doctor --rebuild makes it anew from the store's files")
        if create and not read_only and _is_missing(path):
            _create(store)
        if _is_missing(path):
            raise _no_store(store)
        return cls(store, Connection(store, read_only, int(patience_s * 1000)))

    def close(self) -> None:
        """Close the connection."""
        self.connection.close()

    def sync(self) -> None:
        """Return when everything committed so far is on the disk."""
        self.connection.sync()

    def __enter__(self) -> Catalog:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def change_counter(self) -> int:
        """Grows with every committed change."""
        with self.connection.read() as db:
            (counter,) = db.execute("SELECT changes FROM counters").fetchone()
        return int(counter)

    # What a recorder writes

    def add_version(self, version: Version) -> Version:
        """Register `version` and assign its ordinal; the one already there wins."""
        with self.connection.write() as txn:
            found = self._versions(txn, "WHERE id = ?", (version.id,))
            if found:
                return found[0]
            (ordinal,) = txn.execute("SELECT coalesce(max(ordinal), 0) + 1 FROM versions").fetchone()
            version = replace(version, ordinal=ordinal)
            txn.upsert("versions", rows.version_row(version), ("id",))
        return version

    def add_run(self, run: Run) -> Run:
        """Register `run` and assign its key; of several processes of one run the first wins."""
        with self.connection.write() as txn:
            if txn.execute("SELECT 1 FROM runs WHERE id = ?", (run.id,)).fetchone() is None:
                row = {**rows.run_row(run), "environment": self.pack_environment(txn, run.environment)}
                txn.upsert("runs", row, ("id",))
                names.take(txn, map(names.arg_column, run.args))
            self._learn(txn)
            found = txn.execute(f"SELECT {rows.RUN_COLUMNS} FROM runs WHERE id = ?", (run.id,)).fetchone()
        return rows.run_from(found, self.texts)

    def update_run(self, run_id: str, **changes: object) -> None:
        """Change columns of a run: status, ended_at, error, args, ranks, name, tags, environment, ..."""
        unknown = set(changes) - _RUN_CHANGES
        if unknown:
            raise StoreError(f"a run has no column {', '.join(sorted(unknown))}")
        if not changes:
            return
        with self.connection.write() as txn:
            row = {name: rows.encode_run_value(name, value) for name, value in changes.items()}
            environment = changes.get("environment")
            if isinstance(environment, Mapping):
                row["environment"] = self.pack_environment(txn, environment)
            args = changes.get("args")
            if isinstance(args, Mapping):
                names.take(txn, map(names.arg_column, args))
            assignments = ", ".join(f"{name} = ?" for name in row)
            txn.execute(
                f"UPDATE runs SET {assignments}, rev = ? WHERE id = ?",
                (*row.values(), txn.rev, run_id),
            )

    def put_main_loop(self, loop: MainLoop) -> None:
        """Insert a main loop, or replace it by (run, loop, entry)."""
        with self.connection.write() as txn:
            txn.upsert("main_loops", rows.loop_row(loop), ("run", "loop", "entry"))

    def add_checkpoint(self, checkpoint: Checkpoint) -> None:
        """Insert a checkpoint; a replay's never replaces one of the training."""
        with self.connection.write() as txn:
            txn.upsert(
                "checkpoints",
                rows.checkpoint_row(checkpoint),
                ("run", "rank", "loop", "entry", "idx"),
                "WHERE excluded.by_ = 'training' OR checkpoints.by_ = 'replay'",
            )

    def remove_checkpoints(self, checkpoints: Iterable[Checkpoint]) -> None:
        """Forget checkpoints, durably: `store.gc` then removes blobs that nothing names."""
        with self.connection.write(durable=True) as txn:
            for one in checkpoints:
                row = rows.checkpoint_row(one)
                key = tuple(row[name] for name in ("run", "rank", "loop", "entry", "idx"))
                txn.execute(
                    "DELETE FROM checkpoints WHERE run = ? AND rank = ? AND loop = ? AND entry = ? AND idx = ?", key
                )
            txn.removed()

    # What readers ask

    def versions(self) -> list[Version]:
        """All versions in the order of their first runs."""
        with self.connection.read() as db:
            return self._versions(Transaction(db, 0), "ORDER BY ordinal")

    def ordinal(self, version: str) -> int:
        """The place of a version in the order of first runs; 0 where it is unknown."""
        with self.connection.read() as db:
            row = db.execute("SELECT ordinal FROM versions WHERE id = ?", (version,)).fetchone()
        return row[0] if row else 0

    def runs(self) -> list[Run]:
        """All runs in the order of their keys."""
        return self._runs("")

    def unsealed_runs(self) -> list[Run]:
        """Runs whose streams are not all in files, in the order of their keys."""
        return self._runs("WHERE unsealed")

    def run(self, run_id: str) -> Run | None:
        """The run with that id."""
        return next(iter(self._runs("WHERE id = ?", (run_id,))), None)

    def began_at(self) -> float | None:
        """When the first of all runs started."""
        with self.connection.read() as db:
            row = db.execute("SELECT started_at FROM runs ORDER BY key LIMIT 1").fetchone()
        return None if row is None else float(row[0])

    def main_loops(self, run: str | None = None) -> list[MainLoop]:
        """Main loops of one run or of all, in the order in which each run entered them."""
        return [rows.loop_from(row) for row in self._of_run("main_loops", rows.LOOP_COLUMNS, "run, ordinal", run)]

    def checkpoints(self, run: str | None = None) -> list[Checkpoint]:
        """Checkpoints of one run or of all, in the order of their events."""
        found = self._of_run("checkpoints", rows.CHECKPOINT_COLUMNS, "run, rank, seq", run)
        return [rows.checkpoint_from(row) for row in found]

    def fills(self) -> list[Fill]:
        """All fills in the order of their start."""
        return [rows.fill_from(row) for row in self._of_run("fills", rows.FILL_COLUMNS, "started_at, id", None)]

    def fills_since(self, counter: int, run: str) -> list[Fill]:
        """The fills of a run that were written after the catalog's change counter was at `counter`."""
        with self.connection.read() as db:
            where = "INDEXED BY fills_rev WHERE rev > ? AND run = ?"
            found = db.execute(f"SELECT {rows.FILL_COLUMNS} FROM fills {where}", (counter, run)).fetchall()
        return [rows.fill_from(row) for row in found]

    def running_fills(self) -> set[str]:
        """The ids of claims that were neither filled nor given back."""
        with self.connection.read() as db:
            return {id_ for (id_,) in db.execute("SELECT id FROM fills WHERE state = 'running'")}

    def _of_run(self, table: str, columns: str, order: str, run: str | None) -> list[rows.Row]:
        where, values = ("", ()) if run is None else ("WHERE run = ?", (run,))
        with self.connection.read() as db:
            return db.execute(f"SELECT {columns} FROM {table} {where} ORDER BY {order}", values).fetchall()

    # What a replay writes

    def put_fill(self, fill: Fill) -> None:
        """Insert a fill, or replace it by id."""
        with self.connection.write() as txn:
            txn.upsert("fills", rows.fill_row(fill), ("id",))

    def claim(self, fill: Fill, holder: str) -> list[Fill]:
        """Register a running fill of `holder` (see `liveness.hold_claims`); return live claims of others on its cells.

        Claims of holders that are gone become `cancelled` on the way.
        """
        with self.connection.write() as txn:
            found = txn.execute(
                f"SELECT process, {rows.FILL_COLUMNS} FROM fills WHERE state = 'running' AND run = ?", (fill.run,)
            ).fetchall()
            others = []
            for process, *row in found:
                other = rows.fill_from(tuple(row))
                if other.id == fill.id or not _overlap(fill, other):
                    continue
                if liveness.claims_live(self.store, process):
                    others.append(other)
                else:
                    dead = replace(other, state="cancelled", error="the replaying process died")
                    txn.upsert("fills", rows.fill_row(dead), ("id",))
            running = rows.fill_row(replace(fill, state="running"))
            txn.upsert("fills", {**running, "pid": os.getpid(), "process": holder}, ("id",))
        return others

    # What only the catalog knows

    def get(self, kind: str, key: str) -> object | None:
        """Value kept under (kind, key), or None."""
        with self.connection.read() as db:
            row = db.execute("SELECT value FROM kept WHERE kind = ? AND key = ?", (kind, key)).fetchone()
        value: object = None if row is None else json.loads(row[0])
        return value

    def put(self, kind: str, key: str, value: object) -> None:
        """Keep `value` (JSON) under (kind, key)."""
        self.put_all(kind, {key: value})

    def put_all(self, kind: str, values: Mapping[str, object]) -> None:
        """Keep many values of one kind in one transaction."""
        with self.connection.write() as txn:
            for key, value in values.items():
                txn.execute("INSERT OR REPLACE INTO kept VALUES (?, ?, ?)", (kind, key, json.dumps(value)))

    def items(self, kind: str) -> dict[str, object]:
        """Everything kept of one kind."""
        with self.connection.read() as db:
            found = db.execute("SELECT key, value FROM kept WHERE kind = ? ORDER BY key", (kind,)).fetchall()
        return {key: json.loads(value) for key, value in found}

    def remove(self, kind: str, key: str) -> None:
        """Forget what was kept under (kind, key)."""
        with self.connection.write() as txn:
            txn.execute("DELETE FROM kept WHERE kind = ? AND key = ?", (kind, key))

    def stored_names(self, new: Iterable[str] = ()) -> dict[str, str]:
        """Stored names of all names that were ever logged, and those that `new` ones would get."""
        with self.connection.read() as db:
            known = names.known(db)
            return known | names.guess(db, new)

    def resolve_names(self, logged: Iterable[str]) -> dict[str, str]:
        """Stored name of each logged name (see `store.names`); new ones are registered unless opened for reading."""
        logged = list(logged)
        with self.connection.read() as db:
            found = names.lookup(db, logged)
        if found.keys() >= set(logged):
            return found
        if self.connection.read_only:
            with self.connection.read() as db:
                return names.guess(db, logged)
        with self.connection.write() as txn:
            return names.register(txn, logged)

    def guess_names(self, logged: Iterable[str], columns: Iterable[str]) -> dict[str, str]:
        """What `resolve_names` would answer now if rows also had `columns` (see `names.take`)."""
        with self.connection.read() as db:
            return names.guess(db, logged, columns)

    @staticmethod
    def pack_environment(txn: Transaction, environment: Mapping[str, object]) -> str:
        """The text kept for an environment; its large values are kept once for all runs that share them."""
        own, shared = {}, {}
        for name, value in environment.items():
            text = rows.to_json(value)
            if len(text) < rows.SHARED_FROM:
                own[name] = value
                continue
            txn.execute("INSERT OR IGNORE INTO texts (text) VALUES (?)", (text,))
            (shared[name],) = txn.execute("SELECT id FROM texts WHERE text = ?", (text,)).fetchone()
        return rows.to_json({"own": own, "shared": shared})

    def _versions(self, txn: Transaction, clause: str, values: tuple[object, ...] = ()) -> list[Version]:
        found = txn.execute(f"SELECT {rows.VERSION_COLUMNS} FROM versions {clause}", values).fetchall()
        return [rows.version_from(row, self.texts) for row in found]

    def _runs(self, where: str, values: tuple[object, ...] = ()) -> list[Run]:
        with self.connection.read() as db:
            self._learn(db)
            found = db.execute(f"SELECT {rows.RUN_COLUMNS} FROM runs {where} ORDER BY key", values).fetchall()
        return rows.runs_from(found, self.texts)

    def _learn(self, db: Transaction | sqlite3.Connection) -> None:
        self.texts.learn(db.execute("SELECT id, text FROM texts WHERE id > ?", (self.texts.known(),)))


def _create(store: str) -> None:
    try:
        create(store)
    except OSError as exc:
        raise StoreError(f"cannot create the store {store}: {exc.strerror or exc}") from exc


def _no_store(store: str) -> StoreError:
    """What to say of a path that is no store, as well as it can be told."""
    hint = "record a run first, or name it with --store DIR"
    try:
        os.stat(os.path.join(store, layout.CATALOG))
    except NotADirectoryError:
        hint = "a file is in its place: name the directory that holds catalog.sqlite"
    except OSError:
        inside = os.path.join(store, ".logql")
        hint = f"did you mean {inside}?" if os.path.isdir(inside) else hint
    return StoreError(f"there is no store at {store}", hint=hint)


def _is_missing(path: str) -> bool:
    try:
        return os.stat(path).st_size == 0
    except PermissionError as exc:
        raise StoreError(f"{path} cannot be read: {exc.strerror}") from exc
    except OSError:
        return True


def _overlap(one: Fill, other: Fill) -> bool:
    if (one.loop, one.entry) != (other.loop, other.entry):
        return False
    if not any(other.names.get(name) == fingerprint for name, fingerprint in one.names.items()):
        return False
    if one.covered is not None and other.covered is not None:
        return bool(set(one.covered) & set(other.covered))
    bounds = (one.first_index, one.last_index, other.first_index, other.last_index)
    if any(bound is None for bound in bounds):
        return True
    first, last, other_first, other_last = bounds
    return bool(first <= other_last and other_first <= last)  # type: ignore[operator]
