"""Trainings that go on where an earlier run stopped: each is replayed from the file that it read, as it was then."""

from __future__ import annotations

import pytest

from logql.dbapi import connect
from logql.model import Run
from logql.replay.job import Isolation, Job, Options, Result
from logql.store.catalog import Catalog
from tests.replay.conftest import Project, after, values

#: Overwrites what it began from, and reads its own best weights at the end; logs what the replay is to find again.
RESUMED = """\
import os, pickle, random
import logql

first, w, best = 0, [0.0, 0.0], -1e9
if os.path.exists("out/state.pth"):
    with open("out/state.pth", "rb") as file:
        first, w, best = pickle.load(file)
os.makedirs("out", exist_ok=True)
random.seed(first)
for epoch in logql.loop("epoch", range(first, first + 3)):
    w = [x * 0.9 + random.gauss(0, 1) for x in w]
    square = sum(x * x for x in w)
    logql.log("truth", square)
    if sum(w) > best:
        best = sum(w)
        with open("out/best.pkl", "wb") as file:
            pickle.dump(w, file)
    with open("out/state.pth", "wb") as file:
        pickle.dump((epoch + 1, w, best), file)
with open("out/best.pkl", "rb") as file:
    w = pickle.load(file)
score = sum(w)
logql.log("score", score)
"""
SQUARE = after("square =", 'logql.log("square", square)')
COPY = after("score =", 'logql.log("copy", score)')


def _train(project: Project, script: str, runs: int) -> None:
    project.write("train.py", script)
    project.commit()
    for _ in range(runs):
        project.run()


def _replay(project: Project, isolation: Isolation, *jobs: Job) -> list[Result]:
    results = project.replay(*jobs, options=Options(isolation=isolation))
    assert [(result.state, result.error) for result in results] == [("done", None)] * len(jobs)
    assert all(result.notes == () or "isolation is weak" in result.notes[0] for result in results)
    return results


def _recorded(project: Project, name: str, relation: str) -> list[dict[tuple[int, ...], object]]:
    """What each run recorded under a name, by index."""
    index = "epoch_index" if relation == "epoch" else "NULL"
    with connect(project.store, replay="off") as connection:
        rows = connection.execute(f"SELECT run, {index}, {name} FROM {relation} ORDER BY run").fetchall()
    found: dict[str, dict[tuple[int, ...], object]] = {}
    for run, at, value in rows:
        found.setdefault(run, {})[() if at is None else (at,)] = value
    return list(found.values())


@pytest.mark.parametrize(("isolation", "checkpoints"), [("strong", True), ("weak", False)])
def test_each_resumed_run_is_replayed_from_the_files_that_it_read(
    project: Project, isolation: Isolation, checkpoints: bool
) -> None:
    _train(project, RESUMED, 3)
    jobs = [project.job(SQUARE, ["square"], (1, 2), run=run) for run in range(3)]
    jobs += [project.job(COPY, ["copy"], (), loop=None, run=run) for run in range(3)]
    if not checkpoints:
        jobs = [project.without_checkpoints(job) for job in jobs]
    results = _replay(project, isolation, *jobs)
    found = [values(result.events, "square") for result in results[:3]]
    wanted = (1, 2) if checkpoints else (0, 1, 2)
    truth = _recorded(project, "truth", "epoch")
    assert found == [{(index,): own[index,] for index in wanted} for own in truth]
    assert [values(result.events, "copy") for result in results[3:]] == _recorded(project, "score", "runs")


def test_what_the_user_gave_and_the_run_overwrote_is_as_it_was(project: Project) -> None:
    project.write("data/start.txt", "1.5")
    project.write("data/other.txt", "2.5")
    script = """\
import os
import logql

x = float(open("data/start.txt").read()) * float(open("data/other.txt").read())
for epoch in logql.loop("epoch", range(3)):
    x = x * 1.5 + epoch
    logql.log("truth", x)
    open("data/start.txt", "w").write(str(x))
    open("data/other.tmp", "w").write(str(x))
    os.replace("data/other.tmp", "data/other.txt")
"""
    _train(project, script, 2)
    jobs = [project.job(after("x = x *", 'logql.log("copy", x)'), ["copy"], (0, 1, 2), run=run) for run in (0, 1)]
    results = _replay(project, "strong", *[project.without_checkpoints(job) for job in jobs])
    assert [values(result.events, "copy") for result in results] == _recorded(project, "truth", "epoch")


def test_a_file_that_could_not_be_kept_ends_the_replay_with_its_reason(project: Project) -> None:
    _train(project, RESUMED, 3)
    with Catalog.open(project.store) as catalog:
        run = catalog.runs()[1]
        inputs = [[path, seq, size, time, None, "larger than 256 MB"] for path, seq, size, time, *_ in _inputs(run)]
        catalog.update_run(run.id, environment={**run.environment, "inputs": inputs})
    (result,) = project.replay(project.job(SQUARE, ["square"], (1,), run=1))
    assert result.state == "failed"
    assert result.error == "out/state.pth, which the run read, was not kept and has changed: larger than 256 MB"


