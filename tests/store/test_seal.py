"""From a recorder's stream to files and to what a reader sees."""

from __future__ import annotations

import glob
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path as FilePath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from logql.model import Enter, Logged, Step
from logql.store import levels, liveness, records, seal, wal
from logql.store.catalog import Catalog
from logql.store.snapshot import Snapshot, forget, read_snapshot
from tests.store.history import Recorder, epochs, record

ROOT = FilePath(__file__).parents[2]


@pytest.fixture
def store(tmp_path: FilePath) -> Iterator[str]:
    yield str(tmp_path / ".logql")
    forget()


def table_of(snapshot: Snapshot, level: str) -> pa.Table:
    """All recorded rows of a level."""
    tables = [
        piece.table if piece.table is not None else pq.ParquetFile(piece.path).read()
        for piece in snapshot.levels.get(level, ())
    ]
    return pa.concat_tables([table.drop_columns([records.COLUMN]) if records.COLUMN in table.column_names else table
                             for table in tables], promote_options="permissive")  # fmt: skip


def cells(snapshot: Snapshot, level: str, *columns: str) -> list[tuple[Any, ...]]:
    """Rows of a level as tuples."""
    return [tuple(row[name] for name in columns) for row in table_of(snapshot, level).to_pylist()]


def files(store: str) -> list[str]:
    return sorted(os.path.relpath(path, store) for path in glob.glob(f"{store}/logs/**/*.parquet", recursive=True))


def test_a_finished_run_becomes_files_named_by_version_and_epoch(store: str) -> None:
    record(store, "01A", epochs(3, 2))
    record(store, "01B", epochs(2, 2), version="b" * 12)
    seal.seal_run(store, "01A")
    seal.seal_run(store, "01B")
    assert files(store) == [
        "logs/epoch.step/versions=1-1/epochs=0-2/01A-0.parquet",
        "logs/epoch.step/versions=2-2/epochs=0-1/01B-0.parquet",
        "logs/epoch/versions=1-1/epochs=0-2/01A-0.parquet",
        "logs/epoch/versions=2-2/epochs=0-1/01B-0.parquet",
        "logs/output/versions=1-1/epochs=0-0/01A-0.parquet",
        "logs/output/versions=2-2/epochs=0-0/01B-0.parquet",
        "logs/run/versions=1-1/epochs=0-0/01A-0.parquet",
        "logs/run/versions=2-2/epochs=0-0/01B-0.parquet",
    ]
    assert os.listdir(os.path.join(store, "wal")) == []


def test_sealed_rows_equal_the_events(store: str) -> None:
    record(store, "01A", epochs(3, 2))
    before = read_snapshot(store, read_only=True)
    live = {level: table_of(before, level) for level in before.levels}
    seal.seal_run(store, "01A")
    snapshot = read_snapshot(store)
    assert snapshot is not before
    expected = levels.build("01A", "a" * 12, 0, epochs(3, 2))
    for level, table in expected.items():
        assert table_of(snapshot, level).to_pylist() == table.to_pylist() == live[level].to_pylist()
    assert snapshot.shapes["01A"] == levels.shape_of(expected) == before.shapes["01A"]


def test_sealing_again_changes_nothing(store: str) -> None:
    record(store, "01A", epochs(3))
    seal.seal_run(store, "01A")
    first = read_snapshot(store)
    seal.seal_run(store, "01A")
    assert read_snapshot(store) is first


def test_a_reader_sees_the_same_before_and_after_and_keeps_what_it_knows(store: str) -> None:
    record(store, "01A", epochs(3))
    snapshot = read_snapshot(store)
    assert read_snapshot(store) is snapshot
    assert [run.status for run in snapshot.runs] == ["finished"]
    assert all(piece.path for pieces in snapshot.levels.values() for piece in pieces)
    with Catalog.open(store) as catalog:
        catalog.put("view", "v", "x")
    assert read_snapshot(store) is not snapshot


def test_a_live_run_is_read_while_it_grows_and_never_sealed(store: str) -> None:
    recorder = Recorder(store, "01A")
    assert [run.status for run in read_snapshot(store).runs] == ["running"]
    assert cells(read_snapshot(store), "run", "run", "_part") == [("01A", None)]
    events = epochs(4, 3)
    for start in range(0, len(events), 5):
        recorder.append(events[start : start + 5])
        seen = read_snapshot(store)
        expected = levels.build("01A", "a" * 12, 0, events[: start + 5])
        assert {level: table_of(seen, level).to_pylist() for level in seen.levels} == {
            level: table.to_pylist() for level, table in expected.items()
        }
    seal.seal_run(store, "01A")
    assert files(store) == []
    recorder.finish()
    assert table_of(read_snapshot(store), "epoch.step").num_rows == 12
    assert len(files(store)) == 4


def test_a_run_whose_process_died_is_killed(store: str) -> None:
    recorder = Recorder(store, "01A")
    recorder.append(epochs(2))
    recorder.abandon()
    assert read_snapshot(store, read_only=True).runs[0].status == "killed"
    assert files(store) == []
    snapshot = read_snapshot(store)
    assert (snapshot.runs[0].status, snapshot.runs[0].ended_at) == ("killed", 1004.0)
    assert cells(snapshot, "epoch", "epoch", "acc") == [(0, 0.0), (1, 1 / 64)]


