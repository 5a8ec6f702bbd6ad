"""Programs of many shapes: functions, folds, several main loops, breaks, packages, arguments, PyTorch."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from logql.replay.job import Isolation, Job, Options, Result
from tests.replay.conftest import ROOT, Project, after, before, values

FOLDS = """\
import numpy as np
import logql


class Trainer:
    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.w = self.rng.normal(size=3)

    def fit(self, epochs):
        best, since = float("inf"), 0
        for epoch in logql.loop("epoch", range(epochs)):
            print("epoch", epoch)
            self.w = self.w * 0.5 + self.rng.normal(size=3)
            loss = float((self.w**2).sum())
            logql.log("loss", loss)
            if loss < best:
                best, since = loss, 0
            else:
                since += 1
                if since > 2:
                    break
        else:
            print("no break")
        return best


def main():
    scores = []
    for fold in range(4):
        print("fold", fold)
        scores.append(Trainer(fold).fit(5 + fold))
        logql.log("score", scores[-1])
    mean = sum(scores) / len(scores)
    logql.log("mean", mean)


if __name__ == "__main__":
    main()
"""


def _events(project: Project, job: Job) -> Result:
    (result,) = project.replay(job)
    assert (result.state, result.error) == ("done", None)
    assert result.fidelity in ("exact", "unchecked"), result.notes
    return result


def test_folds_before_the_wanted_one_are_passed_by_their_exits(project: Project) -> None:
    project.write("train.py", FOLDS)
    project.run()
    edit = after("loss = float", 'logql.log("norm", float(np.abs(self.w).sum()))')
    whole = _events(project, project.without_checkpoints(project.job(edit, ["norm"], (2,), entry=3)))
    short = _events(project, project.job(edit, ["norm"], (2,), entry=3))
    mine = [event.value for event in whole.events if (event.path[0].entry, event.path[0].index) == (3, 2)]
    assert [event.value for event in short.events] == mine
    assert short.executed == 1
    assert whole.executed > 10
    assert [line for line in project.log(short).splitlines() if line.startswith("epoch")] == ["epoch 2"]


def test_a_run_level_value_after_folds_with_breaks(project: Project) -> None:
    project.write("train.py", FOLDS)
    project.run()
    edit = after("mean = sum", 'logql.log("top", max(scores))')
    whole = _events(project, project.without_checkpoints(project.job(edit, ["top"], (), loop=None)))
    short = _events(project, project.job(edit, ["top"], (), loop=None))
    assert short.executed == 0
    assert [event.value for event in short.events] == [event.value for event in whole.events]
    printed = [line for line in project.log(whole).splitlines() if line == "no break"]
    assert [line for line in project.log(short).splitlines() if line == "no break"] == printed


@pytest.mark.parametrize("leave", ["break", "return", "raise StopAsyncIteration"])
@pytest.mark.parametrize("every", [1, None])
def test_the_iteration_in_which_a_loop_is_left_is_filled(project: Project, leave: str, every: int | None) -> None:
    project.write(
        "train.py",
        "import logql\n\n\ndef fit():\n    x = 0.0\n    for epoch in logql.loop('epoch', range(9)):\n"
        f"        x += epoch\n        logql.log('x', x)\n        if x > 5:\n            {leave}\n        y = x\n\n\n"
        "try:\n    fit()\nexcept StopAsyncIteration:\n    pass\nprint('behind')\nlogql.log('end', 1.0)\n",
    )
    project.run(every=every)
    edit = after("logql.log('x'", "logql.log('z', x * 2)")
    result = _events(project, project.job(edit, ["z"], (2, 3)))
    assert values(result.events, "z")[3,] == 12.0
    assert 3 in result.covered
    result = _events(project, project.job(before("y = x", "logql.log('z', x * 2)"), ["z"], (2, 3)))
    assert (3,) not in values(result.events, "z")
    assert 3 in result.covered


BLOCKS = """\
import random
import logql

random.seed(3)
x, step = 0.0, 0
while x < 40:
    with logql.iteration("step", step):
        for part in logql.loop("part", range(2)):
            x += random.random() * 6
        logql.log("x", x)
    step += 1
for epoch in logql.loop("epoch", range(4)):
    x += random.random()
    logql.log("y", x)
