"""Compaction: the same rows in fewer files, while readers read."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from logql.model import Enter, Event, Logged, Step
from logql.store import compact, leases, levels, merge, parquet, seal
from logql.store.catalog import Catalog
from logql.store.fills import write_fill
from logql.store.snapshot import Snapshot, forget, read_snapshot
from tests.store.history import epochs, record
from tests.store.test_fills import a_fill
from tests.store.test_seal import cells, files


@pytest.fixture
def store(tmp_path: FilePath) -> Iterator[str]:
    yield str(tmp_path / ".logql")
    forget()


def history(store: str, runs: int) -> None:
    for number in range(runs):
        record(store, f"01{number:02}", epochs(3, 2, seed=number), version="abc"[number % 3] * 12)
    seal.recover(store)


def everything(snapshot: Snapshot) -> dict[str, list[tuple[Any, ...]]]:
    return {
        "run": sorted(cells(snapshot, "run", "run", "version", "best")),
        "epoch": sorted(cells(snapshot, "epoch", "run", "epoch", "acc", "_seq")),
        "epoch.step": sorted(cells(snapshot, "epoch.step", "run", "epoch", "step", "loss")),
        "output": sorted(cells(snapshot, "output", "run", "line")),
    }


def test_the_same_rows_in_one_sorted_file_per_level(store: str) -> None:
    history(store, 7)
    before = everything(read_snapshot(store))
    assert [(one.level, one.files) for one in compact.compact(store, dry_run=True)] == [
        (one.level, one.files) for one in compact.compact(store)
    ]
    snapshot = read_snapshot(store)
    assert everything(snapshot) == before
    assert {level: len(pieces) for level, pieces in snapshot.levels.items()} == dict.fromkeys(before, 1)
    assert len(files(store)) == 4
    assert all("/versions=1-3/epochs=0-" in path for path in files(store))
    order = cells(snapshot, "epoch.step", "version", "run", "epoch", "step")
    assert order == sorted(order)
    assert compact.compact(store) == []


def test_a_reader_keeps_its_files_until_it_lets_go(store: str) -> None:
    history(store, 3)
    snapshot: Snapshot | None = read_snapshot(store)
    assert snapshot is not None
    before = everything(snapshot)
    compact.compact(store)
    assert everything(snapshot) == before
    assert len(files(store)) == 16
    del snapshot
    read_snapshot(store)
    compact.compact(store)
    assert len(files(store)) == 4
    assert not os.listdir(os.path.join(store, "scratch", "readers"))


def test_a_reader_that_comes_while_files_are_removed_keeps_its_own(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    history(store, 3)
    before = everything(read_snapshot(store))
    forget()
    original, kept = leases.oldest, []

    def oldest(path: str) -> int | None:
        """A query begins, and its files are merged, after the leases were looked at."""
        bound = original(path)
        kept.append(read_snapshot(store))
        with Catalog.open(store) as catalog:
            for group in compact.plan(compact._small_files(catalog), 2):
                compact._merge_files(catalog, group)
        return bound

    monkeypatch.setattr(leases, "oldest", oldest)
    with Catalog.open(store) as catalog:
        leases.sweep(catalog)
    assert everything(kept[0]) == before


def test_large_files_are_left_alone_and_groups_are_bounded(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    history(store, 6)
    before = everything(read_snapshot(store))
    monkeypatch.setattr(compact, "TARGET_BYTES", 9000)
    merged = [one for one in compact.compact(store) if one.level == "epoch"]
    assert len(merged) > 1
    assert everything(read_snapshot(store)) == before


def test_few_small_files_are_no_reason(store: str) -> None:
    history(store, compact.ENOUGH - 1)
    assert compact.compact_if_needed(store) == []
    record(store, "02", epochs(3, 2))
    seal.recover(store)
    assert {one.level for one in compact.compact_if_needed(store)} == {"run", "epoch", "epoch.step", "output"}


def test_sidecars_are_merged_too(store: str) -> None:
    history(store, 3)
    path = (Step("epoch", 0, 1),)
    for number in range(3):
        fill = a_fill(f"f{number}", run=f"01{number:02}", version="abc"[number] * 12)
        write_fill(store, fill, [Logged(path, "gnorm", number / 4, 5, 1, 1.0)])
    compact.compact(store)
    (piece,) = read_snapshot(store).hindsight["epoch"]
    rows = pq.ParquetFile(piece.path).read(columns=["_fill", "run", "gnorm"]).to_pylist()
    assert [tuple(row.values()) for row in rows] == [("f0", "0100", 0.0), ("f1", "0101", 0.25), ("f2", "0102", 0.5)]


@pytest.mark.parametrize(
    ("values", "merged", "texts"),
    [
        ((1, 0.5), [1.0, 0.5], [None, None]),
        (("n/a", 0.5), [None, 0.5], ["n/a", None]),
        (((1 << 53) + 1, 0.5), [None, 0.5], [str((1 << 53) + 1), None]),
        ((None, "x"), [None, "x"], None),
        ((True, 3), [1, 3], None),
        (([1], [0.5]), [[1.0], [0.5]], [None, None]),
        (({"a": 1}, {"b": 2}), ['{"a": 1}', '{"b": 2}'], [None, None]),
        (({"a": 1}, {"a": 0.5}), [{"a": 1.0}, {"a": 0.5}], [None, None]),
    ],
)
def test_columns_of_different_types(store: str, values: tuple[Any, Any], merged: list[Any], texts: list[Any]) -> None:
    path = (Step("epoch", 0, 0),)
    for number, value in enumerate(values):
        record(store, f"0{number}", [Enter(path, 0, 0, 1.0), Logged(path, "x", value, 1, 0, 1.0)])
    seal.recover(store)
    compact.compact(store)
    (piece,) = read_snapshot(store).levels["epoch"]
    table = pq.ParquetFile(piece.path).read()
    assert table.column("x").to_pylist() == merged
    assert (table.column("x$text").to_pylist() if "x$text" in table.column_names else None) == texts


def test_merging_interleaved_runs_sorts_them() -> None:
    def table(*runs: tuple[str, str, int]) -> pa.Table:
        version, run, epoch = zip(*runs, strict=True)
        rank = pa.array([0] * len(run), pa.int32())
        return pa.table({"version": version, "run": run, "rank": rank, "e": epoch, "_seq": epoch})

    tables = [table(("v1", "A", 5), ("v2", "C", 0)), table(("v1", "A", 0), ("v1", "B", 0))]
    found = merge.merge(tables, {"v1": 1, "v2": 2})
    assert found.column("run").to_pylist() == ["A", "A", "B", "C"]
    assert found.column("e").to_pylist() == [0, 5, 0, 0]


def test_only_one_process_compacts_at_a_time(store: str) -> None:
    from logql.store.liveness import Lock

    history(store, 3)
    with Lock.take(os.path.join(store, "scratch", "compact.lock")) or pytest.fail("locked"):
        assert compact.compact(store) == []
    with Catalog.open(store) as catalog:
        assert len(catalog.runs()) == 3
    assert compact.compact(store)


def test_a_column_that_holds_nothing_is_told_by_the_table_and_by_the_footer(tmp_path: FilePath) -> None:
    paths = [(Step("epoch", 0, index),) for index in range(2)]
    values = [Logged(paths[0], "x", 1.0, 1, 0, 1.0), Logged(paths[1], "x", None, 3, 0, 1.0)]
    events: list[Event] = [Enter(paths[0], 0, 0, 1.0), values[0], Enter(paths[1], 1, 2, 1.0), values[1]]
    table = levels.build("01A", "a" * 12, 0, events)["epoch"]
    for rows, nulls in ((table, "VARCHAR[]"), (table.slice(0, 1), "NULL"), (table.slice(0, 0), "NULL")):
        parquet.write(str(tmp_path), "x.parquet", rows, {})
        schema = parquet.schema_of(rows)
        assert (schema["_null"], schema["_part"], schema["x"]) == (nulls, "NULL", "DOUBLE")
        assert parquet.schema_and_rows(str(tmp_path / "x.parquet")) == (schema, rows.num_rows)


def test_what_unfill_dropped_stays_out_of_merged_files(store: str) -> None:
    history(store, 3)
    for number in range(3):
        fill = a_fill(f"f{number}", run=f"01{number:02}", version="abc"[number] * 12, names={"g": "p", "h": "p"})
        values = [Logged((Step("epoch", 0, index),), name, index, 5, 1, 1.0) for index in (1, 2) for name in "gh"]
        write_fill(store, fill, values)
    with Catalog.open(store) as catalog:
        first, second, third = catalog.fills()
        catalog.put_fill(replace(first, state="cancelled"))
        catalog.put_fill(replace(second, names={"h": "p"}))
        catalog.put_fill(replace(third, covered=(2,), first_index=2))
    compact.compact(store)
    (piece,) = read_snapshot(store).hindsight["epoch"]
    rows = pq.ParquetFile(piece.path).read(columns=["_fill", "epoch_index", "g", "h"]).to_pylist()
    assert [tuple(row.values()) for row in rows] == [("f1", 1, None, 1), ("f1", 2, None, 2), ("f2", 2, 2, 2)]
    assert [told["id"] for told in parquet.metadata_of(str(piece.path))["fills"]] == ["f1", "f2"]
