"""A catalog made anew from the files alone: `logql doctor --rebuild`.

What only the catalog knows is lost unless the old one can still be read: pins, placements, comments, views, macros,
virtual columns, settings, and what UNFILL dropped since the sidecars were written. Checkpoints that replays added, and
fills without values, are lost.
"""

from __future__ import annotations

import contextlib
import os
import re
import sqlite3
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from logql.errors import CorruptFile, StoreError
from logql.model import Fill, Run, Shape, Version
from logql.store import connection, layout, levels, liveness, names, parquet, publish, rows, seal, shapes, wal
from logql.store.blobs import Blobs
from logql.store.catalog import Catalog
from logql.store.connection import Transaction
from logql.store.dropped import narrower
from logql.store.records import COLUMN, Record
from logql.store.usage import walk

if TYPE_CHECKING:
    import pyarrow as pa

_PARTITION = re.compile(r"versions=(\d+)-(\d+)/epochs=(-?\d+)-(-?\d+)/[^/]+\.parquet\Z")
_SIDE_FILES = ("", "-wal", "-shm")


@dataclass
class Rebuilt:
    """What a rebuild found: runs, live files, fills; values kept by the old catalog; files that cannot be used."""

    runs: int = 0
    files: int = 0
    fills: int = 0
    kept: int = 0
    unreadable: list[str] = field(default_factory=list)


@dataclass
class _Found:
    path: str
    kind: str
    level: str
    metadata: dict[str, Any]
    #: version of each run that has rows here
    runs: dict[str, str]
    records: list[Record]

    @property
    def part(self) -> dict[str, Any] | None:
        """Of a file that was sealed while its run went on: the stream, its position behind, and the files with it."""
        return self.metadata.get("part")


def rebuild(store: str, *, dry_run: bool = False) -> Rebuilt:
    """Replace the catalog of `store` by one made from its files; the old one is kept beside it as `*.old-<time>`.

    Raises StoreError while a run is being recorded.
    """
    store = os.path.abspath(store)
    for name in os.listdir(os.path.join(store, layout.WAL)):
        if name.endswith(".lock") and liveness.is_held(os.path.join(store, layout.WAL, name)):
            raise StoreError(f"the run {name.removesuffix('.lock')} is being recorded", hint="wait until it ends")
    done = Rebuilt()
    scanned = _scan(store, done)
    kept, fills = _salvage(os.path.join(store, layout.CATALOG))
    found, positions = _usable(store, scanned)
    found = _with_fills(found, fills)
    done.files, done.kept = len(found), len(kept)
    done.runs = len({record.run.id for file in found for record in file.records})
    done.fills = len({fill["id"] for file in found for fill in file.metadata.get("fills", ())})
    if not dry_run:
        _replace(store, found, positions, kept)
        for path in {file.path for file in scanned} - {file.path for file in found}:
            os.unlink(layout.inside(store, path))
        seal.recover(store)
    return done


def _scan(store: str, done: Rebuilt) -> list[_Found]:
    found = []
    for kind, part in (("log", layout.LOGS), ("fill", layout.FILLS)):
        for path in walk(os.path.join(store, part)):
            relative = os.path.relpath(path, store)
            if not path.endswith(".parquet") or not _PARTITION.search(relative):
                continue
            try:
                found.append(_read(path, relative, kind))
            except CorruptFile as exc:
                done.unreadable.append(f"{relative}: {exc.message}")
    return found


def _read(path: str, relative: str, kind: str) -> _Found:
    metadata = parquet.metadata_of(path)
    level = relative.split("/")[1]
    has_records = kind == "log" and level == "run"
    table = parquet.read(path, ["run", "version", COLUMN] if has_records else ["run", "version"])
    runs = table.group_by(["run", "version"]).aggregate([]).to_pylist()
    records = [Record(text) for text in table.column(COLUMN).to_pylist() if text] if has_records else []
    return _Found(relative, kind, level, metadata, {row["run"]: row["version"] for row in runs}, records)


def _usable(store: str, found: list[_Found]) -> tuple[list[_Found], dict[str, int]]:
    """Without files that another one replaces, and without those of a seal that never came to its end.

    Also the first unsealed chunk of each stream of which parts are sealed.
    """
    replaced = {path for file in found for path in file.metadata.get("replaces", ())}
    there = replaced | {file.path for file in found}
    chunks = {os.path.basename(chunk.path) for chunk in wal.list_chunks(store)}
    positions = _positions([file.part for file in found if file.part], there, chunks)
    found = [file for file in found if file.path not in replaced and _is_reached(file.part, positions)]
    recorded = {record.run.id: record for file in found for record in file.records}
    unfinished = {id_ for id_, record in recorded.items() if record.chunks and chunks.issuperset(record.chunks)}
    usable = [file for file in found if file.part or unfinished.isdisjoint(file.runs)]
    again = [file for file in found if unfinished.intersection(file.runs) and file.records]
    return usable + [_records_only(file, unfinished) for file in again], positions


