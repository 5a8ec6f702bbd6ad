"""The notebook magics, in an IPython shell."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent
SCRIPT = """
import logql
for epoch in logql.loop("epoch", range(3)):
    logql.log("loss", 1 / (epoch + 1))
"""


@pytest.fixture
def shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    pytest.importorskip("IPython")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    from IPython.core.interactiveshell import InteractiveShell
    from traitlets.config import Config

    project = tmp_path / "project"
    project.mkdir()
    (project / "train.py").write_text(SCRIPT)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "train.py"], cwd=project, env=environment, check=True)
    (project / "train.py").write_text(SCRIPT + "    logql.log('double', 2 / (epoch + 1))\n")
    monkeypatch.chdir(project)
    config = Config()
    config.HistoryManager.enabled = False
    found = InteractiveShell(config=config)
    found.run_line_magic("load_ext", "logql")
    yield found
    found.run_line_magic("unload_ext", "logql")
    found.run_line_magic("reset", "-f")


def test_line_and_cell(shell: Any) -> None:
    frame = shell.run_line_magic("logql", "SELECT epoch, loss FROM logs ORDER BY epoch LIMIT 2")
    assert frame.to_dict("list") == {"epoch": [0, 1], "loss": [1.0, 0.5]}
    frame = shell.run_cell_magic("logql", "", "SELECT double FROM logs\nWHERE epoch = 1")
    assert frame["double"].tolist() == [1.0]


def test_a_result_goes_into_a_variable(shell: Any) -> None:
    assert shell.run_cell_magic("logql", "kept <<", "SELECT 40 + 2 AS answer") is None
    assert shell.user_ns["kept"]["answer"].tolist() == [42]


def test_charts(shell: Any) -> None:
    pytest.importorskip("altair")
    chart = shell.run_line_magic("logql", "--plot SELECT epoch, loss FROM logs")
    assert chart.to_dict()["encoding"]["y"]["field"] == "loss"


def test_errors_are_told_without_a_traceback(shell: Any, capsys: pytest.CaptureFixture[str]) -> None:
    assert shell.run_line_magic("logql", "SELECT los FROM logs") is None
    assert "Did you mean: loss" in capsys.readouterr().err
    assert shell.run_line_magic("logql", "--polt SELECT 1") is None
    assert "there is no option --polt" in capsys.readouterr().err
    assert shell.run_line_magic("logql", f"--store {os.getcwd()}/nowhere SELECT 1") is None
    assert "there is no store" in capsys.readouterr().err


def test_statements_without_rows(shell: Any) -> None:
    assert shell.run_line_magic("logql", "SET replay = 'off'") is None
    frame = shell.run_line_magic("logql", "SHOW replay")
    assert frame["value"].tolist() == ["off"]
