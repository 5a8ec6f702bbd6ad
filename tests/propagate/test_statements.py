"""Finding log statements, loops and imports in source."""

from __future__ import annotations

from logql.propagate.imports import reachable
from logql.propagate.loops import find_loops
from logql.propagate.statements import find_statements, logs_name, names_logged

SCRIPT = """
import logql as flor
from logql import log as note
from lib import model

def my_log(key, value):
    flor.log(key, value)

def train():
    for step in flor.loop("step", range(3)):
        flor.log("loss", 1)
        y = note("y", 3)
        for k, v in {"a": 1}.items():
            flor.log(f"train/{k}", v)
        my_log("acc",
               3)

for epoch in flor.loop("epoch", range(3)):
    train()
    print(flor)
"""


def test_statements_under_every_name() -> None:
    found = [(s.name, s.line, s.end_line) for s in find_statements({"t.py": SCRIPT, "broken.py": "print 1"})]
    assert found == [("loss", 11, 11), ("y", 12, 12), (None, 14, 14), ("acc", 15, 16)]


def test_names_are_literal_or_patterns() -> None:
    assert names_logged({"t.py": SCRIPT}) == {"loss", "y", "train/*", "acc"}
    assert logs_name({"t.py": SCRIPT}, "train/f1")
    assert not logs_name({"t.py": SCRIPT}, "val/f1")


def test_other_modules_with_a_log_are_not_logql() -> None:
    assert find_statements({"t.py": "import math\nmath.log('x', 2)\nlog('x', 1)\n"}) == []


def test_a_star_may_bring_logql() -> None:
    script = "from learner import *\nfor epoch in logql.loop('epoch', range(3)):\n    logql.log('x', 1)\n"
    assert [s.name for s in find_statements({"t.py": script})] == ["x"]
    assert [loop.name for loop in find_loops({"t.py": script})] == ["epoch"]


def test_loops_know_whether_another_is_around_them() -> None:
    loops = {loop.name: loop for loop in find_loops({"t.py": SCRIPT})}
    assert (loops["epoch"].main, loops["epoch"].line, loops["epoch"].end_line) == (True, 18, 20)
    assert (loops["step"].main, loops["step"].function) == (False, "train")


def test_files_that_a_script_imports() -> None:
    files = {
        "run/train.py": "import pkg.sub.deep\nfrom helper import x\nimport os\n",
        "run/helper.py": "",
        "pkg/__init__.py": "from . import near",
        "pkg/near.py": "",
        "pkg/sub/__init__.py": "",
        "pkg/sub/deep.py": "from ..near import y\nfrom .beside import z",
        "pkg/sub/beside.py": "",
        "unused.py": "",
    }
    found = list(reachable(files, "run/train.py"))
    assert found[0] == "run/train.py"
    assert set(found) == set(files) - {"unused.py"}
