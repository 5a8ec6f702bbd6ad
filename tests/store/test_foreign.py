"""Other readers of the tree get the same recorded rows, and read only what a filter can match."""

from __future__ import annotations

import glob
from collections.abc import Callable, Iterator
from pathlib import Path as FilePath

import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from logql.store import compact
from logql.store.snapshot import forget, read_snapshot
from tests.store.history import epochs, record
from tests.store.test_compact import history
from tests.store.test_seal import cells


@pytest.fixture
def store(tmp_path: FilePath) -> Iterator[str]:
    path = str(tmp_path / ".logql")
    history(path, 6)
    compact.compact(path)
    yield path
    forget()


def expected(store: str) -> list[tuple[object, ...]]:
    return sorted(cells(read_snapshot(store), "epoch.step", "run", "epoch", "step", "loss"))


def test_pyarrow_reads_the_tree(store: str) -> None:
    table = ds.dataset(f"{store}/logs/epoch.step", format="parquet").to_table(columns=["run", "epoch", "step", "loss"])
    assert sorted(tuple(row.values()) for row in table.to_pylist()) == expected(store)


def test_duckdb_reads_the_tree(store: str) -> None:
    duckdb = pytest.importorskip("duckdb")
    with duckdb.connect() as db:
        sql = f"SELECT run, epoch, step, loss FROM '{store}/logs/epoch.step/**/*.parquet' ORDER BY ALL"
        assert db.sql(sql).fetchall() == expected(store)


def test_polars_reads_the_tree(store: str) -> None:
    polars = pytest.importorskip("polars")
    frame = polars.scan_parquet(f"{store}/logs/epoch.step/**/*.parquet").select("run", "epoch", "step", "loss")
    assert sorted(frame.collect().rows()) == expected(store)
    one = frame.filter(polars.col("epoch") == 1).collect()
    assert sorted(one.rows()) == [row for row in expected(store) if row[1] == 1]


def test_row_groups_tell_versions_and_runs_apart(store: str) -> None:
    (path,) = glob.glob(f"{store}/logs/epoch.step/**/*.parquet", recursive=True)
    with pq.ParquetFile(path) as file:
        group = file.metadata.row_group(0)
        columns = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
    for name in ("version", "run", "epoch", "epoch_index", "step", "loss"):
        assert columns[name].statistics is not None
        assert columns[name].statistics.has_min_max
        assert columns[name].compression == "ZSTD"
    assert (columns["version"].statistics.min, columns["version"].statistics.max) == ("a" * 12, "c" * 12)


VERSION, EPOCH = "d" * 12, 7


def with_pyarrow(tree: str) -> list[tuple[object, ...]]:
    where = (pc.field("version") == VERSION) & (pc.field("epoch") == EPOCH)
    found = ds.dataset(tree, format="parquet").to_table(columns=["step", "loss"], filter=where)
    return [tuple(row.values()) for row in found.to_pylist()]


def with_pandas(tree: str) -> list[tuple[object, ...]]:
    pandas = pytest.importorskip("pandas")
    where = [("version", "==", VERSION), ("epoch", "==", EPOCH)]
    frame = pandas.read_parquet(tree, columns=["step", "loss"], filters=where, partitioning=None)
    return list(frame.itertuples(index=False, name=None))


def with_polars(tree: str) -> list[tuple[object, ...]]:
    polars = pytest.importorskip("polars")
    where = (polars.col("version") == VERSION) & (polars.col("epoch") == EPOCH)
    found = polars.scan_parquet(f"{tree}/**/*.parquet").filter(where).select("step", "loss").collect()
    return list(found.rows())


def with_duckdb(tree: str) -> list[tuple[object, ...]]:
    duckdb = pytest.importorskip("duckdb")
    with duckdb.connect() as db:
        sql = f"SELECT step, loss FROM '{tree}/**/*.parquet' WHERE version = '{VERSION}' AND epoch = {EPOCH}"
        return list(db.sql(sql).fetchall())


@pytest.mark.parametrize("read", [with_pyarrow, with_pandas, with_polars, with_duckdb])
def test_a_filter_reads_only_the_row_groups_that_can_match(
    store: str, monkeypatch: pytest.MonkeyPatch, read: Callable[[str], list[tuple[object, ...]]]
) -> None:
    monkeypatch.setattr("logql.store.parquet.GROUP_ROWS", 6)
    record(store, "02", epochs(12, 3), version=VERSION)
    read_snapshot(store)
    compact.compact(store)
    tree = f"{store}/logs/epoch.step"
    expected = sorted(read(tree))
    assert len(expected) == 3
    spoiled, groups = spoil_others(tree)
    assert groups > 8
    assert groups - 2 <= spoiled < groups
    assert sorted(read(tree)) == expected


def spoil_others(tree: str) -> tuple[int, int]:
    """Overwrite the pages of row groups that cannot hold what is asked for; gives their number, and that of all."""
    (path,) = glob.glob(f"{tree}/**/*.parquet", recursive=True)
    with pq.ParquetFile(path) as file:
        groups = [file.metadata.row_group(number) for number in range(file.metadata.num_row_groups)]
    others = [group for group in groups if not can_match(group)]
    with open(path, "r+b") as data:
        for group in others:
            for column in (group.column(number) for number in range(group.num_columns)):
                start = column.dictionary_page_offset or column.data_page_offset
                data.seek(start)
                data.write(b"\xff" * column.total_compressed_size)
    return len(others), len(groups)


def can_match(group: pq.RowGroupMetaData) -> bool:
    found = {column.path_in_schema: column.statistics for column in map(group.column, range(group.num_columns))}
    return all(found[name].min <= value <= found[name].max for name, value in (("version", VERSION), ("epoch", EPOCH)))


def test_pandas_reads_the_tree(store: str) -> None:
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_parquet(f"{store}/logs/epoch.step", columns=["run", "epoch", "step", "loss"], partitioning=None)
    assert sorted(frame.itertuples(index=False, name=None)) == expected(store)