#: Overwrites in each iteration what it has just read, more than once between two values.
HISTORY = """\
import json
import logql, logql.record.inputs

logql.record.inputs.MAX_FILES = {most}


def grow():
    with open("history.json") as file:
        history = json.load(file)
    with open("history.json", "w") as file:
        json.dump([*history, len(history)], file)
    return len(history)


with open("history.json", "w") as file:
    file.write("[7]")
for epoch in logql.loop("epoch", range(6)):
    first, _, last = grow(), grow(), grow()
    size = first * 100 + last
    logql.log("truth", size)
"""


@pytest.mark.parametrize("most", [1000, 4])
def test_what_a_run_reads_and_overwrites_at_once_is_as_it_was_or_written_again(project: Project, most: int) -> None:
    _train(project, HISTORY.format(most=most), 1)
    jobs = [project.job(after("size =", 'logql.log("size", size)'), ["size"], (index,)) for index in (1, 4, 5)]
    results = project.replay(*jobs)
    assert [(result.state, result.error, result.fidelity) for result in results] == [("done", None, "exact")] * 3
    (truth,) = _recorded(project, "truth", "epoch")
    for result in results:
        found = values(result.events, "size")
        assert found == {place: truth[place] for place in found}
        (wanted,) = result.segment.wanted
        assert (wanted,) in found
    not_kept = [any("history.json, which the run read, was not kept" in note for note in one.notes) for one in results]
    assert not_kept[1:] == [most == 4] * 2


def test_what_was_prepared_before_training_stays_where_it_is(project: Project) -> None:
    script = """\
import os
import logql

if not os.path.exists("data/numbers.txt"):
    os.makedirs("data")
    with open("data/numbers.txt", "w") as file:
        file.write("1 2 3")
    print("prepared")
with open("data/numbers.txt") as file:
    numbers = [float(word) for word in file.read().split()]
for epoch in logql.loop("epoch", range(2)):
    total = sum(numbers) + epoch
    logql.log("total", total)
"""
    _train(project, script, 2)
    with Catalog.open(project.store) as catalog:
        assert [_inputs(run) for run in catalog.runs()] == [[], []]
    edit = after("total =", 'logql.log("more", total)')
    first, second = project.replay(*[project.job(edit, ["more"], (1,), run=run) for run in (0, 1)])
    assert (first.state, second.state) == ("done", "done")
    assert "prepared" not in project.log(first)


TORCH = """\
import os, torch, logql
from torch import nn

torch.set_num_threads(1)
torch.manual_seed(0)
net, first = nn.Sequential(nn.Linear(4, 8), nn.Dropout(0.2), nn.Linear(8, 2)), 0
optimizer = torch.optim.Adam(net.parameters(), lr=0.1)
if os.path.exists("ckpt.pt"):
    kept = torch.load("ckpt.pt", weights_only=False)
    net.load_state_dict(kept["net"])
    optimizer.load_state_dict(kept["optimizer"])
    first = kept["epoch"]
x, y = torch.randn(16, 4), torch.randint(0, 2, (16,))
for epoch in logql.loop("epoch", range(first, first + 3)):
    loss = nn.functional.cross_entropy(net(x), y)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    logql.log("loss", loss)
    logql.log("truth", net[0].weight.abs().sum())
    torch.save({"net": net.state_dict(), "optimizer": optimizer.state_dict(), "epoch": epoch + 1}, "ckpt.pt")
"""


@pytest.mark.slow
@pytest.mark.torch
def test_a_query_over_resumed_trainings_equals_the_truth(project: Project) -> None:
    project.write(".gitignore", "*.pt\n")
    _train(project, TORCH, 3)
    project.write("train.py", after('logql.log("truth"', 'logql.log("w", net[0].weight.abs().sum())')(TORCH))
    with connect(project.store) as connection:
        rows = connection.execute("SELECT epoch, truth, w, fidelity(w) FROM epoch ORDER BY run, epoch").fetchall()
    assert [epoch for epoch, *_ in rows] == list(range(9))
    assert all(w == truth for _, truth, w, _ in rows)
    assert {fidelity for *_, fidelity in rows} == {"exact"}


def _inputs(run: Run) -> list[list[object]]:
    found = run.environment.get("inputs", [])
    assert isinstance(found, list)
    return found


NUMBERED = """\
import os
import logql

number = 1
while os.path.exists(f"runs/exp{number}"):
    number += 1
out = f"runs/exp{number}"
os.makedirs(f"{out}/weights")
open(f"{out}/opt.yaml", "w").write("lr: 1")
total = 0.0
for epoch in logql.loop("epoch", range(4)):
    total += epoch
    logql.log("total", total)
    open(f"{out}/weights/last.txt", "w").write(str(total))
"""


@pytest.mark.parametrize("restored", [True, False])
def test_a_run_does_not_find_its_own_directory(project: Project, restored: bool) -> None:
    project.write("train.py", NUMBERED)
    project.write(".gitignore", "runs/\n")
    project.commit()
    for _ in range(3):
        project.run()
    edit = after('logql.log("total", total)', 'logql.log("out", out)')
    for number in range(3):
        job = project.job(edit, ["out"], (2,), run=number)
        (result,) = project.replay(job if restored else project.without_checkpoints(job))
        assert (result.state, result.error, result.fidelity) == ("done", None, "exact")
        assert set(values(result.events, "out").values()) == {f"runs/exp{number + 1}"}
