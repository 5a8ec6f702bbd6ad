"""Damage of every kind to files of every kind: it is told with the file's name, doctor finds it, the rest answers."""

from __future__ import annotations

import errno
import glob
import os
from collections.abc import Callable, Iterator
from pathlib import Path as FilePath
from typing import Any

import pyarrow.parquet as pq
import pytest

import logql
from logql.errors import CorruptFile, OperationalError, StoreError
from logql.model import Logged, Step
from logql.store import compact, doctor, partial, seal
from logql.store.blobs import Blobs
from logql.store.catalog import Catalog
from logql.store.fills import write_fill
from logql.store.snapshot import forget, read_snapshot
from tests.store.history import Recorder, epochs, record
from tests.store.test_fills import a_fill
from tests.store.test_seal import cells
from tests.store.test_upkeep import a_checkpoint


def delete(path: FilePath) -> None:
    path.unlink()


def truncate(path: FilePath) -> None:
    path.write_bytes(path.read_bytes()[:-7])


def empty(path: FilePath) -> None:
    path.write_bytes(b"")


def flip(path: FilePath) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    path.write_bytes(data)


def flip_head(path: FilePath) -> None:
    data = bytearray(path.read_bytes())
    data[1] ^= 1
    path.write_bytes(data)


DAMAGES = pytest.mark.parametrize("damage", [delete, truncate, empty, flip, flip_head])
Damage = Callable[[FilePath], None]


