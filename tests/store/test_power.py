"""What `logql.flush()` returned from survives a loss of power, in a store that the run itself made."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path as FilePath

import pytest

from logql.store.catalog import Catalog
from logql.store.snapshot import forget, read_snapshot
from tests.store.test_seal import cells

SCRIPT = """
import os
from tests.store.power import Disk
disk = Disk()
import logql
lr = logql.arg("lr", 0.5)
for epoch in logql.loop("epoch", range(3)):
    logql.log("acc", epoch / 4)
logql.flush()
logql.log("later", 1.0)
disk.survive(os.getcwd(), "../left")
os._exit(0)
"""


@pytest.mark.skipif(not os.path.exists("/proc/self/fd"), reason="needs to know what a descriptor is of")
def test_what_was_flushed_is_there_after_a_loss_of_power(tmp_path: FilePath) -> None:
    project = tmp_path / "project"
    project.mkdir()
    (project / "train.py").write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(FilePath(__file__).parents[2]), "LOGQL_SEAL": "0"}
    subprocess.run([sys.executable, "train.py"], cwd=project, env=environment, check=True, timeout=60)
    store = str(tmp_path / "left" / ".logql")
    try:
        with Catalog.open(store) as catalog:
            (run,) = catalog.runs()
            assert (run.status, run.args) == ("running", {"lr": 0.5})
        found = read_snapshot(store)
        assert cells(found, "epoch", "epoch", "acc") == [(0, 0.0), (1, 0.25), (2, 0.5)]
        assert [run.status for run in found.runs] == ["killed"]
        assert "later" not in found.shapes[run.id].levels[()]
    finally:
        forget()
