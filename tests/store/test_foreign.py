"""Other readers of the tree get the same recorded rows, and read only what a filter can match."""

from __future__ import annotations

import glob
from collections.abc import Iterator
from pathlib import Path as FilePath

import pyarrow.compute as pc
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from logql.store import compact
from logql.store.snapshot import forget, read_snapshot
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


def test_a_filter_reads_only_the_row_groups_that_can_match(store: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.store.history import epochs, record

    monkeypatch.setattr("logql.store.parquet.GROUP_ROWS", 6)
    record(store, "02", epochs(12, 3), version="d" * 12)
    read_snapshot(store)
    compact.compact(store)
    (fragment,) = ds.dataset(f"{store}/logs/epoch.step", format="parquet").get_fragments()
    groups = len(fragment.row_groups)
    wanted = fragment.subset((pc.field("version") == "d" * 12) & (pc.field("epoch") == 7))
    assert groups > 8
    assert len(wanted.row_groups) <= 2
