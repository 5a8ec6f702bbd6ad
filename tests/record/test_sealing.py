"""A run that logs for long is sealed while it goes on."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from logql.store import wal
from logql.store.snapshot import forget, read_snapshot
from tests.store.test_seal import ROOT, files

SCRIPT = """
import sys, time, logql
for n in logql.loop("step", range(int(sys.argv[1]))):
    logql.log("loss", n / 4)
print("logged", flush=True)
sys.stdin.read()
"""


@pytest.mark.slow
@pytest.mark.timeout(1500)
def test_a_long_run_is_sealed_while_it_goes_on(tmp_path: Path) -> None:
    count = 2_000_000
    (tmp_path / "train.py").write_text(SCRIPT)
    store = str(tmp_path / ".logql")
    command = [sys.executable, "train.py", str(count)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(
        command, cwd=tmp_path, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as training:  # fmt: skip
        assert training.stdout is not None
        assert training.stdout.readline() == b"logged\n"
        deadline = time.monotonic() + 1200
        while len(files(store)) < 2 and time.monotonic() < deadline:
            time.sleep(0.5)
        assert len(files(store)) >= 2
        snapshot = read_snapshot(store)
        assert [run.status for run in snapshot.runs] == ["running"]
        assert sum(piece.rows for piece in snapshot.levels["step"]) == count
        stream = sum(os.path.getsize(chunk.path) for chunk in wal.list_chunks(store))
        assert stream < count * 52 * 0.8
        assert training.stdin is not None
        training.stdin.close()
        training.wait(60)
    while os.listdir(os.path.join(store, "wal")) and time.monotonic() < deadline:
        time.sleep(0.5)
    del snapshot
    forget()
    found = read_snapshot(store)
    assert [run.status for run in found.runs] == ["finished"]
    assert all(piece.path is not None for piece in found.levels["step"])
    tables = [pq.read_table(piece.path, columns=["step"], partitioning=None) for piece in found.levels["step"]]
    assert pa.concat_tables(tables).column("step").sort().to_numpy().tolist() == list(range(count))
    forget()


ENTERING = """
from logql.store import catalog, liveness
original = catalog.Catalog.add_run
def add_run(self, run):
    print([liveness.is_held(path(self.store, run.id)) for path in (liveness.run_lock, liveness.main_lock)])
    return original(self, run)
catalog.Catalog.add_run = add_run
import logql
logql.log("x", 1.0)
"""


def test_a_run_is_held_before_anybody_can_see_it(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(ENTERING)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "train.py"], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "[True, True]\n"