@pytest.fixture
def store(tmp_path: FilePath, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Two sealed runs, one with a sidecar and a checkpoint, and one that goes on and is sealed in part."""
    path = str(tmp_path / ".logql")
    record(path, "0100", epochs(3, 2))
    record(path, "0101", epochs(3, 2, seed=1), version="b" * 12)
    seal.recover(path)
    write_fill(path, a_fill(run="0101", version="b" * 12), [Logged((Step("epoch", 0, 1),), "gnorm", 0.5, 9, 1, 1.0)])
    a_checkpoint(path, 0, b"state", run="0101")
    monkeypatch.setattr(partial, "PART_BYTES", 2000)
    recorder = Recorder(path, "0102", "c" * 12, chunk_bytes=1500)
    for start in range(0, 30 * 12, 30):
        recorder.append(epochs(60, 5)[start : start + 30])
    seal.seal_run(path, "0102")
    yield path
    recorder.abandon()
    forget()


def find(store: str, pattern: str) -> FilePath:
    return FilePath(sorted(glob.glob(os.path.join(store, pattern), recursive=True))[0])


def ask(store: str, sql: str) -> list[tuple[Any, ...]]:
    forget()
    with logql.connect(store, replay="off") as connection:
        return list(connection.execute(sql).fetchall())


def ask_or_fail(store: str, sql: str) -> tuple[list[tuple[Any, ...]], str]:
    """The answer, or the error."""
    try:
        return ask(store, sql), ""
    except OperationalError as exc:
        return [], str(exc)


@DAMAGES
@pytest.mark.parametrize(
    ("pattern", "sql"),
    [
        ("logs/run/**/0101-0.parquet", "SELECT run, best FROM runs"),
        ("logs/epoch/**/0101-0.parquet", "SELECT run, acc FROM logs"),
        ("logs/epoch.step/**/0101-0.parquet", "SELECT run, loss FROM logs"),
        ("logs/output/**/0101-0.parquet", "SELECT run, line FROM output"),
        ("logs/epoch.step/**/0102-0.*.parquet", "SELECT run, loss FROM logs"),
    ],
)
def test_a_recorded_file(store: str, pattern: str, sql: str, damage: Damage) -> None:
    before = ask(store, sql)
    path = find(store, pattern)
    run = path.name[:4]
    damage(path)
    found, error = ask_or_fail(store, sql)
    # only what no answer needs may be damaged unseen
    assert sorted(found) == sorted(before) if not error else (str(path) in error and "logql doctor --repair" in error)
    assert ask(store, "SELECT count(*) FROM runs") == [(3,)]
    (finding,) = doctor.check(store)
    assert finding.path == os.path.relpath(path, store)
    doctor.mend(store)
    assert doctor.check(store) == []
    assert [row for row in ask(store, sql) if row[0] != run and row[1] is not None] == [
        row for row in before if row[0] != run and row[1] is not None
    ]


@DAMAGES
def test_a_sidecar(store: str, damage: Damage) -> None:
    path = find(store, "fills/**/*.parquet")
    damage(path)
    (finding,) = doctor.check(store)
    assert finding.path == os.path.relpath(path, store)
    assert len(ask(store, "SELECT run, acc FROM logs WHERE run <> '0102'")) == 6
    doctor.mend(store)
    assert doctor.check(store) == []
    assert read_snapshot(store).hindsight == {}


@DAMAGES
@pytest.mark.parametrize("content", [b"state", None])
def test_a_checkpoint(store: str, content: bytes | None, damage: Damage) -> None:
    blobs = Blobs(store)
    with Catalog.open(store) as catalog:
        (checkpoint,) = catalog.checkpoints()
    digest = blobs.put(content) if content is not None else checkpoint.manifest or ""
    path = FilePath(store) / "checkpoints" / digest[:2] / digest[2:]
    damage(path)
    with pytest.raises(CorruptFile, match=digest[2:]):
        blobs.get(digest)
    (finding,) = doctor.check(store)
    assert finding.path == os.path.relpath(path, store)
    doctor.mend(store)
    assert doctor.check(store) == []
    with Catalog.open(store) as catalog:
        assert catalog.checkpoints() == []


@DAMAGES
@pytest.mark.parametrize("kind", ["carried", "chunk"])
def test_the_stream_of_a_run_that_goes_on(store: str, kind: str, damage: Damage) -> None:
    names = sorted((FilePath(store) / "wal").glob("0102-0-*"), key=lambda path: int(path.name[7:].rstrip("c")))
    path = next(name for name in names if name.name.endswith("c") == (kind == "carried"))
    assert path != names[-1]
    damage(path)
    forget()
    snapshot = read_snapshot(store)
    assert [notice for notice in snapshot.notices if str(path) in notice]
    assert len([row for row in cells(snapshot, "epoch", "run", "acc") if row[0] != "0102"]) == 6
    found = {finding.path: str(finding) for finding in doctor.check(store)}
    assert os.path.relpath(path, store) in found


@DAMAGES
def test_the_catalog(store: str, damage: Damage) -> None:
    seal.recover(store)
    forget()
    for end in ("-wal", "-shm"):
        (FilePath(store) / f"catalog.sqlite{end}").unlink(missing_ok=True)
    path = FilePath(store) / "catalog.sqlite"
    if damage is flip:
        data = bytearray(path.read_bytes())
        for page in range(4096, len(data), 4096):
            data[page : page + 64] = b"\xff" * 64
        path.write_bytes(data)
    else:
        damage(path)
    _, error = ask_or_fail(store, "SELECT run, acc FROM logs")
    assert store in error or not error
    forget()
    if damage not in (truncate,):
        with pytest.raises(StoreError, match=r"catalog\.sqlite|there is no store"):
            doctor.check(store)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EIO, errno.EROFS])
@pytest.mark.parametrize("action", ["seal", "fill", "compact"])
def test_a_disk_that_fails(store: str, action: str, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    record(store, "0103", epochs(3, 2, seed=3))
    expected = ask(store, "SELECT run, acc FROM logs WHERE run <> '0102' ORDER BY ALL")
    record(store, "0104", epochs(3, 2, seed=4))
    actions: dict[str, Callable[[], object]] = {
        "seal": lambda: seal.seal_run(store, "0104"),
        "fill": lambda: write_fill(store, a_fill("f9", run="0100"), [Logged((), "best2", 0.5, 99, 1, 1.0)]),
        "compact": lambda: compact.compact(store),
    }

    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    with monkeypatch.context() as patch:
        patch.setattr(pq, "write_table", fail)
        with pytest.raises(StoreError, match=os.strerror(code)) as caught:
            actions[action]()
    assert f"{store}/" in str(caught.value)
    assert "free some space" in str(caught.value)
    assert ask(store, "SELECT run, acc FROM logs WHERE run < '0102' OR run = '0103' ORDER BY ALL") == expected
    actions[action]()
    assert doctor.check(store) == []