def _positions(parts: list[dict[str, Any]], there: set[str], chunks: set[str]) -> dict[str, int]:
    """How far each stream is sealed in parts: a part counts if all its files are there, and what it carries over.

    Where the chunk before its position is gone, what was carried may be lost too: then it counted all the same.
    """
    found: dict[str, int] = {}
    for part in parts:
        stem, position = part["stream"], part["position"]
        told = f"{stem}-{position}c" in chunks or f"{stem}-{position - 1}" not in chunks
        if there.issuperset(part["files"]) and told:
            found[stem] = max(position, found.get(stem, 0))
    return found


def _is_reached(part: dict[str, Any] | None, positions: dict[str, int]) -> bool:
    return part is None or part["position"] <= positions.get(part["stream"], 0)


def _records_only(file: _Found, unfinished: set[str]) -> _Found:
    """What is known of runs that will be sealed again: their records without their rows."""
    return replace(file, path="", records=[record for record in file.records if record.run.id in unfinished])


def _salvage(path: str) -> tuple[list[tuple[str, str, str]], list[Fill]]:
    """What only the old catalog knew, and what it told of fills, as far as it can be read."""
    kept: list[tuple[str, str, str]] = []
    if os.path.exists(path):
        with (
            contextlib.suppress(sqlite3.DatabaseError),
            contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as db,
        ):
            kept = db.execute("SELECT kind, key, value FROM kept").fetchall()
            return kept, [rows.fill_from(row) for row in db.execute(f"SELECT {rows.FILL_COLUMNS} FROM fills")]
    return kept, []


def _with_fills(found: list[_Found], salvaged: list[Fill]) -> list[_Found]:
    """Every file telling of its fills the least that any file or the old catalog tells: the rest UNFILL has dropped."""
    known = {fill.id: fill for fill in salvaged}
    for row in (row for file in found for row in file.metadata.get("fills", ())):
        fill = rows.fill_of(row)
        known[fill.id] = narrower(fill, known.get(fill.id, fill))
    return [
        replace(file, metadata={**file.metadata, "fills": [rows.fill_row(known[row["id"]]) for row in told]})
        if (told := file.metadata.get("fills"))
        else file
        for file in found
    ]


def _replace(store: str, found: list[_Found], positions: dict[str, int], kept: list[tuple[str, str, str]]) -> None:
    path = os.path.join(store, layout.CATALOG)
    suffix = f".old-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
    for end in _SIDE_FILES:
        if os.path.exists(path + end):
            os.replace(path + end, path + suffix + end)
    try:
        connection.create(store)
        with Catalog.open(store) as catalog:
            _fill_catalog(catalog, found, positions, kept)
    except BaseException:
        for end in _SIDE_FILES:
            if os.path.exists(path + suffix + end):
                os.replace(path + suffix + end, path + end)
        raise


def _fill_catalog(
    catalog: Catalog, found: list[_Found], positions: dict[str, int], kept: list[tuple[str, str, str]]
) -> None:
    with catalog.connection.write(durable=True) as txn:
        for file in found:
            for record in file.records:
                _insert_record(catalog, txn, record, sealed=bool(file.path))
        _insert_lost(catalog, txn, found)
        _insert_parts(catalog, txn, found, positions)
        keys = dict(txn.execute("SELECT id, key FROM runs"))
        for file in found:
            if file.path:
                publish.insert_file(txn, _written(catalog.store, file, keys))
            for fill in file.metadata.get("fills", ()):
                txn.upsert("fills", fill, ("id",))
        for row in kept:
            txn.execute("INSERT OR REPLACE INTO kept VALUES (?, ?, ?)", row)


def _insert_record(catalog: Catalog, txn: Transaction, record: Record, sealed: bool) -> None:
    run, version = record.run, record.version
    if version is not None:
        txn.upsert("versions", rows.version_row(version), ("id",))
    shape = rows.shape_to_json(record.shape)
    shape_id = _text_id(txn, shape)
    environment = catalog.pack_environment(txn, run.environment)
    own = {
        "key": run.key,
        "environment": environment,
        "shape": shape_id if sealed else None,
        "unsealed": int(not sealed),
    }
    txn.upsert("runs", {**rows.run_row(run), **own}, ("id",))
    for loop in record.main_loops:
        txn.upsert("main_loops", rows.loop_row(loop), ("run", "loop", "entry"))
    blobs = Blobs(catalog.store)
    for one in record.checkpoints:
        if one.manifest is None or blobs.has(one.manifest):
            txn.upsert("checkpoints", rows.checkpoint_row(one), ("run", "rank", "loop", "entry", "idx"))
    for name, stored in record.names.items():
        txn.execute("INSERT OR IGNORE INTO names VALUES (?, ?)", (name, stored))
    columns = {column for level in record.shape.levels for column in levels.loop_columns(level)}
    for column in (*map(names.arg_column, run.args), *sorted(columns)):
        txn.execute("INSERT OR IGNORE INTO taken VALUES (?)", (names.fold(column),))


