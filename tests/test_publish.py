"""Publishing: every relation over one snapshot, in one step, and never over files of others."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import logql
from logql import dbapi
from logql.cli import main
from logql.errors import OperationalError
from logql.publish import MANIFEST, publish, write_snapshot
from logql.store.snapshot import forget
from tests.store.history import epochs, record
from tests.test_session import NEW, OLD, truth


def _rows(directory: Path, relation: str) -> list[dict[str, object]]:
    (file,) = (directory / relation).glob("*.parquet")
    rows: list[dict[str, object]] = pq.read_table(file).to_pylist()
    return rows


def test_every_relation_is_there(store: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "out" / "runs"
    assert main(["--store", store, "publish", str(target)]) == 0
    told = dict(line.split("\t") for line in capsys.readouterr().out.splitlines())
    assert set(told) == {path.name for path in target.iterdir()} - {MANIFEST}
    assert {
        "logs",
        "runs",
        "versions",
        "columns",
        "fills",
        "checkpoints",
        "output",
        "packages",
        "epoch",
        "step",
    } <= set(told)
    for relation, rows in told.items():
        assert len(_rows(target, relation)) == int(rows)
    with dbapi.connect(store, replay="off") as connection:
        for relation in ("logs", "epoch", "step", "runs"):
            asked = connection.execute(f"SELECT * FROM {relation}").arrow().to_pylist()
            assert sorted(map(str, asked)) == sorted(map(str, _rows(target, relation)))


def test_hindsight_values_are_joined_in(tmp_path: Path) -> None:
    (tmp_path / "train.py").write_text(OLD)
    environment = {**os.environ, "PYTHONPATH": str(Path(logql.__file__).parent.parent)}
    subprocess.run([sys.executable, "train.py"], cwd=tmp_path, check=True, env=environment)
    (tmp_path / "train.py").write_text(NEW)
    store = str(tmp_path / ".logql")
    with dbapi.connect(store) as connection:
        connection.execute("FILL square WHERE epoch < 4")
    publish(store, str(tmp_path / "out"))
    publish(store, str(tmp_path / "out"))
    squares, _, _ = truth()
    for relation in ("logs", "epoch"):
        found = {row["epoch"]: row["square"] for row in _rows(tmp_path / "out", relation)}
        assert found == {epoch: squares[epoch] if epoch < 4 else None for epoch in range(6)}
    assert {row["state"] for row in _rows(tmp_path / "out", "fills")} == {"done"}
    forget(store)


def test_again_is_up_to_date_until_something_changes(store: str, tmp_path: Path) -> None:
    target = tmp_path / "out"
    with dbapi.connect(store) as connection:
        assert write_snapshot(connection.session, str(target)).written
        record(store, "R2", epochs(1), "2" * 12)
        assert write_snapshot(connection.session, str(target)).rows["runs"] == 2
    assert {row["run"] for row in _rows(target, "runs")} == {"R1", "R2"}
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".out")] == []


def test_files_of_others_are_left_alone(store: str, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    for target, reason in (("mine", "did not publish"), (".logql/out", "store itself"), (".logql", "store itself")):
        with pytest.raises(OperationalError, match=reason):
            publish(store, str(tmp_path / target))
    assert (tmp_path / "mine" / "thesis.tex").read_text() == "x"


def test_a_failure_leaves_the_old_snapshot(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "out"
    publish(store, str(target))
    before = json.loads((target / MANIFEST).read_text())
    record(store, "R2", epochs(1), "2" * 12)
    monkeypatch.setattr("logql.publish._relations", lambda _: ["logs", "nothing of the kind"])
    with pytest.raises(dbapi.ProgrammingError):
        publish(store, str(target))
    assert json.loads((target / MANIFEST).read_text()) == before
    assert len(_rows(target, "runs")) == 1
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".out")] == []