def test_kill_9_of_a_recorder_keeps_what_it_handed_over(store: str) -> None:
    script = (
        "import sys, time; from tests.store.history import Recorder, epochs\n"
        "r = Recorder(sys.argv[1], '01A'); r.append(epochs(3)); print('ready', flush=True); time.sleep(60)"
    )
    with subprocess.Popen([sys.executable, "-c", script, store], cwd=ROOT, stdout=subprocess.PIPE) as child:
        assert child.stdout is not None
        child.stdout.readline()
        assert read_snapshot(store).runs[0].status == "running"
        child.send_signal(signal.SIGKILL)
        child.wait()
    snapshot = read_snapshot(store)
    assert snapshot.runs[0].status == "killed"
    assert len(cells(snapshot, "epoch", "acc")) == 3


def test_ranks_and_children_of_one_run(store: str) -> None:
    recorder = Recorder(store, "01A")
    other = Recorder(store, "01A", rank=1)
    recorder.append(epochs(2))
    other.append(epochs(1, seed=32))
    child = wal.Writer(store, "01A", 0, "worker")
    path = (Step("epoch", 0, 1),)
    from tests.store.history import batch_of

    child.append(batch_of([Logged(path, "from_child", 7, 0, 0, 1002.5)]))
    child.close()
    expected = [(0, 0, 0.0, None), (0, 1, 1 / 64, 7), (1, 0, 0.5, None)]
    assert cells(read_snapshot(store), "epoch", "rank", "epoch", "acc", "from_child") == expected
    recorder.finish()
    other.finish()
    assert sorted(cells(read_snapshot(store), "epoch", "rank", "epoch", "acc", "from_child")) == expected
    assert read_snapshot(store).shapes["01A"].ranks == 2


def test_names_of_later_runs_do_not_meet(store: str) -> None:
    path = (Step("epoch", 0, 0),)
    record(store, "01A", [Enter(path, 0, 0, 1.0), Logged(path, "loss", 0.5, 1, 0, 1.0)])
    record(store, "01B", [Enter(path, 0, 0, 1.0), Logged(path, "Loss", 0.25, 1, 0, 1.0)])
    snapshot = read_snapshot(store)
    assert sorted(cells(snapshot, "epoch", "run", "loss", "Loss_2")) == [("01A", 0.5, None), ("01B", None, 0.25)]


def test_a_sealed_name_makes_way_for_an_arg_of_a_later_run(store: str) -> None:
    path = (Step("epoch", 0, 0),)
    logged = [Logged(path, "lr", value, 1 + sub, 0, 1.0) for sub, value in enumerate((0.5, None))]
    record(store, "01A", [Enter(path, 0, 0, 1.0), *logged])
    assert read_snapshot(store).shapes["01A"].levels[("epoch",)] == {"lr": "DOUBLE"}
    record(store, "01B", epochs(1), args={"lr": 0.1})
    snapshot = read_snapshot(store)
    found = cells(snapshot, "epoch", "run", "lr_", "_order", "_null")
    assert [row for row in found if row[0] == "01A"] == [("01A", 0.5, ["lr_"], None), ("01A", None, ["lr_"], ["lr_"])]
    assert snapshot.shapes["01A"].levels[("epoch",)] == {"lr_": "DOUBLE"}
    assert snapshot.shapes["01A"].repeats == {("epoch",): frozenset({"lr_"})}


def test_a_damaged_chunk_costs_its_rest_alone(store: str) -> None:
    recorder = Recorder(store, "01A", chunk_bytes=1)
    events = epochs(3)
    for start in range(0, len(events), 3):
        recorder.append(events[start : start + 3])
    recorder.finish()
    path = os.path.join(store, "wal", "01A-0-1")
    data = bytearray(FilePath(path).read_bytes())
    data[-5] ^= 1
    FilePath(path).write_bytes(bytes(data))
    record(store, "01B", epochs(2))
    seal.recover(store)
    snapshot = read_snapshot(store)
    assert len(cells(snapshot, "epoch", "acc")) == 4
    error = next(run.error for run in snapshot.runs if run.id == "01A")
    assert error is not None
    assert "01A-0-1: a damaged record" in error
    assert os.listdir(os.path.join(store, "wal")) == ["01A-0-1.damaged"]


@pytest.mark.parametrize("action", ["seal.py STORE", "seal.py STORE RUN"])
def test_the_sealer_as_a_process(store: str, action: str) -> None:
    record(store, "01A", epochs(2))
    arguments = [store, "01A"] if action.endswith("RUN") else [store]
    subprocess.run([sys.executable, "-m", "logql.store.seal", *arguments], cwd=ROOT, check=True)
    assert len(files(store)) == 3


def test_the_sealer_waits_for_a_recorder_that_ends(store: str) -> None:
    record(store, "01A", epochs(2))
    lock = liveness.hold_run(store, "01A")
    assert lock is not None
    child = subprocess.Popen([sys.executable, "-m", "logql.store.seal", store, "01A"], cwd=ROOT)
    time.sleep(0.5)
    assert child.poll() is None
    assert read_snapshot(store).levels["epoch"][0].path is None
    lock.release()
    assert child.wait(30) == 0
    assert len(files(store)) == 3
