"""Hindsight values equal those of the same version with the statement from the start, bit for bit."""

from __future__ import annotations

import json

import pyarrow.parquet as pq
import pytest

from logql.replay.job import Options
from logql.store.snapshot import read_snapshot
from tests.replay.conftest import Project, after, before, values

SCRIPT = """\
import numpy as np
import logql

EPOCHS = logql.arg("epochs", 6)
rng = np.random.default_rng(0)
np.random.seed(7)
w = rng.normal(size=8)
v = np.zeros(8)
best = 1e9


def step(w, v, lr):
    g = w + rng.normal(size=8) * 0.1 + np.random.normal(size=8) * 0.01
    v *= 0.9
    v += g
    w -= lr * v
    return g


norm0 = float(np.abs(w).sum())
for epoch in logql.loop("epoch", range(EPOCHS)):
    lr = 0.1 / (1 + epoch)
    print("epoch", epoch)
    for i in logql.loop("step", range(3)):
        g = step(w, v, lr)
        logql.log("loss", float((w**2).sum()))
    val = float(np.abs(w).sum())
    if val < best:
        best = val
    logql.log("val", val)
final = float(w @ w)
logql.log("best", best)
"""

#: name: how to put its statement in
PLACES = {
    "first": after("lr = 0.1", 'logql.log("first", float(w.sum()) * lr)'),
    "inner": after("g = step", 'logql.log("inner", float(np.abs(g).max()))'),
    "last": before('logql.log("val"', 'logql.log("last", float(v.max()))'),
    "end": after("final =", 'logql.log("end", final * 2)'),
    "start": after("norm0 =", 'logql.log("start", norm0)'),
}


def _truth(project: Project, name: str) -> dict[tuple[int, ...], object]:
    """What the version logs that had the statement from the start, trained afresh elsewhere."""
    other = Project(project.path.parent / f"truth-{name}")
    other.path.mkdir()
    other.write("train.py", PLACES[name](SCRIPT))
    other.run()
    found: dict[tuple[int, ...], object] = {}
    for level, pieces in read_snapshot(other.store).levels.items():
        for piece in pieces:
            table = piece.table if piece.table is not None else pq.read_table(piece.path)
            if name in table.column_names:
                loops = [] if level == "run" else level.split(".")
                for row in table.to_pylist():
                    found[tuple(row[f"{loop}_index"] for loop in loops)] = row[name]
    return found


@pytest.mark.parametrize("name", ["first", "inner", "last"])
@pytest.mark.parametrize("wanted", [(0,), (3, 4), (1, 5)])
def test_epoch_and_step_values_equal_those_logged_from_the_start(
    project: Project, name: str, wanted: tuple[int, ...]
) -> None:
    project.write("train.py", SCRIPT)
    project.commit()
    project.run()
    (result,) = project.replay(project.job(PLACES[name], [name], wanted))
    truth = _truth(project, name)
    assert (result.state, result.error) == ("done", None)
    assert values(result.events, name) == {key: value for key, value in truth.items() if key[0] in wanted}
    assert result.notes == ()
    assert result.fidelity == "exact"
    assert result.executed == len(wanted)
    assert [line for line in project.log(result).splitlines() if line.startswith("epoch")] == [
        f"epoch {index}" for index in wanted
    ]


@pytest.mark.parametrize("name", ["end", "start"])
def test_run_level_values_need_no_iteration(project: Project, name: str) -> None:
    project.write("train.py", SCRIPT)
    project.commit()
    project.run()
    (result,) = project.replay(project.job(PLACES[name], [name], (), loop=None))
    assert (result.state, result.error) == ("done", None)
    assert values(result.events, name) == _truth(project, name)
    assert result.executed == 0
    assert "epoch" not in project.log(result)


def test_without_checkpoints_the_whole_beginning_is_executed(project: Project) -> None:
    project.write("train.py", SCRIPT)
    project.run(every=None, LOGQL_OVERHEAD="0")
    (result,) = project.replay(project.job(PLACES["last"], ["last"], (3,)))
    truth = _truth(project, "last")
    assert values(result.events, "last") == {key: truth[key] for key in [(0,), (1,), (2,), (3,)]}
    assert (result.executed, result.covered, result.fidelity) == (4, (0, 1, 2, 3), "exact")


def test_a_value_before_the_inner_loop_ends_each_iteration_early(project: Project) -> None:
    project.write("train.py", SCRIPT)
    project.run()
    (result,) = project.replay(project.job(PLACES["first"], ["first"], (1, 3, 5), once=True))
    truth = _truth(project, "first")
    assert values(result.events, "first") == {key: truth[key] for key in [(1,), (3,), (5,)]}
    assert result.compared == 0
    assert result.fidelity == "unchecked"


def test_the_recorded_order_is_continued(project: Project) -> None:
    project.write("train.py", SCRIPT)
    project.run()
    (whole,) = project.replay(project.without_checkpoints(project.job(PLACES["inner"], ["inner"], (4,))))
    (short,) = project.replay(project.job(PLACES["inner"], ["inner"], (4,)))
    places = {(event.path, event.seq, event.sub) for event in whole.events if event.path[0].index == 4}
    assert {(event.path, event.seq, event.sub) for event in short.events} == places


def test_many_segments_at_once(project: Project) -> None:
    project.write("train.py", SCRIPT)
    project.run()
    project.run("train.py", LOGQL_ARGS="epochs=4")
    jobs = [project.job(PLACES["last"], ["last"], (index,), run=0) for index in range(4)]
    jobs += [project.job(PLACES["last"], ["last"], (2, 3), run=1)]
    results = project.replay(*jobs, options=Options(workers=4))
    assert [result.state for result in results] == ["done"] * 5
    truth = _truth(project, "last")
    for index in range(4):
        assert values(results[index].events, "last") == {(index,): truth[index,]}
    assert json.loads(json.dumps([result.fidelity for result in results])) == ["exact"] * 5
