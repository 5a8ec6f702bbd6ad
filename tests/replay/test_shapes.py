"""Main loops of every shape that can be entered in the middle: each iteration is what the whole run made of it."""

from __future__ import annotations

import pytest

from tests.replay.conftest import Project, before, values

HEAD = """\
import itertools, random
import logql

random.seed(3)


def evaluate(w):
    return sum(w) + random.random()


"""
BODY = """\
{indent}w[i % 3] = w[i % 3] * 0.5 + random.random()
{indent}total = sum(w)
{indent}logql.log("loss", total)
"""
#: name: (text before the body, text behind it)
SHAPES = {
    "while": (
        "w, i, done = [1.0, 2.0, 3.0], 0, False\nwhile not done:\n    with logql.iteration('step', i):\n",
        "    i += 1\n    done = i >= 6\n",
    ),
    "while true in a function": (
        """\
def train(n):
    w, i, best = [1.0, 2.0, 3.0], 0, float("inf")
    while True:
        rate = 1 / (i + 1)
        if i % 2 == 0:
            best = min(best, evaluate(w))
            print("evaluated", best)
        with logql.iteration("step", i) as given:
            assert given == i and rate == 1 / (i + 1)
""",
        "        i += 1\n        w[0] += best\n        if i > n:\n            break\n    return w\nprint(train(5))\n",
    ),
    "method": (
        """\
class Trainer:
    def __init__(self):
        self.w, self.at = [1.0, 2.0, 3.0], 0
    def fit(self):
        w = self.w
        while self.at < 6:
            i = self.at
            with logql.iteration("step", self.at):
""",
        "            self.at += 1\ntrainer = Trainer()\ntrainer.fit()\n",
    ),
    "walrus and queue": (
        """\
def train():
    w, queue = [1.0, 2.0, 3.0], list(range(6))
    while (i := queue.pop(0) if queue else None) is not None:
        with logql.iteration("step", i, i + 100) as value:
            assert value == i + 100
""",
        "        queue = queue[:]\ntrain()\n",
    ),
    "numbers by tens": (
        "w, i = [1.0, 2.0, 3.0], 0\nwhile i < 60:\n    with logql.iteration('step', i):\n",
        "    i += 10\n",
    ),
    "range": (
        "w = [1.0, 2.0, 3.0]\nfor i in range(2, 8):\n    w[1] += i\n    with logql.iteration('step', i - 2):\n",
        "",
    ),
    "two blocks": (
        """\
w = [1.0, 2.0, 3.0]
for i in range(6):
    with logql.iteration("eval", i):
        logql.log("score", evaluate(w))
    with logql.iteration("step", i), open("/dev/null") as nothing:
""",
        """\
    for part in logql.loop("part", range(2)):
        logql.log("part_loss", w[0] * part)
""",
    ),
    "enumerate": (
        "w = [1.0, 2.0, 3.0]\nfor at, i in enumerate(logql.loop('step', range(6)), 10):\n    assert at == i + 10\n",
        "",
    ),
    "zip": (
        """\
def train(rates):
    w = [1.0, 2.0, 3.0]
    for i, rate, tick in zip(logql.loop("step", range(6)), rates, itertools.count()):
        assert tick == i
        w[0] += rate.pop()
        rates[5].append(w[1])
""",
        "train([[0.1, 0.2 * i] for i in range(6)])\n",
    ),
    "held": (
        "w, many = [1.0, 2.0, 3.0], logql.loop('step', range(9))\nfor n, i in enumerate(itertools.islice(many, 6)):\n",
        "    assert n == i\n",
    ),
}


def script(shape: str) -> str:
    """The program of a shape."""
    ahead, behind = SHAPES[shape]
    last = ahead.rstrip("\n").split("\n")[-1]
    indent = " " * (len(last) - len(last.lstrip()) + (4 if last.endswith(":") else 0))
    return HEAD + ahead + BODY.format(indent=indent) + behind + "print('end', random.random())\n"


def check(project: Project, shape: str, wanted: list[tuple[int, ...]]) -> None:
    project.write("train.py", script(shape))
    project.run()
    edit = before('logql.log("loss"', 'logql.log("z", total * 2)')
    scale = 10 if shape == "numbers by tens" else 1
    whole = project.without_checkpoints(project.job(edit, ["z"], tuple(range(0, 6 * scale, scale)), loop="step"))
    parts = [project.job(edit, ["z"], tuple(k * scale for k in ks), loop="step") for ks in wanted]
    (truth,) = project.replay(whole)
    found = [project.replay(job)[0] for job in parts]
    assert (truth.error, truth.fidelity) == (None, "exact"), truth.notes
    for result, job in zip(found, parts, strict=True):
        assert (result.error, result.fidelity) == (None, "exact"), (result.notes, project.log(result))
        others = len(job.segment.wanted) if shape == "two blocks" else 0
        assert result.executed <= len(job.segment.wanted) + others
        expected = {(k,): values(truth.events, "z")[k,] for k in job.segment.wanted}
        assert values(result.events, "z") == expected


@pytest.mark.parametrize("shape", ["while true in a function", "two blocks", "zip"])
def test_an_iteration_in_the_middle(project: Project, shape: str) -> None:
    check(project, shape, [(4,)])


@pytest.mark.slow
@pytest.mark.parametrize("shape", SHAPES)
def test_every_iteration_of_every_shape(project: Project, shape: str) -> None:
    check(project, shape, [(k,) for k in range(6)] + [(1, 4), (0, 2, 3), (2, 5)])