def _insert_lost(catalog: Catalog, txn: Transaction, found: list[_Found]) -> None:
    """Runs whose record is gone: their values are kept, what the lost catalog said of them is not known."""
    known = {id_ for (id_,) in txn.execute("SELECT id FROM runs")}
    streams = {chunk.run: "0" * 12 for chunk in wal.list_chunks(catalog.store)}
    sealed = _files_by_run(found)
    lost = streams | {id_: files[0].runs[id_] for id_, files in sealed.items()}
    for id_ in sorted(lost.keys() - known):
        _insert_version(txn, lost[id_])
        run = Run(id_, lost[id_], "", (), "killed", 0.0, "", "", error="what the catalog said of it was lost")
        own = {"environment": catalog.pack_environment(txn, {}), "unsealed": int(id_ in streams)}
        if id_ in sealed:
            own["shape"] = _text_id(txn, rows.shape_to_json(_shape(catalog.store, sealed[id_])))
        txn.upsert("runs", {**rows.run_row(run), **own}, ("id",))


def _insert_parts(catalog: Catalog, txn: Transaction, found: list[_Found], positions: dict[str, int]) -> None:
    """How far the streams of runs that are not sealed to their end are, and the shape of what is."""
    parts = _files_by_run([file for file in found if file.part])
    for (id_,) in txn.execute("SELECT id FROM runs WHERE unsealed").fetchall():
        if id_ in parts:
            shape = _text_id(txn, rows.shape_to_json(_shape(catalog.store, parts[id_])))
            txn.execute("UPDATE runs SET shape = ? WHERE id = ?", (shape, id_))
    for file in (file for own in parts.values() for file in own):
        stem = (file.part or {})["stream"]
        (run,) = file.runs
        txn.execute("INSERT OR REPLACE INTO sealed VALUES (?, ?, ?)", (stem, run, positions[stem]))


def _files_by_run(found: list[_Found]) -> dict[str, list[_Found]]:
    """Recorded files by the runs that have rows in them."""
    files: dict[str, list[_Found]] = {}
    for file in found:
        for id_ in file.runs if file.path and file.kind == "log" else ():
            files.setdefault(id_, []).append(file)
    return files


def _insert_version(txn: Transaction, id_: str) -> None:
    if txn.execute("SELECT 1 FROM versions WHERE id = ?", (id_,)).fetchone() is None:
        (ordinal,) = txn.execute("SELECT coalesce(max(ordinal), 0) + 1 FROM versions").fetchone()
        version = Version(id_, id_.ljust(40, "0"), message="unknown: the catalog was lost", ordinal=ordinal)
        txn.upsert("versions", rows.version_row(version), ("id",))


def _shape(store: str, files: list[_Found]) -> Shape:
    tables: dict[str, list[pa.Table]] = {}
    for file in files:
        tables.setdefault(file.level, []).append(parquet.read(layout.inside(store, file.path)))
    alone = [levels.shape_of({level: one}, with_repeats=False) for level, own in tables.items() for one in own]
    merged = shapes.merge_shapes(alone, 1)
    found = {level: levels.repeated_names(level, tables[layout.level_directory(level)]) for level in merged.levels}
    return replace(merged, repeats={level: names for level, names in found.items() if names})


def _text_id(txn: Transaction, text: str) -> int:
    txn.execute("INSERT OR IGNORE INTO texts (text) VALUES (?)", (text,))
    return int(txn.execute("SELECT id FROM texts WHERE text = ?", (text,)).fetchone()[0])


def _written(store: str, file: _Found, keys: dict[str, int]) -> parquet.Written:
    match = _PARTITION.search(file.path)
    assert match is not None  # _scan took no others
    first_version, last_version, first_epoch, last_epoch = map(int, match.groups())
    path = layout.inside(store, file.path)
    schema, count = parquet.schema_and_rows(path)
    return parquet.Written(
        file.path,
        file.kind,
        file.level,
        count,
        os.path.getsize(path),
        (first_version, last_version),
        (first_epoch, last_epoch),
        schema,
        parquet.checksum_of(path),
        tuple(sorted(keys[run] for run in file.runs if run in keys)),
        tuple(sorted({fill["id"] for fill in file.metadata.get("fills", ())})),
    )
