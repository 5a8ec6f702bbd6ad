"""A store that somebody made up: nothing in it leads outside, waits for ever or becomes SQL."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path as FilePath

import pytest

from logql.errors import CorruptFile, StoreError
from logql.store import compact, doctor, gc, leases, publish, remove, seal, types
from logql.store.blobs import Blobs
from logql.store.catalog import Catalog
from logql.store.snapshot import forget, read_snapshot
from tests.store.history import epochs, record
from tests.store.test_compact import history

PATHS = (
    "../victim",
    "/etc/hostname",
    "logs/../../victim",
    "logs/epoch/./x",
    "logs//x",
    "",
    "logs/\0x",
    "logs/link/victim",
)


@pytest.fixture
def store(tmp_path: FilePath) -> Iterator[str]:
    path = str(tmp_path / ".logql")
    history(path, 2)
    (tmp_path / "victim").write_text("precious")
    os.symlink(tmp_path, os.path.join(path, "logs", "link"))
    yield path
    forget()
    assert (tmp_path / "victim").read_text() == "precious"


def craft(store: str, *statements: str) -> None:
    with Catalog.open(store) as catalog, catalog.connection.write() as txn:
        for statement in statements:
            txn.execute(statement)
        txn.execute("UPDATE files SET rev = ?", (txn.rev,))
        txn.execute("UPDATE runs SET rev = ?", (txn.rev,))
    forget()


def quoted(text: str) -> str:
    return "CAST(X'" + text.encode().hex() + "' AS TEXT)"


@pytest.mark.parametrize("path", PATHS)
def test_a_live_file_outside(store: str, path: str) -> None:
    craft(store, f"UPDATE files SET path = {quoted(path)} WHERE id = 1")
    for action in (read_snapshot, compact.compact):
        with pytest.raises(CorruptFile, match="outside of the store"):
            action(store)
    assert any("outside of the store" in finding.problem for finding in doctor.check(store))


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("table", ["staged", "superseded"])
def test_litter_outside_is_not_removed(store: str, table: str, path: str) -> None:
    owner = "'compact'" if table == "staged" else "0"
    craft(store, f"INSERT INTO {table} VALUES ({quoted(path)}, {owner})")
    actions: tuple[Callable[[Catalog], object], ...] = (
        (lambda catalog: publish.discard_staged(catalog, "compact")) if table == "staged" else leases.sweep,
    )
    with Catalog.open(store) as catalog:
        for action in actions:
            with pytest.raises(CorruptFile, match="outside of the store"):
                action(catalog)


@pytest.mark.parametrize("digest", ["../../victim", "ab/../../../victim", "0" * 39, "G" * 40, ""])
def test_a_checkpoint_outside(store: str, digest: str) -> None:
    with pytest.raises(CorruptFile, match="names no blob"):
        Blobs(store).get(digest)
    manifest = Blobs(store).put(json.dumps({"blobs": [digest]}).encode())
    key = "'0100', 0, 'epoch', 0, 0, 0"
    craft(store, f"INSERT INTO checkpoints VALUES ({key}, {quoted(manifest)}, 1, 0.1, NULL, 'training', 1.0, 1)")
    with pytest.raises(StoreError, match="names no blob"):
        gc.collect(store, limit=0, grace=0)


def test_links_and_pipes_among_the_streams_are_no_chunks(store: str, tmp_path: FilePath) -> None:
    record(store, "0300", epochs(1))
    os.mkfifo(os.path.join(store, "wal", "0300-0-1"))
    os.symlink(tmp_path / "victim", os.path.join(store, "wal", "0300-0-2"))
    assert [run.id for run in read_snapshot(store).runs] == ["0100", "0101", "0300"]
    seal.recover(store)
    remove.remove_runs(store, ["0300"])


INJECTED = (
    "DOUBLE); DROP TABLE x; --",
    "STRUCT(\"a\" BIGINT) FROM read_text('/etc/hostname')",
    "STRUCT(",
    "STRUCT(a BIGINT)",
    "INTEGER[3]",
    "ENUM('a')",
    "",
    "double",
    'STRUCT("a" BIGINT, )',
    'STRUCT("a")',
)


@pytest.mark.parametrize("type_", INJECTED)
def test_a_type_that_is_sql(store: str, type_: str) -> None:
    assert not types.is_known(type_)
    text = json.dumps({"version": "VARCHAR", "acc": type_})
    craft(store, f"INSERT INTO texts VALUES (999, {quoted(text)})", "UPDATE files SET columns = 999 WHERE id = 1")
    with pytest.raises(CorruptFile, match="a type that cannot be"):
        read_snapshot(store)
    shape = json.dumps({"levels": [[["epoch"], {"acc": type_}]], "loops": {}, "repeats": [], "ranks": 1})
    craft(store, "UPDATE files SET columns = (SELECT columns FROM files WHERE id = 2) WHERE id = 1",
          f"INSERT INTO texts VALUES (998, {quoted(shape)})", "UPDATE runs SET shape = 998")  # fmt: skip
    with pytest.raises(CorruptFile, match="a type that cannot be"):
        read_snapshot(store)


@pytest.mark.parametrize(
    "type_", ["BIGINT", "DOUBLE[]", 'STRUCT("a" BIGINT, "b ""c"", d" DOUBLE[])[]', "TIMESTAMP", "NULL"]
)
def test_types_that_are(type_: str) -> None:
    assert types.is_known(type_)


def test_looking_after_a_store_can_be_tried(store: str) -> None:
    def listing() -> list[str]:
        return sorted(
            os.path.join(base, name) for base, _, names in os.walk(store) for name in names if "sqlite" not in name
        )

    before = listing()
    assert compact.compact(store, dry_run=True) != []
    gc.collect(store, dry_run=True, grace=0)
    assert remove.remove_runs(store, ["0100"], dry_run=True).runs == ("0100",)
    FilePath(store, "logs", "litter.parquet").write_bytes(b"x")
    assert [finding.path for finding in doctor.mend(store, dry_run=True)] == ["logs/litter.parquet"]
    os.unlink(os.path.join(store, "logs", "litter.parquet"))
    assert listing() == before
