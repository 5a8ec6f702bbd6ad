"""Generated training scripts, recorded, replayed and compared with runs that logged everything from the start."""

from __future__ import annotations

from pathlib import Path

import pytest

import logql
from logql.store.snapshot import forget
from tests.programs.scripts import make_script
from tests.programs.whole import compare
from tests.replay.conftest import Project

#: Scripts that the suite runs.
QUICK = (6, 112)
#: As many as one likes, some seconds each.
SLOW = range(1000, 1200)


def _check(seed: int, folder: Path) -> None:
    try:
        found = compare(seed, folder)
    finally:
        forget()
    assert found.queries > 3
    assert not found.wrong, f"{found.wrong[0]}\n{make_script(seed).new()}"


@pytest.mark.parametrize("seed", QUICK)
def test_lazily_replayed_equals_logged_from_the_start(seed: int, tmp_path: Path) -> None:
    _check(seed, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("seed", SLOW)
def test_lazily_replayed_equals_logged_from_the_start_at_length(seed: int, tmp_path: Path) -> None:
    _check(seed, tmp_path)


def test_names_that_are_asked_for_one_after_the_other_keep_their_order(tmp_path: Path) -> None:
    """`twice` comes twice beside `other`: which of its rows has `other` is known to a replay of both alone."""
    project = Project(tmp_path / "project")
    project.path.mkdir()
    head = "import logql\n\nfor epoch in logql.loop('epoch', range(2)):\n    x = epoch + 0.5\n    logql.log('acc', x)\n"
    project.write("train.py", head)
    project.run()
    logged = ("'twice', 1.0", "'twice', 2.0", "'other', x")
    project.write("train.py", head + "".join(f"    logql.log({text})\n" for text in logged))
    with logql.connect(project.store) as connection:
        assert connection.execute("SELECT max(other) FROM logs").fetchall() == [(1.5,)]
        query = "SELECT epoch, twice, other FROM logs ORDER BY ALL"
        assert connection.execute(query).fetchall() == [(0, 1.0, None), (0, 2.0, 0.5), (1, 1.0, None), (1, 2.0, 1.5)]
    forget()
