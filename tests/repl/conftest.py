"""A small project with a history: two versions trained, a third name only in today's source."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
SCRIPT = """
import os
import time
import logql

pause = float(os.environ.get("PAUSE", "0")) if os.environ.get("LOGQL_REPLAY") else 0.0
lr = logql.arg("lr", 0.5)
for epoch in logql.loop("epoch", range(logql.arg("epochs", 4))):
    time.sleep(pause)
    for step in logql.loop("step", range(2)):
        logql.log("train/loss", lr / (epoch + step + 1))
    logql.log("acc", 1 - lr / (epoch + 1))
logql.log("note", "NULL")
"""
NEW = SCRIPT.replace('    logql.log("acc"', '    logql.log("half", lr / 2)\n    logql.log("acc"')


def train(project: Path, *arguments: str) -> None:
    """Run the project's script as a user does."""
    command = [sys.executable, "-m", "logql", "run", "train.py", *(part for pair in arguments for part in ("-a", pair))]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    subprocess.run(command, cwd=project, env=environment, check=True, capture_output=True)


def git(project: Path, *arguments: str) -> None:
    """Run git without any of the user's configuration."""
    identity = ["-c", "user.name=Ada", "-c", "user.email=ada@example.org"]
    subprocess.run(["git", *identity, *arguments], cwd=project, check=True, capture_output=True)


def build(project: Path) -> Path:
    """The history: a commit, two runs, and an edit that logs `half`."""
    project.mkdir(parents=True, exist_ok=True)
    (project / "train.py").write_text(SCRIPT)
    git(project, "init", "-q")
    git(project, "add", ".")
    git(project, "commit", "-q", "-m", "first")
    train(project)
    train(project, "lr=0.25")
    (project / "train.py").write_text(NEW)
    return project


@pytest.fixture(scope="session")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project, for tests that do not change it (they may fill it)."""
    return build(tmp_path_factory.mktemp("repl") / "project")


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """The project, for one test alone."""
    return build(tmp_path / "project")
