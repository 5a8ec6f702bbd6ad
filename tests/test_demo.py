"""The demo as a newcomer runs it: a process, in an empty directory."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from logql.samples import load_sample, missing_packages, run_git, sample_names

ROOT = Path(__file__).resolve().parent.parent


def run_demo(name: str, directory: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "logql", "demo", name, str(directory)]
    environment = dict(os.environ) | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


@pytest.mark.parametrize("name", sample_names())
def test_demo_tells_the_whole_story(name: str, tmp_path: Path) -> None:
    sample = load_sample(name)
    if missing := missing_packages(sample):
        pytest.skip(f"needs {', '.join(missing)}")
    done = run_demo(name, tmp_path / "project")
    assert done.returncode == 0, done.stderr
    for version in sample.versions:
        assert version.message in done.stdout
    answer = done.stdout.split("Now the query itself")[1].split("The same again")[0]
    assert sample.new["after"] in answer
    assert "exact" in answer
    assert "diverged" not in answer
    assert run_git(tmp_path / "project", "status", "--porcelain") == ""


def test_demo_refuses_a_directory_in_use(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("do not touch")
    done = run_demo("digits", tmp_path)
    assert done.returncode == 1
    assert "is not empty" in done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_demo_names_the_samples_that_there_are(tmp_path: Path) -> None:
    done = run_demo("mnist", tmp_path / "project")
    assert done.returncode == 1
    assert "Did you mean: digits, sgd, torch_mlp" in done.stderr
