"""Whatever the number of workers, replays of every version of a sample give the same values, each checked as exact."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from logql import dbapi
from logql.samples import Sample, sample_names

Rows = list[tuple[object, ...]]


def _fill_all(project: Path, sample: Sample, workers: int) -> dict[str, Rows]:
    """Rows of each new name, of whatever level, after one query each, with so many workers."""
    with dbapi.connect(str(project / ".logql")) as connection:
        cursor = connection.cursor()
        cursor.execute(f"SET replay_workers = {workers}")
        found: dict[str, Rows] = {}
        for name in sample.new.values():
            cursor.execute(f"SELECT run, origin({name}), {name} FROM logs ORDER BY ALL")
            found[name] = [tuple(row) for row in cursor.fetchall()]
        cursor.execute("SELECT fidelity, count(*) FROM fills WHERE loop IS NOT NULL AND state = 'done' GROUP BY ALL")
        assert {fidelity for fidelity, _ in cursor.fetchall()} <= {"exact", "unchecked"}
        return found


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name == "sgd" else pytest.mark.slow) for name in sample_names()]
)
def test_values_do_not_depend_on_the_number_of_workers(
    name: str, sample_project: Callable[[str], tuple[Sample, Path]], tmp_path: Path
) -> None:
    sample, project = sample_project(name)
    found = {}
    for workers in (1, 2, 4):
        copy = tmp_path / str(workers)
        shutil.copytree(project, copy, symlinks=True)
        found[workers] = _fill_all(copy, sample, workers)
    for column, rows in found[1].items():
        assert any(origin == "hindsight" for _, origin, _ in rows), column
        assert found[2][column] == rows, column
        assert found[4][column] == rows, column