"""


def test_a_while_loop_of_iteration_blocks_goes_from_one_wanted_to_the_next(project: Project) -> None:
    project.write("train.py", BLOCKS)
    project.run()
    edit = before('logql.log("x"', 'logql.log("z", x * 2)')
    result = _events(project, project.job(edit, ["z"], (1, 3), loop="step"))
    recorded = _events(project, project.job(edit, ["z"], (0, 1, 2, 3), loop="step"))
    assert (result.executed, result.fidelity) == (2, "exact")
    assert sorted(values(recorded.events, "z")) == [(0,), (1,), (2,), (3,)]
    assert values(result.events, "z") == {at: values(recorded.events, "z")[at] for at in ((1,), (3,))}
    inner = before("x += random.random() * 6", 'logql.log("w", x)')
    assert {event.path[0].index for event in _events(project, project.job(inner, ["w"], (2,), loop="step")).events} == {
        2
    }


def test_an_unseeded_while_loop_begins_with_the_random_states_that_it_had(project: Project) -> None:
    project.write("train.py", BLOCKS.replace("random.seed(3)", "random.random()"))
    project.run()
    edit = after('logql.log("x"', 'logql.log("z", x * 2)')
    for wanted in ((0,), (0, 2)):
        result = _events(project, project.job(edit, ["z"], wanted, loop="step"))
        assert (result.state, result.fidelity) == ("done", "exact")
        assert [*values(result.events, "z")] == [(at,) for at in wanted]


def test_a_loop_behind_iteration_blocks(project: Project) -> None:
    project.write("train.py", BLOCKS)
    project.run()
    result = _events(project, project.job(before('logql.log("y"', 'logql.log("z", x * 2)'), ["z"], (2,)))
    assert result.fidelity == "exact"
    assert list(values(result.events, "z")) == [(2,)]


TWO_LOOPS = """\
import random
import logql

random.seed(3)
state = {"x": 0.0}


def pretrain():
    for epoch in logql.loop("pretrain", range(3)):
        state["x"] += random.random()
        logql.log("p", state["x"])


pretrain()
logql.log("between", state["x"])
for epoch in logql.loop("epoch", range(4)):
    state["x"] -= random.random()
    logql.log("x", state["x"])
