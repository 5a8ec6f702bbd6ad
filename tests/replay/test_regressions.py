"""What users of FlorDB ran into, end to end: each by its number in the list of regressions, asked in SQL."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

import logql
from tests.replay.conftest import ROOT, Project

Rows = list[tuple[object, ...]]

V1 = """\
import random
import logql

random.seed(5)
w, m = 1.0, 0.0
for epoch in logql.loop("epoch", range(3)):
    for step in logql.loop("step", range(8)):
        m = 0.5 * m + random.random()
        w -= 0.125 * m
        logql.log("loss", w * w)
    logql.log("val", w)
"""
V2 = """\
import random
import logql


def train(weight, momentum):
    for step in logql.loop("step", range(8)):
        momentum = 0.5 * momentum + random.random()
        weight -= 0.125 * momentum
        logql.log("loss", weight * weight)
    return weight, momentum


random.seed(5)
weight, momentum = 1.0, 0.0
for epoch in logql.loop("epoch", range(3)):
    weight, momentum = train(weight, momentum)
    logql.log("val", weight)
"""
OTHER = """\
import logql

for epoch in logql.loop("epoch", range(2)):
    logql.log("val", epoch * 0.5)
"""
NEW = V2.replace("        logql.log(", '        logql.log("speed", abs(momentum) / 2)\n        logql.log(', 1).replace(
    '    logql.log("val"', '    logql.log("size", abs(weight))\n    logql.log("val"'
)
QUERY = "SELECT run, epoch, step, loss, speed, size FROM logs ORDER BY run, epoch, step"


def _project(path: Path) -> Project:
    path.mkdir()
    subprocess.run(["git", "init", "-q", str(path)], check=True, capture_output=True)
    return Project(path)


def _ask(project: Project, query: str) -> Rows:
    connection = logql.connect(project.store)
    try:
        cursor = connection.cursor()
        cursor.execute(query)
        return [tuple(row) for row in cursor.fetchall()] if cursor.description else []
    finally:
        connection.close()


@dataclass(frozen=True)
class Asked:
    """A project of three versions (the second refactored, the third something else), and what the query answered."""

    project: Project
    rows: Rows
    truth: Rows
    runs: tuple[str, ...]


@pytest.fixture(scope="module")
def asked(tmp_path_factory: pytest.TempPathFactory) -> Asked:
    project, by_hand = (_project(tmp_path_factory.mktemp("regressions") / name) for name in ("project", "truth"))
    for source in (V1, V2, OTHER):
        project.write("train.py", source)
        project.commit()
        project.run()
    project.write("train.py", NEW)
    by_hand.write("train.py", NEW)
    by_hand.run()
    runs = tuple(str(run) for (run,) in _ask(project, "SELECT run FROM runs ORDER BY run"))
    return Asked(project, _ask(project, QUERY), _ask(by_hand, QUERY), runs)


def test_1_versions_whose_scripts_differ_are_replayed_together(asked: Asked) -> None:
    for run in asked.runs[:2]:
        assert [row[4] is not None for row in asked.rows if row[0] == run] == [True] * 24


def test_2_the_state_is_that_of_the_epochs_beginning(asked: Asked) -> None:
    truth = [row[1:] for row in asked.truth]
    for run in asked.runs[:2]:
        assert [row[1:] for row in asked.rows if row[0] == run] == truth
    for name in ("speed", "size"):
        _ask(asked.project, f"UNFILL {name}")
    alone = f"SELECT epoch, step, loss, speed, size FROM logs WHERE run = '{asked.runs[0]}' AND epoch = 2 ORDER BY step"
    assert _ask(asked.project, alone) == [row for row in truth if row[0] == 2]
    assert _ask(asked.project, "SELECT DISTINCT executed FROM fills WHERE state = 'done' AND first_index = 2") == [(1,)]


def test_3_a_version_without_a_place_stops_no_other(asked: Asked) -> None:
    rest = [row for row in asked.rows if row[0] == asked.runs[2]]
    assert [(row[1], row[4], row[5]) for row in rest] == [(0, None, None), (1, None, None)]
    (reason,) = {text for (text,) in _ask(asked.project, _reason(asked.runs[2]))}
    assert reason


def _reason(run: str) -> str:
    return f"SELECT reason(speed) FROM logs WHERE run = '{run}'"


def test_6_values_stand_in_the_rows_that_they_belong_to(asked: Asked) -> None:
    mine = [row for row in asked.rows if row[0] in asked.runs[:2]]
    assert len(mine) == 2 * 24
    assert all(value is not None for row in mine for value in row)


def test_7_every_step_of_an_epoch_is_recovered(asked: Asked) -> None:
    steps = [row[2] for row in asked.rows if row[:2] == (asked.runs[0], 1)]
    assert steps == list(range(8))


def test_14_what_is_filtered_or_there_already_is_not_replayed(asked: Asked) -> None:
    for name in ("speed", "size"):
        _ask(asked.project, f"UNFILL {name}")
    some = f"SELECT epoch, step, speed FROM logs WHERE run = '{asked.runs[1]}' AND epoch = 1 ORDER BY step"
    before = _done(asked.project)
    first = _ask(asked.project, some)
    ((executed, covered),) = [fill[1:] for fill in _done(asked.project) if fill not in before]
    assert (len(first), executed, covered) == (8, 1, 1)
    again = _done(asked.project)
    assert _ask(asked.project, some) == first
    assert _done(asked.project) == again


def _done(project: Project) -> Rows:
    return _ask(project, "SELECT started_at, executed, last_index FROM fills WHERE state = 'done'")


def test_8_unseeded_code_says_that_it_diverged(project: Project) -> None:
    source = V1.replace("random.seed(5)\n", "")
    project.write("train.py", source)
    project.run(every=None, LOGQL_OVERHEAD="0")
    project.write(
        "train.py", source.replace('    logql.log("val"', '    logql.log("size", abs(w))\n    logql.log("val"')
    )
    connection = logql.connect(project.store)
    cursor = connection.cursor()
    cursor.execute("SELECT epoch, size, fidelity(size) FROM logs WHERE epoch = 2")
    ((epoch, size, fidelity),) = cursor.fetchall()
    told = " ".join(str(message) for _, message in cursor.messages)
    connection.close()
    assert (epoch, size is not None, fidelity) == (2, True, "diverged")
    assert "not seeded" in told


def test_9_the_command_line_is_replayed(project: Project) -> None:
    source = (
        "import argparse\nimport logql\n\nparser = argparse.ArgumentParser()\n"
        "parser.add_argument('--scale', type=float, required=True)\nscale = parser.parse_args().scale\n"
        "for epoch in logql.loop('epoch', range(3)):\n    x = scale * epoch\n    logql.log('x', x)\n"
    )
    project.write("train.py", source)
    project.run("train.py", "--scale", "2.5")
    project.write("train.py", source + "    logql.log('y', x + 1)\n")
    assert _ask(project, "SELECT epoch, y FROM logs ORDER BY epoch") == [(0, 1.0), (1, 3.5), (2, 6.0)]


def test_11_runs_that_were_recorded_at_once_are_replayed(project: Project) -> None:
    project.write("train.py", V1)
    project.commit()
    environment = {**os.environ, "PYTHONPATH": ROOT, "LOGQL_CHECKPOINT_EVERY": "1"}
    command = [sys.executable, "train.py"]
    started = [subprocess.Popen(command, cwd=project.path, env=environment) for _ in range(4)]
    assert [one.wait(timeout=120) for one in started] == [0] * 4
    project.write("train.py", V1.replace('    logql.log("val"', '    logql.log("size", abs(w))\n    logql.log("val"'))
    rows = _ask(project, "SELECT run, epoch, size, abs(val) FROM logs WHERE epoch = 1")
    assert len({run for run, *_ in rows}) == 4
    assert all(size == expected for _, _, size, expected in rows)


def test_13_sub_directories_modules_patterns_detached_heads_and_inactive_environments(project: Project) -> None:
    work = "def work(x):\n    total = x * 2.0\n    return {'a': total, 'b': -total}\n"
    train = (
        "import sys\nimport logql\nfrom lib.work import work\n\n"
        "for epoch in logql.loop('epoch', range(3)):\n    metrics = work(epoch)\n    logql.log('x', metrics['a'])\n"
    )
    project.write("jobs/lib/work.py", work)
    project.write("jobs/train.py", train)
    project.commit()
    subprocess.run(["git", "checkout", "-q", "--detach"], cwd=project.path, check=True)
    project.run("jobs/train.py", PATH="/usr/bin:/bin", VIRTUAL_ENV="")
    pattern = "    for key, value in metrics.items():\n        logql.log(f'val_{key}', value)\n"
    project.write("jobs/train.py", train + pattern)
    project.write(
        "jobs/lib/work.py", "import logql\n" + work.replace("    return", "    logql.log('t', total)\n    return")
    )
    project.run("jobs/train.py")
    rows = _ask(project, "SELECT run, epoch, x, t, val_a, val_b FROM logs ORDER BY run, epoch")
    expected = [(epoch, *(sign * 2.0 * epoch for sign in (1, 1, 1, -1))) for epoch in range(3)]
    assert [row[1:] for row in rows] == expected * 2
