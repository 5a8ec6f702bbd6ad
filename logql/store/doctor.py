"""Checking a store: every file against the catalog, every blob against its digest, every chunk to its end."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import dataclass

from logql.errors import CorruptFile, Error
from logql.store import carry, gc, layout, leases, parquet, publish, streams, wal
from logql.store.blobs import Blobs
from logql.store.catalog import Catalog

#: Where `mend` puts files that cannot be read, so that nothing is thrown away.
DAMAGED = os.path.join(layout.SCRATCH, "damaged")


@dataclass(frozen=True)
class Finding:
    """Something that is wrong: the file (relative to the store), what, and what `mend` does about it."""

    path: str
    problem: str
    repair: str

    @property
    def can_be_mended(self) -> bool:
        """Whether `mend` does anything about it."""
        return not self.repair.startswith("none")

    def __str__(self) -> str:
        return f"{self.path}: {self.problem} (repair: {self.repair})"


def examine(store: str, *, repair: bool = False) -> list[Finding]:
    """What is wrong with `store`; with `repair` it is mended."""
    return mend(store) if repair else check(store)


def check(store: str) -> list[Finding]:
    """Everything that is wrong with `store`; reads all of it. Raises CorruptFile where the catalog is damaged."""
    with Catalog.open(os.path.abspath(store), read_only=True) as catalog:
        with catalog.connection.read() as db:
            (verdict,) = db.execute("PRAGMA integrity_check").fetchone()
        if verdict != "ok":
            raise CorruptFile(f"{catalog.connection.path} is damaged: {verdict}", hint="logql doctor --rebuild")
        return [*_files(catalog), *_litter(catalog), *_chunks(catalog), *_checkpoints(catalog)]


def mend(store: str, *, dry_run: bool = False) -> list[Finding]:
    """Mend what `check` finds: what cannot be read is set aside and forgotten, the rest of the history answers."""
    store = os.path.abspath(store)
    found = check(store)
    if dry_run or not found:
        return found
    with Catalog.open(store) as catalog:
        live = publish.live_files(catalog)
        for finding in found:
            path = os.path.join(store, finding.path)
            if finding.path in live:
                _set_aside(store, path)
                with catalog.connection.write(durable=True) as txn:
                    publish.remove_file(txn, finding.path)
                    txn.execute("DELETE FROM superseded WHERE path = ?", (finding.path,))
            elif finding.can_be_mended and finding.path.startswith((layout.LOGS, layout.FILLS)):
                _set_aside(store, path)
            elif finding.path.startswith(layout.CHECKPOINTS):
                _forget_blob(catalog, finding.path)
        leases.sweep(catalog)
    return found


def _files(catalog: Catalog) -> Iterator[Finding]:
    for relative, checksum in publish.live_files(catalog).items():
        try:
            path = layout.inside(catalog.store, relative)
            if parquet.checksum_of(path) != checksum:
                raise CorruptFile("its bytes are not those that were written")
            parquet.metadata_of(path)
        except FileNotFoundError:
            yield Finding(relative, "it is missing", "forget it: its rows are lost")
        except OSError as exc:
            yield Finding(relative, f"it cannot be read: {exc.strerror or exc}", "set it aside and forget it")
        except Error as exc:
            yield Finding(relative, exc.message, "set it aside and forget it")


def _litter(catalog: Catalog) -> Iterator[Finding]:
    for relative in gc.orphans(catalog):
        if gc.is_litter(catalog.store, relative):
            yield Finding(relative, "it is no file of logql's", "set it aside")
        else:
            yield Finding(relative, "the catalog does not know it", "none: logql doctor --rebuild takes it in")


def _chunks(catalog: Catalog) -> Iterator[Finding]:
    known = {run.id for run in catalog.runs()}
    unsealed = {run.id for run in catalog.unsealed_runs()}
    listed = wal.list_chunks(catalog.store)
    last = {streams.stream_of(chunk): chunk for chunk in listed}
    for chunk in listed:
        relative = os.path.relpath(chunk.path, catalog.store)
        if chunk.run not in known:
            yield Finding(relative, "the catalog does not know its run", "none: logql doctor --rebuild takes it in")
        elif chunk.run not in unsealed:
            yield Finding(relative, "it was written after its run had ended", "none: it is kept, and no query reads it")
        try:
            _read_chunk(chunk, behind=last[streams.stream_of(chunk)] != chunk)
        except FileNotFoundError:
            continue
        except (CorruptFile, OSError) as exc:
            yield Finding(relative, _problem(chunk.path, exc), "none: it is set aside when the run is sealed")
    for run in catalog.unsealed_runs():
        for gap in streams.gaps(streams.unsealed(catalog, run.id)):
            path = os.path.relpath(gap.message.partition(": ")[0], catalog.store)
            yield Finding(path, "it is missing", "none: what it held is lost, the rest is sealed when the run ends")
    for name in sorted(os.listdir(os.path.join(catalog.store, layout.WAL))):
        if name.endswith(streams.DAMAGED):
            problem = "part of a run's record was damaged"
            yield Finding(os.path.join(layout.WAL, name), problem, "none: it is kept until you delete it, or the run")


def _read_chunk(chunk: wal.Chunk, behind: bool) -> None:
    if not chunk.is_data:
        carry.read(chunk.path)
    for _ in streams.batches(chunk, behind):
        pass


def _checkpoints(catalog: Catalog) -> Iterator[Finding]:
    blobs = Blobs(catalog.store)
    for digest in sorted({one.manifest for one in catalog.checkpoints() if one.manifest is not None}):
        for name in sorted(gc.references(blobs, digest)):
            try:
                blobs.get(name)
            except CorruptFile as exc:
                path = os.path.join(layout.CHECKPOINTS, name[:2], name[2:])
                problem = _problem(os.path.join(catalog.store, path), exc)
                yield Finding(path, problem, f"forget the checkpoints that need it ({digest[:12]}, ...)")


def _problem(path: str, exc: Exception) -> str:
    """What an error says of a file, without the file's name."""
    said = exc.message if isinstance(exc, Error) else str(exc)
    about = said.removeprefix(path).lstrip(": ")
    return f"it {about}" if about.startswith(("is ", "cannot ", "has ")) else about


def _forget_blob(catalog: Catalog, path: str) -> None:
    digest = "".join(path.split(os.sep)[-2:])
    blobs = Blobs(catalog.store)
    lost = [one for one in catalog.checkpoints() if one.manifest and digest in gc.references(blobs, one.manifest)]
    catalog.remove_checkpoints(lost)
    blobs.remove(digest)


def _set_aside(store: str, path: str) -> None:
    target = os.path.join(store, DAMAGED, os.path.relpath(path, store).replace(os.sep, "_"))
    os.makedirs(os.path.dirname(target), exist_ok=True)
    with contextlib.suppress(FileNotFoundError):
        os.replace(path, target)
