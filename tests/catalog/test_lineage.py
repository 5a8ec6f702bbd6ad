"""Old runs of a script that moved take the statements of what it became, or say what that may be."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import logql
from logql.catalog.lineage import Successor, find_successor
from logql.errors import BindError
from logql.patching import keep_pin, place_in_version
from logql.session import Session
from logql.store.snapshot import forget

OLD = """import random
import logql

random.seed(7)
weight = 1.0
for epoch in logql.loop("epoch", range(3)):
    weight = weight * 0.9 + random.random()
    logql.log("acc", 1 / weight)
"""
NEW = OLD + '    logql.log("square", weight * weight)\n'
REWRITTEN = """import logql

def measure(weight):
    logql.log("square", weight * weight)

def main():
    weight = 1.0
    for epoch in logql.loop("epoch", range(3)):
        weight = step(weight)
        measure(weight)
        logql.log("acc", 1 / weight)
"""
Move = Callable[[str, str], Session]


@pytest.fixture
def move(tmp_path: Path) -> Iterator[Move]:
    """A session on a project that ran train.py, which is gone today; another path has another text."""
    sessions: list[Session] = []

    def build(path: str, text: str) -> Session:
        (tmp_path / "train.py").write_text(OLD)
        environment = {**os.environ, "PYTHONPATH": str(Path(logql.__file__).parent.parent)}
        subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
        subprocess.run([sys.executable, "train.py"], cwd=tmp_path, check=True, env=environment)
        (tmp_path / "train.py").unlink()
        (tmp_path / path).parent.mkdir(exist_ok=True)
        (tmp_path / path).write_text(text)
        sessions.append(Session(str(tmp_path / ".logql"), str(tmp_path)))
        return sessions[-1]

    yield build
    for session in sessions:
        session.close()
    forget(str(tmp_path / ".logql"))


def rows(session: Session, sql: str) -> list[tuple[object, ...]]:
    return [tuple(row.values()) for row in session.execute(sql).answer.table.to_pylist()]


def test_a_script_that_moved_beyond_doubt_is_followed(move: Move) -> None:
    session = move("pkg/train.py", NEW)
    found = rows(session, "SELECT acc, square, origin(square) FROM logs ORDER BY epoch")
    assert [origin for _, _, origin in found] == ["hindsight"] * 3
    assert [square for _, square, _ in found] == pytest.approx([1 / acc**2 for acc, _, _ in found])  # type: ignore[operator]


def test_one_that_is_in_doubt_is_named(move: Move) -> None:
    session = move("scripts/fit.py", REWRITTEN)
    found = rows(session, "SELECT square, reason(square) FROM logs ORDER BY epoch")
    assert [square for square, _ in found] == [None] * 3
    assert "scripts/fit.py" in str(found[0][1])
    assert "logql patch square VERSION --at train.py:LINE" in str(found[0][1])
    version = session.catalog.versions()[0].id
    placing = place_in_version(session, "square", version, ("train.py", 8))
    assert not placing.refused
    keep_pin(session, placing)
    assert [square is not None for (square,) in rows(session, "SELECT square FROM logs")] == [True] * 3


def test_another_script_is_no_successor(move: Move) -> None:
    session = move("other.py", "import logql\nlogql.log('square', 4)\nprint('something else')\n")
    with pytest.raises(BindError, match="square"):
        rows(session, "SELECT square FROM logs")


def test_likeness_decides_and_rivals_do_not() -> None:
    assert successor({"train.py": OLD}, {}) is None
    assert successor({"train.py": OLD}, {"x.py": "print('something else')\n"}) is None
    one = successor({"train.py": OLD}, {"pkg/train.py": NEW, "x.py": "import logql\n"})
    assert one is not None
    assert (one.path, one.sure) == ("pkg/train.py", True)
    two = successor({"train.py": OLD}, {"a.py": NEW, "b.py": NEW})
    assert two is not None
    assert not two.sure


def test_a_script_that_was_split_while_it_moved_is_known_by_what_it_imports() -> None:
    model = "class Model:\n    def __init__(self, width):\n        self.width = width\n\n    def step(self, x):\n"
    model += "        return x * self.width + self.width\n"
    before = {"old.py": f"{model}\n{OLD}", "data.py": "rows = [1, 2, 3]\n"}
    after = {"data.py": before["data.py"], "pkg/model.py": model * 2, "train.py": f"from pkg.model import Model\n{OLD}"}
    found = successor({**before, "old.py": model * 2 + OLD}, after)
    assert found is not None
    assert (found.path, found.sure) == ("train.py", True)


def successor(before: dict[str, str], after: dict[str, str]) -> Successor | None:
    return find_successor(next(iter(before)), before, [path for path in after if path not in before], after)