"""


def test_two_main_loops(project: Project) -> None:
    project.write("train.py", TWO_LOOPS)
    project.run()
    edit = after('logql.log("x"', 'logql.log("y", state["x"] * 2)')
    short = _events(project, project.job(edit, ["y"], (3,)))
    whole = _events(project, project.without_checkpoints(project.job(edit, ["y"], (3,))))
    assert short.executed == 1
    assert values(short.events, "y")[3,] == values(whole.events, "y")[3,]
    assert {(e.seq, e.sub) for e in short.events} <= {(e.seq, e.sub) for e in whole.events}


def test_arguments_directory_and_package(project: Project) -> None:
    project.write("src/pkg/__init__.py", "")
    project.write("src/pkg/model.py", "SCALE = 2.0\n")
    project.write(
        "src/pkg/train.py",
        "import argparse, os\nimport logql\nfrom .model import SCALE\n\n"
        "parser = argparse.ArgumentParser()\nparser.add_argument('--lr', type=float)\noptions = parser.parse_args()\n"
        "size = logql.arg('size', 3)\n"
        "for epoch in logql.loop('epoch', range(size)):\n    x = options.lr * SCALE * epoch\n"
        "    logql.log('x', x)\n    print(os.getcwd(), __name__, __package__)\n",
    )
    project.commit()
    printed = project.run("-m", "pkg.train", "--lr", "0.25", cwd="src", LOGQL_ARGS="size=4").splitlines()[-1]
    edit = after("logql.log('x'", "logql.log('y', x + 1)")
    result = _events(project, project.job(edit, ["y"], (3,), file="src/pkg/train.py"))
    assert values(result.events, "y") == {(3,): 2.5}
    assert project.log(result).splitlines() == [printed]


def test_a_statement_in_an_imported_module(project: Project) -> None:
    project.write("lib/work.py", "def work(w):\n    w[0] += 1.0\n    return w[0]\n")
    project.write("lib/__init__.py", "")
    project.write(
        "train.py",
        "import logql\nfrom lib.work import work\nw = [0.0]\n"
        "for epoch in logql.loop('epoch', range(4)):\n    logql.log('x', work(w))\n",
    )
    project.run()
    edit = after("w[0] +=", "import logql", "logql.log('z', w[0] * 10)")
    result = _events(project, project.job(edit, ["z"], (2,), file="lib/work.py"))
    assert values(result.events, "z") == {(2,): 30.0}


def test_a_killed_run_is_filled_as_far_as_it_came(project: Project) -> None:
    project.write(
        "train.py",
        "import os, logql, time\nfor epoch in logql.loop('epoch', range(6)):\n    logql.log('x', epoch * 1.0)\n"
        "    if epoch == 3:\n        logql.flush(); os.kill(os.getpid(), 9)\n"
        "    logql.log('after', 1.0)\n",
    )
    project.run(check=False)
    from logql.store.snapshot import read_snapshot

    assert [run.status for run in read_snapshot(project.store).runs] == ["killed"]
    edit = before("logql.log('x'", "logql.log('y', epoch + 0.5)")
    (result,) = project.replay(project.job(edit, ["y"], (1, 2)))
    assert (result.state, result.error, result.fidelity) == ("done", None, "exact")
    assert values(result.events, "y")[2,] == 2.5


def test_a_failed_run_gives_what_it_came_to(project: Project) -> None:
    project.write(
        "train.py",
        "import logql\nlogql.log('a', 1.0)\nfor epoch in logql.loop('epoch', range(2)):\n    logql.log('x', 1.0)\n"
        "raise KeyError('then')\n",
    )
    project.run(check=False)
    edit = after("logql.log('a'", "logql.log('b', 2.0)")
    result = _events(project, project.job(edit, ["b"], (), loop=None))
    assert [event.value for event in result.events] == [2.0]


def test_the_iteration_in_which_a_run_failed_is_filled_as_far_as_it_came(project: Project) -> None:
    project.write(
        "train.py",
        "import logql\nfor epoch in logql.loop('epoch', range(5)):\n    logql.log('x', epoch * 1.0)\n"
        "    if epoch == 2:\n        raise KeyError('then')\n",
    )
    project.run(check=False)
    edit = after("logql.log('x'", "logql.log('y', epoch + 0.5)")
    result = _events(project, project.job(edit, ["y"], (1, 2)))
    assert (values(result.events, "y"), result.covered) == ({(1,): 1.5, (2,): 2.5}, (1, 2))


def test_modules_of_the_project_do_not_hide_those_that_replays_need(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("select", "struct", "json", "tempfile"):
        project.write(f"{name}.py", "raise ImportError('not this one')\n")
    project.write(
        "sub/train.py", "import logql\nfor epoch in logql.loop('epoch', range(2)):\n    logql.log('x', 1.0)\n"
    )
    project.run("sub/train.py")
    monkeypatch.chdir(project.path)
    edit = after("logql.log('x'", "logql.log('y', 2.0)")
    result = _events(project, project.job(edit, ["y"], (1,), file="sub/train.py"))
    assert [event.value for event in result.events] == [2.0]


def test_replay_adds_checkpoints_that_it_passes(project: Project, monkeypatch: pytest.MonkeyPatch) -> None:
    del monkeypatch
    project.write(
        "train.py",
        "import logql, time\nx = 0.0\nfor epoch in logql.loop('epoch', range(4)):\n    x += epoch\n"
        "    time.sleep(0.6)\n    logql.log('x', x)\n",
    )
    project.run(every=100)
    edit = after("logql.log('x'", "logql.log('y', x * 2)")
    assert _events(project, project.job(edit, ["y"], (3,))).executed == 4
    again = project.job(edit, ["y"], (3,))
    added = [one for one in again.checkpoints if one.by == "replay"]
    assert added
    result = _events(project, again)
    assert result.executed < 4
    assert values(result.events, "y")[3,] == 12.0


def test_threads_are_as_recorded_unless_forced(project: Project) -> None:
    project.write(
        "train.py",
        "import logql, os\nfor epoch in logql.loop('epoch', range(2)):\n"
        "    logql.log('x', 1.0)\n    print(os.environ.get('OMP_NUM_THREADS'), os.environ.get('LOGQL_REPLAY'))\n",
    )
    project.run(OMP_NUM_THREADS="2")
    job_edit = after("logql.log('x'", "logql.log('y', 2.0)")
    (result,) = project.replay(project.job(job_edit, ["y"], (1,)))
    assert project.log(result) == "2 1\n"
    (result,) = project.replay(project.job(job_edit, ["y"], (1,)), options=Options(threads=3))
    assert project.log(result) == "3 1\n"


def test_recorded_variables_are_set_again_and_secrets_never_recorded(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    project.write(
        "train.py",
        "import logql, os\nfor epoch in logql.loop('epoch', range(2)):\n    logql.log('x', 1.0)\n"
        "    print(os.environ.get('DATA_ROOT'))\n",
    )
    project.run(LOGQL_ENV="DATA_ROOT, HUB_TOKEN", DATA_ROOT="/data", HUB_TOKEN="hush")  # noqa: S106
    monkeypatch.setenv("DATA_ROOT", "/other")
    job = project.job(after("logql.log('x'", "logql.log('y', 2.0)"), ["y"], (1,))
    assert job.run.environment["variables"]["DATA_ROOT"] == "/data"  # type: ignore[index]
    assert "HUB_TOKEN" not in job.run.environment["variables"]  # type: ignore[operator]
    (result,) = project.replay(job)
    assert project.log(result) == "/data\n"
    assert b"hush" not in b"".join(path.read_bytes() for path in Path(project.store).rglob("*") if path.is_file())


TORCH = """\
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import logql

