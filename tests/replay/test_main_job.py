"""The whole way, as a user goes it: record versions, ask in SQL, get what was never logged; nothing else changes."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import pytest

import logql
from logql.catalog.virtual import ProjectSources
from logql.model import Run
from tests.replay.conftest import ROOT, Project

#: One training in three shapes: plain, renamed with the statement moved, and in a function of its own.
V1 = """\
import numpy as np
import logql

rng = np.random.default_rng(0)
w = rng.normal(size=5)
m = np.zeros(5)
for epoch in logql.loop("epoch", range(5)):
    print("epoch", epoch)
    for step in logql.loop("step", range(3)):
        grad = w + rng.normal(size=5)
        m = 0.9 * m + grad
        w = w - 0.1 * m
        logql.log("loss", float((w**2).sum()))
    logql.log("acc", float(1 / (1 + np.abs(w).sum())))
"""
V2 = (
    V1.replace("w = ", "weights = ")
    .replace("w - ", "weights - ")
    .replace("w + ", "weights + ")
    .replace("(w**2)", "(weights**2)")
    .replace("np.abs(w)", "np.abs(weights)")
    .replace("weights = rng.normal(size=5)\n", "weights = rng.normal(size=5)\nlr = 0.1\n")
    .replace("0.1 * m", "lr * m")
)
V3 = """\
import numpy as np
import logql


def train(weights, m, lr, rng):
    for epoch in logql.loop("epoch", range(5)):
        print("epoch", epoch)
        for step in logql.loop("step", range(3)):
            grad = weights + rng.normal(size=5)
            m = 0.9 * m + grad
            weights = weights - lr * m
            logql.log("loss", float((weights**2).sum()))
{new}        logql.log("acc", float(1 / (1 + np.abs(weights).sum())))
    return weights


if __name__ == "__main__":
    rng = np.random.default_rng(0)
    train(rng.normal(size=5), np.zeros(5), 0.1, rng)
"""
NEW = '        logql.log("momentum", float(np.abs(m).sum()))\n'


def _ask(project: Project, query: str) -> list[tuple[object, ...]]:
    connection = logql.connect(project.store)
    try:
        cursor = connection.cursor()
        cursor.execute(query)
        return [tuple(row) for row in cursor.fetchall()]
    finally:
        connection.close()


def _truth(project: Project) -> dict[int, float]:
    other = Project(project.path.parent / "truth")
    other.path.mkdir()
    other.write("train.py", V3.replace("{new}", NEW))
    other.run()
    return dict(_ask(other, "SELECT epoch, momentum FROM logs ORDER BY epoch"))  # type: ignore[arg-type]


@pytest.fixture
def history(project: Project) -> Project:
    """Three versions, each trained; the statement stands in today's source only."""
    for source in (V1, V2, V3.replace("{new}", "")):
        project.write("train.py", source)
        project.commit()
        project.run()
    project.write("train.py", V3.replace("{new}", NEW))
    return project


def test_values_of_a_three_version_refactoring_are_right(history: Project) -> None:
    rows = _ask(history, "SELECT run, epoch, momentum FROM logs ORDER BY run, epoch")
    truth = _truth(history)
    assert len({run for run, _, _ in rows}) == 3
    assert [(epoch, value) for _, epoch, value in rows] == [pair for _ in range(3) for pair in truth.items()]
    assert _ask(history, "SELECT DISTINCT fidelity, state, error FROM fills") == [("exact", "done", None)]


def test_names_whose_statements_do_not_fit_beside_each_other_are_filled_one_by_one(
    history: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    together = ProjectSources.patched

    def patched(self: ProjectSources, names: Iterable[str], run: Run) -> tuple[dict[str, str] | None, str | None]:
        names = list(names)
        return together(self, names, run) if len(names) == 1 else (None, "they do not fit")

    monkeypatch.setattr(ProjectSources, "patched", patched)
    history.write(
        "train.py", V3.replace("{new}", NEW + NEW.replace("momentum", "twice").replace("float(", "2 * float("))
    )
    rows = _ask(history, "SELECT momentum, twice FROM logs WHERE epoch = 4")
    assert len(rows) == 3
    assert all(twice == 2 * momentum for momentum, twice in rows)  # type: ignore[operator]


def test_only_the_wanted_epochs_of_the_wanted_version_are_executed(history: Project) -> None:
    ((version,),) = _ask(history, "SELECT version FROM runs ORDER BY run LIMIT 1")
    query = f"SELECT epoch, momentum FROM logs WHERE version = '{version}' AND epoch BETWEEN 3 AND 4 ORDER BY epoch"
    rows = _ask(history, query)
    truth = _truth(history)
    assert rows == [(3, truth[3]), (4, truth[4])]
    fills = _ask(history, "SELECT version, loop, first_index, last_index, executed, log FROM fills")
    ((filled, loop, first, last, executed, log),) = fills
    assert (filled, loop, first, last, executed) == (version, "epoch", 3, 4, 2)
    assert Path(history.store, str(log)).read_text() == "epoch 3\nepoch 4\n"
    assert _ask(history, query) == rows
    assert len(_ask(history, "SELECT * FROM fills")) == 1


def test_the_repository_stays_byte_identical(history: Project) -> None:
    history.write("data/private.txt", "kept")
    hook = history.path / ".git" / "hooks" / "pre-commit"
    hook.write_text("#!/bin/sh\nexit 1\n")
    hook.chmod(0o755)
    subprocess.run(["git", "checkout", "-q", "--detach"], cwd=history.path, check=True)
    before = _bytes(history.path)
    assert len(_ask(history, "SELECT momentum FROM logs WHERE epoch = 1")) == 3
    assert _bytes(history.path) == before


@pytest.mark.parametrize("after_s", [0.9, 1.6, 2.3])
def test_a_killed_query_goes_on_where_it_was(history: Project, after_s: float) -> None:
    query = "SELECT run, epoch, momentum FROM logs ORDER BY run, epoch"
    text = f"import logql; logql.connect({history.store!r}).cursor().execute({query!r}).fetchall()"
    environment = {**os.environ, "PYTHONPATH": ROOT}
    asking = subprocess.Popen([sys.executable, "-c", text], env=environment)
    try:
        asking.wait(timeout=after_s)
    except subprocess.TimeoutExpired:
        asking.kill()
        asking.wait()
    rows = _ask(history, query)
    truth = _truth(history)
    assert [(epoch, value) for _, epoch, value in rows] == [pair for _ in range(3) for pair in truth.items()]
    assert not list(Path(history.store, "scratch").glob("replay-*"))


def test_ignored_data_is_found_and_stays(project: Project) -> None:
    project.write("data/scale.txt", "2.5")
    source = (
        "import os\nimport logql\n\nscale = float(open('data/scale.txt').read())\n"
        "for epoch in logql.loop('epoch', range(3)):\n    value = scale * epoch\n    logql.log('value', value)\n"
        "    open('data/scale.txt', 'w').write('2.5')\n    open('data/seen.txt', 'a').write(str(epoch))\n"
        "{new}"
    )
    project.write("train.py", source.replace("{new}", ""))
    project.commit()
    project.run()
    project.write("data/seen.txt", "mine")
    project.write("train.py", source.replace("{new}", "    logql.log('twice', 2 * value)\n"))
    assert _ask(project, "SELECT epoch, twice FROM logs ORDER BY epoch") == [(0, 0.0), (1, 5.0), (2, 10.0)]
    assert (project.path / "data" / "seen.txt").read_text() == "mine"


def _bytes(root: Path) -> dict[str, str]:
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file() and ".logql" not in path.relative_to(root).parts
    }