torch.manual_seed(0)
x = torch.randn(64, 6)
y = (x.sum(1) > 0).long()
loader = DataLoader(TensorDataset(x, y), batch_size=16, shuffle=True)
net = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 2))
optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
schedule = torch.optim.lr_scheduler.StepLR(optimizer, 2)
for epoch in logql.loop("epoch", range(5)):
    net.train()
    for xb, yb in logql.loop("step", loader):
        loss = nn.functional.cross_entropy(net(xb), yb)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        logql.log("loss", loss)
    schedule.step()
    logql.log("lr", schedule.get_last_lr()[0])
"""


@pytest.mark.torch
def test_torch_is_exact_and_forward_passes_change_nothing(project: Project) -> None:
    pytest.importorskip("torch")
    project.write("train.py", TORCH)
    project.run()
    edit = after(
        "loss.backward()", 'logql.log("gn", float(net[0].weight.grad.norm()))', 'logql.log("f", net(x).mean())'
    )
    short = _events(project, project.job(edit, ["gn", "f"], (1, 3)))
    whole = _events(project, project.without_checkpoints(project.job(edit, ["gn", "f"], (1, 3))))
    assert (short.executed, short.fidelity) == (2, "exact")
    truth = values(whole.events, "gn")
    assert values(short.events, "gn") == {key: truth[key] for key in truth if key[0] in (1, 3)}
    assert len(values(short.events, "gn")) == 8


@pytest.mark.slow
def test_a_loop_of_a_hundred_thousand_steps(project: Project) -> None:
    project.write(
        "train.py",
        "import random, time\nimport logql\n\nrandom.seed(1)\nx = 0.0\n"
        "for step in logql.loop('step', range(100_000)):\n    x = x * 0.999 + random.random()\n"
        "    if step == 50_000:\n        time.sleep(0.5)\n"
        "    if step % 20_000 == 19_999:\n        logql.log('x', x)\n",
    )
    project.run(every=None)
    edit = after("logql.log('x'", "logql.log('y', x)")
    (result,) = project.replay(project.job(edit, ["y"], (99_999,), loop="step"))
    whole = _events(project, project.without_checkpoints(project.job(edit, ["y"], (99_999,), loop="step")))
    assert (result.state, result.fidelity) == ("done", "exact")
    assert result.executed < whole.executed == 100_000
    assert values(result.events, "y")[99_999,] == values(whole.events, "y")[99_999,]


def test_a_script_that_changes_its_directory_starts_where_it_was(project: Project) -> None:
    project.write("data.txt", "2.5")
    project.write(
        "train.py",
        "import os\nimport logql\nx = float(open('data.txt').read())\nos.makedirs('out', exist_ok=True)\n"
        "os.chdir('out')\nfor epoch in logql.loop('epoch', range(3)):\n    logql.log('a', epoch * x)\n",
    )
    project.run()
    (result,) = project.replay(project.job(after("logql.log('a'", "logql.log('b', x)"), ["b"], (2,)))
    assert (result.state, result.fidelity) == ("done", "exact"), result.error
    assert values(result.events, "b") == {(2,): 2.5}


@pytest.mark.parametrize("isolation", ["strong", "weak"])
@pytest.mark.parametrize("path", ["src", "{project}/src"])
def test_modules_on_the_recorded_path_are_the_versions_own(project: Project, path: str, isolation: Isolation) -> None:
    project.write("src/pkg/__init__.py", "")
    project.write("src/pkg/helper.py", "K = 2.0\n")
    project.write(
        "src/pkg/train.py",
        "import logql\nfrom pkg.helper import K\n"
        "for epoch in logql.loop('epoch', range(3)):\n    logql.log('a', epoch * K)\n",
    )
    project.run("-m", "pkg.train", PYTHONPATH=f"{path.format(project=project.path)}{os.pathsep}{ROOT}")
    project.write("src/pkg/helper.py", "K = 7.0\n")
    edit = after("logql.log('a'", "logql.log('b', K * 10)")
    job = project.job(edit, ["b"], (0, 2), file="src/pkg/train.py")
    (result,) = project.replay(project.without_checkpoints(job), options=Options(isolation=isolation))
    assert (result.state, result.fidelity) == ("done", "exact"), result.error
    assert values(result.events, "b") == dict.fromkeys([(0,), (1,), (2,)], 20.0)
